"""Fewer classes: how much better a model does because there are fewer ways to be wrong.

That gain comes to every representation, coarse or not, so it is computed and set beside what is
measured.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from infomax_nb.analysis.coarse import expected_accuracy, reprobe


def dealt(n_classes: int, sizes: Sequence[int], seed: int = 1) -> pd.DataFrame:
    """All classes dealt out at random into tasks of each size; what is left over takes no part.

    Args:
        n_classes: number of classes.
        sizes: numbers of classes in a task.
        seed: of the dealing.

    Returns:
        Columns `classes in it` and `classes` (sorted numbers), a row for each task.
    """
    rng = np.random.default_rng(seed)
    tasks = []
    for size in sizes:
        order = rng.permutation(n_classes)
        for start in range(0, n_classes - size + 1, size):
            tasks.append((size, np.sort(order[start : start + size])))
    return pd.DataFrame(tasks, columns=["classes in it", "classes"])


def explained(
    represented: Mapping[str, Sequence[Tensor]],
    labels: Sequence[Tensor],
    tasks: pd.DataFrame,
    paths: list[tuple],
    probe: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> pd.DataFrame:
    """What probes reach on fewer classes, and what the number of classes alone explains of it.

    Args:
        represented: for each name the features (N, D), (M, D) of training and test images.
        labels: (N,), (M,).
        tasks: as of `dealt`.
        paths: of all classes.
        probe: maps training features, their labels and test features to classes by falling score.

    Returns:
        Columns features, classes, `fitted anew` and `expected`, in percent: the mean over the tasks
        of probes of their own, and what the ranking of all classes gives (`expected_accuracy`).
    """
    n_classes = len(paths)
    train_labels, truth = labels
    rows = []
    for name, (train, test) in represented.items():
        is_true = probe(train, train_labels, test) == truth[:, None]
        ranks = 1 + is_true.int().argmax(1)
        ranks[~is_true.any(1)] = n_classes  # of a class that the probe never saw: the last
        anew = reprobe({name: (train, test)}, labels, tasks, paths, probe)
        measured = anew.groupby("classes in it").accuracy.mean().to_dict()
        measured[n_classes] = 100 * (ranks == 1).double().mean().item()
        for fewer, accuracy in measured.items():
            rows.append((name, fewer, accuracy, expected_accuracy(ranks, n_classes, fewer)))
    return pd.DataFrame(rows, columns=["features", "classes", "fitted anew", "expected"])


def bounds(top1: float, top5: float, n_classes: int, fewer: int, k: int = 1) -> tuple[float, float]:
    """The least and the most top-k in percent on fewer classes, drawn at random.

    Of the ranking of all classes only top-1 and top-5 (percent) are known. The result is lowest if
    every rank from 2 to 5 is 5 and every other the last, highest if they are 2 and 6.
    """

    def gives(second: int, beyond: int) -> float:
        shares = [(1, top1), (second, top5 - top1), (beyond, 100 - top5)]
        found = (
            share / 100 * expected_accuracy([min(rank, n_classes)], n_classes, fewer, k)
            for rank, share in shares
        )
        return float(sum(found))

    return gives(5, n_classes), gives(2, 6)
