"""errors."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

import torch


class ParameterError(ValueError):
    """A parameter that is not allowed. Notebooks show its one sentence instead of a traceback.

    `data_missing`: whether it is about a data set that is not where it was looked for.
    """

    def __init__(self, sentence: str, data_missing: bool = False):
        super().__init__(sentence)
        self.data_missing = data_missing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class RunError(RuntimeError):
    """What a run met on the way: a full disk, a damaged file, too little memory. One sentence,
    too."""

    _render_traceback_ = ParameterError._render_traceback_


@contextmanager
def reading(
    path: str | Path, what="data_root", kind: type[Exception] = ParameterError, cure=""
) -> Iterator[None]:
    """What goes wrong in here becomes one error that names the file, and the cure if there is
    one."""
    try:
        yield
    except Exception as error:  # pandas, Pillow, zipfile, pickle and torch raise a dozen kinds
        has_its_sentence = isinstance(error, ParameterError) and kind is ParameterError
        if has_its_sentence or ran_out(error):
            raise
        reason = printable(shorten(str(error) or type(error).__name__, 300).rstrip("."))
        named = printable(str(path))
        raise kind(
            f"{what}: {named} cannot be used, it may be damaged or incomplete: {reason}.{cure}"
        ) from None


def printable(name: str) -> str:
    """The name of a file as text that can be printed and saved anywhere.

    Bytes that are no UTF-8 are read as Latin-1; control characters become escapes, invisible marks
    go.
    """
    return "".join(_visible(letter) for letter in name)


def _visible(letter: str) -> str:
    if (
        "\udc80" <= letter <= "\udcff"
    ):  # Python's stand-in for a byte of a file's name that is no UTF-8
        letter = chr(ord(letter) - 0xDC00)
    kind = unicodedata.category(letter)
    if kind in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode()
    return {"Cf": "", "Zs": " "}.get(kind, letter)


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out: torch's and Python's own errors, and the two that come as a plain
    RuntimeError."""
    kinds = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in kinds)
    )


def failed(error: BaseException) -> bool:
    """Whether the device failed, as by an illegal memory access: such an error comes late, whatever
    is done then."""
    return isinstance(error, torch.AcceleratorError) or str(error).startswith("CUDA error")


@contextmanager
def memory(doing: str, cure: str) -> Iterator[None]:
    """Memory that runs out in here becomes one RunError: on which device, `doing` what, and the
    `cure`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        gpu = isinstance(error, torch.OutOfMemoryError) or "CUDA" in str(error)
        raise RunError(
            f"out of memory on {'cuda' if gpu else 'cpu'} while {doing}: {cure}."
        ) from error
