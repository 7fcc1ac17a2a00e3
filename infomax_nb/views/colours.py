"""The views' colour operations, a batch at a time, in Pillow's 8-bit arithmetic.

Jitter, grey, blur and solarise. What is random about them is drawn in `drawing`: the `numbers`
here. Pixels are whole numbers 0..255, as float32, channels first: (3, n, S, S). Only some samples
get an operation: on the CPU these are picked, as that saves work. `masked` does without.
"""

import math
from itertools import permutations

import torch
from torch import Tensor

from infomax_nb.device import DeviceConstant, exact, host_may_look
from infomax_nb.views.specification import ViewSpec

JITTER = ("brightness", "contrast", "saturation", "hue")
ORDERS = list(permutations(range(4)))  # of the operations in JITTER

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, Pillow's and torchvision's grey
_FAR = DeviceConstant(torch.tensor([3.0, 5.0, 1.0]))  # hues opposite to red, green, blue, sixths


# --- Jitter and grey, on the CPU --------------------------------------------------------------


def jitter(x: Tensor, numbers: dict[str, Tensor]) -> Tensor:
    """The jitter of (3, n, S, S), in place: four operations in each sample's own order.

    Samples of one order are taken together.

    Args:
        x: whole numbers 0..255.
        numbers: as `drawing.draw` returns them, (n,).
    """
    rows = numbers["jitter"].nonzero()[:, 0]
    order = numbers["order"][rows].long()
    counts = order.bincount(minlength=len(ORDERS)).tolist()
    rows_by_order = rows[order.argsort(stable=True)].split(counts)
    factors = [numbers[name][:, None, None] for name in JITTER]
    operations = (brightness, contrast, saturation, hue)
    for steps, members in zip(ORDERS, rows_by_order, strict=True):
        if not len(members):
            continue
        part = x.index_select(1, members)
        for k in steps:
            part = operations[k](part, factors[k][members])
        x.index_copy_(1, members, part)
    return x


def change_where(flag: Tensor, x: Tensor, change, *of_samples: Tensor) -> Tensor:
    """x (3, n, S, S) with `change` made to the samples for which the flag (n,) is set.

    Args:
        flag: of each sample.
        x: whole numbers 0..255; on the CPU it is changed in place.
        change: takes samples, and what `of_samples` holds of them.
        of_samples: more numbers of each sample, (n,).
    """
    if not host_may_look(x):
        return torch.where(flag[:, None, None], change(x, *of_samples), x)
    rows = flag.nonzero()[:, 0]
    if len(rows):
        x[:, rows] = change(x[:, rows], *(each[rows] for each in of_samples))
    return x


# --- The operations ---------------------------------------------------------------------------


def grey(x: Tensor) -> Tensor:
    """The grey values (...) of colours (3, ...), one for all three channels."""
    red, green, blue = x
    values = red * _LUMA[0]
    values.add_(green, alpha=_LUMA[1])
    values.add_(blue, alpha=_LUMA[2])
    return values.add_(0.5).floor_()


def mean_of_rows(x: Tensor) -> Tensor:
    """The whole number nearest to the mean of each row of whole numbers (n, m): (n,)."""
    mean = x.sum(1).div_(x.shape[1])  # the sum is exact, whatever its order
    return mean.add_(0.5).floor_()


def _blend(x, other, factor):
    """Pillow's Image.blend(other, x, factor): clipped, then cut to whole numbers."""
    return torch.lerp(other, x, factor).clamp_(0, 255).floor_()


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Colours (3, ...) times the factor."""
    return (x * factor).clamp_(max=255).floor_()


def contrast(x: Tensor, factor: Tensor, mean: Tensor | None = None) -> Tensor:
    """Colours (3, ...) blended with the mean grey of their sample, which is that of (n, S, S)."""
    if mean is None:
        mean = mean_of_rows(grey(x).flatten(1))[:, None, None]
    return _blend(x, mean, factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Colours (3, ...) blended with their grey."""
    return _blend(x, grey(x)[None], factor)


