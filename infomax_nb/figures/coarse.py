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
from infomax_nb.figures.intervals import MARKERS, forest
from infomax_nb.names import in_words

# --- Tasks ------------------------------------------------------------------------------------


def tasks(images: Tensor, names: Sequence[str], rows: Mapping[str, Sequence[int]]) -> Figure:
    """An image of each class of some tasks, a row for each task.

    Args:
        images: one of each class, uint8 (classes, 3, H, W).
        names: of the classes.
        rows: for each task's name the numbers of its classes, at most ten of which are drawn.
    """
    shown = {title: list(classes)[:10] for title, classes in rows.items()}
    columns = max(map(len, shown.values()))
    size = (9.5, 0.3 + len(shown) * 9.5 / (columns + 0.5))
    options: dict[str, Any] = {"figsize": size, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(len(shown), columns, **options)
    for line, (title, classes) in zip(axes, shown.items(), strict=True):
        for axis in line:
            axis.set(xticks=[], yticks=[], frame_on=False)
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
        by_chance: the share of a class's other classes that are of its superclass. Where mistakes
            go to any other class alike, accuracies lie on the dashed line.
        title: stands above.
    """
    figure, axis = plt.subplots(figsize=(9.5, 5), layout="constrained")
    for k, (name, row) in enumerate(described.iterrows()):
        look: dict[str, Any] = {"color": f"C{k % 8}", "marker": MARKERS[k % 8]}
        if k > 7:  # colours begin again
            look["mfc"] = "white"
        axis.plot(row["top-1"], row["superclass"], ls="", ms=10, label=in_words(name), **look)
    label = "mistakes at random"
    axis.plot([0, 100], [100 * by_chance, 100], color="0.35", linestyle="--", label=label)
    axis.set(xlabel="k-NN, class (%)", ylabel="k-NN, superclass (%)", xlim=(0, 100), ylim=(0, 102))
    axis.set_title(title)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure


# --- Fewer classes ----------------------------------------------------------------------------


def fewer_classes(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy over the number of classes: markers fitted anew, dashed the number alone.

    Args:
        tables: for each panel's title, what `fewer.explained` returned.
    """
    options: dict[str, Any] = {"layout": "constrained", "squeeze": False, "sharey": True}
    figure, (axes,) = plt.subplots(1, len(tables), figsize=(9.5, 4.8), **options)
    for axis, (title, table) in zip(axes, tables.items(), strict=True):
        for k, (name, rows) in enumerate(table.groupby("features", sort=False)):
            rows = rows.sort_values("classes")
            look = {"color": f"C{k}", "marker": MARKERS[k], "ls": "", "ms": 8}
            axis.plot(rows.classes, rows["fitted anew"], label=in_words(name), **look)
            axis.plot(rows.classes, rows.expected, "--", color=f"C{k}")
        axis.plot([], [], "--", color="0.3", label="the number alone")
        axis.set(xlabel="classes in the task", ylim=(0, 102), title=title)
        _count(axis, table.classes)
    axes[0].set_ylabel("linear probe, top-1 (%)")
    known = axes[0].get_legend_handles_labels()
    figure.legend(*known, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _count(axis: Axes, numbers: pd.Series) -> None:
    """A logarithmic axis with these numbers of classes as its ticks."""
    axis.set_xscale("log")
    ticks = sorted(numbers.unique())
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()


def numbers_alone(table: pd.DataFrame) -> Figure:
    """What a smaller number of classes alone can give, as bars, and what was measured, as dots.

    Args:
        table: by the name of a row, with the columns `all classes`, `low`, `high` and `fewer
            classes`, in percent.
    """
    figure, axis = plt.subplots(figsize=(9.5, 1.6 + 0.55 * len(table)), layout="constrained")
    places = np.arange(len(table))
    wide: dict[str, Any] = {"height": 0.36, "color": "0.8", "edgecolor": "0.35"}
    label = "100 random classes, by their number alone"
    axis.barh(places, table.high - table.low, left=table.low, label=label, **wide)
    look: dict[str, Any] = {"ls": "", "ms": 10}
    axis.plot(table["all classes"], places, "s", color="C0", mfc="white", **look, label="IM-1000")
    axis.plot(table["fewer classes"], places, "o", color="C4", **look, label="IM-100")
    axis.set_yticks(places, table.index)
    axis.set(ylim=(len(table) - 0.5, -0.5), xlim=(30, 101), xlabel="accuracy (%)")
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
    options: dict[str, Any] = {"layout": "constrained", "squeeze": False, "sharey": True}
    figure, (axes,) = plt.subplots(1, len(questions), figsize=(9.5, 4.6), **options)
    for axis, question in zip(axes, questions, strict=True):
        of_question = counted[counted.asked == question]
        for k, (name, rows) in enumerate(of_question.groupby("features", sort=False)):
            over = rows.groupby("classes").accuracy
            mean = over.mean()
            spread = over.std().fillna(0)
            axis.plot(mean, marker=MARKERS[k], color=f"C{k}", label=in_words(name), ms=8)
            axis.fill_between(mean.index, mean - spread, mean + spread, color=f"C{k}", alpha=0.2)
        axis.set(xlabel="classes trained on", title=f"asked about {question}", ylim=0)
        _count(axis, counted.classes)
    axes[0].set_ylabel("linear probe, top-1 (%)")
    known = axes[0].get_legend_handles_labels()
    figure.legend(*known, loc="outside lower center", ncols=5, frameon=False)
    return figure


# --- Near against far -------------------------------------------------------------------------


def near_and_far(scores: pd.DataFrame, title: str = "") -> Figure:
    """Accuracies of near and far tasks, their gap with its interval, and the height of mistakes.

    Args:
        scores: rows of `coarse.reprobe`, with columns `seed` and `probe`.
        title: stands above.
    """
    gaps = coarse.gaps(scores)
    named = gaps.set_index(gaps.representation.map(in_words))
    of_knn = named[named.probe == "k-NN"]
    accuracies = [pd.DataFrame({"mean": of_knn[kind], "series": kind}) for kind in ("far", "near")]
    heights = coarse.mean_heights(scores).rename(index=in_words)
    ratio = pd.DataFrame({"mean": heights.height / heights.shuffled})
    panels = {
        "k-NN, top-1 (%)": pd.concat(accuracies),
        "far − near (points)": named.rename(columns={"gap": "mean", "probe": "series"}),
        "height / shuffled": ratio,
    }
    blank = {"low": np.nan, "high": np.nan}
    panels = {
        label: panel if "low" in panel else panel.assign(**blank) for label, panel in panels.items()
    }
    lines = {"far − near (points)": {"": 0}, "height / shuffled": {"": 1}}
    figure = forest(panels, lines, (9.5, 1.9 + 0.5 * len(of_knn)))
    figure.suptitle(title)
    return figure


def differences(found: pd.DataFrame, title: str = "") -> Figure:
    """InfoMax's gap less another's, with intervals by subtrees, in points and in log-odds.

    Args:
        found: what `coarse.differences` returned. The column `row` names the rows; by default they
            are the other representations.
        title: stands above.
    """
    by_subtree = found[found.unit == "subtree"]
    rows = by_subtree.get("row", by_subtree.other.map(in_words))
    columns = {"gap": "mean", "probe": "series"}
    table = by_subtree.assign(row=rows).rename(columns=columns).set_index("row")
    panels = {
        f"difference in {scale}": table[table.scale == scale] for scale in ("points", "log-odds")
    }
    references = {label: {"": 0} for label in panels}
    figure = forest(panels, references, (9.5, 1.9 + 0.5 * table.index.nunique()))
    figure.suptitle(title)
    return figure
