"""seeds."""

import numpy as np


def stream(seed: int, epoch: int, use: int) -> int:
    """A seed for one use of random numbers in one epoch: a resumed run draws what an uninterrupted
    one does."""
    return int(np.random.SeedSequence([seed, epoch, use]).generate_state(1, np.uint64)[0] >> 1)
