"""How far a run is, in words: one line an epoch wherever no bar is shown."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from infomax_nb.config import TrainConfig
from infomax_nb.notebook import is_interactive

SYMBOLS = {"alpha": "α", "beta": "β", "kappa": "κ"}


def title(config: TrainConfig, *names: str) -> str:
    """What tells a run from others, in a few words.

    Args:
        config: the run.
        names: the fields to name; by default those that people call any run by.

    >>> title(TrainConfig(kappa=0.1, seed=1))
    'glyphs, infomax, κ = 0.1, β = 1, seed 1'
    >>> title(TrainConfig(kappa=0.1), "method", "kappa")
    'infomax, κ = 0.1'
    """
    own = ("kappa", "beta") if config.method == "infomax" else ()
    words = []
    for name in names or ("dataset", "method", *own, "seed"):
        value = getattr(config, name)
        value = f"{value:g}" if isinstance(value, float) else str(value)
        sign = f"{SYMBOLS[name]} = " if name in SYMBOLS else f"{name} "
        words.append(value if name in ("dataset", "method", "backbone") else sign + value)
    return ", ".join(words)


def titles(configs: Sequence[TrainConfig]) -> list[str]:
    """Of each run its number among them, and what they differ in; of a single one its title."""
    if len(configs) == 1:
        return [title(configs[0])]
    fields = [config.model_dump() for config in configs]
    differing = [name for name in fields[0] if len({str(each[name]) for each in fields}) > 1]
    names = ["method", *[name for name in differing if name != "method"]]
    numbers = [f"run {k} of {len(configs)}" for k in range(1, len(configs) + 1)]
    words = [title(config, *names) for config in configs]
    return [f"{number}, {word}" for number, word in zip(numbers, words, strict=True)]


def duration(seconds: float) -> str:
    """A time as people say it, in seconds, minutes, hours or days.

    >>> duration(40), duration(150), duration(9_000), duration(90_000), duration(3e6)
    ('40 s', '2 min', '2 h 30 min', '1 day 1 h', '35 days')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return " ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0))
    days, hours = divmod(round(seconds / 3600), 24)
    if days >= 10:
        return f"{seconds / 86_400:,.0f} days"
    exact = f" {hours} h" if hours else ""
    return f"{days} day{'s' * (days > 1)}{exact}"


def say(line: str) -> None:
    """Print a line on stderr; in a notebook that runs unattended, on its starter's.

    There it reaches papermill's log, and does not become part of the notebook's output.
    """
    if is_interactive() or "ipykernel" not in sys.modules:
        print(line, file=sys.stderr, flush=True)
        return
    with suppress(OSError):  # on Windows a kernel keeps no such way
        # The kernel's own stderr becomes output; its number is that of the one before. papermill's
        # bar, which ends without a line break, is cleared in a terminal.
        place = sys.stderr.fileno()
        before = "\r\033[K" if os.isatty(place) else "\r"
        os.write(place, f"{before}{line}\n".encode())
