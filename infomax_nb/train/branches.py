"""Where a run begins: at its first epoch, at its own checkpoint, or at another run's.

A run with `start_from` is a branch. The other run is its trunk, which has kept its checkpoint of
`start_epoch` (`TrainConfig.keep_epochs`).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.data.fingerprints import check_data, fingerprint
from infomax_nb.errors import ParameterError, RunError, memory_errors
from infomax_nb.files import file_digest, load_weights
from infomax_nb.train.job import Job
from infomax_nb.train.run import Run

# Fields in which a branch may differ; all others that decide a result must be its trunk's.
OWN = {"epochs", "lr", "decay_epochs", "weight_decay", "kappa", "alpha", "beta"}
OWN |= {"momentum_schedule", "eval_every", "eval_first", "start_from", "start_epoch"}


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run goes on from, and what it says of how it came about.

    Args:
        checkpoint: None begins anew.
        trunk: the record's entry about the run's trunk.
        sessions: when and where the run has been trained so far (`record.session`).
    """

    checkpoint: Path | None = None
    trunk: dict | None = None
    sessions: tuple[dict, ...] = ()


def find_start(job: Job) -> Start:
    """Where a run goes on: at its own checkpoint, else at its trunk's, else at the beginning.

    Raises:
        ParameterError: the data set has changed since the checkpoint was written.
        RunError: the checkpoint is damaged or belongs to another run.
    """
    checkpoint = job.run.checkpoint
    if checkpoint.exists():
        header = read_header(checkpoint, job.config)
        check_data(job.run.path, job.config, header.get("data"), job.fingerprint)
        return Start(checkpoint, header.get("trunk"), tuple(header.get("sessions", ())))
    return start_at_trunk(job.config, job.fingerprint) if job.config.start_from else Start()


def start_at_trunk(config: TrainConfig, data: dict | None = None) -> Start:
    """Where a branch begins. Its trunk may be unfinished.

    Args:
        config: the branch's configuration.
        data: the data set's fingerprint; None computes it.

    Raises:
        ParameterError: there is no such run, it differs in more than a branch may, has not kept
            that epoch, or was trained on other data.
        RunError: the checkpoint is damaged, or is not the one that the trunk wrote.
    """
    trunk = Run(config.run_dir.with_name(str(config.start_from)))
    epoch = config.start_epoch or 0
    _check_trunk(config, trunk, epoch)
    path = trunk.kept_checkpoint(epoch)
    digest = trunk.record.get("kept", {}).get(str(epoch))
    trunk.check_file(path, digest)
    header = read_header(path, trunk.config)
    check_data(trunk.path, config, header.get("data"), data or fingerprint(config))
    origin = {"name": trunk.path.name, "epoch": epoch, "sha256": digest or file_digest(path)}
    return Start(path, {**origin, "commit": header.get("commit", "unknown")})


def _check_trunk(config: TrainConfig, trunk: Run, epoch: int) -> None:
    """Raise ParameterError if a branch may not begin at that run, or the epoch was not kept."""
    refusal = f"start_from = {config.start_from!r} is not allowed"
    if not os.path.isfile(trunk.path / "config.yaml"):  # which accepts any name
        raise ParameterError(f"{refusal}: there is no run of this name in {trunk.path.parent}.")
    own = config.resolved().model_dump()
    theirs = trunk.config.model_dump()
    shared = {*config.identity(), "device", "precision"} - OWN
    different = [name for name in own if name in shared and own[name] != theirs[name]]
    if different:
        values = ", ".join(f"{name} ({theirs[name]}, here {own[name]})" for name in different)
        raise ParameterError(f"{refusal}: a branch has its trunk's {values}.")
    if not trunk.kept_checkpoint(epoch).is_file():
        kept = ", ".join(map(str, trunk.kept_epochs)) or "no epoch"
        again = "; a finished run is not trained anew for keep_epochs, delete it first"
        problem = f"has kept {kept} (keep_epochs){again if trunk.finished else ''}"
        raise ParameterError(f"start_epoch = {epoch} is not allowed: {trunk.path.name} {problem}.")


def new_header(job: Job, start: Start, session: dict) -> dict:
    """What a checkpoint says about itself: the run's identity, its data, how it came about."""
    return {
        "identity": job.config.identity(),
        "data": job.fingerprint,
        "trunk": start.trunk,
        "commit": session["commit"],
        "sessions": [*start.sessions, session],
    }


def read_header(path: Path, config: TrainConfig) -> dict:
    """What a checkpoint says about itself, as in `new_header`; an older one says less.

    Raises:
        RunError: it is damaged, or does not belong to the run that `config` describes.
    """
    with memory_errors("a checkpoint was read", "free some memory"):
        header = load_weights(path, "checkpoint").get("loop", {})
    # What a checkpoint does not say is float32 on the CPU. Fields that are newer than it are not
    # compared: where they have another value than then, the run has another folder.
    own = UNSAID | config.identity()
    then = header.get("identity")
    if then is None or own | UNSAID | then != own:
        raise RunError(f"checkpoint: {path} is another run's; move it away.")
    return header
