"""Measure on one batch how much the objective still asks for."""

from collections.abc import Sequence

import torch

from infomax_nb.device import exact
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.objective.checks import check_views
from infomax_nb.objective.unit_rows import unit_rows

AT_ONCE = 2048  # rows whose neighbours are sought together, so that memory grows as N


@exact()
def diagnostics(views: Sequence[torch.Tensor], loss: InfoMaxLoss) -> dict[str, float]:
    """How far one batch of V projections (B, D) is from what the objective asks for.

    Returns:
        Two numbers by name. `nn_positive` is the share of views whose nearest neighbour is a view
        of the same image. `grad_over_kappa` is the norm of the loss' gradient with respect to the
        N x D unit vectors (its component along the sphere), over kappa. It tends to zero where the
        objective has nothing left to ask for.

    Raises:
        ValueError: the views are not V >= 2 tensors of one shape.
    """
    check_views(views)
    with torch.enable_grad():
        z = unit_rows(torch.stack([view.detach().double() for view in views])).requires_grad_()
        # `entropies` normalises again: the gradient is along the sphere.
        h_global, h_local = loss.entropies(list(z), alone=True)
        value = -(loss.alpha * h_global - loss.beta * h_local)
        gradient = torch.autograd.grad(value, z)[0]
    n_images = z.shape[1]
    rows = z.detach().float().flatten(0, 1)
    itself = torch.arange(len(rows), device=rows.device)
    nearest = torch.cat([_nearest(rows, chosen) for chosen in itself.split(AT_ONCE)])
    positive = nearest % n_images == itself % n_images
    return {
        "nn_positive": float(positive.float().mean()),
        "grad_over_kappa": float(gradient.norm()) / loss.kappa,
    }


def _nearest(rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """For each chosen row the number of the nearest other one; rows are (N, D), of unit length."""
    cosines = rows[chosen] @ rows.T
    cosines[torch.arange(len(chosen), device=rows.device), chosen] = -torch.inf
    return cosines.argmax(1)
