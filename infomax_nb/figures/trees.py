"""What notebook 07 draws: likeness of classes as matrices, as squares and as a tree that is cut.

A likeness is the cosine similarity (C, C) of the classes' centroids.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import dendrogram, fcluster

from infomax_nb import plots
from infomax_nb.analysis.centroids import cluster_tree, members, plain, ranked
from infomax_nb.figures.intervals import forest

OTHERS = "0.75"  # the grey of classes in no large group
MOST = 60  # names that have room along an axis

# --- Names and colours ------------------------------------------------------------------------


def colours_of(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each of the eight largest groups that have two classes or more."""
    large = [group for group, size in Counter(groups).most_common(8) if size > 1]
    return dict(zip(large, plots.COLOURS, strict=False))


def _said(group: str) -> str:
    return plots.label(plain(group).replace("_", " "))


def _legend(figure: Figure, groups: Sequence[str], columns: int = 4) -> None:
    """The colours of groups, below everything else."""
    colours = colours_of(groups)
    handles = [Patch(color=colour, label=_said(group)) for group, colour in colours.items()]
    if set(groups) - set(colours):
        handles.append(Patch(color=OTHERS, label="others"))
    if handles:
        figure.legend(handles=handles, ncols=columns, loc="outside lower center", frameon=False)


# --- Matrices ---------------------------------------------------------------------------------


def sorted_matrix(
    likeness: np.ndarray,
    names: Sequence[str],
    groups: Sequence[str] = (),
    title: str = "",
    height: float = 9.9,
) -> Figure:
    """The likeness in the order of its own tree, which stands above it.

    Args:
        likeness: (C, C).
        names: of the classes, written at the sides where there is room.
        groups: of the classes; each large one has its colour in a strip on the left.
        title: stands above all.
        height: in inches.
    """
    tree = cluster_tree(likeness)
    options: dict[str, Any] = {"figsize": (9.5, height), "layout": "constrained"}
    look = {"height_ratios": [1, 7], "width_ratios": [1, 40]}
    figure, axes = plt.subplots(2, 2, gridspec_kw=look, **options)
    axes[0, 0].set_axis_off()
    above = {"color_threshold": 0, "above_threshold_color": "0.3", "no_labels": True}
    order = dendrogram(tree, ax=axes[0, 1], **above)["leaves"]
    axes[0, 1].set_axis_off()
    image = axes[1, 1].imshow(likeness[np.ix_(order, order)], aspect="auto", cmap="viridis")
    shown = plots.labels(names)
    _write_names(axes[1, 1], [shown[k] for k in order])
    colours = colours_of(groups)
    _strip(axes[1, 0], [colours.get(groups[k], OTHERS) for k in order] if groups else [])
    figure.colorbar(image, ax=axes[:, 1], label="cosine", shrink=0.5, pad=0.09)
    figure.suptitle(title)
    _legend(figure, groups)
    return figure


def _write_names(axis: Axes, names: Sequence[str]) -> None:
    """The names at the right and below, those below turned where they are longer than symbols."""
    axis.grid(False)
    axis.yaxis.tick_right()
    places = range(len(names)) if len(names) <= MOST else []
    turn = 90 if max(map(len, names)) > 2 else 0
    axis.set_xticks(places, names if places else [], rotation=turn)
    axis.set_yticks(places, names if places else [])


def _strip(axis: Axes, colours: Sequence[str]) -> None:
    """One colour for each class, from top to bottom."""
    axis.set_axis_off()
    for row, colour in enumerate(colours):
        axis.axhspan(row, row + 1, color=colour, linewidth=0)
    axis.set(xlim=(0, 1), ylim=(max(len(colours), 1), 0))


