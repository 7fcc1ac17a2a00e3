"""Densities, point clouds and pictures on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of surface
(per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers are the paper's.
"""

import math

import matplotlib.pyplot as plt
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


def draw_circle(axes: np.ndarray, degrees: list[float], kappas: list[float]) -> None:
    """Points on the circle, their density for each kappa: around it (left of two axes), over the angle (right)."""
    grid, points = torch.arange(-180, 180.5, 0.5), on_circle(degrees)
    ring = on_circle(grid)
    density = torch.stack([kernel_density(points, ring, kappa) for kappa in kappas], -1)
    axes[0].plot(*ring.T, "grey", *points.T, "ko", ms=5, lw=1)
    axes[0].plot(*(ring.T[..., None] * (1 + density / density.max())), lw=2)  # the tallest is one radius high
    axes[0].set(aspect="equal", frame_on=False, xticks=[], yticks=[])
    axes[1].plot(grid, density, lw=2, label=[f"κ = {kappa:g}" for kappa in kappas])
    axes[1].axhline(1 / (2 * math.pi), color="0.4", ls=":", label="uniform")
    axes[1].plot(degrees, [0] * len(degrees), "ko", ms=5, clip_on=False, label="points")
    axes[1].set(xlabel="angle (degrees)", ylabel="density (per radian)", xticks=grid[::120], xmargin=0, ylim=0)
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(kappas) + 2, frameon=False)


def draw_sphere(axes: np.ndarray, points: torch.Tensor, kappas: list[float]) -> None:
    """The density of `points` (N, 3) on the near half of the sphere, one of the axes for each kappa.

    Seen from far along the first coordinate. The colour is the density over that of the uniform one, 1 / (4 pi).
    """
    y, z = torch.meshgrid(*[torch.linspace(-1, 1, 400, dtype=torch.float64)] * 2, indexing="xy")
    at = torch.stack([(1 - y**2 - z**2).sqrt(), y, z], -1)  # NaN beyond the edge, where nothing is drawn
    levels, colors = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50], plt.cm.viridis(np.linspace(0, 1, 10))
    for axis, kappa in zip(axes, kappas, strict=True):
        over_uniform = 4 * math.pi * kernel_density(points, at, kappa)
        shown = axis.contourf(y, z, over_uniform, levels, colors=colors, extend="both")
        axis.plot(*points[points[:, 0] > 0, 1:].T, "wo", mec="black")
        axis.set(title=f"κ = {kappa:g}", aspect="equal", frame_on=False, xticks=[], yticks=[])
    plt.colorbar(shown, ax=axes, label="density / uniform density", format="%g")
