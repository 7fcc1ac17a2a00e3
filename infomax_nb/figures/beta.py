"""What notebook 04 draws: accuracy over the weights' ratio, and against information."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from infomax_nb import plots
from infomax_nb.figures.intervals import MARKERS


def over_ratio(metrics: pd.DataFrame, column: str, title: str = "") -> Figure:
    """One metric over β, a line for each epoch and a panel for each κ; means over seeds.

    Args:
        metrics: rows of runs with α = 1 at the epochs to draw.
        column: the metric.
        title: shown above all panels.
    """
    kernels = sorted(metrics.kappa.unique())
    options = {"sharey": True, "squeeze": False, "layout": "constrained"}
    figure, (axes,) = plt.subplots(1, len(kernels), figsize=(9.5, 4.2), **options)
    colours = plots.shades(sorted(metrics.epoch.unique()))
    for axis, kappa in zip(axes, kernels, strict=True):
        at = metrics[metrics.kappa == kappa].groupby(["epoch", "beta"])[column].mean()
        for marker, (epoch, colour) in zip(MARKERS, colours.items(), strict=False):
            look = {"color": colour, "marker": marker, "lw": 2, "ms": 7}
            axis.plot(at[epoch], label=f"after epoch {epoch}", **look)
        axis.axvline(1, color="0.4", ls=":")
        ratios = list(at.index.unique("beta"))
        axis.set(xscale="log", xlabel=f"β/α at κ = {kappa:g}", ylabel=plots.LABELS[column])
        axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axis.minorticks_off()
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.suptitle(title)
    return figure


def against_information(last: pd.DataFrame, column: str, title: str = "") -> Figure:
    """A point for each run after its last epoch: a metric against the held-out information.

    Args:
        last: a row for each run, with beta, kappa, `mi_held_out` and the metric.
        column: the metric.
        title: shown above.
    """
    figure, axis = plt.subplots(figsize=(9.5, 4.2), layout="constrained")
    colours = plots.shades(sorted(last.beta.unique()))
    markers = dict(zip(sorted(last.kappa.unique()), MARKERS * 4, strict=False))
    for (beta, kappa), rows in last.groupby(["beta", "kappa"]):
        name = f"β = {beta:g}" if len(markers) == 1 else f"β = {beta:g}, κ = {kappa:g}"
        look = {"color": colours[beta], "marker": markers[kappa], "s": 110}
        axis.scatter(rows.mi_held_out, rows[column], label=name, **look)
    axis.set(xlabel="mutual information at κ = 10, held-out images (nats)")
    axis.set(ylabel=plots.LABELS[column], title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure
