"""Near and far tasks, mistakes in the tree, the number of classes alone: where the answer is
known."""

import json
from itertools import combinations, product
from math import comb

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from infomax_nb.analysis.coarse import (
    agreed,
    differences,
    draws,
    expected_accuracy,
    gap,
    gap_text,
    gaps,
    mean_heights,
    neighbours,
    of_clusters,
    of_neighbours,
    reprobe,
    side_by_side,
    subtrees,
    summary,
    superclasses,
    verdict,
    verdicts,
)
from infomax_nb.data import glyphs
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.probe import converged_probe
from infomax_nb.files import project_root

SCALES = ["points", "log-odds"]
# Three levels, uneven: a (a1: 4 classes, a2: 3), b (5 classes), c (a lone class), d (2 classes).
TREE = [("root", "a", "a1", f"a1{k}") for k in range(4)]
TREE += [("root", "a", "a2", f"a2{k}") for k in range(3)]
TREE += [("root", "b", f"b{k}") for k in range(5)]
TREE += [("root", "c")]
TREE += [("root", "d", f"d{k}") for k in range(2)]


def groups(n_groups: int, size: int) -> list[tuple]:
    return [(f"group {g}", f"{g}.{k}") for g in range(n_groups) for k in range(size)]


# --- Trees and draws ------------------------------------------------------------------------------


def test_subtrees_and_superclasses_by_hand():
    below = subtrees(TREE)
    sizes = {node[-1]: len(classes) for node, classes in below.items()}
    assert sizes == {"a": 7, "a1": 4, "a2": 3, "b": 5, "d": 2}
    assert below["root", "a", "a2"] == [4, 5, 6]  # the root holds all classes: no subtree

    def cut(share):  # numbers are arbitrary: which classes are together
        labels = superclasses(TREE, share).tolist()
        return [labels.count(k) for k in dict.fromkeys(labels)]

    assert cut(0.5) == [7, 5, 1, 2]  # of 15 classes at most 7
    assert cut(0.34) == [4, 3, 5, 1, 2]  # at most 5: a is cut
    assert cut(0.27) == [4, 3, 1, 1, 1, 1, 1, 1, 2]  # at most 4: b falls apart


def test_a_class_above_another_does_not_take_it_into_its_superclass():
    """Two of four classes are more than a quarter, so each stands alone: corgi is below dog."""
    paths = [("root", "dog"), ("root", "dog", "corgi"), ("root", "cat"), ("root", "cow")]
    assert len(set(superclasses(paths).tolist())) == 4


@pytest.mark.parametrize("n", [24, 48, 340])
def test_superclasses_of_glyphs_are_their_groups(n):
    names = [group for group, _ in glyphs.classes(n)]
    numbers = superclasses(glyphs.classes(n)).tolist()
    pairs = set(zip(names, numbers, strict=True))
    assert len(pairs) == len(set(names)) == len(set(numbers))


