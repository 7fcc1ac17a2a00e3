"""What was asked for on the command line, and what follows from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infomax_nb.config import TrainConfig
from infomax_nb.files import project_root
from pipeline.evidence.places import Places
from pipeline.gpu.data import reason_against
from pipeline.gpu.order import Part
from pipeline.gpu.results import Results

TRIAL = {"epochs": 1, "n_train": 64, "batch_size": 32, "proj_dim": 16}
ON_GLYPHS = {"dataset": "glyphs", "n_classes": 10}
QUIET = {"INFOMAX_TRIAL": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Setting:
    """What was asked for.

    Args:
        minutes: the time for everything.
        device: `cuda`, or `cpu` for a trial.
        data_root: the folder of the data.
        runs_dir: the folder of the runs.
        reports: the folder of the results.
        scratch: a folder for logs and short runs.
        tolerance: what checks allow is multiplied by this.
        despite: whether to go on after a failed check.
    """

    minutes: float
    device: str
    data_root: str
    runs_dir: str
    reports: Path
    scratch: Path
    tolerance: float = 1.0
    despite: bool = False

    @property
    def trial(self) -> bool:
        """Whether it only tries, small, whether all works."""
        return self.device == "cpu"

    @property
    def reserve(self) -> float:
        """Seconds that are left for runs to save and for tables to be written."""
        return min(40.0, 0.1 * 60 * self.minutes)

    @property
    def benchmarks(self) -> Path:
        """The folder of checks, speeds and the session's own record."""
        return self.reports / "benchmarks"

    @property
    def places(self) -> Places:
        """Where contrasts are read and written: the GPU's results have a folder of their own."""
        reports = self.reports / f"evidence_{self.device}"
        params = self.scratch / "params" if self.trial else Places().params
        return Places(params, reports, self.runs_dir, self.data_root)

    @property
    def on_glyphs(self) -> bool:
        """Whether a trial has to do without CIFAR-10."""
        return self.trial and bool(reason_against("cifar10", self.data_root))

    @property
    def changes(self) -> dict[str, Any]:
        """What each row has instead of its file's values."""
        fields = {"device": self.device, "runs_dir": self.runs_dir, "data_root": self.data_root}
        small = TRIAL if self.trial else {}
        return fields | small | (ON_GLYPHS if self.on_glyphs else {})

    @property
    def variables(self) -> dict[str, str]:
        """What every process gets in its environment."""
        folder = {"INFOMAX_BENCHMARKS": str(self.benchmarks)}
        return {**folder, **QUIET} if self.trial else folder

    def results(self, what: str) -> Results:
        """The table of a measurement."""
        return Results(self.benchmarks, self.device, what)

    def file(self, part: Part) -> Path:
        """The parameter file of a row."""
        return project_root() / "params" / "paper" / f"{part.what}.yaml"

    def config(self, part: Part) -> TrainConfig:
        """The configuration of a row."""
        return TrainConfig.from_yaml(self.file(part), **self.changes)
