"""`check("00-2", answer)` says whether a student's answer to a notebook's exercise is right, and doesn't give it away.

The answers are not in here. Each is kept as the slow, salted hash (scrypt) of the cell of a grid that it lies in: cells
are half the tolerance wide, and two of them on either side count as right, too. So an answer within its tolerance is
right, and one that is off by one and a half times as much is not. Exact numbers and words are hashed as they are. A
million guesses take a night; thirty percentages don't, and a word from a list of three is no secret. So nobody reads an
answer by accident; who is set on it finds it. With explanations the answers are in `docs/instructors.md`.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cache
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
    digests: str
    within: tuple[float, ...] = (0,)
    words: tuple[str, ...] = ()


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
    kept, given = asked.digests.split(), _items(exercise, answer)
    right = [any(_digest(exercise, k, c) == kept[k] for c in _cells(asked, k, item)) for k, item in enumerate(given)]
    if all(right):
        return Verdict(True, f"{exercise}: right.")
    some = f" {sum(right)} of {len(right)} are right." if len(right) > 1 else ""
    return Verdict(False, f"{exercise}: not yet.{some} {asked.hint}")


def digests(exercise: str, answer: Any) -> str:
    """What the entry in `EXERCISES` must hold for this answer to be right: for who writes or changes an exercise."""
    cells = [_cells(EXERCISES[exercise], k, item)[0] for k, item in enumerate(_items(exercise, answer))]
    return " ".join(_digest(exercise, k, cell) for k, cell in enumerate(cells))


def _items(exercise: str, answer: Any) -> list[float] | list[str]:
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


EXERCISES = {
    "00-1": Exercise(
        "the bound in nats, within 0.01",
        "The bound counts the positives of one view. How many other views of its image are there now?",
        "ee11cc93eaca",
        within=(0.01,),
    ),
    "00-2": Exercise(
        "a list of two ratios, with two and with three shared views, each within 0.1",
        "Halve the interval between a ratio that keeps the images apart and one that merges them. The more views "
        "are shared, the less it takes.",
        "bac3bb4f007c 385328cf4e92",
        within=(0.1, 0.1),
    ),
    "00-3": Exercise(
        "the new bound in nats, within 0.01",
        "A part is still divided by the whole. How many terms has the part now, and how many the whole?",
        "5d3f91deb338",
        within=(0.01,),
    ),
    "01-1": Exercise(
        "a list of N, |P| and the ceiling in nats, the last within 0.01",
        "N counts views, not images; |P| counts the other views of the same image.",
        "22f7becfc568 3ac7bf61814f cbf84d3a12ff",
        within=(0, 0, 0.01),
    ),
    "01-2": Exercise(
        "the mean k-NN accuracy of seeds 0, 1 and 2 in percent, within 7.5 points",
        "In percent, after the last epoch, the mean of `knn_top1` over three runs with eight views at the fast "
        "profile.",
        "4a6b37e2b151",
        within=(7.5,),
    ),
    "01-3": Exercise(
        "a list of the global and the local entropy of coinciding views in nats, each within 0.05",
        "Every similarity is 1, so every kernel is at its peak. Eq. 3 divides seven such terms by N − 1.",
        "bef8dcbcae8f 28f901f1a80e",
        within=(0.05, 0.05),
    ),
    "02-1": Exercise(
        "the points of accuracy that it loses, within 1",
        "Take each representation's accuracy at k = 1 less the one at k = 400, in points, and the largest of the four.",
        "e74981f7f961",
        within=(1.0,),
    ),
    "02-2": Exercise(
        "the effective rank of the test images' projections, within 6",
        "`compare` gives it, or `effective_rank` of `infomax_nb.evaluation`, on the (2400, 128) projections of "
        "the test images.",
        "ca695cfac8d1",
        within=(6.0,),
    ),
    "02-3": Exercise(
        "the converged probe's top-1 with both sets shrunk, in percent, within 3 points",
        'Shrink both sets, with the same untrained network `backbones["untrained"]` (its BatchNorm stays as it was).',
        "b99f4c09291b",
        within=(3.0,),
    ),
    "03-1": Exercise(
        "`grad_over_kappa` after the last epoch, within 0.002",
        "The last row of the run's metrics, at the sweep profile that this notebook's parameters are. It is the "
        "smallest of all κ, and not zero.",
        "a8a4446151bf",
        within=(0.002,),
    ),
    "03-2": Exercise(
        "a list of the k-NN accuracies at the smaller and the larger rate in percent, each within 8 points",
        "Nine times the rate is many more points than any κ of this notebook makes. Smaller rate first.",
        "26b993b0470a 6c2e2e5111fc",
        within=(8.0, 8.0),
    ),
    "03-3": Exercise(
        "a list of the angles for κ = 0.6931, 1, 10 and 20 in degrees, each within 0.5",
        "Solve exp(κ (cos θ − 1)) = ½ for θ. One of the five values has no solution: leave it out.",
        "d628e47738e2 45bfd64e7839 c2c58cf3c58f af19a2170559",
        within=(0.5, 0.5, 0.5, 0.5),
    ),
    "04-1": Exercise(
        "a list of the held-out information in nats, within 0.1, and the linear head's top-1 in percent, within "
        "1.5 points",
        "The column of this β in the notebook's tables, after the last epoch. What would chance get with 48 classes?",
        "f6296c5b108b 673e462621a6",
        within=(0.1, 1.5),
    ),
    "04-2": Exercise("that β, exactly", "One of the three still learns, if less than β = 1.", "2dc3a4987492"),
    "04-3": Exercise(
        "by what factor the gradient is larger, within 1",
        "The loss is multiplied by a constant. What happens to its gradient, before Adam divides it by its size?",
        "6062fa16fe0d",
        within=(1.0,),
    ),
    "05-1": Exercise(
        "which of the two moves k-NN more, `width` or `seed`",
        "Take the absolute differences from the run of this notebook's own parameters, after the last epoch.",
        "a3594eb7799e",
        words=("width", "seed"),
    ),
    "05-2": Exercise(
        "κ, within 0.1",
        "The cosine of two random directions has a standard deviation of 1/√D.",
        "3ed9970ed36d",
        within=(0.1,),
    ),
    "05-3": Exercise(
        "a list of the three numbers, exactly",
        "The last layer takes 2,048 numbers to D, and has a bias for each of the D.",
        "691a6bd536c3 89a5958036f9 d4645ce7ab96",
        within=(0, 0, 0),
    ),
    "06-1": Exercise(
        "a list of the untrained network's hits from act1, layer1, layer2 and layer3 in percent, each within 4 points",
        "The mean of `.hit`, which is in percent, over the first 300 test images, of the network that has not "
        "been trained.",
        "a1784dd82be7 26ffc37f20f8 2f9f772b0d96 5865805372de",
        within=(4.0, 4.0, 4.0, 4.0),
    ),
    "06-2": Exercise(
        "a list of the ratios at size / 8 and at size / 2, each within 0.02",
        "The mean of `.ratio` over the 1,000 test images. A ratio rewards a map that is concentrated.",
        "9f0d88fd1618 608951dd23df",
        within=(0.02, 0.02),
    ),
    "06-3": Exercise(
        "a list of the untrained network's ratios, plain and with 24 copies, each within 0.03",
        "`inside(maps, masks).ratio.mean()` over the 1,000 test images, plain first. Both are above 1.",
        "d940af437727 975d5f0d7e08",
        within=(0.03, 0.03),
    ),
    "07-1": Exercise(
        "whether ours' ρ `rises`, `falls` or `stays`",
        "Write down the height and the distance of two classes within a group and across groups. What does a "
        "rank correlation see of them?",
        "527cc1e6376a",
        words=("rises", "falls", "stays"),
    ),
    "07-2": Exercise(
        "its ρ afterwards, within 0.01",
        "It is the representation whose centroids have most in common before the mean is taken away.",
        "71cf3d3d3ef2",
        within=(0.01,),
    ),
    "07-3": Exercise(
        "a list of raw pixels' adjusted Rand index with average, single, complete and ward linkage, each within 0.02",
        '`linkage(squareform(1 - similarity, checks=False), name)`, cut by `fcluster(tree, 8, "maxclust")`, '
        "against the groups.",
        "0efafb0eb27b 6a7623d661cd ee7bac07705f 5512eaedf284",
        within=(0.02, 0.02, 0.02, 0.02),
    ),
    "08-1": Exercise(
        "SimCLR's k-NN top-1 with these views in percent, within 6 points",
        "The last row of that run's `metrics`, `knn_top1`; it lies between SimCLR's own and ours.",
        "f04ca7518b3c",
        within=(6.0,),
    ),
    "08-2": Exercise(
        "the pixels of the eight views over those of the two, within 0.01",
        "Two views are 32 pixels large and six are 16, both ways.",
        "b897f4e9ca80",
        within=(0.01,),
    ),
    "08-3": Exercise(
        "the method's name, as the table writes it",
        "Compare the columns of 1e-3 and 3e-3: who falls?",
        "b93353323dee",
        words=("infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino", "supervised"),
    ),
    "09-1": Exercise(
        "a list of two verdicts by k-NN and draws, in points and in log-odds, each `supported`, `not supported` "
        "or `reversed`",
        "The first two rows of the table of verdicts. Look where the intervals lie, and how near to 100% ours is "
        "on far subsets.",
        "bbe827f98aed 8f911dbcc598",
        within=(0, 0),
        words=("supported", "not supported", "reversed"),
    ),
    "09-2": Exercise(
        "a list of the least and the most in percent, each within 0.1",
        "As in the notebook for a hundred classes: which ranks are the worst, and which the best, that top-1 and "
        "top-5 leave open?",
        "e31fa1a9c718 ed49595c3d19",
        within=(0.1, 0.1),
    ),
    "09-3": Exercise(
        "a list of two words, for points and for log-odds, each `superclass`, `random`, `both` or `neither`",
        "A gap in points moves whenever the accuracy moves. Compare each of the two gaps with ours' own, once on "
        "either scale.",
        "ab6c1e19ccc7 7e32adeed579",
        within=(0, 0),
        words=("superclass", "random", "both", "neither"),
    ),
    "10-1": Exercise(
        "a list of the nats by which Eq. 2 falls from concentration 10 to 100 and from 100 to 1,000, each within 0.3",
        "Positive numbers: Eq. 2 at the smaller concentration less Eq. 2 at the larger. The truth falls by 22 "
        "and by 113 nats.",
        "e5062dbf15e9 a8cb3efc9a60",
        within=(0.3, 0.3),
    ),
    "10-2": Exercise(
        "a list of the four estimates in nats, each within 0.1",
        "`estimators.ksg(*draw_pairs(16, 10, 2048), k)`; a mean over a few draws is steadier than one.",
        "2a55c86ff24a 4b042d357ea4 614901170865 5eba2b2c5948",
        within=(0.1, 0.1, 0.1, 0.1),
    ),
    "10-3": Exercise(
        "a list of the five ceilings in nats, each within 0.01",
        "The bound of notebook 00 counts the N − 1 others of a view and the positives among them.",
        "9d44e5f501b6 586b4c1fae22 886cf952d814 d80ab2eaf6d5 17adb704bb39",
        within=(0.01, 0.01, 0.01, 0.01, 0.01),
    ),
}
