"""Scale rows to unit length, in few passes."""

import torch
from torch.autograd.function import once_differentiable


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of x (..., D) scaled to unit length, in float32 (float64 stays).

    A zero row stays zero, and its gradient is zero.

    >>> unit_rows(torch.tensor([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return _UnitRows.apply(x if x.dtype == torch.float64 else x.float())


class _UnitRows(torch.autograd.Function):
    """x / |x|, scaled by the largest number first, so that squares neither overflow nor vanish."""

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
        along = (grad * z).sum(-1, keepdim=True)
        return torch.addcmul(grad, z, along, value=-1).mul_(inverse)
