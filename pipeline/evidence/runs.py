"""The runs of `docs/plan.md`: what `params/evidence/` asks for, in its order, and how far each of
them has come.

A file is a line of the plan, by the letter in front of its name. It holds fields of `TrainConfig`
for all its runs, and `runs`, each with a `name` and fields of its own, for each of `seeds`.
`blocks` are several such lists, one after another; `of` repeats other lines' runs. Of a run's keys
four are no fields: `trunk`, the name of the run of the same seed that it branches from at
`start_epoch`; `keep_network`, whether its backbone is kept with its results; `probe`, whether the
converged probe is fitted in the end; `not_built`, what is missing in the code.
"""

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from infomax_nb.config import TrainConfig, read_yaml, text_where_text_is_meant
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.compute import training_flops
from infomax_nb.files import project_root, runs_folder
from infomax_nb.train.run import Run

# Under the names that they had when they were written: git knows when that was.
PLAN = ("docs/plan.md", "infomax_nb/late.py", "workflow/evidence.py")
CHANGES = "## Changes since"  # the plan's last section, which may grow
LISTS = {"seeds", "runs", "blocks", "of"}
IMAGES = {
    "cifar10": 50_000,
    "folder": 18_494,
    "glyphs": 4800,
}  # that a run trains on, where it takes all
FIRST_GUESS = (
    1 / 60e9
)  # seconds for a floating-point operation of training, one thread; until something is measured


@dataclass(frozen=True)
class Places:
    """Where the queue reads and writes. `params`: the folder with a file for each line."""

    params: Path = field(default_factory=lambda: project_root() / "params" / "evidence")
    reports: Path = field(default_factory=lambda: project_root() / "reports")
    runs_dir: str = "runs"
    data_root: str = "data"

    @property
    def journal(self) -> Path:
        """What the queue writes about its runs beside them: a log and a note for each."""
        return runs_folder(self.runs_dir) / "evidence"


