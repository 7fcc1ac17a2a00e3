"""Log-sum-exp over all pairs of rows, tile by tile, with its own gradient.

The N x N similarities never exist at once: a tile is made, used up and overwritten. Rows that are
compared with themselves have symmetric similarities, so only tiles on and above the diagonal are
made, each for its rows and its columns; backward makes them anew, but for the first few. The
formulas that it serves are in `losses`.
"""

import itertools

import torch
from torch import Tensor

from infomax_nb.device import exact

_PLAIN_EXP_MAX = 40.0  # exp(±kappa) and sums of it stay far inside float32's range up to here


_KEEP = (
    2**24
)  # numbers of exp(kappa s) kept from forward for backward: 64 MiB, all of them up to N = 5,000


_TILE = {"cpu": 512, "cuda": 8192}  # a CPU tile of 1 MiB stays in the L2 cache


def _tiles(rows: Tensor, cols: Tensor, kappa: float, offset: int, skip: int = 0):
    """Yield (row slice, column slice, kappa * s_ij) over tiles, with -inf where the pair (i, j)
    does not count.

    When `cols is rows` only tiles on and above the diagonal come: s is symmetric. Every tile is
    written into the same buffer, so it must be used up before the next one is asked for. The first
    `skip` are left out.
    """
    size = _TILE.get(rows.device.type, 1024)
    scaled = rows * kappa
    buffer = rows.new_empty(min(size, len(rows)) * min(size, len(cols)))
    corners = [
        (a, b)
        for a in range(0, len(rows), size)
        for b in range(a if cols is rows else 0, len(cols), size)
    ]
    for a, b in corners[skip:]:
        i, j = slice(a, a + size), slice(b, b + size)
        left, right = scaled[i], cols[j]
        s = torch.mm(
            left, right.T, out=buffer[: len(left) * len(right)].view(len(left), len(right))
        )
        s.diagonal(offset + a - b).fill_(-torch.inf)  # j != i
        yield i, j, s


class LogSumExp(torch.autograd.Function):
    """log sum_j exp(kappa s_ij) for every row i, over j != i.

    Backward recomputes the tiles instead of keeping N x N numbers, but for the first few, `_KEEP`
    numbers. With `cols=None` the rows are compared with themselves and each tile above the diagonal
    serves its rows and columns.
    Both passes are exact: at kappa = 1e4 the rounding of TF32 alone would move the entropies by
    more than they are.
    """

    @staticmethod
    @exact()
    def forward(ctx, rows, cols, kappa, offset):
        ctx.kappa, ctx.offset, ctx.symmetric, ctx.kept = kappa, offset, cols is None, []
        ctx.plain = (
            kappa <= _PLAIN_EXP_MAX
        )  # else running maximum, as exp(kappa s) leaves the range of floats
        cols = rows if cols is None else cols
        room = _KEEP if ctx.plain and any(ctx.needs_input_grad) else 0
        lse = rows.new_full(rows.shape[:1], 0.0 if ctx.plain else -torch.inf)
        for i, j, s in _tiles(rows, cols, kappa, offset):
            room -= s.numel()
            if ctx.plain:
                s = torch.exp(s) if room >= 0 else s.exp_()
            if room >= 0:
                ctx.kept.append((i, j, s))
            # A tile above the diagonal serves the rows of its columns, too.
            for part, dim in ((i, 1), (j, 0)) if ctx.symmetric and j.start > i.start else ((i, 1),):
                lse[part] = (
                    lse[part] + s.sum(dim)
                    if ctx.plain
                    else torch.logaddexp(lse[part], s.logsumexp(dim))
                )
        lse = lse.log_() if ctx.plain else lse
        ctx.save_for_backward(rows, cols, lse)
        return lse

    @staticmethod
    @exact()
    def backward(ctx, grad):
        rows, cols, lse = ctx.saved_tensors
        grad_rows = torch.zeros_like(rows)
        cols, grad_cols = (rows, grad_rows) if ctx.symmetric else (cols, torch.zeros_like(cols))
        weight = grad * (-lse).exp() if ctx.plain else grad
        tiles = _tiles(rows, cols, ctx.kappa, ctx.offset, skip=len(ctx.kept))
        scratch, across = rows.new_empty(0), weight if ctx.symmetric else rows.new_zeros(len(cols))
        for n, (i, j, s) in enumerate(itertools.chain(ctx.kept, tiles)):
            if ctx.plain:
                force = torch.add(weight[i, None], across[j], out=scratch.resize_(s.shape))
                force.mul_(s if n < len(ctx.kept) else s.exp_())
            else:
                down = torch.exp(s - lse[j]).mul_(weight[j]) if ctx.symmetric else 0
                force = s.sub_(lse[i, None]).exp_().mul_(weight[i, None]).add_(down)
            grad_rows[i].addmm_(force, cols[j])
            if not ctx.symmetric or j.start > i.start:
                grad_cols[j].addmm_(force.T, rows[i])
        grad_rows *= ctx.kappa
        return grad_rows, None if ctx.symmetric else grad_cols.mul_(ctx.kappa), None, None


class _Product(torch.autograd.Function):
    """Products of the rows of a with those of b, (..., N, D) and (..., M, D) to (..., N, M), exact
    in both passes."""

    @staticmethod
    @exact()
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b.mT

    @staticmethod
    @exact()
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad @ b, (a.mT @ grad).mT


def positives(groups: Tensor, kappa: float) -> Tensor:
    """log sum_{j in P(i)} exp(kappa s_ij) for `groups` of shape (images, views, D); returns
    (images, views)."""
    if groups.shape[1] == 2:
        return kappa * (groups[:, 0] * groups[:, 1]).sum(-1)[:, None].expand(-1, 2)
    s = _Product.apply(kappa * groups, groups)
    return s.masked_fill(
        torch.eye(s.shape[-1], dtype=torch.bool, device=s.device), -torch.inf
    ).logsumexp(-1)
