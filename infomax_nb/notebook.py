"""Find out whether a person is using the notebook, or is watching at all."""

import sys


def is_interactive() -> bool:
    """Whether a person is at the other end of the kernel, not papermill, nbconvert or nbval."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def shows_bars() -> bool:
    """Whether progress is shown as bars: to a person, not in a log."""
    return is_interactive() or sys.stderr.isatty()
