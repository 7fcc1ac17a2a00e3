"""Pixel arithmetic of the views, a batch at a time, to Pillow's last digit.

Crop and resize, jitter, grey, blur, solarise; and what networks take. Which views there are is
decided in `recipes`; what is random about them is drawn in `drawing`: the `numbers` here. Between
the steps pixels are whole numbers 0..255, as float32, channels first: (3, ..., S, S).
"""

import math
from itertools import permutations

import torch
from torch import Tensor

from infomax_nb.device import exact

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
JITTER = ("brightness", "contrast", "saturation", "hue")
ORDERS = list(permutations(range(4)))  # of the operations in JITTER

_MEAN = torch.tensor(IMAGENET_MEAN)
_STD = torch.tensor(IMAGENET_STD)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, Pillow's and torchvision's grey
_BOX = ("top", "left", "height", "width", "flip")


# --- Crop and resize --------------------------------------------------------------------------


@exact()
def crop(images: Tensor, numbers: dict[str, Tensor], size: int, kernel="bicubic") -> Tensor:
    """Crop, resize to size x size pixels and flip.

    Args:
        images: uint8 (B, 3, H, W), on any device.
        numbers: as `drawing.draw` returns them, (V, B), on the CPU.
        size: pixels.
        kernel: `bicubic` or `bilinear`.

    Returns: whole numbers 0..255 as float32, (3, V, B, size, size).
    """
    n_views = len(numbers["top"])
    batch, _, height, width = images.shape
    device = images.device
    box = {name: numbers[name].to(device, non_blocking=True) for name in _BOX}
    # (V, B, size, width) and (V, B, size, height)
    across = _resize_weights(box["left"], box["width"], size, width, kernel, box["flip"])
    down = _resize_weights(box["top"], box["height"], size, height, kernel)
    pixels = images.float()
    # First each row of pixels is resized, then each column, by one batched product over the images
    # and one over their views.
    to_width = across.transpose(0, 1).reshape(batch, n_views * size, width)
    to_height = down.transpose(0, 1).reshape(batch * n_views, size, height)
    width_first = pixels.permute(0, 3, 1, 2).reshape(batch, width, 3 * height)
    of_new_width = _whole(torch.bmm(to_width, width_first)).view(batch * n_views, size * 3, height)
    out = torch.bmm(of_new_width, to_height.mT).view(batch, n_views, size, 3, size)
    out = out.permute(3, 1, 0, 4, 2).contiguous()
    # Pillow goes along the columns first where that shrinks more.
    shrinks_more = 2 * numbers["width"] < numbers["height"] + size
    columns_first = (numbers["height"] > size) & shrinks_more
    if columns_first.any():
        view, image = [index.to(device) for index in columns_first.nonzero(as_tuple=True)]
        of_new_height = _whole(down[view, image, None] @ pixels[image])
        resized = of_new_height @ across[view, image, None].mT
        out[:, view, image] = resized.transpose(0, 1)
    return _whole(out)


def _resize_weights(start, length, size, pixels, kernel, flip=None):
    """Pillow's weights that resize a crop along an axis, (..., size, pixels): a row a new pixel.

    The crop has `length` pixels from `start` on, of the image's `pixels`; `flip` turns it round.
    """
    scale = (length / size)[..., None]
    centre = (torch.arange(size, device=start.device, dtype=torch.float32) + 0.5) * scale
    if flip is not None:
        centre = torch.where(flip[..., None], length[..., None] - centre, centre)
    tap = torch.arange(pixels, device=start.device) - start[..., None]
    inside = (tap >= 0) & (tap < length[..., None])
    distance = tap[..., None, :] + 0.5 - centre[..., None]
    stretch = scale.clamp(min=1)[..., None]  # of the kernel, against aliasing where it shrinks
    x = (distance / stretch).abs_()
    weights = (1 - x).clamp_(min=0)
    if kernel == "bicubic":
        weights = _keys_cubic(x, weights)
    weights.mul_(inside[..., None, :])
    return weights.div_(weights.sum(-1, keepdim=True))


def _keys_cubic(x, near):
    """Keys' cubic with a = -0.5 at distances x >= 0, in place.

    It is (2 - x)^2 (1 - x) / 2 up to x = 2, plus `near`^2 (2x - 1), where `near` is 1 - x, at least
    0. Their sum is the usual polynomial below 1.
    """
    far = (2 - x).clamp_(min=0)
    outer = far.mul_(far).mul_(1 - x).mul_(0.5)
    inner = near.mul_(near).mul_(x.mul_(2).sub_(1))
    return outer.add_(inner)


def _whole(x):
    """Whole numbers 0..255, in place; halves are rounded up, as Pillow does it."""
    return x.add_(0.5).floor_().clamp_(0, 255)


# --- Colours ----------------------------------------------------------------------------------


