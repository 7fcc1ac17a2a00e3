"""A run is a directory.

`config.yaml` is its configuration. `metrics.csv` has one row for each epoch. `predictions.npz` has
the predicted classes. `record.json` has commit, versions, hardware, threads and times.
`checkpoint.ckpt` exists while the run trains, `epoch_N.ckpt` for each epoch that it keeps, and
`model.pt` when it has finished.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from infomax_nb.config import UNSAID, TrainConfig, read_yaml, refuse_unknown
from infomax_nb.errors import RunError, file_errors
from infomax_nb.files import atomic_write, file_digest, load_weights, runs_folder
from infomax_nb.methods import build

# A record with one of these entries was written with a seal.
SEALED = {"seal", "devices", "data", "weights"}


@dataclass(frozen=True)
class Run:
    """A run directory, finished or not.

    Reading from it raises RunError if `config.yaml`, `metrics.csv` or `record.json` is not what the
    finished run wrote.
    """

    path: Path

    @property
    def finished(self) -> bool:
        """Whether the run has trained to its last epoch."""
        return (self.path / "model.pt").exists() and bool(self.record.get("finished"))

    @property
    def config(self) -> TrainConfig:
        """Its configuration, with the device and the precision that it really used.

        A run older than the field `precision` was float32 on the CPU: on CUDA none of these got
        beyond its first step.
        """
        path = self.intact / "config.yaml"
        if not path.exists():
            raise RunError(f"run: there is no {path}.")
        with file_errors(path, "run", RunError):
            values = UNSAID | read_yaml(path)
            if values["device"] == "auto":
                values["device"] = "cpu"
            return TrainConfig(**values).resolved()

    @property
    def metrics(self) -> pd.DataFrame:
        """One row per epoch: entropies and mutual information in nats, accuracies in percent."""
        path = self.intact / "metrics.csv"
        with file_errors(path, "run", RunError):
            return pd.read_csv(path)

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The predicted class of each test image after each evaluation.

        Returns:
            `epochs` (E,) of the evaluations; `knn` and `linear` (E, M); `labels` (M,), the true
            classes. If the set has superclasses, also `knn_within` and `linear_within` (E, M): the
            best class within the image's own superclass.

        Raises:
            RunError: there are none, or they are not those that the run wrote.
        """
        record = self.record
        path = self.path / "predictions.npz"
        digest = record.get("predictions")
        if digest is None and (record or not path.exists()):
            is_older = record and "predictions" not in record
            reason = "it is older than they are" if is_older else "no evaluation had labels"
            raise RunError(f"run: {self.path} has no predictions of its test images: {reason}.")
        self.check_file(path, digest)
        with file_errors(path, "run", RunError), np.load(path) as arrays:
            return dict(arrays)

    @property
    def record(self) -> dict:
        """Commit, versions, hardware and times; empty while there is none."""
        path = self.path / "record.json"
        with file_errors(path, "run", RunError):
            record = json.loads(path.read_bytes()) if path.exists() else {}
            has_seal = isinstance(record, dict) and not SEALED.isdisjoint(record)
            if not isinstance(record, dict) or (
                has_seal and record.get("seal") != self.seal(record)
            ):
                files = "config.yaml, metrics.csv and record.json"
                raise ValueError(f"the check sum of {files} is wrong")
        return record

    @property
    def intact(self) -> Path:
        """Its path, once its record has been checked."""
        _ = self.record
        return self.path

    @property
    def data_digest(self) -> str:
        """The digest of the data set that it was trained on.

        It is `unknown` for a run that is older than fingerprints.
        """
        return self.record.get("data", {}).get("digest", "unknown")

    def seal(self, record: dict) -> str:
        """Check sum of the run's configuration, its metrics and its record's entries."""
        files = [(self.path / name).read_bytes() for name in ("config.yaml", "metrics.csv")]
        entries = {name: value for name, value in record.items() if name != "seal"}
        text = json.dumps(entries, sort_keys=True)
        return hashlib.sha256(b"".join([*files, text.encode()])).hexdigest()

    def write(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        atomic_write(self.path / name, lambda part: part.write_text(text, encoding="utf-8"))

    def write_weights(self, weights: dict) -> None:
        """Write `model.pt`, which `weights` reads."""
        atomic_write(self.path / "model.pt", lambda part: torch.save(weights, part))

    def check_file(self, path: Path, digest: str | None) -> None:
        """Compare a file of the run with the check sum that its record names.

        Args:
            path: the file.
            digest: SHA-256; None where the record names none, as in old runs.

        Raises:
            RunError: it is another file, or cannot be read.
        """
        if digest and digest != file_digest(path):
            cure = "put it back, or delete the run"
            raise RunError(f"run: {path} is not the file that this run wrote; {cure}.")

    def check_weights(self) -> None:
        """Raise RunError if `model.pt` is not the file that the record names."""
        self.check_file(self.path / "model.pt", self.record.get("weights"))

    @property
    def weights(self) -> dict:
        """The trained method's state, and `n_classes`, the classes that it was made for.

        Raises:
            RunError: the file is damaged, or is not what the run wrote.
        """
        self.check_weights()
        return load_weights(self.path / "model.pt")

    def method(self) -> torch.nn.Module:
        """The trained method, in evaluation mode, on the CPU."""
        weights = self.weights
        method = build(self.config, weights.pop("n_classes"))
        method.load_state_dict(weights)
        return method.eval()

    @property
    def checkpoint(self) -> Path:
        """The path of its last checkpoint, which exists while it trains."""
        return self.path / "checkpoint.ckpt"

    def kept_checkpoint(self, epoch: int) -> Path:
        """The path of the checkpoint that it keeps for an epoch."""
        return self.path / f"epoch_{epoch}.ckpt"

    @property
    def kept_epochs(self) -> list[int]:
        """The epochs whose checkpoints it has kept, in rising order."""
        names = [path.stem.removeprefix("epoch_") for path in self.path.glob("epoch_*.ckpt")]
        return sorted(int(name) for name in names if name.isdecimal())


def collect(runs_dir: str | Path = "runs", **fixed) -> pd.DataFrame:
    """Metrics of all finished runs in a folder, one row for each epoch, their fields as columns.

    Args:
        runs_dir: the folder that holds the runs.
        fixed: values that their configurations must have, such as `dataset="cifar10", seed=0`.
            `device` and `precision` are those that a run used.

    Returns:
        The rows; no row and no column if there is no such run.

    Raises:
        ParameterError: there is no such field.
        RunError: a run's files are damaged.
    """
    refuse_unknown(fixed, TrainConfig.model_fields)
    return _rows(runs_dir, lambda config: fixed.items() <= config.model_dump().items())


def _rows(runs_dir: str | Path, wanted: Callable[[TrainConfig], bool]) -> pd.DataFrame:
    """As `collect`, of the runs whose configuration is wanted."""
    # Where a run lies may not be where it was trained. The epochs kept are no part of its result,
    # and a list cannot be a column's value.
    own = {"runs_dir": str(runs_dir), "keep_epochs": None}
    tables = []
    for record in sorted(runs_folder(runs_dir).glob("*/record.json")):
        run = Run(record.parent)
        if run.finished and wanted(run.config):
            fields = {**run.config.model_dump(), **own}
            tables.append(run.metrics.assign(run=run.path.name, **fields))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def siblings(config: TrainConfig, *differing: str) -> pd.DataFrame:
    """Metrics of all finished runs that differ from `config` in the named fields alone.

    Device and precision are also those of `config`, with what `auto` means here, unless they are
    among the named fields. If the run of `config` itself is finished, runs on other images are left
    out and named on stderr. Only fields that both methods have are compared: SimCLR has no kappa.

    Raises:
        ParameterError: there is no such field.
        RunError: a run's files are damaged.
    """
    refuse_unknown(differing, TrainConfig.model_fields)
    used = config.resolved()
    fixed = {"device": used.device, "precision": used.precision, **config.identity()}
    shared = {name: value for name, value in fixed.items() if name not in differing}

    def is_sibling(other: TrainConfig) -> bool:
        values = other.model_dump()
        compared = shared.keys() & {"device", "precision", *other.identity()}
        return all(values[name] == shared[name] for name in compared)

    metrics = _rows(config.runs_dir, is_sibling)
    own = Run(config.run_dir)
    if metrics.empty or not own.finished or config.dataset.startswith("glyphs"):
        return metrics
    digests = {name: Run(own.path.with_name(name)).data_digest for name in metrics.run.unique()}
    others = [name for name, digest in digests.items() if digest != own.data_digest]
    if others:
        reason = f"Left out, trained on other images than {own.path.name}"
        print(f"{reason}: {', '.join(others)}.", file=sys.stderr)
    return metrics[~metrics.run.isin(others)].reset_index(drop=True)
