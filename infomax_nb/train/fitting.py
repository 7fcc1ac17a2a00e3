"""`fit(config)`: train a run, resume it, or return it when it is finished."""

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

import pandas as pd
import torch
import yaml
from filelock import AcquireReturnProxy, FileLock, Timeout

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import check_data, described, fingerprint
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.device import resolve
from infomax_nb.distributed import Processes, check_startable, processes, wait_for_all
from infomax_nb.errors import ParameterError, RunError, not_allowed
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import file_digest
from infomax_nb.notebook import shows_bars
from infomax_nb.train import budget
from infomax_nb.train.branches import start_at_trunk
from infomax_nb.train.job import Job
from infomax_nb.train.progress import say, title, titles
from infomax_nb.train.record import now, session
from infomax_nb.train.run import Run
from infomax_nb.views.batch import RECIPE


def fit(config: TrainConfig, devices: int | None = None, called: str = "") -> Run:
    """Train the run that `config` describes, with what `auto` means here, and return it finished.

    A finished run is returned as it is. An interrupted one goes on after the last whole epoch that
    it saved (see `train.recorder`), or after the step at which SIGTERM came (the process then exits
    with 143). When another process trains the same run, this one says so, waits and returns that
    result.

    Args:
        config: the run.
        devices: number of processes to start here, which train the run together. None takes those
            that torchrun or srun started, or one. The first of them writes.
        called: what lines of progress call the run; by default its title.

    Raises:
        ParameterError: the configuration or the data set cannot be used; raised before any work.
        RunError: the run meets a full disk, a damaged file or too little memory.
        FloatingPointError: the loss becomes NaN or infinite.
    """
    peers = processes(devices)
    original = config
    config = config.resolved()
    run = Run(config.run_dir)
    if (run.path / "config.yaml").exists() and run.config.identity() != config.identity():
        problem = "holds a run of another configuration; move it away"
        raise ParameterError(f"runs_dir: {run.path} {problem}.")
    if run.finished:
        return _reused(run, config)
    if config.recipe != RECIPE:
        problem = f"it is {RECIPE} for new runs"
        raise ParameterError(f"recipe = {config.recipe} is not allowed: {problem}.")
    check_startable(peers, config.batch_size)
    _check_environment()
    resolve(original.device, original.precision)  # may print what auto means
    if config.device == "cuda":
        peers.check_devices(torch.cuda.device_count())
    interval = save_interval()
    is_branch = config.start_from and config.dataset != "imagenet100"
    if is_branch and not run.checkpoint.exists():
        start_at_trunk(config)  # raises if it cannot
    train, test = datasets(config, labelled=config.method == "supervised")
    words = called or title(config)
    job = Job(config, run, train, test, fingerprint(config), peers, interval, words)
    if peers.rank:
        return _train(job)
    with _lock(run, peers):
        return _reused(run, config) if run.finished else _train(job)


def fit_all(configs: Iterable[TrainConfig]) -> list[Run]:
    """`fit` for several runs in turn; progress says which one of how many is trained."""
    runs = list(configs)
    return [fit(run, called=words) for run, words in zip(runs, titles(runs), strict=True)]


def _check_environment() -> None:
    """Refuse variables that would give Lightning's trainer other settings than a run's record."""
    for name, value in os.environ.items():
        if name.startswith("PL_TRAINER_"):
            problem = "in the environment changes what is trained; unset it"
            raise ParameterError(f"{name} = {value!r} {problem}.")


def save_interval() -> float:
    """Seconds between two checkpoints: 60, or INFOMAX_SAVE_SECONDS from the environment.

    Raises:
        ParameterError: it is not a number of seconds.
    """
    text = os.environ.get("INFOMAX_SAVE_SECONDS", "60")
    with suppress(ValueError):
        if 0 <= float(text) < float("inf"):
            return float(text)
    allowed = "a number of seconds, 0 for a checkpoint after each epoch"
    raise not_allowed("INFOMAX_SAVE_SECONDS", text, allowed)


def datasets(config: TrainConfig, labelled: bool = False) -> tuple[ImageSet, ImageSet]:
    """The configured training and test splits.

    Args:
        config: names the data set, its place, and how many images are taken.
        labelled: leave out the training images that have no label, which a probe cannot use.

    Raises:
        ParameterError: they cannot be used, or have no labels although `labelled` asks for them.
    """
    place = (config.dataset, config.data_root)
    shape: dict = config.model_dump(include={"n_classes", "image_size", "damaged"})
    whole = config.dataset == "stl10" and config.method != "supervised"
    train = load(*place, "unlabeled" if whole else "train", config.n_train, config.seed, **shape)
    if len(train) < config.batch_size:
        problem = f"only {len(train)} images to train on"
        raise ParameterError(f"batch_size = {config.batch_size} is not allowed: {problem}.")
    if labelled and not train.classes:
        problem = "labels are needed, it has none"
        raise ParameterError(f"data_root = {config.data_root!r} is not allowed here: {problem}.")
    side = train.images.shape[-1]
    if side != config.size:
        problem = f"the images of {config.dataset} have {side} pixels a side; give {side}, or less"
        raise ParameterError(f"image_size = {config.image_size} is not allowed here: {problem}.")
    test = load(*place, "test", **shape)
    return train.labelled() if labelled else train, test


