"""Convolutions of small maps as matrix products: what the CPU's library for convolutions is slow at.

On 2x2 pixels all of a 3x3 kernel's positions together are one dense matrix, on one pixel it is the kernel's centre
alone; the library computes with the padding, too, and takes ten to thirty times as long for the weights' gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Pairs of an input's and an output's pixel, up to which the matrix is the faster way, by element size in bytes:
# 2x2 to 2x2 in float32, 4x4 to 2x2 in bfloat16. Measured on a CPU with AVX-512 and AMX.
PAIRS = {2: 64, 4: 16, 8: 16}


def is_small(height: int, width: int, kernel: tuple, stride: tuple, padding: tuple, element_size: int) -> bool:
    """Whether `on_small_map` is the faster way, for a map of `height` x `width` pixels."""
    rows = len(_places(height, kernel[0], stride[0], padding[0]))
    columns = len(_places(width, kernel[1], stride[1], padding[1]))
    return 0 < rows * columns * height * width <= PAIRS.get(element_size, 0)


def on_small_map(x: Tensor, weight: Tensor, stride: tuple, padding: tuple) -> Tensor:
    """The convolution (B, C, H, W) to (B, O, H', W') by a kernel (O, C, h, w), without dilation or groups.

    The kernel is laid upon the map at each of its H' W' places: cut where it juts out, zero where it does not reach.
    Both tensors and their gradients are channels-last; weights that see padding alone get a gradient of zero.
    """
    (batch, _, height, width), (channels, _, high, wide) = x.shape, weight.shape
    tops = _places(height, high, stride[0], padding[0])
    lefts = _places(width, wide, stride[1], padding[1])
    kernel = weight.permute(0, 2, 3, 1)
    laid = [F.pad(kernel, (0, 0, left, width - wide - left, top, height - high - top)) for top in tops for left in lefts]
    matrix = (laid[0] if len(laid) == 1 else torch.cat(laid)).flatten(1)
    made = F.linear(x.permute(0, 2, 3, 1).flatten(1), matrix)
    return _channels_first(made.view(batch, len(tops), len(lefts), channels))


def of_points(x: Tensor, weight: Tensor, stride: tuple) -> Tensor:
    """The convolution (B, C, H, W) to (B, O, H', W') by a kernel of one pixel, (O, C, 1, 1), without padding."""
    return _channels_first(F.linear(x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]], weight.flatten(1)))


def _channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) as (B, C, H, W), of one memory. One pixel is a matter of strides: torch's BatchNorm returns these,
    and its backward pass takes seven times as long where those of input and gradient differ."""
    return x.permute(0, 3, 1, 2) if x.shape[1] * x.shape[2] > 1 else x.flatten(1)[:, :, None, None]


def _places(size: int, kernel: int, stride: int, padding: int) -> range:
    """Where a kernel begins, for each output along one axis of `size` pixels."""
    return range(-padding, size + padding - kernel + 1, stride)
