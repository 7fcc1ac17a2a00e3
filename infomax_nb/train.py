"""`fit(config)`: train a run, resume it, or return it when it is finished. A run is a directory.

`config.yaml` the configuration; `metrics.csv` one row an epoch; `predictions.npz` the predicted classes; `record.json`
commit, versions, hardware, threads, times; `checkpoint.ckpt` while it trains, `epoch_N.ckpt` of epochs that it keeps;
`model.pt` when it is done.
"""

import argparse
import hashlib
import json
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from filelock import FileLock, Timeout

from . import branches, budget, data
from .config import (
    UNSAID,
    ParameterError,
    RunError,
    TrainConfig,
    file_digest,
    live,
    load_weights,
    read_yaml,
    reading,
    runs_folder,
    save_interval,
    write_whole,
)
from .device import hardware, resolve
from .evaluation import OnlineEvaluation
from .fingerprint import check_data, described, fingerprint
from .launch import Processes, check_startable, processes
from .methods import build
from .views import RECIPE

SEALED = {"seal", "devices", "data", "weights"}  # a record with one of these was written with a seal


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    @property
    def finished(self) -> bool:
        """Whether the run has trained to its last epoch."""
        return (self.path / "model.pt").exists() and bool(self.record.get("finished"))

    @property
    def config(self) -> TrainConfig:
        """The configuration it was started with, its device and precision those that it really used.

        A run from before there was a precision was float32 on the CPU: on CUDA none came further than its first step.
        """
        path = self.intact / "config.yaml"
        with reading(self.path / "config.yaml", "run", RunError):
            values = UNSAID | read_yaml(path)
            values["device"] = "cpu" if values["device"] == "auto" else values["device"]
            return TrainConfig(**values).resolved()

    @property
    def metrics(self) -> pd.DataFrame:
        """One row for each epoch: entropies and mutual information in nats, accuracies in percent."""
        return pd.read_csv(self.intact / "metrics.csv")

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The predicted class of each test image after each evaluation.

        `epochs` (E,) of the evaluations; `knn`, `linear` (E, M); `labels` (M,), the true classes. Where the set has
        superclasses also `knn_within`, `linear_within` (E, M): the best class among those of the image's own.

        Raises RunError if there are none, or they are not those that the run wrote.
        """
        record, path = self.record, self.path / "predictions.npz"
        if record.get("predictions") is None and (record or not path.exists()):
            why = "it is older than they are" if record and "predictions" not in record else "no evaluation had labels"
            raise RunError(f"run: {self.path} has no predictions of its test images: {why}.")
        if record and record["predictions"] != file_digest(path):
            raise RunError(f"run: {path} is not the file that this run wrote; put it back, or delete the run.")
        with reading(path, "run", RunError), np.load(path) as arrays:
            return dict(arrays)

    @property
    def record(self) -> dict:
        """Commit, versions, hardware and times; empty while there is none.

        Raises RunError if it, `config.yaml` or `metrics.csv` is not what the finished run wrote.
        """
        path = self.path / "record.json"
        with reading(path, "run", RunError):
            record = json.loads(path.read_bytes()) if path.exists() else {}
            if not isinstance(record, dict) or SEALED & {*record} and record.get("seal") != self.seal(record):
                raise ValueError("the check sum of config.yaml, metrics.csv and record.json is wrong")
        return record

    @property
    def intact(self) -> Path:
        """Its path; RunError as by `record`."""
        _ = self.record
        return self.path

    @property
    def data_digest(self) -> str:
        """The digest of the data set that it was trained on; `unknown` of a run older than fingerprints."""
        return self.record.get("data", {}).get("digest", "unknown")

    def seal(self, record: dict) -> str:
        """Check sum of the run's configuration, its metrics and what its record says."""
        said = json.dumps({name: value for name, value in record.items() if name != "seal"}, sort_keys=True)
        files = [(self.path / name).read_bytes() for name in ("config.yaml", "metrics.csv")]
        return hashlib.sha256(b"".join([*files, said.encode()])).hexdigest()

    def write(self, name: str, text: str) -> None:
        """A file of the run, whole or not at all."""
        write_whole(self.path / name, lambda p: p.write_text(text, encoding="utf-8"))

    @property
    def weights(self) -> dict:
        """The trained method's state, and `n_classes`, the number of classes that it was made for.

        Raises RunError for a file that is damaged, or is not the one that the run wrote.
        """
        self.check_weights()
        return load_weights(self.path / "model.pt")

    def check_weights(self) -> None:
        """Raise RunError if `model.pt` is not the file that the record names; runs of old don't name it."""
        recorded = self.record.get("weights")
        path = self.path / "model.pt"
        if recorded and recorded != file_digest(path):
            raise RunError(f"run: {path} is not the file that this run wrote; put it back, or delete the run.")

    def method(self) -> torch.nn.Module:
        """The trained method, in evaluation mode, on the CPU."""
        weights = self.weights
        method = build(self.config, weights.pop("n_classes"))
        method.load_state_dict(weights)
        return method.eval()


