"""Verdicts on training curves, by the rules that `docs/plan.md` fixed before its runs.

A *table* has a row for each epoch and a column for each seed: accuracies in percent, NaN after
epochs without an evaluation. Or a column for each (seed, image): 100 where the predicted class is
right, 0 where it is wrong (`hits`). Every statistic of a curve is a weighted mean of its
accuracies, so it is also the mean over images of the same statistic of each image, and the second
form gives what the first does, and the test images' variance besides.

`ours` and `theirs` are tables of two arms. They are paired by seed and by image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from .verdicts import equivalent, paired_interval

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
UNFINISHED = "unfinished"
LEVEL = 0.05  # of every one-sided test
EARLY = 5  # epochs, from the first
LATE = 5  # evaluations, the last ones


@dataclass(frozen=True)
class Verdict:
    """`answer`: holds, does not hold, undecided or unfinished. `numbers`: a row for each test.

    The rows' columns are `paired_interval`'s, in points: a 90% interval, whose ends are the limits
    of one-sided tests at 5%.
    """

    answer: str
    numbers: pd.DataFrame


# --- Statistics of a curve --------------------------------------------------------------------


def scheduled(epochs: int) -> list[int]:
    """The epochs after which a run is evaluated: 1 to 6, then every second one."""
    return [epoch for epoch in range(1, epochs + 1) if epoch <= 6 or epoch % 2 == 0]


def hits(predicted: Mapping[int, ArrayLike], labels: ArrayLike, epochs: list[int]) -> pd.DataFrame:
    """The table by image of runs' predicted classes: by seed (evaluations, M), for labels (M,).

    epochs: those of a finished run's evaluations. A run with fewer predictions ended early.
    """
    tables = {}
    for seed, classes in predicted.items():
        right = 100.0 * (np.asarray(classes) == np.asarray(labels))
        tables[seed] = pd.DataFrame(right, index=epochs[: len(right)]).reindex(epochs)
    return pd.concat(tables, axis=1)


def _mean_over(table: pd.DataFrame, epochs: list[int]) -> pd.Series:
    """Mean of each column over these epochs; NaN if one of them was not evaluated."""
    return table.reindex(epochs).mean(skipna=False)


def early(table: pd.DataFrame) -> pd.Series:
    """Mean accuracy after epochs 1 to 5, percent, for each column."""
    return _mean_over(table, list(range(1, EARLY + 1)))


def late(table: pd.DataFrame, epochs: int = 60) -> pd.Series:
    """Mean of the last five evaluations of `epochs` epochs, percent, for each column.

    NaN for a run that has not come that far. At equal compute `epochs` is smaller than the run's.
    """
    return _mean_over(table, scheduled(epochs)[-LATE:])


def final(table: pd.DataFrame, epochs: int = 60) -> pd.Series:
    """Accuracy after the last of `epochs` epochs, percent, for each column."""
    return _mean_over(table, [epochs])


def gain(table: pd.DataFrame, last: int = 20, epochs: int = 60) -> pd.Series:
    """`late` less what it was `last` epochs before, points, for each column."""
    return late(table, epochs) - late(table, epochs - last)


# --- Differences ------------------------------------------------------------------------------


def shared_variance(differences: ArrayLike) -> float:
    """Variance that a finite test set adds to the mean of differences (seeds, images), squared.

    A difference is d_si = δ + a_s + b_i + c_si, of seed s, of image i, and of both. Its mean over
    n seeds and M images has the variance σ_a²/n + σ_c²/(nM) + σ_b²/M. The seeds' means differ
    by a and c, so their variance over n estimates the first two terms. All seeds see the same
    images, so nothing between them shows the third. σ_b² is the covariance over images of two
    seeds' differences, here the mean over all pairs of seeds, and 0 if that is negative: the
    image component of a two-way analysis of variance.
    """
    table = np.asarray(differences, float)
    n, images = table.shape
    if n < 2 or images < 2:
        return 0.0
    covariance = np.cov(table)
    common = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
    return float(max(common, 0.0) / images)


def differences(ours: pd.DataFrame, theirs: pd.DataFrame, statistic: Callable) -> tuple:
    """`statistic` of ours less theirs: by seed, in points, and the variance that seeds share.

    Seeds that one of the two lacks, or has not finished, are left out.
    """
    each = (statistic(ours) - statistic(theirs)).dropna()
    if each.index.nlevels == 1:
        return each, 0.0
    by_image = each.unstack().dropna()
    return by_image.mean(axis=1), shared_variance(by_image)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, statistic: Callable = late) -> dict:
    """`paired_interval` of `statistic`'s differences, 90%, with the test images' variance added."""
    by_seed, shared = differences(ours, theirs, statistic)
    return paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)


def _above(found: Mapping, sign: int, floor: float = 0.0) -> bool:
    """Is sign · difference above `floor`, at 5%?"""
    t = stats.t.ppf(1 - LEVEL, found["seeds"] - 1)
    return bool(sign * found["mean"] - t * found["error"] > floor)


def below(found: Mapping, sign: int, ceiling: float, tests: int = 1) -> bool:
    """Is sign · difference below `ceiling`, at 5% divided by the number of `tests`?"""
    t = stats.t.ppf(1 - LEVEL / tests, found["seeds"] - 1)
    return bool(sign * found["mean"] + t * found["error"] < ceiling)


def answered(finished: bool, shown: bool, refuted: bool) -> str:
    """The answer of a claim; what is both shown and refuted is shown."""
    if not finished:
        return UNFINISHED
    if shown:
        return HOLDS
    return FAILS if refuted else UNDECIDED


# --- Claims -----------------------------------------------------------------------------------
# In all of them: margin, in points; probe, the mean difference of the converged probes after the
# last epoch, in points, None where the claim is not about that; seeds, how many are planned.


def ahead(ours, theirs, statistic=late, sign=1, margin=1.0, probe=None, seeds=3, floor=0.0):
    """Is ours above theirs (`sign` −1: below) by more than `floor` points? Returns a Verdict.

    Holds: one-sided t test at 5%, and the probe's difference agrees. Does not hold: the difference
    is shown to be less than `margin`, and the probe's is.
    """
    found = compare(ours, theirs, statistic)
    shown = _above(found, sign, floor) and (probe is None or sign * probe > floor)
    refuted = below(found, sign, margin) and (probe is None or sign * probe < margin)
    answer = answered(found["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": found}).T)


def keeps_up(ours, theirs, statistic=late, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Is ours less than `margin` points below theirs? Does not hold: it is shown to be more."""
    return ahead(ours, theirs, statistic, 1, -margin, probe, seeds, floor=-margin)


