"""evaluation.features."""

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

_CURE = "take fewer images (n_train), a smaller image_size, or device = cpu"


def inputs(
    images: Tensor | ImageFiles, device: torch.device | str = "cpu", batch: int = 512
) -> Iterator[Tensor]:
    """uint8 images (N, 3, H, W) as the network's un-augmented input, a batch at a time."""
    for chunk in images.split(batch):
        x = standardise(chunk.to(device).transpose(0, 1).float()).transpose(0, 1)
        yield x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(backbone: nn.Module, images: Tensor | ImageFiles, device: str | None = None) -> Tensor:
    """Features (N, D), float32, of uint8 images (N, 3, H, W), un-augmented, with BatchNorm's
    running statistics.

    `nn.Flatten()` as the backbone gives raw pixels, normalised as the networks' input is.

    Args:
        device: `auto`, `cpu` or `cuda`: where a copy of the network computes, while the features
            come to the CPU. None: where the network is, and there the features stay.

    Raises ParameterError for images that a ViT can't divide into patches, RunError where memory
    runs out.
    """
    check_size(backbone, *images.shape[2:])
    place = next(backbone.parameters(), torch.empty(0)).device
    if device is not None:
        place = torch.device(resolve(device)[0])
        backbone = deepcopy(backbone)
    modes = {module: module.training for module in backbone.modules()}
    share = -(
        -len(images) // world_size()
    )  # of each process; the last one's wraps around: all are equally long
    doing = f"the features of {len(images):,} images of {images.shape[-1]} pixels were computed"
    with exact(), memory_errors(doing, _CURE):
        backbone.to(place).eval()
        part = (
            images
            if world_size() == 1
            else images[(rank() * share + torch.arange(share)) % len(images)]
        )
        out = gathered(torch.cat([backbone(x).float() for x in inputs(part, place)]))[: len(images)]
        out = out if device is None else out.cpu()
    backbone.apply(lambda module: setattr(module, "training", modes[module]))
    return out


@exact()
def effective_rank(x: Tensor) -> float:
    """exp of the entropy of centred features' relative singular values (Roy, Vetterli 2007); (N,
    D): 1 to min(N, D)."""
    x = (x - x.mean(0)).double()
    values = torch.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=1e-300)
    return float(torch.special.entr(share).sum().exp())
