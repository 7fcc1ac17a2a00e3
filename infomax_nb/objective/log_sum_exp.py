"""Log-sum-exp over all pairs of rows, tile by tile, with its own gradient.

The N x N similarities never exist at once: a tile is computed, used up and overwritten. Rows that
are compared with themselves have symmetric similarities. So only tiles on and above the diagonal
are computed, each for its rows and its columns. Backward computes them anew, but for the first few.
The formulas that it serves are in `losses`.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from infomax_nb.device import exact

_PLAIN_EXP_MAX = 40.0  # exp(±kappa) and sums of it stay far inside float32's range up to here
_KEEP = 2**24  # numbers kept for backward, 64 MiB: all, up to N = 5,000 on CPUs, 4,096 on GPUs
_TILE = {"cpu": 512, "cuda": 8192}  # rows and columns of a tile; 1 MiB stays in a CPU's L2 cache


def log_sum_exp(rows: Tensor, kappa: float, columns: Tensor | None = None, offset=0) -> Tensor:
    """log sum_j exp(kappa s_ij) over j != i, for every row i: (N,).

    Both passes are exact: at kappa = 1e4 the rounding of TF32 alone would move the entropies by
    more than they are.

    Args:
        rows: (N, D) unit rows.
        kappa: concentration of the kernel.
        columns: (M, D), what the rows are compared with; None for the rows themselves.
        offset: where the rows begin among the columns.
    """
    return _LogSumExp.apply(rows, columns, kappa, offset)


def log_sum_exp_of_groups(groups: Tensor, kappa: float) -> Tensor:
    """As `log_sum_exp`, over the other rows of the same group: (B, V) for groups (B, V, D)."""
    if groups.shape[1] == 2:  # a sum of one term
        return kappa * (groups[:, 0] * groups[:, 1]).sum(-1)[:, None].expand(-1, 2)
    s = _Product.apply(kappa * groups, groups)
    itself = torch.eye(s.shape[-1], dtype=torch.bool, device=s.device)
    return s.masked_fill(itself, -torch.inf).logsumexp(-1)


class _Tile(NamedTuple):
    rows: slice
    columns: slice
    values: Tensor  # kappa s_ij, -inf where a pair does not count; or exp of them
    mirrored: bool  # whether it stands for the tile across the diagonal, too


def _tiles(rows: Tensor, columns: Tensor | None, kappa: float, offset: int, skip=0):
    """Yield all tiles but the first `skip`, in one buffer: each is used up before the next."""
    size = _TILE.get(rows.device.type, 1024)
    others = rows if columns is None else columns
    scaled = rows * kappa
    buffer = rows.new_empty(min(size, len(rows)) * min(size, len(others)))
    corners = [(a, b) for a in range(0, len(rows), size) for b in range(0, len(others), size)]
    if columns is None:
        corners = [(a, b) for a, b in corners if b >= a]
    for a, b in corners[skip:]:
        left = scaled[a : a + size]
        right = others[b : b + size]
        out = buffer[: len(left) * len(right)].view(len(left), len(right))
        s = torch.mm(left, right.T, out=out)
        s.diagonal(offset + a - b).fill_(-torch.inf)  # row i is column i + offset: j != i
        mirrored = columns is None and b > a
        yield _Tile(slice(a, a + size), slice(b, b + size), s, mirrored)


class _LogSumExp(torch.autograd.Function):
    """Up to kappa = 40 from plain exponentials; above, these would leave the range of floats.

    Backward multiplies each tile's `forces`, the gradient with respect to its kappa s_ij, by the
    rows and columns that the tile was made from.
    """

    @staticmethod
    @exact()
    def forward(ctx, rows, columns, kappa, offset):
        ctx.kappa = kappa
        ctx.offset = offset
        ctx.kept = []
        tiles = _tiles(rows, columns, kappa, offset)
        if kappa <= _PLAIN_EXP_MAX:
            room = _KEEP if any(ctx.needs_input_grad) else 0
            log_sums = _plain_sums(tiles, rows.new_zeros(len(rows)), ctx.kept, room)
        else:
            log_sums = _running_sums(tiles, rows.new_full(rows.shape[:1], -torch.inf))
        ctx.save_for_backward(rows, columns, log_sums)
        return log_sums

    @staticmethod
    @exact()
    def backward(ctx, grad):
        rows, columns, log_sums = ctx.saved_tensors
        symmetric = columns is None
        others = rows if symmetric else columns
        grad_rows = torch.zeros_like(rows)
        grad_others = grad_rows if symmetric else torch.zeros_like(others)
        tiles = _tiles(rows, columns, ctx.kappa, ctx.offset, skip=len(ctx.kept))
        if ctx.kappa <= _PLAIN_EXP_MAX:
            row_weights = grad * (-log_sums).exp()
            # s_ij is in row i's sum and, where rows are compared with themselves, in row j's, too.
            column_weights = row_weights if symmetric else row_weights.new_zeros(len(others))
            forces = _plain_forces(ctx.kept, tiles, row_weights, column_weights)
        else:
            forces = _running_forces(tiles, log_sums, grad, symmetric)
        for tile, force in forces:
            grad_rows[tile.rows].addmm_(force, others[tile.columns])
            if tile.mirrored or not symmetric:
                grad_others[tile.columns].addmm_(force.T, rows[tile.rows])
        grad_rows *= ctx.kappa
        return grad_rows, None if symmetric else grad_others.mul_(ctx.kappa), None, None


def _plain_sums(tiles: Iterator[_Tile], sums: Tensor, kept: list[_Tile], room: int) -> Tensor:
    """log sum_j exp(kappa s_ij) for each row i, in the place of `sums`, which begin at 0.

    The first tiles' exponentials go into `kept`, as long as there is room for so many numbers.
    """
    for tile in tiles:
        room -= tile.values.numel()
        if room >= 0:
            tile = tile._replace(values=tile.values.exp())
            kept.append(tile)
        else:
            tile.values.exp_()
        sums[tile.rows] += tile.values.sum(1)
        if tile.mirrored:
            sums[tile.columns] += tile.values.sum(0)
    return sums.log_()


def _plain_forces(
    kept: list[_Tile], tiles: Iterator[_Tile], row_weights: Tensor, column_weights: Tensor
):
    """Yield each tile with its forces, in one buffer: what is kept stays for another backward."""
    computed_anew = (tile._replace(values=tile.values.exp_()) for tile in tiles)
    size = _TILE.get(row_weights.device.type, 1024)
    buffer = row_weights.new_empty(min(size, len(row_weights)) * min(size, len(column_weights)))
    for tile in chain(kept, computed_anew):
        out = buffer[: tile.values.numel()].view(tile.values.shape)
        force = torch.add(row_weights[tile.rows, None], column_weights[tile.columns], out=out)
        yield tile, force.mul_(tile.values)


def _running_sums(tiles: Iterator[_Tile], log_sums: Tensor) -> Tensor:
    """As `_plain_sums`, but logarithms throughout, from -inf on, so that nothing overflows."""
    for rows, columns, s, mirrored in tiles:
        log_sums[rows] = torch.logaddexp(log_sums[rows], s.logsumexp(1))
        if mirrored:
            log_sums[columns] = torch.logaddexp(log_sums[columns], s.logsumexp(0))
    return log_sums


def _running_forces(tiles: Iterator[_Tile], log_sums: Tensor, grad: Tensor, symmetric: bool):
    """As `_plain_forces`, from each exponential's share of a sum, which is at most 1."""
    for tile in tiles:
        rows, columns, s, _ = tile
        of_columns = torch.exp(s - log_sums[columns]).mul_(grad[columns]) if symmetric else 0
        of_rows = s.sub_(log_sums[rows, None]).exp_().mul_(grad[rows, None])
        yield tile, of_rows.add_(of_columns)


class _Product(torch.autograd.Function):
    """a (..., N, D) times b (..., M, D) transposed, exact in both passes."""

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
