"""`fit(config)`: train a run, resume it, or return it when it is finished. A run is a directory.

`config.yaml` the configuration; `metrics.csv` one row an epoch; `predictions.npz` the predicted
classes; `record.json` commit, versions, hardware, threads, times; `checkpoint.ckpt` while it
trains, `epoch_N.ckpt` of epochs that it keeps; `model.pt` when it is done.
"""

import json
import sys
from pathlib import Path

import pandas as pd
import torch
import yaml
from filelock import FileLock, Timeout

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import check_data, described, fingerprint
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.device import resolve
from infomax_nb.distributed import Processes, check_startable, processes
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import atomic_write, file_digest
from infomax_nb.notebook import is_interactive
from infomax_nb.train import branches, budget
from infomax_nb.train.record import _now, environment
from infomax_nb.train.recorder import save_interval
from infomax_nb.train.run import Run
from infomax_nb.views.batch import RECIPE


def fit(config: TrainConfig, devices: int | None = None) -> Run:
    """Train the run that `config` describes, with what `auto` means here; return it finished.

    A finished run is returned as it is, an interrupted one goes on after the last whole epoch that
    it saved (a minute apart or more, see `loop.Recorder`), or after the step at which SIGTERM came
    (the process exits with 143 then). When another process trains the same run, this one says so
    (not into a notebook that runs unattended), waits, and returns that one's result. Processes that
    torchrun or srun started train one run together; `devices` of them are started here otherwise
    (see `loop.run`), and the first writes.

    Raises ParameterError before any work for a configuration or a data set that can't be used;
    RunError when the run meets a full disk, a damaged file or too little memory; FloatingPointError
    when the loss becomes NaN or infinite.
    """
    there = processes(devices)
    asked = config
    config = config.resolved()
    run = Run(config.run_dir)
    if (run.path / "config.yaml").exists() and run.config.identity() != config.identity():
        raise ParameterError(
            f"runs_dir: {run.path} holds a run of another configuration; move it away."
        )
    if run.finished:
        return _reused(run, config)
    if config.recipe != RECIPE:
        raise ParameterError(
            f"recipe = {config.recipe} is not allowed: it is {RECIPE} for new runs."
        )
    check_startable(there, config.batch_size)
    resolve(asked.device, asked.precision)
    save_interval()  # refuses what is no number
    if (
        config.start_from
        and config.dataset != "imagenet100"
        and not (run.path / "checkpoint.ckpt").exists()
    ):
        branches.trunk_of(config)
    train, test = datasets(config, labelled=config.method == "supervised")
    if there.rank:
        return _train(config, run, train, test, there)
    lock = FileLock(run.path / ".lock")
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(timeout=0)
    except Timeout:
        if (
            is_interactive() or "ipykernel" not in sys.modules
        ):  # like progress bars, it is nothing for a stored output
            print(
                f"{config.name} is being trained by another process; waiting for it.",
                file=sys.stderr,
                flush=True,
            )
        held = lock.acquire()
    except OSError as error:
        raise RunError(f"runs_dir: {run.path} cannot be written to: {error}") from None
    with held:
        return _reused(run, config) if run.finished else _train(config, run, train, test, there)


def _reused(run: Run, config: TrainConfig) -> Run:
    """The finished run, if its files are those that it wrote and its data are what they were."""
    run.check_weights()
    try:
        now = fingerprint(config)
    except ParameterError as error:
        if config.dataset == "folder" or not error.data_missing:
            raise
        return run  # the run is there and its data are not: nothing to compare
    check_data(run.path, config, run.record.get("data"), now)
    return run


def datasets(config: TrainConfig, labelled: bool = False) -> tuple[ImageSet, ImageSet]:
    """The training and the test split that are configured; ParameterError if they must have labels
    and don't."""
    shape: dict = {
        "n_classes": config.n_classes,
        "image_size": config.image_size,
        "damaged": config.damaged,
    }
    first = "unlabeled" if config.dataset == "stl10" and config.method != "supervised" else "train"
    train = load(config.dataset, config.data_root, first, config.n_train, config.seed, **shape)
    if len(train) < config.batch_size:
        raise ParameterError(
            f"batch_size = {config.batch_size} is not allowed: only {len(train)} images to train on."
        )
    if labelled and not train.classes:
        raise ParameterError(
            f"data_root = {config.data_root!r} is not allowed here: labels are needed, it has none."
        )
    return train, load(config.dataset, config.data_root, "test", **shape)


def _train(config: TrainConfig, run: Run, train: ImageSet, test: ImageSet, there: Processes) -> Run:
    from infomax_nb.train.trainer import run as loop_run

    record: dict = {
        "name": config.name,
        "recipe": config.recipe,
        "started": _now(),
        "images": len(train),
    }
    record |= environment(config)
    seen = fingerprint(config)
    if there.rank == 0:
        _say_how_long(config, len(train))
        list(map(Path.unlink, run.path.glob("*.part")))  # what a killed process left
        run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    work = _probe_imagenet if config.dataset == "imagenet100" else loop_run
    weights, more = work(config, train, test, run.path, there, seen)
    if there.rank:
        return run
    atomic_write(run.path / "model.pt", lambda p: torch.save(weights, p))
    record |= {
        "finished": _now(),
        "data": described(seen, test),
        "weights": file_digest(run.path / "model.pt"),
        **more,
    }
    predictions = run.path / "predictions.npz"
    record["predictions"] = file_digest(predictions) if predictions.exists() else None
    record["kept"] = {
        str(epoch): file_digest(path) for epoch, path in sorted(branches.kept_by(run.path).items())
    }
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}, indent=1))
    (run.path / "checkpoint.ckpt").unlink(missing_ok=True)
    return run


def _say_how_long(config: TrainConfig, images: int) -> None:
    """The number of steps, on stderr: to somebody who is there, and to everybody whose own folder
    makes too few."""
    if config.dataset == "imagenet100":  # nothing is trained
        return
    few = config.dataset == "folder" and budget.steps(config, images) < budget.ENOUGH
    if few or is_interactive() or sys.stderr.isatty():
        print(budget.in_words(config, images), file=sys.stderr, flush=True)


def _probe_imagenet(
    config: TrainConfig, train: ImageSet, test: ImageSet, folder: Path, there: Processes, seen: dict
):
    """The run trained on ImageNet-1000, evaluated on 100 of its classes: a new head, as many passes
    as there."""
    trained = fit(config.replace(dataset="imagenet"))
    device = torch.device(config.device)
    backbone = trained.method().get_submodule("backbone").to(device)
    evaluation = OnlineEvaluation(train, test, backbone.num_features, config.seed, device)  # type: ignore[arg-type]
    metrics = {
        "epoch": config.epochs,
        **evaluation(backbone, config.epochs, passes=2 * config.epochs),
    }
    evaluation.write(folder / "predictions.npz")
    Run(folder).write("metrics.csv", pd.DataFrame([metrics]).to_csv(index=False))
    return trained.weights, {"of": trained.path.name, "devices": 1, "num_nodes": 1}
