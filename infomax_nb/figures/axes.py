"""What drawings have in common: looks of series, panels side by side, ticks, one legend for all."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infomax_nb.errors import not_allowed

MARKERS = "osD^vPX*"


def look(number: int) -> dict[str, Any]:
    """Colour and marker of series `number`: sixteen that differ, hollow from the ninth on."""
    place = number % len(MARKERS)
    face = "white" if number % (2 * len(MARKERS)) >= len(MARKERS) else f"C{place}"
    return {"color": f"C{place}", "marker": MARKERS[place], "mfc": face}


def panels(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    """A figure 9.5 inches wide and `height` inches high, with panels side by side on one y axis."""
    options: dict[str, Any] = {"sharey": True, "squeeze": False, "layout": "constrained"}
    figure, (axes,) = plt.subplots(1, count, figsize=(9.5, height), **options)
    return figure, axes


def log_ticks(axis: Axes, values: Iterable[float], form: str = "{:g}") -> None:
    """Make the x axis logarithmic, with ticks at these values only.

    Args:
        axis: is changed.
        values: above 0.
        form: how a value is written, a format.

    Raises:
        ParameterError: a value has no place on a logarithmic axis.
    """
    ticks = list(values)
    if min(ticks, default=1) <= 0:
        raise not_allowed("values", ticks, "numbers above 0, on a logarithmic axis")
    axis.set_xscale("log")
    axis.set_xticks(ticks, [form.format(tick) for tick in ticks])
    axis.minorticks_off()


def shared_legend(figure: Figure, axis: Axes, columns: int, **options: Any) -> None:
    """Draw one legend for all panels, below them and without a frame unless the options say else.

    Args:
        figure: has the panels, in a constrained layout.
        axis: the panel with all that the legend names.
        columns: number of columns.
        options: others of `Figure.legend`.
    """
    handles, labels = axis.get_legend_handles_labels()
    look: dict[str, Any] = {"loc": "outside lower center", "frameon": False}
    figure.legend(handles, labels, ncols=columns, **look | options)


def empty(words: str) -> Figure:
    """A figure without data, which says in words why there are none."""
    figure, axis = plt.subplots(figsize=(9.5, 1.6), layout="constrained")
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, words, ha="center")
    return figure