def catches_up(ours, theirs, statistic=late, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Are ours and theirs equal within ± `margin` points, by `verdicts.equivalent`?

    Does not hold: the 90% interval lies outside, below or above. The probe's difference must lie
    within the margin, or on the same side.
    """
    by_seed, shared = differences(ours, theirs, statistic)
    found = paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)
    equal = equivalent(by_seed, margin, shared)
    shown = equal == "equivalent" and (probe is None or abs(probe) < margin)
    refuted = equal == "not equivalent" and (probe is None or probe * found["mean"] > 0)
    answer = answered(found["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": found}).T)


def stalls_late(ours, theirs, epochs=60, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Is ours ahead early, behind late, and gaining less over the last 20 epochs?

    Holds: all three one-sided t tests at 5% (intersection-union), and the probe has ours behind.
    Does not hold: one of the three is refuted at 5%/3: an early lead or a late lag less than
    `margin`, or a gain that is not smaller.
    """
    found = {
        "early": compare(ours, theirs, early),
        "late": compare(ours, theirs, partial(late, epochs=epochs)),
        "gain": compare(ours, theirs, partial(gain, epochs=epochs)),
    }
    signs = {"early": 1, "late": -1, "gain": -1}
    shown = all(_above(found[part], sign) for part, sign in signs.items())
    no_lead = below(found["early"], 1, margin, tests=3)
    no_lag = below(found["late"], -1, margin, tests=3) and (probe is None or probe > -margin)
    no_stall = below(found["gain"], -1, 0.0, tests=3)
    finished = min(part["seeds"] for part in found.values()) >= seeds
    behind = probe is None or probe < 0
    answer = answered(finished, shown and behind, no_lead or no_lag or no_stall)
    return Verdict(answer, pd.DataFrame(found).T)


# --- Two measures -----------------------------------------------------------------------------


def agreed(linear: Verdict, knn: Verdict) -> Verdict:
    """The verdict that both measures give, the linear head's and k-NN's; else undecided."""
    numbers = pd.concat({"linear": linear.numbers, "knn": knn.numbers})
    answers = {linear.answer, knn.answer}
    if UNFINISHED in answers:
        return Verdict(UNFINISHED, numbers)
    return Verdict(answers.pop() if len(answers) == 1 else UNDECIDED, numbers)
