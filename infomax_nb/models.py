"""Backbones (timm) and projectors (lightly), by the names that `TrainConfig` admits."""

import torch
from torch import Tensor, nn

from infomax_nb.config import PATCHES
from infomax_nb.errors import ParameterError
from infomax_nb.small_maps import is_small, of_points, on_small_map

HIDDEN = 2048  # of the projectors; the paper varies only the output's width (Figure 3)


def backbone(name: str, stem: str = "imagenet", size: int = 32) -> nn.Module:
    """A network without classifier, images (B, 3, H, W) to pooled features (B, `num_features`),
    randomly initialised.

    Args:
        name: `resnet18`, `resnet50` (timm's), `resnet_small`, four basic blocks of 32, 64, 128, 256
            channels; `vit_tiny` (timm's ViT-Ti/16), `vit_mini`, patch 4, four blocks, width 128. A
            ViT's features are its CLS token; views of another size than `size` get interpolated
            position embeddings.
        size: pixels of the images (of the global views), H = W.
        stem: of the ResNets: `imagenet`, 7x7 with stride 2 and max-pooling; or `small`, for images
            near 32 pixels: 3x3 without pooling, with stride 1 (stride 2 for `resnet_small`, whose
                cost it bounds).
    """
    import timm

    if name.startswith("vit"):
        shape: dict = {"embed_dim": 128, "depth": 4, "num_heads": 4} if name == "vit_mini" else {}
        shape["patch_size"] = PATCHES[name]
        return timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, img_size=size, dynamic_img_size=True, **shape
        )
    if name == "resnet_small":
        net = timm.create_model(
            "resnet18", num_classes=0, layers=(1, 1, 1, 1), channels=(32, 64, 128, 256)
        )
        net.conv1, net.bn1 = nn.Conv2d(3, 32, 7, 2, 3, bias=False), nn.BatchNorm2d(32)
        net.layer1 = nn.Sequential(timm.models.resnet.BasicBlock(32, 32))
        net.init_weights()  # type: ignore[operator]  # timm declares a Module
    else:
        net = timm.create_model(name, num_classes=0)
    if stem == "small":
        net.conv1 = nn.Conv2d(
            3, net.conv1.out_channels, 3, 2 if name == "resnet_small" else 1, 1, bias=False
        )  # type: ignore[union-attr, arg-type]
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    else:
        net.act1, net.maxpool = (
            _LateReLU(inplace=True),
            nn.Sequential(net.maxpool, nn.ReLU(inplace=True)),
        )  # type: ignore[arg-type]
    for module in net.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = _Conv2d  # timm takes no layer of one's own for a ResNet
    return net.to(memory_format=torch.channels_last)


class _LateReLU(nn.ReLU):
    """The stem's ReLU: before max-pooling to who looks at its maps, after it while training.

    Values and gradients are the same in either order, and after pooling it has a quarter of the
    pixels to do.
    """

    def forward(self, input: Tensor) -> Tensor:
        return input if self.training else super().forward(input)


class _Conv2d(nn.Conv2d):
    """A convolution that is matrix products on the CPU where these are faster: on small maps, and
    of single pixels."""

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:  # torch's name of it
        plain = (
            self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and bias is None
        )
        padding = self.padding
        if input.device.type != "cpu" or not plain or isinstance(padding, str):
            return super()._conv_forward(input, weight, bias)
        if self.kernel_size == (1, 1) and padding == (0, 0):
            return of_points(input, weight, self.stride)
        dtype = (
            torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
        )
        if is_small(input, self.kernel_size, self.stride, padding, dtype):
            return on_small_map(input, weight, self.stride, padding)
        return super()._conv_forward(input, weight, bias)


def mlp(features: int, dim: int) -> nn.Module:
    """Two-layer projector, hidden width 2048, BatchNorm and ReLU: (B, features) to (B, dim)."""
    from lightly.models.modules.heads import ProjectionHead

    return ProjectionHead(
        [(features, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU()), (HIDDEN, dim, None, None)]
    )


def check_size(network: nn.Module, *sides: int) -> None:
    """ParameterError unless the network takes images with these `sides`, pixels: a ViT's are whole
    patches."""
    patch = network.patch_embed.patch_size[0] if hasattr(network, "patch_embed") else 1  # type: ignore[union-attr, index]
    for side in sides:
        if side % patch:
            allowed = f"it must be a multiple of {patch}, the ViT's patch"
            raise ParameterError(f"image_size = {side} is not allowed: {allowed}.")


def forward_views(network: nn.Module, views: list[Tensor]) -> list[Tensor]:
    """The network's output for each view (B, 3, S, S), with one forward pass for each
    resolution."""
    sizes, made = [v.shape[-1] for v in views], {}
    check_size(network, *sizes)
    for size in dict.fromkeys(sizes):
        alike = torch.cat([v for v in views if v.shape[-1] == size])
        made[size] = iter(network(alike).chunk(sizes.count(size)))
    return [next(made[size]) for size in sizes]