def _reused(run: Run, config: TrainConfig) -> Run:
    """The finished run, after checking that its files and its data are unchanged."""
    run.check_weights()
    try:
        data = fingerprint(config)
    except ParameterError as error:
        if config.dataset == "folder" or not error.data_missing:
            raise
        return run  # the data are not here: nothing to compare
    check_data(run.path, config, run.record.get("data"), data)
    return run


def _lock(run: Run, peers: Processes) -> AcquireReturnProxy:
    """The right to train the run, for which this process waits while another one has it.

    Where torchrun or srun has started further ones, these would not wait with it.
    """
    lock = FileLock(run.path / ".lock")
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except Timeout:
        if peers.launcher != "own" and peers.world > 1:
            busy = "is being trained by another process; start this again when that has ended"
            raise RunError(f"run: {run.path} {busy}.") from None
        say(f"{run.path.name} is being trained by another process; waiting for it.")
        return lock.acquire()
    except OSError as error:
        raise RunError(f"runs_dir: {run.path} cannot be written to: {error}") from None


def _train(job: Job) -> Run:
    """Fill the run's directory. Processes other than the first one write nothing."""
    from infomax_nb.train.trainer import pretrain  # which imports Lightning

    config = job.config
    run = job.run
    here = session(config)
    record = {"name": config.name, "recipe": config.recipe, "images": len(job.train), **here}
    if job.peers.rank == 0:
        _print_steps(job)
        for part in run.path.glob("*.part"):  # left by a killed process
            part.unlink()
        if not run.checkpoint.exists():  # what an earlier training kept is not of this one
            for epoch in run.kept_epochs:
                run.kept_checkpoint(epoch).unlink()
        # Of a run whose weights are gone, it seals metrics that are written anew.
        (run.path / "record.json").unlink(missing_ok=True)
        run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    training = _probe_imagenet(job) if config.dataset == "imagenet100" else pretrain(job, here)
    if job.peers.rank == 0:
        record |= {"finished": now(), "data": described(job.fingerprint, job.test)}
        _finish(run, record, training)
    wait_for_all()  # so that every process returns a finished run
    return run


def _print_steps(job: Job) -> None:
    """Print the number of steps to stderr, if a person is there or a `folder` makes too few."""
    config = job.config
    images = len(job.train)
    if config.dataset == "imagenet100":  # nothing is trained
        return
    few = config.dataset == "folder" and budget.steps(config, images) < budget.ENOUGH
    if few or shows_bars():
        print(f"{job.title}. {budget.in_words(config, images)}", file=sys.stderr, flush=True)


def _finish(run: Run, record: dict, training: dict) -> None:
    """Write the record, which marks the run as finished."""
    predictions = run.path / "predictions.npz"
    record |= {"weights": file_digest(run.path / "model.pt"), **training}
    record["predictions"] = file_digest(predictions) if predictions.exists() else None
    kept = {str(epoch): file_digest(run.kept_checkpoint(epoch)) for epoch in run.kept_epochs}
    record["kept"] = kept
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}, indent=1))
    run.checkpoint.unlink(missing_ok=True)


def _probe_imagenet(job: Job) -> dict:
    """Evaluate the run trained on ImageNet-1000 on 100 of its classes; return record entries.

    A new head is trained, with as many passes as in that run.
    """
    config = job.config
    trained = fit(config.replace(dataset="imagenet"), devices=job.peers.devices)
    device = torch.device(config.device)
    backbone = trained.method().get_submodule("backbone").to(device)
    width: int = backbone.num_features  # type: ignore[assignment]  # timm's networks have it
    evaluation = OnlineEvaluation(job.train, job.test, width, config.seed, device)
    evaluations = int(trained.metrics.effective_rank.count())
    measured = evaluation(backbone, config.epochs, passes=2 * evaluations)
    metrics = pd.DataFrame([{"epoch": config.epochs, **measured}])
    if job.peers.rank == 0:
        evaluation.write(job.run.path / "predictions.npz")
        job.run.write("metrics.csv", metrics.to_csv(index=False))
        job.run.write_weights(trained.weights)
    return {"of": trained.path.name, "devices": 1, "num_nodes": 1}
