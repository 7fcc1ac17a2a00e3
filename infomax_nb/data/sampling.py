"""Which images are taken, and in what order: stratified subsets and shuffled batches."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from infomax_nb.data.image_set import ImageFiles, ImageSet, read_ahead
from infomax_nb.seeds import Use, stream


def stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Indices (n,) of a random subset in random order, with equal numbers of each class.

    Numbers are equal up to rounding. A class with too few images gives all of them, and the other
    classes make up the rest. Images without a label (-1) count as one more class.

    Args:
        labels: (N,), the class of each image.
        n: size of the subset, at most N.
        seed: of the draw.

    Returns:
        Indices (n,), int64.
    """
    order = np.random.default_rng([7, seed]).permutation(len(labels))
    shuffled = pd.Series(labels.cpu().numpy()[order])
    # How many images of its class come before each one: the lowest ranks are taken.
    rank = shuffled.groupby(shuffled).cumcount().to_numpy()
    chosen = np.argsort(rank, kind="stable")[:n]
    return torch.from_numpy(order[np.sort(chosen)])


def batches(
    data: ImageSet, size: int, seed: int, epoch: int, rank: int = 0, world: int = 1, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of one epoch; an incomplete last one is dropped.

    The order depends only on `seed` and `epoch`. `ImageFiles` are read one batch ahead.

    Args:
        data: the images.
        size: images in a batch of all processes together.
        seed: of the run.
        epoch: number of the epoch.
        rank: number of this process.
        world: number of processes. Each takes its share of every batch, in the order of `rank`.
        first: index of the batch to begin with.

    Yields:
        Images uint8 (B, 3, H, W), H and W in pixels, and their labels (B,).
    """
    generator = torch.Generator().manual_seed(stream(seed, epoch, Use.ORDER))
    order = torch.randperm(len(data), generator=generator).to(data.images.device)
    steps = len(data) // size
    whole = order[: steps * size].reshape(steps, size)
    shares = (rows.tensor_split(world)[rank] for rows in whole[first:])

    in_files = isinstance(data.images, ImageFiles)
    pinned = isinstance(data.images, ImageFiles) and data.images.pinned

    def read(rows: Tensor) -> tuple[Tensor, Tensor]:
        labels = data.labels[rows]
        return data.images[rows], labels.pin_memory() if pinned else labels

    yield from read_ahead(read, shares) if in_files else map(read, shares)
