"""Statistics of training curves, and how two arms differ in them.

The rules of `docs/plan.md` are built on these. A *table* has a row for each epoch and a column for
each seed: accuracies in percent, NaN after epochs without an evaluation. Or it has a column for
each (seed, image): 100 where the predicted class is right, 0 where it is wrong (`hits`). Every
statistic of a curve is a weighted mean of its accuracies. So it is also the mean, over images, of
the same statistic for each image. The second form thus gives the same result as the first, and also
the variance due to the test images.

`ours` and `theirs` are tables of two arms, paired by seed and by image.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from infomax_nb.evaluation.intervals import paired_interval

LEVEL = 0.05  # of every one-sided test
EARLY = 5  # epochs, from the first
LATE = 5  # evaluations, up to the last


# --- Statistics of a curve --------------------------------------------------------------------


def scheduled(epochs: int) -> list[int]:
    """The epochs after which a run is evaluated: 1 to 6, then every other one.

    >>> scheduled(10)
    [1, 2, 3, 4, 5, 6, 8, 10]
    """
    return [epoch for epoch in range(1, epochs + 1) if epoch <= 6 or epoch % 2 == 0]


def hits(predicted: Mapping[int, ArrayLike], labels: ArrayLike, epochs: list[int]) -> pd.DataFrame:
    """The table with a column for each (seed, image), from runs' predicted classes.

    Args:
        predicted: classes (evaluations, M) by seed. A run with fewer evaluations than `epochs`
            ended early.
        labels: true classes (M,).
        epochs: the epochs of a finished run's evaluations.
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

    It is NaN for a run that has not got that far. At equal compute, `epochs` is less than the
    run's.
    """
    return _mean_over(table, scheduled(epochs)[-LATE:])


def final(table: pd.DataFrame, epochs: int = 60) -> pd.Series:
    """Accuracy after the last of `epochs` epochs, percent, for each column."""
    return _mean_over(table, [epochs])


def gain(table: pd.DataFrame, last: int = 20, epochs: int = 60) -> pd.Series:
    """`late` less its value `last` epochs earlier, points, for each column."""
    return late(table, epochs) - late(table, epochs - last)


# --- Differences ------------------------------------------------------------------------------


def shared_variance(differences: ArrayLike) -> float:
    """Variance, in squared units, that a finite test set adds to a mean of differences.

    A difference (seeds, images) is d_si = δ + a_s + b_i + c_si, with parts for seed s, image i, and
    both. Its mean over n seeds and M images has the variance σ_a²/n + σ_c²/(nM) + σ_b²/M. The
    seeds' means differ by a and c, so their variance over n estimates the first two terms. All
    seeds see the same images, so comparing seeds cannot show the third. σ_b² is the covariance,
    over images, of two seeds' differences: here the mean over all pairs of seeds, or 0 if that is
    negative. It is the image component of a two-way analysis of variance.
    """
    table = np.asarray(differences, float)
    n, images = table.shape
    if n < 2 or images < 2:
        return 0.0
    covariance = np.cov(table)
    sigma_b_squared = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
    return float(max(sigma_b_squared, 0.0) / images)


def differences(
    ours: pd.DataFrame, theirs: pd.DataFrame, statistic: Callable
) -> tuple[pd.Series, float]:
    """`statistic` of ours less theirs by seed, in points, and the variance that the seeds share.

    Seeds that one of the two lacks or has not finished are left out.
    """
    each = (statistic(ours) - statistic(theirs)).dropna()
    if each.index.nlevels == 1:
        return each, 0.0
    by_image = each.unstack().dropna()
    return by_image.mean(axis=1), shared_variance(by_image)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, statistic: Callable = late) -> dict:
    """The 90% `paired_interval` of `statistic`'s differences, with the test images' variance."""
    by_seed, shared = differences(ours, theirs, statistic)
    return paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)
