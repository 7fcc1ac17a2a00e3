"""Which classes a classifier takes for which, in percent of each true class."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from torch import Tensor

MOST = 12  # classes whose cells have room for a number


def confusion(
    truth: Tensor,
    predicted: Tensor,
    classes: Sequence[str],
    coarse: Tensor | None = None,
    coarse_names: Sequence[str] = (),
) -> Figure:
    """Draw the confusion matrix; with superclasses also theirs, with percent in its cells.

    Classes stand in the order of their superclasses, with lines between these.

    Args:
        truth: classes (N,).
        predicted: classes (N,).
        classes: their names.
        coarse: the superclass of each class (classes,).
        coarse_names: names of the superclasses.
    """
    options: dict[str, Any] = {"layout": "constrained", "squeeze": False}
    if coarse is None:
        figure, ((axis,),) = plt.subplots(1, 1, figsize=(9.5, 7.5), **options)
        _draw(axis, truth, predicted, classes)
        return figure
    figure, ((left, right),) = plt.subplots(1, 2, figsize=(11, 5.6), **options)
    order = coarse.argsort(stable=True)
    place = order.argsort()
    _draw(left, place[truth], place[predicted], [classes[k] for k in order])
    _draw_groups(left, coarse[order].bincount().numpy(), coarse_names)
    left.set_title(f"{len(classes)} classes")
    _draw(right, coarse[truth], coarse[predicted], coarse_names)
    right.set(title=f"{len(coarse_names)} groups", ylabel="")
    return figure


def _draw(axis: Axes, truth: Tensor, predicted: Tensor, names: Sequence[str]) -> None:
    """One matrix; its rows add up to 100%. Where there is room cells have their number."""
    labels = range(len(names))
    shares = 100 * confusion_matrix(truth, predicted, labels=labels, normalize="true")
    image = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.4, 0, 100))
    axis.grid(False)
    axis.set(xlabel="predicted", ylabel="true")
    if len(names) > MOST:
        axis.set(xticks=[], yticks=[])
        axis.figure.colorbar(image, ax=axis, shrink=0.7, ticks=[0, 1, 10, 50, 100], format="%d%%")
        return
    axis.set_xticks(labels, names, rotation=90)
    axis.set_yticks(labels, names)
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            colour = "white" if share > 30 else "black"
            text = f"{share:.0f}" if share >= 0.5 else "<1"
            axis.text(column, row, text, ha="center", va="center", color=colour)


def _draw_groups(axis: Axes, sizes: np.ndarray, names: Sequence[str]) -> None:
    """Lines between groups of these sizes; their names beside them, where no class has its own."""
    ends = sizes.cumsum() - 0.5
    for end in ends[:-1]:
        axis.axhline(end, color="0.5", lw=0.8)
        axis.axvline(end, color="0.5", lw=0.8)
    if sizes.sum() <= MOST:
        return
    middles = ends - sizes / 2
    axis.set_xticks(middles, names, rotation=90)
    axis.set_yticks(middles, names)
