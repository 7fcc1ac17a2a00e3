"""What notebook 03 draws: one κ in front of all others, and a correlation that groups make."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    kappas = pd.concat([rows.kappa for rows in results.values()])
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.4), layout="constrained")
    first, *others = axes.flat
    _draw_kernels(first, sorted(kappas.unique()), kappa)
    for axis, (name, rows) in zip(others, results.items(), strict=True):
        _draw_runs(axis, rows, kappa)
        occurs = kappa in set(rows.kappa)
        axis.set_title(name if occurs else f"{name}: none at this κ")
    return figure


def _draw_kernels(axis: Axes, kappas: Sequence[float], kappa: float) -> None:
    degrees = np.linspace(0, 180, 361)
    cosine = np.cos(np.radians(degrees))
    for value in kappas:
        axis.plot(degrees, np.exp(value * (cosine - 1)), **_look(value == kappa))
    axis.set_title(f"κ = {kappa:g}: the kernel")
    axis.set_xlabel("angle between two views (degrees)")
    axis.set_ylabel("relative to its maximum")
    axis.set_xticks(range(0, 181, 45))


def _draw_runs(axis: Axes, rows: pd.DataFrame, kappa: float) -> None:
    means = rows.groupby(["kappa", "epoch"]).linear_top1.mean().dropna()
    for value in means.index.unique("kappa"):
        axis.plot(means[value], **_look(value == kappa))
    axis.set_xlabel("epoch")
    axis.set_ylabel(plots.LABELS["linear_top1"])
    locator: Any = axis.xaxis.get_major_locator()
    locator.set_params(integer=True)


def _look(in_front: bool) -> dict:
    front = {"color": "C0", "lw": 3.5, "zorder": 3}
    return front if in_front else {"color": "0.75", "lw": 1.4}


def groups_and_all(metrics: pd.DataFrame, rho: pd.DataFrame, epoch: int) -> Figure:
    """Two quantities of each run after one epoch, coloured by κ, and ρ of the two at all epochs.

    Args:
        metrics: rows of runs with kappa, epoch, nn_positive and `still`, the points still to gain.
        rho: what `stalls.stall_prediction` returns for them.
        epoch: the one whose runs are drawn.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    after = metrics[metrics.epoch == epoch]
    colours = plots.shades(sorted(after.kappa.unique()))
    for value, rows in after.groupby("kappa"):
        points = left.scatter(rows.nn_positive, rows.still, s=70)
        points.set(color=colours[value], edgecolor="white", label=f"κ = {value:g}")
    left.set_xlabel(plots.LABELS["nn_positive"])
    left.set_ylabel("points still to gain")
    left.set_title(f"each run after epoch {epoch}")
    left.legend(loc="lower right")
    for line, (name, values) in zip(("o-", "s--"), rho.iterrows(), strict=True):
        right.plot(values.index, values, line, lw=2, label=name)
    right.axhline(0, color="0.4", lw=1)
    right.set(xlabel="epoch", ylabel="Spearman's ρ")
    right.set(ylim=(-1, 1.45), yticks=[-1, -0.5, 0, 0.5, 1])
    right.set_title("the two quantities' correlation")
    right.legend(loc="upper right", ncols=2)
    return figure
