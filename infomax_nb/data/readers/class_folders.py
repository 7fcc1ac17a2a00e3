"""data.readers.class_folders."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from infomax_nb.data import folders
from infomax_nb.data.folders import FORMATS
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.common import _first, _lines
from infomax_nb.errors import file_errors, printable


def _listing(*places: Path, names: list[str] | None = None) -> ImageSet:
    """Images in the class folders `<first place>/<name>`, however deep; the other places must have
    the same ones.

    Each real file is listed once in all the places, so that no image is in two parts or of two
    classes. `names`: all that are there and not hidden, unless given; where these are fewer than
    two, there are no labels.
    """
    with file_errors(places[0]):
        names = _class_names(places) if names is None else names
        for path in [place / name for place in places for name in names]:
            if not path.is_dir():
                raise ValueError(f"the class folder {path} is missing")
        in_order = sorted(
            places
        )  # whichever comes first here: a file with names in two parts stays in one of them
        found = folders.images_below([place / name for place in in_order for name in names])
        first = in_order.index(places[0]) * len(names)
        own = found[first : first + len(names)]
        for name, paths in zip(names, own, strict=True):
            if not paths:
                other = "that is not another name (link) of one in another folder of the set"
                raise ValueError(
                    f"there is no image ({', '.join(FORMATS)}) in {places[0] / name} {other}"
                )
        by_name = sorted(range(len(names)), key=names.__getitem__)
        labels = [k if names[k] else -1 for k in by_name for _ in own[k]]
        every = np.array([path for k in by_name for path in own[k]], object)
    return ImageSet(every, torch.tensor(labels), _titles([name for name in names if name]))  # type: ignore[arg-type]  # paths, which `load` decodes


def _class_names(places: Sequence[Path]) -> list[str]:
    """The class folders in any of the places; `[""]`, the places themselves, if there are fewer
    than two."""
    names = sorted({name for place in places for name in folders.class_folders(place)})
    if len(names) < 2:
        return [""]
    for place in places:
        for path in place.iterdir():
            if (
                path.suffix.lower() in FORMATS
                and not folders.hidden(path.name)
                and not path.is_dir()
            ):
                raise ValueError(f"{path} lies beside class folders, not in one")
    return names


def _titles(names: list[str]) -> list[str]:
    """Printable names of classes, no two alike."""
    titles: list[str] = []
    for name in (printable(os.path.basename(name)) for name in names):
        again = sum(title == name or title.startswith(f"{name} (") for title in titles)
        titles.append(f"{name} ({again + 1})" if name in titles else name)
    return titles


def _parts(
    what: str, place: str, test: str, get: str, root: Path, split: str, names: list | None = None
) -> ImageSet:
    """`<root>[/<place>]/{train,<test>}/<class>/*`; the classes must be the same in both, where both
    are there."""
    part = "train" if split == "train" else test
    folder = _first(what, [root / place / part, root / part], get)
    other = folder.with_name(test if split == "train" else "train")
    return _listing(folder, *([other] if other.is_dir() else []), names=names)


def _divided(data: ImageSet, split: str, groups: pd.Series | None = None) -> ImageSet:
    """80% or 20% of the images, stratified, always the same ones; whole groups of them if there are
    groups."""
    apart = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    division = StratifiedShuffleSplit(1, test_size=0.2, random_state=0) if groups is None else apart
    cure = " It takes more images, or folders train and test with their own."
    with file_errors(os.path.commonpath(list(data.images)), cure=cure):  # type: ignore[arg-type]
        counts = data.labels.bincount().tolist() if data.classes else []
        for name, count in zip(data.classes, counts, strict=True):
            if count == 1:  # scikit-learn would name it by its number
                raise ValueError(
                    f"the class {name} has one image, which cannot be in training and in test"
                )
        parts = next(division.split(data.images, data.labels.numpy(), groups))
    return data[torch.from_numpy(np.sort(parts[split == "test"]))]


def _folder(root: Path, split: str) -> ImageSet:
    """`<root>/{train,test or val}/<class>/*`, or `<root>/<class>/*`, divided 80/20; or all without
    class folders.

    Parts may have other names, as long as these can mean nothing else: `folders.parts`. A table
    `superclasses.csv` with columns class and superclass, if there is one, groups the classes.
    """
    get = "It is a folder with a folder of images for each class, or of images alone, which then have no labels."
    with file_errors(root):
        found = folders.parts(root)
    if not found:
        return _divided(_grouped(_listing(_first("the data set", [root], get)), root), split)
    folder = _first("the data set", [found.get(split, root / split)], get)
    return _grouped(
        _listing(folder, *(path for part, path in found.items() if part != split)), root
    )


def _grouped(data: ImageSet, root: Path) -> ImageSet:
    """The set with the superclasses that `<root>/superclasses.csv` gives its classes, if there is
    such a table."""
    path = root / "superclasses.csv"
    if not path.is_file() or not data.classes:
        return data
    form: dict = {"index_col": "class", "usecols": ["class", "superclass"], "dtype": str}
    lines = _lines(
        data.classes, [path], keep_default_na=False, na_values=[""], **form
    )  # a class may be called NA
    coarse, names = pd.factorize(lines["superclass"], sort=True)
    return replace(data, coarse=torch.from_numpy(coarse), coarse_names=list(names))


def _imagenet(root: Path, split: str, names: list[str] | None = None) -> ImageSet:
    """`<root>[/imagenet]/{train,val}/<WordNet id>/*.JPEG`."""
    get = "ImageNet (ILSVRC 2012) comes from its publishers; val, too, must be sorted into class folders."
    return _parts("ImageNet", "imagenet", "val", get, root, split, names)


def _imagenet100(root: Path, split: str) -> ImageSet:
    """The classes of ImageNet that `<root>[/imagenet]/imagenet100.txt` names."""
    get = "It is a text file with the WordNet ids of a hundred classes of ImageNet, one a line."
    path = _first(
        "ImageNet-100's list",
        [root / "imagenet100.txt", root / "imagenet" / "imagenet100.txt"],
        get,
    )
    return _imagenet(root, split, sorted(set(path.read_text(errors="replace").split())))
