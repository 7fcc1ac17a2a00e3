"""Seeds of the random numbers in a run: one for each use in each epoch."""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What random numbers are used for. Every result depends on these: add, never change."""

    ORDER = 0  # of the images in an epoch
    VIEWS = 1
    WEIGHTS = 2  # of a method, before training
    HEAD = 3  # weights of the linear head
    HEAD_ORDER = 4  # of the features that the head is trained on
    HELD_OUT_VIEWS = 5
    FAR_CLASSES = 6  # of far subsets of classes


def stream(seed: int, epoch: int, use: Use) -> int:
    """A seed for one use of random numbers in one epoch.

    It depends on nothing else, so a resumed run draws what an uninterrupted one does.

    >>> stream(seed=0, epoch=1, use=Use.VIEWS) == stream(0, 1, Use.VIEWS)
    True
    """
    mixed = np.random.SeedSequence([seed, epoch, use]).generate_state(1, np.uint64)
    return int(mixed[0] >> 1)
