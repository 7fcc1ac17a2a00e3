"""Rows scaled to unit length, in few passes."""

import torch
from torch.autograd.function import once_differentiable


class UnitRows(torch.autograd.Function):
    """x / |x|, scaled first so that squares neither overflow nor underflow; few passes, as small
    batches need."""

    @staticmethod
    def forward(ctx, x):
        largest = x.abs().amax(-1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        z = x / scale
        inverse = torch.where(largest > 0, z.square().sum(-1, keepdim=True).rsqrt(), 0)
        z *= inverse
        ctx.save_for_backward(z, inverse / scale)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        z, inverse = ctx.saved_tensors
        return torch.addcmul(grad, z, (grad * z).sum(-1, keepdim=True), value=-1).mul_(inverse)


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of `x` (..., D) scaled to unit length in float32 (float64 stays); a zero row stays zero,
    gradient zero."""
    return UnitRows.apply(x if x.dtype == torch.float64 else x.float())
