"""What notebook 09 draws: near and far tasks, fewer classes, gaps and differences of gaps."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from infomax_nb import plots
from infomax_nb.analysis import coarse
from infomax_nb.figures.axes import log_ticks, look, panels, shared_legend
from infomax_nb.figures.intervals import forest
from infomax_nb.names import in_words

# --- Tasks ------------------------------------------------------------------------------------


def tasks(images: Tensor, names: Sequence[str], rows: Mapping[str, Sequence[int]]) -> Figure:
    """An image of each class of some tasks, a row for each task.

    Args:
        images: one of each class, uint8 (classes, 3, H, W).
        names: of the classes.
        rows: for each task's name the numbers of its classes, at most ten of which are drawn.
    """
    columns = min(10, max(map(len, rows.values())))
    height = 0.3 + len(rows) * 9.5 / (columns + 0.5)
    options: dict[str, Any] = {"squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(len(rows), columns, figsize=(9.5, height), **options)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    for line, (title, classes) in zip(axes, rows.items(), strict=True):
        for axis, k in zip(line, classes, strict=False):
            axis.imshow(images[k].permute(1, 2, 0), interpolation="nearest")
            axis.set_xlabel(plots.label(names[k], k))
        line[0].set_ylabel(title)
    return figure


# --- Two levels of labels ---------------------------------------------------------------------


def superclass_accuracy(described: pd.DataFrame, by_chance: float, title: str = "") -> Figure:
    """Superclass against class accuracy of k-NN, a marker for each representation.

    Args:
        described: by representation, with the columns top-1 and superclass, in percent.
        by_chance: the share, 0 to 1, of the other classes that belong to a class's own superclass.
            Where mistakes go to all other classes alike, accuracies lie on the dashed line.
        title: shown above.
    """
    figure, axis = plt.subplots(figsize=(9.5, 5), layout="constrained")
    for k, (name, row) in enumerate(described.iterrows()):
        point: dict[str, Any] = look(k) | {"ls": "", "ms": 8}
        axis.plot(row["top-1"], row["superclass"], label=in_words(name), **point)
    at_random = [100 * by_chance, 100]
    axis.plot([0, 100], at_random, "--", color="0.35", label="mistakes at random")
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 102)
    axis.set(title=title, xlabel="k-NN, class (%)", ylabel="k-NN, superclass (%)")
    plots.legend_beside(axis)
    return figure


# --- Fewer classes ----------------------------------------------------------------------------


def fewer_classes(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy over the number of classes: probes fitted anew, and the number's effect alone.

    The former are markers, the latter dashed lines.

    Args:
        tables: for each panel's title, what `fewer.explained` returned.
    """
    figure, axes = _panels_of_counts(list(tables))
    for axis, table in zip(axes, tables.values(), strict=True):
        for k, (name, rows) in enumerate(table.groupby("features", sort=False)):
            by_count = rows.set_index("classes").sort_index()
            points: dict[str, Any] = look(k) | {"ls": "", "ms": 8}
            axis.plot(by_count["fitted anew"], label=in_words(name), **points)
            axis.plot(by_count["expected"], "--", color=points["color"])
        axis.plot([], [], "--", color="0.3", label="the number alone")
        axis.set_xlabel("classes in the task")
        axis.set_ylim(0, 102)
        log_ticks(axis, sorted(table.classes.unique()))
    shared_legend(figure, axes[0], 5)
    return figure


