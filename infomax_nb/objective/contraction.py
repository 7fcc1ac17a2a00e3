"""At which beta/alpha the objective asks a batch to draw together, derived from Eq. 2 to 4.

Let m be the mean of the N unit vectors x_i, and let the batch shrink towards it: x_i(t) is m +
t (x_i - m), put back on the sphere, t from 1 downwards. With a_i = x_i . m, at t = 1

    d s_ij / dt = -(1 - s_ij) (a_i + a_j),

so that by the chain rule, with the kernels' shares q_ij in view i's density (over all j != i) and
q+_ij (over its positives),

    d H_global / dt = kappa/N sum_i sum_j q_ij  (1 - s_ij) (a_i + a_j)
    d H_local  / dt = kappa/N sum_i sum_j q+_ij (1 - s_ij) (a_i + a_j).

Eq. 4 grows as the batch shrinks where alpha times the first is below beta times the second.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from infomax_nb.objective.checks import check_views
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import check_positive

NO_MEAN = 1e-9  # the mean's length below which it has no direction
NO_RATE = 1e-12  # a view's rate below which it is rounding


@torch.no_grad()
def contraction_threshold(views: Sequence[Tensor], kappa: float) -> float:
    """The beta/alpha above which Eq. 4 asks these views to draw together about their mean.

    It is the ratio of two means of (1 - s_ij) (a_i + a_j), half the squared distance of two views
    times their nearness to the mean: over all other views, and over positives, each weighted by
    its share in the density.

    Args:
        views: V tensors (B, D) of projections, V >= 2; their lengths do not matter.
        kappa: concentration of the kernel, > 0.

    Raises:
        ValueError: an argument is not as described, or there is no such threshold: the views' mean
            is zero, positives all coincide, or they lie opposite the mean.
    """
    check_views(views)
    kappa = check_positive("kappa", kappa)
    n_images = len(views[0])
    x = unit_rows(torch.cat([view.double() for view in views]))
    near = x @ x.mean(0)
    if x.mean(0).norm() < NO_MEAN:
        raise ValueError("views have the mean zero: there is no direction to draw together in.")
    cosines = x @ x.T
    rates = (1 - cosines) * (near[:, None] + near)
    image = torch.arange(len(x), device=x.device) % n_images
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    positive = (image[:, None] == image) & ~itself
    of_global = _shares(kappa * cosines, ~itself) * rates
    of_local = _shares(kappa * cosines, positive) * rates
    if of_local.sum().abs() < NO_RATE * len(x):
        raise ValueError("views of each image coincide: their entropy has no rate to compare with.")
    if of_local.sum() < 0:
        raise ValueError("views of an image lie opposite the mean: drawing together parts them.")
    return float(of_global.sum() / of_local.sum())


def spread(views: Sequence[Tensor]) -> float:
    """1 - |m|^2, where m is the mean of the views as unit vectors: 0 where all coincide.

    It is their mean squared distance to m.

    Args:
        views: V tensors (B, D) of projections.
    """
    x = unit_rows(torch.cat([view.double() for view in views]))
    return 1 - float(x.mean(0).square().sum())


def drawn_together(views: Sequence[Tensor], to: float) -> list[Tensor]:
    """The views as unit vectors in float64, at `to` times their distances to their mean.

    They are put back on the sphere.

    Args:
        views: V tensors (B, D) of projections.
        to: 1 leaves the directions as they are, 0 makes them one.
    """
    units = [unit_rows(view.double()) for view in views]
    mean = torch.cat(units).mean(0)
    return [unit_rows(mean + to * (view - mean)) for view in units]


def _shares(logits: Tensor, counted: Tensor) -> Tensor:
    """Softmax of each row over the counted entries; zero elsewhere."""
    return logits.masked_fill(~counted, -math.inf).softmax(1)
