"""data.readers.tiny_imagenet."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.class_folders import _listing
from infomax_nb.data.readers.common import _first, _lines
from infomax_nb.errors import file_errors


def _tiny_imagenet(root: Path, split: str) -> ImageSet:
    """The publisher's `<root>/tiny-imagenet-200`; boxes are in a frame of 64 pixels, whatever the
    images' size."""
    get = "Stanford's course CS231n publishes it as tiny-imagenet-200."
    wnids = _first(
        "Tiny-ImageNet",
        [root / p / "wnids.txt" for p in ("tiny-imagenet-200", "tiny_imagenet")],
        get,
    )
    names = wnids.read_text(errors="replace").split()
    train = split == "train"
    folder = wnids.with_name("train" if train else "val")
    data = _listing(folder, names=names if train else ["images"])
    texts = (
        [folder / name / f"{name}_boxes.txt" for name in names]
        if train
        else [folder / "val_annotations.txt"]
    )
    form: dict = {
        "index_col": 0,
        "sep": "\t",
        "header": None,
        "dtype": {k - train: np.float32 for k in (2, 3, 4, 5)},
    }
    lines = _lines([os.path.basename(path) for path in data.images], texts, **form)  # type: ignore[union-attr]
    with file_errors(texts[0]):
        if not train:
            data = replace(
                data, labels=torch.tensor([names.index(wnid) for wnid in lines[1]]), classes=names
            )
    return replace(data, boxes=torch.tensor(lines.iloc[:, -4:].to_numpy() / 64))
