"""Films of recorded maps of features and of a batch's similarities, epoch by epoch.

They are drawn from what `pipeline.embedding` has left in `reports/embedding_*`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.distance import squareform

from infomax_nb.analysis.embedding import between
from infomax_nb.errors import not_allowed
from infomax_nb.figures.motion import Film, film
from infomax_nb.files import project_root
from infomax_nb.plots import COLOURS

MARKERS = "o^sDvPX*<p"
STEPS = 4  # of a film from one epoch to the next
REACH = 1.9  # of a map from its middle, in root mean squares


@dataclass(frozen=True)
class Movement:
    """The maps of one run: where each image lies after each epoch.

    `places`: (E, N, 2), of which the first is before training. `groups`: (N,), the name of each
    image's group. `accuracy`: a row for each epoch, in percent. `similarities`: (E, R, R), of the
    views of a batch, one image after the other.
    """

    beta: float
    places: np.ndarray
    groups: np.ndarray
    accuracy: pd.DataFrame
    similarities: np.ndarray

    def title(self, epoch: int) -> str:
        """The epoch, and the accuracy of k-NN after it."""
        return f"epoch {epoch}: k-NN {self.accuracy.knn_top1[epoch]:.0f}%"


def recorded(name: str, beta: float, reports: Path | None = None) -> Movement:
    """The maps in `reports/<name>` of the run with this beta; `reports` as in `export_tables`.

    Raises:
        ParameterError: there is no run with this beta.
    """
    folder = (reports or project_root() / "reports") / name
    rows = pd.read_csv(folder / "coordinates.csv")
    if beta not in rows.beta.values:
        raise not_allowed("beta", beta, f"one of {', '.join(map(str, rows.beta.unique()))}")
    rows = rows[rows.beta == beta].sort_values(["epoch", "image"])
    places = rows[["x", "y"]].to_numpy().reshape(rows.epoch.nunique(), -1, 2)
    groups = pd.read_csv(folder / "images.csv").sort_values("image").group.to_numpy(str)
    accuracy = pd.read_csv(folder / "accuracy.csv", index_col=["beta", "epoch"]).loc[beta]
    pairs = pd.read_csv(folder / "similarities.csv", index_col=["beta", "epoch"]).loc[beta]
    matrices = np.stack([squareform(row) / 100 for row in pairs.to_numpy()])
    diagonal = np.eye(matrices.shape[-1])  # squareform has zeros there
    return Movement(beta, places, groups, accuracy, matrices + diagonal)


def map_film(
    name: str,
    alt: str,
    betas: Sequence[float] = (1.0,),
    coarser: Callable[[str], str] = str,
) -> Film:
    """The film of a recorded map over the epochs, with a panel for each beta.

    Between two epochs points move on straight lines.

    Args:
        name: a folder of `reports/`, such as `embedding_glyphs`.
        alt: what is seen, in words.
        betas: the runs that are shown, from left to right.
        coarser: from the name of a group to that of a larger one.
    """
    moving = [recorded(name, beta) for beta in betas]
    groups = np.array([coarser(group) for group in moving[0].groups])
    ways = [between(list(movement.places), STEPS) for movement in moving]
    size = (9.5, 4.2) if len(betas) > 1 else (9.5, 6.5)

    def draw(figure: Figure, frame: int) -> None:
        epoch = frame // STEPS
        axes = _panels(figure, len(moving))
        for axis, movement, way in zip(axes, moving, ways, strict=True):
            draw_map(axis, way[frame], groups, 22 if len(betas) > 1 else 36)
            title = movement.title(epoch)
            axis.set_title(f"β = {movement.beta:g}, {title}" if len(betas) > 1 else title)
        _legend(figure, axes[0], len(moving))

    return film(draw, len(ways[0]), alt, size=size)


def map_stills(moving: Sequence[Movement]) -> Figure:
    """The maps before training, halfway and after the last epoch, with a row for each run."""
    figure = Figure(figsize=(9.5, 3.2 * len(moving) + 0.9), layout="constrained")
    axes = figure.subplots(len(moving), 3, squeeze=False)
    for line, movement in zip(axes, moving, strict=True):
        last = len(movement.places) - 1
        for axis, epoch in zip(line, (0, last // 2, last), strict=True):
            draw_map(axis, movement.places[epoch], movement.groups)
            axis.set_title(f"β = {movement.beta:g}, {movement.title(epoch)}")
    _legend(figure, axes[0, 0], 3)
    return figure


def draw_map(
    axis: Axes, places: np.ndarray, groups: np.ndarray, area: float = 22, reach: float = REACH
) -> None:
    """Draw points (N, 2), each with the colour and the marker of its group.

    Markers have this area, in square points; the axes reach this far from the middle.
    """
    for number, group in enumerate(sorted(set(groups))):
        own = places[groups == group]
        look: dict[str, Any] = {"color": COLOURS[number % 8], "marker": MARKERS[number % 10]}
        axis.scatter(own[:, 0], own[:, 1], s=area, alpha=0.8, linewidths=0, label=group, **look)
    limits = (-reach, reach)
    axis.set(xlim=limits, ylim=limits, xticks=[], yticks=[], aspect="equal")


def similarity_film(name: str, alt: str, beta: float = 1.0) -> Film:
    """The film of the recorded similarities of a batch's views, a frame for each epoch."""
    movement = recorded(name, beta)
    last = len(movement.similarities) - 1

    def draw(figure: Figure, epoch: int) -> None:
        figure.set_layout_engine("constrained")
        axis = figure.add_subplot(1, 1, 1)
        draw_similarities(axis, movement.similarities[epoch])
        axis.set_title(movement.title(epoch))

    return film(draw, last + 1, alt, seconds=0.6, hold=3, size=(9.5, 6.5))


def draw_similarities(axis: Axes, similarities: np.ndarray, views: int = 8) -> None:
    """Draw cosine similarities (R, R), with a label for each image's rows and a scale."""
    image = axis.imshow(similarities, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    edges = np.arange(0, len(similarities) + 1, views)
    middles = edges[:-1] + (views - 1) / 2
    names = [f"image {k + 1}" for k in range(len(middles))]
    axis.set_xticks(middles, [str(k + 1) for k in range(len(middles))])
    axis.set_yticks(middles, names)
    axis.set_xlabel("the eight views of image")
    axis.hlines(edges - 0.5, -0.5, edges[-1] - 0.5, color="white", lw=1)
    axis.vlines(edges - 0.5, -0.5, edges[-1] - 0.5, color="white", lw=1)
    axis.grid(False)
    axis.figure.colorbar(image, ax=axis, label="cosine similarity")


def _panels(figure: Figure, count: int) -> list[Axes]:
    """Axes side by side, with room below or beside them for the legend."""
    if count == 1:
        return [figure.add_axes((0.02, 0.02, 0.67, 0.91))]
    width = 0.96 / count
    return [figure.add_axes((0.02 + k * width, 0.16, width - 0.015, 0.76)) for k in range(count)]


def _legend(figure: Figure, axis: Axes, panels: int) -> None:
    """One legend for all panels: below several, beside one."""
    handles, labels = axis.get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (0.71, 0.5)}
    if panels > 1:
        place = {"loc": "outside lower center" if figure.get_layout_engine() else "lower center"}
        place["ncols"] = 4
    figure.legend(handles, labels, frameon=False, markerscale=1.5, **place)
