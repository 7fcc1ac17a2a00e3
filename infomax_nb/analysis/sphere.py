"""Densities and point clouds on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of
surface (per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers
are the paper's.
"""

import math

import torch

from infomax_nb.losses import log_vmf_normalizer
from infomax_nb.objective.unit_rows import unit_rows


def on_circle(degrees: torch.Tensor | list[float]) -> torch.Tensor:
    """Unit vectors (..., 2), float64, at these angles (...) in degrees."""
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], -1)


def clustered_views(
    n_images: int, n_views: int, dim: int, degrees: float, seed: int = 0
) -> torch.Tensor:
    """Views (V, B, D), float64: each lies `degrees` away from the random centre of its image, in a
    random direction.

    At 0 degrees all views of an image coincide; at 90 they have nothing to do with its centre.
    """
    draw = torch.Generator().manual_seed(seed)
    centres = unit_rows(torch.randn(n_images, dim, generator=draw, dtype=torch.float64))
    aside = torch.randn(n_views, n_images, dim, generator=draw, dtype=torch.float64)
    aside = unit_rows(aside - (aside * centres).sum(-1, keepdim=True) * centres)
    return math.cos(math.radians(degrees)) * centres + math.sin(math.radians(degrees)) * aside


def kernel_density(points: torch.Tensor, at: torch.Tensor, kappa: float) -> torch.Tensor:
    """The estimated density (...) at unit rows `at` (..., D) from `points` (N, D): the mean of N
    kernels (Eq. 1)."""
    return (log_vmf_normalizer(points.shape[1], kappa) + kappa * at @ points.T).exp().mean(-1)
