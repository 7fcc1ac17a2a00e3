"""Densities, toys and pictures on the circle and the sphere, for the derivation (notebook 00).

The circle is S^1 (D = 2), the sphere S^2 (D = 3). Angles are in degrees, densities per unit of surface
(per radian on the circle, per steradian on the sphere), entropies in nats. Equation numbers are the paper's.
"""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.colors import BoundaryNorm
from scipy.special import gammaln, logsumexp
from torch import Tensor

from .config import live
from .losses import InfoMaxLoss, log_vmf_normalizer, normalize

COLORS = sns.color_palette("colorblind")
MARKERS = ["o", "^", "s", "D"]


def style() -> None:
    """Readable fonts and a colour-blind-safe palette for every figure that follows."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={"figure.dpi": 100})


def on_circle(degrees: Tensor | Sequence[float]) -> Tensor:
    """Unit vectors (..., 2), float64, at these angles (...) in degrees."""
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], -1)


def clustered_views(n_images: int, n_views: int, dim: int, degrees: float, seed: int = 0) -> Tensor:
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
    x, w = np.polynomial.legendre.leggauss(nodes)
    t = (x + 1) * np.pi / 2
    log_slice = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - gammaln((dim - 1) / 2)
    return float(log_slice + logsumexp(kappa * np.cos(t) + (dim - 2) * np.log(np.sin(t)), b=w * np.pi / 2))


def kernel_density(points: Tensor, at: Tensor, kappa: float) -> np.ndarray:
    """The estimated density (M,) at unit vectors `at` (M, D) from `points` (N, D): the mean of N kernels of Eq. 1."""
    log_k = log_vmf_normalizer(points.shape[1], kappa) + kappa * at.double() @ points.double().T
    return (log_k.logsumexp(1) - math.log(len(points))).exp().numpy()


def draw_circle(degrees: Sequence[float], kappas: Sequence[float], axes=None) -> None:
    """Points on the circle and their estimated density: around the circle (left), and unrolled (right)."""
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(11, 4), width_ratios=[1, 2], layout="constrained")
    grid, points = np.linspace(-180, 180, 721), on_circle(degrees)
    ring, at = on_circle(grid).numpy(), points.numpy()
    curves = [kernel_density(points, on_circle(grid), kappa) for kappa in kappas]
    tallest = max(curve.max() for curve in curves)
    axes[0].plot(*ring.T, color="0.6", lw=1)
    for color, kappa, curve in zip(COLORS, kappas, curves, strict=False):
        axes[0].plot(*(ring * (1 + curve / tallest)[:, None]).T, color=color, lw=2)
        axes[1].plot(grid, curve, color=color, lw=2, label=f"κ = {kappa:g}")
    axes[0].plot(*at.T, "o", color="black", ms=5)
    axes[0].set(aspect="equal", xlim=(-2.1, 2.1), ylim=(-2.1, 2.1))
    axes[0].axis("off")
    axes[1].axhline(1 / (2 * np.pi), color="0.4", ls=":", label="uniform")
    axes[1].plot(degrees, np.zeros(len(degrees)), "o", color="black", ms=5, clip_on=False, label="points")
    axes[1].set(xlabel="angle (degrees)", ylabel="density (per radian)", xlim=(-180, 180))
    axes[1].set(xticks=range(-180, 181, 60), ylim=(0, None))
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(kappas) + 2, frameon=False)


def draw_sphere(points: Tensor, kappas: Sequence[float], axes=None, size: int = 300) -> None:
    """The estimated density of `points` (N, 3) on the near half of the sphere, one disc for each kappa.

    Seen from far along the first axis. The colour is the density over that of the uniform one, 1 / (4 pi).
    """
    if axes is None:
        _, axes = plt.subplots(1, len(kappas), figsize=(11, 3.6), layout="constrained", squeeze=False)
    y, z = np.meshgrid(*[np.linspace(-1, 1, size)] * 2)
    disc, levels = y**2 + z**2 <= 1, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    at = torch.tensor(np.stack([np.sqrt(1 - (y**2 + z**2)[disc]), y[disc], z[disc]], 1))
    near = points[points[:, 0] > 0]
    for axis, kappa in zip(np.ravel(axes), kappas, strict=True):
        image = np.full(disc.shape, np.nan)
        image[disc] = kernel_density(points, at, kappa) * 4 * np.pi
        norm = BoundaryNorm(levels, 256, extend="both")
        shown = axis.imshow(image, "viridis", norm=norm, extent=(-1, 1, -1, 1), origin="lower")
        axis.plot(near[:, 1], near[:, 2], "o", color="white", mec="black", ms=6)
        axis.set_title(f"κ = {kappa:g}")
        axis.axis("off")
    bar = plt.colorbar(shown, ax=axes, label="density / uniform density", ticks=levels, shrink=0.9)
    bar.ax.set_yticklabels([f"{level:g}" for level in levels])


def explore(degrees: Sequence[float], points: Tensor, kappa: float) -> None:
    """The densities of both point sets with a slider for kappa, where a person is at the other end of the kernel.

    Programs that run notebooks (papermill, nbconvert, nbval) tell the kernel that nobody can type an answer;
    then only the picture for `kappa` is drawn, so that a stored notebook has a picture and no dead widget.
    """

    def draw(kappa: float) -> None:
        figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), width_ratios=[1, 2, 1.4], layout="constrained")
        draw_circle(degrees, [kappa], axes[:2])
        draw_sphere(points, [kappa], axes[2:])
        plt.show()

    import ipywidgets

    if not live():
        return draw(kappa)
    low, high = min(-1, math.log10(kappa)), max(3, math.log10(kappa))
    slider = ipywidgets.FloatLogSlider(kappa, min=low, max=high, description="κ", continuous_update=False)
    ipywidgets.interact(draw, kappa=slider)


def settle(degrees: Tensor, index: Tensor, kappa: float, alpha: float, beta: float, steps: int = 200) -> Tensor:
    """Angles (K,) in degrees after gradient descent (momentum 0.9) on the objective, from `degrees` (K,).

    `index` (V, B) says which of the K angles view v of image b has: two entries with one number are two views
    that nothing can tell apart.
    """
    angle = torch.deg2rad(degrees.double()).requires_grad_()
    velocity, loss = torch.zeros_like(angle), InfoMaxLoss(kappa, alpha, beta)
    for _ in range(steps):
        value = loss(list(torch.stack([angle.cos(), angle.sin()], -1)[index]))
        velocity = 0.9 * velocity - 0.5 * torch.autograd.grad(value, angle)[0]
        angle = (angle + velocity).detach().requires_grad_()
    return torch.rad2deg(angle.detach())


def spreads(z: Tensor, group: Tensor) -> tuple[float, float, float]:
    """Mean angles in degrees: of a view to its image's centre, between centres of one group, of different groups.

    Args:
        z: (V, B, 2) unit vectors.
        group: (B,) the group of each image.
    """
    centre = normalize(z.mean(0))
    between = torch.rad2deg((centre @ centre.T).clamp(-1, 1).acos())
    same = group[:, None] == group
    within = torch.rad2deg((z * centre).sum(-1).clamp(-1, 1).acos())
    others = ~torch.eye(len(group), dtype=torch.bool)
    return float(within.mean()), float(between[same & others].mean()), float(between[~same].mean())


def draw_images(axis, z: Tensor, group: Tensor, title: str) -> None:
    """Views `z` (V, B, 2) on the circle; colour: the image's group (B,); marker: its place in the group.

    View number v is drawn on a ring of its own, so that views at the same angle can be counted.
    """
    axis.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.7"))
    for b, g in enumerate(group.tolist()):
        rings = 1 + 0.13 * torch.arange(1, len(z) + 1)[:, None]
        place = int((group[:b] == g).sum())
        label = f"group {g + 1}, image {place + 1}"
        fill = COLORS[g] if place % 2 == 0 else "white"
        axis.plot(*(rings * z[:, b]).T, MARKERS[place], color=COLORS[g], mfc=fill, mew=1.5, ms=6, ls="", label=label)
    axis.set(aspect="equal", xlim=(-1.65, 1.65), ylim=(-1.65, 1.65))
    axis.set_title(title, fontsize=11)
    axis.axis("off")
