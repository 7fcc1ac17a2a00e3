"""Densities and sliding points on the circle and the sphere (notebook 00).

Angles are in degrees, densities per radian on the circle. The sphere is seen along its first
coordinate.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import vonmises_fisher
from torch import Tensor

from infomax_nb.analysis import sphere
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.plots import shades

LEVELS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # contours: a density over the uniform one
GRID = torch.arange(-180, 180.5, 0.5)  # degrees
GROUP_COLOURS = ("C0", "C1", "C2", "C4")  # of images that share views
EDGE = 1.65  # what is drawn around a circle of radius 1
GROUPS_ON_CIRCLE = (-120.0, 0.0, 60.0)  # centres, degrees
GROUPS_ON_SPHERE = ((1.0, 0.8, 0.6), (1.0, -0.9, 0.2), (1.0, 0.2, -1.1))

# --- Densities --------------------------------------------------------------------------------


def on_circle(degrees: Sequence[float], kappas: Sequence[float]) -> Figure:
    """Points on the circle, and their density for each kappa: around it, and over the angle."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=[1, 2], layout="constrained")
    draw_circle(axes, degrees, kappas)
    _legend_above(axes[1], columns=5)
    return figure


def draw_circle(axes: Sequence[Axes], degrees: Sequence[float], kappas: Sequence[float]) -> None:
    """Draw on two axes what `on_circle` describes; the tallest density is one radius high."""
    points = sphere.on_circle(list(degrees))
    ring = sphere.on_circle(GRID)
    around, over_angle = axes
    around.plot(*ring.T, color="grey", lw=1)
    around.plot(*points.T, "ko", ms=5)
    _bare(around)
    densities = {kappa: sphere.kernel_density(points, ring, kappa) for kappa in kappas}
    tallest = max(float(density.max()) for density in densities.values())
    for kappa, colour in shades(kappas).items():
        density = densities[kappa]
        radius = 1 + density / tallest
        around.plot(*(ring.T * radius), color=colour, lw=2)
        over_angle.plot(GRID, density, color=colour, lw=2, label=f"κ = {kappa:.3g}")
    over_angle.axhline(1 / (2 * math.pi), color="0.4", ls=":", label="uniform")
    on_axis = [0] * len(degrees)
    over_angle.plot(degrees, on_axis, "ko", ms=5, clip_on=False, label="points")
    over_angle.set(xlabel="angle (degrees)", ylabel="density (per radian)")
    over_angle.set_xticks(range(-180, 181, 60))
    over_angle.set_xlim(-180, 180)
    over_angle.set_ylim(0)


def _bare(axis: Axes) -> None:
    """Take away all but what is drawn, with equal units both ways."""
    axis.set_aspect("equal")
    axis.set_frame_on(False)
    axis.set(xticks=[], yticks=[])


def _legend_above(axis: Axes, columns: int) -> None:
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, frameon=False)


def on_sphere(points: Tensor, kappas: Sequence[float]) -> Figure:
    """The density of points (N, 3) on the sphere, a panel for each kappa."""
    size: dict[str, Any] = {"figsize": (11, 3.7), "layout": "constrained", "squeeze": False}
    figure, (axes,) = plt.subplots(1, len(kappas), **size)
    draw_sphere(axes, points, kappas)
    return figure


def draw_sphere(axes: Sequence[Axes], points: Tensor, kappas: Sequence[float]) -> None:
    """Draw the density of points on the near half of the sphere.

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
    shares = np.linspace(0, 1, len(LEVELS) + 1)
    colours = plt.get_cmap("viridis")(shares)
    near = points[points[:, 0] > 0]
    for axis, kappa in zip(axes, kappas, strict=True):
        over_uniform = 4 * math.pi * sphere.kernel_density(points, at, kappa)
        shown = axis.contourf(y, z, over_uniform, LEVELS, colors=colours, extend="both")
        axis.plot(*near[:, 1:].T, "wo", mec="black")
        axis.set_title(f"κ = {kappa:.3g}")
        _bare(axis)
    plt.colorbar(shown, ax=axes, label="density / uniform density", format="%g")


def three_groups(kappa: float, concentration: float, seed: int) -> Figure:
    """Points drawn around three centres, their true density and the estimated one.

    Panels: on the circle, over its angle, on the sphere. "off" is half the area between the two
    curves.

    Args:
        kappa: concentration of the kernel.
        concentration: that of the six points around each centre, drawn from a vMF density.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    centres = sphere.on_circle(list(GROUPS_ON_CIRCLE))
    flat = _around(centres, concentration, rng)
    towards = torch.tensor(GROUPS_ON_SPHERE).double()
    ball = _around(unit_rows(towards), concentration, rng)
    widths = [1, 1.6, 1.1]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), width_ratios=widths, layout="constrained")
    radians = torch.atan2(flat[:, 1], flat[:, 0])
    draw_circle(axes[:2], torch.rad2deg(radians).tolist(), [kappa])
    draw_sphere(axes[2:], ball, [kappa])
    _compare(axes[1], centres, concentration, flat, kappa)
    return figure


