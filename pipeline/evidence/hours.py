"""Estimate how long the plan's runs take, from the seconds of an epoch in runs so far."""

from collections.abc import Iterable
from contextlib import suppress
from statistics import median
from typing import NamedTuple

from infomax_nb.config import TrainConfig
from infomax_nb.errors import RunError
from infomax_nb.train.run import Run
from pipeline.cost import flops_per_image, step_shape
from pipeline.evidence.runs import Planned
from pipeline.evidence.state import State, epochs_done
from pipeline.plan import SETS

FOLDER_IMAGES = 18_494  # Imagenette and Imagewoof together
# Seconds for one floating-point operation of training on one thread, until runs are measured.
FIRST_GUESS = 1 / 60e9


class Kind(NamedTuple):
    """What an epoch's cost depends on."""

    images: int
    precision: str
    shape: TrainConfig

    @property
    def operations(self) -> float:
        """Floating-point operations of an epoch's training, forward and backward."""
        return self.images * flops_per_image(self.shape)


def kind_of(config: TrainConfig) -> Kind:
    """The kind of a run."""
    every = FOLDER_IMAGES if config.dataset == "folder" else SETS[config.dataset][0]
    return Kind(config.n_train or every, config.precision, step_shape(config))


def hours_left(
    runs: Iterable[Planned], states: dict[str, State], every: Iterable[Planned]
) -> dict[str, float]:
    """Core-hours that each run still needs, by its name.

    Args:
        runs: the runs in question.
        states: how far they have come, by name.
        every: runs to learn from. A run of a kind not among them is estimated by its operations.
    """
    rates = seconds_per_operation(every)
    usual = median(rates.values()) if rates else FIRST_GUESS
    hours = {}
    for run in runs:
        now = states[run.name]
        if now.done or now.kind == "not built":
            hours[run.name] = 0.0
            continue
        kind = kind_of(run.config)
        operations = kind.operations * epochs_to_go(run, now)
        hours[run.name] = operations * rates.get(kind, usual) / 3600
    return hours


def epochs_to_go(run: Planned, now: State) -> int:
    """Number of epochs that are left, without those that a trunk trains."""
    return run.config.epochs - max(now.epoch, run.start)


def hours_of_all_epochs(run: Planned, left: float, now: State) -> float:
    """Core-hours of all epochs of a run, computed from the hours of those that are left."""
    to_go = epochs_to_go(run, now)
    return left * (run.config.epochs - run.start) / to_go if to_go else left


def seconds_per_operation(runs: Iterable[Planned]) -> dict[Kind, float]:
    """Seconds per operation for each measured kind of run: the median over its runs."""
    rates: dict[Kind, list[float]] = {}
    for run in runs:
        seconds = None
        with suppress(RunError):  # damaged results; the state says so
            seconds = seconds_per_epoch(run)
        if seconds:
            kind = kind_of(run.config)
            rates.setdefault(kind, []).append(seconds / kind.operations)
    return {kind: median(values) for kind, values in rates.items()}


def seconds_per_epoch(run: Planned) -> float | None:
    """Seconds of an epoch, evaluation included: by the run's record, or by its epochs so far.

    It is None if neither is known.
    """
    if run.results.is_dir():
        record = Run(run.results).record
        seconds = record.get("train_seconds", 0.0) + record.get("evaluation_seconds", 0.0)
        return seconds / run.config.epochs or None  # a branch's record includes its trunk's epochs
    note = run.last_note()
    metrics = run.config.run_dir / "metrics.csv"
    epochs = epochs_done(run) - note.get("epoch", 0)
    if "time" not in note or not metrics.exists() or epochs < 1:
        return None
    return max(0.0, metrics.stat().st_mtime - note["time"]) / epochs or None
