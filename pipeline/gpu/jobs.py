"""Processes that end by a deadline: one after another, or several at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from infomax_nb.files import project_root
from pipeline.command import last_line

PAUSE = 0.1  # seconds between two looks
GRACE = 30.0  # seconds in which a process that was told to stop may save


class Deadline:
    """When everything must have ended; decided once.

    Args:
        seconds: from now.
        outer: another one, after which this one is over, too.
    """

    def __init__(self, seconds: float, outer: "Deadline | None" = None):
        self.end = time.monotonic() + seconds
        self.outer = outer
        self.signal = 0

    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        own = self.end - time.monotonic()
        return min(own, self.outer.left()) if self.outer else own

    def within(self, seconds: float) -> "Deadline":
        """A deadline in so many seconds, or with this one, whichever comes first."""
        return Deadline(seconds, self)

    def stop(self, sign: int, _: object = None) -> None:
        """Let it be now: a signal says so."""
        self.signal = sign
        self.end = time.monotonic()


@dataclass
class Job:
    """A process to be started.

    Args:
        name: how sentences call it.
        command: what is run, in the project's folder.
        log: where its output goes.
        least: seconds; with less left it is not begun.
        variables: of the environment, beside those of this process.
    """

    name: str
    command: list[str]
    log: Path
    least: float = 0.0
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Args:
        code: the exit status; None if it was not begun.
        in_time: whether it ended by itself.
        said: the last line of its output.
    """

    code: int | None = None
    in_time: bool = True
    said: str = ""


class Running:
    """A job's process.

    Args:
        job: what is run.
    """

    def __init__(self, job: Job):
        self.job = job
        self.told = 0.0  # when it was told to stop
        job.log.parent.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **job.variables}
        variables["PYTHONPATH"] = f"{project_root()}:{variables.get('PYTHONPATH', '')}"
        with job.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                job.command,
                cwd=project_root(),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C comes to the session alone
            )

    def look(self, over: bool, grace: float) -> Ended | None:
        """Tell it to stop if time is over; how it ended, None if it has not."""
        code = self.process.poll()
        if code is None and over and not self.told:
            self.told = time.monotonic()
            self.process.terminate()
        if code is None and self.told and time.monotonic() - self.told > grace:
            self.process.kill()
            code = self.process.wait()
        if code is None:
            return None
        with suppress(OSError):  # what it started and left
            os.killpg(self.process.pid, signal.SIGKILL)
        return Ended(code, not self.told, last_line(self.job.log, code))


def run_jobs(
    jobs: list[Job], at_once: int, deadline: Deadline, grace: float = GRACE
) -> dict[str, Ended]:
    """Run jobs in their order, some at a time, and tell them to stop at the deadline.

    Args:
        jobs: what is run.
        at_once: how many at a time.
        deadline: when they are told to stop.
        grace: seconds after which one that was told to is killed.

    Returns:
        How each of them ended, by name.
    """
    waiting = list(jobs)
    running: list[Running] = []
    ended: dict[str, Ended] = {}
    bar = tqdm(total=len(jobs), disable=not sys.stderr.isatty(), leave=False)
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop(0)
            if deadline.left() <= job.least:
                ended[job.name] = Ended()
                continue
            running.append(Running(job))
            print(f"{job.name}: begins, {deadline.left() / 60:.1f} minutes left", flush=True)
        for each in list(running):
            end = each.look(deadline.left() <= 0, grace)
            if end:
                ended[each.job.name] = end
                running.remove(each)
        bar.n = len(ended)
        bar.set_description_str(", ".join(each.job.name for each in running), refresh=True)
        time.sleep(PAUSE)
    bar.close()
    return {job.name: ended[job.name] for job in jobs}
