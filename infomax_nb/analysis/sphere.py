"""Densities and point clouds on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of
surface (per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers
are the paper's.
"""

import math
from collections.abc import Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import log_vmf_normalizer

LEVELS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # contours: a density over the uniform one


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


def draw_sphere(axes: Sequence[plt.Axes], points: Tensor, kappas: Sequence[float]) -> None:
    """Draw the density of points on the near half of the sphere, seen along the first coordinate.

    The colour is the density over that of the uniform distribution, 1 / (4 pi).

    Args:
        axes: one for each kappa.
        points: unit rows (N, 3); those on the near half are drawn, too.
        kappas: concentrations of the kernel.
    """
    line = torch.linspace(-1, 1, 400, dtype=torch.float64)
    y, z = torch.meshgrid(line, line, indexing="xy")
    x = (1 - y**2 - z**2).sqrt()  # NaN beyond the edge, where nothing is drawn
    at = torch.stack([x, y, z], -1)
    shades = np.linspace(0, 1, len(LEVELS) + 1)
    colors = plt.get_cmap("viridis")(shades)
    near = points[points[:, 0] > 0]
    for axis, kappa in zip(axes, kappas, strict=True):
        over_uniform = 4 * math.pi * kernel_density(points, at, kappa)
        shown = axis.contourf(y, z, over_uniform, LEVELS, colors=colors, extend="both")
        axis.plot(*near[:, 1:].T, "wo", mec="black")
        axis.set_title(f"κ = {kappa:.3g}")
        axis.set(aspect="equal", frame_on=False, xticks=[], yticks=[])
    plt.colorbar(shown, ax=axes, label="density / uniform density", format="%g")
