"""train.run."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from infomax_nb.config import UNSAID, TrainConfig, read_yaml
from infomax_nb.errors import RunError, file_errors
from infomax_nb.files import atomic_write, file_digest, load_weights, runs_folder
from infomax_nb.methods import build

SEALED = {
    "seal",
    "devices",
    "data",
    "weights",
}  # a record with one of these was written with a seal


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
        """The configuration it was started with, its device and precision those that it really
        used.

        A run from before there was a precision was float32 on the CPU: on CUDA none came further
        than its first step.
        """
        path = self.intact / "config.yaml"
        with file_errors(self.path / "config.yaml", "run", RunError):
            values = UNSAID | read_yaml(path)
            values["device"] = "cpu" if values["device"] == "auto" else values["device"]
            return TrainConfig(**values).resolved()

    @property
    def metrics(self) -> pd.DataFrame:
        """One row for each epoch: entropies and mutual information in nats, accuracies in
        percent."""
        return pd.read_csv(self.intact / "metrics.csv")

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The predicted class of each test image after each evaluation.

        `epochs` (E,) of the evaluations; `knn`, `linear` (E, M); `labels` (M,), the true classes.
        Where the set has superclasses also `knn_within`, `linear_within` (E, M): the best class
        among those of the image's own.

        Raises RunError if there are none, or they are not those that the run wrote.
        """
        record, path = self.record, self.path / "predictions.npz"
        if record.get("predictions") is None and (record or not path.exists()):
            why = (
                "it is older than they are"
                if record and "predictions" not in record
                else "no evaluation had labels"
            )
            raise RunError(f"run: {self.path} has no predictions of its test images: {why}.")
        if record and record["predictions"] != file_digest(path):
            raise RunError(
                f"run: {path} is not the file that this run wrote; put it back, or delete the run."
            )
        with file_errors(path, "run", RunError), np.load(path) as arrays:
            return dict(arrays)

    @property
    def record(self) -> dict:
        """Commit, versions, hardware and times; empty while there is none.

        Raises RunError if it, `config.yaml` or `metrics.csv` is not what the finished run wrote.
        """
        path = self.path / "record.json"
        with file_errors(path, "run", RunError):
            record = json.loads(path.read_bytes()) if path.exists() else {}
            if (
                not isinstance(record, dict)
                or SEALED & {*record}
                and record.get("seal") != self.seal(record)
            ):
                raise ValueError(
                    "the check sum of config.yaml, metrics.csv and record.json is wrong"
                )
        return record

    @property
    def intact(self) -> Path:
        """Its path; RunError as by `record`."""
        _ = self.record
        return self.path

    @property
    def data_digest(self) -> str:
        """The digest of the data set that it was trained on; `unknown` of a run older than
        fingerprints."""
        return self.record.get("data", {}).get("digest", "unknown")

    def seal(self, record: dict) -> str:
        """Check sum of the run's configuration, its metrics and what its record says."""
        said = json.dumps(
            {name: value for name, value in record.items() if name != "seal"}, sort_keys=True
        )
        files = [(self.path / name).read_bytes() for name in ("config.yaml", "metrics.csv")]
        return hashlib.sha256(b"".join([*files, said.encode()])).hexdigest()

    def write(self, name: str, text: str) -> None:
        """A file of the run, whole or not at all."""
        atomic_write(self.path / name, lambda p: p.write_text(text, encoding="utf-8"))

    @property
    def weights(self) -> dict:
        """The trained method's state, and `n_classes`, the number of classes that it was made for.

        Raises RunError for a file that is damaged, or is not the one that the run wrote.
        """
        self.check_weights()
        return load_weights(self.path / "model.pt")

    def check_weights(self) -> None:
        """Raise RunError if `model.pt` is not the file that the record names; runs of old don't
        name it."""
        recorded = self.record.get("weights")
        path = self.path / "model.pt"
        if recorded and recorded != file_digest(path):
            raise RunError(
                f"run: {path} is not the file that this run wrote; put it back, or delete the run."
            )

    def method(self) -> torch.nn.Module:
        """The trained method, in evaluation mode, on the CPU."""
        weights = self.weights
        method = build(self.config, weights.pop("n_classes"))
        method.load_state_dict(weights)
        return method.eval()


def collect(runs_dir: str | Path = "runs", **fixed) -> pd.DataFrame:
    """Metrics of all finished runs in `runs_dir`, one row an epoch, with their configuration's
    fields as columns.

    `fixed` keeps runs whose configuration has these values, for example `dataset="cifar10", seed=0,
    device="cuda"`. `device` and `precision` are what a run used.
    """
    runs = [Run(path.parent) for path in sorted(runs_folder(runs_dir).glob("*/record.json"))]
    # What a run keeps is no part of its result, and a list is no value of a column.
    found = (
        (run, {**run.config.model_dump(), "keep_epochs": None}) for run in runs if run.finished
    )
    tables = [
        r.metrics.assign(run=r.path.name, **own) for r, own in found if fixed.items() <= own.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def siblings(config: TrainConfig, *differing: str) -> pd.DataFrame:
    """Metrics of all finished runs whose configuration differs from `config` in the named fields
    alone.

    Of runs on one device and in one precision, those that `auto` means here, unless these are among
    the named. Where the run of `config` itself is finished, runs on other images are left out and
    named on stderr.
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
        print(
            f"Left out, trained on other images than {own.path.name}: {', '.join(others)}.",
            file=sys.stderr,
        )
    return metrics[~metrics.run.isin(others)].reset_index(drop=True)
