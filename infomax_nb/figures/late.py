"""Curves of late training, as the plan's runs leave them; what has not finished is said."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infomax_nb import plots
from infomax_nb.figures.axes import panels, shared_legend
from infomax_nb.figures.table1 import MEASURES, paper_rows
from infomax_nb.late import late_means
from infomax_nb.names import in_words

ACCURACIES = ("linear_top1", "knn_top1")


def over_epochs(
    rows: pd.DataFrame,
    labels: Mapping[str, str],
    columns: Sequence[str] = ACCURACIES,
    windows: Sequence[tuple[int, int]] = (),
    among: Iterable[str] = (),
) -> Figure:
    """A panel for each column over epochs: a thin line a run, a thick one their mean.

    Args:
        rows: of `late.evaluations`.
        labels: how conditions are called, in the order of the legend. One without a finished run
            stays in the legend, and says so.
        columns: of `rows`.
        windows: first and last epochs that are compared, which are shaded.
        among: all conditions of a larger figure, whose colours are kept.
    """
    size: dict[str, Any] = {"figsize": (9.5, 4.6), "layout": "constrained", "squeeze": False}
    figure, (axes,) = plt.subplots(1, len(columns), **size)
    colours = dict(zip(dict.fromkeys([*among, *labels]), cycle(plots.COLOURS), strict=False))
    for axis, column in zip(axes, columns, strict=True):
        for first, last in windows:
            axis.axvspan(first, last, color="0.92", zorder=0)
        for name, label in labels.items():
            _draw_condition(axis, rows[rows.run == name], column, colours[name], label)
        axis.set(xlabel="epoch", ylabel=plots.LABELS[column])
    shared_legend(figure, axes[0], columns=min(3, len(labels)))
    return figure


def _draw_condition(axis: Axes, rows: pd.DataFrame, column: str, colour: str, label: str) -> None:
    runs = rows.pivot(index="epoch", columns="seed", values=column)
    seeds = len(runs.columns)
    if seeds == 0:
        axis.plot([], [], color=colour, ls=":", label=f"{label}: not finished")
        return
    axis.plot(runs.index, runs.mean(axis=1), color=colour, lw=2.5, label=_named(label, runs))
    if seeds > 1:
        axis.plot(runs.index, runs, color=colour, lw=0.8, alpha=0.6)


def _named(label: str, seeds: Iterable[int]) -> str:
    """A condition with its finished seeds: `ours: seeds 0, 2`."""
    numbers = [str(seed) for seed in seeds]
    word = "seeds" if len(numbers) > 1 else "seed"
    return f"{label}: {word} {', '.join(numbers)}"


def paths(
    rows: pd.DataFrame, labels: Mapping[str, str], across: dict[str, str], up: dict[str, str]
) -> Figure:
    """One accuracy over another, a point for each evaluation: by the linear head, and by k-NN.

    Args:
        rows: of `late.evaluations`.
        labels: as in `over_epochs`.
        across: the columns of the linear head's and of k-NN's panel, by `linear` and `knn`, and
            the axis' `label`.
        up: the same of the other axis.
    """
    figure, axes = panels(2, 5.2)
    colours = dict(zip(labels, cycle(plots.COLOURS), strict=False))
    titles = {"linear": "linear head", "knn": "k-NN"}
    for axis, measure in zip(axes, titles, strict=True):
        for name, label in labels.items():
            of_condition = rows[rows.run == name]
            if of_condition.empty:
                axis.plot([], [], color=colours[name], ls=":", label=f"{label}: not finished")
            of_seeds = dict(list(of_condition.groupby("seed")))
            words: str | None = _named(label, of_seeds)
            for run in of_seeds.values():
                look: dict[str, Any] = {"color": colours[name], "ms": 4, "lw": 1.2}
                axis.plot(run[across[measure]], run[up[measure]], "o-", label=words, **look)
                words = None  # once in the legend
        axis.set(title=titles[measure], xlabel=across["label"])
    axes[0].set_ylabel(up["label"])
    shared_legend(figure, axes[0], columns=2)
    return figure


def far_and_near(rows: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """`paths` of the accuracy among near classes over that among far ones, of the plan's line e."""
    far = {"linear": "linear_far", "knn": "knn_far", "label": "accuracy among ten far classes (%)"}
    near = {"linear": "linear_near", "knn": "knn_near", "label": "accuracy among ten breeds (%)"}
    return paths(rows, labels, far, near)


def classes_and_groups(rows: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """`paths` of CIFAR-10's class accuracy over that of telling animals from vehicles."""
    group = {"linear": "linear_group", "knn": "knn_group", "label": "animal or vehicle, right (%)"}
    label = "class right, of ten (%)"
    of_class = {"linear": "linear_top1", "knn": "knn_top1", "label": label}
    return paths(rows, labels, group, of_class)


def beside_the_paper(rows: pd.DataFrame, methods: Mapping[str, str]) -> Figure:
    """Table 1's rows on CIFAR-10: the paper's accuracies, and ours after late training.

    Args:
        rows: of `late.evaluations`, finished runs.
        methods: the run's name in the plan for each method, as `TrainConfig` names methods.
    """
    paper = paper_rows()
    paper = paper[(paper.dataset == "CIFAR-10") & ~paper.row.str.contains("ViT")]
    paper = paper.set_index("row")
    names = {method: in_words(method) for method in methods}
    places = {method: -place for place, method in enumerate(methods)}
    ours = late_means(rows, ACCURACIES)
    figure, axes = panels(2, 4.6)
    for axis, (measure, marker) in zip(axes, MEASURES.items(), strict=True):
        for method, place in places.items():
            printed = paper[measure].get(names[method][0].upper() + names[method][1:])
            axis.plot(printed, place + 0.15, marker, color="C0", ms=7)
            measured = ours[measure].unstack().T.get(methods[method])
            if measured is None:
                axis.annotate("not finished", (printed, place - 0.3), color="0.4", ha="center")
                continue
            mine: dict[str, Any] = {"color": "C1", "mfc": "white", "ms": 7, "fmt": marker}
            deviation = measured.std() if measured.count() > 1 else 0.0
            axis.errorbar(measured.mean(), place - 0.15, xerr=deviation, **mine)
        axis.set(xlabel=plots.LABELS[measure])
    axes[0].set_yticks(list(places.values()), list(names.values()))
    axes[0].set_ylim(-len(places) + 0.4, 0.6)
    axes[0].plot([], [], "o", color="C0", ms=7, label="the paper: ResNet-18, 200 epochs")
    here = "here: small ResNet, 60 epochs, mean and deviation of the seeds that have finished"
    axes[0].plot([], [], "o", color="C1", mfc="white", ms=7, label=here)
    shared_legend(figure, axes[0], columns=1)
    return figure