@dataclass(frozen=True)
class Planned:
    """One run of the plan. `data_root` is the part of it that belongs to the line, below
    DATA_ROOT."""

    line: str
    label: str
    config: TrainConfig
    places: Places
    folder: str
    data_root: str = ""
    trunk: "Planned | None" = None
    keep_network: bool = False
    probe: bool = True
    not_built: str = ""

    @property
    def results(self) -> Path:
        """Where its results are kept when it has finished: `reports/late_<line>/<label>`."""
        return self.places.reports / f"late_{self.folder}" / self.label

    @property
    def name(self) -> str:
        """Line and label, as messages and logs call it."""
        return f"{self.line}_{self.label}"

    @property
    def log(self) -> Path:
        """What the process that trains it says."""
        return self.places.journal / f"{self.name}.log"

    @property
    def start(self) -> int:
        """Epochs that its trunk has trained for it."""
        return self.config.start_epoch or 0

    @property
    def branching(self) -> Path | None:
        """The trunk's checkpoint that it begins with; None for a run from the beginning."""
        return self.trunk.kept(self.start) if self.trunk else None

    def kept(self, epoch: int) -> Path:
        """The checkpoint that it keeps after an epoch."""
        return self.config.run_dir / f"epoch_{epoch}.ckpt"

    def note(self, kind: str, said: str = "", **more: Any) -> None:
        """Write down what the queue did with it."""
        text = json.dumps({"kind": kind, "said": said, **more})
        self.log.with_suffix(".json").write_text(text, encoding="utf-8")

    def noted(self) -> dict:
        """What the queue wrote down last."""
        path = self.log.with_suffix(".json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@dataclass(frozen=True)
class State:
    """`kind`: finished, collapsed, running, waiting, data missing, failed, not built, refused.
    `epoch`: the last."""

    kind: str
    epoch: int = 0
    said: str = ""

    @property
    def done(self) -> bool:
        """Whether its results are there."""
        return self.kind in ("finished", "collapsed")


# --- What is planned --------------------------------------------------------------------------


def planned(places: Places) -> list[Planned]:
    """All runs in the plan's order. Raises ParameterError for a file that is none, or a run that
    cannot be meant."""
    files = {}
    for path in sorted(places.params.glob("*.yaml")):
        files[path.stem] = read_yaml(path)
    common = files.pop("common", {})
    lines = {stem.partition("_")[0]: {**common, **values} for stem, values in files.items()}
    found: list[Planned] = []
    for stem in files:
        line, _, folder = stem.partition("_")
        for seeds, entries in _blocks(lines[line], lines):
            for seed in seeds:
                for entry in entries:
                    found.append(_one(line, folder or line, {**entry, "seed": seed}, places, found))
    return found


def chosen(runs: list[Planned], lines: str | None) -> list[Planned]:
    """The runs of the lines that are named, as `a,b`, or else of all that are letters.

    Raises ParameterError for an unknown line.
    """
    known = {run.line for run in runs}
    if not lines:
        return [run for run in runs if run.line.isalpha()]
    asked = [line.strip() for line in lines.split(",") if line.strip()]
    for line in asked:
        if line not in known:
            raise ParameterError(
                f"ONLY = {lines} is not allowed: the lines are {', '.join(sorted(known))}."
            )
    return [run for run in runs if run.line in asked]


def _blocks(values: dict, lines: dict[str, dict]) -> list[tuple[list, list]]:
    """Pairs of seeds and of runs' values, in the order in which they are run: seed by seed."""
    blocks = values.get("blocks") or [values]
    return [(block.get("seeds", [0]), _entries({**values, **block}, lines)) for block in blocks]


def _entries(values: dict, lines: dict[str, dict]) -> list[dict]:
    if "of" in values:
        return [entry for line in values["of"] for entry in _entries(lines[line], lines)]
    fields = {name: value for name, value in values.items() if name not in LISTS}
    return [{**fields, **run} for run in values["runs"]]


def _one(line: str, folder: str, values: dict, places: Places, before: list[Planned]) -> Planned:
    label = f"{values.pop('name')}_seed{values['seed']}"
    below = str(values.pop("data_root", ""))
    own = {
        name: values.pop(name) for name in ("keep_network", "probe", "not_built") if name in values
    }
    trunk = None
    if named := values.pop("trunk", None):
        trunk = _called(f"{named}_seed{values['seed']}", before)
        values["start_from"] = trunk.config.name
    values["data_root"] = str(Path(places.data_root) / below)
    config = TrainConfig(**text_where_text_is_meant({**values, "runs_dir": places.runs_dir}))
    if config.precision == "auto":
        raise ParameterError(
            f"precision = 'auto' is not allowed in {places.params}: it must be '32' or 'bf16'."
        )
    return Planned(line, label, config, places, folder, below, trunk, **own)


def _called(label: str, runs: list[Planned]) -> Planned:
    for run in runs:
        if run.label == label:
            return run
    raise ParameterError(f"trunk: no run before it is called {label}.")


# --- How far it has come ----------------------------------------------------------------------


def state(run: Planned) -> State:
    """How far a run has come, by what lies in the folders of results and of runs."""
    if run.not_built:
        return State("not built", 0, f"it needs {run.not_built}")
    try:
        kept = exported(run)
    except (RunError, ParameterError) as error:
        return State("refused", 0, str(error))
    if kept:
        return kept
    epoch = epochs_done(run)
    if is_locked(run):
        return State("running", epoch)
    noted = run.noted()
    if noted.get("kind") in ("failed", "data missing"):
        return State(noted["kind"], epoch, noted["said"])
    if run.branching and not run.branching.exists():
        return State("waiting", epoch, f"for {run.trunk.name}")  # type: ignore[union-attr]  # it has a trunk
    return State("waiting", epoch)


def exported(run: Planned) -> State | None:
    """Finished or collapsed, if the run's results are kept; None if they are not.

    Raises RunError for results that are damaged, or another configuration's, or of a commit without
    the plan.
    """
    if not run.results.is_dir():
        return None
    kept = Run(run.results)
    record = kept.record
    if meaning(kept.config) != meaning(run.config):
        raise RunError(f"{run.results} holds a run of another configuration; move it away.")
    if why := no_evidence(record):
        raise RunError(f"{run.results}: {why}; move it away.")
    metrics = kept.metrics
    last = int(metrics.epoch.max()) if len(metrics) else 0
    return State("collapsed" if "failed" in record else "finished", last, record.get("failed", ""))


def meaning(config: TrainConfig) -> dict[str, Any]:
    """What makes two runs the same one, on whatever machine they were trained: a run's identity,
    its precision.

    Without its device, the place of its data and its trunk's name, which depends on both. The trunk
    is the run of this configuration but for what differs in a branch, so that it cannot be another
    one's.
    """
    found = config.identity()
    for name in ("device", "data_root", "start_from"):
        found.pop(name, None)
    return {**found, "precision": config.resolved().precision}


def epochs_done(run: Planned) -> int:
    """The last epoch in its metrics; at least those that its trunk trained for it."""
    path = run.config.run_dir / "metrics.csv"
    try:
        return max(run.start, int(pd.read_csv(path, usecols=["epoch"]).epoch.max()))
    except (OSError, ValueError):  # not begun; or replaced while it was read
        return run.start if run.branching and run.branching.exists() else 0


def is_locked(run: Planned) -> bool:
    """Whether a process trains it now."""
    path = run.config.run_dir / ".lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


# --- The plan came first ----------------------------------------------------------------------


def no_evidence(record: dict) -> str:
    """Why a run with this record is no evidence, by its commit and its trunk's; nothing if it
    is."""
    return lacks_plan(record.get("commit", "")) or lacks_plan(
        record.get("trunk", record).get("commit", "")
    )


def lacks_plan(commit: str) -> str:
    """Why a run of this commit is no evidence, in words: the commit is not one that the plan came
    before; else nothing.

    Nothing either where nobody can tell: no git, a copy without history, or one cut off.
    """
    return lacks_plan_in(project_root(), commit)


@cache
def lacks_plan_in(checkout: Path, commit: str) -> str:
    """The same, by the history of a checkout."""
    if not history(checkout):
        return ""
    if not commit or commit.endswith("-modified"):
        return f"it records the commit {commit or 'unknown'}, so nobody knows with which code it was trained"
    for path in PLAN:
        added = _git(checkout, "log", "--diff-filter=A", "--format=%H", "--", path).split()
        if not added or _git(checkout, "merge-base", added[-1], commit).strip() != added[-1]:
            return f"it records the commit {commit[:12]}, which does not have {path} before it"
    now, _, changes = _git(checkout, "show", f"HEAD:{PLAN[0]}").partition(CHANGES)
    then = _git(checkout, "show", f"{commit}:{PLAN[0]}").partition(CHANGES)[0]
    if then != now and changes.strip() in ("", "None."):
        return f"{PLAN[0]} has changed since its commit {commit[:12]}, and its section '{CHANGES[3:]}' says nothing"
    return ""


@cache
def history(checkout: Path) -> bool:
    """Whether this is a checkout with its whole history."""
    top = _git(checkout, "rev-parse", "--show-toplevel").strip()
    mine = bool(top) and Path(top).resolve() == checkout.resolve()
    return mine and _git(checkout, "rev-parse", "--is-shallow-repository").strip() == "false"


def _git(checkout: Path, *words: str) -> str:
    """What git answers there; nothing where it cannot."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=checkout, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


# --- Hours ------------------------------------------------------------------------------------


def hours_left(
    runs: list[Planned], states: dict[str, State], every: list[Planned]
) -> dict[str, float]:
    """Core-hours that each of the runs has to go, by name, from the seconds an epoch took in runs
    so far.

    every: runs to learn from. A kind of run that none of them is goes by its floating-point
    operations.
    """
    rates: dict[tuple, list[float]] = {}
    for run in every:
        seconds = None
        with suppress(RunError):  # damaged results; the state says so
            seconds = seconds_per_epoch(run)
        if seconds:
            rates.setdefault(_kind(run.config), []).append(seconds / operations(_kind(run.config)))
    known = {kind: float(pd.Series(values).median()) for kind, values in rates.items()}
    usual = float(pd.Series(known.values(), dtype=float).median()) if known else FIRST_GUESS
    left = {}
    for run in runs:
        now = states[run.name]
        if now.done or now.kind == "not built":
            left[run.name] = 0.0
            continue
        kind = _kind(run.config)
        epochs = run.config.epochs - max(now.epoch, run.start)
        left[run.name] = epochs * operations(kind) * known.get(kind, usual) / 3600
    return left


def seconds_per_epoch(run: Planned) -> float | None:
    """What an epoch took, evaluation included: as its record says, or as far as it has come; None
    if nobody knows."""
    if run.results.is_dir():
        record = Run(run.results).record
        seconds = record.get("train_seconds", 0.0) + record.get("evaluation_seconds", 0.0)
        return seconds / run.config.epochs or None  # a branch's has its trunk's epochs, too
    noted = run.noted()
    metrics = run.config.run_dir / "metrics.csv"
    epochs = epochs_done(run) - noted.get("epoch", 0)
    if "time" not in noted or not metrics.exists() or epochs < 1:
        return None
    return max(0.0, metrics.stat().st_mtime - noted["time"]) / epochs or None


def _kind(config: TrainConfig) -> tuple:
    """What an epoch's cost depends on: images, precision, and what `_operations` takes."""
    images = config.n_train or IMAGES.get(config.dataset, 50_000)
    names = ("method", "backbone", "stem", "proj_dim", "local_views", "augmentation")
    shape = tuple((name, getattr(config, name)) for name in names)
    return images, config.precision, (*shape, ("image_size", config.size))


def operations(kind: tuple) -> float:
    """Floating-point operations of an epoch's training, forward and backward."""
    images, _, shape = kind
    return images * _operations(shape)


@cache
def _operations(shape: tuple) -> float:
    """The same for each image."""
    return training_flops(TrainConfig(**dict(shape), batch_size=8))
