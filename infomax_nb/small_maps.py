"""Convolutions of small maps as matrix products on the CPU, where the library for convolutions is
slow.

On 2x2 pixels all places of a 3x3 kernel together are one dense matrix; on one pixel it is the
kernel's centre alone. The library (oneDNN) computes with the padding, too, and needs three to
thirty times as long, most of it for the weights' gradient; in bfloat16 it leaves some of that
gradient unwritten.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

# Pairs of an input's and an output's pixel, up to which the matrix is faster: 2x2 to 2x2 in
# float32, 4x4 to 2x2 in bfloat16. Measured on one core with AVX-512 and AMX.
PAIRS = {torch.float32: 16, torch.float64: 16, torch.bfloat16: 64}


def is_small(x: Tensor, kernel: tuple, stride: tuple, padding: tuple, dtype: torch.dtype) -> bool:
    """Whether `on_small_map` is the faster way, for maps (B, C, H, W) that are computed with in
    `dtype`."""
    axes = zip(x.shape[-2:], kernel, stride, padding, strict=True)
    down, across = [len(_starts(*axis)) for axis in axes]
    return 0 < down * across * x.shape[-2] * x.shape[-1] <= PAIRS.get(dtype, 0)


def on_small_map(x: Tensor, weight: Tensor, stride: tuple, padding: tuple) -> Tensor:
    """The convolution of maps (B, C, H, W) by a kernel (O, C, h, w), zeros around them: (B, O, H',
    W').

    Without dilation and groups. The kernel is laid on the map at each of its H' W' places, cut
    where it juts out, with zeros where it does not reach. Weights that see padding alone get a
    gradient of zero.
    """
    channels, _, high, wide = weight.shape
    height, width = x.shape[-2:]
    tops = _starts(height, high, stride[0], padding[0])
    lefts = _starts(width, wide, stride[1], padding[1])
    kernel = weight.permute(0, 2, 3, 1)  # channels-last, as the maps are
    laid = [
        pad(kernel, (0, 0, left, width - wide - left, top, height - high - top))
        for top in tops
        for left in lefts
    ]
    matrix = torch.cat(laid).flatten(1)
    made = linear(x.permute(0, 2, 3, 1).flatten(1), matrix)
    return _channels_first(made.view(len(x), len(tops), len(lefts), channels))


def of_points(x: Tensor, weight: Tensor, stride: tuple) -> Tensor:
    """The convolution of maps (B, C, H, W) by a kernel of one pixel, (O, C, 1, 1): (B, O, H',
    W')."""
    seen = x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]]
    return _channels_first(linear(seen, weight.flatten(1)))


def _channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) as (B, C, H, W), in the same memory.

    A map of one pixel has the strides that torch's BatchNorm gives its output: where input and
    gradient differ in them, BatchNorm's backward pass takes seven times as long.
    """
    if x.shape[1] * x.shape[2] == 1:
        return x.flatten(1)[:, :, None, None]
    return x.permute(0, 3, 1, 2)


def _starts(size: int, kernel: int, stride: int, padding: int) -> range:
    """Where the kernel begins on an axis of `size` pixels, for each pixel of the output."""
    return range(-padding, size + padding - kernel + 1, stride)
