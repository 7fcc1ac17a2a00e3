"""Is a representation coarse? The paper's Section 4 says so of its own; here it becomes a question
that can be lost.

Features that tell groups of classes apart, but not the classes in a group, serve a classifier well
for classes that lie far apart in a known tree and badly for near ones. `paths` are those of
`centroids.hierarchy`.
"""

import numpy as np
import pandas as pd
import torch
from scipy.stats import hypergeom

from infomax_nb.analysis.centroids import lca_height
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.neighbours import knn
from infomax_nb.seeds import Use, stream


def subtrees(paths: list[tuple]) -> dict[tuple, list[int]]:
    """The classes below each inner node of the tree; nodes that hold all classes are left out."""
    nodes = sorted({path[:depth] for path in paths for depth in range(1, len(path))})
    below = {
        node: [k for k, path in enumerate(paths) if path[: len(node)] == node] for node in nodes
    }
    return {node: classes for node, classes in below.items() if len(classes) < len(paths)}


def superclasses(paths: list[tuple], share: float = 0.25) -> torch.Tensor:
    """Number of each class's superclass (classes,): the highest node above it with at most `share`
    of all classes.

    That is the groups of glyphs, and a cut through WordNet that is level in classes, not in depth.
    A class without such a node is a superclass of its own.
    """
    nodes = [
        node for node, classes in subtrees(paths).items() if len(classes) <= share * len(paths)
    ] + paths
    tops = [next(k for k, node in enumerate(nodes) if path[: len(node)] == node) for path in paths]
    return torch.tensor(tops).unique(return_inverse=True)[1]


def draws(paths: list[tuple], size: int, n: int = 20, seed: int = 0) -> pd.DataFrame:
    """n near and n far subsets of `size` classes: columns kind, draw, subtree (of the near ones),
    classes (sorted).

    Near: classes at random within one of the smallest subtrees that have `size` of them; these take
    turns.
    Far: as many superclasses as there are take part, each with as many classes as any other: at
    most ⌈size / g⌉ from each of g, where they have them. Which ones is drawn at random.

    Raises ParameterError if no subtree but the whole has `size` classes.
    """
    most = max(map(len, subtrees(paths).values()), default=0)
    if not 2 <= size <= most:
        raise ParameterError(
            f"subset = {size} is not allowed: it must be 2 to {most}, the classes of one subtree."
        )
    rng, below = (
        np.random.default_rng([9, seed]),
        {k: v for k, v in subtrees(paths).items() if len(v) >= size},
    )
    smallest = [
        node for node in below if not any(o[: len(node)] == node for o in below if o != node)
    ]
    turns = [smallest[k] for k in np.resize(rng.permutation(len(smallest)), n)]
    rows = [
        ("near", k, node[-1], np.sort(rng.choice(below[node], size, False)))
        for k, node in enumerate(turns)
    ]
    groups, seeds = superclasses(paths), [stream(seed, k, Use.FAR_CLASSES) for k in range(n)]
    rows += [
        ("far", k, f"far {k}", stratified(groups, size, s).sort().values.numpy())
        for k, s in enumerate(seeds)
    ]
    return pd.DataFrame(rows, columns=["kind", "draw", "subtree", "classes"])


def neighbours(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor) -> torch.Tensor:
    """Classes by falling score (M, classes): k-NN with k = images of the rarest class that is
    there, at most 200."""
    return knn(
        train,
        labels,
        test,
        int(labels.max()) + 1,
        min(200, int(labels.unique(return_counts=True)[1].min())),
    )


def reprobe(
    represented: dict, labels: list, subsets: pd.DataFrame, paths: list, probe=neighbours
) -> pd.DataFrame:
    """Each subset of classes as a task of its own: `probe` is fitted to its training images and
    asked its test images.

    Args:
        represented: for each name the features (N, D), (M, D) of training and test images, as of
            `probe.represent`.
        labels: (N,), (M,). subsets: as of `draws`; all its columns are kept.
        probe: maps training features, their labels and test features to classes by falling score.

    Returns: a row for each representation and subset: `accuracy` in percent; its `log_odds`, with
    half an image added to right and wrong; the number of `mistakes`; and, summed over them, the
    `height` of the lowest common ancestor of true and predicted class, and the height expected if
    the wrong predictions were `shuffled` among the mistakes (those that would then be right left
    out).
    """
    heights, rows = lca_height(paths), []
    for name, features in represented.items():
        for subset in subsets.to_dict("records"):
            kept = [torch.isin(y, torch.as_tensor(subset["classes"])) for y in labels]
            (x, queries), (y, truth) = (
                [a[m] for a, m in zip(b, kept, strict=True)] for b in (features, labels)
            )
            cells = truth * len(paths) + probe(x, y, queries)[:, 0]
            wrong = (
                cells.bincount(minlength=heights.size).view(heights.shape).fill_diagonal_(0).numpy()
            )
            a, b, m, n = wrong.sum(1), wrong.sum(0), wrong.sum(), len(truth)
            measured = {
                "accuracy": 100 * (n - m) / n,
                "log_odds": np.log((n - m + 0.5) / (m + 0.5)),
                "mistakes": m,
            }
            measured |= {
                "height": (wrong * heights).sum(),
                "shuffled": m * (a @ heights @ b) / max(m**2 - a @ b, 1),
            }
            rows.append({"representation": name, **subset, **measured})
    return pd.DataFrame(rows)


def expected_accuracy(ranks: torch.Tensor, n_classes: int, fewer: int, k: int = 1) -> float:
    """Top-k in percent that a ranking of `n_classes` gives when only `fewer` of them, drawn at
    random, are left.

    An image whose true class has rank r (from 1) is right if fewer than k of the r − 1 classes
    before it are among the fewer − 1 others that are left: hypergeometric; C(n − r, fewer − 1) /
    C(n − 1, fewer − 1) for k = 1.
    """
    return 100 * hypergeom(n_classes - 1, np.asarray(ranks) - 1, fewer - 1).cdf(k - 1).mean()


def gap(
    scores: pd.DataFrame,
    name: str,
    other: str | None = None,
    unit: str = "draw",
    value: str = "accuracy",
) -> dict:
    """Far − near gap of a representation, minus that of another: `gap` and its bootstrap 95%
    interval, `low` to `high`.

    Args:
        scores: rows of `reprobe`, with a column `seed`. value: the column to compare; accuracy
            gives points.
        unit: what is resampled beside seeds, 10,000 times: each `draw`, or the near ones by whole
            `subtree`s (their draws' mean): the unit where near draws of one subtree share classes.
    """
    tables = [
        scores[scores.kind == k].pivot_table(value, ["representation", "seed"], unit)
        for k in ("far", "near")
    ]
    far, near = (
        (t.loc[name] - (t.loc[other] if other else 0)).to_numpy() for t in tables
    )  # (seeds, units)
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(far), size=(10_000, len(far), 1))
    means = [
        d[seeds, rng.integers(d.shape[1], size=(10_000, 1, d.shape[1]))].mean((1, 2))
        for d in (far, near)
    ]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return {"gap": far.mean() - near.mean(), "low": low, "high": high}


def verdict(found: dict) -> str:
    """`supported`, `reversed` or `not supported`, by where the interval of a `gap` less another's
    lies against 0."""
    return "supported" if found["low"] > 0 else "reversed" if found["high"] < 0 else "not supported"
