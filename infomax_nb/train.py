"""`fit(config)`: train a run, resume it, or return it when it is finished. A run is a directory.

`config.yaml` the configuration; `metrics.csv` one row an epoch; `record.json` commit, versions, hardware, threads,
times; `checkpoint.ckpt` while it trains; `model.pt` when it is done.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
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
from .config import ParameterError, TrainConfig, project_root, read_yaml
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

    def method(self) -> nn.Module:
        """The trained method, in evaluation mode, on the CPU."""
        weights = torch.load(self.path / "model.pt", map_location="cpu", weights_only=True)
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
    if config.dataset == "imagenet100":
        return _evaluate(config, run)
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


def _evaluate(config: TrainConfig, run: Run) -> Run:
    """The run trained on ImageNet-1000, evaluated on 100 of its classes: a new head, as many passes as there."""
    from .evaluation import OnlineEvaluation

    train, test = datasets(config)
    trained = fit(config.but(dataset="imagenet"))
    device = torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
    backbone = trained.method().backbone.to(device)
    evaluation = OnlineEvaluation(train, test, backbone.num_features, config.seed, device)
    metrics = evaluation(backbone, config.epochs, passes=2 * config.epochs)
    run.path.mkdir(parents=True, exist_ok=True)
    run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    run.write("metrics.csv", pd.DataFrame([{"epoch": config.epochs, **metrics}]).to_csv(index=False))
    shutil.copy(trained.path / "model.pt", run.path)
    record = {"name": config.name, "of": trained.path.name, **environment(), "finished": _now()}
    run.write("record.json", json.dumps(record, indent=1))
    return run


def datasets(config: TrainConfig) -> tuple[data.ImageSet, data.ImageSet]:
    """The training and the test split that the configuration names."""
    shape = {"n_classes": config.n_classes, "image_size": config.image_size}
    first = "unlabeled" if config.dataset == "stl10" and config.method != "supervised" else "train"
    train = data.load(config.dataset, config.data_root, first, config.n_train, config.seed, **shape)
    if len(train) < config.batch_size:
        raise ParameterError(
            f"batch_size = {config.batch_size} is not allowed: the training split has only {len(train)} images."
        )
    return train, data.load(config.dataset, config.data_root, "test", **shape)


def collect(runs_dir: str | Path = "runs", **fixed) -> pd.DataFrame:
    """Metrics of all finished runs in `runs_dir`, one row an epoch, with their configuration's fields as columns.

    `fixed` keeps runs whose configuration has these values, for example `dataset="cifar10", seed=0`.
    """
    tables = []
    for path in sorted((project_root() / runs_dir).glob("*/record.json")):
        run = Run(path.parent)
        if run.finished:
            fields = run.config.model_dump()
            if all(fields[k] == v for k, v in fixed.items()):
                metrics = run.metrics
                constant = {k: v for k, v in fields.items() if k not in metrics}
                tables.append(metrics.assign(run=path.parent.name, **constant))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def siblings(config: TrainConfig, *differing: str) -> pd.DataFrame:
    """Metrics of all finished runs whose configuration differs from `config` in the named fields alone."""
    fixed = {k: v for k, v in config.identity().items() if k not in differing}
    return collect(config.runs_dir, **fixed)


def _train(config: TrainConfig, run: Run, train: data.ImageSet, test: data.ImageSet) -> Run:
    from . import loop

    with torch.random.fork_rng():
        torch.manual_seed(data.stream(config.seed, 0, 2))
        method = build(config, len(train.classes))
    run.write("config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))
    record = {"name": config.name, "started": _now(), "images": len(train), **environment()}
    recorder = loop.run(config, method, train, test, run.path, _save)
    weights = {k: v.detach().cpu() for k, v in method.state_dict().items()} | {"n_classes": len(train.classes)}
    write_whole(run.path / "model.pt", lambda p: torch.save(weights, p))
    seconds = [round(sum(s), 1) for s in zip(*recorder.seconds, strict=True)]
    record |= {"finished": _now(), "train_seconds": seconds[0], "evaluation_seconds": seconds[1]}
    run.write("record.json", json.dumps(record, indent=1))
    (run.path / "checkpoint.ckpt").unlink(missing_ok=True)
    return run


def _save(folder: Path, trainer, recorder) -> None:
    if trainer.is_global_zero:
        write_whole(folder / "metrics.csv", lambda p: pd.DataFrame(recorder.history).to_csv(p, index=False))
    write_whole(folder / "checkpoint.ckpt", lambda p: trainer.save_checkpoint(p))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: a reader sees all of it or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict:
    """What a result depends on beside the configuration: commit, versions, hardware, threads."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(project_root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    packages = ("torch", "torchvision", "pytorch-lightning", "timm", "lightly", "numpy")
    return {
        "commit": git("rev-parse", "HEAD") + ("-modified" if git("status", "--porcelain", "-uno") else ""),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


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
