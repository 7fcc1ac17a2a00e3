"""Draw the random numbers of views, for a whole epoch at once."""

import torch
from torch import Tensor

from infomax_nb.views.colours import JITTER, ORDERS, box_radius

_BLOCK = 2**16  # images whose numbers are drawn in one call, with some 25 MB for a view
_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it takes a central crop
_CHANCES = ("flip", "jitter_p", "gray_p", "blur_p", "solarize_p")
_FLAGS = ("flip", "jitter", "gray", "blur", "solarize")
_OTHERS = ("top", "left", "height", "width", *JITTER, "radius", "order")


def draw(specs, images: int, height: int, width: int, generator) -> dict[str, Tensor]:
    """Draw everything random about the views of N images, on the CPU.

    The numbers of an epoch's images are drawn together. They depend on `generator` alone.

    Args:
        specs: a `ViewSpec` for each of the V views.
        images: the number N of images.
        height: of the images, in pixels.
        width: of the images, in pixels.
        generator: torch's, on the CPU, so that every device makes the same views.

    Returns: tensors (V, N) by name: top, left, height, width (pixels); flip, jitter, gray, blur,
        solarize (bool); brightness, contrast, saturation (factors), hue (turns); sigma (pixels);
        order, an index into the 24 orders of the four jitter operations.
    """
    blocks = []
    for start in range(0, images, _BLOCK):
        block = min(_BLOCK, images - start)
        blocks.append(_draw_block(specs, block, height, width, generator))
    names = blocks[0].keys()
    return {name: torch.cat([block[name] for block in blocks], 1) for name in names}


def pack(numbers: dict[str, Tensor]) -> Tensor:
    """What `draw` returns as one tensor (names, V, N), for a single upload to a GPU.

    The blur's standard deviation is replaced by its boxes' radius.
    """
    radius = box_radius(numbers["sigma"])
    known = {**numbers, "radius": radius}
    names = _FLAGS + _OTHERS
    return torch.stack([known[name].float() for name in names])


def unpack(packed: Tensor) -> dict[str, Tensor]:
    """The numbers by name, (V, N) each, from `pack`; `order` is a float here."""
    count = len(_FLAGS)
    flags = packed[:count].bool()
    others = packed[count:]
    numbers = dict(zip(_FLAGS, flags, strict=True))
    numbers.update(zip(_OTHERS, others, strict=True))
    return numbers


def _draw_block(specs, images: int, height: int, width: int, generator) -> dict[str, Tensor]:
    counts = [_ATTEMPTS, _ATTEMPTS, 5, 2, 1, 1, 4]
    shape = (sum(counts), len(specs), images)
    u = torch.rand(shape, generator=generator)
    areas, ratios, switches, places, order, sigma, factors = u.split(counts)
    numbers = _boxes(specs, height, width, areas, ratios, places)
    for x, field in zip(switches, _CHANCES, strict=True):
        chances = torch.tensor([getattr(spec, field) for spec in specs])
        numbers[field.removesuffix("_p")] = x < chances[:, None]
    strengths = _columns([spec.jitter for spec in specs])
    for name, x, strength in zip(JITTER, factors, strengths, strict=True):
        neutral = 0.0 if name == "hue" else 1.0
        numbers[name] = neutral + (x * (strength + strength) - strength)
    order = order[0] * len(ORDERS)
    numbers["order"] = order.byte()
    sharp, soft = _columns([spec.sigma for spec in specs])
    numbers["sigma"] = sharp + sigma[0] * (soft - sharp)
    return numbers


def _columns(of_views: list[tuple]) -> Tensor:
    """Several numbers of each of V views, (numbers, V, 1)."""
    return torch.tensor(of_views).T[..., None]


def _boxes(specs, height: int, width: int, areas, ratios, places) -> dict[str, Tensor]:
    """As RandomResizedCrop: the first attempt that fits into the image, else a central box."""
    small, large = _columns([spec.area for spec in specs])
    narrow, wide = _columns([spec.ratio for spec in specs])
    share = small + areas * (large - small)
    area = height * width * share
    narrow_log = narrow.log()
    log_ratio = narrow_log + ratios * (wide.log() - narrow_log)
    ratio = log_ratio.exp()
    widths = (area * ratio).sqrt().round()
    heights = (area / ratio).sqrt().round()
    fits = (widths > 0) & (heights > 0)
    fits &= (widths <= width) & (heights <= height)
    found = fits.any(0)
    first = fits.byte().argmax(0, keepdim=True)
    widest = (height * wide).round().clamp(max=width)
    highest = (width / narrow).round().clamp(max=height)
    fitting_width = widths.gather(0, first)[0]
    fitting_height = heights.gather(0, first)[0]
    w = torch.where(found, fitting_width, widest)
    h = torch.where(found, fitting_height, highest)
    below = height - h
    beside = width - w
    top = torch.where(found, places[0] * (below + 1), below / 2)
    left = torch.where(found, places[1] * (beside + 1), beside / 2)
    return {"top": top.floor(), "left": left.floor(), "height": h, "width": w}
