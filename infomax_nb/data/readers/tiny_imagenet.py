"""Read Tiny-ImageNet: 200 classes, with a box around each object."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from infomax_nb.data.readers.listing import Listing, first_of, list_classes, table_rows
from infomax_nb.errors import file_errors


def read_tiny_imagenet(root: Path, split: str) -> Listing:
    """The images of the publisher's `<root>/tiny-imagenet-200`.

    Its validation part is the test split. Boxes refer to a frame of 64 pixels, whatever the images'
    size.
    """
    cure = "Stanford's course CS231n publishes it as tiny-imagenet-200."
    places = [root / name / "wnids.txt" for name in ("tiny-imagenet-200", "tiny_imagenet")]
    wnids = first_of("Tiny-ImageNet", places, cure)
    names = wnids.read_text(errors="replace").split()
    if split == "train":
        folder = wnids.with_name("train")
        data = list_classes(folder, names=names)
        rows = _rows(data, [folder / name / f"{name}_boxes.txt" for name in names], 1)
    else:
        folder = wnids.with_name("val")
        table = folder / "val_annotations.txt"
        data = list_classes(folder, names=["images"])
        rows = _rows(data, [table], 2)  # the class comes before the box
        with file_errors(table):
            labels = torch.tensor([names.index(wnid) for wnid in rows[1]])
        data = replace(data, labels=labels, classes=names)
    return replace(data, boxes=torch.tensor(rows.iloc[:, -4:].to_numpy() / 64))


def _rows(data: Listing, tables: list[Path], first: int) -> pd.DataFrame:
    """The row for each image in tables without a header; `first` is the box's first column."""
    form: dict = {"index_col": 0, "sep": "\t", "header": None}
    kinds = dict.fromkeys(range(first, first + 4), np.float32)
    images = [os.path.basename(path) for path in data.paths]
    return table_rows(images, tables, dtype=kinds, **form)
