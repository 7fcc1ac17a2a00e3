"""The paper's Table 1 as a dot plot: each row as printed, and ours where something was run."""

import json
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infomax_nb.files import project_root
from infomax_nb.names import in_words
from pipeline.site.words import setting

REPORTS = project_root() / "reports"
# The paper's data sets in the order of its table, and the result nearest to each.
OURS = {
    "STL-10": None,
    "CIFAR-10": "methods_cifar10",
    "LC-25000": "methods_lc25000_groups",
    "IM-1000": None,
    "IM-100": None,
}
# What the images of ours were, where that is not the whole data set.
PART = {"LC-25000": "lung half, groups held out, "}
MEASURES = {"linear_top1": "o", "knn_top1": "s"}


def paper_rows() -> pd.DataFrame:
    """The paper's numbers, percent, with a `row` that names method and network."""
    table = pd.read_csv(REPORTS / "paper_table1.csv")
    vit = table.backbone.str.startswith("VIT")
    return table.assign(row=table.method + vit.map({True: ", ViT", False: ""}))


def our_rows(result: str) -> pd.DataFrame:
    """Mean and standard deviation over seeds after the last epoch, by the paper's row."""
    metrics = pd.read_csv(REPORTS / result / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()]
    table = last.groupby("method")[list(MEASURES)].agg(["mean", "std"])
    return table.rename(index=_row_of)


def _row_of(method: str) -> str:
    """The paper's name for a method."""
    words = in_words(method)
    return words[0].upper() + words[1:]


def draw() -> Figure:
    """A panel for each data set: filled marks are the paper's, open ones ours."""
    paper = paper_rows()
    heights = [len(paper[paper.dataset == name]) for name in OURS]
    options: dict[str, Any] = {"figsize": (9, 8.6), "layout": "constrained"}
    figure, axes = plt.subplots(len(OURS), sharex=True, height_ratios=heights, **options)
    for axis, (dataset, result) in zip(axes, OURS.items(), strict=True):
        draw_panel(axis, paper[paper.dataset == dataset], result)
        axis.set_title(title(dataset, result), loc="left", fontsize=11)
    axes[-1].set_xlabel("test accuracy, top-1 (%)")
    figure.legend(handles=legend(), loc="outside upper center", ncols=4, fontsize=10)
    return figure


def title(dataset: str, result: str | None) -> str:
    """A panel's title: the data set, and what of ours is in the panel."""
    if result is None:
        return f"{dataset} (not run here)"
    records = json.loads((REPORTS / result / "records.json").read_text())
    runs = setting(records).partition(", ")[2].replace("training images", "images")
    return f"{dataset} (here: {PART.get(dataset, '')}{runs})"


def draw_panel(axis: plt.Axes, paper: pd.DataFrame, result: str | None) -> None:
    """Draw the rows of one data set, from above in the table's order."""
    rows = paper.row.tolist()
    places = {row: -place for place, row in enumerate(rows)}
    for measure, marker in MEASURES.items():
        axis.plot(paper[measure], paper.row.map(places), marker, color="C0", ms=6)
    if result is not None:
        ours = our_rows(result)
        ours = ours[ours.index.isin(rows)]
        heights = ours.index.map(places)
        for measure, marker in MEASURES.items():
            of_measure = ours[measure]
            style: dict[str, Any] = {
                "color": "C1",
                "mfc": "white",
                "ms": 6,
                "ls": "none",
                "elinewidth": 2,
            }
            error = of_measure["std"].fillna(0)
            axis.errorbar(of_measure["mean"], heights, xerr=error, fmt=marker, **style)
    axis.set_yticks(list(places.values()), rows, fontsize=10)
    axis.set_ylim(-len(rows) + 0.4, 0.6)


def legend() -> list[Line2D]:
    """Handles for the four kinds of marks."""
    words = {"linear_top1": "linear", "knn_top1": "k-NN"}
    handles = []
    for who, colour, face in (("paper", "C0", "C0"), ("here", "C1", "white")):
        for measure, marker in MEASURES.items():
            label = f"{who}, {words[measure]}"
            style: dict[str, Any] = {"color": colour, "mfc": face, "ls": "none", "label": label}
            handles.append(Line2D([], [], marker=marker, **style))
    return handles
