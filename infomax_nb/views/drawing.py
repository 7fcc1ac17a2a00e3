"""views.drawing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from infomax_nb.views.pixels import OPERATIONS, ORDERS

_BLOCK = (
    2**16
)  # images whose numbers are drawn in one call: what it needs on its way stays below 100 MB


_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it falls back to a central crop


def draw(
    views: Sequence, images: int, height: int, width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw everything random about `views` (`ViewSpec`) of so many images of height x width
    pixels, on the CPU.

    The images of an epoch are drawn together; `generator` alone decides what comes.

    Returns a dict of tensors of shape (V, images): top, left, height, width (pixels), flip, jitter,
    gray, blur, solarize (bool), brightness, contrast, saturation (factors), hue (turns), sigma
    (pixels); and `order` (V, images), an index into the 24 orders of the four jitter operations.
    """
    blocks = [min(_BLOCK, images - start) for start in range(0, images, _BLOCK)]
    drawn = [_draw_block(views, block, height, width, generator) for block in blocks]
    return {name: torch.cat([block[name] for block in drawn], 1) for name in drawn[0]}


def _draw_block(views: Sequence, images: int, height: int, width: int, generator: torch.Generator):
    u = torch.rand((2 * _ATTEMPTS + 13, len(views), images), generator=generator)
    chances = torch.tensor(
        [(v.flip, v.jitter_p, v.gray_p, v.blur_p, v.solarize_p) for v in views]
    ).T[..., None]
    small, large, narrow, wide, sharp, soft = torch.tensor(
        [(*v.area, *v.ratio, *v.sigma) for v in views]
    ).T[..., None]
    area = height * width * (small + u[:_ATTEMPTS] * (large - small))
    ratio = torch.exp(narrow.log() + u[_ATTEMPTS : 2 * _ATTEMPTS] * (wide.log() - narrow.log()))
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first, any_fits = fits.byte().argmax(0, keepdim=True), fits.any(0)
    w = torch.where(any_fits, w.gather(0, first)[0], (height * wide).round().clamp(max=width))
    h = torch.where(any_fits, h.gather(0, first)[0], (width / narrow).round().clamp(max=height))
    switches, (top, left, order, sigma) = u[2 * _ATTEMPTS : -8], u[-8:-4]
    drawn = {
        "height": h,
        "width": w,
        "order": (order * len(ORDERS)).byte(),
        "sigma": sharp + sigma * (soft - sharp),
    }
    drawn["top"] = torch.where(
        any_fits, (top * (height - h + 1)).floor(), ((height - h) / 2).floor()
    )
    drawn["left"] = torch.where(
        any_fits, (left * (width - w + 1)).floor(), ((width - w) / 2).floor()
    )
    drawn |= zip(("flip", "jitter", "gray", "blur", "solarize"), switches < chances, strict=True)
    strengths = torch.tensor([v.jitter for v in views]).T[..., None]
    for (_, name), x, strength in zip(OPERATIONS, u[-4:], strengths, strict=True):
        drawn[name] = (0.0 if name == "hue" else 1.0) + (x * (strength + strength) - strength)
    return drawn
