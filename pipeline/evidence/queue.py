"""`make evidence DATA_ROOT=DIR [CORES=N] [ONLY=a,b]`: run the plan's runs, or go on with them, one
a core.

In the plan's order, at the lowest priority, one thread each. A branch begins as soon as its trunk
has come to where it branches off. Killed and started again a run loses at most an epoch; what has
its results in `reports/` is not trained again, but for a trunk whose checkpoint a branch still
needs. What fails, or has no data, stops no other run.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from infomax_nb.data.readers import READERS
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.files import data_place, project_root, runs_folder
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from pipeline.evidence.job import parser, places
from pipeline.evidence.runs import (
    Planned,
    State,
    chosen,
    epochs_done,
    history,
    hours_left,
    planned,
    state,
)

NICE = 19
LOOK = 0.5  # seconds between two looks at the processes
SAY = 600.0  # seconds between two lines of progress in a log; a terminal has a bar


@dataclass
class Job:
    """A process that trains a run. `only`: the trunk's checkpoint that it is trained again for,
    then it is stopped."""

    run: Planned
    process: subprocess.Popen
    only: Path | None = None


@dataclass
class Queue:
    """Runs in the order in which they are wanted, on so many cores. `every`: all of the plan, to
    estimate hours by."""

    runs: list[Planned]
    cores: int
    every: list[Planned]
    jobs: dict[str, Job] = field(default_factory=dict)
    over: dict[str, State] = field(
        default_factory=dict
    )  # that need nothing more, or got no further
    stopped: int = 0  # the signal that said so
    said: float = 0.0  # when progress was said last

    def work(self) -> int:
        """Run until nothing more can be run, or a signal says stop; returns the exit status."""
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(sign) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(sign, self._stop)
        self.bar = tqdm(
            total=1.0,
            disable=not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {desc}",
        )
        while not self.stopped:
            self._reap()
            self._start()
            self._progress()
            if not self.jobs:
                break
            time.sleep(LOOK)
        for job in self.jobs.values():
            job.process.terminate()  # it saves after the step that it is in
        for job in self.jobs.values():
            job.process.wait()
        self._progress(at_last=True)
        self.bar.close()
        return self._summary()

    def _stop(self, sign: int, _: object) -> None:
        self.stopped = sign

    def _say(self, text: str) -> None:
        self.bar.write(f"{time.strftime('%F %T')}  {text}", file=sys.stdout)
        sys.stdout.flush()

    # --- Starting -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Start what can be started, in order, as long as there is a free core."""
        for run in self.runs:
            if len(self.jobs) >= self.cores or self.stopped:
                return
            self._consider(run)

    def _consider(self, run: Planned) -> None:
        """Start the run, or the trunk that it waits for, unless that is so already or cannot be."""
        if run.name in self.over or run.name in self.jobs:
            return
        if self._is_over(run):
            return
        if run.branching and not run.branching.exists():
            self._ask_for_trunk(run)
            return
        self._launch(run)

    def _is_over(self, run: Planned) -> bool:
        """Whether its results are there, or it cannot be run; what cannot is said, once."""
        now = state(run)
        if not now.done and now.kind not in ("refused", "not built"):
            missing = no_data(run)
            if not missing:
                return False
            now = State("data missing", now.epoch, missing)
            run.note(now.kind, missing)
        self._end(run, now)
        return True

    def _end(self, run: Planned, now: State) -> None:
        self.over[run.name] = now
        if not now.done:
            self._say(f"{run.name}: {now.kind}: {now.said}")

    def _ask_for_trunk(self, run: Planned) -> None:
        """Train the trunk of a branch first; if it has its results already, until its checkpoint is
        there."""
        trunk = run.trunk
        assert trunk and run.branching
        if trunk.name in self.jobs:
            return
        ended = self.over.get(trunk.name) or (state(trunk) if trunk.results.is_dir() else None)
        if ended and ended.kind != "finished":
            self._end(run, State("failed", run.start, f"its trunk {trunk.name}: {ended.kind}"))
            return
        if missing := no_data(trunk):
            self._end(run, State("data missing", 0, missing))
            return
        if ended:
            self._say(f"{trunk.name} is trained again, for {run.branching.name} of {run.name}.")
            set_aside(trunk)
        self._launch(trunk, run.branching if ended else None)

    def _launch(self, run: Planned, only: Path | None = None) -> None:
        epoch = epochs_done(run)
        command = [sys.executable, "-m", "pipeline.evidence.job", run.name, *arguments(run)]
        own = {"OMP_NUM_THREADS": "1", "INFOMAX_SAVE_SECONDS": "0"}
        run.note("started", time=time.time(), epoch=epoch)
        with run.log.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                cwd=project_root(),
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # a terminal's Ctrl-C comes to the queue alone, which lets them save
                start_new_session=True,
            )
        wait_asleep(process.pid)
        self.jobs[run.name] = Job(run, process, only)
        self._say(
            f"{run.name}: epoch {epoch} of {run.config.epochs}, {'goes on' if epoch > run.start else 'begins'}"
        )

    # --- Ending -------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Take note of processes that have ended, and end those that were wanted for a checkpoint
        that is there."""
        for job in list(self.jobs.values()):
            if job.only and job.only.exists() and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()
            if job.process.poll() is not None:
                del self.jobs[job.run.name]
                self._ended(job)

    def _ended(self, job: Job) -> None:
        run = job.run
        now = state(run)
        if job.only:
            self._retrained(job)
        elif now.done:
            self.over[run.name] = now
            self._say(
                f"{run.name}: {now.kind}{': ' * bool(now.said)}{now.said}, results in {run.results}"
            )
        elif not self.stopped:
            self._failed(run)

    def _failed(self, run: Planned) -> None:
        sentence = last_line(run.log)
        run.note("failed", sentence)
        self._end(run, State("failed", epochs_done(run), sentence))

    def _retrained(self, job: Job) -> None:
        """A trunk that had its results: does it come out as it did then?"""
        assert job.only
        if not job.only.exists():
            if not self.stopped:
                job.run.note("failed", last_line(job.run.log))
                self.over[job.run.name] = State("failed", 0, last_line(job.run.log))
            return
        if differs := difference(job.run):
            self._say(f"{job.run.name}: {differs}")

    # --- Saying -------------------------------------------------------------------------------

    def _progress(self, at_last: bool = False) -> None:
        """How far everything is: a bar in a terminal, else a line now and then."""
        every = 5.0 if sys.stderr.isatty() else SAY
        if not at_last and time.monotonic() - self.said < every:
            return
        self.said = time.monotonic()
        states = {run.name: self.over.get(run.name) or self._now(run) for run in self.runs}
        left = hours_left(self.runs, states, self.every)
        open_runs = [run for run in self.runs if states[run.name].kind in ("waiting", "running")]
        hours = sum(left[run.name] for run in open_runs)
        whole = sum(self._whole(run, left[run.name], states[run.name]) for run in open_runs)
        done = sum(now.done for now in states.values())
        each = [
            f"{job.run.name} {epochs_done(job.run)}/{job.run.config.epochs}"
            for job in self.jobs.values()
        ]
        running = ", ".join(each) or "none is running"
        text = f"{done} of {len(self.runs)} runs are there; {running}; "
        text += (
            f"{hours:.1f} core-hours left, some {hours / self.cores:.1f} h on {self.cores} cores"
        )
        self.bar.total = max(whole, 1e-9)
        self.bar.n = whole - hours
        self.bar.set_description_str(text)
        if not sys.stderr.isatty():
            self._say(text)

    def _now(self, run: Planned) -> State:
        """A run that is not over: running or waiting."""
        return State("running" if run.name in self.jobs else "waiting", epochs_done(run))

    def _whole(self, run: Planned, left: float, now: State) -> float:
        """Core-hours of all its epochs, by those that are left."""
        to_go = run.config.epochs - max(now.epoch, run.start)
        return left * (run.config.epochs - run.start) / to_go if to_go else left

    def _summary(self) -> int:
        if self.stopped:
            self._say("Stopped; the same command goes on.")
            return 128 + self.stopped
        others = {name: now for name, now in self.over.items() if not now.done}
        for name, now in others.items():
            print(f"  {name}: {now.kind}: {now.said}")
        return 1 if any(now.kind in ("failed", "refused") for now in others.values()) else 0


# --- What it looks at -------------------------------------------------------------------------


def wait_asleep(process: int) -> None:
    """Give a session's group of processes the lowest priority, too: Linux compares groups before
    their processes."""
    with suppress(OSError):  # no such groups here
        Path(f"/proc/{process}/autogroup").write_text(str(NICE), encoding="ascii")


def arguments(run: Planned) -> list[str]:
    """The places as a job's command line."""
    at = run.places
    return [
        *("--params", str(at.params), "--reports", str(at.reports)),
        *("--runs-dir", at.runs_dir, "--data-root", at.data_root),
    ]


