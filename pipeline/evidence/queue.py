"""`make evidence DATA_ROOT=DIR [CORES=N] [ONLY=a,b]`: run the plan's runs, or go on with them.

They run in the plan's order, one a core, at the lowest priority. A branch begins as soon as its
trunk has come to where it branches off. Killed and started again, a run loses at most an epoch.
What has its results in `reports/` is not trained again, but for a trunk whose checkpoint a branch
still needs. What fails, or has no data, stops no other run.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from infomax_nb.data.readers import READERS
from infomax_nb.errors import ParameterError, RunError, not_allowed
from infomax_nb.files import data_place, project_root, runs_folder
from infomax_nb.train.record import commit
from pipeline.command import last_line, made_folder
from pipeline.evidence.history import has_history
from pipeline.evidence.places import add_lines, evidence_parser, options, places_of
from pipeline.evidence.progress import Progress
from pipeline.evidence.runs import Planned, chosen, planned
from pipeline.evidence.state import State, epochs_done, state
from pipeline.evidence.trunks import difference, set_aside

LOWEST_PRIORITY = 19
PAUSE = 0.5  # seconds between two looks at the processes
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class TrainingProcess:
    """A process that trains a run.

    Args:
        run: what is trained.
        process: the process.
        wanted: of a trunk that has its results, the checkpoint that it is trained again for; then
            it is stopped.
    """

    run: Planned
    process: subprocess.Popen
    wanted: Path | None = None


class Queue:
    """Runs in the order in which they are wanted.

    Args:
        runs: what is to be trained.
        cores: how many at a time.
        every: all runs of the plan, from which hours are estimated.
    """

    def __init__(self, runs: list[Planned], cores: int, every: list[Planned]):
        self.runs = runs
        self.cores = cores
        self.progress = Progress(cores, every)
        self.jobs: dict[str, TrainingProcess] = {}
        self.ended: dict[str, State] = {}  # what needs nothing more, or got no further
        self.stop_signal = 0

    def work(self) -> int:
        """Run until nothing more can be run, or a signal says stop; returns the exit status."""
        for sign in SIGNALS:
            if signal.getsignal(sign) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(sign, self._stop)
        while not self.stop_signal:
            self._reap()
            self._start()
            if self.progress.is_due():
                self._show_progress()
            if not self.jobs:
                break
            time.sleep(PAUSE)
        for job in self.jobs.values():
            job.process.terminate()  # it saves after the step that it is in
        for job in self.jobs.values():
            job.process.wait()
        self._show_progress()
        self.progress.close()
        return self._summary()

    def _stop(self, sign: int, _: object) -> None:
        self.stop_signal = sign

    # --- Starting -----------------------------------------------------------------------------

    def _start(self) -> None:
        """Start what can be started, in order, as long as there is a free core."""
        for run in self.runs:
            if len(self.jobs) >= self.cores or self.stop_signal:
                return
            self._consider(run)

    def _consider(self, run: Planned) -> None:
        """Start the run, or the trunk that it waits for, unless that is so already or cannot be."""
        if run.name in self.jobs or self._has_ended(run):
            return
        if run.lacks_branching:
            self._ask_for_trunk(run)
        else:
            self._launch(run)

    def _has_ended(self, run: Planned) -> bool:
        """Whether its results are there, or it cannot be run, which is then said and remembered.

        What failed under an earlier queue can be run.
        """
        if run.name in self.ended:
            return True
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
        self.ended[run.name] = now
        if not now.done:
            self.progress.say(f"{run.name}: {now.kind}: {now.reason}")

    def _ask_for_trunk(self, run: Planned) -> None:
        """Train the trunk of a branch that lacks the checkpoint to begin with.

        A trunk that has its results is trained again, until that checkpoint is there. Where the
        trunk has failed or collapsed before, or its data are missing, the branch ends here, too.
        """
        trunk = run.trunk
        assert trunk and run.branching
        if trunk.name in self.jobs:
            return
        before = self.ended.get(trunk.name)  # how it ended; None if it has yet to be trained
        if before is None and trunk.results.is_dir():
            before = state(trunk)
        reached = bool(before and before.done and before.epoch >= run.start)
        if before and not reached:
            self._end(run, State("failed", run.start, f"its trunk {trunk.name}: {before.kind}"))
            return
        missing = no_data(trunk)
        if missing:
            self._end(run, State("data missing", 0, missing))
            return
        if before is None:
            self._launch(trunk)
            return
        again = f"is trained again, for {run.branching.name} of {run.name}"
        self.progress.say(f"{trunk.name} {again}.")
        set_aside(trunk)
        self._launch(trunk, run.branching)

    def _launch(self, run: Planned, wanted: Path | None = None) -> None:
        epoch = epochs_done(run)
        run.note("started", time=time.time(), epoch=epoch)
        self.jobs[run.name] = TrainingProcess(run, start_process(run), wanted)
        begins = "goes on" if epoch > run.start else "begins"
        self.progress.say(f"{run.name}: epoch {epoch} of {run.config.epochs}, {begins}")

    # --- Ending -------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Take note of processes that have ended; first stop trunks whose wanted checkpoint is
        there."""
        for job in list(self.jobs.values()):
            if job.wanted and job.wanted.exists() and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()
            if job.process.poll() is not None:
                del self.jobs[job.run.name]
                self._take_note(job)

    def _take_note(self, job: TrainingProcess) -> None:
        """Write down how a process ended, unless the queue was told to stop."""
        run = job.run
        if job.wanted and job.wanted.exists():  # a trunk, whose results are there already
            differs = difference(run)
            if differs:
                self.progress.say(f"{run.name}: {differs}")
            return
        now = state(run)
        if now.done and not job.wanted:
            self.ended[run.name] = now
            reason = f": {now.reason}" if now.reason else ""
            self.progress.say(f"{run.name}: {now.kind}{reason}, results in {run.results}")
        elif not self.stop_signal:
            sentence = last_line(run.log, job.process.returncode)
            run.note("failed", sentence)
            self._end(run, State("failed", epochs_done(run), sentence))

    # --- Saying -------------------------------------------------------------------------------

    def _show_progress(self) -> None:
        states = {}
        for run in self.runs:
            kind = "running" if run.name in self.jobs else "waiting"
            states[run.name] = self.ended.get(run.name) or State(kind, epochs_done(run))
        self.progress.show(self.runs, states, [job.run for job in self.jobs.values()])

    def _summary(self) -> int:
        """Say what is not done; returns the exit status."""
        if self.stop_signal:
            self.progress.say("Stopped; the same command goes on.")
            return 128 + self.stop_signal
        undone = {name: now for name, now in self.ended.items() if not now.done}
        for name, now in undone.items():
            print(f"  {name}: {now.kind}: {now.reason}")
        return 1 if any(now.kind in ("failed", "refused") for now in undone.values()) else 0


