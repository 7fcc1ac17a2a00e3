"""Where a network looks (the paper's Figures 1 and 2), and how much of that lies on the object.

Images are uint8 (N, 3, H, W). Maps are float32 (N, H, W), nowhere negative; they are computed in
float32 on `device`, `auto`, `cpu` or `cuda`, by a copy of the network, and come to the CPU.
"""

from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from timm.utils import AttentionExtract
from torch import Tensor, nn

from infomax_nb.device import exact, resolve
from infomax_nb.errors import ParameterError, memory_errors
from infomax_nb.evaluation.representation import inputs
from infomax_nb.models import check_size

_CURE = "take fewer images or smaller ones, or device = cpu"


def maps(net: nn.Module, images: Tensor, device: str = "auto") -> Tensor:
    """The paper's maps (N, H, W) of the network, at their defaults: `attention` for a ViT, else
    `smooth_grad_cam`."""
    return (attention if hasattr(net, "patch_embed") else smooth_grad_cam)(
        net, images, device=device
    )


@exact()
@memory_errors("saliency maps were computed", _CURE)
def smooth_grad_cam(
    net: nn.Module,
    images: Tensor,
    layer: str | None = None,
    noise=0.15,
    copies=8,
    seed=0,
    device: str = "auto",
) -> Tensor:
    """Maps in 0..1 of a convolutional network: the mean of grad-cam's `GradCAM` over noisy copies
    of each image.

    No label is needed: the target is the un-normalised embedding's dot product with its own
    detached copy. (The cosine in its place is 1 whatever the image: every gradient would be zero.)
    grad-cam cuts negative values off, then stretches each map onto 0..1, from its minimum to its
    maximum: its values have no unit, its zero no meaning.

    Args:
        layer: a stage of the network (timm's `feature_info`, else its direct children); None is the
            deepest whose map is at least 8×8. ParameterError if there is none, or if the map is a
            single point (1×1), thus constant.
        noise: standard deviation, as a share of the range of the input's values; SmoothGrad
            (Smilkov et al. 2017) recommends 0.1 to 0.2.
    """
    from pytorch_grad_cam import GradCAM  # takes a second

    place, generator = (
        resolve(device)[0],
        torch.Generator().manual_seed(seed),
    )  # noise on the CPU: the same everywhere
    net = deepcopy(net).to(place).eval().requires_grad_(False)
    stages = [s["module"] for s in getattr(net, "feature_info", ())] or [
        name for name, _ in net.named_children()
    ]
    first = next(inputs(images[:1], place))
    outputs = AttentionExtract(deepcopy(net), stages, method="hook")(first)  # takes any module's
    layer = _with_a_map(
        layer, {stage: out.shape[2:] for stage, out in outputs.items() if out.ndim == 4}
    )
    cam, made = GradCAM(net, [net.get_submodule(layer)]), []
    for x in inputs(images, place, batch=64):
        scale = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        drawn = (torch.randn(x.shape, generator=generator).to(place) for _ in range(copies))
        noisy = ((x + scale * each).requires_grad_() for each in drawn)
        made.append(sum(cam(each, [lambda z: z @ z.detach()] * len(x)) for each in noisy) / copies)
    return torch.from_numpy(np.concatenate(made))


def _with_a_map(layer: str | None, sizes: dict[str, torch.Size]) -> str:
    """The layer, for None the last of at least 8×8. ParameterError if its map is a single point, or
    there is none."""
    layer = layer or next((name for name in reversed(sizes) if min(sizes[name]) >= 8), None)
    if layer is None or max(sizes.get(layer, [1])) == 1:
        allowed = "one whose map is larger than 1×1, for a single point is constant (the default: at least 8×8)"
        here = ", ".join(f"{name} {h}×{w}" for name, (h, w) in sizes.items())
        raise ParameterError(
            f"layer = {layer!r} is not allowed: it must be {allowed}; here are {here}."
        )
    return layer


@exact()
@memory_errors("saliency maps were computed", _CURE)
def attention(net: nn.Module, images: Tensor, device: str = "auto") -> Tensor:
    """Attention of a timm ViT's CLS token to each patch, the mean over heads and all blocks: the
    paper's Figure 2.

    Nothing is rescaled: before the grid of patches is enlarged (bilinear), a map's sum is 1 less
    the attention that the CLS token pays to itself and to other prefix tokens. ParameterError if
    the image is a single patch.
    """
    # A fused kernel never forms the weights.
    check_size(net, *images.shape[2:])
    place = resolve(device)[0]
    net = (
        deepcopy(net)
        .to(place)
        .requires_grad_(False)
        .apply(lambda part: setattr(part, "fused_attn", False))
    )
    extract, grid = (
        AttentionExtract(net, method="hook"),
        net.patch_embed.dynamic_feat_size(images.shape[2:]),
    )  # type: ignore[union-attr, operator]
    _with_a_map("patches", {"patches": grid})
    found = (
        torch.stack([weights.mean(1)[:, 0] for weights in extract(x).values()])
        for x in inputs(images, place, 32)
    )
    rows = torch.cat([cls.mean(0)[:, net.num_prefix_tokens :].cpu() for cls in found])
    return nn.functional.interpolate(
        rows.unflatten(1, (1, *grid)), images.shape[2:], mode="bilinear"
    )[:, 0]


def coverage(boxes: Tensor, size: int) -> Tensor:
    """Boxes (N, 4), x0 y0 x1 y1 in pixels, as masks (N, size, size): the share of each pixel that
    the box covers."""
    (low, high), pixel = boxes.view(-1, 2, 2, 1).unbind(1), torch.arange(size)
    return torch.einsum(
        "nx,ny->nyx", *(high.minimum(pixel + 1) - low.maximum(pixel)).clamp(min=0).unbind(1)
    )


def inside(maps: Tensor, masks: Tensor) -> pd.DataFrame:
    """How much of each map (N, H, W) lies inside its object's mask (N, H, W), bool or shares in
    0..1. Columns:

    `ratio`: the share of the map's sum inside the mask, over the mask's share of the area; 1 for a
    uniform map. `hit`: the pointing game (Zhang et al. 2016, here without their tolerance of 15
    pixels), 100 if the map's maximum lies inside, 0 if not; of equal maxima the mean, so a uniform
    map scores the area. `area`: the mask's share of the image, percent. A map of zeros says nothing
    and counts as uniform.
    """
    maps, masks = maps.double().flatten(1), masks.double().flatten(1)
    maps, area = (maps / maps.amax(1, keepdim=True)).nan_to_num(1.0), masks.mean(1)
    hit = ((maps == 1) * masks).sum(1) / (maps == 1).sum(1)
    return pd.DataFrame(
        {
            "ratio": (maps * masks).mean(1) / maps.mean(1) / area,
            "hit": 100 * hit,
            "area": 100 * area,
        }
    )


def interval(values: pd.DataFrame) -> pd.DataFrame:
    """Mean of each column with its 95% interval, `low` to `high`: percentile bootstrap over the
    rows (images)."""
    found = bootstrap(
        (values,), np.mean, n_resamples=2000, batch=50, method="percentile", random_state=0
    )
    return pd.DataFrame({"mean": values.mean(), **found.confidence_interval._asdict()})
