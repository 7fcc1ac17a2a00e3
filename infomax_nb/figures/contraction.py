"""What notebook 04 draws of runs of which it was said beforehand whether they contract."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import subplots

from infomax_nb.figures.axes import log_ticks, shared_legend


def against_threshold(runs: pd.DataFrame) -> Figure:
    """Each run at its beta over the threshold; filled where it happened, ringed where not said.

    Args:
        runs: rows as `evaluation.contraction.outcome` returns them, of one or more data sets that
            the column `data` names.
    """
    figure, (first, end) = subplots(2, 1, figsize=(9.5, 8), sharex=True, layout="constrained")
    least = runs[["threshold_start", "threshold_collapsed"]].max(axis=1)
    at_start = runs.assign(x=runs.beta / runs.threshold_start)
    at_end = runs.assign(x=runs.beta / least)
    every = pd.concat([at_start.x, at_end.x])
    limits = (min(0.4, 0.9 * every.min()), max(3.3, 1.1 * every.max()))
    _panel(first, at_start, "contracts", limits)
    _panel(end, at_end, "collapses", limits)
    first.set_title("Does it contract in the first epoch? β over the threshold at the start")
    end.set_title("Is it collapsed at the end? β over the larger of the two thresholds")
    end.set_xlabel("β / τ (predicted to happen: right of 1)")
    shared_legend(figure, first, columns=4)
    return figure


def _panel(axis: Axes, runs: pd.DataFrame, name: str, limits: tuple[float, float]) -> None:
    """A row for each data set and kappa, with a mark for each run at its `x`."""
    kernels = runs.kappa.map("κ = {:g}".format)
    places, rows = pd.factorize(runs.data + ", " + kernels)
    marks = runs.assign(y=places)
    happened = runs[name]
    wrong = happened != runs[f"{name}_predicted"]
    axis.axvspan(1, limits[1], color="C0", alpha=0.12, lw=0, label="predicted to happen")
    axis.axvline(1, color="0.4", ls=":")
    hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": "C0", "linewidths": 2}
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": "C1", "linewidths": 3}
    axis.scatter("x", "y", 130, "C0", data=marks[happened], label="it happened")
    axis.scatter("x", "y", 130, data=marks[~happened], label="it did not", **hollow)
    axis.scatter("x", "y", 480, data=marks[wrong], label="wrongly predicted", **ring)
    for x, y, beta in marks[["x", "y", "beta"]].to_numpy():
        axis.annotate(
            f"{beta:g}",
            (x, y),
            xytext=(0, 17),
            textcoords="offset points",
            ha="center",
        )
    log_ticks(axis, (0.5, 0.7, 1, 1.5, 2, 3))
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlim=limits, ylim=(len(rows) - 0.6, -0.7))
    axis.grid(axis="y", visible=False)