def _panels_of_counts(titles: Sequence[str]) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side for accuracies over a number of classes."""
    figure, axes = panels(len(titles), 4.8)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
    axes[0].set_ylabel("linear probe, top-1 (%)")
    return figure, axes


def numbers_alone(table: pd.DataFrame) -> Figure:
    """What a smaller number of classes alone can give, as bars, and what was measured, as dots.

    Args:
        table: by the name of a row, with the columns `all classes`, `low`, `high` and `fewer
            classes`, in percent.
    """
    size = (9.5, 1.6 + 0.55 * len(table))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    places = np.arange(len(table))
    width = table.high - table.low
    bars = axis.barh(places, width, 0.36, table.low, color="0.8", edgecolor="0.35")
    bars.set_label("100 random classes, by their number alone")
    before = axis.plot(table["all classes"], places, "s", color="C0", label="IM-1000")
    plt.setp(before, mfc="white", ms=10)
    after = axis.plot(table["fewer classes"], places, "o", color="C4", label="IM-100")
    plt.setp(after, ms=10)
    axis.set_yticks(places, table.index)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(30, 101)
    axis.set_xlabel("accuracy (%)")
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return figure


def class_counts(counted: pd.DataFrame) -> Figure:
    """Accuracy over the number of classes trained on, a panel for each question.

    Args:
        counted: columns seed, features, classes, asked and accuracy (percent). The line is the mean
            over seeds, the band one standard deviation.
    """
    questions = list(dict.fromkeys(counted.asked))
    figure, axes = _panels_of_counts([f"asked about {question}" for question in questions])
    for axis, question in zip(axes, questions, strict=True):
        of_question = counted[counted.asked == question]
        for k, (name, rows) in enumerate(of_question.groupby("features", sort=False)):
            over = rows.groupby("classes").accuracy
            mean = over.mean()
            spread = over.std().fillna(0)
            axis.plot(mean, label=in_words(name), ms=8, **look(k))
            low = mean - spread
            high = mean + spread
            axis.fill_between(mean.index, low, high, color=f"C{k}", alpha=0.2)
        axis.set_xlabel("classes trained on")
        axis.set_ylim(bottom=0)
        log_ticks(axis, sorted(counted.classes.unique()))
    shared_legend(figure, axes[0], 5)
    return figure


# --- Near against far -------------------------------------------------------------------------


def near_and_far(scores: pd.DataFrame, title: str = "") -> Figure:
    """Accuracies of near and far tasks, their gap with its interval, and the height of mistakes.

    Args:
        scores: rows of `coarse.reprobe`, with columns `seed` and `probe`.
        title: shown above.
    """
    gaps = coarse.gaps(scores)
    named = gaps.set_index(gaps.representation.map(in_words))
    of_knn = named[named.probe == "k-NN"]
    heights = coarse.mean_heights(scores).rename(index=in_words)
    ratio = heights.height / heights.shuffled
    accuracies = [of_knn[kind].to_frame("mean").assign(series=kind) for kind in ("far", "near")]
    tables = {
        "k-NN, top-1 (%)": pd.concat(accuracies),
        "far − near (points)": named.rename(columns={"gap": "mean", "probe": "series"}),
        "height / shuffled": ratio.to_frame("mean"),
    }
    lines = {"far − near (points)": {"": 0}, "height / shuffled": {"": 1}}
    figure = forest(tables, lines, (9.5, 1.9 + 0.5 * len(of_knn)))
    figure.suptitle(title)
    return figure


def differences(found: pd.DataFrame, title: str = "") -> Figure:
    """InfoMax's gap less another's, with intervals by subtrees, in points and in log-odds.

    Args:
        found: what `coarse.differences` returned. The column `row` names the rows; by default they
            are the other representations.
        title: shown above.
    """
    by_subtree = found[found.unit == "subtree"]
    rows = by_subtree.get("row", by_subtree.other.map(in_words))
    named = by_subtree.assign(row=rows).set_index("row")
    table = named.rename(columns={"gap": "mean", "probe": "series"})
    tables = {}
    for scale in ("points", "log-odds"):
        tables[f"difference in {scale}"] = table[table.scale == scale]
    references = {label: {"": 0} for label in tables}
    height = 1.9 + 0.5 * table.index.nunique()
    figure = forest(tables, references, (9.5, height))
    figure.suptitle(title)
    return figure
