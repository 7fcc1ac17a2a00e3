"""Compare class centroids (the paper's Figure 7, Appendix B) with a known class hierarchy.

A hierarchy is a list with the path of each class: the names of the nodes from the root down to the
class itself.
"""

import re
from collections.abc import Collection, Sequence
from os.path import commonprefix
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.evaluation.intervals import paired_interval

_COLUMNS = "wnid, name, hypernym_wnids, hypernym_names"
_TABLE = f"a table with columns {_COLUMNS}, paths root first, joined by '/'"

# --- The hierarchy ----------------------------------------------------------------------------


def hierarchy(
    classes: list[str], csv: str | None = None, coarse: Tensor | None = None, coarse_names=()
) -> list[tuple[str, ...]]:
    """The path of each class.

    If `csv` names a table, it is WordNet's, `("entity (n00001740)", ..., "goldfish (n01443537)")`;
    else it is the class's superclass and the class itself, `("digits", "7")`.

    Args:
        classes: names of the classes; WordNet ids if there is a table.
        csv: a table with columns wnid, name, hypernym_wnids, hypernym_names. The last two begin
            with the root and are joined with "/".
        coarse: superclass of each class (classes,), as in an `ImageSet`.
        coarse_names: names of the superclasses.

    Raises:
        ParameterError: the table cannot be read or lacks a column or a class, or there is neither a
            table nor superclasses.
    """
    if csv is None and coarse is not None:
        return [(coarse_names[k], name) for k, name in zip(coarse.tolist(), classes, strict=True)]
    if csv is None:
        why = "for the data set has no groups of its own"
        raise not_allowed("hierarchy_csv", None, f"{_TABLE}, {why}")
    try:
        paths = _wordnet_paths(csv)
        return [paths[wnid] for wnid in classes]
    except (OSError, ValueError, KeyError) as error:
        raise not_allowed("hierarchy_csv", csv, f"{_TABLE}; {error!r:.90}") from None


def _wordnet_paths(csv: str) -> dict[str, tuple[str, ...]]:
    """The path of each line of a table, by its WordNet id."""
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    names = (table["hypernym_names"] + "/" + table["name"]).str.split("/")
    wnids = (table["hypernym_wnids"] + "/" + table["wnid"]).str.split("/")
    paths = {}
    for path, ids in zip(names, wnids, strict=True):
        nodes = zip(path, ids, strict=True)
        paths[ids[-1]] = tuple(a if a == wnid else f"{a} ({wnid})" for a, wnid in nodes)
    return paths


def plain(node: str) -> str:
    """A node's name without its WordNet id.

    >>> plain("pay-phone (n03902125)")
    'pay-phone'
    """
    return re.sub(r" \(n\d+\)$", "", node)


def _climb(paths: list[tuple]) -> np.ndarray:
    """Edges (C, C) from a class (row) up to its lowest common ancestor with another (column)."""
    return np.array([[len(p) - len(commonprefix([p, q])) for q in paths] for p in paths])


def tree_distance(paths: list[tuple]) -> np.ndarray:
    """Number of edges (C, C) from class to class via their lowest common ancestor.

    Paths that share no node meet at a common root.

    >>> tree_distance([("a", "b", "x"), ("a", "y")]).tolist()
    [[0, 3], [3, 0]]
    """
    up = _climb(paths)
    return up + up.T


def relative_distance(paths: list[tuple]) -> np.ndarray:
    """The distance (C, C) over the sum of both depths: 1 - the likeness of Wu and Palmer (1994).

    It allows for a hierarchy that is deeper here than there.
    """
    depth = np.array([len(path) for path in paths])
    return tree_distance(paths) / np.add.outer(depth, depth)


def lca_height(paths: list[tuple]) -> np.ndarray:
    """Height (C, C) of the lowest common ancestor: the longer of the two ways down, in edges.

    >>> lca_height([("a", "b", "x"), ("a", "y")]).tolist()
    [[0, 2], [2, 0]]
    """
    up = _climb(paths)
    return np.maximum(up, up.T)


# --- Centroids and their likeness -------------------------------------------------------------


def centroids(features: Tensor, labels: Tensor, classes: int | None = None) -> Tensor:
    """The mean (C, D) of each class's unit features.

    Args:
        features: (N, D).
        labels: (N,), with every class from 0 to C - 1.
        classes: C; None for one more than the largest label.

    Raises:
        ParameterError: a class has no features, so that it has no mean.
    """
    counts = labels.bincount(minlength=classes or 0)
    missing = (counts == 0).nonzero().flatten().tolist()
    if missing:
        problem = f"of {len(counts)} classes these have no image: {', '.join(map(str, missing))}"
        raise ParameterError(f"labels: {problem}. Each needs at least one.")
    return torch.stack([normalize(features[labels == k]).mean(0) for k in range(len(counts))])


