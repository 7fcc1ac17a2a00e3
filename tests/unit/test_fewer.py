"""Fewer classes: what their number alone explains, by drawing and counting."""

from itertools import product
from math import comb

import numpy as np
import pytest
import torch

from infomax_nb.analysis.fewer import bounds, dealt, explained

# --- Tasks of fewer classes -----------------------------------------------------------------------


def test_all_classes_are_dealt_out_once():
    tasks = dealt(12, [3, 4])
    assert tasks["classes in it"].tolist() == [3, 3, 3, 3, 4, 4, 4]
    for _, of_size in tasks.groupby("classes in it"):
        assert sorted(np.concatenate(list(of_size.classes))) == list(range(12))
    left_over = dealt(7, [3]).classes
    assert len(left_over) == 2
    assert len(set(np.concatenate(list(left_over)))) == 6


def by_last_feature(train, labels, test):
    """A probe that ranks all classes by how near their number is to a test image's feature."""
    classes = labels.unique()
    return classes[(test[:, :1] - classes).abs().argsort(1)]


def test_what_a_probe_and_the_number_of_classes_explain():
    """Each image of class k has the feature k + 0.6: k + 1 comes first and k second, the last class
    alone is right. Of three classes out of six, k is first where k + 1 is not drawn."""
    labels = torch.arange(6)
    features = labels[:, None] + 0.6
    tasks = dealt(6, [3])
    paths = [("group", str(k)) for k in range(6)]
    both = [labels, labels]
    table = explained({"made": (features, features)}, both, tasks, paths, by_last_feature)
    rows = table.set_index("classes")
    assert rows["fitted anew"][6] == rows["expected"][6] == pytest.approx(100 / 6)
    # rank 2 of 6 is first of 3 if the one before it is not among two of five
    assert rows["expected"][3] == pytest.approx((1 + 5 * 3 / 5) / 6 * 100)
    right = [k + 1 not in task for task in tasks.classes for k in task]
    assert rows["fitted anew"][3] == pytest.approx(100 * np.mean(right))


# --- Bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_bounds_hold_for_all_rankings_and_are_reached(k):
    """Ten images, four of them right at once and three more within the first five, asked about 8 of
    12 classes: all ways to give the others a rank."""
    draws = np.random.default_rng(0).random((4000, 11)).argsort(1)[:, :7]  # of the other classes

    def accuracy(rank: int) -> float:
        before = (draws < rank - 1).sum(1)
        return float((before < k).mean())

    found = []
    for second, beyond in product(range(2, 6), range(6, 13)):
        more = accuracy(second) + accuracy(beyond)
        found.append(40 + 30 * more)
    low, high = bounds(40, 70, n_classes=12, fewer=8, k=k)
    assert min(found) == pytest.approx(low, abs=1.5)
    assert max(found) == pytest.approx(high, abs=1.5)


def test_the_papers_bounds():
    """Of ImageNet-1000's linear head: the others have ranks 2 to 5, or 6 to 1,000."""

    def none_before(rank):
        """The probability that no class before it is among the 99 others that are drawn."""
        return comb(1000 - rank, 99) / comb(999, 99)

    right = 52.12
    first_five = 77.81 - right
    later = 100 - 77.81
    low, high = bounds(right, 77.81, 1000, 100)
    at_least = right + first_five * none_before(5) + later * none_before(1000)
    at_most = right + first_five * none_before(2) + later * none_before(6)
    assert low == pytest.approx(at_least)
    assert high == pytest.approx(at_most)
