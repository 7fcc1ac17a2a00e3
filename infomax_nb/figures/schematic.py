"""The method in one picture: images, views, network, points on a sphere, two entropies."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from torch import Tensor

from infomax_nb.plots import COLOURS

SIZE = (6.4, 6.3)  # inches; at 150 dots each, so that words are read on a phone, too
RADIUS = 0.86
SPHERES = (1.05, 3.2, 5.35)  # the middles of the three spheres, from the left
HEIGHT = 1.95  # of their middles
KERNEL = r"C_D(\kappa)\,e^{\kappa s_{ij}}$"
BELOW = {
    "$N$ unit vectors": "one for each view",
    r"$H_{global}$: all others": rf"$-\log\,\frac{{1}}{{N-1}}\sum_{{j\neq i}}{KERNEL}",
    r"$H_{local}$: same image": rf"$-\log\,\frac{{1}}{{N-1}}\sum_{{j\in P(i)}}{KERNEL}",
}
LOSS = r"loss $= -\,(\,\alpha\,H_{global}-\beta\,H_{local}\,)$, with $H$ the mean over all $i$"


def schematic(images: Tensor, views: Sequence[Tensor]) -> Figure:
    """Draw how a training step goes, from pixels to the loss.

    The pictures are the given pixels; the points on the sphere are made up, not computed.

    Args:
        images: three images, uint8 (3, 3, H, W).
        views: their eight views, two large and six small, each uint8 (3, 3, S, S).
    """
    figure = plt.figure(figsize=SIZE, dpi=150)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
    axis.axis("off")
    for row, colour in enumerate(COLOURS[:3]):
        bottom = 5.0 - 0.82 * row
        _picture(axis, images[row], 0.1, bottom, 0.72, colour)
        _arrow(axis, (0.87, bottom + 0.36), (1.18, bottom + 0.36))
        _draw_views(axis, [view[row] for view in views], 1.22, bottom, colour)
    _box(axis, 4.33, 3.75, "backbone\n\n256\nnumbers")
    _box(axis, 5.43, 3.75, "projector\n\n128\nnumbers")
    _arrow(axis, (4.02, 4.54), (4.31, 4.54))
    _arrow(axis, (5.2, 4.54), (5.42, 4.54))
    headings = {0.46: "image", 2.55: "eight views", 5.31: "network"}
    for place, words in headings.items():
        axis.text(place, 5.95, words, ha="center", weight="bold")
    _draw_spheres(axis)
    return figure


def _draw_views(axis: Axes, views: list[Tensor], left: float, bottom: float, colour: str) -> None:
    """Two large views side by side, then six small ones in two rows."""
    for number, view in enumerate(views[:2]):
        _picture(axis, view, left + 0.77 * number, bottom, 0.72, colour)
    for number, view in enumerate(views[2:]):
        row, column = divmod(number, 3)
        place = (left + 1.56 + 0.39 * column, bottom + 0.38 - 0.38 * row)
        _picture(axis, view, *place, 0.34, colour)


def _draw_spheres(axis: Axes) -> None:
    """The points, one point's kernel over all others, and over its own image's."""
    points, owners = _points()
    middle = 3  # the point i, of the first image
    own = owners == owners[middle]
    own[middle] = False
    for place, joined in zip(SPHERES, (None, owners >= 0, own), strict=True):
        _draw_sphere(axis, place, points, owners, joined, middle)
    down = ((5.86, 3.75), (5.86, 3.1), (SPHERES[0], 3.1))
    axis.plot(*zip(*down, strict=True), color="0.3", lw=1.3)
    _arrow(axis, down[-1], (SPHERES[0], 2.85))
    for place, (heading, formula) in zip(SPHERES, BELOW.items(), strict=True):
        axis.text(place, 0.83, heading, ha="center", weight="bold")
        axis.text(place, 0.48, formula, ha="center", va="center")
    axis.text(SIZE[0] / 2, 0.1, LOSS, ha="center")


def _points() -> tuple[np.ndarray, np.ndarray]:
    """Places (24, 2) of eight points of each image on a unit sphere's front, and their images."""
    rng = np.random.default_rng(4)
    middles = np.array([[-0.5, 0.4, 0.75], [0.55, 0.35, 0.75], [0.0, -0.6, 0.8]])
    owners = np.repeat(np.arange(3), 8)
    scattered = middles[owners] + 0.2 * rng.normal(size=(24, 3))
    length = np.linalg.norm(scattered, axis=1, keepdims=True)
    return scattered[:, :2] / length, owners


def _draw_sphere(
    axis: Axes, place: float, points: np.ndarray, owners: np.ndarray, joined: Any, middle: int
) -> None:
    """A ball with the points, and lines from the middle one to those that are joined to it."""
    axis.add_patch(Circle((place, HEIGHT), RADIUS, fc="0.95", ec="0.5", lw=1))
    here = RADIUS * points + (place, HEIGHT)
    if joined is not None:
        for end in here[joined]:
            axis.plot(*zip(here[middle], end, strict=True), color="0.55", lw=0.7)
    for owner, colour in enumerate(COLOURS[:3]):
        axis.plot(*here[owners == owner].T, "o", color=colour, ms=5)
    if joined is not None:
        axis.plot(*here[middle], "o", mfc=COLOURS[0], mec="black", mew=1.5, ms=8)
        axis.annotate("$i$", here[middle], (0, 8), textcoords="offset points")


def _picture(
    axis: Axes, pixels: Tensor, left: float, bottom: float, side: float, colour: str
) -> None:
    """An image in a frame of its colour, inches from the figure's corner."""
    extent = (left, left + side, bottom, bottom + side)
    picture = pixels.permute(1, 2, 0).numpy()
    axis.imshow(picture, extent=extent, interpolation="nearest", aspect="auto")
    axis.add_patch(Rectangle((left, bottom), side, side, fill=False, ec=colour, lw=2))


def _box(axis: Axes, left: float, bottom: float, words: str) -> None:
    shape = FancyBboxPatch((left, bottom), 0.86, 1.6, "round,pad=0,rounding_size=0.08", lw=1.2)
    shape.set(facecolor="white", edgecolor="0.3")
    axis.add_patch(shape)
    axis.text(left + 0.43, bottom + 0.8, words, ha="center", va="center")


def _arrow(axis: Axes, start: tuple, end: tuple) -> None:
    look = {"arrowstyle": "-|>", "color": "0.3", "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look)
