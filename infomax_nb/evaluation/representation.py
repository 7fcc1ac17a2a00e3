"""Features of images, and how many dimensions they fill."""

import math
from collections.abc import Iterator
from copy import deepcopy

import torch
from lightly.utils.dist import rank, world_size
from torch import Tensor, nn

from infomax_nb.data.image_set import ImageFiles
from infomax_nb.device import exact, resolve
from infomax_nb.distributed import gathered
from infomax_nb.errors import memory_errors
from infomax_nb.models import check_size
from infomax_nb.views.pixels import standardise

_GPU_PIXELS = 2**24  # of a channel, that a GPU gets at a time: fewer launches than a CPU needs
MEMORY_CURE = "take fewer images (n_train), a smaller image_size, or device = cpu"


def inputs(
    images: Tensor | ImageFiles, device: torch.device | str = "cpu", batch: int | None = None
) -> Iterator[Tensor]:
    """uint8 images (N, 3, H, W) as the network's un-augmented input, a batch at a time.

    By default these are batches of 512 on the CPU, and of up to 4,096 elsewhere.
    """
    if batch is None:
        height, width = images.shape[2:]
        fit = max(1, _GPU_PIXELS // (height * width))
        batch = 512 if torch.device(device).type == "cpu" else min(4096, fit)
    for chunk in images.split(batch):
        channels = chunk.to(device).transpose(0, 1).float()
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
    training = {module: module.training for module in backbone.modules()}
    doing = f"the features of {len(images):,} images of {images.shape[-1]} pixels were computed"
    with exact(), memory_errors(doing, MEMORY_CURE):
        backbone.to(place).eval()
        own = [backbone(x).float() for x in inputs(_own_share(images), place)]
        rows = gathered(torch.cat(own))[: len(images)]
        if device is not None:
            rows = rows.cpu()
    for module, mode in training.items():
        module.training = mode
    return rows


def _own_share(images: Tensor | ImageFiles) -> Tensor | ImageFiles:
    """This process's share. All have one size, so the last one wraps around to the first image."""
    if world_size() == 1:
        return images
    share = math.ceil(len(images) / world_size())
    return images[(rank() * share + torch.arange(share)) % len(images)]


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
