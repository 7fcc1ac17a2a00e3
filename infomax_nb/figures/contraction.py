"""What notebooks 00 and 04 draw of batches that draw together: a threshold, and who crossed it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import subplots
from torch import Tensor

from infomax_nb import plots
from infomax_nb.figures.axes import log_ticks, shared_legend
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.objective.contraction import contraction_threshold, drawn_together

# --- Notebook 00: one batch on its way together -----------------------------------------------


def on_the_way(
    views: Sequence[Tensor], kappa: float, ratios: Sequence[float], kappas: Sequence[float]
) -> Figure:
    """A batch shrinks towards its mean: what the objective gains (left), the threshold (right).

    Args:
        views: V tensors (B, D) of projections.
        kappa: concentration of the kernel on the left.
        ratios: values of beta/alpha, a line each on the left.
        kappas: concentrations, a line each on the right.
    """
    figure, (gain, threshold) = subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    shares = np.linspace(1, 0.02, 25)
    path = [drawn_together(views, share) for share in shares]
    entropies = np.array([InfoMaxLoss(kappa).entropies(batch) for batch in path])
    h_global, h_local = (entropies - entropies[0]).T
    for ratio, colour in plots.shades(ratios).items():
        gain.plot(shares, h_global - ratio * h_local, color=colour, label=f"β/α = {ratio:.2f}")
    for k, colour in plots.shades(kappas).items():
        values = [contraction_threshold(batch, k) for batch in path]
        threshold.plot(shares, values, color=colour, label=f"κ = {k:g}")
    gain.set_title(f"the objective at κ = {kappa:g}")
    gain.set_ylabel("gain over the batch as it is (nats)")
    threshold.set_title("the threshold τ")
    threshold.set_ylabel("β/α (no unit)")
    for axis, level in ((gain, 0), (threshold, 1)):
        axis.axhline(level, color="0.4", ls=":")
        axis.invert_xaxis()
        axis.set_xlabel("distances to the mean, share t")
        axis.legend()
    return figure


# --- Notebook 04: predicted and happened ------------------------------------------------------


def against_threshold(runs: pd.DataFrame) -> Figure:
    """Each run at its beta over the threshold; filled where it happened, ringed where not said.

    Args:
        runs: rows as `evaluation.contraction.outcome` returns them, of one or more data sets that
            the column `data` names.
    """
    figure, (first, end) = subplots(2, 1, figsize=(9.5, 8), sharex=True, layout="constrained")
    least = runs[["threshold_start", "threshold_collapsed"]].max(axis=1)
    _panel(first, runs, runs.threshold_start, "contracts")
    _panel(end, runs, least, "collapses")
    first.set_title("Does it contract in the first epoch? β over the threshold at the start")
    end.set_title("Is it collapsed at the end? β over the larger of the two thresholds")
    end.set_xlabel("β / τ (predicted to happen: right of 1)")
    shared_legend(figure, first, columns=4)
    return figure


def _panel(axis: Axes, runs: pd.DataFrame, threshold: pd.Series, name: str) -> None:
    """A row for each data set and kappa, with a mark for each beta."""
    rows = dict.fromkeys(zip(runs.data, runs.kappa, strict=True))
    place = {row: -number for number, row in enumerate(rows)}
    y = np.array([place[row] for row in zip(runs.data, runs.kappa, strict=True)])
    x = (runs.beta / threshold).to_numpy()
    happened = runs[name].to_numpy()
    wrong = (runs[name] != runs[f"{name}_predicted"]).to_numpy()
    axis.axvspan(1, 4, color="C0", alpha=0.12, lw=0, label="predicted to happen")
    axis.axvline(1, color="0.4", ls=":")
    axis.scatter(x[happened], y[happened], s=130, color="C0", label="it happened")
    look = {"facecolors": "white", "edgecolors": "C0", "linewidths": 2}
    axis.scatter(x[~happened], y[~happened], s=130, label="it did not", **look)
    ring = {"facecolors": "none", "edgecolors": "C1", "linewidths": 3}
    axis.scatter(x[wrong], y[wrong], s=480, label="wrongly predicted", **ring)
    for beta, right, up in zip(runs.beta, x, y, strict=True):
        axis.annotate(f"{beta:g}", (right, up), (0, 17), textcoords="offset points", ha="center")
    log_ticks(axis, (0.5, 0.7, 1, 1.5, 2, 3))
    axis.set_xlim(0.4, 3.3)
    axis.set_ylim(0.6 - len(rows), 0.7)
    axis.set_yticks(list(place.values()), [f"{data}, κ = {kappa:g}" for data, kappa in place])
    axis.grid(axis="y", visible=False)