def hue(x: Tensor, turns: Tensor) -> Tensor:
    """Colours (3, ...) with their hue turned, through Pillow's 8-bit HSV."""
    red, green, blue = x
    value = torch.maximum(red, green).maximum(blue)
    chroma = value - torch.minimum(red, green).minimum(blue)
    safe = chroma.clamp(min=1)
    from_red = (green - blue).div_(safe)
    from_green = (blue - red).div_(safe).add_(2)
    from_blue = (red - green).div_(safe).add_(4)
    sector = torch.where(value == green, from_green, from_blue)
    sector = torch.where(value == red, from_red, sector)
    angle = sector.div_(6).add_(1).frac_().mul_(255).floor_()
    angle.add_((turns * 255).trunc()).remainder_(256)
    sixths = angle.mul_(6 / 255)  # of a turn
    # The lowest channel lies this far below the highest, after Pillow's rounding of the saturation.
    saturation_of = chroma.mul_(255).div_(value.clamp(min=1)).floor_()
    depth = saturation_of.div_(255).mul_(value)
    # Each channel is at its lowest within a sixth of the hue opposite to it (cyan, magenta,
    # yellow), at its highest beyond two sixths, linear between.
    from_far = (sixths - _FAR.on(x.device).view(3, *[1] * value.ndim)).abs_()
    to_own = from_far.sub_(3).abs_()  # the way round the circle to the channel's own hue
    share = to_own.sub_(1).clamp_(0, 1)  # of the depth
    return torch.addcmul(value, share, depth, value=-1).add_(0.5).floor_()


def solarized(x: Tensor) -> Tensor:
    """Colours (3, ...) with the bright half inverted."""
    return torch.where(x >= 128, 255 - x, x)


# --- Blur -------------------------------------------------------------------------------------


class BoxBlur:
    """Pillow's Gaussian blur: three extended boxes along each axis, edges repeated.

    Their reach is that of the softest sigma that may be drawn, whatever was: nothing depends on a
    batch's others.

    Args:
        size: pixels of a side.
        softest: the largest standard deviation that a blur may have, pixels.
    """

    def __init__(self, size: int, softest: float):
        self.size = size
        self.reach = math.ceil(float(box_radius(torch.tensor(softest))))

    def __call__(self, x: Tensor, radius: Tensor) -> Tensor:
        """Images (3, n, S, S), each blurred with its own boxes (n,), in whole numbers."""
        channels, n, size, _ = x.shape
        rows = x.permute(1, 2, 0, 3).reshape(n, size, channels * size)
        with exact():
            matrices = self.matrices(radius)
            down = torch.bmm(matrices, rows).view(n, size * channels, size)
            across = torch.bmm(down, matrices.mT).round_()
        return across.view(n, size, channels, size).permute(2, 0, 1, 3)

    def matrices(self, radius: Tensor) -> Tensor:
        """What blurs along an axis: (n, size, size) for boxes of these radii (n,), in pixels."""
        reach = self.reach
        size = self.size
        radius = radius[:, None, None]
        # Taps lie outside the image, too: there they see its first and its last pixel again.
        taps = torch.arange(-reach, size + reach, device=radius.device)
        distance = (taps - torch.arange(size, device=radius.device)[:, None]).abs()
        box = (radius + 1 - distance).clamp_(0, 1) / (2 * radius + 1)
        inner = box[..., reach : reach + size].clone()
        inner[..., 0].add_(box[..., :reach].sum(-1))
        inner[..., -1].add_(box[..., reach + size :].sum(-1))
        return torch.bmm(torch.bmm(inner, inner), inner)


def box_radius(sigma: Tensor) -> Tensor:
    """The radius of each of the three boxes of a Gaussian blur, in pixels, whole and part.

    This is Pillow's `_gaussian_blur_radius`, for standard deviations (...) in pixels.
    """
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    excess = whole * (whole + 1) - 3 * variance
    room = 6 * (variance - (whole + 1) ** 2)
    return whole + (2 * whole + 1) * excess / room


class Finish:
    """Blur and solarise, or the other way round.

    Args:
        specs: the views that are made together, alike in size and in `solarize_first`.
    """

    def __init__(self, specs: list[ViewSpec]):
        self.blurs = any(spec.blur_p for spec in specs)
        self.solarizes = any(spec.solarize_p for spec in specs)
        self.solarize_first = specs[0].solarize_first
        self.box_blur = BoxBlur(specs[0].size, max(spec.sigma[1] for spec in specs))

    def __call__(self, x: Tensor, numbers: dict[str, Tensor]) -> Tensor:
        """The finished pixels (3, n, S, S); on the CPU in place.

        Args:
            x: (3, n, S, S) of whole numbers 0..255.
            numbers: as `drawing.draw` returns them, (n,), on x's device; with the blur's `radius`.
        """
        if self.solarizes and self.solarize_first:
            x = change_where(numbers["solarize"], x, solarized)
        if self.blurs:
            x = change_where(numbers["blur"], x, self.box_blur, numbers["radius"])
        if self.solarizes and not self.solarize_first:
            x = change_where(numbers["solarize"], x, solarized)
        return x
