"""Backbones (timm) and projectors (lightly), by the names that `TrainConfig` allows."""

from typing import Any

import torch
from torch import Tensor, nn

from infomax_nb.config import PATCHES
from infomax_nb.errors import not_allowed
from infomax_nb.small_maps import is_small, of_points, on_small_map

HIDDEN = 2048  # width of the projectors; the paper varies only the output's width (Figure 3)


def backbone(name: str, stem: str = "imagenet", size: int = 32) -> Any:
    """A randomly initialised network without a classifier.

    It maps images (B, 3, H, W) to pooled features (B, `num_features`).

    Args:
        name: `resnet18` or `resnet50` (timm's); `resnet_small`, four basic blocks of 32, 64, 128
            and 256 channels; `vit_tiny` (timm's ViT-Ti/16); `vit_mini`, with patch 4, four blocks
            and width 128. A ViT's features are its CLS token. For views that are not of `size` its
            position embeddings are interpolated.
        stem: a ResNet's first layers. `imagenet` is 7x7 with stride 2 and max-pooling. `small`, for
            images near 32 pixels, is 3x3 without pooling, with stride 1 (for `resnet_small`
            stride 2, which limits its cost).
        size: pixels of a side of the images (of the global views), H = W.
    """
    if name.startswith("vit"):
        return _vit(name, size)
    network = _resnet(name)
    if stem == "small":
        stride = 2 if name == "resnet_small" else 1
        network.conv1 = nn.Conv2d(3, network.conv1.out_channels, 3, stride, 1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    else:
        network.act1 = _LateReLU(inplace=True)
        network.maxpool = nn.Sequential(network.maxpool, nn.ReLU(inplace=True))
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = _Conv2d  # timm does not let a ResNet have another layer class
    return network.to(memory_format=torch.channels_last)


def _vit(name: str, size: int) -> Any:
    options = {"patch_size": PATCHES[name], "img_size": size, "dynamic_img_size": True}
    if name == "vit_mini":
        options |= {"embed_dim": 128, "depth": 4, "num_heads": 4}
    return _timm("vit_tiny_patch16_224", **options)


def _resnet(name: str) -> Any:
    if name != "resnet_small":
        return _timm(name)
    network = _timm("resnet18", layers=(1, 1, 1, 1), channels=(32, 64, 128, 256))
    block = type(network.layer1[0])
    network.conv1 = nn.Conv2d(3, 32, 7, 2, 3, bias=False)
    network.bn1 = nn.BatchNorm2d(32)
    network.layer1 = nn.Sequential(block(32, 32))
    network.init_weights()
    return network


def _timm(name: str, **options: Any) -> Any:
    import timm  # which takes seconds

    return timm.create_model(name, num_classes=0, **options)


class _LateReLU(nn.ReLU):
    """The stem's ReLU: after max-pooling in training, before it in evaluation, for its maps' sake.

    Values and gradients are the same in either order, and after the pooling there is only a quarter
    of the pixels.
    """

    def forward(self, input: Tensor) -> Tensor:
        return input if self.training else super().forward(input)


class _Conv2d(nn.Conv2d):
    """A ResNet's convolution, as a matrix product where that is faster.

    That is on the CPU, for small maps and for kernels of one pixel.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu":
            return super()._conv_forward(input, weight, bias)
        if self.kernel_size == (1, 1):
            return of_points(input, weight, self.stride)
        half = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if half else weight.dtype
        padding: Any = self.padding  # torch also accepts a word
        if is_small(input, self.kernel_size, self.stride, padding, dtype):
            return on_small_map(input, weight, self.stride, padding)
        return super()._conv_forward(input, weight, bias)


def mlp(features: int, dim: int) -> nn.Module:
    """Two-layer projector, hidden width 2048, BatchNorm and ReLU: (B, features) to (B, dim)."""
    from lightly.models.modules.heads import ProjectionHead

    hidden = (features, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU())
    return ProjectionHead([hidden, (HIDDEN, dim, None, None)])


def check_size(network: nn.Module, *sides: int) -> None:
    """Refuse sides of images, in pixels, that the network cannot take: a ViT needs whole patches.

    Raises:
        ParameterError: one of the sides is not a multiple of the patch.
    """
    embedding: Any = getattr(network, "patch_embed", None)
    patch = embedding.patch_size[0] if embedding else 1
    for side in sides:
        if side % patch:
            raise not_allowed("image_size", side, f"a multiple of {patch}, the ViT's patch")


def forward_views(network: nn.Module, views: list[Tensor]) -> list[Tensor]:
    """The network's output (B, D) for each view (B, 3, S, S), one forward pass per resolution."""
    sizes = [view.shape[-1] for view in views]
    check_size(network, *sizes)
    outputs = {}
    for size in dict.fromkeys(sizes):
        alike = torch.cat([view for view in views if view.shape[-1] == size])
        outputs[size] = iter(network(alike).chunk(sizes.count(size)))
    return [next(outputs[size]) for size in sizes]