def fit(config: TrainConfig, devices: int | None = None) -> Run:
    """Train the run that `config` describes, with what `auto` means here; return it finished.

    A finished run is returned as it is, an interrupted one goes on after the last whole epoch that it saved (a minute
    apart or more, see `loop.Recorder`), or after the step at which SIGTERM came (the process exits with 143 then). When
    another process trains the same run, this one says so (not into a notebook that runs unattended), waits, and returns
    that one's result. Processes that torchrun or srun started train one run together; `devices` of them are started
    here otherwise (see `loop.run`), and the first writes.

    Raises ParameterError before any work for a configuration or a data set that can't be used; RunError when the run
    meets a full disk, a damaged file or too little memory; FloatingPointError when the loss becomes NaN or infinite.
    """
    there = processes(devices)
    asked = config
    config = config.resolved()
    run = Run(config.run_dir)
    if (run.path / "config.yaml").exists() and run.config.identity() != config.identity():
        raise ParameterError(f"runs_dir: {run.path} holds a run of another configuration; move it away.")
    if run.finished:
        return _reused(run, config)
    if config.recipe != RECIPE:
        raise ParameterError(f"recipe = {config.recipe} is not allowed: it is {RECIPE} for new runs.")
    check_startable(there, config.batch_size)
    resolve(asked.device, asked.precision)
    save_interval()  # refuses what is no number
    if config.start_from and config.dataset != "imagenet100" and not (run.path / "checkpoint.ckpt").exists():
        branches.trunk_of(config)
    train, test = datasets(config, labelled=config.method == "supervised")
    if there.rank:
        return _train(config, run, train, test, there)
    lock = FileLock(run.path / ".lock")
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(timeout=0)
    except Timeout:
        if live() or "ipykernel" not in sys.modules:  # like progress bars, it is nothing for a stored output
            print(f"{config.name} is being trained by another process; waiting for it.", file=sys.stderr, flush=True)
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


def datasets(config: TrainConfig, labelled: bool = False) -> tuple[data.ImageSet, data.ImageSet]:
    """The training and the test split that are configured; ParameterError if they must have labels and don't."""
    shape: dict = {"n_classes": config.n_classes, "image_size": config.image_size, "damaged": config.damaged}
    first = "unlabeled" if config.dataset == "stl10" and config.method != "supervised" else "train"
    train = data.load(config.dataset, config.data_root, first, config.n_train, config.seed, **shape)
    if len(train) < config.batch_size:
        raise ParameterError(f"batch_size = {config.batch_size} is not allowed: only {len(train)} images to train on.")
    if labelled and not train.classes:
        raise ParameterError(f"data_root = {config.data_root!r} is not allowed here: labels are needed, it has none.")
    return train, data.load(config.dataset, config.data_root, "test", **shape)


def collect(runs_dir: str | Path = "runs", **fixed) -> pd.DataFrame:
    """Metrics of all finished runs in `runs_dir`, one row an epoch, with their configuration's fields as columns.

    `fixed` keeps runs whose configuration has these values, for example `dataset="cifar10", seed=0, device="cuda"`.
    `device` and `precision` are what a run used.
    """
    runs = [Run(path.parent) for path in sorted(runs_folder(runs_dir).glob("*/record.json"))]
    # What a run keeps is no part of its result, and a list is no value of a column.
    found = ((run, {**run.config.model_dump(), "keep_epochs": None}) for run in runs if run.finished)
    tables = [r.metrics.assign(run=r.path.name, **own) for r, own in found if fixed.items() <= own.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def siblings(config: TrainConfig, *differing: str) -> pd.DataFrame:
    """Metrics of all finished runs whose configuration differs from `config` in the named fields alone.

    Of runs on one device and in one precision, those that `auto` means here, unless these are among the named. Where
    the run of `config` itself is finished, runs on other images are left out and named on stderr.
    """
    used = config.resolved()
    fixed = {"device": used.device, "precision": used.precision, **config.identity()}
    metrics = collect(config.runs_dir, **{k: v for k, v in fixed.items() if k not in differing})
    own = Run(config.run_dir)
    if metrics.empty or not own.finished or config.dataset.startswith("glyphs"):
        return metrics
    digests = {name: Run(own.path.with_name(name)).data_digest for name in metrics.run.unique()}
    others = [name for name, digest in digests.items() if digest != own.data_digest]
    if others:
        print(f"Left out, trained on other images than {own.path.name}: {', '.join(others)}.", file=sys.stderr)
    return metrics[~metrics.run.isin(others)].reset_index(drop=True)


def _train(config: TrainConfig, run: Run, train: data.ImageSet, test: data.ImageSet, there: Processes) -> Run:
    from . import loop

    record: dict = {"name": config.name, "recipe": config.recipe, "started": _now(), "images": len(train)}
    record |= environment(config)
    seen = fingerprint(config)
    if there.rank == 0:
        _say_how_long(config, len(train))
        list(map(Path.unlink, run.path.glob("*.part")))  # what a killed process left
        run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    work = _probe_imagenet if config.dataset == "imagenet100" else loop.run
    weights, more = work(config, train, test, run.path, there, seen)
    if there.rank:
        return run
    write_whole(run.path / "model.pt", lambda p: torch.save(weights, p))
    record |= {"finished": _now(), "data": described(seen, test), "weights": file_digest(run.path / "model.pt"), **more}
    predictions = run.path / "predictions.npz"
    record["predictions"] = file_digest(predictions) if predictions.exists() else None
    record["kept"] = {str(epoch): file_digest(path) for epoch, path in sorted(branches.kept_by(run.path).items())}
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}, indent=1))
    (run.path / "checkpoint.ckpt").unlink(missing_ok=True)
    return run


