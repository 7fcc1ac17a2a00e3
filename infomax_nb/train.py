"""`fit(config)`: train a run, resume it, or return it when it is finished. A run is a directory.

`config.yaml` the configuration; `metrics.csv` one row an epoch; `record.json` commit, versions, hardware, threads,
times; `checkpoint.ckpt` while it trains; `model.pt` when it is done.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
import yaml
from filelock import FileLock, Timeout
from torch import nn

from . import data
from .config import ParameterError, TrainConfig, project_root, read_yaml, write_whole
from .evaluation import OnlineEvaluation
from .methods import build


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
        """The configuration it was started with."""
        return TrainConfig(**read_yaml(self.path / "config.yaml"))

    @property
    def metrics(self) -> pd.DataFrame:
        """One row for each epoch: entropies and mutual information in nats, accuracies in percent."""
        return pd.read_csv(self.path / "metrics.csv")

    @property
    def record(self) -> dict:
        """Commit, versions, hardware and times; empty while there is none."""
        path = self.path / "record.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def write(self, name: str, text: str) -> None:
        """A file of the run, whole or not at all."""
        write_whole(self.path / name, lambda p: p.write_text(text, encoding="utf-8"))

    @property
    def weights(self) -> dict:
        """The trained method's state, and `n_classes`, the number of classes that it was made for."""
        return torch.load(self.path / "model.pt", map_location="cpu", weights_only=True)

    def method(self) -> nn.Module:
        """The trained method, in evaluation mode, on the CPU."""
        weights = self.weights
        method = build(self.config, weights.pop("n_classes"))
        method.load_state_dict(weights)
        return method.eval()


def fit(config: TrainConfig) -> Run:
    """Train the run that `config` describes; return it finished.

    A finished run is returned as it is, an interrupted one goes on after its last whole epoch. When another process
    trains the same run, this one says so, waits, and returns that one's result.

    Raises ParameterError before any work for a configuration or a data set that can't be used.
    """
    run = Run(config.run_dir)
    if (run.path / "config.yaml").exists() and run.config.identity() != config.identity():
        raise ParameterError(f"runs_dir: {run.path} holds a run of another configuration; move it away.")
    if run.finished:
        return run
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device = 'cuda' is not allowed here: torch sees no CUDA device; use auto or cpu.")
    train, test = datasets(config)
    run.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{config.name} is being trained by another process; waiting for it.", file=sys.stderr, flush=True)
        lock.acquire()
    with lock:
        lock.release()
        return run if run.finished else _train(config, run, train, test)


def datasets(config: TrainConfig) -> tuple[data.ImageSet, data.ImageSet]:
    """The training and the test split that the configuration names."""
    shape = {"n_classes": config.n_classes, "image_size": config.image_size}
    first = "unlabeled" if config.dataset == "stl10" and config.method != "supervised" else "train"
    train = data.load(config.dataset, config.data_root, first, config.n_train, config.seed, **shape)
    if len(train) < config.batch_size:
        size, found = config.batch_size, len(train)
        raise ParameterError(f"batch_size = {size} is not allowed: the training split has only {found} images.")
    return train, data.load(config.dataset, config.data_root, "test", **shape)


def collect(runs_dir: str | Path = "runs", **fixed) -> pd.DataFrame:
    """Metrics of all finished runs in `runs_dir`, one row an epoch, with their configuration's fields as columns.

    `fixed` keeps runs whose configuration has these values, for example `dataset="cifar10", seed=0`.
    """
    runs = [Run(path.parent) for path in sorted((project_root() / runs_dir).glob("*/record.json"))]
    tables = []
    for run, fields in [(run, run.config.model_dump()) for run in runs if run.finished]:
        if all(fields[k] == v for k, v in fixed.items()):
            tables.append(run.metrics.assign(run=run.path.name, **fields))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def siblings(config: TrainConfig, *differing: str) -> pd.DataFrame:
    """Metrics of all finished runs whose configuration differs from `config` in the named fields alone."""
    fixed = {k: v for k, v in config.identity().items() if k not in differing}
    return collect(config.runs_dir, **fixed)


def _train(config: TrainConfig, run: Run, train: data.ImageSet, test: data.ImageSet) -> Run:
    run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    record = {"name": config.name, "started": _now(), "images": len(train), **environment()}
    work = _probe_imagenet if config.dataset == "imagenet100" else _optimise
    weights, more = work(config, run, train, test)
    write_whole(run.path / "model.pt", lambda p: torch.save(weights, p))
    run.write("record.json", json.dumps({**record, "finished": _now(), **more}, indent=1))
    (run.path / "checkpoint.ckpt").unlink(missing_ok=True)
    return run


def _optimise(config: TrainConfig, run: Run, train: data.ImageSet, test: data.ImageSet) -> tuple[dict, dict]:
    """Train to the last epoch; returns the weights and what else the record holds."""
    from . import loop

    with torch.random.fork_rng():
        torch.manual_seed(data.stream(config.seed, 0, 2))
        method = build(config, len(train.classes))
    recorder = loop.run(config, method, train, test, run.path)
    seconds = pd.DataFrame(recorder.seconds, columns=["train_seconds", "evaluation_seconds"]).sum().round(1)
    weights = {k: v.detach().cpu() for k, v in method.state_dict().items()} | {"n_classes": len(train.classes)}
    return weights, seconds.to_dict()


def _probe_imagenet(config: TrainConfig, run: Run, train: data.ImageSet, test: data.ImageSet) -> tuple[dict, dict]:
    """The run trained on ImageNet-1000, evaluated on 100 of its classes: a new head, as many passes as there."""
    trained = fit(config.but(dataset="imagenet"))
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    backbone = trained.method().backbone.to(device)
    evaluation = OnlineEvaluation(train, test, backbone.num_features, config.seed, device)
    metrics = {"epoch": config.epochs, **evaluation(backbone, config.epochs, passes=2 * config.epochs)}
    run.write("metrics.csv", pd.DataFrame([metrics]).to_csv(index=False))
    return trained.weights, {"of": trained.path.name}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict:
    """What a result depends on beside the configuration: commit, versions, hardware, threads."""

    describe = ["git", "-C", str(project_root()), "describe", "--always", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run([*describe, "--dirty=-modified"], capture_output=True, text=True, check=False)
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    packages = ("torch", "torchvision", "pytorch-lightning", "timm", "lightly", "numpy")
    software = {"commit": commit.stdout.strip(), "python": platform.python_version()}
    software["versions"] = {name: version(name) for name in packages}
    cpu, gpu = models[0] if models else platform.processor(), torch.cuda.is_available() and torch.cuda.get_device_name()
    return software | {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu or None}


def main() -> None:
    """`python -m infomax_nb.train params/x.yaml -p epochs 1 -p data_root DIR`: train what a file describes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", help="a parameter file")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="as papermill's")
    arguments = parser.parse_args()
    try:
        config = TrainConfig.from_yaml(arguments.file, **{k: yaml.safe_load(v) for k, v in arguments.p})
        print(fit(config).path)
    except ParameterError as error:
        sys.exit(f"{arguments.file}: {error}")


if __name__ == "__main__":
    main()
