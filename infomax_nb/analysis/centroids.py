"""Compare class centroids (the paper's Figure 7, Appendix B) with a known class hierarchy.

A hierarchy is a list with the path of each class: the names of the nodes from the root down to the
class itself.
"""

from os.path import commonprefix
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.spatial.distance import squareform
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.errors import not_allowed

_COLUMNS = "wnid, name, hypernym_wnids, hypernym_names"
_TABLE = f"a table with columns {_COLUMNS}, paths root first, joined by '/'"


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


def lca_height(paths: list[tuple]) -> np.ndarray:
    """Height (C, C) of the lowest common ancestor: the longer of the two ways down, in edges.

    >>> lca_height([("a", "b", "x"), ("a", "y")]).tolist()
    [[0, 2], [2, 0]]
    """
    up = _climb(paths)
    return np.maximum(up, up.T)


def centroids(features: Tensor, labels: Tensor) -> Tensor:
    """The mean (C, D) of each class's unit features.

    Args:
        features: (N, D).
        labels: (N,), with every class from 0 to C - 1.
    """
    return torch.stack([normalize(features[labels == k]).mean(0) for k in labels.unique()])


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
    """
    n = len(distance)
    dissimilarity = 1 - similarity
    own = _standard_ranks(dissimilarity)
    known = _standard_ranks(distance)

    def rho(order: np.ndarray) -> float:
        relabelled = own[np.ix_(order, order)]
        return np.vdot(relabelled, known) / (n * n - n)

    options: dict[str, Any] = {"permutation_type": "pairings", "alternative": "greater", "rng": 0}
    test = stats.permutation_test([np.arange(n)], rho, n_resamples=permutations, **options)
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
