"""What a few runs can show: differences with their intervals, and equivalence.

The unit here is a run, that is, a seed. Runs of one seed share the images' order and the initial
weights of what they have in common, so they are compared seed by seed. One seed has no interval.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from infomax_nb.errors import not_allowed


def by_seed(metrics: pd.DataFrame, key: str, column="linear_top1", epoch=None) -> pd.DataFrame:
    """One metric of the runs after an epoch, rows by seed, columns by `key`.

    Without an epoch it is the table's last. Runs that do not have it are left out. Differences of
    two columns are paired by seed, and NaN where one of the two lacks the seed.
    """
    after = metrics[metrics.epoch == (metrics.epoch.max() if epoch is None else epoch)]
    after = after.assign(seed=after.get("seed", 0))  # tables of one seed have no such column
    return after.pivot(index="seed", columns=key, values=column)


def paired_interval(
    differences: ArrayLike, level: float = 0.95, shared: float = 0.0
) -> dict[str, float]:
    """The mean of differences with Student's t interval.

    Args:
        differences: (seeds,). NaN stands for a missing pair and is left out.
        level: the interval's probability.
        shared: a variance of the mean that all seeds share and so cannot show, such as that of the
            test images (`curves.shared_variance`). It is added to the seeds' own variance. The
            degrees of freedom stay seeds - 1, which never makes the interval too narrow (Hájek
            1962).

    Returns:
        `mean`, `low`, `high` and `error`, the standard error, in the differences' unit; `seeds`,
        their number. With one difference `low`, `high` and `error` are NaN; with none all four are.
    """
    values = np.asarray(differences, float)
    values = values[~np.isnan(values)]
    seeds = len(values)
    mean = values.mean() if seeds else np.nan
    error = half = np.nan
    if seeds > 1:
        error = np.sqrt(stats.sem(values) ** 2 + shared)
        half = stats.t.ppf((1 + level) / 2, seeds - 1) * error
    return {"mean": mean, "low": mean - half, "high": mean + half, "error": error, "seeds": seeds}


def interval_text(differences: ArrayLike, digits: int = 1, count: bool = True) -> str:
    """The mean of differences (seeds,) and its 95% t interval as text.

    For one seed it is the mean alone, for none `no pairs`.

    Args:
        differences: (seeds,), in any unit.
        digits: after the decimal point.
        count: whether to add the number of seeds.

    >>> interval_text([1, 2, 3])
    '+2.0 [−0.5, +4.5] (3 seeds)'
    """
    interval = paired_interval(differences)
    if not interval["seeds"]:
        return "no pairs"
    several = interval["seeds"] > 1
    text = "{mean:+.{d}f} [{low:+.{d}f}, {high:+.{d}f}]" if several else "{mean:+.{d}f}"
    text = text.format(**interval, d=digits).replace("-", "−")
    seeds = f"{interval['seeds']:.0f} seeds" if several else "one seed, no interval"
    return f"{text} ({seeds})" if count else text


def equivalent(differences: ArrayLike, margin: float = 1.0, shared: float = 0.0) -> str:
    """Whether differences are shown to lie within ± `margin`.

    There are two one-sided t tests at 5% (Schuirmann 1987), paired by seed. Set the margin
    beforehand.

    Args:
        differences: (seeds,).
        margin: in the differences' unit, above 0; another one raises ParameterError.
        shared: as in `paired_interval`.

    Returns:
        `equivalent` if the 90% interval lies within the margins, `not equivalent` if it lies
        outside, else `undecided`; of one seed `undecided: one seed, no interval`.
    """
    if not margin > 0:
        raise not_allowed("margin", margin, "a number > 0")
    interval = paired_interval(differences, level=0.90, shared=shared)
    if interval["seeds"] == 1:
        return "undecided: one seed, no interval"
    if -margin < interval["low"] and interval["high"] < margin:
        return "equivalent"
    if interval["low"] > margin or interval["high"] < -margin:
        return "not equivalent"
    return "undecided"


def seeds_to_decide(deviation: float, margin: float = 1.0, power: float = 0.8) -> int:
    """The fewest seeds that show equal conditions `equivalent` with probability `power`.

    Equal means that the two conditions do not differ at all. The standard deviation is taken as
    known, which it never is.

    Args:
        deviation: standard deviation of the paired differences, above 0.
        margin: in the differences' unit.
        power: a probability above 0 and below 1.

    Raises:
        ParameterError: a number is not in its range, as the deviation of a single pair is not, or
            10,000 seeds are not enough.
    """
    if not 0 < deviation < np.inf:
        raise not_allowed("deviation", deviation, "a number > 0, of two pairs or more")
    if not margin > 0:
        raise not_allowed("margin", margin, "a number > 0")
    if not 0 < power < 1:
        raise not_allowed("power", power, "a number > 0 and < 1")
    for seeds in range(2, 10_001):
        if equivalence_power(seeds, deviation, margin) >= power:
            return seeds
    needed = f"larger beside a deviation of {deviation:g}: 10,000 seeds are not enough"
    raise not_allowed("margin", margin, needed)


def equivalence_power(seeds: int, deviation: float, margin: float = 1.0) -> float:
    """The probability that `equivalent` finds two conditions equivalent that do not differ.

    It is the probability that the 90% interval of a mean of normal differences lies within the
    margins. Mean and deviation of a sample are independent, so it is averaged over 2,000 quantiles
    of the latter. The arguments are as in `seeds_to_decide`, with at least two seeds.
    """
    freedom = seeds - 1
    quantiles = (np.arange(2000) + 0.5) / 2000
    measured = stats.chi.ppf(quantiles, freedom) / np.sqrt(freedom)  # over the true deviation
    half = stats.t.ppf(0.95, freedom) * measured
    room = np.sqrt(seeds) * margin / deviation - half  # in standard errors of the mean
    return float((2 * stats.norm.cdf(room.clip(min=0)) - 1).mean())


def paired_differences(
    metrics: pd.DataFrame,
    key: str,
    pairs: Iterable[tuple[float, float]],
    epochs: Iterable[int],
    column="linear_top1",
) -> pd.DataFrame:
    """By how much runs with one value exceed those with another, paired by seed, for `forest`.

    Args:
        metrics: rows of runs, which differ in `key`, their seed and the epoch.
        key: the column whose values are compared, such as kappa.
        pairs: (a, b) for the runs with a less those with b. A value without runs leaves its pair
            out.
        epochs: after which ones.
        column: what is compared; for accuracies in percent the result is in points.

    Returns:
        A row for each epoch and pair, by a name such as "10 less 1", with `series`, such as
        "after epoch 5", and what `paired_interval` returns.
    """
    pairs = list(pairs)
    rows = []
    for epoch in epochs:
        runs = by_seed(metrics, key, column, epoch)
        for a, b in pairs:
            if a in runs and b in runs:
                name = {"pair": f"{a:g} less {b:g}", "series": f"after epoch {epoch}"}
                rows.append(name | paired_interval(runs[a] - runs[b]))
    columns = ["pair", "series", "mean", "low", "high", "error", "seeds"]
    return pd.DataFrame(rows, columns=columns).set_index("pair")
