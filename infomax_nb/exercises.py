"""`check("00-2", answer)` says whether a student's answer to a notebook's exercise is right, and doesn't give it away.

`exercises.json` says what is asked and holds the hints, but no answers. Each of these is kept as the slow, salted hash
(scrypt) of the cell of a grid that it lies in: cells are half the tolerance wide, and two of them on either side count
as right, too. So an answer within its tolerance is right, and one that is off by one and a half times as much is not.
Exact numbers and words are hashed as they are. A million guesses take a night; thirty percentages don't, and a word
from a list of three is no secret. So nobody reads an answer by accident; who is set on it finds it. With explanations
they are in `docs/instructors.md`.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from .config import ParameterError


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is `right` (it counts as true then), and what to tell the student: its `text`."""

    right: bool
    text: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Exercise:
    """What an exercise `asks` for, a `hint`, and `digests` of the answer, one for each number or word of it.

    `within`: the tolerance of each number, in the answer's unit, and 0 for what must be exact. `words`: what to choose
    from, where words are asked for.
    """

    asks: str
    hint: str
    within: list[float]
    words: list[str]
    digests: list[str]


_FILE = Path(__file__).with_name("exercises.json")
EXERCISES = {name: Exercise(**each) for name, each in json.loads(_FILE.read_text("utf-8")).items()}


def check(exercise: str, answer: Any) -> Verdict:
    """Right, or not yet with a hint; of several numbers, how many are right.

    Args:
        exercise: the notebook's number and the exercise's, as "00-2".
        answer: a number or a word, or as many of them in a list as the exercise asks for. Arrays and tensors will do.

    Raises ParameterError for an exercise that there is not, and for an answer that is not of the kind asked for.
    """
    if not isinstance(exercise, str) or exercise not in EXERCISES:
        raise ParameterError(f"exercise = {exercise!r} is not allowed: it must be one of {', '.join(EXERCISES)}.")
    asked = EXERCISES[exercise]
    given = enumerate(_items(exercise, answer))
    right = [
        any(_digest(exercise, k, cell) == asked.digests[k] for cell in _cells(asked, k, item)) for k, item in given
    ]
    if all(right):
        return Verdict(True, f"{exercise}: right.")
    some = f" {sum(right)} of {len(right)} are right." if len(right) > 1 else ""
    return Verdict(False, f"{exercise}: not yet.{some} {asked.hint}")


def digests(exercise: str, answer: Any) -> list[str]:
    """What `exercises.json` must hold for this answer to be right: for who writes or changes an exercise."""
    cells = [_cells(EXERCISES[exercise], k, item)[0] for k, item in enumerate(_items(exercise, answer))]
    return [_digest(exercise, k, cell) for k, cell in enumerate(cells)]


def _items(exercise: str, answer: Any) -> Sequence[float | str]:
    """The answer as a list of numbers or of words, as many as are asked for."""
    asked = EXERCISES[exercise]
    plain = answer.tolist() if hasattr(answer, "tolist") else answer  # of NumPy, PyTorch and pandas
    items = list(plain) if isinstance(plain, list | tuple) else [plain]
    if len(items) == len(asked.within):
        if asked.words and all(isinstance(item, str) for item in items):
            said = [" ".join(item.lower().split()) for item in items]
            if set(said) <= set(asked.words):
                return said
        numbers = [item for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
        if not asked.words and len(numbers) == len(items) and all(map(math.isfinite, numbers)):
            return [float(number) for number in numbers]
    given = shorten(" ".join(repr(answer).split()), 80, placeholder=" …")
    raise ParameterError(f"answer = {given} is not allowed: exercise {exercise} asks for {asked.asks}.")


def _cells(asked: Exercise, place: int, item: float | str) -> list[str]:
    """The grid's cells that may hold the right answer if this one is right, its own first."""
    if isinstance(item, str) or asked.within[place] == 0:
        return [item if isinstance(item, str) else f"{item:.12g}"]
    cell = math.floor(2 * item / asked.within[place] + 0.5)
    return [str(cell + shift) for shift in (0, -1, 1, -2, 2)]


@cache
def _digest(exercise: str, place: int, cell: str) -> str:
    """Hexadecimal, 6 bytes, in some 30 ms."""
    return hashlib.scrypt(cell.encode(), salt=f"{exercise} {place}".encode(), n=2**13, r=8, p=1, dklen=6).hex()