def colour(x: Tensor, numbers: dict[str, Tensor], softest: float, solarize_first: bool) -> None:
    """Jitter, grey, blur, solarise, the last two swapped if wanted; in place.

    Args:
        x: (3, n, S, S) of whole numbers 0..255.
        numbers: as `drawing.draw` returns them, (n,), on the CPU.
        softest: the largest standard deviation that a blur may have, pixels.
        solarize_first: whether to solarise before the blur.
    """
    _jitter(x, numbers)
    rows = _chosen(numbers["gray"], x)
    if len(rows):
        x[:, rows] = _grey(x[:, rows])
    if solarize_first:
        _solarize(x, numbers)
    _blur(x, numbers, softest)
    if not solarize_first:
        _solarize(x, numbers)


def _chosen(flag, x):
    """The numbers of the samples for which the flag (n,) is set, on x's device."""
    return flag.nonzero()[:, 0].to(x.device, non_blocking=True)


def _jitter(x, numbers):
    """The four operations in each sample's order; samples of one order are taken together."""
    rows = numbers["jitter"].nonzero()[:, 0]
    if not len(rows):
        return
    order = numbers["order"][rows].long()
    counts = order.bincount(minlength=len(ORDERS)).tolist()
    rows_by_order = rows[order.argsort(stable=True)].split(counts)
    device = x.device
    factors = [numbers[name].to(device, non_blocking=True)[:, None, None] for name in JITTER]
    for steps, members in zip(ORDERS, rows_by_order, strict=True):
        members = members.to(device, non_blocking=True)
        part = x.index_select(1, members)
        for k in steps:
            part = _OPERATIONS[k](part, factors[k][members])
        x.index_copy_(1, members, part)


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
    mean = _grey(x).flatten(1).mean(1)[:, None, None]
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
    hue = torch.add(hue, (hue / 256).floor_(), alpha=-256)  # modulo 256
    sixths = hue.mul_(6 / 255)  # of a turn
    # The lowest channel lies this far below the highest, after Pillow's rounding of the saturation.
    saturation = chroma.mul_(255).div_(value.clamp(min=1)).floor_()
    depth = saturation.div_(255).mul_(value)
    # Each channel is at its lowest within a sixth of `far`, the hue opposite to it (cyan, magenta,
    # yellow), at its highest beyond two sixths, linear between.
    far = torch.tensor([3.0, 5.0, 1.0], device=x.device)
    from_far = (sixths - far.view(3, *[1] * value.ndim)).abs_()
    to_own = from_far.sub_(3).abs_()  # the way round the circle to the channel's own hue
    share = to_own.sub_(1).clamp_(0, 1)  # of the depth
    return torch.addcmul(value, share, depth, value=-1).add_(0.5).floor_()


_OPERATIONS = (_brightness, _contrast, _saturation, _hue)


def _solarize(x, numbers):
    rows = _chosen(numbers["solarize"], x)
    if len(rows):
        part = x[:, rows]
        x[:, rows] = torch.where(part >= 128, 255 - part, part)


@exact()
def _blur(x, numbers, softest):
    rows = _chosen(numbers["blur"], x)
    if not len(rows):
        return
    sigma = numbers["sigma"].to(x.device)[rows]
    matrices = _box_blur(x.shape[-1], sigma, softest)
    for channel in x:
        channel[rows] = (matrices @ channel[rows] @ matrices.mT).round_()


def _box_blur(size, sigma, softest):
    """Pillow's Gaussian blur along an axis: three extended boxes, edges repeated.

    Their reach is that of the `softest` sigma that may be drawn, whatever was: nothing depends on a
    batch's others.

    Returns: (n, size, size) matrices.
    """
    radius = _radius(sigma)[:, None, None]
    # Taps lie outside the image, too: there they see its first and its last pixel again.
    reach = math.ceil(float(_radius(torch.tensor(softest))))
    taps = torch.arange(-reach, size + reach, device=sigma.device)
    distance = (taps - torch.arange(size, device=sigma.device)[:, None]).abs()
    box = (radius + 1 - distance).clamp_(0, 1) / (2 * radius + 1)
    inner = box[..., reach : reach + size].clone()
    inner[..., 0] += box[..., :reach].sum(-1)
    inner[..., -1] += box[..., reach + size :].sum(-1)
    return inner @ inner @ inner


def _radius(sigma):
    """Of each of the three boxes, pixels, whole and part: Pillow's `_gaussian_blur_radius`."""
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    excess = whole * (whole + 1) - 3 * variance
    room = 6 * (variance - (whole + 1) ** 2)
    return whole + (2 * whole + 1) * excess / room


# --- What networks take -----------------------------------------------------------------------


def standardise(x: Tensor) -> Tensor:
    """Values 0..255, channels first (3, ...), to mean 0 and deviation 1 of ImageNet's channels."""
    shape = (3,) + (1,) * (x.ndim - 1)
    scale = 1 / (255 * _STD)
    shift = -_MEAN / _STD
    return torch.addcmul(shift.to(x.device).view(shape), x, scale.to(x.device).view(shape))


def unstandardise(view: Tensor, size: int) -> Tensor:
    """A network's input (B, 3, S, S) as enlarged uint8 images (B, 3, size, size)."""
    values = (view * _STD.view(3, 1, 1) + _MEAN.view(3, 1, 1)) * 255
    enlarged = torch.nn.functional.interpolate(values, size, mode="nearest")
    return enlarged.clamp(0, 255).byte()
