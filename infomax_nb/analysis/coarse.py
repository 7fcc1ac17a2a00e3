"""Is a representation coarse? The paper's Section 4 says so of its own; here the claim can fail.

Features that tell groups of classes apart, but not the classes in a group, serve a classifier well
for classes that lie far apart in a known tree and badly for near ones. `paths` are those of
`centroids.hierarchy`: for each class the nodes from the root down to it. A node is the tuple of
names down to it, the beginning of the paths below it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.stats import hypergeom
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.analysis.centroids import lca_height
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.seeds import Use, stream

SCALES = {"accuracy": "points", "log_odds": "log-odds"}  # of a gap, by the column of `reprobe`
PROBES = ("k-NN", "linear")

# --- Near and far classes ---------------------------------------------------------------------


def _is_below(path: tuple, node: tuple) -> bool:
    """Whether a class or node is the node, or below it."""
    return path[: len(node)] == node


def subtrees(paths: list[tuple]) -> dict[tuple, list[int]]:
    """The classes below each inner node of the tree, without nodes that hold all classes."""
    nodes = sorted({path[:depth] for path in paths for depth in range(1, len(path))})
    below = {}
    for node in nodes:
        classes = [k for k, path in enumerate(paths) if _is_below(path, node)]
        if len(classes) < len(paths):
            below[node] = classes
    return below


def superclasses(paths: list[tuple], share: float = 0.25) -> Tensor:
    """The number of each class's superclass, (classes,).

    That is the highest node above it with at most `share` of all classes: the groups of glyphs, and
    a cut through WordNet that is level in classes, not in depth. A class without such a node is a
    superclass of its own.
    """
    most = share * len(paths)
    nodes = [node for node, classes in subtrees(paths).items() if len(classes) <= most]
    tops = []
    for number, path in enumerate(paths):
        above = (k for k, node in enumerate(nodes) if _is_below(path, node))
        tops.append(next(above, len(nodes) + number))  # the highest: parents before children
    return torch.tensor(tops).unique(return_inverse=True)[1]


def draws(paths: list[tuple], size: int, n: int = 20, seed: int = 0) -> pd.DataFrame:
    """Near and far subsets of the classes, drawn at random.

    Near: classes within one of the smallest subtrees that have enough of them; these take turns.
    Far: as many superclasses as there are take part, each with as many classes as any other: at
    most ⌈size / g⌉ from each of g, where they have them.

    Args:
        paths: of all classes.
        size: number of classes in a subset.
        n: number of subsets of each kind.
        seed: of the draws.

    Returns:
        Columns kind, draw, subtree (of the near ones) and classes (sorted).

    Raises:
        ParameterError: no subtree but the whole has `size` classes.
    """
    below = subtrees(paths)
    most = max(map(len, below.values()), default=0)
    if not 2 <= size <= most:
        raise not_allowed("subset", size, f"2 to {most}, the classes of one subtree")
    rng = np.random.default_rng([9, seed])
    large = [node for node, classes in below.items() if len(classes) >= size]
    smallest = [a for a in large if not any(_is_below(b, a) for b in large if a != b)]
    order = rng.permutation(len(smallest))
    rows = []
    for draw, turn in enumerate(np.resize(order, n)):  # which begins again at the end
        node = smallest[turn]
        classes = np.sort(rng.choice(below[node], size, replace=False))
        rows.append(("near", draw, node[-1], classes))
    groups = superclasses(paths)
    for draw in range(n):
        chosen = stratified(groups, size, stream(seed, draw, Use.FAR_CLASSES))
        rows.append(("far", draw, f"far {draw}", chosen.sort().values.numpy()))
    return pd.DataFrame(rows, columns=["kind", "draw", "subtree", "classes"])


# --- Two levels of labels ---------------------------------------------------------------------


def of_neighbours(
    train: Tensor, labels: Tensor, test: Tensor, truth: Tensor, superclass: Tensor
) -> dict[str, float]:
    """Accuracies of k-NN in percent, for classes and superclasses.

    Args:
        train: features (N, D).
        labels: (N,).
        test: features (M, D).
        truth: labels (M,).
        superclass: of each class, (classes,).

    Returns:
        `top-1`, `top-5`, their difference, and `superclass`: how often the class that is predicted
        first is at least of the right superclass.
    """
    ranking = neighbours(train, labels, test)
    top1 = topk_accuracy(ranking, truth, 1)
    top5 = topk_accuracy(ranking, truth, 5)
    right_group = topk_accuracy(superclass[ranking], superclass[truth], 1)
    return {"top-1": top1, "top-5": top5, "top-5 − top-1": top5 - top1, "superclass": right_group}


def of_clusters(test: Tensor, truth: Tensor, superclass: Tensor) -> dict[str, float]:
    """How well clusters of unit features agree with the labels of either level.

    The clusters are those of k-means, as many as there are superclasses or classes.

    Args:
        test: features (M, D).
        truth: labels (M,).
        superclass: of each class, (classes,).

    Returns:
        Normalised mutual information (NMI) and adjusted Rand index (ARI), `coarse` and `fine`.
    """
    from sklearn import cluster, metrics  # takes a second

    unit = normalize(test).numpy()
    found = {}
    for level, known in {"coarse": superclass[truth], "fine": truth}.items():
        means = cluster.KMeans(len(known.unique()), n_init=1, random_state=0)
        clusters = means.fit_predict(unit)
        found[f"NMI {level}"] = metrics.normalized_mutual_info_score(known, clusters)
        found[f"ARI {level}"] = metrics.adjusted_rand_score(known, clusters)
    return found


# --- Subsets as tasks of their own ------------------------------------------------------------


def neighbours(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """The ranking of the classes by k-NN, with k = images of the rarest class, at most 200.

    Args:
        train: features (N, D).
        labels: (N,); classes without images do not count as the rarest.
        test: features (M, D).

    Returns:
        Classes by falling score, (M, classes).
    """
    counts = labels.unique(return_counts=True)[1]
    return knn(train, labels, test, int(labels.max()) + 1, min(200, int(counts.min())))


def reprobe(
    represented: Mapping[str, Sequence[Tensor]],
    labels: Sequence[Tensor],
    subsets: pd.DataFrame,
    paths: list[tuple],
    probe: Callable[[Tensor, Tensor, Tensor], Tensor] = neighbours,
) -> pd.DataFrame:
    """Each subset of classes as a task: a probe is fitted to its training images and tested.

    Args:
        represented: for each name the features (N, D), (M, D) of training and test images, as of
            `probe.represent`.
        labels: (N,), (M,).
        subsets: as of `draws`; all columns are kept.
        paths: of all classes.
        probe: maps training features, their labels and test features to classes by falling score.

    Returns:
        A row for each representation and subset, with the columns of `mistakes`.

    Raises:
        ParameterError: no class of a subset has training images.
    """
    heights = lca_height(paths)
    train_labels, test_labels = labels
    rows = []
    for name, (train, test) in represented.items():
        for subset in subsets.to_dict("records"):
            classes = torch.as_tensor(subset["classes"])
            fitted = torch.isin(train_labels, classes)
            if not fitted.any():
                none = f"none of the classes {classes.tolist()} has training images"
                raise ParameterError(f"n_train: {none}.")
            tested = torch.isin(test_labels, classes)
            ranked = probe(train[fitted], train_labels[fitted], test[tested])
            measured = mistakes(test_labels[tested], ranked[:, 0], heights)
            rows.append({"representation": name, **subset, **measured})
    return pd.DataFrame(rows)


def mistakes(truth: Tensor, predicted: Tensor, heights: np.ndarray) -> dict[str, float]:
    """How many predictions are wrong, and by how much.

    Args:
        truth: classes (M,).
        predicted: classes (M,).
        heights: (classes, classes), those of the lowest common ancestor of two classes; 0 of a
            class and itself.

    Returns:
        `accuracy` in percent; its `log_odds`, with half an image added to right and wrong; the
        number of `mistakes`; and, summed over them, the `height` from true to predicted class, and
        the height expected if the wrong predictions were `shuffled` among the mistakes (those that
        would then be right left out).
    """
    cells = truth * len(heights) + predicted  # of the confusion matrix, row by row
    confusion = cells.bincount(minlength=heights.size).view(heights.shape)
    wrong = confusion.fill_diagonal_(0).numpy()
    n_wrong = wrong.sum()
    n_right = len(truth) - n_wrong
    of_true = wrong.sum(1)
    of_predicted = wrong.sum(0)
    # Of all pairs of a mistake's true class with a mistake's prediction; those that are right have
    # no height.
    pairs_still_wrong = n_wrong**2 - of_true @ of_predicted
    return {
        "accuracy": 100 * n_right / len(truth),
        "log_odds": np.log((n_right + 0.5) / (n_wrong + 0.5)),
        "mistakes": n_wrong,
        "height": (wrong * heights).sum(),
        "shuffled": n_wrong * (of_true @ heights @ of_predicted) / max(pairs_still_wrong, 1),
    }


def expected_accuracy(ranks: ArrayLike, n_classes: int, fewer: int, k: int = 1) -> float:
    """Top-k in percent that a ranking gives when only some classes, drawn at random, are left.

    An image whose true class has rank r is right if fewer than k of the r − 1 classes before it are
    among the fewer − 1 others that are left: hypergeometric; C(n − r, fewer − 1) / C(n − 1,
    fewer − 1) for k = 1.

    Args:
        ranks: (M,), from 1, of each image's true class.
        n_classes: n, ranked.
        fewer: classes that are left.
        k: of top-k.
    """
    before = hypergeom(n_classes - 1, np.asarray(ranks) - 1, fewer - 1)
    return 100 * before.cdf(k - 1).mean()


# --- The gap and the verdict ------------------------------------------------------------------


def gap(
    scores: pd.DataFrame, name: str, other: str | None = None, unit="draw", value="accuracy"
) -> dict[str, float]:
    """The far − near gap of a representation, or what it has more than another's.

    Args:
        scores: rows of `reprobe`, with a column `seed`.
        name: the representation.
        other: the one whose gap is subtracted.
        unit: what is resampled beside seeds, 10,000 times: each `draw`, or the near ones by whole
            `subtree`s (their draws' mean): the unit where near draws of one subtree share classes.
        value: the column to compare; accuracy gives points.

    Returns:
        `gap` and its bootstrap 95% interval, `low` to `high`; the ends are NaN where there is one
        unit alone. Two representations are compared in the seeds that both have.
    """

    def by_unit(kind: str) -> np.ndarray:  # (seeds, units)
        of_kind = scores[scores.kind == kind]
        table = of_kind.pivot_table(value, ["representation", "seed"], unit)
        own = table.loc[name]
        return (own - table.loc[other]).dropna(how="all").to_numpy() if other else own.to_numpy()

    far = by_unit("far")
    near = by_unit("near")
    between = far.mean() - near.mean()
    if min(far.shape[1], near.shape[1]) < 2:
        return {"gap": between, "low": np.nan, "high": np.nan}
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(far), size=(10_000, len(far), 1))  # the same seeds for far and near
    gaps = _resampled_means(far, drawn, rng) - _resampled_means(near, drawn, rng)
    low, high = np.quantile(gaps, [0.025, 0.975])
    return {"gap": between, "low": low, "high": high}


def _resampled_means(values: np.ndarray, seeds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of values (seeds, units) over each draw of seeds, (draws,).

    Args:
        values: a row for each seed.
        seeds: the numbers of the seeds of each draw, (draws, seeds, 1).
        rng: draws as many units as there are, for each draw of seeds.
    """
    n_units = values.shape[1]
    units = rng.integers(n_units, size=(len(seeds), 1, n_units))
    return values[seeds, units].mean((1, 2))


def gap_text(interval: Mapping[str, float]) -> str:
    """A `gap` as text.

    >>> gap_text({"gap": 1.5, "low": -0.25, "high": 3})
    '+1.50 [-0.25, +3.00]'
    """
    return "{gap:+.2f} [{low:+.2f}, {high:+.2f}]".format(**interval)


def verdict(interval: Mapping[str, float]) -> str:
    """`supported`, `reversed` or `not supported`: where the interval of a `gap` lies against 0.

    `one unit` if there is no interval.
    """
    if np.isnan(interval["low"]):
        return "one unit"
    if interval["low"] > 0:
        return "supported"
    return "reversed" if interval["high"] < 0 else "not supported"


def agreed(words: Sequence[str]) -> str:
    """What all verdicts say, or `mixed`."""
    return words[0] if len(set(words)) == 1 else "mixed"


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """InfoMax's gap less another representation's.

    Args:
        scores: rows of `reprobe`, with columns `seed` and `probe`.

    Returns:
        A row for each other representation, probe, scale (points, log-odds) and unit (subtree,
        draw), with the columns of `gap` and the `verdict`; none where InfoMax was not measured.
    """
    present = dict.fromkeys(scores.representation)
    others = [name for name in present if name != "infomax"] if "infomax" in present else []
    rows = []
    for other, probe, value, unit in product(others, PROBES, SCALES, ("subtree", "draw")):
        interval = gap(scores[scores.probe == probe], "infomax", other, unit, value)
        which = {"other": other, "probe": probe, "scale": SCALES[value], "unit": unit}
        rows.append(which | interval | {"verdict": verdict(interval)})
    names = ("other", "probe", "scale", "unit", "gap", "low", "high", "verdict")
    return pd.DataFrame(rows, columns=names)


def side_by_side(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`differences` of several data sets, those from one representation below each other.

    Args:
        found: by the data set's name, which becomes the column `data`.
    """
    rows = pd.concat([table.assign(data=name) for name, table in found.items()])
    order = list(dict.fromkeys(rows.other))
    return rows.sort_values("other", key=lambda names: names.map(order.index), kind="stable")


def verdicts(scores: pd.DataFrame) -> pd.DataFrame:
    """`differences` as text: by subtrees and by draws, for each other, probe and scale."""
    rows: dict[tuple, dict[str, str]] = {}
    for found in differences(scores).to_dict("records"):
        row = rows.setdefault((found["other"], found["probe"], found["scale"]), {})
        row[f"by {found['unit']}s"] = f"{gap_text(found)}, {found['verdict']}"
    return pd.DataFrame(rows).T


def gaps(scores: pd.DataFrame) -> pd.DataFrame:
    """The far − near gap of each representation and probe, with its interval over subtrees.

    Args:
        scores: rows of `reprobe`, with columns `seed` and `probe`.

    Returns:
        Columns representation, probe, far and near (accuracies in percent: the mean over draws, and
        that over subtrees of their draws' means), and those of `gap`.
    """
    rows = []
    for (name, probe), part in scores.groupby(["representation", "probe"], sort=False):
        by_subtree = part.groupby(["kind", "subtree"]).accuracy.mean()
        means = by_subtree.groupby("kind").mean()
        which = {"representation": name, "probe": probe, "far": means["far"], "near": means["near"]}
        rows.append(which | gap(part, name, unit="subtree"))
    return pd.DataFrame(rows)


def mean_heights(scores: pd.DataFrame) -> pd.DataFrame:
    """Edges up the tree from true to predicted class, by representation.

    Columns: `height` and `shuffled`, means over the mistakes among `all` classes.
    """
    whole = scores[scores.kind == "all"]
    sums = whole.groupby("representation", sort=False)[["height", "shuffled", "mistakes"]].sum()
    return sums[["height", "shuffled"]].div(sums.mistakes, axis=0)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """`gaps` and `mean_heights` as text, a row for each representation."""
    rows: dict[str, dict[str, str]] = {}
    for found in gaps(scores).to_dict("records"):
        row = rows.setdefault(found["representation"], {})
        for kind in ("far", "near"):
            row[f"{found['probe']}, {kind}"] = f"{found[kind]:.1f}"
        row[f"{found['probe']}, gap"] = "{gap:.1f} [{low:.1f}, {high:.1f}]".format(**found)
    for name, heights in mean_heights(scores).iterrows():
        rows[name]["height"] = f"{heights.height:.2f}"
        rows[name]["height, shuffled"] = f"{heights.shuffled:.2f}"
    return pd.DataFrame(rows).T
