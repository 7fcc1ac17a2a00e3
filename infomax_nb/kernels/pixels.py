"""Pixel arithmetic of the views, a batch at a time, to Pillow's last digit: crop and resize, jitter, grey, blur;
and what networks take.

Which views there are is decided in `views`; what is random about them is drawn here, in one call.
"""

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from ..device import exact

ORDERS = list(permutations(range(4)))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN, _STD = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, Pillow's and torchvision's grey
_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it falls back to a central crop


def _resize_weights(start: Tensor, length: Tensor, size: int, pixels: int, kernel: str, flip: Tensor | None = None):
    """(..., size, pixels): rows are Pillow's weights (bicubic with a = -0.5) that resize a crop of `length`."""
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
    n_views, (batch, _, height, width) = len(drawn["top"]), images.shape
    d = {name: drawn[name].to(images.device, non_blocking=True) for name in ("top", "left", "height", "width", "flip")}
    wx = _resize_weights(d["left"], d["width"], size, width, kernel, d["flip"])
    wy = _resize_weights(d["top"], d["height"], size, height, kernel)
    pixels = images.float()  # halves are rounded up, as Pillow does it
    x = torch.bmm(pixels.reshape(batch, -1, width), wx.permute(1, 3, 0, 2).reshape(batch, width, n_views * size))
    x = x.add_(0.5).floor_().clamp_(0, 255).view(batch, 3, height, n_views, size)
    y = x.new_empty(3, n_views, batch, size, size)
    # Pillow goes along the columns first where that shrinks more.
    first = (drawn["height"] > size) & (2 * drawn["width"] < drawn["height"] + size)
    for v in range(n_views):
        for c in range(3):
            torch.bmm(wy[v], x[:, c, :, v], out=y[c, v])
        rows = first[v].nonzero()[:, 0].to(images.device, non_blocking=True)
        if len(rows):
            columns = torch.matmul(wy[v, rows, None], pixels[rows]).add_(0.5).floor_().clamp_(0, 255)
            y[:, v, rows] = torch.matmul(columns, wx[v, rows, None].mT).transpose(0, 1)
    return y.add_(0.5).floor_().clamp_(0, 255)


def _grey(x: Tensor) -> Tensor:
    return (x[0] * _LUMA[0]).add_(x[1], alpha=_LUMA[1]).add_(x[2], alpha=_LUMA[2]).add_(0.5).floor_()


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend(other, x, factor): clipped, then cut to whole numbers."""
    return torch.lerp(other, x, factor).clamp_(0, 255).floor_()


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp_(max=255).floor_()


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, _grey(x).mean((-2, -1), keepdim=True).add_(0.5).floor_(), factor)


def _saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(x, _grey(x)[None], factor)


def _hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue, through Pillow's 8-bit HSV."""
    value, (r, g, b) = x.amax(0), x
    chroma = value - x.amin(0)
    safe = chroma.clamp(min=1)
    sector = torch.where(value == r, (g - b) / safe, torch.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    hue = ((sector / 6 + 1).frac_() * 255).floor_().add_((turns * 255).trunc())
    hue = torch.add(hue, (hue / 256).floor_(), alpha=-256).mul_(6 / 255)  # modulo 256, in sixths of a turn
    saturation = (chroma / value.clamp(min=1) * 255).floor_().div_(255)
    # Each channel is at its lowest within a sixth of `far`, at its highest beyond two sixths, linear between.
    far = torch.tensor([3.0, 5.0, 1.0], device=x.device).view(3, *[1] * value.ndim)
    k = (hue - far).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)
    return torch.addcmul(value, k, value * saturation, value=-1).add_(0.5).floor_()


OPERATIONS = ((_brightness, "brightness"), (_contrast, "contrast"), (_saturation, "saturation"), (_hue, "hue"))


def _box_blur(size: int, sigma: Tensor) -> Tensor:
    """(n, size, size) matrices that do Pillow's Gaussian blur along an axis: three extended boxes, edges repeated."""
    variance = sigma**2 / 3
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    radius = (whole + part)[:, None, None]
    reach = int(radius.max().ceil())
    distance = (torch.arange(-reach, size + reach) - torch.arange(size)[:, None]).abs()
    box = (radius + 1 - distance).clamp_(0, 1) / (2 * radius + 1)
    inner = box[..., reach : reach + size].clone()
    inner[..., 0] += box[..., :reach].sum(-1)
    inner[..., -1] += box[..., reach + size :].sum(-1)
    return inner @ inner @ inner


