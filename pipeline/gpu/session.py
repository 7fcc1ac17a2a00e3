"""All parts in their order, until the time is over, and what came of them in sentences."""

import json
import time
from dataclasses import dataclass, field

from infomax_nb.errors import ParameterError, RunError, one_line
from infomax_nb.files import atomic_write
from infomax_nb.train.record import now
from infomax_nb.train.run import Run
from pipeline.gpu import measuring, training
from pipeline.gpu.data import reason_against
from pipeline.gpu.jobs import Deadline, Ended, run_jobs
from pipeline.gpu.order import SHARES, TRIAL_SHARES, Part, parts
from pipeline.gpu.results import machine
from pipeline.gpu.setting import Setting

TERMINATED = 143  # how a run ends that has saved itself: 128 + SIGTERM
OVER = "the time was over"


@dataclass
class Session:
    """What is done by a setting, and what came of it.

    Args:
        setting: what was asked for.
        deadline: when everything must have ended but for the last words.
    """

    setting: Setting
    deadline: Deadline
    done: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self) -> int:
        """Do everything; returns the exit status."""
        begin = time.monotonic()
        self.measure("checks", 1)
        if self.failed and not self.setting.despite:
            reason = "a check failed; --despite-checks goes on all the same"
            for kind in ("speed", "row", "contrasts", "table"):
                self.left_out += [f"{part.name}: {reason}" for part in parts(kind)]
        else:
            self.measure("speed", 2 if self.setting.trial else 1)
            self.train_rows()
            self.train_contrasts()
            self.write_tables()
        self.write((time.monotonic() - begin) / 60)
        if self.failed:
            return 1
        return 128 + self.deadline.signal if self.deadline.signal else 0

    def measure(self, kind: str, at_once: int) -> None:
        """Checks or speeds, each unless this commit has measured it on this machine."""
        shares = TRIAL_SHARES if self.setting.trial else SHARES
        deadline = self.deadline.within(60 * self.setting.minutes * shares[kind])
        wanted = []
        for part in parts(kind):
            results = self.setting.results(part.what)
            results.begin()
            if results.whole:
                self.done.append(f"{part.name}: measured before")
            else:
                wanted.append(part)
        jobs = [measuring.job(part, self.setting, deadline.left()) for part in wanted]
        ended = run_jobs(jobs, at_once, deadline)
        for part in wanted:
            words = measuring.found(part, self.setting.results(part.what))
            self.take_note(part, ended[part.name], words)

    def train_rows(self) -> None:
        """The rows, in order, each unless it is finished or its images are missing."""
        wanted = []
        for part in parts("row"):
            reason = self._reason_against(part)
            if reason:
                self.left_out.append(f"{part.name}: {reason}")
                continue
            try:
                finished = Run(self.setting.config(part).run_dir).finished
            except RunError as error:
                self.failed.append(f"{part.name}: {one_line(error)}")
                continue
            if finished:
                self.done.append(f"{part.name}: finished before")
            else:
                wanted.append(part)
        jobs = [training.row(part, self.setting) for part in wanted]
        ended = run_jobs(jobs, measuring.at_once(self.setting), self.deadline)
        for part in wanted:
            config = self.setting.config(part)
            self.take_note(part, ended[part.name], training.progress(config))

    def _reason_against(self, part: Part) -> str:
        if self.setting.trial:
            only = "a trial has CIFAR-10's rows alone"
            return "" if part.dataset == "cifar10" else only
        return reason_against(part.dataset, self.setting.data_root)

    def train_contrasts(self) -> None:
        """The runs of `docs/plan.md`, by their own queue."""
        for part in parts("contrasts"):
            try:
                job = training.contrasts(part, self.setting, measuring.at_once(self.setting))
                (ended,) = run_jobs([job], 1, self.deadline).values()
                self.take_note(part, ended, training.kept(self.setting))
            except (ParameterError, RunError) as error:
                self.left_out.append(f"{part.name}: {one_line(error)}")

    def write_tables(self) -> None:
        """A table of each data set that has a finished row."""
        for part in parts("table"):
            try:
                path = training.write_table(part.what, self.setting)
            except (ParameterError, RunError) as error:
                self.failed.append(f"{part.name}: {one_line(error)}")
                continue
            if path:
                self.done.append(f"{part.name}: {path}")
            else:
                self.left_out.append(f"{part.name}: no row of it is finished")

    # --- Saying -------------------------------------------------------------------------------

    def take_note(self, part: Part, ended: Ended, words: str) -> None:
        """Remember what came of a part, as a sentence."""
        about = f"{part.name}: {words}" if words else part.name
        if ended.code is None:
            self.left_out.append(f"{part.name}: {OVER} before it began")
        elif ended.code == 0:
            self.done.append(about)
        elif part.kind == "checks" and " failed" in words:  # in time or not
            self.failed.append(about)
        elif not ended.in_time or ended.code == TERMINATED:
            self.left_out.append(f"{about}: {OVER}")
        elif part.kind == "contrasts":  # what is failed, or has no data, is named by their queue
            self.left_out.append(f"{about}; {ended.said}")
        else:
            self.failed.append(f"{about} ({ended.said})")

    def write(self, minutes: float) -> None:
        """Print the sentences, and keep them."""
        record = {
            "finished": now(),
            "trial": self.setting.trial,
            "minutes": self.setting.minutes,
            "used_minutes": round(minutes, 2),
            "done": self.done,
            "left_out": self.left_out,
            "failed": self.failed,
            **machine(self.setting.device),
        }
        for title in ("done", "left_out", "failed"):
            for sentence in record[title]:
                print(f"{title.replace('_', ' ')}: {sentence}")
        if self.setting.trial:
            print(f"This was a trial on the CPU; all of it is in {self.setting.reports}.")
        path = self.setting.benchmarks / f"{self.setting.device}_session.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        atomic_write(path, lambda part: part.write_text(text, encoding="utf-8"))
