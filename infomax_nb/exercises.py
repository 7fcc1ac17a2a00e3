"""`check("00-2", answer)` says whether an answer to a notebook's exercise is right, or hints.

`exercises.json` holds what each exercise asks for, a hint, the answer and its tolerance. The
instructors' page, `docs/instructors.md`, says what the answers mean and how they were obtained.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from infomax_nb.errors import ParameterError, not_allowed


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is `right`, which is also the truth value, and a `text` for the student."""

    right: bool
    text: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Exercise:
    """What an exercise `asks` for, a `hint`, and the `answer`, a list of numbers or of words.

    `within`: the tolerance of each number, in its unit, 0 where it must be exact. `words`: the
    words to choose from.
    """

    asks: str
    hint: str
    answer: list
    within: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def takes(self, item: Any) -> bool:
        """Whether an item is of the kind asked for: one of the words, or a finite number."""
        if self.words:
            return isinstance(item, str) and item in self.words
        number = isinstance(item, int | float) and not isinstance(item, bool)
        return number and math.isfinite(item)

    def right(self, items: list) -> list[bool]:
        """Whether each item is right; numbers may differ by the tolerance and decimal rounding."""
        if self.words:
            return [item == word for item, word in zip(items, self.answer, strict=True)]
        tolerances = [within * (1 + 1e-9) for within in self.within]
        each = zip(items, self.answer, tolerances, strict=True)
        return [
            math.isclose(item, answer, rel_tol=1e-12, abs_tol=tol) for item, answer, tol in each
        ]


_FILE = Path(__file__).with_name("exercises.json")
EXERCISES = {name: Exercise(**each) for name, each in json.loads(_FILE.read_text("utf-8")).items()}


def check(exercise: str, answer: Any) -> Verdict:
    """Check an answer. A wrong one gets a hint, and of several items the number that are right.

    Args:
        exercise: the notebook's number and the exercise's, such as "00-2".
        answer: a number or a word, or a list of as many as the exercise asks for. Arrays and
            tensors are allowed, too.

    Raises:
        ParameterError: there is no such exercise, or the answer is not of the kind asked for.
    """
    if not isinstance(exercise, str) or exercise not in EXERCISES:
        raise not_allowed("exercise", exercise, f"one of {', '.join(EXERCISES)}")
    asked = EXERCISES[exercise]
    items = _items(answer)
    if len(items) != len(asked.answer) or not all(map(asked.takes, items)):
        given = shorten(repr(answer), 80, placeholder=" …")
        reason = f"exercise {exercise} asks for {asked.asks}"
        raise ParameterError(f"answer = {given} is not allowed: {reason}.")
    right = asked.right(items)
    if all(right):
        return Verdict(True, f"{exercise}: right.")
    some = f" {sum(right)} of {len(right)} are right." if len(right) > 1 else ""
    return Verdict(False, f"{exercise}: not yet.{some} {asked.hint}")


def _items(answer: Any) -> list:
    """The answer as a list, words in lower case with single spaces."""
    plain = _plain(answer)
    items = [_plain(item) for item in plain] if isinstance(plain, list | tuple) else [plain]
    return [" ".join(item.lower().split()) if isinstance(item, str) else item for item in items]


def _plain(value: Any) -> Any:
    """Numbers and lists of NumPy, PyTorch and pandas as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value
