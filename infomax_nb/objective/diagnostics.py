"""objective.diagnostics."""

from collections.abc import Sequence

import torch

from infomax_nb.device import exact
from infomax_nb.losses import InfoMaxLoss, _check_views
from infomax_nb.objective.unit_rows import unit_rows


def diagnostics(views: Sequence[torch.Tensor], loss: InfoMaxLoss) -> dict[str, float]:
    """What the objective sees in one batch of V projections (B, D).

    Returns `nn_positive`, the fraction of views whose nearest neighbour is another view of the same
    image, and `grad_over_kappa`, the norm of the loss' gradient with respect to the N x D unit
    vectors (its component along the sphere), over kappa: it tends to zero where the objective has
    nothing left to ask for.
    """
    _check_views(views)
    with torch.enable_grad(), exact():
        z = unit_rows(torch.stack([v.detach().double() for v in views])).requires_grad_()
        entropies = loss.entropies(
            list(z), alone=True
        )  # these normalise again: the gradient is tangential
        grad = torch.autograd.grad(loss.combine(*entropies), z)[0]
    rows, n_images = z.detach().float().flatten(0, 1), z.shape[1]
    with exact():
        index = (rows @ rows.T).fill_diagonal_(-torch.inf).argmax(1)
    same = index % n_images == torch.arange(len(rows), device=rows.device) % n_images
    return {
        "nn_positive": float(same.float().mean()),
        "grad_over_kappa": float(grad.norm()) / loss.kappa,
    }
