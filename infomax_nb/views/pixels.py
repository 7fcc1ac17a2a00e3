"""The views' pixels, a batch at a time, to Pillow's last digit; and what networks take.

Crop and resize. What is random about them is drawn in `drawing`: the `numbers` here. Pixels are
whole numbers 0..255, as float32, channels first: (3, ..., S, S).
"""

import torch
from torch import Tensor

from infomax_nb.device import DeviceConstant, exact, host_may_look

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_BOX = ("top", "left", "height", "width", "flip")
_MEAN = torch.tensor(IMAGENET_MEAN)
_STD = torch.tensor(IMAGENET_STD)
_SHIFT = DeviceConstant(-_MEAN / _STD)
_SCALE = DeviceConstant(1 / (255 * _STD))


# --- Crop and resize --------------------------------------------------------------------------


@exact()
def crop(images: Tensor, numbers: dict[str, Tensor], size: int, kernel="bicubic") -> Tensor:
    """Crop, resize to size x size pixels and flip.

    Args:
        images: uint8 (B, 3, H, W), on any device.
        numbers: as `drawing.draw` returns them, (V, B), on the images' device.
        size: pixels.
        kernel: `bicubic` or `bilinear`.

    Returns: whole numbers 0..255 as float32, (3, V, B, size, size).
    """
    n_views = len(numbers["top"])
    batch, _, height, width = images.shape
    # (V, B, size, width) and (V, B, size, height)
    across, down = _resize_weights(numbers, size, height, width, kernel)
    pixels = images.float()
    # First each row of pixels is resized, then each column, by one batched product over the images
    # and one over their views.
    by_image = (batch, n_views * size, width)
    by_view = (batch * n_views, size, height)
    to_width = across.transpose(0, 1).reshape(by_image)
    to_height = down.transpose(0, 1).reshape(by_view)
    width_first = pixels.permute(0, 3, 1, 2).reshape(batch, width, 3 * height)
    of_new_width = _whole(torch.bmm(to_width, width_first))
    rows = of_new_width.view(batch * n_views, size * 3, height)
    out = torch.bmm(rows, to_height.mT)
    out = out.view(batch, n_views, size, 3, size)
    out = out.permute(3, 1, 0, 4, 2).contiguous()
    if height > size:
        _columns_first(out, pixels, numbers, across, down)
    return _whole(out)


def _columns_first(out, pixels, numbers, across, down):
    """Correct the views that Pillow resizes along the columns first: where that shrinks more."""
    size = out.shape[-1]
    shrinks_more = 2 * numbers["width"] < numbers["height"] + size
    chosen = (numbers["height"] > size) & shrinks_more
    if not host_may_look(out):
        of_new_height = _whole(down[:, :, None] @ pixels)
        resized = of_new_height @ across[:, :, None].mT
        channels_first = resized.permute(2, 0, 1, 3, 4)
        mask = chosen[..., None, None]
        out.copy_(torch.where(mask, channels_first, out))
    elif chosen.any():
        view, image = chosen.nonzero(as_tuple=True)
        of_new_height = _whole(down[view, image, None] @ pixels[image])
        resized = of_new_height @ across[view, image, None].mT
        out[:, view, image] = resized.transpose(0, 1)


def _resize_weights(numbers, size, height, width, kernel):
    """What resizes each crop along both axes: (V, B, size, width) and (V, B, size, height)."""
    top, left, high, wide, flip = [numbers[name] for name in _BOX]
    if height != width:
        across = _axis_weights(left, wide, size, width, kernel, flip)
        down = _axis_weights(top, high, size, height, kernel)
        return across, down
    # Both at once, as a GPU takes the same time for two as for one.
    starts = torch.stack([left, top])
    lengths = torch.stack([wide, high])
    flips = torch.stack([flip, torch.zeros_like(flip)])
    return _axis_weights(starts, lengths, size, width, kernel, flips)


def _axis_weights(start, length, size, pixels, kernel, flip=None):
    """Pillow's weights that resize a crop along an axis, (..., size, pixels): a row a new pixel.

    The crop has `length` pixels from `start` on, of the image's `pixels`; `flip` turns it round.
    """
    device = start.device
    scale = (length / size)[..., None]
    new = torch.arange(size, device=device, dtype=torch.float32)
    centre = (new + 0.5) * scale
    if flip is not None:
        centre = torch.where(flip[..., None], length[..., None] - centre, centre)
    tap = torch.arange(pixels, device=device) - start[..., None]
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


# --- What networks take -----------------------------------------------------------------------


def standardise(x: Tensor) -> Tensor:
    """Values 0..255, channels first (3, ...), to mean 0 and deviation 1 of ImageNet's channels."""
    shape = (3,) + (1,) * (x.ndim - 1)
    shift = _SHIFT.on(x.device).view(shape)
    return torch.addcmul(shift, x, _SCALE.on(x.device).view(shape))


def unstandardise(view: Tensor, size: int) -> Tensor:
    """A network's input (B, 3, S, S) as enlarged uint8 images (B, 3, size, size)."""
    std = _STD.to(view.device).view(3, 1, 1)
    mean = _MEAN.to(view.device).view(3, 1, 1)
    values = ((view * std + mean) * 255).round()
    enlarged = torch.nn.functional.interpolate(values, size, mode="nearest")
    return enlarged.clamp(0, 255).byte()