def _say_how_long(config: TrainConfig, images: int) -> None:
    """The number of steps, on stderr: to somebody who is there, and to everybody whose own folder makes too few."""
    if config.dataset == "imagenet100":  # nothing is trained
        return
    few = config.dataset == "folder" and budget.steps(config, images) < budget.ENOUGH
    if few or live() or sys.stderr.isatty():
        print(budget.in_words(config, images), file=sys.stderr, flush=True)


def _probe_imagenet(
    config: TrainConfig, train: data.ImageSet, test: data.ImageSet, folder: Path, there: Processes, seen: dict
):
    """The run trained on ImageNet-1000, evaluated on 100 of its classes: a new head, as many passes as there."""
    trained = fit(config.but(dataset="imagenet"))
    device = torch.device(config.device)
    backbone = trained.method().get_submodule("backbone").to(device)
    evaluation = OnlineEvaluation(train, test, backbone.num_features, config.seed, device)  # type: ignore[arg-type]
    metrics = {"epoch": config.epochs, **evaluation(backbone, config.epochs, passes=2 * config.epochs)}
    evaluation.write(folder / "predictions.npz")
    Run(folder).write("metrics.csv", pd.DataFrame([metrics]).to_csv(index=False))
    return trained.weights, {"of": trained.path.name, "devices": 1, "num_nodes": 1}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(config: TrainConfig | None = None) -> dict:
    """What a result depends on beside the configuration: commit, versions, threads, and the hardware that was used.

    `config`: the run's, `resolved`; None for what is computed on the CPU in float32.
    """
    versions = {p: version(p) for p in ("torch", "torchvision", "pytorch-lightning", "timm", "lightly", "numpy")}
    used = hardware(config.device, config.precision) if config else hardware("cpu", "32")
    return {"commit": branches.commit(), "python": platform.python_version(), "versions": versions, **used}


def main() -> None:
    """`python -m infomax_nb.train params/x.yaml -p epochs 1 -p data_root DIR`: train what a file describes.

    `--from RUN_DIR` trains anew, on as many threads, what the record of a run describes, into `rebuilt/` beside it.
    Several devices: `--devices 2`, or `torchrun --nproc-per-node 2 -m infomax_nb.train ...`, or `srun -n 2 ...`.
    """
    parser = argparse.ArgumentParser(prog="python -m infomax_nb.train", description=main.__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", help="a parameter file")
    source.add_argument("--from", dest="run", metavar="RUN_DIR", help="a run to train anew")
    parser.add_argument("--devices", type=int, help="processes on this machine, one for each device; default 1")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="as papermill's")
    given = parser.parse_args()
    try:
        changes = {k: None if v in ("none", "None", "null", "~") else v for k, v in given.p}
        if given.run:
            old = Run(Path(given.run).resolve())
            torch.set_num_threads(old.record.get("threads") or torch.get_num_threads())
            config = old.config.but(**{"runs_dir": str(old.path.parent / "rebuilt"), **changes})
        else:
            config = TrainConfig.from_yaml(given.file, **changes)
        run = fit(config, given.devices)
        if processes(given.devices).rank == 0:
            print(run.path)
    except (ParameterError, RunError, FloatingPointError) as error:
        sys.exit(f"{given.file or given.run}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