def _compare(
    axis: Axes, centres: Tensor, concentration: float, points: Tensor, kappa: float
) -> None:
    """Draw the true density over the angle, and say how far off the estimated one is."""
    ring = sphere.on_circle(GRID)
    truth = sphere.kernel_density(centres, ring, concentration)
    estimate = sphere.kernel_density(points, ring, kappa)
    off = float((truth - estimate).abs().mean()) * math.pi
    highest = max(float(truth.max()), float(estimate.max()))
    axis.plot(GRID, truth, "k--", lw=1, label=f"truth, {off:.0%} off")
    axis.set_ylim(0, 1.05 * highest)
    _legend_above(axis, columns=2)


def _around(centres: Tensor, concentration: float, rng: np.random.Generator) -> Tensor:
    """Six points around each of the centres (3, D): (18, D)."""
    drawn = []
    for centre in centres.numpy():
        group = vonmises_fisher(centre, concentration)
        drawn.append(group.rvs(6, rng))
    return torch.from_numpy(np.concatenate(drawn))


def angles(kappas: Sequence[float], dim: int) -> Figure:
    """The angle between a kernel's points and its centre, beside that of uniform points.

    The legend says how much of the two densities overlaps.
    """
    degrees = np.linspace(0.1, 179.9, 1799)
    radians = np.radians(degrees)
    figure, axis = plt.subplots(figsize=(9.5, 4.6), layout="constrained")
    uniform = sphere.angle_density(dim, 0, radians)
    axis.fill_between(degrees, uniform, color="0.85", label="uniform")
    for kappa, colour in shades(kappas).items():
        density = sphere.angle_density(dim, kappa, radians)
        overlap = sphere.overlap_with_uniform(dim, kappa)
        label = f"κ = {kappa:g}: {overlap:.0%} overlap"
        axis.plot(degrees, density, color=colour, lw=2, label=label)
    axis.set(xlabel="angle to the kernel's centre (degrees)", ylabel="density (per radian)")
    axis.set_xticks(range(0, 181, 30))
    axis.set_xlim(0, 180)
    axis.set_ylim(0)
    axis.set_title(f"D = {dim}")
    axis.legend(loc="upper left" if dim > 3 else "upper right")
    return figure


# --- Points that slide ------------------------------------------------------------------------


def draw_toys(
    figure: Figure,
    toys: Mapping[str, Tensor],
    columns: int,
    draw: Callable[[Axes, Tensor], None],
    title="",
) -> None:
    """Draw a panel for each toy.

    Args:
        figure: an empty one.
        toys: for each panel's title, unit rows (V, B, D): where the views of the images are.
        columns: panels in a row.
        draw: draws one toy, `on_ring` or `on_ball`.
        title: shown above all panels.
    """
    rows = math.ceil(len(toys) / columns)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(toys) :]:
        axis.set_axis_off()
    for axis, (name, views) in zip(axes.flat, toys.items(), strict=False):
        draw(axis, views)
        axis.set_title(name)
        _bare(axis)
    handles, labels = axis.get_legend_handles_labels()
    figure.suptitle(title, y=0.99)
    per_line = 3 if len(labels) == 6 else len(labels)
    figure.legend(handles, labels, loc="lower center", ncols=per_line, frameon=False)
    figure.subplots_adjust(0.01, 0.1, 0.99, 0.9, wspace=0.02, hspace=0.12)


def on_ring(axis: Axes, views: Tensor) -> None:
    """Draw views (V, B, 2); view number v is drawn on a ring of its own.

    Images 0 and 1 are a group and have one colour, then 2 and 3, and so on.
    """
    axis.plot(*sphere.on_circle(GRID).T, color="0.7", lw=1)
    numbers = torch.arange(1, len(views) + 1)
    rings = 1 + 0.13 * numbers[:, None, None]
    on_rings = (rings * views).transpose(0, 1)
    for image, marks in enumerate(on_rings):
        group, second = divmod(image, 2)
        colour = GROUP_COLOURS[group]
        fill = "white" if second else colour
        label = f"group {group + 1}, image {second + 1}"
        (line,) = axis.plot(*marks.T, "o^"[second], color=colour, label=label)
        line.set(markersize=6, markerfacecolor=fill, markeredgewidth=1.5)
    axis.set_xlim(-EDGE, EDGE)
    axis.set_ylim(-EDGE, EDGE)


def on_ball(axis: Axes, views: Tensor) -> None:
    """Draw views (V, B, 3) on a sphere; images are four groups, each of one colour.

    Points on the far side are small and pale. The last view is one point that all images share,
    which is black.
    """
    ball = plt.Circle((0, 0), 1, facecolor="0.95", edgecolor="0.6")
    axis.add_patch(ball)
    size = views.shape[1] // len(GROUP_COLOURS)
    groups = views[:-1].split(size, dim=1)
    for number, (images, colour) in enumerate(zip(groups, GROUP_COLOURS, strict=True)):
        _near_and_far(axis, images.flatten(0, 1), colour, f"group {number + 1}")
    _near_and_far(axis, views[-1, :1], "black", "shared by all")
    axis.set_xlim(-1.08, 1.08)
    axis.set_ylim(-1.08, 1.08)


def _near_and_far(axis: Axes, points: Tensor, colour: str, label: str) -> None:
    is_near = points[:, 0] >= 0
    far = points[~is_near, 1:]
    near = points[is_near, 1:]
    axis.plot(*far.T, "o", color=colour, ms=5, mew=0, alpha=0.4)
    axis.plot(*near.T, "o", color=colour, ms=7, mec="white", mew=0.7, label=label)
