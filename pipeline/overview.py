"""`python -m pipeline.overview` draws `reports/overview.png`, the README's picture, from what is
committed."""

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
NETWORK = "cifar10-infomax-resnet_small"
PHOTOGRAPHS = [
    files("skimage") / "data" / name for name in ("chelsea.png", "rocket.jpg", "coffee.png")
]


def density(axis: plt.Axes) -> None:
    """Eight views of each of three images on the near half of the sphere, and the kernel's density
    of all of them."""
    draw = torch.Generator().manual_seed(0)
    towards = torch.tensor(
        [[1.0, 0.7, 0.5], [1.0, -0.8, 0.3], [1.0, 0.1, -0.9]], dtype=torch.float64
    )
    views = unit_rows(towards + 0.2 * torch.randn(8, 3, 3, generator=draw, dtype=torch.float64))
    y, z = torch.meshgrid(*[torch.linspace(-1, 1, 500, dtype=torch.float64)] * 2, indexing="xy")
    at = torch.stack(
        [(1 - y**2 - z**2).sqrt(), y, z], -1
    )  # NaN beyond the edge, where nothing is drawn
    axis.contourf(y, z, sphere.kernel_density(views.flatten(0, 1), at, KAPPA), 24, cmap="viridis")
    for image, marks in enumerate(views.transpose(0, 1)):
        axis.plot(*marks[:, 1:].T, "os^"[image], color="white", mec="black", ms=6)
    axis.set(title="density of the views", aspect="equal", frame_on=False, xticks=[], yticks=[])


def accuracy(axis: plt.Axes) -> None:
    """`reports/methods_cifar10`: linear head over the epoch, each method's mean and standard
    deviation."""
    metrics = pd.read_csv(project_root() / "reports" / "methods_cifar10" / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby("method").linear_top1.mean()
    order = last.sort_values(ascending=False).index.tolist()
    style = {"hue": "method", "hue_order": order, "palette": "colorblind", "errorbar": "sd"}
    sns.lineplot(metrics, x="epoch", y="linear_top1", ax=axis, **style)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    axis.set(title="CIFAR-10, 5,000 images", xlabel="epoch", ylabel=LABELS["linear_top1"])


def looking(axes: np.ndarray) -> None:
    """Photographs, and over their grey copies where the committed network looks."""
    pictures = ImageFiles(np.array([str(p) for p in PHOTOGRAPHS]), size=96)[:]
    for k, found in enumerate(maps(pretrained(NETWORK).backbone, pictures)):
        colour = pictures[k].permute(1, 2, 0)
        axes[0, k].imshow(colour)
        axes[1, k].imshow(colour.float().mean(2), cmap="gray", vmin=-255, vmax=255)
        axes[1, k].imshow(found, cmap="inferno", alpha=0.65)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    axes[0, 0].set_title("where it looks", loc="left")


def overview() -> Figure:
    """All three, side by side."""
    figure = plt.figure(figsize=(13, 3.4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, squeeze=False, width_ratios=[3.4, 5, 5.4])[0]
    density(left.subplots())
    accuracy(middle.subplots())
    looking(right.subplots(2, len(PHOTOGRAPHS)))
    return figure


if __name__ == "__main__":
    picture = project_root() / "reports" / "overview.png"
    atomic_write(picture, lambda p: overview().savefig(p, format="png", dpi=110))
    print(picture.relative_to(project_root()))
