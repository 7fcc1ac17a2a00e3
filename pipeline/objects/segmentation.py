"""Linear segmentation: does a linear classifier find the object in a network's frozen map?

Each cell of the map is classified by itself. Masks and sure pixels are those of
`infomax_nb.data.masks`, bool (N, S, S).
"""

from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import torch
from timm.utils import AttentionExtract
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from infomax_nb.analysis.saliency import map_layer
from infomax_nb.device import exact
from infomax_nb.evaluation.representation import inputs

CELLS = 8  # a side, for a ViT, whose patches are finer


@torch.no_grad()
@exact()
def cell_features(net: Any, images: Tensor) -> Tensor:
    """The map from which Grad-CAM is drawn, (N, D, h, w); of a ViT the last block's tokens.

    A ViT's tokens are averaged over 8 × 8 cells.

    Args:
        net: one of timm's networks, on the CPU and in evaluation mode.
        images: uint8 (N, 3, H, W).
    """
    if hasattr(net, "patch_embed"):
        return torch.cat([_token_cells(net, x) for x in inputs(images, batch=32)])
    layer = map_layer(net, next(iter(inputs(images[:1]))))
    extract = AttentionExtract(deepcopy(net), [layer], method="hook")  # its hooks stay in the copy
    return torch.cat([extract(x)[layer] for x in inputs(images, batch=32)])


def _token_cells(net: Any, x: Tensor) -> Tensor:
    """The last block's tokens as a map (N, D, 8, 8), each cell the mean of its patches."""
    grid = net.patch_embed.dynamic_feat_size(x.shape[2:])
    tokens = net.forward_features(x)[:, net.num_prefix_tokens :]
    return adaptive_avg_pool2d(tokens.transpose(1, 2).unflatten(2, grid), CELLS)


def cell_labels(masks: Tensor, sure: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Whether most of a cell's sure pixels are object, and whether half of its pixels are sure.

    Args:
        masks: bool (N, S, S).
        sure: bool (N, S, S).
        cells: number of cells a side, which divides S.

    Returns:
        Two tensors, bool (N, cells, cells).
    """
    known = _cell_means(sure, cells)
    inside = _cell_means(masks & sure, cells)
    return inside > known / 2, known >= 0.5


def _cell_means(pixels: Tensor, cells: int) -> Tensor:
    """The share of each cell's pixels that are True, (N, cells, cells)."""
    return adaptive_avg_pool2d(pixels.float()[:, None], cells)[:, 0]


def fit(features: Tensor, masks: Tensor, sure: Tensor) -> Any:
    """Logistic regression of each cell's label on its standardised features, to convergence.

    It is scikit-learn's with C = 1. Cells that are mostly unsure are left out.

    Args:
        features: (N, D, h, h).
        masks: bool (N, S, S).
        sure: bool (N, S, S).
    """
    from sklearn import linear_model, pipeline, preprocessing

    labels, known = cell_labels(masks, sure, features.shape[-1])
    rows = features.permute(0, 2, 3, 1)[known]
    regression = linear_model.LogisticRegression(max_iter=5000)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), regression)
    return model.fit(rows.numpy(), labels[known].numpy())


def segmented(model: Any, features: Tensor, size: int) -> Tensor:
    """Where the model sees the object, bool (N, size, size); scores are enlarged (bilinear).

    Args:
        model: what `fit` returned.
        features: (N, D, h, h).
        size: pixels of a side.
    """
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)
    scores = torch.from_numpy(model.decision_function(rows.numpy())).float()
    cells = scores.view(len(features), 1, *features.shape[2:])
    return nn.functional.interpolate(cells, size, mode="bilinear")[:, 0] > 0


def counts(found: Tensor, masks: Tensor, sure: Tensor) -> pd.DataFrame:
    """Each photograph's sure pixels: object found `tp`, wrongly found `fp`, missed `fn`, else `tn`.

    Args:
        found: bool (N, S, S).
        masks: bool (N, S, S).
        sure: bool (N, S, S).
    """
    kinds = {
        "tp": found & masks,
        "fp": found & ~masks,
        "fn": ~found & masks,
        "tn": ~found & ~masks,
    }
    numbers = {part: (kind & sure).sum((1, 2)) for part, kind in kinds.items()}
    return pd.DataFrame({part: number.numpy() for part, number in numbers.items()})


def placed(number: int, cells: int = CELLS) -> Tensor:
    """Features (N, cells², cells, cells) that say of each cell where it is, and nothing else."""
    one_hot = torch.from_numpy(np.eye(cells**2, dtype=np.float32))
    return one_hot.unflatten(1, (cells, cells)).expand(number, -1, -1, -1)


def resized(images: Tensor, size: int) -> Tensor:
    """uint8 images (N, 3, H, W) scaled to `size` pixels a side, bicubic and antialiased."""
    smaller = interpolate(images.float(), size, mode="bicubic", antialias=True)
    return smaller.round().clamp(0, 255).byte()