def colour(x: Tensor, drawn: dict[str, Tensor], solarize_first: bool = False) -> Tensor:
    """Jitter, grey, blur, solarise, the last two swapped if wanted; x (3, n, S, S) of whole numbers 0..255.

    `drawn` is (n,), on the CPU. The four jitter operations come in the order that the first row has drawn, for all.
    """
    plain = x
    for operation, name in [OPERATIONS[k] for k in ORDERS[int(drawn["order"][0])]]:
        x = operation(x, drawn[name].to(x.device, non_blocking=True)[:, None, None])
    rows = (~drawn["jitter"]).nonzero()[:, 0]
    x[:, rows] = plain[:, rows]
    rows = drawn["gray"].nonzero()[:, 0]
    x[:, rows] = _grey(x[:, rows])
    for name in ("solarize", "blur") if solarize_first else ("blur", "solarize"):
        rows = drawn[name].nonzero()[:, 0]
        if name == "blur" and len(rows):
            with exact():
                blur = _box_blur(x.shape[-1], drawn["sigma"][rows]).to(x.device)
                for channel in x:
                    channel[rows] = (blur @ channel[rows] @ blur.mT).round_()
        elif len(rows):
            x[:, rows] = torch.where(x[:, rows] >= 128, 255 - x[:, rows], x[:, rows])
    return x


def draw(views: Sequence, batch: int, height: int, width: int, generator: torch.Generator):
    """Draw everything random about `views` (`views.View`) of `batch` images of height x width pixels, on the CPU.

    Returns a dict of tensors of shape (V, B): top, left, height, width (pixels), flip, jitter, gray, blur,
    solarize (bool), brightness, contrast, saturation (factors), hue (turns), sigma (pixels); and `order`
    (V, B), an index into the 24 orders of the four jitter operations.
    """
    u = torch.rand((2 * _ATTEMPTS + 13, len(views), batch), generator=generator)
    chances = torch.tensor([(v.flip, v.jitter_p, v.gray_p, v.blur_p, v.solarize_p) for v in views]).T[..., None]
    small, large, narrow, wide, sharp, soft = torch.tensor([(*v.area, *v.ratio, *v.sigma) for v in views]).T[..., None]
    area = height * width * (small + u[:_ATTEMPTS] * (large - small))
    ratio = torch.exp(narrow.log() + u[_ATTEMPTS : 2 * _ATTEMPTS] * (wide.log() - narrow.log()))
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first, any_fits = fits.byte().argmax(0, keepdim=True), fits.any(0)
    w = torch.where(any_fits, w.gather(0, first)[0], (height * wide).round().clamp(max=width))
    h = torch.where(any_fits, h.gather(0, first)[0], (width / narrow).round().clamp(max=height))
    switches, (top, left, order, sigma) = u[2 * _ATTEMPTS : -8], u[-8:-4]
    drawn = {"height": h, "width": w, "order": (order * len(ORDERS)).long(), "sigma": sharp + sigma * (soft - sharp)}
    drawn["top"] = torch.where(any_fits, (top * (height - h + 1)).floor(), ((height - h) / 2).floor())
    drawn["left"] = torch.where(any_fits, (left * (width - w + 1)).floor(), ((width - w) / 2).floor())
    drawn |= zip(("flip", "jitter", "gray", "blur", "solarize"), switches < chances, strict=True)
    strengths = torch.tensor([v.jitter for v in views]).T[..., None]
    for (_, name), x, strength in zip(OPERATIONS, u[-4:], strengths, strict=True):
        drawn[name] = (0.0 if name == "hue" else 1.0) + (x * (strength + strength) - strength)
    return drawn


def normalise(x: Tensor, mean: Tensor = _MEAN, std: Tensor = _STD) -> Tensor:
    """Channels first (3, ...), values 0..255, to zero mean and unit deviation per channel of ImageNet's statistics."""
    shape = (3,) + (1,) * (x.ndim - 1)
    scale = (1 / (255 * std)).to(x.device).view(shape)
    return torch.addcmul((-mean / std).to(x.device).view(shape), x, scale)


def unnormalise(view: Tensor, size: int) -> Tensor:
    """A network's input (B, 3, S, S) as uint8 images (B, 3, size, size), enlarged pixel by pixel."""
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.nn.functional.interpolate((view * std + mean) * 255, size, mode="nearest").clamp(0, 255).byte()
