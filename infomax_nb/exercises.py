"""`check("00-2", answer)` says whether a student's answer to a notebook's exercise is right, and
hints if it is not.

`exercises.json` has what each exercise asks for, a hint, the answer and how far from it is right,
too. The answers, with what they mean and how they were obtained, are on the instructors' page,
`docs/instructors.md`.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, conlist

from infomax_nb.errors import ParameterError


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is `right` (it counts as true then), and what to tell the student: its
    `text`."""

    right: bool
    text: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Exercise:
    """What an exercise `asks` for, a `hint`, and the `answer`, a list of numbers or of words.

    `within`: the tolerance of each number, in its unit, 0 for what must be exact. `words`: what to
    choose from.
    """

    asks: str
    hint: str
    answer: list
    within: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


NUMBER = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_FILE = Path(__file__).with_name("exercises.json")
EXERCISES = {name: Exercise(**each) for name, each in json.loads(_FILE.read_text("utf-8")).items()}


def check(exercise: str, answer: Any) -> Verdict:
    """Right, or not yet with a hint; of several numbers, how many are right.

    Args:
        exercise: the notebook's number and the exercise's, as "00-2".
        answer: a number or a word, or as many of them in a list as the exercise asks for. Arrays
            and tensors will do.

    Raises ParameterError for an exercise that there is not, and for an answer that is not of the
    kind asked for.
    """
    if not isinstance(exercise, str) or exercise not in EXERCISES:
        raise ParameterError(
            f"exercise = {exercise!r} is not allowed: it must be one of {', '.join(EXERCISES)}."
        )
    asked = EXERCISES[exercise]
    try:
        items = _items(asked, answer)
    except ValidationError:
        given = shorten(" ".join(repr(answer).split()), 80, placeholder=" …")
        raise ParameterError(
            f"answer = {given} is not allowed: exercise {exercise} asks for {asked.asks}."
        ) from None
    if asked.words:
        right = [item == word for item, word in zip(items, asked.answer, strict=True)]
    else:
        right = list(map(_is_near, items, asked.answer, asked.within))
    if all(right):
        return Verdict(True, f"{exercise}: right.")
    some = f" {sum(right)} of {len(right)} are right." if len(right) > 1 else ""
    return Verdict(False, f"{exercise}: not yet.{some} {asked.hint}")


def _items(asked: Exercise, answer: Any) -> list:
    """The answer as a list of numbers or of words, as many as are asked for; pydantic's error if it
    is none."""
    plain = answer.tolist() if hasattr(answer, "tolist") else answer  # of NumPy, PyTorch and pandas
    items = plain if isinstance(plain, list | tuple) else [plain]
    said = [" ".join(item.lower().split()) if isinstance(item, str) else item for item in items]
    kind: Any = Literal[tuple(asked.words)] if asked.words else NUMBER
    count = len(asked.answer)
    return TypeAdapter(conlist(kind, min_length=count, max_length=count)).validate_python(said)


def _is_near(number: float, answer: float, within: float) -> bool:
    """Whether a number differs from the answer by no more than the tolerance, up to the rounding of
    decimals."""
    return math.isclose(number, answer, rel_tol=1e-12, abs_tol=within * (1 + 1e-9))
