"""Figures that several notebooks share. Each function draws and returns a matplotlib figure."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

LABELS = {
    "epoch": "epoch",
    "kappa": "κ",
    "loss": "loss (nats)",
    "h_global": "$H_{global}$ (nats)",
    "h_local": "$H_{local}$ (nats)",
    "mi_written": "mutual information, as written (nats)",
    "mi_density": "mutual information, 1/|P| (nats)",
    "linear_top1": "linear head, top-1 (%)",
    "linear_top5": "linear head, top-5 (%)",
    "knn_top1": "k-NN, top-1 (%)",
    "knn_top5": "k-NN, top-5 (%)",
    "effective_rank": "effective rank of the features",
    "nn_positive": "nearest neighbour is a positive (share)",
    "grad_over_kappa": "gradient norm / κ",
}


def _style() -> None:
    import seaborn as sns

    sns.set_theme(
        context="notebook", style="whitegrid", palette="colorblind", rc={"figure.dpi": 90, "savefig.dpi": 120}
    )


def gallery(
    images: Tensor, titles: Sequence[str] | None = None, columns: int = 12, masks: Tensor | None = None
) -> Figure:
    """A grid of uint8 images (N, 3, H, W), each with its title; `masks` (N, H, W) are outlined."""
    _style()
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.95, rows * 1.2), squeeze=False)
    for k, axis in enumerate(axes.flat):
        axis.axis("off")
        if k < len(images):
            axis.imshow(images[k].permute(1, 2, 0).numpy(), interpolation="nearest")
            if masks is not None:
                axis.contour(masks[k].numpy(), [0.5], colors="tab:orange", linewidths=1)
            if titles is not None:
                axis.set_title(titles[k], fontsize=9)
    figure.tight_layout(pad=0.3)
    return figure


def view_grid(images: Tensor, views: Sequence[Tensor], mean: Sequence[float], std: Sequence[float]) -> Figure:
    """One row for each image (B, 3, H, W): the image, then its V views (B, 3, S, S), un-normalised, at their sizes."""
    _style()
    columns = len(views) + 1
    sizes = [images.shape[-1], *(v.shape[-1] for v in views)]
    figure, axes = plt.subplots(
        len(images), columns, figsize=(1.15 * columns, 1.25 * len(images)), squeeze=False, width_ratios=sizes
    )
    for b, row in enumerate(axes):
        shown = [images[b].permute(1, 2, 0).numpy()]
        shown += [np.clip(v[b].permute(1, 2, 0).numpy() * std + mean, 0, 1) for v in views]
        for k, (axis, image) in enumerate(zip(row, shown, strict=True)):
            axis.imshow(image, interpolation="nearest")
            axis.axis("off")
            if b == 0:
                kind = "image" if k == 0 else "global" if sizes[k] == sizes[1] else "local"
                axis.set_title(kind, fontsize=9)
    figure.tight_layout(pad=0.3)
    return figure


def curves(metrics: pd.DataFrame, columns: Sequence[str], hue: str | None = None, title: str = "") -> Figure:
    """One panel for each of `columns` over the epoch; `hue` names the column that tells runs apart.

    Where runs differ in their seed alone, the line is their mean and the band one standard deviation.
    """
    import seaborn as sns

    _style()
    figure, axes = plt.subplots(1, len(columns), figsize=(4.6 * len(columns), 3.7), squeeze=False)
    order = sorted(metrics[hue].unique()) if hue else None
    palette = sns.color_palette("viridis", len(order)) if hue else None
    for k, (axis, column) in enumerate(zip(axes[0], columns, strict=True)):
        rows = metrics.dropna(subset=[column])
        last = k == len(columns) - 1
        sns.lineplot(
            rows, x="epoch", y=column, hue=hue, hue_order=order, palette=palette, errorbar="sd", marker="o", ms=4,
            ax=axis, legend="full" if hue and last else False,
        )  # fmt: skip
        axis.set(xlabel=LABELS["epoch"], ylabel=LABELS.get(column, column))
        axis.xaxis.get_major_locator().set_params(integer=True)
        if hue and last:
            texts = [f"{float(t.get_text()):g}" for t in axis.get_legend().get_texts()]
            axis.legend(axis.get_legend().legend_handles, texts, title=LABELS.get(hue, hue), loc="best")
    if title:
        figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    return figure


def confusion(labels: Tensor, predicted: Tensor, names: Sequence[str]) -> Figure:
    """Confusion matrix, rows normalised, in percent; class names on both axes."""
    import seaborn as sns
    from sklearn.metrics import confusion_matrix

    _style()
    matrix = 100 * confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(len(names)), normalize="true")
    side = max(5.0, 0.17 * len(names))
    figure, axis = plt.subplots(figsize=(side + 1.2, side))
    sns.heatmap(matrix, square=True, cmap="rocket_r", vmin=0, vmax=100, xticklabels=names, yticklabels=names, ax=axis, cbar_kws={"label": "% of the true class"})  # fmt: skip
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.tick_params(labelsize=8)
    figure.tight_layout()
    return figure


def neighbours(queries: Tensor, bank: Tensor, index: Tensor, right: Tensor) -> Figure:
    """Each query image (Q, 3, H, W) with its nearest images of `bank`, (Q, K) by `index`; a frame says whether the class is
    the same: `right` (Q, K), solid blue if it is, dashed orange if not."""
    _style()
    figure, axes = plt.subplots(
        len(queries), index.shape[1] + 1, figsize=(0.9 * (index.shape[1] + 1), 0.95 * len(queries))
    )
    for q, row in enumerate(axes):
        for k, axis in enumerate(row):
            image = queries[q] if k == 0 else bank[index[q, k - 1]]
            axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            good = k > 0 and bool(right[q, k - 1])
            for spine in axis.spines.values():
                spine.set(
                    visible=k > 0,
                    color="C0" if good else "C1",
                    linewidth=2.5,
                    linestyle="-" if good else "--",
                )
            if q == 0:
                axis.set_title("query" if k == 0 else f"{k}", fontsize=9)
    figure.tight_layout(pad=0.25)
    return figure