def no_data(run: Planned) -> str:
    """Why a run's images cannot be read, in one sentence; nothing if they can."""
    return _no_data(run.config.dataset, run.config.data_root)


@cache
def _no_data(dataset: str, data_root: str) -> str:
    if dataset.startswith("glyphs"):
        return ""
    place = data_place(data_root)
    try:
        read = [READERS[dataset](place, split) for split in ("train", "test")]
    except ParameterError as error:
        return str(error)
    if dataset == "folder" and read[0].coarse is None:
        return f"data_root: {place} has no superclasses.csv, by which near classes are told from far ones."
    return ""


def set_aside(trunk: Planned) -> None:
    """Move a finished run's folder away, which would be returned as it is, so that it is trained
    again."""
    folder = trunk.config.run_dir
    if Run(folder).finished:
        place = (
            trunk.places.journal / "replaced" / f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, place)


def difference(trunk: Planned) -> str:
    """How a trunk that was trained again differs from the results that are kept; nothing if it does
    not."""
    kept = Run(trunk.results)
    now = pd.read_csv(trunk.config.run_dir / "metrics.csv")
    columns = [name for name in kept.metrics.columns if name in now]
    then = kept.metrics.set_index("epoch").reindex(now.epoch)[columns[1:]]
    same = np.isclose(now[columns[1:]], then, rtol=1e-6, equal_nan=True).all(axis=1)
    if same.all():
        return ""
    here = environment(trunk.config.resolved())
    names = ("device", "gpu", "cpu", "threads", "precision")
    where = (
        "the same hardware"
        if all(here[n] == kept.record.get(n) for n in names)
        else "other hardware"
    )
    return f"trained again on {where} it differs from the results that are kept, from epoch {now.epoch[~same].min()} on"


