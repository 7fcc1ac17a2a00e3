"""What notebook 05 draws: how projections fill the sphere, and what seeds can decide."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infomax_nb.evaluation.intervals import equivalence_power, paired_interval
from infomax_nb.figures.axes import log_ticks, shared_legend
from infomax_nb.figures.intervals import forest

GEOMETRY = {
    "kernel_spread": "spread of κ·s over pairs of images",
    "projection_rank": "directions used (effective rank)",
}


def over_width(stages: Mapping[str, pd.DataFrame], title: str = "") -> Figure:
    """What `projections.geometry` measures over the projector's width, a line for each stage.

    Args:
        stages: for each stage's name, such as "after training", a table indexed by the width, with
            a column for each measure.
        title: shown above both panels.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
    widths = sorted(pd.concat(stages.values()).index.unique())
    for axis, (measure, name) in zip(axes, GEOMETRY.items(), strict=True):
        for look, (stage, table) in zip(cycle(("s:", "D--", "o-")), stages.items(), strict=False):
            means = table[measure].groupby("D").mean()
            axis.plot(means, look, lw=2, ms=8, label=stage)
        axis.set(yscale="log", xlabel="projector's width D", ylabel=name)
        log_ticks(axis, widths)
    _label_powers(axes[0], [0.1, 0.3, 1, 3])
    _label_powers(axes[1], [10, 30, 100, 300])
    shared_legend(figure, axes[0], 3, frameon=True)
    figure.suptitle(title)
    return figure


def _label_powers(axis: Axes, values: Sequence[float]) -> None:
    """Ticks at these values, on an axis that has room for them and for all that is drawn."""
    axis.set_yticks(values, [f"{value:g}" for value in values])
    low, high = axis.dataLim.intervaly
    axis.set_ylim(min(min(values), low) / 2, max(3 * max(values), 2 * high))


def in_band(differences: Mapping[str, pd.Series], margin: float = 1.0) -> Figure:
    """The 90% interval of each paired difference, before the band of ± `margin` points.

    Args:
        differences: for each row's name the differences of paired runs, in points.
        margin: half the band's width.
    """
    rows = {name: paired_interval(each, level=0.90) for name, each in differences.items()}
    label = "wide less narrow, points of top-1"
    chart = forest({label: pd.DataFrame(rows).T}, size=(9.5, 3.2))
    axis = chart.axes[0]
    axis.axvspan(-margin, margin, color="C2", alpha=0.2, lw=0, zorder=0)
    axis.axvline(0, color="0.35", ls="--", lw=1.2, zorder=0)
    reach = 1.25 * max(margin, *np.abs(axis.get_xlim()))
    axis.set_xlim(-reach, reach)
    axis.set_title(f"within ±{margin:g} point: the green band")
    return chart


def power(deviations: Mapping[str, float], wanted: float = 0.8, most: int = 20) -> Figure:
    """The probability that TOST finds two equal conditions equivalent, over the number of seeds.

    That is, within one point of each other.

    Args:
        deviations: for each line's name the standard deviation of paired differences, in points.
        wanted: a probability that is drawn as a dashed line.
        most: the largest number of seeds.
    """
    figure, axis = plt.subplots(figsize=(9.5, 4.2), layout="constrained")
    seeds = range(2, most + 1)
    looks = cycle(("o-", "s--", "D:"))
    for look, (name, deviation) in zip(looks, deviations.items(), strict=False):
        likely = [100 * equivalence_power(n, deviation) for n in seeds]
        axis.plot(seeds, likely, look, lw=2, label=f"{name}: {deviation:.2f} points")
    axis.axhline(100 * wanted, color="0.35", ls="--", lw=1.2)
    axis.set(xlabel="seeds of each width", ylabel="chance of “equivalent” (%)", ylim=(0, 100))
    axis.set_xticks(range(2, most + 1, 2))
    axis.legend(title="standard deviation of a pair", loc="center right", bbox_to_anchor=(1, 0.6))
    return figure
