"""Runs that differ in one number: committed ones, and over them those that a reader trained."""

from collections.abc import Collection, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from infomax_nb import plots


def over_recorded(
    metrics: pd.DataFrame,
    own: Collection[str],
    columns: Sequence[str],
    hue: str,
    title: str = "",
    among: Collection[float] = (),
) -> Figure:
    """`plots.curves` of all runs, with the reader's own over them as thick lines.

    Where all are the reader's own, or none is, none is thick.

    Args:
        metrics: rows of runs; `run` holds their names.
        own: names of the reader's runs.
        columns: the columns to draw.
        hue: the column of numbers that tells runs apart.
        title: shown above all panels.
        among: as in `plots.curves`.
    """
    figure = plots.curves(metrics, columns, hue=hue, title=title, among=among)
    yours = metrics[metrics.run.isin(own)]
    if len(yours) in (0, len(metrics)):
        return figure
    colours = plots.shades(sorted(among or metrics[hue].unique()))
    shown = [column for column in columns if column in metrics]
    for axis, column in zip(figure.axes, shown, strict=False):
        for value, rows in yours.groupby(hue):
            mean = rows.groupby("epoch")[column].mean()
            axis.plot(mean, color=colours[value], lw=5, alpha=0.75, solid_capstyle="round")
    _add_yours(figure, [f"{value:g}" for value in sorted(yours[hue].unique())])
    return figure


def _add_yours(figure: Figure, values: list[str]) -> None:
    """Add the thick lines to the legend, which stands beside the last panel."""
    axis = figure.axes[-1]
    old: Any = axis.get_legend()
    texts = [text.get_text() for text in old.get_texts()]
    thick = plt.Line2D([], [], color="0.4", lw=5, alpha=0.75)
    handles = [*old.legend_handles, thick]
    texts.append(f"yours ({', '.join(values)})")
    plots.legend_beside(axis, handles, texts, title=old.get_title().get_text())