# --- Processes and data -----------------------------------------------------------------------


def start_process(run: Planned) -> subprocess.Popen:
    """Start the process that trains a run, on one thread; what it prints goes to the run's log."""
    command = [sys.executable, "-m", "pipeline.evidence.job", run.name, *options(run.places)]
    variables = {"INFOMAX_SAVE_SECONDS": "0", **os.environ, "OMP_NUM_THREADS": "1"}
    with run.log.open("w", encoding="utf-8") as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log}
        streams["stderr"] = subprocess.STDOUT
        # A terminal's Ctrl-C comes to the queue alone, which lets the run save.
        streams["start_new_session"] = True
        process = subprocess.Popen(command, cwd=project_root(), env=variables, **streams)
    give_way(process.pid)
    return process


def give_way(process: int) -> None:
    """Give a process and its children the lowest priority as a group, too.

    `start_new_session` has made them a group of Linux's scheduler, which compares groups first:
    within one, `nice` alone would give way to nobody outside.
    """
    with suppress(OSError):  # no such groups here
        group = Path(f"/proc/{process}/autogroup")
        group.write_text(str(LOWEST_PRIORITY), encoding="ascii")


def no_data(run: Planned) -> str:
    """Why a run's images cannot be read, in one sentence; empty if they can."""
    return _problem_with(run.config.dataset, run.config.data_root)


@cache
def _problem_with(dataset: str, data_root: str) -> str:
    """The same for a data set, which is looked for once."""
    if dataset.startswith("glyphs"):
        return ""
    place = data_place(data_root)
    try:
        train, _ = (READERS[dataset](place, split) for split in ("train", "test"))
    except ParameterError as error:
        return str(error)
    if dataset == "folder" and train.coarse is None:
        missing = "has no superclasses.csv, by which near classes are told from far ones"
        return f"data_root: {place} {missing}."
    return ""


def check_commit() -> None:
    """Refuse to run where each run would record that its code is not what the commit holds.

    Raises:
        ParameterError: tracked files have changes.
    """
    if has_history(project_root()) and commit().endswith("-modified"):
        changes = "This checkout has changes that are not committed"
        cure = "commit them, or use a clone at a tag (docs/evidence.md)"
        raise ParameterError(f"{changes}, and each run would record so: {cure}.")


def main() -> None:
    """Run the queue."""
    arguments = evidence_parser("queue", __doc__)
    add_lines(arguments)
    count = os.cpu_count() or 1
    arguments.add_argument("--cores", type=int, default=count, help="runs at a time")
    given = arguments.parse_args()
    os.nice(LOWEST_PRIORITY)
    try:
        if given.cores < 1:
            raise not_allowed("CORES", given.cores, "at least 1")
        check_commit()
        places = places_of(given)
        every = planned(places)
        runs = chosen(every, given.lines)
        made_folder("runs_dir", runs_folder(places.runs_dir))
        made_folder("runs_dir", places.journal)
        with FileLock(places.journal / ".lock", timeout=0):
            sys.exit(Queue(runs, given.cores, every).work())
    except Timeout:
        cure = "`make evidence-status` shows how far it is"
        sys.exit(f"Another `make evidence` is at work on these runs: {cure}.")
    except (ParameterError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
