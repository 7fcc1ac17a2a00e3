"""Find out whether a person is using the notebook, or is watching at all."""

import sys


def kernel():
    """The Jupyter kernel in which this runs; None outside of one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None)


def is_interactive() -> bool:
    """Whether a person is at the other end of the kernel, not papermill, nbconvert or nbval."""
    return bool(getattr(kernel(), "_allow_stdin", False))


def shows_bars() -> bool:
    """Whether progress is shown as bars: to a person, not in a log."""
    return is_interactive() or sys.stderr.isatty()
