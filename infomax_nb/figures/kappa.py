"""What notebook 03 draws: one κ in front of all others, and a correlation that groups make."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infomax_nb import plots


def at_kappa(kappa: float, results: Mapping[str, pd.DataFrame]) -> Figure:
    """The kernel and the runs of one κ in front of those of all others, which are grey.

    Args:
        kappa: one of the κ that occur.
        results: for each result's name its rows, with kappa, epoch and linear_top1.
    """
    every = sorted(set().union(*(rows.kappa for rows in results.values())))
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.4), layout="constrained")
    degrees = np.linspace(0, 180, 361)
    for value in every:
        kernel = np.exp(value * (np.cos(np.radians(degrees)) - 1))
        axes.flat[0].plot(degrees, kernel, **_look(value == kappa))
    axes.flat[0].set(title=f"κ = {kappa:g}: the kernel", xlabel="angle between two views (degrees)")
    axes.flat[0].set(ylabel="relative to its maximum", xticks=range(0, 181, 45))
    for axis, (name, rows) in zip(axes.flat[1:], results.items(), strict=True):
        _draw_runs(axis, rows, kappa)
        axis.set(title=name if kappa in set(rows.kappa) else f"{name}: none at this κ")
    return figure


def _draw_runs(axis: Axes, rows: pd.DataFrame, kappa: float) -> None:
    means = rows.groupby(["kappa", "epoch"]).linear_top1.mean()
    for value in means.index.unique("kappa"):
        axis.plot(means[value], **_look(value == kappa))
    axis.set(xlabel="epoch", ylabel=plots.LABELS["linear_top1"])
    axis.xaxis.get_major_locator().set_params(integer=True)


def _look(in_front: bool) -> dict:
    front = {"color": "C0", "lw": 3.5, "zorder": 3}
    return front if in_front else {"color": "0.75", "lw": 1.4}


def groups_and_all(metrics: pd.DataFrame, rho: pd.DataFrame, epoch: int) -> Figure:
    """Two quantities of each run after one epoch, coloured by κ, and ρ of the two at all epochs.

    Args:
        metrics: rows of runs with kappa, epoch, nn_positive and `still`, the points still to gain.
        rho: what `verdicts.stall_prediction` returns for them.
        epoch: the one whose runs are drawn.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    after = metrics[metrics.epoch == epoch]
    colours = plots.shades(sorted(after.kappa.unique()))
    for value, rows in after.groupby("kappa"):
        look = {"color": colours[value], "s": 70, "edgecolor": "white"}
        left.scatter(rows.nn_positive, rows.still, label=f"κ = {value:g}", **look)
    left.set(xlabel=plots.LABELS["nn_positive"], ylabel="points still to gain")
    left.set_title(f"each run after epoch {epoch}")
    left.legend(loc="lower right")
    for (name, values), look in zip(rho.iterrows(), ("o-", "s--"), strict=True):
        right.plot(values.index, values, look, lw=2, label=name)
    right.axhline(0, color="0.4", lw=1)
    right.set(xlabel="epoch", ylabel="Spearman's ρ", ylim=(-1, 1.45), yticks=[-1, -0.5, 0, 0.5, 1])
    right.set_title("the two quantities' correlation")
    right.legend(loc="upper right", ncols=2)
    return figure
