"""Errors of one sentence each, and how other libraries' errors become them."""

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any


class ParameterError(ValueError):
    """A parameter is not allowed. Notebooks show this one sentence instead of a traceback.

    Args:
        sentence: what is wrong, with the name, the value and what is allowed.
        data_missing: whether the reason is a data set that was not found.
    """

    def __init__(self, sentence: str, data_missing: bool = False):
        super().__init__(sentence)
        self.data_missing = data_missing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class RunError(RuntimeError):
    """A run failed on its way, as by a full disk, a damaged file or too little memory."""

    _render_traceback_ = ParameterError._render_traceback_


def not_allowed(name: str, value: Any, allowed: str) -> ParameterError:
    """The error for a value that is not allowed.

    >>> raise not_allowed("batch_size", 1, "at least 2")
    Traceback (most recent call last):
    infomax_nb.errors.ParameterError: batch_size = 1 is not allowed: it must be at least 2.
    """
    return ParameterError(f"{name} = {value!r} is not allowed: it must be {allowed}.")


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


@contextmanager
def file_errors(
    path: str | Path, what="data_root", kind: type[Exception] = ParameterError, cure=""
) -> Iterator[None]:
    """Turn any error in this block into one that names the file.

    Args:
        path: the file.
        what: the parameter that led to the file; the sentence begins with it.
        kind: the class of the error, ParameterError or RunError.
        cure: a last sentence, with a leading space.
    """
    try:
        yield
    except Exception as error:  # pandas, Pillow, zipfile, pickle and torch raise a dozen kinds
        has_its_sentence = isinstance(error, ParameterError) and kind is ParameterError
        if has_its_sentence or ran_out(error):
            raise
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
            raise kind(f"{what}: there is no {printable(str(path))}.{cure}") from None
        if isinstance(error, ParameterError):
            raise kind(f"{what}: {printable(str(path))} cannot be used: {error}") from None
        reason = printable(shorten(str(error) or type(error).__name__, 300).rstrip("."))
        problem = f"cannot be used, it may be damaged or incomplete: {reason}.{cure}"
        raise kind(f"{what}: {printable(str(path))} {problem}") from None


def printable(name: str) -> str:
    """A file's name as text that can be printed and saved anywhere.

    Bytes that are not UTF-8 are read as Latin-1, control characters become escapes, and invisible
    marks are left out.
    """
    return "".join(_visible(letter) for letter in name)


def _visible(letter: str) -> str:
    # Python's stand-in for a byte of a file's name that is not UTF-8
    if "\udc80" <= letter <= "\udcff":
        letter = chr(ord(letter) - 0xDC00)
    kind = unicodedata.category(letter)
    if kind in ("Cc", "Cs", "Zl", "Zp"):
        return letter.encode("unicode_escape").decode()
    return {"Cf": "", "Zs": " "}.get(kind, letter)


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out.

    Besides torch's and Python's own errors, two cases come as a plain RuntimeError.
    """
    kinds = ("DefaultCPUAllocator: can't allocate memory", "CUDA error: out of memory")
    by_words = isinstance(error, RuntimeError) and any(words in str(error) for words in kinds)
    return by_words or isinstance(error, MemoryError) or _is_of_torch(error, "OutOfMemoryError")


def device_failed(error: BaseException) -> bool:
    """Whether the device failed, for example by an illegal memory access.

    Such an error is raised late, during whatever happens to be done then.
    """
    return _is_of_torch(error, "AcceleratorError") or str(error).startswith("CUDA error")


def _is_of_torch(error: BaseException, kind: str) -> bool:
    """Whether it is torch's error of this kind, which cannot occur before torch is imported."""
    return "torch" in sys.modules and isinstance(error, getattr(sys.modules["torch"], kind))


@contextmanager
def memory_errors(doing: str, cure: str) -> Iterator[None]:
    """Turn running out of memory in this block into one RunError.

    Args:
        doing: what needed the memory, such as "neighbours were looked for".
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
