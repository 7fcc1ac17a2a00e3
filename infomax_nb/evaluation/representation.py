"""Features of images, and how many dimensions they fill."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from lightly.utils.dist import rank, world_size
from torch import Tensor, nn

from infomax_nb.data.image_set import ImageFiles, read_ahead
from infomax_nb.device import exact, resolve
from infomax_nb.distributed import gathered
from infomax_nb.errors import memory_errors
from infomax_nb.models import check_size
from infomax_nb.views.pixels import standardise

_GPU_PIXELS = 2**24  # of a channel, that a GPU gets at a time: fewer launches than a CPU needs
MEMORY_CURE = "take fewer images (n_train), a smaller image_size, or device = cpu"


def inputs(
    images: Tensor | ImageFiles,
    device: torch.device | str = "cpu",
    batch: int | None = None,
    rows: Tensor | None = None,
) -> Iterator[Tensor]:
    """uint8 images (N, 3, H, W) as the network's un-augmented input, a batch at a time.

    Args:
        images: all of them.
        device: where the network is.
        batch: images at a time; by default 512 on the CPU, and up to 4,096 elsewhere.
        rows: which images, and in what order; all if None.
    """
    if batch is None:
        height, width = images.shape[2:]
        fit = max(1, _GPU_PIXELS // (height * width))
        batch = 512 if torch.device(device).type == "cpu" else min(4096, fit)
    chunks = images.split(batch)
    if rows is not None:
        chunks = read_ahead(images.__getitem__, rows.split(batch))
    for chunk in chunks:
        channels = chunk.to(device, non_blocking=True).transpose(0, 1).float()
        x = standardise(channels).transpose(0, 1)
        yield x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(backbone: nn.Module, images: Tensor | ImageFiles, device: str | None = None) -> Tensor:
    """The features of un-augmented images, with BatchNorm's running statistics.

    With `nn.Flatten()` as the backbone they are raw pixels, standardised like a network's input.

    Args:
        backbone: the network; its modules' training modes are left as they were.
        images: uint8 (N, 3, H, W).
        device: `auto`, `cpu` or `cuda`: a copy of the network computes there, and the features are
            returned on the CPU. None: the network computes where it is, and the features stay
            there.

    Returns:
        float32 (N, D).

    Raises:
        ParameterError: a ViT cannot divide the images into patches.
        RunError: memory runs out.
    """
    check_size(backbone, *images.shape[2:])
    place = next(backbone.parameters(), torch.empty(0)).device
    if device is not None:
        place = torch.device(resolve(device)[0])
        backbone = deepcopy(backbone)
    doing = f"the features of {len(images):,} images of {images.shape[-1]} pixels were computed"
    with exact(), memory_errors(doing, MEMORY_CURE), evaluating(backbone):
        backbone.to(place)
        own = [backbone(x).float() for x in inputs(images, place, rows=_own_rows(len(images)))]
        rows = gathered(torch.cat(own))[: len(images)]
        return rows if device is None else rows.cpu()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which each module has the mode that it had, come what may."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _own_rows(n: int) -> Tensor | None:
    """This process's share of n rows; None where there is no other process.

    All shares have one size, so the last one wraps around to the first row.
    """
    if world_size() == 1:
        return None
    share = math.ceil(n / world_size())
    return (rank() * share + torch.arange(share)) % n


@exact()
def effective_rank(x: Tensor) -> float:
    """The effective rank of features (N, D), from 1 to min(N, D).

    It is the exponential of the entropy of the centred features' relative singular values (Roy and
    Vetterli 2007).
    """
    centred = (x - x.mean(0)).double()
    wide = len(x) < x.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred
    singular_values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular_values / singular_values.sum().clamp(min=1e-300)
    return float(torch.special.entr(share).sum().exp())