def in_the_hierarchys_order(
    likenesses: Mapping[str, np.ndarray], paths: Sequence[tuple], groups: Sequence[str]
) -> Figure:
    """A panel for each likeness: the rank of each pair, classes in the order of the hierarchy.

    Args:
        likenesses: (C, C) each, by the name of the representation.
        paths: of the classes, as `centroids.hierarchy` gives them.
        groups: of the classes; the larger ones are named and have white lines around them.
    """
    order = sorted(range(len(paths)), key=lambda k: paths[k])
    blocks = _blocks([groups[k] for k in order])
    rows = (len(likenesses) + 1) // 2
    size = (9.5, 0.5 + 4.6 * rows)
    figure, axes = plt.subplots(rows, 2, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(likenesses) :]:
        axis.set_axis_off()
    for axis, (name, likeness) in zip(axes.flat, likenesses.items(), strict=False):
        matrix = ranked(likeness)
        np.fill_diagonal(matrix, np.nan)
        image = axis.imshow(matrix[np.ix_(order, order)], cmap="viridis")
        _outline(axis, blocks)
        axis.set_title(name)
    figure.colorbar(image, ax=axes, label="rank of the pair, % (100: most alike)", shrink=0.5)
    return figure


def _blocks(groups: Sequence[str]) -> dict[str, tuple[int, int]]:
    """First class and size of each group that is large enough to be seen, in this order."""
    least = max(2, len(groups) / 40)
    sizes = Counter(groups)
    return {
        group: (list(groups).index(group), size) for group, size in sizes.items() if size >= least
    }


def _outline(axis: Axes, blocks: Mapping[str, tuple[int, int]]) -> None:
    """White lines around the groups, and their names below."""
    axis.grid(False)
    axis.set_yticks([])
    middles = [start + size / 2 - 0.5 for start, size in blocks.values()]
    axis.set_xticks(middles, [_said(group) for group in blocks], rotation=90)
    for start, size in blocks.values():
        for edge in (start - 0.5, start + size - 0.5):
            axis.axhline(edge, color="white", linewidth=0.7)
            axis.axvline(edge, color="white", linewidth=0.7)


def squares(table: pd.DataFrame) -> Figure:
    """How bright each group's square is, as colours with their numbers.

    Args:
        table: mean rank in percent; groups by representations.
    """
    size = (9.5, 1.6 + 0.42 * len(table))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    image = axis.imshow(table, cmap="viridis", vmin=20, vmax=100, aspect="auto")
    for row, column in np.ndindex(table.shape):
        number = table.iloc[row, column]
        colour = "black" if number > 65 else "white"
        axis.text(column, row, f"{number:.0f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(table.shape[1]), [name.replace(" ", "\n") for name in table])
    axis.set_yticks(range(len(table)), [_said(group) for group in table.index])
    axis.tick_params(length=0)
    axis.grid(False)
    figure.colorbar(image, ax=axis, label="mean rank, %")
    return figure


# --- A tree that is cut -----------------------------------------------------------------------


def cut_tree(
    tree: np.ndarray,
    names: Sequence[str],
    groups: Sequence[str],
    clusters: int,
    agreements: pd.DataFrame,
) -> Figure:
    """Above the tree, cut into so many clusters; below the agreement of any number of clusters.

    Args:
        tree: (C - 1, 4), as of `cluster_tree`, for C classes.
        names: of the classes.
        groups: of the classes.
        clusters: number of parts into which the tree is cut.
        agreements: with the groups, a row for each number of clusters, a column for each
            representation; nothing is drawn below if it is empty.
    """
    options: dict[str, Any] = {"figsize": (9.5, 8), "layout": "constrained"}
    if agreements.empty:
        figure, axis = plt.subplots(figsize=(9.5, 5), layout="constrained")
    else:
        figure, (axis, below) = plt.subplots(2, 1, height_ratios=[1.6, 1], **options)
        _agreements(below, agreements, clusters)
    _branches(axis, tree, names, groups, clusters)
    _legend(figure, groups)
    return figure


def _agreements(axis: Axes, agreements: pd.DataFrame, clusters: int) -> None:
    styles = ("-", "--", "-.", ":")  # colours are the groups'
    for k, name in enumerate(agreements):
        width = 2.4 if k == 0 else 1.3
        axis.plot(agreements[name], styles[k % 4], color="black", linewidth=width, label=name)
    axis.axvline(clusters, color="black", linestyle=":", linewidth=1.6)
    axis.set(xlabel="clusters", ylabel="adjusted Rand index", ylim=0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))


