"""Where a network looks (the paper's Figures 1 and 2), and how much of that lies on the object.

Images are uint8 (N, 3, H, W). Maps are float32 (N, H, W) and nowhere negative. A copy of the
network computes them in float32 on `device` (`auto`, `cpu` or `cuda`); they are returned on the
CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from timm.utils import AttentionExtract
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from infomax_nb.device import exact, resolve
from infomax_nb.errors import memory_errors, not_allowed
from infomax_nb.evaluation.intervals import paired_interval
from infomax_nb.evaluation.representation import inputs
from infomax_nb.models import check_size
from infomax_nb.views import MultiView, dino_views

TARGETS = ("length", "another view")
_CURE = "take fewer images or smaller ones, or device = cpu"

# --- Maps -------------------------------------------------------------------------------------


def maps(net: nn.Module, images: Tensor, device: str = "auto", target: str = "length") -> Tensor:
    """The paper's maps (N, H, W): `smooth_grad_cam`, or a ViT's `attention`, without a target."""
    if hasattr(net, "patch_embed"):
        return attention(net, images, device=device)
    return smooth_grad_cam(net, images, device=device, target=target)


@exact()
@memory_errors("saliency maps were computed", _CURE)
def smooth_grad_cam(
    net: nn.Module,
    images: Tensor,
    layer: str | None = None,
    noise: float = 0.15,
    copies: int = 8,
    seed: int = 0,
    device: str = "auto",
    target: str = "length",
) -> Tensor:
    """Maps of a convolutional network: the mean of grad-cam's `GradCAM` over noisy copies.

    No label is needed. The target `length` is the embedding's dot product with its own detached
    copy. Its gradient is that of half the squared length, so the map shows what makes an embedding
    long. (The cosine with its own copy would be 1 for any image, and every gradient zero.) The
    target `another view` is the cosine with the embedding of another view of the image, held
    constant: a global view as in the paper's training, a new one for each noisy copy.

    grad-cam cuts off negative values, then stretches each map onto 0..1, from its minimum to its
    maximum. So the values have no unit, and zero has no meaning.

    Args:
        net: the network.
        images: uint8 (N, 3, H, W).
        layer: a stage of the network (from timm's `feature_info`, else its direct children). None
            is the deepest one whose map is at least 8×8.
        noise: standard deviation, as a share of the range of the input's values; SmoothGrad
            (Smilkov et al. 2017) recommends 0.1 to 0.2.
        copies: number of noisy copies of each image.
        seed: of the noise, which is drawn on the CPU, so that it is the same on every device.
        device: `auto`, `cpu` or `cuda`.
        target: `length` or `another view`.

    Returns:
        Maps in 0..1, (N, H, W).

    Raises:
        ParameterError: there is no such target or layer, or its map is a single point and thus
            constant.
        RunError: memory runs out.
    """
    from pytorch_grad_cam import GradCAM  # takes a second

    if target not in TARGETS:
        raise not_allowed("target", target, f"one of {', '.join(TARGETS)}")
    place = resolve(device)[0]
    generator = torch.Generator().manual_seed(seed)
    of_views = torch.Generator().manual_seed(seed)  # the noise is the same for both targets
    net = deepcopy(net).to(place).eval().requires_grad_(False)
    chosen = map_layer(net, next(inputs(images[:1], place)), layer)
    net.get_submodule(chosen).register_forward_hook(_begins_a_graph)
    cam = GradCAM(net, [net.get_submodule(chosen)])
    batches = []
    for few, x in zip(images.split(64), inputs(images, place, batch=64), strict=True):
        scale = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        targets: Sequence[Callable] = [_dot_with_itself] * len(x)
        total = 0
        for _ in range(copies):
            if target == "another view":
                targets = _cosines(net, few, of_views, place)
            drawn = torch.randn(x.shape, generator=generator).to(place)
            total = total + cam(x + scale * drawn, targets)
        batches.append(total / copies)
    return torch.from_numpy(np.concatenate(batches))


def _begins_a_graph(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
    """Grad-CAM asks for the gradient at a layer; what comes before it needs none."""
    return output.detach().requires_grad_()


def _dot_with_itself(embedding: Tensor) -> Tensor:
    return embedding @ embedding.detach()


@torch.no_grad()
def _cosines(net: nn.Module, images: Tensor, generator: torch.Generator, place) -> list[Callable]:
    """For each image, the cosine of an embedding with that of a view that is drawn here."""
    view = MultiView(dino_views(min(images.shape[2:]))[:1])(images, generator)[0]
    return [partial(cosine_similarity, other, dim=0) for other in net(view.to(place))]


def map_layer(net: nn.Module, x: Tensor, layer: str | None = None) -> str:
    """The layer that a map is drawn from: the given one, or the last of at least 8×8.

    Args:
        net: the network.
        x: its input, (N, 3, H, W).
        layer: as in `smooth_grad_cam`.

    Raises:
        ParameterError: there is no such layer, or its map is a single point.
    """
    return _with_a_map(layer, map_sizes(net, x))


def map_sizes(net: nn.Module, x: Tensor) -> dict[str, torch.Size]:
    """Height and width of each stage's map for images x (N, 3, H, W), in the network's order."""
    stages = [stage["module"] for stage in getattr(net, "feature_info", ())]
    stages = stages or [name for name, _ in net.named_children()]
    outputs = AttentionExtract(deepcopy(net), stages, method="hook")(x)  # works for any module
    return {stage: out.shape[2:] for stage, out in outputs.items() if out.ndim == 4}


def _with_a_map(layer: str | None, sizes: Mapping[str, Sequence[int]]) -> str:
    """The layer; None is the last of at least 8×8. ParameterError if its map is a single point."""
    large = [name for name, size in sizes.items() if min(size) >= 8]
    chosen = layer or (large[-1] if large else None)
    if chosen is None or max(sizes.get(chosen, [1])) == 1:
        allowed = "one whose map is larger than 1×1, for a single point is constant"
        here = ", ".join(f"{name} {height}×{width}" for name, (height, width) in sizes.items())
        default = f"(the default: at least 8×8); here are {here}"
        raise not_allowed("layer", layer, f"{allowed} {default}")
    return chosen


@exact()
@memory_errors("saliency maps were computed", _CURE)
def attention(net: Any, images: Tensor, device: str = "auto") -> Tensor:
    """The paper's Figure 2: attention of a ViT's CLS token to each patch, over heads and blocks.

    It is the mean and nothing else. Before the grid of patches is enlarged (bilinear), a map's sum
    is 1 less the attention that the CLS token pays to itself and to other prefix tokens.

    Args:
        net: one of timm's ViTs.
        images: uint8 (N, 3, H, W).
        device: `auto`, `cpu` or `cuda`.

    Returns:
        Maps (N, H, W).

    Raises:
        ParameterError: the image cannot be divided into patches, or is a single patch.
        RunError: memory runs out.
    """
    size = images.shape[2:]
    check_size(net, *size)
    place = resolve(device)[0]
    net = deepcopy(net).to(place).requires_grad_(False)
    for module in net.modules():
        module.fused_attn = False  # a fused kernel never forms the weights
    extract = AttentionExtract(net, method="hook")
    grid = net.patch_embed.dynamic_feat_size(size)
    _with_a_map("patches", {"patches": grid})
    rows = []
    for x in inputs(images, place, 32):
        of_cls = [weights.mean(1)[:, 0] for weights in extract(x).values()]
        rows.append(torch.stack(of_cls).mean(0)[:, net.num_prefix_tokens :].cpu())
    patches = torch.cat(rows).unflatten(1, (1, *grid))
    return nn.functional.interpolate(patches, size, mode="bilinear")[:, 0]


# --- Measures ---------------------------------------------------------------------------------


def coverage(boxes: Tensor, size: int) -> Tensor:
    """Boxes as masks (N, size, size): the share of each pixel that the box covers.

    Args:
        boxes: (N, 4), x0 y0 x1 y1 in pixels.
        size: side of the square images in pixels.
    """
    low, high = boxes.view(-1, 2, 2, 1).unbind(1)  # of x and y: (N, 2, 1)
    pixel = torch.arange(size)
    covered = (high.minimum(pixel + 1) - low.maximum(pixel)).clamp(min=0)
    return torch.einsum("nx,ny->nyx", *covered.unbind(1))


def inside(maps: Tensor, masks: Tensor) -> pd.DataFrame:
    """How much of each map lies inside its object's mask. A map of zeros counts as uniform.

    Args:
        maps: (N, H, W).
        masks: (N, H, W), bool or shares in 0..1.

    Returns:
        `ratio`: the share of the map's sum inside the mask, over the mask's share of the area; 1
        for a uniform map. `hit`: the pointing game (Zhang et al. 2016, here without their tolerance
        of 15 pixels), 100 if the map's maximum lies inside, 0 if not. Of equal maxima the mean
        counts, so a uniform map scores the area. `area`: the mask's share of the image, percent.

    Raises:
        ValueError: a map holds a number that is not finite.
    """
    values = maps.double().flatten(1)
    if not values.isfinite().all():
        rows = (~values.isfinite()).any(1).nonzero()[:, 0].tolist()
        raise ValueError(f"maps must be finite, those of images {rows} are not.")
    values = (values / values.amax(1, keepdim=True)).nan_to_num(1.0)
    mask = masks.double().flatten(1)
    area = mask.mean(1)
    ratio = (values * mask).mean(1) / values.mean(1) / area
    largest = values == 1
    hit = (largest * mask).sum(1) / largest.sum(1)
    return pd.DataFrame({"ratio": ratio, "hit": 100 * hit, "area": 100 * area})


def inside_sure(maps: Tensor, masks: Tensor, sure: Tensor) -> pd.DataFrame:
    """`share`: percent of each map's sum that lies inside its mask; `hit`: the pointing game's.

    Pixels that are not sure are left out of both. A map of zeros counts as uniform.

    Args:
        maps: (N, H, W).
        masks: bool (N, H, W).
        sure: bool (N, H, W).
    """
    known = maps * sure
    empty = known.amax((1, 2), keepdim=True) == 0
    found = inside(torch.where(empty, 1.0, known) * sure, masks & sure)
    share = found["ratio"] * found["area"]
    share = share.where(found["area"] > 0, 0.0)  # no sure pixel is in the mask, so nothing is
    return pd.DataFrame({"share": share, "hit": found["hit"]})


def centre_prior(size: int, width: float = 0.25) -> Tensor:
    """A Gaussian in the middle (size, size), which looks at no image.

    Args:
        size: pixels of a side.
        width: its standard deviation as a share of the side.
    """
    offset = (torch.arange(size) + 0.5 - size / 2) / (width * size)
    return torch.exp(-(offset[:, None] ** 2 + offset**2) / 2)


def interval(values: pd.DataFrame) -> pd.DataFrame:
    """Mean of each column with its 95% interval, `low` to `high`, over the rows (images).

    It is a percentile bootstrap. A single row has no interval: its ends are NaN.
    """
    if len(values) < 2:
        return pd.DataFrame({"mean": values.mean(), "low": np.nan, "high": np.nan})
    options: dict[str, Any] = {"n_resamples": 2000, "method": "percentile", "random_state": 0}
    ends = bootstrap((values,), np.mean, batch=50, **options).confidence_interval
    return pd.DataFrame({"mean": values.mean(), "low": ends.low, "high": ends.high})


# --- The verdict ------------------------------------------------------------------------------


def ratio_gaps(
    measured: Mapping[str, Sequence[pd.DataFrame]], ours: str
) -> dict[str, list[pd.Series]]:
    """How much `ours`' ratio exceeds that of each reference, image by image.

    Args:
        measured: for each name, tables of `inside`, one per network, with a column `other`: the
            ratio on another image's object. If a reference has fewer networks, they take turns.
        ours: the name that is compared with the references.
    """
    references = {
        "uniform": "a uniform map",
        "untrained": "the untrained network",
        "centre prior": "the centre prior",
        "simclr": "simclr",
    }
    gaps = {"its own maps on another image's object": [m.ratio - m.other for m in measured[ours]]}
    for name, phrase in references.items():
        if name in measured and name != ours:
            pairs = zip(measured[ours], cycle(measured[name]), strict=False)
            gaps[phrase] = [own.ratio - other.ratio for own, other in pairs]
    return gaps


def compared(gaps: Mapping[str, Sequence[pd.Series]]) -> pd.DataFrame:
    """Each gap's mean, its 95% interval, `low` to `high`, and the `word` that follows from it.

    The interval is Student's t over networks, or for one network a bootstrap over its images. Words
    are `above`, `below` and `not told apart from`.
    """
    by_network = pd.DataFrame({name: [gap.mean() for gap in each] for name, each in gaps.items()})
    if len(by_network) > 1:
        intervals = {name: paired_interval(by_network[name]) for name in by_network}
        table = pd.DataFrame(intervals).T[["mean", "low", "high"]]
    else:
        table = interval(pd.DataFrame({name: each[0] for name, each in gaps.items()}))
    sides = [table.low > 0, table.high < 0]
    return table.assign(word=np.select(sides, ["above", "below"], "not told apart from"))


def conclusion(words: Mapping[str, str]) -> str:
    """A sentence on whether “focuses on objects” is shown: `above` all but another method.

    >>> conclusion({"a uniform map": "above", "simclr": "below"})
    '“Focuses on objects” is shown'
    """
    missed = [name for name, word in words.items() if word != "above" and name != "simclr"]
    shown = f"not shown: it is not above {', nor '.join(missed)}" if missed else "shown"
    return f"“Focuses on objects” is {shown}"
