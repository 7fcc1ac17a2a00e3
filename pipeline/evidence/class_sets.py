"""Far and near classes: Imagenette's and Imagewoof's, in one set (the plan's line e, claim 7)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infomax_nb.evaluation.curves import LEVEL
from infomax_nb.evaluation.intervals import paired_interval
from pipeline.evidence.arms import MEASURES, Arm, common_seeds
from pipeline.evidence.finding import with_failures
from pipeline.evidence.rules import UNDECIDED, UNFINISHED, Verdict, agreed, judged, offset

# The WordNet ids of Imagenette and Imagewoof, as their publisher has them.
IMAGENETTE = (
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
)
IMAGEWOOF = (
    "n02086240",
    "n02087394",
    "n02088364",
    "n02089973",
    "n02093754",
    "n02096294",
    "n02099601",
    "n02105641",
    "n02111889",
    "n02115641",
)
RESAMPLES = 500
CLASSES = sorted((*IMAGENETTE, *IMAGEWOOF))  # a folder's classes are numbered in this order


def is_far(labels: NDArray) -> NDArray:
    """Which images are Imagenette's, (M,), by their class among the twenty."""
    far = np.array([name in IMAGENETTE for name in CLASSES])
    return far[labels]


def right_within(kept: Mapping[str, NDArray], measure: str) -> tuple[NDArray, NDArray]:
    """Which images of far and which of near classes a run gets right, 100 or 0.

    Args:
        kept: a run's predictions; a class is sought among the ten of the image's own set.
        measure: `linear` or `knn`.

    Returns:
        (evaluations, images of Imagenette) and (evaluations, images of Imagewoof).
    """
    right = 100.0 * (kept[f"{measure}_within"] == kept["labels"])
    far = is_far(kept["labels"])
    return right[:, far], right[:, ~far]


def far_and_near(arm: Arm, measure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy among the ten far classes and among the ten breeds, percent: epochs by seed.

    Args:
        arm: runs of line e, of which one at least was evaluated.
        measure: `linear` or `knn`. A class is sought among the ten of the image's own set.
    """
    table = arm.hits(f"{measure}_within")
    far = is_far(labels_of(arm))
    of_runs = {seed: table[seed].to_numpy() for seed in arm.evaluated}
    of_far = {seed: right[:, far].mean(1) for seed, right in of_runs.items()}
    of_near = {seed: right[:, ~far].mean(1) for seed, right in of_runs.items()}
    return pd.DataFrame(of_far, index=table.index), pd.DataFrame(of_near, index=table.index)


def labels_of(arm: Arm) -> NDArray:
    """The classes (M,) of the test images, which are the same for all runs."""
    first = next(iter(arm.evaluated.values()))
    return first.predictions["labels"]


def coarser(ours: Arm, theirs: Arm, seed: int = 0) -> Verdict:
    """Is ours coarser than theirs? The offset of near accuracies at equal far accuracy.

    It is undecided if curves of a seed share no far accuracy.

    Args:
        ours: runs of line e.
        theirs: runs of line e.
        seed: of the resamples of the test images.
    """
    common = sorted(set(ours.evaluated) & set(theirs.evaluated))
    if not common:
        return with_failures(Verdict(UNFINISHED, pd.DataFrame()), ours, theirs)
    images = len(labels_of(ours))
    draws = np.random.default_rng(seed)
    weights = draws.multinomial(images, np.full(images, 1 / images), RESAMPLES).T
    found = {}
    for measure in MEASURES:
        by_seed = offset(far_and_near(ours, measure), far_and_near(theirs, measure))
        shared = images_variance(ours, theirs, measure, weights, common)
        interval = paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)
        found[measure] = judged(interval)
        if by_seed.isna().any() and len(common_seeds(ours, theirs)) == len(ours.every):
            found[measure] = Verdict(UNDECIDED, found[measure].numbers)
    return with_failures(agreed(**found), ours, theirs)


@dataclass(frozen=True)
class Shared:
    """What two arms' curves have in common, over all seeds.

    Args:
        lowest: the least far accuracy that both pass, percent.
        highest: the greatest.
        ours: the first and the last epoch in which ours passes these.
        theirs: those of the other.
    """

    lowest: float
    highest: float
    ours: tuple[int, int]
    theirs: tuple[int, int]


def shared_range(ours: Arm, theirs: Arm, measure: str) -> Shared | None:
    """The far accuracies that both pass; None if no seed of both has any.

    An arm passes them from its last evaluation below the least one to its first at or above the
    greatest one.

    Args:
        ours: runs of line e.
        theirs: runs of line e.
        measure: `linear` or `knn`.
    """
    common = sorted(set(ours.evaluated) & set(theirs.evaluated))
    if not common:
        return None
    tables = [far_and_near(arm, measure)[0] for arm in (ours, theirs)]
    bounds = []
    epochs: list[list[int]] = [[], []]
    for seed in common:
        paths = [table[seed].dropna().cummax() for table in tables]
        lowest = max(path.iloc[0] for path in paths)
        highest = min(path.iloc[-1] for path in paths)
        if not lowest < highest:
            continue
        bounds += [lowest, highest]
        for passed, path in zip(epochs, paths, strict=True):
            passed.append(int(path.index[path <= lowest][-1]))
            passed.append(int(path.index[path >= highest][0]))
    if not bounds:
        return None
    of_ours, of_theirs = ((min(passed), max(passed)) for passed in epochs)
    return Shared(min(bounds), max(bounds), of_ours, of_theirs)


# --- The test images' variance --------------------------------------------------------------------


def images_variance(
    ours: Arm, theirs: Arm, measure: str, weights: NDArray, seeds: list[int]
) -> float:
    """Variance of the seeds' mean offset over resamples of the test images, squared points.

    Args:
        ours: runs of line e.
        theirs: runs of line e.
        measure: `linear` or `knn`.
        weights: how often each test image is counted in each resample, (M, resamples).
        seeds: those that both have.
    """
    offsets = {}
    for seed in seeds:
        own = resampled(ours, seed, measure, weights)
        other = resampled(theirs, seed, measure, weights)
        offsets[seed] = [offset_of(*pair) for pair in zip(own, other, strict=True)]
    return float(pd.DataFrame(offsets).mean(axis=1).var())


def resampled(arm: Arm, seed: int, measure: str, weights: NDArray) -> list[NDArray]:
    """A run's far and near accuracies in each resample, percent: arrays (2, evaluations)."""
    kept = arm.evaluated[seed].predictions
    far = is_far(kept["labels"])
    counted = (weights[far], weights[~far])
    parts = [
        right @ times / times.sum(0)
        for right, times in zip(right_within(kept, measure), counted, strict=True)
    ]
    return list(np.moveaxis(np.stack(parts), 2, 0))


def offset_of(ours: NDArray, theirs: NDArray, points: int = 50) -> float:
    """`rules.offset` of two runs without gaps, given by far and near accuracies (2, evaluations).

    It is some fifty times as fast, for the resamples.
    """
    paths = [rising(*ours), rising(*theirs)]
    lowest = max(far[0] for far, _ in paths)
    highest = min(far[-1] for far, _ in paths)
    if not lowest < highest:
        return np.nan
    common = np.linspace(lowest, highest, points)
    own, other = (np.interp(common, far, near) for far, near in paths)
    return float((other - own).mean())


def rising(far: NDArray, near: NDArray) -> tuple[NDArray, NDArray]:
    """Both accuracies (evaluations,) where the far one is higher than ever before."""
    before = np.maximum.accumulate(far)[:-1]
    higher = np.append(True, far[1:] > before)
    return far[higher], near[higher]