def ranked(similarity: np.ndarray) -> np.ndarray:
    """The rank (C, C) of each pair of classes among all pairs, percent; 100 is the most alike."""
    of_pairs = _pairs(similarity)
    return squareform(100 * stats.rankdata(of_pairs) / len(of_pairs))


def within_groups(similarity: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """The mean `ranked` of the pairs within each group of two classes or more, in percent.

    Args:
        similarity: of classes, (C, C).
        groups: of each class, (C,).
    """
    ranks = ranked(similarity)
    of_class = np.asarray(groups)
    means = {}
    for group in dict.fromkeys(groups):
        members = np.flatnonzero(of_class == group)
        if len(members) > 1:
            means[group] = float(_pairs(ranks[np.ix_(members, members)]).mean())
    return means


def nearest_in_group(similarity: np.ndarray, groups: Sequence[str]) -> float:
    """How often the most similar other class is one of the same group, in percent.

    Args:
        similarity: of classes, (C, C).
        groups: of each class, (C,).
    """
    of_class = np.asarray(groups)
    others = np.where(np.eye(len(of_class), dtype=bool), -np.inf, similarity)
    return 100 * float((of_class[others.argmax(1)] == of_class).mean())


# --- Trees ------------------------------------------------------------------------------------


def cluster_tree(similarity: np.ndarray) -> np.ndarray:
    """The tree of average linkage on 1 - similarity (C, C), its leaves in the best order.

    It has the form of `scipy.cluster.hierarchy`, (C - 1, 4).
    """
    return linkage(_pairs(1 - similarity), "average", optimal_ordering=True)


def agreement(tree: np.ndarray, groups: Sequence[str], clusters: int) -> float:
    """How well a tree, cut into so many clusters, agrees with the groups of the classes.

    It is the adjusted Rand index (Hubert and Arabie 1985): 0 is chance, 1 is the same partition.

    Args:
        tree: SciPy's linkage of the classes, (C - 1, 4), as `cluster_tree` gives it.
        groups: of each class, (C,).
        clusters: into how many the tree is cut.
    """
    from sklearn.metrics import adjusted_rand_score  # takes a second

    return float(adjusted_rand_score(groups, fcluster(tree, clusters, "maxclust")))


def members(
    tree: np.ndarray, names: Sequence[str], groups: Sequence[str], clusters: int
) -> pd.DataFrame:
    """The clusters of a cut tree from left to right, a row for each.

    Columns: `largest group`, how many `of it`, the number of `classes` and their names.

    Args:
        tree: (C - 1, 4), as of `cluster_tree`, for C classes.
        names: of the classes.
        groups: of the classes.
        clusters: number of parts into which the tree is cut.
    """
    classes = pd.DataFrame({"class": list(names), "group": list(groups)})
    parts = classes.groupby(fcluster(tree, clusters, "maxclust"))
    rows = {
        "largest group": parts.group.agg(lambda group: group.mode()[0]),
        "of it": parts.group.agg(lambda group: group.value_counts().max()),
        "classes": parts.size(),
        "members": parts["class"].agg(", ".join),
    }
    return pd.DataFrame(rows).rename_axis("cluster")


# --- Agreement with the hierarchy -------------------------------------------------------------


def ceiling(distance: np.ndarray) -> float:
    """The highest Spearman's ρ that anything without ties can have with a distance (C, C).

    Pairs of classes at the same distance share one rank. Two pairs of centroids are never equally
    alike, so their ranks differ all the same.
    """
    shared = stats.rankdata(_pairs(distance))
    untied = np.arange(len(shared))
    return float(shared.std() / untied.std())


def rank_correlation(
    similarity: np.ndarray, distance: np.ndarray, permutations: int = 9999
) -> dict[str, Any]:
    """Spearman's ρ of 1 - similarity and distance, over the C(C - 1)/2 pairs of classes.

    Pairs that share a class are not independent, so it is classes, not pairs, that are permuted and
    left out.

    Args:
        similarity: of classes, (C, C).
        distance: in a hierarchy, (C, C).
        permutations: number of random relabellings; all C! of them if there are no more.

    Returns:
        `rho`; `p`, one-sided, from relabelling the classes (Mantel 1967): the share of the
        relabelled ρ, the true one included, that reach it; `by_class` (C,), the jackknife's
        pseudo-values C ρ - (C - 1) ρ_without: their `scipy.stats.sem` is ρ's standard error over
        classes.
        Two classes, which are one pair, have no order, nor have pairs that are all equal: all are
        NaN. Three classes leave the jackknife none: `by_class` is.
    """
    n = len(distance)
    unknown = np.full(n, np.nan)
    dissimilarity = 1 - similarity
    if n < 3 or any(np.ptp(_pairs(matrix)) == 0 for matrix in (dissimilarity, distance)):
        return {"rho": np.nan, "p": np.nan, "by_class": unknown}
    own = _standard_ranks(dissimilarity)
    known = _standard_ranks(distance)

    def rho(order: np.ndarray) -> float:
        relabelled = own[np.ix_(order, order)]
        return np.vdot(relabelled, known) / (n * n - n)

    options: dict[str, Any] = {"permutation_type": "pairings", "alternative": "greater", "rng": 0}
    test = stats.permutation_test([np.arange(n)], rho, n_resamples=permutations, **options)
    if n < 4:
        return {"rho": test.statistic, "p": test.pvalue, "by_class": unknown}
    by_class = []
    for others in ~np.eye(n, dtype=bool):
        vectors = [_pairs(matrix[others][:, others]) for matrix in (dissimilarity, distance)]
        by_class.append(n * test.statistic - (n - 1) * stats.spearmanr(*vectors).statistic)
    return {"rho": test.statistic, "p": test.pvalue, "by_class": np.array(by_class)}


def _pairs(matrix: np.ndarray) -> np.ndarray:
    """The C(C - 1)/2 numbers above the diagonal."""
    return squareform(matrix, checks=False)


def _standard_ranks(matrix: np.ndarray) -> np.ndarray:
    """Ranks (C, C) of the pairs, with mean 0 and variance 1."""
    return squareform(stats.zscore(stats.rankdata(_pairs(matrix))))


def over_classes(rho: pd.Series, by_class: pd.DataFrame) -> pd.DataFrame:
    """The 95% interval of each ρ over classes, from the jackknife's pseudo-values.

    It is the normal one, for many classes. Where leaving out a class leaves no ρ, there is none.

    Args:
        rho: by representation.
        by_class: pseudo-values of `rank_correlation`, classes by representations.

    Returns:
        Columns mean, low and high, a row for each representation.
    """
    half = 1.96 * by_class[rho.index].sem(skipna=False)
    return pd.DataFrame({"mean": rho, "low": rho - half, "high": rho + half})


def above(
    rho: pd.Series,
    by_class: pd.DataFrame,
    other: str = "untrained",
    seedless: Collection[str] = ("raw pixels",),
) -> pd.DataFrame:
    """How much each ρ exceeds another's, with 95% intervals over classes and over networks.

    Args:
        rho: by representation and seed.
        by_class: pseudo-values of `rank_correlation`, classes by representations.
        other: the representation that is subtracted.
        seedless: representations that are no networks; their one number stands beside every seed.

    Returns:
        Columns mean, low, high and `series`: `over classes` and, for several seeds, `over
        networks`, Student's interval paired by seed. There is no row for `other`.
    """
    names = rho.index.unique(0)
    by_seed = rho.unstack(0)[names]
    for name in names.intersection(list(seedless)):
        by_seed[name] = by_seed[name].bfill().iloc[0]  # NaN where it has no ρ
    more = by_seed.sub(by_seed[other], axis=0).drop(columns=other)
    pseudo = by_class.sub(by_class[other], axis=0)
    intervals = [over_classes(more.mean(), pseudo).assign(series="over classes")]
    if len(more) > 1:
        of_networks = {name: paired_interval(more[name].dropna()) for name in more}
        table = pd.DataFrame(of_networks).T[["mean", "low", "high"]]
        intervals.append(table.assign(series="over networks"))
    return pd.concat(intervals)


def interval_texts(intervals: pd.DataFrame) -> pd.Series:
    """Intervals with the columns mean, low and high as text, such as `0.10 (0.02 to 0.18)`."""
    form = "{mean:.2f} ({low:.2f} to {high:.2f})"
    return intervals.apply(lambda row: form.format(**row), axis=1)


def read_intervals(texts: pd.Series) -> pd.DataFrame:
    """Intervals from their texts in a committed table, without the rows that have none.

    >>> read_intervals(pd.Series({"ours": "0.10 (0.02 to 0.18)", "raw pixels": "−0.04"}))
                mean   low  high
    ours        0.10  0.02  0.18
    raw pixels -0.04   NaN   NaN
    """
    rows = {}
    for name, text in texts.dropna().items():
        numbers = re.findall(r"-?\d+\.\d+", text.replace("−", "-"))
        rows[name] = dict(zip(("mean", "low", "high"), map(float, numbers), strict=False))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
