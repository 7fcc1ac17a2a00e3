"""How projections fill their sphere: what the kernel tells apart, and in how many directions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from infomax_nb.device import exact
from infomax_nb.evaluation.representation import effective_rank
from infomax_nb.objective.unit_rows import unit_rows

GEOMETRY = ("kernel_spread", "projection_rank")


@torch.no_grad()
@exact()
def geometry(batches: Sequence[Sequence[Tensor]], kappa: float) -> dict[str, float]:
    """How far the kernel's exponents spread, and how many directions the projections use.

    Args:
        batches: for each batch its views, (images, D) each, as `probe.held_out_projections` returns
            them.
        kappa: concentration of the kernel.

    Returns:
        `kernel_spread`, the standard deviation of kappa * s over pairs of views of different images
        in a batch, which is kappa / sqrt(D) where directions are random. `projection_rank`, the
        effective rank of the first view of all images, at most the smaller of D and their number.
    """
    spreads = [_similarities(views).std() for views in batches]
    first = unit_rows(torch.cat([views[0] for views in batches]))
    spread = kappa * float(torch.stack(spreads).mean())
    return dict(zip(GEOMETRY, (spread, effective_rank(first)), strict=True))


def _similarities(views: Sequence[Tensor]) -> Tensor:
    """The cosines of all pairs of views that show different images."""
    images = len(views[0])
    rows = unit_rows(torch.cat(list(views)))
    image = torch.arange(images, device=rows.device).repeat(len(views))
    return (rows @ rows.T)[image[:, None] != image]
