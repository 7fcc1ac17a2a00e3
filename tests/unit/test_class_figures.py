"""Drawings of notebooks 07 and 09: that they show the numbers and the colours they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from scipy.cluster.hierarchy import linkage

from infomax_nb.figures import coarse, trees

NAMES = list("uvwxyz")
GROUPS = list("ababab")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def likeness() -> np.ndarray:
    """Even classes are alike, and odd ones."""
    same = np.equal.outer(np.arange(6) % 2, np.arange(6) % 2)
    return np.where(np.eye(6), 1, np.where(same, 0.9, 0.2))


def strip_of(figure) -> list:
    """The colours of the strip, from top to bottom."""
    axes = [axis for axis in figure.axes if len(axis.patches) == 6]
    return [patch.get_facecolor() for patch in axes[0].patches]


@pytest.mark.parametrize("order", [range(6), [1, 0, 3, 2, 5, 4]])
def test_the_strip_has_the_colours_of_the_legend(order):
    """Whatever the order of the rows, which is the tree's."""
    rows = np.ix_(order, order)
    groups = [GROUPS[k] for k in order]
    names = [NAMES[k] for k in order]
    figure = trees.sorted_matrix(likeness()[rows], names, groups)
    written = [axis.get_yticklabels() for axis in figure.axes if axis.get_images()]
    shown = [text.get_text() for text in written[0]]
    legend = dict(zip("ab", ("C0", "C1"), strict=True))
    if groups[0] == "b":
        legend = dict(zip("ba", ("C0", "C1"), strict=True))
    expected = [to_rgba(legend[GROUPS[NAMES.index(name)]]) for name in shown]
    assert strip_of(figure) == expected


@pytest.mark.parametrize("clusters", range(1, 7))
def test_the_cut_is_between_two_merges(clusters):
    """Of a tree whose merges have six heights: 1, 2, 4, 8 and 16, with the leaves at 0."""
    places = np.array([0, 1, 3, 7, 15, 31.0])
    tree = linkage(places[:, None], "single")
    figure = trees.cut_tree(tree, NAMES, GROUPS, clusters, pd.DataFrame())
    (cut,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    heights = [0, *tree[:, 2], np.inf]
    assert heights[6 - clusters] < cut.get_ydata()[0] < heights[7 - clusters]


def test_squares_show_their_numbers():
    table = pd.DataFrame({"ours": [50.4, 99], "raw pixels": [31, 70]}, ["dice (n01)", "cards"])
    figure = trees.squares(table)
    assert [text.get_text() for text in figure.axes[0].texts] == ["50", "31", "99", "70"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["dice", "cards"]


def test_compositions_have_a_bar_for_each_of_the_largest_clusters():
    cluster = [1, 1, 1, 2, 2, 3]
    classes = pd.DataFrame({"cluster": cluster, "group": ["a", "a", "b", "b", "lone", "a"]})
    figure = trees.compositions(classes, most=2)
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["cluster 1", "cluster 2"]
    ends = [patch.get_x() + patch.get_width() for patch in axis.patches]
    assert ends[-2:] == [3, 2]


def test_the_papers_numbers_are_drawn_with_their_bounds():
    row = {"all classes": 52.0, "fewer classes": 68.0, "low": 69.0, "high": 88.0}
    figure = coarse.numbers_alone(pd.DataFrame({"linear, top-1": row}).T)
    axis = figure.axes[0]
    bar = axis.patches[0]
    assert (bar.get_x(), bar.get_width()) == (69, 19)
    assert [float(line.get_xdata()[0]) for line in axis.lines] == [52, 68]


def test_differences_name_our_method_as_people_do():
    rows = {"other": "simclr", "probe": ["k-NN", "linear"] * 2, "unit": "subtree", "gap": 1.0}
    table = pd.DataFrame(rows).assign(scale=["points"] * 2 + ["log-odds"] * 2, low=0.5, high=2.0)
    figure = coarse.differences(table)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["SimCLR"]
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "difference in points",
        "difference in log-odds",
    ]
