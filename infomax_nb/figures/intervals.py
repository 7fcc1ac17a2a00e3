"""Forest plots: means with their intervals, a row for each thing that is compared."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from infomax_nb.errors import not_allowed
from infomax_nb.figures.axes import MARKERS


def forest(
    panels: Mapping[str, pd.DataFrame],
    references: Mapping[str, Mapping[str, float]] | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Draw means as markers and intervals as bars; rows are shared by all panels.

    Args:
        panels: for each label of an x axis, a table with a row for each mean, indexed by the name
            of its row in the plot, with the columns `mean`, `low` and `high`. Where there is no
            interval the last two are NaN, or no columns at all, and the marker is hollow. Where
            several means share a row, the column `series` tells them apart. Rows stand from top to
            bottom in the order in which their names come first.
        references: for some panels, vertical lines: for each line's label, its place.
        size: width and height in inches of 100 pixels; None for 9.5 and what the rows need.

    Raises:
        ParameterError: there is no panel, or one has no rows.
    """
    if not panels or any(panel.empty for panel in panels.values()):
        raise not_allowed("panels", list(panels), "tables with at least one row each")
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel.index))
    inches = size or (9.5, 1.6 + 0.4 * len(names))
    options: dict[str, Any] = {
        "sharey": True,
        "squeeze": False,
        "layout": ConstrainedLayoutEngine(w_pad=0.1),
    }
    figure, (axes,) = plt.subplots(1, len(panels), figsize=inches, **options)
    for axis, (label, panel) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, panel, names)
        for line, place in ((references or {}).get(label) or {}).items():
            axis.axvline(place, color="0.35", ls="--", lw=1.2, label=line, zorder=0)
        axis.set_xlabel(label)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, ncols=2)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _draw_panel(axis: Axes, panel: pd.DataFrame, names: list[str]) -> None:
    """Draw the means of one panel; series that share a row stand a little below each other."""
    series = panel.get("series", pd.Series("", panel.index)).to_numpy()
    table = panel.reindex(columns=["mean", "low", "high"])
    kinds = list(dict.fromkeys(series))
    step = 0.6 / max(len(kinds), 2)
    for number, kind in enumerate(kinds):
        rows = table[series == kind]
        places = np.array([names.index(name) for name in rows.index], float)
        places += step * (number - (len(kinds) - 1) / 2)
        colour = f"C{number}"
        known = rows.low.notna().to_numpy()
        axis.hlines(places[known], rows.low[known], rows.high[known], color=colour, lw=2)
        look: dict[str, Any] = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "ls": ""}
        hollow: dict[str, Any] = {"mfc": "white", "mew": 1.6} if not known.any() else {}
        axis.plot(rows["mean"], places, ms=7, label=kind or None, **look, **hollow)
        if known.any():  # of these, those without an interval are hollow
            axis.plot(rows["mean"][~known], places[~known], ms=7, mfc="white", mew=1.6, **look)
    axis.grid(axis="y", visible=False)
