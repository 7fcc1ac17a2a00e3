"""How far a run is, in words: one line an epoch wherever no bar is shown."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from infomax_nb.config import TrainConfig
from infomax_nb.notebook import is_interactive
from infomax_nb.views.recipes import LIKE_OURS

# How a field is named before its value; the others by their name.
SIGNS = {"alpha": "α = ", "beta": "β = ", "kappa": "κ = "}
SIGNS |= dict.fromkeys(("dataset", "method", "backbone"), "")
UNITS = {"days": 86_400, "h": 3_600, "min": 60}  # in seconds


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
    own = ["kappa"] if config.method in LIKE_OURS else []
    own += ["beta"] if config.method == "infomax" else []
    words = []
    for name in names or ("dataset", "method", *own, "seed"):
        value = getattr(config, name)
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        words.append(SIGNS.get(name, f"{name} ") + shown)
    return ", ".join(words)


def titles(configs: Sequence[TrainConfig]) -> list[str]:
    """Of each run its number among them, and what they differ in; of a single one its title."""
    fields = [config.model_dump() for config in configs]
    differing = [
        name for name in TrainConfig.model_fields if len({str(f[name]) for f in fields}) > 1
    ]
    names = dict.fromkeys(["method", *differing])
    count = len(configs)
    numbered = [f"run {k} of {count}, {title(run, *names)}" for k, run in enumerate(configs, 1)]
    return numbered if count > 1 else [title(run) for run in configs]


def duration(seconds: float) -> str:
    """A time in the unit in which people would say it, rounded.

    >>> duration(40), duration(150 * 60), duration(26 * 3_600), duration(3e6)
    ('40 s', '150 min', '26 h', '35 days')
    """
    for unit, size in UNITS.items():
        if seconds >= 3 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


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
