"""What is measured of each network on each photograph."""

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from infomax_nb.analysis.saliency import attention, centre_prior, inside_sure, smooth_grad_cam
from infomax_nb.data.masks import MaskedPhotographs
from pipeline.objects.names import UNIFORM, WIDTHS
from pipeline.objects.segmentation import (
    CELLS,
    cell_features,
    counts,
    fit,
    placed,
    resized,
    segmented,
)

SETTINGS: dict[str, Any] = {
    "size": 128,  # pixels of a side
    "noise": 0.15,
    "copies": 8,
    "noise_seed": 0,
    "segmentation": "logistic regression, C = 1, of each of 8 × 8 cells",
}
OTHER_SIZES = (64, 32)  # pixels of a side
OTHER_LAYERS = ("layer2", "layer1")


def of_network(
    net: nn.Module, photographs: MaskedPhotographs, training: MaskedPhotographs, details: bool
) -> pd.DataFrame:
    """A row for each photograph.

    `share` and `hit` are those of `inside_sure`, in percent: by the target of the plan, which is
    attention for a ViT, and with `_view` by the other target. `share_64` and `share_32` are of
    smaller photographs, `share_layer2` and `share_layer1` of other stages. The rest are the counts
    of the linear segmentation.

    Args:
        net: the network.
        photographs: what it is measured on.
        training: what the linear segmentation is trained on.
        details: whether other sizes and layers are measured, of a ResNet.
    """
    columns = _of_maps(net, photographs, details)
    model = fit(cell_features(net, training.images), training.masks, training.sure)
    features = cell_features(net, photographs.images)
    return pd.concat([columns, _segmentation(model, features, photographs)], axis=1)


def _of_maps(net: nn.Module, photographs: MaskedPhotographs, details: bool) -> pd.DataFrame:
    """Shares and hits of each map."""
    if hasattr(net, "patch_embed"):
        few = [attention(net, part, device="cpu") for part in photographs.images.split(8)]
        return _inside(torch.cat(few), photographs)
    found = _inside(_maps(net, photographs.images), photographs)
    other = _inside(_maps(net, photographs.images, target="another view"), photographs)
    found = found.join(other.add_suffix("_view"))
    if details:
        for size in OTHER_SIZES:
            maps = _maps(net, resized(photographs.images, size))
            found[f"share_{size}"] = _inside(maps, photographs)["share"]
        for layer in OTHER_LAYERS:
            maps = _maps(net, photographs.images, layer)
            found[f"share_{layer}"] = _inside(maps, photographs)["share"]
    return found


def _maps(
    net: nn.Module, images: Tensor, layer: str | None = None, target: str = "length"
) -> Tensor:
    """Smooth Grad-CAM as the plan has it."""
    options = {"noise": SETTINGS["noise"], "copies": SETTINGS["copies"]}
    seed = SETTINGS["noise_seed"]
    return smooth_grad_cam(net, images, layer, **options, seed=seed, device="cpu", target=target)


def _inside(maps: Tensor, photographs: MaskedPhotographs) -> pd.DataFrame:
    """Shares and hits of maps, which are enlarged to the masks' size."""
    size = photographs.masks.shape[-1]
    enlarged = interpolate(maps[:, None], size, mode="bilinear")[:, 0]
    return inside_sure(enlarged, photographs.masks, photographs.sure)


def _segmentation(model, features: Tensor, photographs: MaskedPhotographs) -> pd.DataFrame:
    """Each photograph's counts of the linear segmentation."""
    found = segmented(model, features, photographs.masks.shape[-1])
    return counts(found, photographs.masks, photographs.sure)


def of_references(
    photographs: MaskedPhotographs, training: MaskedPhotographs
) -> dict[str, pd.DataFrame]:
    """The same, as far as there is such a thing, of maps that look at no image.

    They are Gaussians in the middle and the uniform map. Beside the first stands the segmentation
    by a cell's place alone.
    """
    size = photographs.masks.shape[-1]
    maps = {name: centre_prior(size, width) for name, width in WIDTHS.items()}
    maps[UNIFORM] = torch.ones(size, size)
    number = len(photographs)
    tables = {
        name: inside_sure(prior.expand(number, -1, -1), photographs.masks, photographs.sure)
        for name, prior in maps.items()
    }
    model = fit(placed(len(training)), training.masks, training.sure)
    by_place = _segmentation(model, placed(number, CELLS), photographs)
    first = next(iter(tables))
    tables[first] = tables[first].join(by_place)
    return tables
