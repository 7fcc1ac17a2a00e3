"""What notebook 04 draws: accuracy over the weights' ratio, and against information."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from infomax_nb import plots
from infomax_nb.figures.axes import MARKERS, empty, log_ticks, panels


def over_ratio(metrics: pd.DataFrame, column: str, title: str = "") -> Figure:
    """One metric over β/α, a line for each epoch and a panel for each κ; means over seeds.

    Args:
        metrics: rows of runs at the epochs to draw. A weight of 0 has no place on the logarithmic
            axis: its runs are left out, and the title says so.
        column: the metric, NaN after epochs without an evaluation.
        title: shown above all panels.
    """
    weighted = metrics[(metrics.alpha > 0) & (metrics.beta > 0)]
    if len(weighted) < len(metrics):
        title = f"{title} (runs with a weight of 0 are not shown)".strip()
    shown = weighted.assign(ratio=weighted.beta / weighted.alpha).dropna(subset=column)
    if shown.empty:
        return empty(f"no run has both weights above 0 and {plots.LABELS[column]}")
    kernels = sorted(shown.kappa.unique())
    figure, axes = panels(len(kernels), 4.2)
    colours = plots.shades(sorted(shown.epoch.unique()))
    for axis, kappa in zip(axes, kernels, strict=True):
        runs = shown[shown.kappa == kappa]
        means = runs.groupby(["epoch", "ratio"])[column].mean()
        for marker, (epoch, colour) in zip(cycle(MARKERS), colours.items(), strict=False):
            (line,) = axis.plot(means[epoch], color=colour, marker=marker)
            line.set(linewidth=2, markersize=7, label=f"after epoch {epoch}")
        axis.axvline(1, color="0.4", ls=":")
        log_ticks(axis, means.index.unique("ratio"))
        axis.set_xlabel(f"β/α at κ = {kappa:g}")
        axis.set_ylabel(plots.LABELS[column])
    plots.legend_beside(axes[-1])
    figure.suptitle(title)
    return figure


def against_information(last: pd.DataFrame, column: str, title: str = "") -> Figure:
    """A point for each run after its last epoch: a metric against the held-out information.

    Args:
        last: a row for each run, with beta, kappa, `mi_held_out` in nats and the metric.
        column: the metric.
        title: shown above.
    """
    figure, axis = plt.subplots(figsize=(9.5, 4.2), layout="constrained")
    colours = plots.shades(sorted(last.beta.unique()))
    kernels = sorted(last.kappa.unique())
    markers = dict(zip(kernels, MARKERS * 4, strict=False))
    for (beta, kappa), rows in last.groupby(["beta", "kappa"]):
        name = f"β = {beta:g}"
        if len(kernels) > 1:
            name += f", κ = {kappa:g}"
        look = {"color": colours[beta], "marker": markers[kappa], "s": 110}
        axis.scatter(rows.mi_held_out, rows[column], label=name, **look)
    axis.set_xlabel("mutual information at κ = 10, held-out images (nats)")
    axis.set_ylabel(plots.LABELS[column])
    axis.set_title(title)
    plots.legend_beside(axis)
    return figure
