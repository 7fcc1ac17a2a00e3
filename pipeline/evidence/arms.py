"""The plan's finished runs, arranged as its rules need them.

An arm is a condition: runs that differ in their seed alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.compute import training_flops
from infomax_nb.evaluation.curves import hits, scheduled
from infomax_nb.late import CIFAR10_LINES
from infomax_nb.methods import build
from infomax_nb.train.run import Run
from pipeline.evidence.places import Places
from pipeline.evidence.runs import Planned, planned
from pipeline.evidence.state import exported

MEASURES = ("linear", "knn")
# The predictions of a run that was never evaluated.
NO_CLASSES = np.zeros((0, 1), int)
NOT_EVALUATED = {"labels": np.zeros(1, int), "epochs": np.zeros(0, int)}


@dataclass(frozen=True)
class Arm:
    """The runs of one condition.

    Args:
        name: the condition, as `params/evidence/` names it.
        every: all its planned runs.
    """

    name: str
    every: tuple[Planned, ...]

    @cached_property
    def runs(self) -> dict[int, Run]:
        """The finished runs by seed.

        Raises:
            RunError: results are damaged, or of another configuration than the plan's.
        """
        finished = [run for run in self.every if exported(run)]
        return {run.config.seed: Run(run.results) for run in finished}

    @property
    def complete(self) -> bool:
        """Whether all planned runs are there, but for branches whose trunk was lost before them."""
        return all(run.config.seed in self.runs or lost_its_trunk(run) for run in self.every)

    @property
    def evaluated(self) -> dict[int, Run]:
        """The finished runs by seed, but for those whose loss became NaN before any evaluation."""
        return {seed: run for seed, run in self.runs.items() if run.record.get("predictions")}

    @property
    def config(self) -> TrainConfig:
        """What its runs have in common, and the first one's seed."""
        return self.every[0].config

    @property
    def epochs(self) -> int:
        """Epochs of a finished run, those of its trunk included."""
        return self.config.epochs

    def hits(self, measure: str) -> pd.DataFrame:
        """Which test images each run gets right: epochs by (seed, image), 100 or 0.

        It is NaN at epochs that a run whose loss became NaN did not reach; a run that was never
        evaluated has one such column.

        Args:
            measure: `linear` or `knn`; with `_within`, among the classes of the image's superclass.
        """
        tables = []
        evaluated = self.evaluated
        for seed in self.runs:
            kept = (
                evaluated[seed].predictions
                if seed in evaluated
                else NOT_EVALUATED | {measure: NO_CLASSES}
            )
            table = hits({seed: kept[measure]}, kept["labels"], kept["epochs"].tolist())
            tables.append(table.reindex(scheduled(self.epochs)))
        return pd.concat(tables, axis=1) if tables else pd.DataFrame()

    def accuracies(self, measure: str) -> pd.DataFrame:
        """Accuracies in percent: epochs by seed; `measure` as in `hits`."""
        return self.hits(measure).T.groupby(level=0).mean().T

    def metric(self, column: str) -> pd.DataFrame:
        """A column of the metrics: epochs by seed; NaN where a run did not come to write it."""
        tables = {seed: run.metrics.set_index("epoch") for seed, run in self.runs.items()}
        return pd.DataFrame(
            {seed: table.reindex(columns=[column])[column] for seed, table in tables.items()}
        )

    @property
    def probes(self) -> pd.Series:
        """The converged probe's accuracy in percent by seed; NaN where there is none."""
        found = {seed: run.record.get("probe_top1", np.nan) for seed, run in self.runs.items()}
        return pd.Series(found, dtype=float)

    @property
    def failed(self) -> list[int]:
        """The seeds whose loss became NaN or infinite."""
        return [seed for seed, run in self.runs.items() if "failed" in run.record]

    @property
    def pixels(self) -> int:
        """Pixels of all views of a training image."""
        views = build(self.config, 10).view_specs(self.config.size)
        return sum(view.size**2 for view in views)

    @cached_property
    def flops(self) -> float:
        """Floating-point operations of the networks in an epoch, for each training image."""
        return training_flops(self.config)


class Arms:
    """The plan's arms, by name.

    Args:
        places: where the plan and the results are.
    """

    def __init__(self, places: Places):
        self.places = places
        self.planned = planned(places)
        self._found: dict[tuple[str, str], Arm] = {}

    def __call__(self, name: str, lines: str = CIFAR10_LINES) -> Arm:
        """The arm of that name in these lines of the plan.

        Raises:
            ParameterError: there is none.
        """
        if (name, lines) in self._found:
            return self._found[name, lines]
        found = [
            run
            for run in self.planned
            if run.line in lines and run.label.rpartition("_seed")[0] == name
        ]
        if not found:
            place = f"lines {', '.join(lines)} of the plan in {self.places.params}"
            raise ParameterError(f"{place} have no run {name!r}, which a verdict needs.")
        arm = Arm(name, tuple(found))
        self._found[name, lines] = arm
        return arm


def lost_its_trunk(run: Planned) -> bool:
    """Whether the loss of a branch's trunk became NaN before the branch could begin."""
    if run.trunk is None:
        return False
    state = exported(run.trunk)
    return state is not None and state.kind == "collapsed" and state.epoch < run.start


def common_seeds(*arms: Arm) -> list[int]:
    """The seeds that all arms have finished."""
    return sorted(set.intersection(*(set(arm.runs) for arm in arms)))


def probe_difference(ours: Arm, theirs: Arm) -> float | None:
    """The mean difference of the converged probes, in points; None if there is none."""
    each = (ours.probes - theirs.probes).dropna()
    return float(each.mean()) if len(each) else None


def affordable(ours: Arm, theirs: Arm) -> int:
    """The last epoch by which ours has spent what theirs has in all epochs."""
    return int(theirs.epochs * theirs.flops / ours.flops)


def stopped_at(arm: Arm, epoch: int, measure: str, as_of: int) -> pd.DataFrame:
    """The hits of an arm stopped at an epoch, at the epochs of a run of `as_of` epochs.

    Its last five evaluations take the place of that run's, so that a statistic of late accuracies
    compares the two.
    """
    table = arm.hits(measure)
    if table.empty:
        return table
    last = table.loc[scheduled(epoch)[-5:]]
    return last.set_axis(scheduled(as_of)[-5:])
