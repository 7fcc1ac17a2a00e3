"""Far and near classes: Imagenette's and Imagewoof's, in one set (the plan's line e, claim 7)."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infomax_nb.evaluation.curves import LEVEL
from infomax_nb.evaluation.verdicts import paired_interval
from pipeline.evidence.arms import MEASURES, Arm, common_seeds
from pipeline.evidence.rules import UNFINISHED, Verdict, agreed, judged, offset

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


def far_and_near(arm: Arm, measure: str, weights: NDArray | None = None) -> tuple:
    """Accuracy among the ten far classes and among the ten breeds, percent: epochs by column.

    Args:
        arm: runs of line e.
        measure: `linear` or `knn`. A class is sought among the ten of the image's own set.
        weights: how often each test image is counted in each resample, (M, resamples). Without
            them, columns are seeds; with them, (resample, seed).

    Returns:
        Two tables, of the far and of the near classes.
    """
    table = arm.hits(f"{measure}_within")
    parts = []
    labels = next(iter(arm.runs.values())).predictions["labels"]
    for chosen in (is_far(labels), ~is_far(labels)):
        means: dict[int | tuple[int, int], NDArray] = {}
        for seed in arm.runs:
            right = table[seed].to_numpy()[:, chosen]
            if weights is None:
                means[seed] = right.mean(1)
                continue
            counts = weights[chosen]
            for k, mean in enumerate((right @ counts / counts.sum(0)).T):
                means[k, seed] = mean
        parts.append(pd.DataFrame(means, index=table.index))
    return tuple(parts)


def coarser(ours: Arm, theirs: Arm, seed: int = 0) -> Verdict:
    """Is ours coarser than theirs? The offset of near accuracies at equal far accuracy.

    Args:
        ours: runs of line e.
        theirs: runs of line e.
        seed: of the resamples of the test images.
    """
    common = common_seeds(ours, theirs)
    if not common:
        return Verdict(UNFINISHED, pd.DataFrame())
    images = len(next(iter(ours.runs.values())).predictions["labels"])
    chances = np.full(images, 1 / images)
    weights = np.random.default_rng(seed).multinomial(images, chances, RESAMPLES).T
    found = {}
    for measure in MEASURES:
        by_seed = offset(far_and_near(ours, measure), far_and_near(theirs, measure))
        resampled = offset(
            far_and_near(ours, measure, weights), far_and_near(theirs, measure, weights)
        )
        of_means = resampled.groupby(level=0).mean()
        shared = float(of_means.var())
        interval = paired_interval(by_seed[common], level=1 - 2 * LEVEL, shared=shared)
        found[measure] = judged(interval)
    return agreed(**found)
