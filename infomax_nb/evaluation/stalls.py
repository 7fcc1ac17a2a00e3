"""When runs stall, and what goes along with it: correlations within groups and over conditions."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

# --- Correlations -----------------------------------------------------------------------------


def spearman_within(x: ArrayLike, y: ArrayLike, groups: ArrayLike) -> float:
    """Spearman's ρ of x (n,) and y (n,), each less the mean of its group (n,).

    Differences between groups can make an overall correlation that no group has, or hide one
    (Simpson's paradox). Where x or y is NaN, neither counts. The result is NaN if nothing varies
    within any group.
    """
    columns = {"x": np.asarray(x, float), "y": np.asarray(y, float), "group": np.asarray(groups)}
    table = pd.DataFrame(columns).dropna(subset=["x", "y"])
    values = table[["x", "y"]]
    rest = values - values.groupby(table.group).transform("mean")
    rest = (rest / values.abs().max()).round(12)  # what is equal but for rounding shares a rank
    if (rest.nunique() < 2).any():
        return float("nan")
    return float(stats.spearmanr(rest.x, rest.y).statistic)


def condition_correlation(metrics: pd.DataFrame, column: str) -> str:
    """Spearman's ρ of `mi_held_out` and a column over conditions, as text.

    Args:
        metrics: a row for each run. A condition is a kappa and a beta; its value is the mean over
            seeds. For fewer than five conditions there is no ρ.
        column: the column that is compared with the information.
    """
    conditions = metrics.groupby(["kappa", "beta"])[["mi_held_out", column]].mean()
    if len(conditions) < 5:
        return "A correlation needs more values: -y 'betas: [0.1, 0.5, 1, 2, 4]'"
    rho = conditions.corr("spearman").iloc[0, 1]
    return f"Spearman's ρ over {len(conditions)} conditions: {rho:.2f}"


# --- Stalls -----------------------------------------------------------------------------------


def still_to_gain(metrics: pd.DataFrame) -> pd.Series:
    """Points of linear top-1 that a run gains after each epoch; rows have kappa, seed, epoch."""
    last = metrics[metrics.epoch == metrics.epoch.max()]
    end = last.set_index(["kappa", "seed"]).linear_top1.rename("end")
    return metrics.join(end, on=end.index.names).end - metrics.linear_top1


def epochs_to_stall(accuracies: ArrayLike, share: float = 0.1) -> int:
    """The first epoch, from 1, with less left to gain than `share` of all gained since epoch 1.

    The measure is relative because a slow run has less to gain at every epoch.

    Args:
        accuracies: (epochs,), in percent, or NaN after an epoch that was not evaluated.
        share: between 0 and 1.

    Raises:
        ValueError: no epoch was evaluated.

    >>> epochs_to_stall([10, 50, 80, 89, 90])
    4
    """
    curve = np.asarray(accuracies, float)
    evaluated = np.flatnonzero(~np.isnan(curve))
    if not len(evaluated):
        raise ValueError("accuracies are all NaN: no epoch was evaluated.")
    known = curve[evaluated]
    gained = known[-1] - known[0]
    if gained <= 0:
        return 1 + int(evaluated[0])
    stalled = known[-1] - known < share * gained
    return 1 + int(evaluated[np.argmax(stalled)])


def stalls(metrics: pd.DataFrame) -> pd.DataFrame:
    """For each κ, the epoch from which its mean over seeds is stalled, and the metrics there.

    Columns are epoch, linear_top1 (percent), nn_positive and grad_over_kappa.
    """
    logged = ["linear_top1", "nn_positive", "grad_over_kappa"]
    mean = metrics.groupby(["kappa", "epoch"])[logged].mean()
    epochs = mean.linear_top1.groupby("kappa").agg(_stalled_from)
    return mean.loc[list(epochs.items())].reset_index("epoch")


def _stalled_from(accuracies: pd.Series) -> int:
    """`epochs_to_stall` of a curve whose index names its epochs, some of which may be missing."""
    return accuracies.index.get_level_values("epoch")[epochs_to_stall(accuracies) - 1]


def stall_prediction(metrics: pd.DataFrame, column: str = "nn_positive") -> pd.DataFrame:
    """Spearman's ρ of a column and what a run has still to gain, at each epoch but the last two.

    Args:
        metrics: rows of runs, with kappa, epoch, the column, and `still`, the points that
            `still_to_gain` gives.
        column: the column.

    Returns:
        Rows `over all runs` and `within κ`, where κ's mean is subtracted; columns are epochs.
    """
    rho = {}
    epochs = np.sort(metrics.epoch.unique())[:-2]
    for epoch, rows in metrics[metrics.epoch.isin(epochs)].groupby("epoch"):
        pooled = rows[column].corr(rows.still, method="spearman")
        within = spearman_within(rows[column], rows.still, rows.kappa)
        rho[epoch] = {"over all runs": pooled, "within κ": within}
    return pd.DataFrame(rho)
