"""The views' colour operations, a batch at a time, in Pillow's 8-bit arithmetic.

Jitter, grey, blur and solarise. What is random about them is drawn in `drawing`: the `numbers`
here. Pixels are whole numbers 0..255, as float32, channels first: (3, n, S, S).

Only some samples get an operation. On the CPU these are picked, as that saves work. On a GPU, and
where torch compiles, all samples get it and a mask chooses: then no shape depends on what was
drawn, and the host waits for nothing. The pixels are the same.
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
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
# Every order of the four operations is a subsequence of these passes. Contrast and hue, which take
# longest, are done once or twice. An operation that is not due has the factor 1, which changes
# nothing.
_AROUND_HUE = [_BRIGHTNESS, _SATURATION, _BRIGHTNESS, _CONTRAST, _BRIGHTNESS, _SATURATION]
_AROUND_HUE.append(_BRIGHTNESS)
_PASSES = [*_AROUND_HUE, _HUE, *_AROUND_HUE]
_NOT_DUE = 4  # the index of the factor 1, behind those of JITTER

_FAR = DeviceConstant(torch.tensor([3.0, 5.0, 1.0]))  # hues opposite to red, green, blue, sixths


class Colours:
    """Jitter, grey, blur, solarise, the last two swapped if wanted.

    Args:
        specs: the views that are made together, alike in size and in `solarize_first`.
    """

    def __init__(self, specs: list[ViewSpec]):
        self.jittered = any(spec.jitter_p for spec in specs)
        self.greyed = any(spec.gray_p for spec in specs)
        self.blurs = any(spec.blur_p for spec in specs)
        self.solarized = any(spec.solarize_p for spec in specs)
        self.solarize_first = specs[0].solarize_first
        self.box_blur = BoxBlur(specs[0].size, max(spec.sigma[1] for spec in specs))

    def __call__(self, x: Tensor, numbers: dict[str, Tensor]) -> Tensor:
        """The coloured pixels (3, n, S, S); on the CPU in place.

        Args:
            x: (3, n, S, S) of whole numbers 0..255.
            numbers: as `drawing.draw` returns them, (n,), on x's device.
        """
        if self.jittered:
            jitter = _jitter_picked if host_may_look(x) else _jitter_everywhere
            x = jitter(x, numbers)
        if self.greyed:
            x = _where(numbers["gray"], x, _grey)
        if self.solarized and self.solarize_first:
            x = _where(numbers["solarize"], x, _solarized)
        if self.blurs:
            x = _where(numbers["blur"], x, self.box_blur, numbers["sigma"])
        if self.solarized and not self.solarize_first:
            x = _where(numbers["solarize"], x, _solarized)
        return x


def _where(flag, x, change, *of_samples):
    """x with `change` made to the samples for which the flag (n,) is set."""
    if not host_may_look(x):
        return torch.where(flag[:, None, None], change(x, *of_samples), x)
    rows = flag.nonzero()[:, 0]
    if len(rows):
        x[:, rows] = change(x[:, rows], *(each[rows] for each in of_samples))
    return x


# --- Jitter -----------------------------------------------------------------------------------


def _jitter_picked(x, numbers):
    """The four operations in each sample's order; samples of one order are taken together."""
    rows = numbers["jitter"].nonzero()[:, 0]
    order = numbers["order"][rows].long()
    counts = order.bincount(minlength=len(ORDERS)).tolist()
    rows_by_order = rows[order.argsort(stable=True)].split(counts)
    factors = [numbers[name][:, None, None] for name in JITTER]
    for steps, members in zip(ORDERS, rows_by_order, strict=True):
        if not len(members):
            continue
        part = x.index_select(1, members)
        for k in steps:
            part = _OPERATIONS[k](part, factors[k][members])
        x.index_copy_(1, members, part)
    return x


def _jitter_everywhere(x, numbers):
    """The four operations in each sample's order, as those of `_PASSES` that are due."""
    jitter = numbers["jitter"]
    factors = torch.stack([numbers[name] for name in JITTER] + [torch.ones_like(numbers["hue"])])
    due = _DUE.on(x.device)[numbers["order"].long()].T  # (passes, n), rows of `factors`
    due = torch.where(jitter, due, _NOT_DUE)
    for k, factor in zip(_PASSES, factors.gather(0, due)[..., None, None], strict=True):
        turned = _OPERATIONS[k](x, factor)
        # Hue has no factor that changes nothing: its 8-bit arithmetic rounds.
        x = torch.where(jitter[:, None, None], turned, x) if k == _HUE else turned
    return x


