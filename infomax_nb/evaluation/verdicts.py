"""What a few runs can say: intervals over runs, equivalence, correlations in groups, equal compute.

The unit here is a run, that is, a seed. Runs of one seed share the images' order and the initial
weights of what they have in common, so they are compared seed by seed. One seed has no interval.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats


def by_seed(metrics: pd.DataFrame, key: str, column="linear_top1", epoch=None) -> pd.DataFrame:
    """A column of runs' metrics after an epoch (None: the last), rows by seed, columns by `key`.

    Differences of two columns are paired by seed; where one of the two lacks it there is NaN.
    """
    after = metrics[metrics.epoch == (metrics.epoch.max() if epoch is None else epoch)]
    after = after.assign(seed=after.get("seed", 0))  # tables of one seed have no such column
    return after.pivot(index="seed", columns=key, values=column)


def paired_interval(
    differences: ArrayLike, level: float = 0.95, shared: float = 0.0
) -> dict[str, float]:
    """Mean of differences (seeds,) with Student's t interval, `low` to `high`, and their number.

    `shared`: a variance of the mean that the seeds have in common, so that they cannot show it
    (that of the test images, `late.shared_variance`); it is added to the seeds' own, and the
    degrees of freedom stay seeds − 1, which never makes the interval too narrow (Hájek 1962).

    All but the number, `seeds`, in the differences' unit, `error`, the standard error, too. NaN, a
    pair that is not there, is left out. With one difference `low`, `high`, `error` are NaN; with
    none all are.
    """
    values = np.asarray(differences, float)
    values = values[~np.isnan(values)]
    seeds = len(values)
    mean = values.mean() if seeds else np.nan
    error = np.sqrt(stats.sem(values) ** 2 + shared) if seeds > 1 else np.nan
    half = stats.t.ppf((1 + level) / 2, seeds - 1) * error if seeds > 1 else np.nan
    return {"mean": mean, "low": mean - half, "high": mean + half, "error": error, "seeds": seeds}


def said(differences: ArrayLike, digits: int = 1, count: bool = True) -> str:
    """Mean of differences (seeds,) and its 95% t interval as text; of one seed the mean alone.

    As `+1.2 [−0.6, +3.0] (3 seeds)`, or `−0.7 (one seed, no interval)`; `count=False` leaves the
    brackets at the end out.
    """
    found = paired_interval(differences)
    ends = (f"{found[k]:+.{digits}f}".replace("-", "−") for k in ("mean", "low", "high"))
    mean, low, high = ends
    several = found["seeds"] > 1
    number = f" ({found['seeds']:.0f} seeds)" if several else " (one seed, no interval)"
    return mean + several * f" [{low}, {high}]" + count * number


def equivalent(differences: ArrayLike, margin: float = 1.0, shared: float = 0.0) -> str:
    """Do differences (seeds,) show that there is none beyond ± `margin`, in their unit?

    The margin must be set beforehand. Two one-sided t tests at 5% (Schuirmann 1987), paired by
    seed; `shared` as in `paired_interval`.
    Returns `equivalent` if the 90% interval lies within the margins, `not equivalent` if it lies
    outside, else `undecided`.
    """
    found = paired_interval(differences, level=0.90, shared=shared)
    if found["seeds"] == 1:
        return "undecided: one seed, no interval"
    if -margin < found["low"] and found["high"] < margin:
        return "equivalent"
    if found["low"] > margin or found["high"] < -margin:
        return "not equivalent"
    return "undecided"


def spearman_within(x: ArrayLike, y: ArrayLike, groups: ArrayLike) -> float:
    """Spearman's ρ of x (n,) and y (n,) after the mean over its group (n,) is taken from each.

    What groups differ by can make a correlation over all that no group has, or hide one (Simpson's
    paradox). NaN if nothing varies within any group.
    """
    table = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    rest = table - table.groupby(np.asarray(groups)).transform("mean")
    if (rest.nunique() < 2).any():
        return float("nan")
    return float(stats.spearmanr(rest.x, rest.y).statistic)


def epochs_to_stall(accuracies: ArrayLike, share: float = 0.1) -> int:
    """The first epoch, from 1, after which less is left than `share` of all gained since epoch 1.

    accuracies: (epochs,), in percent. Relative, as a slow run has less to gain at every epoch.
    """
    curve = np.asarray(accuracies, float)
    gained = curve[-1] - curve[0]
    if gained <= 0:
        return 1
    return 1 + int(np.argmax(curve[-1] - curve < share * gained))