def last_line(log: Path) -> str:
    """What a process said last."""
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return said[-1].strip() if said else "it said nothing"


def check_commit() -> None:
    """ParameterError where each run would record that its code was not what the commit holds."""
    commit = environment()["commit"]
    if history(project_root()) and commit.endswith("-modified"):
        cure = "commit them, or use a clone at a tag (docs/evidence.md)"
        raise ParameterError(
            f"This checkout has changes that are not committed, and each run would record so: {cure}."
        )


def main() -> None:
    """Run the queue."""
    told = parser(__doc__, prog="python -m pipeline.evidence.queue")
    told.add_argument("--lines", help="a,b: only these; else all that are letters")
    told.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="runs at a time")
    given = told.parse_args()
    os.nice(NICE)
    try:
        check_commit()
        at = places(given)
        every = planned(at)
        runs = chosen(every, given.lines)
        if not runs_folder(at.runs_dir).is_dir():
            runs_folder(at.runs_dir).mkdir(parents=True)
        at.journal.mkdir(exist_ok=True)
        with FileLock(at.journal / ".lock", timeout=0):
            sys.exit(Queue(runs, max(1, given.cores), every).work())
    except Timeout:
        sys.exit(
            "Another `make evidence` is at work on these runs: `make evidence-status` shows how far it is."
        )
    except (ParameterError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
