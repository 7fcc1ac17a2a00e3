"""Densities and point clouds on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of
surface (per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers
are the paper's.
"""

import math
from functools import partial

import numpy as np
import torch
from scipy.special import xlogy
from torch import Tensor

from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import log_vmf_normalizer


def log_area(dim: int) -> float:
    """log of the surface of S^{D-1}, in nats: the uniform distribution's entropy, the maximum.

    >>> math.isclose(log_area(3), math.log(4 * math.pi))
    True
    """
    half = dim / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def on_circle(degrees: Tensor | list[float]) -> Tensor:
    """Unit vectors (..., 2), float64, at these angles (...) in degrees."""
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], -1)


def clustered_views(n_images: int, n_views: int, dim: int, degrees: float, seed: int = 0) -> Tensor:
    """Views (V, B, D), float64, each `degrees` away from its image's random centre.

    The direction from the centre is random. At 0 degrees all views of an image coincide; at 90 they
    have nothing to do with the centre.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    centres = unit_rows(normal(n_images, dim))
    aside = normal(n_views, n_images, dim)
    along = (aside * centres).sum(-1, keepdim=True)
    aside = unit_rows(aside - along * centres)  # orthogonal to the centre
    angle = math.radians(degrees)
    return math.cos(angle) * centres + math.sin(angle) * aside


def kernel_density(points: Tensor, at: Tensor, kappa: float) -> Tensor:
    """The density (...) estimated from points: the mean of their kernels (Eq. 1).

    Args:
        points: unit rows (N, D).
        at: unit rows (..., D) where the density is wanted.
        kappa: concentration of the kernel.
    """
    log_c = log_vmf_normalizer(points.shape[1], kappa)
    log_kernels = log_c + kappa * at @ points.T
    return log_kernels.exp().mean(-1)


def angle_density(dim: int, kappa: float, angle: np.ndarray) -> np.ndarray:
    """The density, per radian, of the angle between a kernel's point and the kernel's centre.

    All points at the angle t are an S^{D-2} of radius sin t. So the density is
    |S^{D-2}| sin(t)^{D-2} C_D(kappa) exp(kappa cos t).

    Args:
        dim: D, at least 2.
        kappa: concentration of the kernel; 0 is the uniform distribution.
        angle: t in radians, between 0 and pi, (...).
    """
    log_slice = log_area(dim - 1) + xlogy(dim - 2, np.sin(angle))  # 0 log 0 = 0
    log_c = log_vmf_normalizer(dim, kappa) if kappa else -log_area(dim)
    return np.exp(log_slice + log_c + kappa * np.cos(angle))


def overlap_with_uniform(dim: int, kappa: float) -> float:
    """What the kernel and the uniform distribution share: the integral of the lower density.

    1 where they are the same, 0 where they have no place in common. As both depend on the angle
    alone, it is an integral over the angle.
    """
    edges = np.linspace(0, math.pi, 20_001)
    middles = (edges[1:] + edges[:-1]) / 2
    both = [angle_density(dim, each, middles) for each in (kappa, 0)]
    return float(np.minimum(*both).sum() * edges[1])