def _passes_by_order():
    """For each of the ORDERS which factor each of the passes has, (24, passes)."""
    hue = _PASSES.index(_HUE)
    rows = []
    for order in ORDERS:
        row = [_NOT_DUE] * len(_PASSES)
        place = 0
        for k in order:
            place = hue if k == _HUE else _PASSES.index(k, place)
            row[place] = k
        rows.append(row)
    return torch.tensor(rows)


_DUE = DeviceConstant(_passes_by_order())


def _grey(x):
    """The grey values (n, S, S) of colours (3, n, S, S), one for all three channels."""
    red, green, blue = x
    grey = red * _LUMA[0]
    grey.add_(green, alpha=_LUMA[1])
    grey.add_(blue, alpha=_LUMA[2])
    return grey.add_(0.5).floor_()


def _blend(x, other, factor):
    """Pillow's Image.blend(other, x, factor): clipped, then cut to whole numbers."""
    return torch.lerp(other, x, factor).clamp_(0, 255).floor_()


def _brightness(x, factor):
    return (x * factor).clamp_(max=255).floor_()


def _contrast(x, factor):
    grey = _grey(x).flatten(1)
    mean = grey.sum(1).div_(grey.shape[1])[:, None, None]  # exact: the sum is a whole number
    return _blend(x, mean.add_(0.5).floor_(), factor)


def _saturation(x, factor):
    return _blend(x, _grey(x)[None], factor)


def _hue(x, turns):
    """Turn the hue, through Pillow's 8-bit HSV."""
    red, green, blue = x
    value = torch.maximum(red, green).maximum(blue)
    chroma = value - torch.minimum(red, green).minimum(blue)
    safe = chroma.clamp(min=1)
    from_red = (green - blue).div_(safe)
    from_green = (blue - red).div_(safe).add_(2)
    from_blue = (red - green).div_(safe).add_(4)
    sector = torch.where(value == green, from_green, from_blue)
    sector = torch.where(value == red, from_red, sector)
    hue = sector.div_(6).add_(1).frac_().mul_(255).floor_()
    hue.add_((turns * 255).trunc())
    hue.remainder_(256)
    sixths = hue.mul_(6 / 255)  # of a turn
    # The lowest channel lies this far below the highest, after Pillow's rounding of the saturation.
    saturation = chroma.mul_(255).div_(value.clamp(min=1)).floor_()
    depth = saturation.div_(255).mul_(value)
    # Each channel is at its lowest within a sixth of the hue opposite to it (cyan, magenta,
    # yellow), at its highest beyond two sixths, linear between.
    from_far = (sixths - _FAR.on(x.device).view(3, *[1] * value.ndim)).abs_()
    to_own = from_far.sub_(3).abs_()  # the way round the circle to the channel's own hue
    share = to_own.sub_(1).clamp_(0, 1)  # of the depth
    return torch.addcmul(value, share, depth, value=-1).add_(0.5).floor_()


_OPERATIONS = (_brightness, _contrast, _saturation, _hue)


def _solarized(x):
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
        self.reach = math.ceil(float(_radius(torch.tensor(softest))))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Images (3, n, S, S), each blurred with its own sigma (n,), in whole numbers."""
        channels, n, size, _ = x.shape
        rows = x.permute(1, 2, 0, 3).reshape(n, size, channels * size)
        with exact():
            matrices = self.matrices(sigma)
            down = torch.bmm(matrices, rows).view(n, size * channels, size)
            across = torch.bmm(down, matrices.mT).round_()
        return across.view(n, size, channels, size).permute(2, 0, 1, 3)

    def matrices(self, sigma: Tensor) -> Tensor:
        """What blurs along an axis: (n, size, size) for sigma (n,)."""
        radius = _radius(sigma)[:, None, None]
        reach = self.reach
        size = self.size
        # Taps lie outside the image, too: there they see its first and its last pixel again.
        taps = torch.arange(-reach, size + reach, device=sigma.device)
        distance = (taps - torch.arange(size, device=sigma.device)[:, None]).abs()
        box = (radius + 1 - distance).clamp_(0, 1) / (2 * radius + 1)
        inner = box[..., reach : reach + size].clone()
        inner[..., 0].add_(box[..., :reach].sum(-1))
        inner[..., -1].add_(box[..., reach + size :].sum(-1))
        return torch.bmm(torch.bmm(inner, inner), inner)


def _radius(sigma):
    """Of each of the three boxes, pixels, whole and part: Pillow's `_gaussian_blur_radius`."""
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    excess = whole * (whole + 1) - 3 * variance
    room = 6 * (variance - (whole + 1) ** 2)
    return whole + (2 * whole + 1) * excess / room
