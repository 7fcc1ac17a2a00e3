"""How far each run of the plan has come, judged by the folders of results and of runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.train.run import Run
from pipeline.evidence.history import no_evidence
from pipeline.evidence.runs import Planned


@dataclass(frozen=True)
class State:
    """How far a run has come.

    Args:
        kind: finished, collapsed, running, waiting, data missing, failed, not built or refused.
        epoch: the last one that was trained.
        reason: an explanation, if one is needed.
    """

    kind: str
    epoch: int = 0
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether its results are there."""
        return self.kind in ("finished", "collapsed")


def state(run: Planned) -> State:
    """How far a run has come."""
    if run.not_built:
        return State("not built", 0, f"it needs {run.not_built}")
    try:
        kept = exported(run)
    except (RunError, ParameterError) as error:
        return State("refused", 0, str(error))
    return kept or _state_without_results(run)


def _state_without_results(run: Planned) -> State:
    epoch = epochs_done(run)
    if is_locked(run):
        return State("running", epoch)
    note = run.last_note()
    if note.get("kind") in ("failed", "data missing"):
        return State(note["kind"], epoch, note["said"])
    waits_for = f"for {run.trunk.name}" if run.trunk and run.lacks_branching else ""
    return State("waiting", epoch, waits_for)


def exported(run: Planned) -> State | None:
    """Finished or collapsed, if the run's results are kept; None if they are not.

    Raises:
        RunError: the results are damaged, another configuration's, or of a commit without the
            plan.
    """
    if not run.results.is_dir():
        return None
    kept = Run(run.results)
    record = kept.record
    if meaning(kept.config) != meaning(run.config):
        raise RunError(f"{run.results} holds a run of another configuration; move it away.")
    reason = no_evidence(record)
    if reason:
        raise RunError(f"{run.results}: {reason}; move it away.")
    metrics = kept.metrics
    last = int(metrics.epoch.max()) if len(metrics) else 0
    return State("collapsed" if "failed" in record else "finished", last, record.get("failed", ""))


def meaning(config: TrainConfig) -> dict[str, Any]:
    """The fields by which two runs are the same, on whatever machine they were trained.

    They are its identity without its places, and its precision.
    """
    return {**without_places(config), "precision": config.resolved().precision}


def without_places(config: TrainConfig) -> dict[str, Any]:
    """A run's identity without its device, the place of its data and its trunk's name.

    The name depends on both, and is not needed: the trunk has this configuration, except for what
    may differ in a branch.
    """
    places = ("device", "data_root", "start_from")
    return {name: value for name, value in config.identity().items() if name not in places}


def epochs_done(run: Planned) -> int:
    """The last epoch in its metrics, or at least the number that its trunk trained for it."""
    last = last_epoch(run.config.run_dir)
    if last is None:
        return 0 if run.lacks_branching else run.start
    return max(run.start, last)


def last_epoch(run_dir: Path) -> int | None:
    """The last epoch in the metrics of a run that may be training now; None if there are none."""
    try:
        return int(pd.read_csv(run_dir / "metrics.csv", usecols=["epoch"]).epoch.max())
    except (OSError, ValueError):  # not begun; or replaced while it was read
        return None


def is_locked(run: Planned) -> bool:
    """Whether a process is training it now."""
    path = run.config.run_dir / ".lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # somebody else's folder, in which nothing can be locked
        return False
    lock.release()
    return False
