"""`python -m pipeline.overview` draws the README's picture from committed results.

It writes `reports/overview.png`.
"""

from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

from infomax_nb.analysis import sphere
from infomax_nb.analysis.saliency import maps
from infomax_nb.data.image_set import ImageFiles
from infomax_nb.files import atomic_write, project_root
from infomax_nb.networks import pretrained
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.plots import LABELS

KAPPA = 10.0
MARKERS = "os^"  # one for each of the three images
DIRECTIONS = [[1.0, 0.7, 0.5], [1.0, -0.8, 0.3], [1.0, 0.1, -0.9]]  # of the images' views
NETWORK = "cifar10-infomax-resnet_small"
PHOTOGRAPHS = ("chelsea.png", "rocket.jpg", "coffee.png")


def draw_density(axis: plt.Axes) -> None:
    """Draw eight views of each of three images, and their density, on the sphere's near half."""
    generator = torch.Generator().manual_seed(0)
    spread = 0.2 * torch.randn(8, 3, 3, generator=generator, dtype=torch.float64)
    views = unit_rows(torch.tensor(DIRECTIONS, dtype=torch.float64) + spread)
    line = torch.linspace(-1, 1, 500, dtype=torch.float64)
    y, z = torch.meshgrid(line, line, indexing="xy")
    x = (1 - y**2 - z**2).sqrt()  # NaN beyond the edge, where nothing is drawn
    density = sphere.kernel_density(views.flatten(0, 1), torch.stack([x, y, z], -1), KAPPA)
    axis.contourf(y, z, density, 24, cmap="viridis")
    for marker, of_image in zip(MARKERS, views.transpose(0, 1), strict=True):
        axis.plot(*of_image[:, 1:].T, marker, color="white", mec="black", ms=6)
    axis.set(title="density of the views", aspect="equal", frame_on=False, xticks=[], yticks=[])


def draw_accuracy(axis: plt.Axes) -> None:
    """Draw the linear head's accuracy by epoch: each method's mean and deviation over seeds."""
    metrics = pd.read_csv(project_root() / "reports" / "methods_cifar10" / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby("method").linear_top1.mean()
    order = last.sort_values(ascending=False).index.tolist()
    style = {"hue": "method", "hue_order": order, "palette": "colorblind", "errorbar": "sd"}
    sns.lineplot(metrics, x="epoch", y="linear_top1", ax=axis, **style)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    axis.set(title="CIFAR-10, 5,000 images", xlabel="epoch", ylabel=LABELS["linear_top1"])


def draw_saliency(axes: np.ndarray) -> None:
    """Draw photographs, and below them, on grey copies, where the committed network looks."""
    folder = files("skimage") / "data"
    paths = np.array([str(folder / name) for name in PHOTOGRAPHS])
    photographs = ImageFiles(paths, size=96)[:]
    saliency = maps(pretrained(NETWORK).backbone, photographs)
    for column, photograph, heat in zip(axes.T, photographs, saliency, strict=True):
        pixels = photograph.permute(1, 2, 0)
        column[0].imshow(pixels)
        column[1].imshow(pixels.float().mean(2), cmap="gray", vmin=-255, vmax=255)
        column[1].imshow(heat, cmap="inferno", alpha=0.65)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    axes[0, 0].set_title("where it looks", loc="left")


def overview() -> Figure:
    """The figure with all three drawings, side by side."""
    figure = plt.figure(figsize=(13, 3.4), layout="constrained")
    panels = figure.subfigures(1, 3, squeeze=False, width_ratios=[3.4, 5, 5.4])[0]
    draw_density(panels[0].subplots())
    draw_accuracy(panels[1].subplots())
    draw_saliency(panels[2].subplots(2, len(PHOTOGRAPHS)))
    return figure


if __name__ == "__main__":
    path = project_root() / "reports" / "overview.png"
    atomic_write(path, lambda p: overview().savefig(p, format="png", dpi=110))
    print(path.relative_to(project_root()))
