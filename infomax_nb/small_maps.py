"""Convolutions of small maps as matrix products on the CPU, where the usual library is slow.

On 2x2 pixels a 3x3 kernel in all its places makes one dense matrix; on one pixel only the kernel's
centre counts. The library (oneDNN) also computes with the padding and takes three to thirty times
as long, mostly for the weights' gradient. In bfloat16 it leaves some of that gradient unwritten.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

# The number of pairs of an input and an output pixel up to which the matrix is faster: 2x2 to 2x2
# in float32, 4x4 to 2x2 in bfloat16. Measured on one core with AVX-512 and AMX.
PAIRS = {torch.float32: 16, torch.float64: 16, torch.bfloat16: 64}


def is_small(x: Tensor, kernel: tuple, stride: tuple, padding: tuple, dtype: torch.dtype) -> bool:
    """Whether `on_small_map` is faster, for maps (B, C, H, W) and computation in `dtype`."""
    height, width = x.shape[-2:]
    down = len(_starts(height, kernel[0], stride[0], padding[0]))
    across = len(_starts(width, kernel[1], stride[1], padding[1]))
    pairs = down * across * height * width
    return 0 < pairs <= PAIRS.get(dtype, 0)


def on_small_map(x: Tensor, weight: Tensor, stride: tuple, padding: tuple) -> Tensor:
    """The convolution of maps (B, C, H, W) with a kernel (O, C, h, w), padded with zeros.

    There is no dilation and there are no groups. The kernel is laid on the map at each of its H' W'
    places, cut where it juts out, with zeros where it does not reach. Weights that meet only
    padding get a gradient of zero.

    Returns: (B, O, H', W').
    """
    channels, _, high, wide = weight.shape
    height, width = x.shape[-2:]
    tops = _starts(height, high, stride[0], padding[0])
    lefts = _starts(width, wide, stride[1], padding[1])
    kernel = weight.permute(0, 2, 3, 1)  # channels-last, as the maps are
    placed = []
    for top in tops:
        for left in lefts:
            across = (left, width - wide - left)
            down = (top, height - high - top)
            placed.append(pad(kernel, (0, 0, *across, *down)))
    matrix = torch.cat(placed).flatten(1)
    maps = x.permute(0, 2, 3, 1).flatten(1)
    shape = (len(x), len(tops), len(lefts), channels)
    pixels = linear(maps, matrix).view(shape)
    return _channels_first(pixels)


def of_points(x: Tensor, weight: Tensor, stride: tuple) -> Tensor:
    """The convolution of maps (B, C, H, W) with one pixel, (O, C, 1, 1): (B, O, H', W')."""
    down, across = stride
    points = x.permute(0, 2, 3, 1)[:, ::down, ::across]
    return _channels_first(linear(points, weight.flatten(1)))


def _channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) as (B, C, H, W), in the same memory.

    A map of one pixel gets the strides that torch's BatchNorm gives its output. Where input and
    gradient have different strides, BatchNorm's backward pass takes seven times as long.
    """
    if x.shape[1] * x.shape[2] == 1:
        return x.flatten(1)[:, :, None, None]
    return x.permute(0, 3, 1, 2)


def _starts(size: int, kernel: int, stride: int, padding: int) -> range:
    """Where the kernel begins on an axis of `size` pixels, for each pixel of the output."""
    last = size + padding - kernel
    return range(-padding, last + 1, stride)
