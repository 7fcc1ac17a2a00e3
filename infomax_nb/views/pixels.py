"""Pixel arithmetic of the views, a batch at a time, to Pillow's last digit: crop and resize,
jitter, grey, blur; and what networks take.

Which views there are is decided in `views`; what is random about them is drawn here, for a whole
epoch.
"""

import math
from itertools import permutations

import torch
from torch import Tensor

from infomax_nb.device import exact

ORDERS = list(permutations(range(4)))


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


_MEAN, _STD = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)


_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, Pillow's and torchvision's grey


_SHAPE = ("top", "left", "height", "width", "flip")


def _resize_weights(
    start: Tensor, length: Tensor, size: int, pixels: int, kernel: str, flip: Tensor | None = None
):
    """(..., size, pixels): rows are Pillow's weights (bicubic with a = -0.5) that resize a crop of
    `length`."""
    scale = (length / size)[..., None]
    centre = (torch.arange(size, device=start.device, dtype=torch.float32) + 0.5) * scale
    if flip is not None:
        centre = torch.where(flip[..., None], length[..., None] - centre, centre)
    tap = torch.arange(pixels, device=start.device) - start[..., None]
    inside = (tap >= 0) & (tap < length[..., None])
    x = ((tap[..., None, :] + 0.5 - centre[..., None]) / scale.clamp(min=1)[..., None]).abs_()
    near = (1 - x).clamp_(min=0)
    if kernel == "bilinear":
        weights = near
    else:  # Keys' cubic with a = -0.5, both pieces at once
        far = (2 - x).clamp_(min=0)
        weights = far.mul_(far).mul_(1 - x).mul_(0.5).add_(near.mul_(near).mul_(x.mul_(2).sub_(1)))
    weights.mul_(inside[..., None, :])
    return weights.div_(weights.sum(-1, keepdim=True))


@exact()
def crop(images: Tensor, drawn: dict[str, Tensor], size: int, kernel: str = "bicubic") -> Tensor:
    """Crop, resize to size x size and flip.

    Args:
        images: uint8 (B, 3, H, W), on any device. drawn: what `draw` returned, (V, B), on the CPU.

    Returns: whole numbers 0..255 as float32, (3, V, B, size, size).
    """
    n_views = len(drawn["top"])
    batch, _, height, width = images.shape
    # Pillow goes along the columns first where that shrinks more.
    columns_first = (drawn["height"] > size) & (2 * drawn["width"] < drawn["height"] + size)
    there = {name: drawn[name].to(images.device, non_blocking=True) for name in _SHAPE}
    across = _resize_weights(there["left"], there["width"], size, width, kernel, there["flip"])
    down = _resize_weights(there["top"], there["height"], size, height, kernel)
    pixels = images.float()
    # Each pass is one batched product; both leave the axis that they resized in the last place.
    rows = torch.bmm(
        across.transpose(0, 1).reshape(batch, n_views * size, width),
        pixels.permute(0, 3, 1, 2).reshape(batch, width, 3 * height),
    )
    rows = _whole(rows).view(batch * n_views, size * 3, height)
    out = torch.bmm(rows, down.transpose(0, 1).reshape(batch * n_views, size, height).mT)
    out = out.view(batch, n_views, size, 3, size).permute(3, 1, 0, 4, 2).contiguous()
    view, image = columns_first.nonzero(as_tuple=True)
    if len(view):
        view, image = view.to(images.device), image.to(images.device)
        columns = _whole(down[view, image, None] @ pixels[image])
        out[:, view, image] = (columns @ across[view, image, None].mT).transpose(0, 1)
    return _whole(out)


def _whole(x: Tensor) -> Tensor:
    """Whole numbers 0..255, in place; halves are rounded up, as Pillow does it."""
    return x.add_(0.5).floor_().clamp_(0, 255)


def _grey(x: Tensor) -> Tensor:
    return (
        (x[0] * _LUMA[0]).add_(x[1], alpha=_LUMA[1]).add_(x[2], alpha=_LUMA[2]).add_(0.5).floor_()
    )


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend(other, x, factor): clipped, then cut to whole numbers."""
    return torch.lerp(other, x, factor).clamp_(0, 255).floor_()


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp_(max=255).floor_()


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    mean = _grey(x).flatten(1).mean(1)[:, None, None]
    return _blend(x, mean.add_(0.5).floor_(), factor)


def _saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, _grey(x)[None], factor)


def _hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue, through Pillow's 8-bit HSV."""
    red, green, blue = x
    value = torch.maximum(red, green).maximum(blue)
    chroma = value - torch.minimum(red, green).minimum(blue)
    safe = chroma.clamp(min=1)
    from_green = (blue - red).div_(safe).add_(2)
    from_blue = (red - green).div_(safe).add_(4)
    sector = torch.where(
        value == red, (green - blue).div_(safe), torch.where(value == green, from_green, from_blue)
    )
    hue = sector.div_(6).add_(1).frac_().mul_(255).floor_().add_((turns * 255).trunc())
    hue = torch.add(hue, (hue / 256).floor_(), alpha=-256).mul_(
        6 / 255
    )  # modulo 256, in sixths of a turn
    # The lowest channel lies this far below the highest, after Pillow's rounding of the saturation.
    depth = chroma.mul_(255).div_(value.clamp(min=1)).floor_().div_(255).mul_(value)
    # Each channel is at its lowest within a sixth of `far`, at its highest beyond two sixths,
    # linear between.
    far = torch.tensor([3.0, 5.0, 1.0], device=x.device).view(3, *[1] * value.ndim)
    share = (hue - far).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return torch.addcmul(value, share, depth, value=-1).add_(0.5).floor_()


