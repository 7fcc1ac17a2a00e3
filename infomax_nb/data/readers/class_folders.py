"""Read a user's own `folder` of images, with or without a folder for each class."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from infomax_nb.data import folders
from infomax_nb.data.readers.listing import Listing, divided, first_of, list_classes, table_rows
from infomax_nb.errors import file_errors


def read_folder(root: Path, split: str) -> Listing:
    """The images of `<root>/{train,test or val}/<class>/*`, or `<root>/<class>/*` divided 80/20.

    There may also be no class folders. Parts may have other names if these are unambiguous
    (`folders.parts`). A table `superclasses.csv` with columns class and superclass, if there is
    one, groups the classes.
    """
    form = "It is a folder with a folder of images for each class"
    cure = f"{form}, or of images alone, which then have no labels."
    with file_errors(root):
        parts = folders.parts(root)
    if not parts:
        images = list_classes(first_of("the data set", [root], cure))
        return divided(_with_superclasses(images, root), split)
    own = first_of("the data set", [parts.get(split, root / split)], cure)
    others = [path for part, path in parts.items() if part != split]
    return _with_superclasses(list_classes(own, *others), root)


def _with_superclasses(data: Listing, root: Path) -> Listing:
    """The listing with the superclasses of `<root>/superclasses.csv`, if that table exists."""
    path = root / "superclasses.csv"
    if not path.is_file() or not data.classes:
        return data
    form: dict = {"index_col": "class", "usecols": ["class", "superclass"], "dtype": str}
    form |= {"keep_default_na": False, "na_values": [""]}  # a class may be called NA
    rows = table_rows(data.classes, [path], **form)
    coarse, names = pd.factorize(rows["superclass"], sort=True)
    return replace(data, coarse=torch.from_numpy(coarse), coarse_names=list(names))
