"""The paper's Table 1 as a dot plot: each row as printed, and ours where something was run."""

import json
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infomax_nb.files import project_root
from infomax_nb.late import evaluations, late_means
from infomax_nb.names import in_words, setting

REPORTS = project_root() / "reports"
# The paper's data sets in the order of its table, and the small result nearest to each.
OURS = {
    "STL-10": None,
    "CIFAR-10": "methods_cifar10",
    "LC-25000": "methods_lc25000_groups",
    "IM-1000": None,
    "IM-100": None,
}
# Late training of each method, as the plan names the runs; ours is at κ = 10.
LATE = {"CIFAR-10": ("kappa10", "simclr", "vicreg", "barlow_twins", "byol", "dino", "supervised")}
# What the images of ours were, where that is not the whole data set.
PART = {"LC-25000": "lung half, groups held out, "}
MEASURES = {"linear_top1": "o", "knn_top1": "s"}
# How far above a row's middle marks stand, in rows, so that they are seen apart.
ABOVE = {"linear_top1": 0.13, "knn_top1": -0.13}
# Colour and face of the marks.
LOOKS = {
    "the paper": ("C0", "C0"),
    "small run": ("C1", "white"),
    "60 epochs, all images": ("C2", "white"),
    "same budget": ("C2", "C2"),
}

# --- Numbers ----------------------------------------------------------------------------------


def paper_rows() -> pd.DataFrame:
    """The paper's numbers, percent, with a `row` that names method and network.

    Where `make table1` has run a row, `seeds` is above 0 and `measured_…` are its accuracies.
    """
    made = [path for path in sorted(REPORTS.glob("table1_*.csv")) if "-" not in path.name]
    tables = [pd.read_csv(path) for path in [*made, REPORTS / "paper_table1.csv"]]
    table = pd.concat(tables, ignore_index=True).drop_duplicates("params")
    vit = table.backbone.str.startswith("VIT")
    names = table.method + vit.map({True: ", ViT", False: ""})
    seeds = table.get("seeds", pd.Series(0, table.index)).fillna(0)
    return table.assign(row=names, seeds=seeds)


def our_rows(result: str) -> pd.DataFrame:
    """Mean and standard deviation over seeds after the last epoch, by the paper's row."""
    metrics = pd.read_csv(REPORTS / result / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()]
    table = last.groupby("method")[list(MEASURES)].agg(["mean", "std"])
    return table.rename(index=_row_of)


def late_rows(dataset: str) -> pd.DataFrame:
    """Mean and standard deviation over seeds of late training's last five evaluations.

    They are in percent, by the paper's row; a method without a finished run has none.

    Args:
        dataset: as the paper's table names it.
    """
    means = late_means(evaluations(*LATE.get(dataset, ())), MEASURES)
    table = means.groupby("run").agg(["mean", "std"])
    return table.rename(index={"kappa10": "infomax"}).rename(index=_row_of)


def _row_of(method: str) -> str:
    """The paper's name for a method."""
    words = in_words(method)
    return words[0].upper() + words[1:]


# --- The figure -------------------------------------------------------------------------------


def draw() -> Figure:
    """A panel for each data set: filled marks are the paper's, hollow ones ours of less training.

    Rows that were run at the paper's budget get filled marks of another colour.
    """
    paper = paper_rows()
    heights = [len(paper[paper.dataset == name]) for name in OURS]
    options: dict[str, Any] = {"figsize": (9.5, 9.5), "layout": "constrained"}
    figure, axes = plt.subplots(len(OURS), sharex=True, height_ratios=heights, **options)
    for axis, (dataset, result) in zip(axes, OURS.items(), strict=True):
        draw_panel(axis, paper[paper.dataset == dataset], result, late_rows(dataset))
        at_its_budget = bool((paper[paper.dataset == dataset].seeds > 0).any())
        axis.set_title(title(dataset, result, at_its_budget), loc="left")
    axes[-1].set_xlabel("test accuracy, top-1 (%)")
    figure.legend(handles=list(legend(paper)), loc="outside upper center", ncols=2)
    return figure


def title(dataset: str, result: str | None, at_its_budget: bool) -> str:
    """A panel's title: the data set, and what of ours is in the panel.

    Args:
        dataset: as the paper's table names it.
        result: our small runs of it in `reports/`, if there are any.
        at_its_budget: whether some of its rows were run as the paper has them.
    """
    if result is None:
        return f"{dataset} ({'here: at its budget' if at_its_budget else 'not run here'})"
    records = json.loads((REPORTS / result / "records.json").read_bytes())
    runs = setting(records).partition(", ")[2].replace("training images", "images")
    return f"{dataset} (here: {PART.get(dataset, '')}{runs})"


def draw_panel(axis: Axes, paper: pd.DataFrame, result: str | None, late: pd.DataFrame) -> None:
    """Draw the rows of one data set, from above in the table's order.

    Args:
        axis: the panel.
        paper: the rows, of `paper_rows`.
        result: our small runs of them in `reports/`, if there are any.
        late: those of `late_rows`.
    """
    rows = paper.row.tolist()
    places = {row: -place for place, row in enumerate(rows)}
    same_budget = paper[paper.seeds > 0]
    for measure, marker in MEASURES.items():
        above = ABOVE[measure]
        axis.plot(paper[measure], paper.row.map(places) + above, marker, **_look("the paper"))
        if len(same_budget):
            measured = same_budget[f"measured_{measure}"]
            heights = same_budget.row.map(places) + above
            axis.plot(measured, heights, marker, **_look("same budget"))
    if result is not None:
        _draw_ours(axis, our_rows(result), places, "small run")
    _draw_ours(axis, late, places, "60 epochs, all images")
    axis.set_yticks(list(places.values()), rows)
    axis.set_ylim(-len(rows) + 0.4, 0.6)


def _draw_ours(axis: Axes, ours: pd.DataFrame, places: dict[str, int], who: str) -> None:
    """Draw accuracies of ours, with a bar of one standard deviation over seeds to both sides."""
    ours = ours[ours.index.isin(list(places))]
    heights = ours.index.map(places)
    for measure, marker in MEASURES.items():
        error = ours[measure]["std"].fillna(0)
        bars: dict[str, Any] = {"fmt": marker, "elinewidth": 2, **_look(who)}
        axis.errorbar(ours[measure]["mean"], heights + ABOVE[measure], xerr=error, **bars)


def _look(who: str) -> dict[str, Any]:
    colour, face = LOOKS[who]
    return {"color": colour, "mfc": face, "ms": 6.5, "ls": "none"}


def legend(paper: pd.DataFrame) -> Iterator[Line2D]:
    """A handle for each kind of marks that is drawn."""
    words = {"linear_top1": "linear head", "knn_top1": "k-NN"}
    kinds = list(LOOKS) if (paper.seeds > 0).any() else list(LOOKS)[:-1]
    for who in kinds:
        for measure, marker in MEASURES.items():
            yield Line2D([], [], marker=marker, label=f"{who}, {words[measure]}", **_look(who))