@pytest.mark.parametrize(
    ("paths", "size"), [(glyphs.classes(340), 20), (glyphs.classes(48), 6), (TREE, 4)]
)
def test_near_draws_lie_in_one_subtree_and_far_ones_in_as_many_groups_as_there_are(paths, size):
    table = draws(paths, size, n=18)
    assert table.kind.tolist() == ["near"] * 18 + ["far"] * 18
    for classes in table.classes:
        assert len(set(classes)) == size
        assert list(classes) == sorted(classes)
    numbers = superclasses(paths).numpy()
    n_groups = len(set(numbers))
    for row in table.itertuples():
        if row.kind == "near":
            assert all(row.subtree in paths[k][:-1] for k in row.classes)
        else:
            taken = np.bincount(numbers[row.classes], minlength=n_groups)
            assert taken.max() <= -(-size // n_groups)
            assert (taken > 0).sum() == min(size, n_groups)
    near = table[table.kind == "near"]
    counts = near.subtree.value_counts()
    assert counts.max() - counts.min() <= 1  # subtrees take turns
    smallest = set(counts.index)  # none of them holds another
    for path in paths:
        assert len(smallest & set(path)) <= 1
    other = draws(paths, size, n=18, seed=1)
    again = draws(paths, size, n=18)
    assert all(map(np.array_equal, table.classes, again.classes))
    for kind in ("near", "far"):
        ours = table[table.kind == kind].classes
        theirs = other[other.kind == kind].classes
        assert not all(map(np.array_equal, ours, theirs))


def test_near_draws_use_the_smallest_subtrees_that_are_large_enough():
    def used(size):
        return set(draws(TREE, size, n=9).subtree[:9])

    assert used(3) == {"a1", "a2", "b"}
    assert used(4) == {"a1", "b"}
    assert used(5) == {"a", "b"}
    assert used(6) == {"a"}


@pytest.mark.parametrize(
    ("paths", "size", "most"), [(glyphs.classes(48), 7, 6), (TREE, 8, 7), (TREE, 1, 7)]
)
def test_a_subset_that_no_subtree_holds(paths, size, most):
    sentence = f"^subset = {size} is not allowed: it must be 2 to {most}, "
    with pytest.raises(ParameterError, match=sentence):
        draws(paths, size)


# --- Tasks ----------------------------------------------------------------------------------------


def coarse_features(n_groups: int, size: int, images: int = 4):
    """All images of a group have one direction, but that training images are a little aside, more
    so in later classes.

    So the nearest neighbours of a test image are those of the first class of its group that takes
    part.
    """
    labels = torch.arange(n_groups * size).repeat_interleave(images)
    queries = torch.eye(n_groups + 1)[labels // size]
    bank = queries.clone()
    bank[:, -1] = 0.01 * (1 + labels % size)
    return (bank, queries), [labels, labels]


def test_features_that_know_the_group_and_nothing_else():
    paths = groups(5, 4)
    features, labels = coarse_features(5, 4)
    subsets = draws(paths, 4, n=10)
    row = ("all", 0, "all", np.arange(20))
    whole = pd.DataFrame([row], columns=subsets.columns)
    tasks = pd.concat([subsets, whole])
    scores = reprobe({"made": features}, labels, tasks, paths).assign(seed=0)
    means = scores.groupby("kind").accuracy.agg(["min", "max"])
    # One class of four is always right; of four groups all are; of the whole, one class in each
    # group.
    assert means.loc["near"].tolist() == [25, 25]
    assert means.loc["far"].tolist() == [100, 100]
    assert means.loc["all"].tolist() == [25, 25]
    assert gap(scores, "made") == {"gap": 75, "low": 75, "high": 75}

    by_kind = dict(list(scores.groupby("kind")))
    far = by_kind["far"]
    near = by_kind["near"]
    whole = by_kind["all"].iloc[0]
    assert (far.mistakes == 0).all()
    assert (far.height == 0).all()
    assert (far.shuffled == 0).all()
    assert (near.height == near.mistakes).all()  # in a group all are one edge up
    assert (near.mistakes == 12).all()
    # 60 mistakes, all one edge up; shuffled, one of five wrong answers stays in the group, the
    # others are two up.
    assert whole.mistakes == 60
    assert whole.height == 60
    mean_height = 1 / 5 * 1 + 4 / 5 * 2
    assert whole.shuffled == pytest.approx(60 * mean_height)
    assert whole.log_odds == pytest.approx(np.log(20.5 / 60.5))


def test_fine_features_have_no_gap():
    labels = torch.arange(20).repeat_interleave(3)
    x = torch.eye(20)[labels]
    paths = groups(5, 4)
    tasks = draws(paths, 4)
    features = {"fine": (x, x)}
    scores = reprobe(features, [labels, labels], tasks, paths)
    assert (scores.accuracy == 100).all()
    assert gap(scores.assign(seed=0), "fine")["gap"] == 0


def test_each_subset_is_a_task_of_its_own():
    """Against scikit-learn's k-NN and logistic regression on the images of the subset,
    relabelled."""
    rng = np.random.default_rng(0)
    paths = groups(4, 3)
    labels = [torch.from_numpy(rng.integers(0, 12, n)) for n in (300, 200)]
    centres = rng.normal(size=(12, 6))
    features = []
    for y in labels:
        x = centres[y] + 1.5 * rng.normal(size=(len(y), 6))
        features.append(torch.from_numpy(x).float())
    tasks = draws(paths, 3, n=3)
    with pytest.raises(ParameterError, match="n_train: none of the classes .* has training"):
        reprobe({"x": features}, [labels[0] * 0, labels[1]], tasks, paths)
    nearest = reprobe({"x": features}, labels, tasks, paths)
    linear = reprobe({"x": features}, labels, tasks, paths, converged_probe)
    for k, classes in enumerate(tasks.classes):
        known, asked = (np.isin(part, classes) for part in labels)
        x = features[0][known]
        y = labels[0][known].numpy()
        q = features[1][asked]
        t = labels[1][asked].numpy()

        def votes(distance):
            return np.exp((1 - distance) / 0.1)

        few = min(np.bincount(y)[classes])
        peer = KNeighborsClassifier(few, metric="cosine", weights=votes).fit(x, y)
        accuracy = 100 * peer.score(q, t)
        assert nearest.accuracy[k] == pytest.approx(accuracy, abs=1e-9)
        peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(x, y)
        assert linear.accuracy[k] == pytest.approx(100 * peer.score(q, t), abs=1e-9)
    assert 30 < nearest.accuracy.mean() < 95
    assert not np.array_equal(nearest.accuracy, linear.accuracy)


@pytest.mark.parametrize(
    ("order", "says"),
    [("011", 0), ("01100111", 1), ("0110011010", 0)],
    ids=["k=1", "k=3", "k=5"],
)
def test_k_is_the_number_of_images_of_the_rarest_class(order, says):
    """`order`: classes of the training images, the nearest first, all at nearly the same
    distance."""
    labels = torch.tensor([int(digit) for digit in order])
    angle = 0.001 * torch.arange(1, 1 + len(order))
    bank = torch.stack([angle.cos(), angle.sin()], 1)
    query = torch.tensor([[1.0, 0.0]])
    ranked = neighbours(bank, labels, query)
    assert ranked.tolist() == [[says, 1 - says]]


def height(a: tuple, b: tuple) -> int:
    """Of the lowest common ancestor, from the paths alone."""
    shared = sum(node == other for node, other in zip(a, b, strict=False))
    return max(len(a), len(b)) - shared


def test_shuffled_mistakes_against_shuffling_them():
    rng = np.random.default_rng(0)
    paths = TREE
    truth = rng.integers(0, 15, 400)
    predicted = rng.integers(0, 15, 400) ** 2 // 15  # early classes more often
    labels = torch.from_numpy(truth)
    task = pd.DataFrame({"kind": ["all"], "classes": [np.arange(15)]})

    def probe(x, y, queries):
        return torch.from_numpy(predicted)[:, None]

    both = [labels, labels]
    row = reprobe({"x": both}, both, task, paths, probe).iloc[0]
    table = np.array([[height(a, b) for a in paths] for b in paths])
    wrong = truth != predicted
    assert row.mistakes == wrong.sum()
    assert row.accuracy == pytest.approx(100 * (~wrong).mean())
    assert row.height == table[truth[wrong], predicted[wrong]].sum()
    means = []
    for _ in range(2000):
        mixed = rng.permutation(predicted[wrong])
        still = mixed != truth[wrong]
        means.append(table[truth[wrong], mixed][still].mean())
    error = np.std(means) / 2000**0.5
    assert row.shuffled / row.mistakes == pytest.approx(np.mean(means), abs=5 * error)


# --- The number of classes alone ------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("fewer", [2, 3, 6, 7])
def test_expected_accuracy_against_all_subsets(fewer, k):
    """Seven classes, random scores: every subset that holds the true class, one by one."""
    rng = np.random.default_rng(fewer)
    scores = rng.normal(size=(30, 7))
    truth = rng.integers(0, 7, 30)
    hits = []
    ranks = []
    for row, t in zip(scores, truth, strict=True):
        ranks.append(1 + int((row > row[t]).sum()))
        rest = [c for c in range(7) if c != t]
        for others in combinations(rest, fewer - 1):
            hits.append(sum(row[o] > row[t] for o in others) < k)
    assert expected_accuracy(torch.tensor(ranks), 7, fewer, k) == pytest.approx(100 * np.mean(hits))


def test_expected_accuracy_is_the_binomial_ratio():
    for rank in (1, 3, 40, 902):
        exact = comb(1000 - rank, 99) / comb(999, 99)
        assert expected_accuracy(torch.tensor([rank]), 1000, 100) == pytest.approx(100 * exact)
    ranks = torch.arange(1, 5)
    assert expected_accuracy(ranks, 4, 4) == pytest.approx(25)


def test_expected_accuracy_against_drawn_subsets():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 60, 500)
    scores = rng.normal(size=(500, 60))
    scores[np.arange(500), truth] += 1.5
    own = scores[np.arange(500), truth]
    ranks = 1 + (scores > own[:, None]).sum(1)
    drawn = []
    for _ in range(300):
        classes = np.sort(rng.permutation(60)[:12])
        rows = np.isin(truth, classes)
        best = classes[scores[rows][:, classes].argmax(1)]
        drawn.append((best == truth[rows]).sum() / (500 * 12 / 60))
    error = np.std(drawn) / 300**0.5
    expected = expected_accuracy(ranks, 60, 12)
    assert 100 * np.mean(drawn) == pytest.approx(expected, abs=400 * error)
    assert expected > expected_accuracy(ranks, 60, 60) + 10


# --- The gap and its interval ---------------------------------------------------------------------


def scored(far: np.ndarray, near: np.ndarray, subtree=None) -> pd.DataFrame:
    """Rows of two representations (2, seeds, draws)."""
    rows = []
    for kind, values in (("far", far), ("near", near)):
        for (r, s, d), value in np.ndenumerate(values):
            tree = subtree[d] if kind == "near" and subtree else f"{kind} {d}"
            name = ["ours", "other"][r]
            rows.append((name, s, kind, d, tree, value))
    columns = ["representation", "seed", "kind", "draw", "subtree", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def test_gap_of_one_seed_against_scipys_bootstrap():
    rng = np.random.default_rng(0)
    far = 80 + 5 * rng.normal(size=(2, 1, 20))
    near = 60 + 9 * rng.normal(size=(2, 1, 20))
    got = gap(scored(far, near), "ours", "other")
    samples = [values[0, 0] - values[1, 0] for values in (far, near)]
    means = [sample.mean() for sample in samples]
    assert got["gap"] == pytest.approx(means[0] - means[1])

    def statistic(f, n, axis):
        return f.mean(axis) - n.mean(axis)

    resampled = bootstrap(samples, statistic, n_resamples=20_000, method="percentile", rng=1)
    peer = resampled.confidence_interval
    width = peer.high - peer.low
    assert abs(got["low"] - peer.low) < 0.04 * width
    assert abs(got["high"] - peer.high) < 0.04 * width
    alone = gap(scored(far, near), "ours")
    expected = far[0].mean() - near[0].mean()
    assert alone["gap"] == pytest.approx(expected)
    assert alone["low"] < alone["gap"] < alone["high"]


def test_the_interval_counts_seeds_not_draws():
    """All 20 draws of a seed agree: what is sure is what three seeds can say, from the lowest to
    the highest."""
    near = np.zeros((2, 3, 20))
    far = np.zeros((2, 3, 20))
    far[0] = np.array([1.0, 2.0, 6.0])[:, None]
    got = gap(scored(far, near), "ours", "other")
    # All three the lowest: 1 of 27, more than 2.5%.
    assert got == pytest.approx({"gap": 3, "low": 1, "high": 6})


def test_the_interval_by_subtrees():
    """Ten draws of a subtree agree: by draws the interval is narrow, by subtrees it reaches from
    one to the other."""
    near = np.zeros((2, 1, 20))
    far = np.zeros((2, 1, 20))
    near[0, 0, ::2] = -8
    table = scored(far, near, ["left", "right"] * 10)
    by_draw = gap(table, "ours", "other")
    by_subtree = gap(table, "ours", "other", "subtree")
    # 1 of 4 that both are the same
    assert by_subtree == pytest.approx({"gap": 4, "low": 0, "high": 8})
    assert by_draw["gap"] == 4
    error = 4 / 20**0.5
    assert by_draw["low"] == pytest.approx(4 - 1.96 * error, abs=0.5)


def test_the_gap_of_another_column():
    level = np.ones((2, 1, 4))
    table = scored(90 * level, 70 * level)
    table["log_odds"] = table.accuracy / 10
    got = gap(table, "ours", value="log_odds")
    assert got == pytest.approx({"gap": 2, "low": 2, "high": 2})


def test_verdicts_have_a_row_for_each_other_probe_and_scale():
    """Ours falls by 30 points from far to near, SimCLR by 10, as far as k-NN says."""
    level = np.ones((2, 1, 4))
    near = np.stack([60 * level[0], 80 * level[0]])
    table = scored(90 * level, near)
    names = {"ours": "infomax", "other": "simclr"}
    table = table.replace({"representation": names}).assign(probe="k-NN")
    table["log_odds"] = 0.0
    linear = table.assign(probe="linear", accuracy=50.0)
    found = verdicts(pd.concat([table, linear]))
    expected = product(["simclr"], ["k-NN", "linear"], SCALES)
    assert found.index.tolist() == list(expected)
    assert found.columns.tolist() == ["by subtrees", "by draws"]
    supported = "+20.00 [+20.00, +20.00], supported"
    nothing = "+0.00 [+0.00, +0.00], not supported"
    assert found["by draws"].tolist() == [supported, nothing, nothing, nothing]


def test_every_other_representation_is_compared_and_without_ours_none():
    level = 80 * np.ones((2, 1, 4))
    table = scored(level, level).assign(probe="k-NN", log_odds=0.0)
    table = table.replace({"representation": {"ours": "infomax"}})
    others = ["other", "byol", "dino"]
    more = table[table.representation == "other"]
    every = [table, *(more.assign(representation=name) for name in others[1:])]
    both = pd.concat(every + [each.assign(probe="linear") for each in every])
    assert differences(both).other.unique().tolist() == others
    alone = differences(both[both.representation != "infomax"])
    assert len(alone) == 0 and "unit" in alone


def test_one_subtree_gives_no_interval():
    """Its draws share classes: resampling the one unit would show no spread at all."""
    rng = np.random.default_rng(0)
    table = scored(80 + rng.normal(size=(2, 1, 6)), 60 + rng.normal(size=(2, 1, 6)))
    table.loc[table.kind == "near", "subtree"] = "dogs"
    found = gap(table, "ours", unit="subtree")
    assert np.isnan([found["low"], found["high"]]).all()
    assert found["gap"] == pytest.approx(gap(table, "ours")["gap"])
    assert verdict(found) == "one unit"


def test_the_differences_of_data_sets_stand_below_each_other():
    rows = {name: pd.DataFrame({"other": ["simclr", "vicreg"]}) for name in ("a", "b")}
    found = side_by_side(rows | {"c": pd.DataFrame({"other": ["vicreg", "byol"]})})
    pairs = list(zip(found.other, found.data, strict=True))
    of_vicreg = [("vicreg", name) for name in "abc"]
    assert pairs == [("simclr", "a"), ("simclr", "b"), *of_vicreg, ("byol", "c")]


def test_differences_are_those_of_the_gaps():
    rng = np.random.default_rng(3)
    far = 80 + rng.normal(size=(2, 2, 6))
    near = 60 + rng.normal(size=(2, 2, 6))
    names = {"ours": "infomax", "other": "vicreg"}
    table = scored(far, near).replace({"representation": names}).assign(probe="k-NN")
    table["log_odds"] = table.accuracy / 10
    table = pd.concat([table, table.assign(probe="linear")])
    found = differences(table)
    assert len(found) == 2 * 2 * 2  # probes, scales, units
    own = gaps(table).query("probe == 'k-NN'").set_index("representation")
    expected = own.gap["infomax"] - own.gap["vicreg"]
    points = found[(found.scale == "points") & (found.unit == "subtree")]
    assert points.gap.tolist() == pytest.approx([expected, expected])
    assert own.far["infomax"] == pytest.approx(far[0].mean())
    assert own.near["vicreg"] == pytest.approx(near[1].mean())


def test_a_summary_of_features_that_know_the_group_alone():
    """Far tasks are all right, near ones a quarter; mistakes stay one edge up (as above)."""
    paths = groups(5, 4)
    features, labels = coarse_features(5, 4)
    subsets = draws(paths, 4, n=10)
    whole = pd.DataFrame([("all", 0, "all", np.arange(20))], columns=subsets.columns)
    tasks = pd.concat([subsets, whole])
    scores = reprobe({"made": features}, labels, tasks, paths).assign(seed=0, probe="k-NN")
    assert mean_heights(scores).loc["made"].tolist() == pytest.approx([1, 1.8])
    row = summary(scores).loc["made"]
    assert row.tolist() == ["100.0", "25.0", "75.0 [75.0, 75.0]", "1.00", "1.80"]


def test_two_levels_of_labels():
    """Such features give the superclass of every image, and the class of a quarter."""
    (bank, queries), (labels, truth) = coarse_features(5, 4)
    superclass = torch.arange(20) // 4
    answers = of_neighbours(bank, labels, queries, truth, superclass)
    assert answers["superclass"] == 100
    assert answers["top-1"] == 25
    noise = torch.randn(queries.shape, generator=torch.Generator().manual_seed(0))
    together = of_clusters(queries + 0.001 * noise, truth, superclass)
    assert together["ARI coarse"] == together["NMI coarse"] == pytest.approx(1)
    assert together["ARI fine"] < 0.5


def test_the_first_five_of_six_classes():
    """They have 5, 4, 3, 2, 1 and 0 of the 15 neighbours; the queries are one of each class."""
    labels = torch.arange(6).repeat_interleave(15)
    votes = torch.tensor([5, 4, 3, 2, 1, 0])
    near = (torch.arange(15) < votes[:, None]).flatten()
    bank = torch.where(near[:, None], torch.tensor([1.0, 0.01]), torch.tensor([0.0, 1.0]))
    queries = torch.tensor([[1.0, 0.0]]).expand(6, 2)
    superclass = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = {"top-1": 100 / 6, "top-5": 500 / 6, "top-5 − top-1": 400 / 6, "superclass": 50}
    found = of_neighbours(bank, labels, queries, torch.arange(6), superclass)
    assert found == pytest.approx(expected)


def test_verdicts_that_differ_are_mixed():
    assert agreed(["supported", "supported"]) == "supported"
    assert agreed(["supported", "reversed"]) == "mixed"


# --- What is committed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "title", "seeds"),
    [("coarse_glyphs", "glyphs, 340 classes", 3), ("coarse_tiny_imagenet", "Tiny-ImageNet", 1)],
)
def test_the_committed_gaps_are_those_of_the_draws(result, title, seeds):
    """Tables and the notebook's last table, computed anew from the accuracies of the single
    draws."""
    folder = project_root() / "reports" / result
    drawn = pd.read_csv(folder / "draws.csv")
    table = pd.read_csv(folder / "table.csv", index_col=0)
    records = json.loads((folder / "records.json").read_text())
    assert len(records) == 4 * seeds
    assert all(r["commit"] for r in records)
    subsets = drawn[drawn.kind != "all"]
    sizes = subsets.groupby(["representation", "probe", "kind", "seed"]).size()
    assert (sizes == 20).all()
    assert set(table.index) == {"infomax", "simclr", "vicreg", "supervised", "untrained"}
    assert set(table.index) == set(drawn.representation)
    subtrees = drawn.groupby(["representation", "probe", "kind", "subtree"]).accuracy.mean()
    means = subtrees.groupby(["representation", "probe", "kind"]).mean()
    for name, row in table.iterrows():
        for probe in ("k-NN", "linear"):
            far, near = (means[name, probe, kind] for kind in ("far", "near"))
            shown = [
                row[f"{probe}, far"],
                row[f"{probe}, near"],
                float(row[f"{probe}, gap"].split(" [")[0]),
            ]
            assert shown == pytest.approx([far, near, far - near], abs=0.0501)  # one decimal
    notebook = (project_root() / "notebooks/09_coarse_vs_fine.ipynb").read_text("utf-8")
    for other, probe in product(("simclr", "supervised"), ("k-NN", "linear")):
        part = drawn[drawn.probe == probe]
        interval = gap(part, "infomax", other, "subtree")
        assert f"{gap_text(interval)}, {verdict(interval)}" in notebook, (title, probe, other)
