"""The queue's output: lines about runs, and how far they all are."""

import sys
import time

from tqdm import tqdm

from pipeline.evidence.hours import hours_left, hours_of_all_epochs
from pipeline.evidence.runs import Planned
from pipeline.evidence.state import State, epochs_done

SECONDS_IN_A_LOG = 600.0  # between two lines of progress
SECONDS_IN_A_TERMINAL = 5.0  # between two updates of the bar


class Progress:
    """Progress as a bar in a terminal, else as a line now and then.

    Args:
        cores: number of runs that are trained at a time.
        every: all runs of the plan, from which hours are estimated.
    """

    def __init__(self, cores: int, every: list[Planned]):
        self.cores = cores
        self.every = every
        self.in_terminal = sys.stderr.isatty()
        form = "{percentage:3.0f}%|{bar}| {desc}"
        self.bar = tqdm(total=1.0, disable=not self.in_terminal, bar_format=form)
        self.last = 0.0  # when progress was last shown

    def say(self, text: str) -> None:
        """Print a line with the time."""
        self.bar.write(f"{time.strftime('%F %T')}  {text}", file=sys.stdout)
        sys.stdout.flush()

    def is_due(self) -> bool:
        """Whether it is time to show progress again."""
        pause = SECONDS_IN_A_TERMINAL if self.in_terminal else SECONDS_IN_A_LOG
        return time.monotonic() - self.last >= pause

    def show(self, runs: list[Planned], states: dict[str, State], running: list[Planned]) -> None:
        """Show how far the runs are.

        Args:
            runs: the runs that the queue was asked for.
            states: how far each of them has come, by its name.
            running: the runs that are being trained now, including trunks of others.
        """
        self.last = time.monotonic()
        left = hours_left(runs, states, self.every)
        unfinished = [run for run in runs if states[run.name].kind in ("waiting", "running")]
        hours = sum(left[run.name] for run in unfinished)
        done = sum(now.done for now in states.values())
        text = f"{done} of {len(runs)} runs are there; {in_words(running)}; "
        text += (
            f"{hours:.1f} core-hours left, some {hours / self.cores:.1f} h on {self.cores} cores"
        )
        all_epochs = 0.0
        for run in unfinished:
            all_epochs += hours_of_all_epochs(run, left[run.name], states[run.name])
        self.bar.total = max(all_epochs, 1e-9)
        self.bar.n = all_epochs - hours
        self.bar.set_description_str(text)
        if not self.in_terminal:
            self.say(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.bar.close()


def in_words(running: list[Planned]) -> str:
    """The runs that are being trained, and how far each is, as text."""
    epochs = [f"{run.name} {epochs_done(run)}/{run.config.epochs}" for run in running]
    return ", ".join(epochs) or "none is running"
