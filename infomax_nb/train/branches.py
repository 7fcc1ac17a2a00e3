"""Runs that begin where another one was after an epoch whose checkpoint it has kept
(`TrainConfig.keep_epochs`)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.data.fingerprints import check_data, fingerprint
from infomax_nb.errors import ParameterError, RunError, memory_errors
from infomax_nb.files import file_digest, load_weights

if TYPE_CHECKING:
    from infomax_nb.train.run import Run


# What a branch may have of its own; whatever else decides a result must be its trunk's.
OWN = {
    "epochs",
    "lr",
    "decay_epochs",
    "weight_decay",
    "kappa",
    "alpha",
    "beta",
    "momentum_schedule",
    "eval_every",
    "eval_first",
}


OWN |= {"start_from", "start_epoch"}


def kept(folder: Path, epoch: int) -> Path:
    """Where a run keeps its checkpoint of an epoch."""
    return folder / f"epoch_{epoch}.ckpt"


def kept_by(folder: Path) -> dict[int, Path]:
    """The checkpoints that a run has kept, by their epochs."""
    found = {path.stem.removeprefix("epoch_"): path for path in folder.glob("epoch_*.ckpt")}
    return {int(epoch): path for epoch, path in found.items() if epoch.isdecimal()}


def trunk_of(config: TrainConfig, seen: dict | None = None) -> tuple[Path, dict]:
    """Where a run with `start_from` begins: the checkpoint of its trunk, which may be unfinished,
    and what the run's
    record says of that: name, epoch, check sum, commit.

    `seen`: the data set's fingerprint, computed here unless it is given.

    Raises ParameterError if there is no such run, it differs in more than a branch may, has not
    kept that epoch, or saw other data; RunError if the checkpoint is damaged or not the one that
    the trunk wrote.
    """
    from infomax_nb.train.run import Run  # which imports this module

    name, epoch = str(config.start_from), config.start_epoch or 0
    trunk = Run(config.run_dir.with_name(name))
    if not os.path.isfile(trunk.path / "config.yaml"):  # which takes any name
        where = trunk.path.parent
        raise ParameterError(
            f"start_from = {name!r} is not allowed: there is no run of this name in {where}."
        )
    its = trunk.config
    others = differing(config, its)
    if others:
        said = ", ".join(
            f"{field} ({values[0]}, here {values[1]})" for field, values in others.items()
        )
        raise ParameterError(
            f"start_from = {name!r} is not allowed: a branch has its trunk's {said}."
        )
    path = kept(trunk.path, epoch)
    if not path.is_file():
        raise ParameterError(f"start_epoch = {epoch} is not allowed: {name} {_has_kept(trunk)}.")
    digest = file_digest(path)
    if digest != trunk.record.get("kept", {}).get(str(epoch), digest):
        raise RunError(
            f"run: {path} is not the file that this run wrote; put it back, or delete the run."
        )
    saved = read(path, its)
    check_data(trunk.path, config, saved.get("data"), seen or fingerprint(config))
    return path, {
        "name": name,
        "epoch": epoch,
        "sha256": digest,
        "commit": saved.get("commit", "unknown"),
    }


def differing(config: TrainConfig, trunk: TrainConfig) -> dict[str, tuple]:
    """The fields in which a branch is not what its trunk is, but must be: the trunk's value and the
    branch's."""
    theirs, own = trunk.resolved().model_dump(), config.resolved().model_dump()
    must = {*config.identity(), "device", "precision"} - OWN
    return {
        name: (theirs[name], own[name])
        for name in own
        if name in must and theirs[name] != own[name]
    }


def _has_kept(trunk: "Run") -> str:
    epochs = sorted(kept_by(trunk.path))
    said = f"has kept {', '.join(map(str, epochs))}" if epochs else "has kept no epoch"
    again = (
        "; a finished run is not trained anew for keep_epochs, delete it first"
        if trunk.finished
        else ""
    )
    return f"{said} (keep_epochs){again}"


def read(path: Path, config: TrainConfig) -> dict:
    """What a checkpoint says of itself: the run's identity, its data, its trunk.

    Raises RunError if it is damaged or not of the run that `config` describes.
    """
    with memory_errors("a checkpoint was read", "free some memory"):
        saved = load_weights(path).get("loop", {})
    # A field that is newer than the checkpoint had its default there; float32 on the CPU goes
    # without saying.
    own = UNSAID | config.identity()
    if {**own, **UNSAID, **saved.get("identity", {"": ""})} != own:
        raise RunError(f"checkpoint: {path} is another run's; move it away.")
    return saved