OPERATIONS = (
    (_brightness, "brightness"),
    (_contrast, "contrast"),
    (_saturation, "saturation"),
    (_hue, "hue"),
)


def _radius(sigma: Tensor) -> Tensor:
    """Of each of the three boxes, pixels, whole and part."""
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    part = (
        (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    )
    return whole + part


def _box_blur(size: int, sigma: Tensor, largest: float) -> Tensor:
    """(n, size, size) matrices that do Pillow's Gaussian blur along an axis: three extended boxes,
    edges repeated.

    Their reach is that of the `largest` sigma that may be drawn, whatever was: nothing depends on a
    batch's others.
    """
    radius = _radius(sigma)[:, None, None]
    reach = math.ceil(float(_radius(torch.tensor(largest))))
    taps = torch.arange(-reach, size + reach, device=sigma.device)
    distance = (taps - torch.arange(size, device=sigma.device)[:, None]).abs()
    box = (radius + 1 - distance).clamp_(0, 1) / (2 * radius + 1)
    inner = box[..., reach : reach + size].clone()
    inner[..., 0] += box[..., :reach].sum(-1)
    inner[..., -1] += box[..., reach + size :].sum(-1)
    return inner @ inner @ inner


def colour(
    x: Tensor, drawn: dict[str, Tensor], sigma: float = 2.0, solarize_first: bool = False
) -> Tensor:
    """Jitter, grey, blur, solarise, the last two swapped if wanted; in place.

    Args:
        x: (3, n, S, S) of whole numbers 0..255.
        drawn: of `draw`, (n,), on the CPU.
        sigma: the largest standard deviation that a blur may have, pixels.
    """
    _jitter(x, drawn)
    rows = _where(drawn["gray"], x)
    if len(rows):
        x[:, rows] = _grey(x[:, rows])
    for name in ("solarize", "blur") if solarize_first else ("blur", "solarize"):
        rows = _where(drawn[name], x)
        if len(rows) and name == "blur":
            _blur(x, rows, drawn["sigma"].to(x.device)[rows], sigma)
        elif len(rows):
            x[:, rows] = torch.where(x[:, rows] >= 128, 255 - x[:, rows], x[:, rows])
    return x


def _where(flag: Tensor, x: Tensor) -> Tensor:
    return flag.nonzero()[:, 0].to(x.device, non_blocking=True)


def _jitter(x: Tensor, drawn: dict[str, Tensor]) -> None:
    """The four operations in the order that each sample has drawn; samples of one order are taken
    together."""
    rows = drawn["jitter"].nonzero()[:, 0]
    order = drawn["order"][rows].long()
    alike = rows[order.argsort(stable=True)].split(order.bincount(minlength=len(ORDERS)).tolist())
    factors = {
        name: drawn[name].to(x.device, non_blocking=True)[:, None, None] for _, name in OPERATIONS
    }
    for steps, own in zip(ORDERS, alike, strict=True):
        own = own.to(x.device, non_blocking=True)
        part = x.index_select(1, own)
        for operation, name in (OPERATIONS[k] for k in steps):
            part = operation(part, factors[name][own])
        x.index_copy_(1, own, part)


@exact()
def _blur(x: Tensor, rows: Tensor, sigmas: Tensor, largest: float) -> None:
    matrices = _box_blur(x.shape[-1], sigmas, largest)
    for channel in x:
        channel[rows] = (matrices @ channel[rows] @ matrices.mT).round_()


def standardise(x: Tensor, mean: Tensor = _MEAN, std: Tensor = _STD) -> Tensor:
    """Channels first (3, ...), values 0..255, to zero mean and unit deviation per channel of
    ImageNet's statistics."""
    shape = (3,) + (1,) * (x.ndim - 1)
    scale = (1 / (255 * std)).to(x.device).view(shape)
    return torch.addcmul((-mean / std).to(x.device).view(shape), x, scale)


def unstandardise(view: Tensor, size: int) -> Tensor:
    """A network's input (B, 3, S, S) as uint8 images (B, 3, size, size), enlarged pixel by
    pixel."""
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (IMAGENET_MEAN, IMAGENET_STD))
    return (
        torch.nn.functional.interpolate((view * std + mean) * 255, size, mode="nearest")
        .clamp(0, 255)
        .byte()
    )
