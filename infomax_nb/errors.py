"""Errors of one sentence each, and how other libraries' errors become them."""

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any


class ParameterError(ValueError):
    """A parameter that is not allowed. Notebooks show its one sentence instead of a traceback.

    Args:
        sentence: what is wrong, with the name, the value and what is allowed.
        data_missing: whether it is about a data set that is not where it was looked for.
    """

    def __init__(self, sentence: str, data_missing: bool = False):
        super().__init__(sentence)
        self.data_missing = data_missing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class RunError(RuntimeError):
    """What a run met on its way: a full disk, a damaged file, too little memory."""

    _render_traceback_ = ParameterError._render_traceback_


def not_allowed(name: str, value: Any, allowed: str) -> ParameterError:
    """The error for a value that is not allowed.

    >>> raise not_allowed("batch_size", 1, "at least 2")
    Traceback (most recent call last):
    infomax_nb.errors.ParameterError: batch_size = 1 is not allowed: it must be at least 2.
    """
    return ParameterError(f"{name} = {value!r} is not allowed: it must be {allowed}.")


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split())


@contextmanager
def file_errors(
    path: str | Path, what="data_root", kind: type[Exception] = ParameterError, cure=""
) -> Iterator[None]:
    """Turn whatever goes wrong with a file in here into one error that names it.

    Args:
        path: the file.
        what: the parameter that led to it; the sentence begins with it.
        kind: the class of the error, ParameterError or RunError.
        cure: a last sentence, with a space in front.
    """
    try:
        yield
    except Exception as error:  # pandas, Pillow, zipfile, pickle and torch raise a dozen kinds
        has_its_sentence = isinstance(error, ParameterError) and kind is ParameterError
        if has_its_sentence or ran_out(error):
            raise
        reason = printable(shorten(str(error) or type(error).__name__, 300).rstrip("."))
        problem = f"cannot be used, it may be damaged or incomplete: {reason}.{cure}"
        raise kind(f"{what}: {printable(str(path))} {problem}") from None


def printable(name: str) -> str:
    """A file's name as text that can be printed and saved anywhere.

    Bytes that are no UTF-8 are read as Latin-1, control characters become escapes, and invisible
    marks are left out.
    """
    return "".join(_visible(letter) for letter in name)


def _visible(letter: str) -> str:
    # Python's stand-in for a byte of a file's name that is no UTF-8
    if "\udc80" <= letter <= "\udcff":
        letter = chr(ord(letter) - 0xDC00)
    kind = unicodedata.category(letter)
    if kind in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode()
    return {"Cf": "", "Zs": " "}.get(kind, letter)


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out.

    Beside torch's and Python's own errors there are two that come as a plain RuntimeError.
    """
    kinds = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory")
    by_words = isinstance(error, RuntimeError) and any(words in str(error) for words in kinds)
    return by_words or isinstance(error, MemoryError) or _is_of_torch(error, "OutOfMemoryError")


def device_failed(error: BaseException) -> bool:
    """Whether the device failed, as by an illegal memory access.

    Such an error comes late, whatever is being done then.
    """
    return _is_of_torch(error, "AcceleratorError") or str(error).startswith("CUDA error")


def _is_of_torch(error: BaseException, kind: str) -> bool:
    """Whether it is this error of torch, which cannot have raised one before it is imported."""
    return "torch" in sys.modules and isinstance(error, getattr(sys.modules["torch"], kind))


@contextmanager
def memory_errors(doing: str, cure: str) -> Iterator[None]:
    """Turn memory that runs out in here into one RunError.

    Args:
        doing: what needed the memory, as in "neighbours were looked for".
        cure: what to change.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        on_gpu = _is_of_torch(error, "OutOfMemoryError") or "CUDA" in str(error)
        device = "cuda" if on_gpu else "cpu"
        raise RunError(f"out of memory on {device} while {doing}: {cure}.") from error