def _branches(
    axis: Axes, tree: np.ndarray, names: Sequence[str], groups: Sequence[str], clusters: int
) -> None:
    """The tree; branches below the cut have the colour of their cluster's largest group."""
    n = len(names)
    colours = colours_of(groups)
    part = fcluster(tree, clusters, "maxclust")
    largest = members(tree, names, groups, clusters)["largest group"]
    merges = np.array([0, *tree[:, 2], 1.05 * tree[-1, 2]])
    height = merges[n - clusters : n - clusters + 2].mean()  # between two merges
    below = _a_leaf_of_each(tree)

    def branch(node: int) -> str:
        is_above = tree[node - n, 2] > height
        return "0.3" if is_above else colours.get(largest[part[below[node]]], OTHERS)

    drawn = plots.labels(names)
    bare = n > MOST
    turn = 90 if max(map(len, drawn)) > 2 else 0
    look = {"link_color_func": branch, "leaf_rotation": turn, "no_labels": bare}
    shown = dendrogram(
        tree, labels=drawn, leaf_font_size=plt.rcParams["font.size"], ax=axis, **look
    )
    for text, k in zip(axis.get_xticklabels(), shown["leaves"], strict=not bare):
        text.set_color(colours.get(groups[k], "0.4"))
    axis.axhline(height, color="black", linestyle=":", linewidth=1.6)
    stretched = (lambda y: np.sqrt(np.maximum(y, 0)), np.square)  # room for the lower merges
    axis.set_yscale("function", functions=stretched)
    axis.set(ylabel="1 − cosine, mean of the pairs", ylim=(0, merges[-1]))
    axis.grid(False)


def _a_leaf_of_each(tree: np.ndarray) -> list[int]:
    """For each node of a tree one of the classes below it; the first nodes are the classes."""
    leaf = list(range(len(tree) + 1))
    for left in tree[:, 0]:
        leaf.append(leaf[int(left)])
    return leaf


# --- Agreement with the hierarchy -------------------------------------------------------------


def correlations(rho: pd.DataFrame, more: pd.DataFrame, ceiling: float | None = None) -> Figure:
    """Spearman's ρ with its intervals, and how far it is above the untrained network's.

    Args:
        rho: columns mean, low and high, a row for each representation.
        more: likewise, of the differences; the column `series` says what an interval is over.
        ceiling: the highest ρ that is possible, a dashed line; None where it is not known.
    """
    panels = {"Spearman's ρ": rho.assign(series="over classes"), "ρ above untrained": more}
    highest = {f"at most {ceiling:.2f}": ceiling} if ceiling else {}
    zero = {"no difference": 0.0}
    lines = {"Spearman's ρ": highest, "ρ above untrained": zero}
    return forest(panels, lines, (9.5, 2 + 0.42 * len(rho)))


def compositions(classes: pd.DataFrame, most: int = 8) -> Figure:
    """Of which groups the largest clusters are made.

    Args:
        classes: columns cluster and group, a row for each class.
        most: the number of clusters drawn.
    """
    colours = colours_of(classes.group.tolist())
    kinds = classes.group.where(classes.group.isin(list(colours)), "others")
    counts = pd.crosstab(classes.cluster, kinds)
    counts = counts.loc[counts.sum(axis=1).nlargest(most).index]
    size = (9.5, 1.8 + 0.4 * len(counts))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    left = np.zeros(len(counts))
    for group in [*colours, "others"]:
        width = counts.get(group, pd.Series(0, counts.index)).to_numpy()
        axis.barh(range(len(counts)), width, left=left, color=colours.get(group, OTHERS))
        left += width
    axis.set_yticks(range(len(counts)), [f"cluster {cluster}" for cluster in counts.index])
    axis.set(xlabel="classes", ylim=(len(counts) - 0.5, -0.5))
    axis.grid(axis="y", visible=False)
    _legend(figure, classes.group.tolist())
    return figure
