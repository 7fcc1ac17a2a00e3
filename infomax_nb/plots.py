"""Figures that several notebooks share. Each function draws and returns a matplotlib figure."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from .kernels.pixels import unnormalise as unnormalise

LABELS: dict[str, str] = json.loads(Path(__file__).with_name("labels.json").read_text("utf-8"))
plt.style.use(["seaborn-v0_8-whitegrid", "infomax_nb.figures"])


def gallery(images: torch.Tensor, titles: Sequence[str] = (), columns=12, wrong: Sequence[bool] = ()) -> plt.Figure:
    """A grid of uint8 images (N, 3, H, W), each with its title; those of `wrong` ones orange, between dashes."""
    rows = -(-len(images) // columns)
    inches = (columns * 0.95, rows * (1.2 if titles else 0.97))
    bare = {"frame_on": False, "xticks": [], "yticks": []}
    figure, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False, subplot_kw=bare)
    for k, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        if titles:
            bad = bool(wrong) and wrong[k]
            axis.set_title(f"– {titles[k]} –" if bad else titles[k], fontsize=11, color="C1" if bad else "black")
    figure.tight_layout(pad=0.3)
    return figure


def curves(metrics: pd.DataFrame, columns: Sequence[str], hue: str | None = None, title: str = "") -> plt.Figure:
    """One panel for each of `columns` over the epoch; `hue` names the column that tells runs apart.

    Where runs differ in their seed alone, the line is their mean and the band one standard deviation. Columns that are
    not there (accuracies, without labels) make way for the mutual information and the effective rank.
    """
    import seaborn as sns  # takes a second

    columns = list(dict.fromkeys(c for c in (*columns, "mi_density", "effective_rank") if c in metrics))[: len(columns)]
    figure, axes = plt.subplots(1, len(columns), figsize=(4.4 * len(columns), 3.6), squeeze=False, layout="tight")
    if numbers := hue is not None and pd.api.types.is_numeric_dtype(metrics[hue]):
        # in their order, by name: seaborn takes names in the order that they come in
        metrics = metrics.sort_values(hue, kind="stable").assign(**{hue: lambda rows: rows[hue].map("{:g}".format)})
    style: dict = {"hue": hue, "style": hue, "palette": "viridis" if numbers else "colorblind"} if hue else {}
    for axis, column in zip(axes[0], columns, strict=True):
        sns.lineplot(metrics, x="epoch", y=column, errorbar="sd", ax=axis, legend=axis is axes[0, -1], **style)
        axis.set(xlabel="epoch", ylabel=LABELS.get(column, column))
        axis.xaxis.get_major_locator().set_params(integer=True)
    if hue:
        axes[0, -1].legend(title=LABELS.get(hue, hue), loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.suptitle(title, fontsize=11)
    return figure
