"""Class centroids (the paper's Figure 7, Appendix B): how alike they are, and whether a known
hierarchy says the same.

A hierarchy is a list with the path of each class: the names of the nodes from the root down to the
class itself.
"""

from os.path import commonprefix

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.spatial.distance import squareform

from infomax_nb.errors import ParameterError


def hierarchy(
    classes: list, csv: str | None = None, coarse: torch.Tensor | None = None, coarse_names=()
) -> list:
    """The path of each class: of WordNet, `("entity (n00001740)", ..., "goldfish (n01443537)")`, if
    `csv` names a table; else its superclass and itself, `("digits", "7")`.

    Args:
        classes: their names; WordNet ids where there is a table.
        csv: a table with columns wnid, name, hypernym_wnids, hypernym_names; the last two root
            first, joined with "/".
        coarse, coarse_names: superclass of each class (classes,) and names of the superclasses, as
            in an `ImageSet`.

    Raises ParameterError for a table that cannot be read or lacks a column or a class, and where
    there is neither a table nor superclasses.
    """
    if csv is None and coarse is not None:
        return [(coarse_names[k], name) for k, name in zip(coarse.tolist(), classes, strict=True)]
    needs = "a table with columns wnid, name, hypernym_wnids, hypernym_names, paths root first, joined by '/'"
    if csv is None:
        why = "for the data set has no groups of its own"
        raise ParameterError(f"hierarchy_csv = None is not allowed: it must be {needs}, {why}.")
    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False)
        both = ((table[f"hypernym_{k}s"] + "/" + table[k]).str.split("/") for k in ("name", "wnid"))
        paths = {}
        for called, wnids in zip(*both, strict=True):
            path = [
                name if name == wnid else f"{name} ({wnid})"
                for name, wnid in zip(called, wnids, strict=True)
            ]
            paths[wnids[-1]] = tuple(path)
        return [paths[wnid] for wnid in classes]
    except (OSError, ValueError, KeyError) as error:
        raise ParameterError(
            f"hierarchy_csv = {csv!r} is not allowed: it must be {needs}; {error!r:.90}."
        ) from None


def _climb(paths: list[tuple]) -> np.ndarray:
    """Edges (C, C) from a class (row) up to its lowest common ancestor with another (column)."""
    return np.array([[len(p) - len(commonprefix([p, q])) for q in paths] for p in paths])


def tree_distance(paths: list[tuple]) -> np.ndarray:
    """Edges (C, C) from class to class over their lowest common ancestor; paths that share no node
    meet in a root."""
    return (up := _climb(paths)) + up.T


def lca_height(paths: list[tuple]) -> np.ndarray:
    """Height (C, C) of the lowest common ancestor above the pair: the longer of the two ways down,
    in edges."""
    return np.maximum(up := _climb(paths), up.T)


def centroids(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean (C, D) of the unit features of each class; features (N, D), labels (N,) with every class
    from 0 to C - 1."""
    return torch.stack(
        [torch.nn.functional.normalize(features[labels == k]).mean(0) for k in labels.unique()]
    )


def rank_correlation(
    similarity: np.ndarray, distance: np.ndarray, permutations: int = 9999
) -> dict:
    """Spearman's ρ over the C(C - 1)/2 pairs of classes: 1 - similarity (C, C) against distance (C,
    C) in a hierarchy.

    Pairs that share a class are not independent, so classes, not pairs, are what is permuted and
    what is left out.

    Returns: `rho`; `p`, one-sided, from relabelling the classes at random (Mantel 1967): the share
    of the relabelled ρ, the true one included, that reach it (all C! of them if that is no more
    than `permutations`); `by_class` (C,), the jackknife's pseudo-values C ρ - (C - 1) ρ_without:
    their `scipy.stats.sem` is ρ's standard error over classes.
    """
    pair, n = (1 - similarity, distance), len(distance)
    own, known = (
        squareform(stats.zscore(stats.rankdata(squareform(m, checks=False)))) for m in pair
    )
    options = {
        "permutation_type": "pairings",
        "n_resamples": permutations,
        "alternative": "greater",
        "rng": 0,
    }
    test = stats.permutation_test(
        [np.arange(n)], lambda k: np.vdot(own[np.ix_(k, k)], known) / (n * n - n), **options
    )
    others = ([squareform(m[k][:, k], checks=False) for m in pair] for k in ~np.eye(n, dtype=bool))
    by_class = [
        n * test.statistic - (n - 1) * stats.spearmanr(*vectors).statistic for vectors in others
    ]
    return {"rho": test.statistic, "p": test.pvalue, "by_class": np.array(by_class)}
