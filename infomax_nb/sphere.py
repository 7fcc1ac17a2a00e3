"""Densities and point clouds on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of surface
(per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers are the paper's.
"""

import math

import numpy as np
import torch

from .losses import log_vmf_normalizer, normalize


def on_circle(degrees: torch.Tensor | list[float]) -> torch.Tensor:
    """Unit vectors (..., 2), float64, at these angles (...) in degrees."""
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], -1)


def clustered_views(n_images: int, n_views: int, dim: int, degrees: float, seed: int = 0) -> torch.Tensor:
    """Views (V, B, D), float64: each lies `degrees` away from the random centre of its image, in a random direction.

    At 0 degrees all views of an image coincide; at 90 they have nothing to do with its centre.
    """
    draw = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(n_images, dim, generator=draw, dtype=torch.float64))
    aside = torch.randn(n_views, n_images, dim, generator=draw, dtype=torch.float64)
    aside = normalize(aside - (aside * centres).sum(-1, keepdim=True) * centres)
    return math.cos(math.radians(degrees)) * centres + math.sin(math.radians(degrees)) * aside


def log_kernel_integral(dim: int, kappa: float, nodes: int = 400) -> float:
    """log of the integral of exp(kappa s) over S^{D-1}, in nats, by Gauss-Legendre quadrature over the angle.

    At angle t from the kernel's centre the sphere's slice is a S^{D-2} of radius sin t, so the integral is
    |S^{D-2}| times that of exp(kappa cos t) sin(t)^{D-2} over 0..pi. Summed in log space; nothing here uses
    Bessel functions, so it checks `log_vmf_normalizer`, which is its negative.
    """
    t, w = (np.stack(np.polynomial.legendre.leggauss(nodes)) + [[1], [0]]) * np.pi / 2  # nodes moved to 0..pi
    log_slice = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)
    return log_slice + np.logaddexp.reduce(kappa * np.cos(t) + (dim - 2) * np.log(np.sin(t)) + np.log(w))


def kernel_density(points: torch.Tensor, at: torch.Tensor, kappa: float) -> torch.Tensor:
    """The estimated density (...) at unit rows `at` (..., D) from `points` (N, D): the mean of N kernels (Eq. 1)."""
    return (log_vmf_normalizer(points.shape[1], kappa) + kappa * at @ points.T).exp().mean(-1)
