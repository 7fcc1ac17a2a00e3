"""data.batches."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from infomax_nb.data.image_set import ImageFiles, ImageSet, _ahead
from infomax_nb.seeds import Use, stream


def stratified(labels: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Indices of n of the labels (N,), as many of each class as of any other (up to rounding), in
    random order."""
    order = np.random.default_rng([7, seed]).permutation(len(labels))
    shuffled = labels.cpu().numpy()[order]
    rank = (
        pd.Series(shuffled).groupby(shuffled).cumcount().to_numpy()
    )  # how many of the class came before
    return torch.from_numpy(order[np.sort(np.argsort(rank, kind="stable")[:n])])


def batches(
    data: ImageSet, size: int, seed: int, epoch: int, rank=0, world=1, first=0
) -> Iterator[tuple]:
    """Shuffled (images, labels) of `size`, the last incomplete one dropped; the order depends on
    (seed, epoch) alone.

    With several processes (`world`) each takes its share of every batch of `size` images, in the
    order of `rank`. `first`: number of the batch to begin with. `ImageFiles` are decoded one batch
    ahead.
    """
    order = torch.randperm(
        len(data), generator=torch.Generator().manual_seed(stream(seed, epoch, Use.ORDER))
    )
    wholes = (
        order[start : start + size] for start in range(first * size, len(data) - size + 1, size)
    )
    shares = (whole.tensor_split(world)[rank].to(data.images.device) for whole in wholes)
    yield from (_ahead if isinstance(data.images, ImageFiles) else map)(
        lambda k: (data.images[k], data.labels[k]), shares
    )
