"""`Listing`, images that are not decoded yet, and what readers need to make one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from infomax_nb.data.folders import FORMATS, class_folders, hidden, images_below
from infomax_nb.errors import ParameterError, file_errors, printable


@dataclass(frozen=True)
class Listing:
    """Images, each in its own file, as a reader lists them. Indexing selects some of them.

    Args:
        paths: the files (N,), an array of strings.
        labels: int64 (N,), -1 where there is none.
        classes: names of the classes; [] without labels.
        coarse: (classes,), the superclass of each class.
        coarse_names: names of the superclasses.
        boxes: float32 (N, 4), x0 y0 x1 y1 as fractions of the image's side.
    """

    paths: np.ndarray
    labels: Tensor
    classes: list[str]
    coarse: Tensor | None = None
    coarse_names: list[str] | None = None
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor) -> "Listing":
        boxes = None if self.boxes is None else self.boxes[rows]
        paths = self.paths[rows.numpy()]  # NumPy reads a tensor of one row as a number
        return replace(self, paths=paths, labels=self.labels[rows], boxes=boxes)


def first_of(what: str, places: Sequence[Path], cure: str) -> Path:
    """The first of the places that exists.

    Args:
        what: what is looked for.
        places: where to look, in this order.
        cure: a sentence that says how to get it.

    Raises:
        ParameterError: none of them exists.
    """
    for place in places:
        if place.exists():
            return place
    tried = " and ".join(str(place.resolve()) for place in places)
    sentence = f"data_root: {what} was not found; looked for {tried}. {cure}"
    raise ParameterError(sentence, data_missing=True)


def table_rows(
    keys: list[str], paths: list[Path], may_hold_others: bool = False, **options: Any
) -> pd.DataFrame:
    """One row for each key, in the keys' order, from text tables whose index is the key.

    Args:
        keys: the keys whose rows are wanted.
        paths: the tables, which are read as one.
        may_hold_others: whether there may be rows for other keys.
        options: what `pandas.read_csv` is told about the tables.

    Raises:
        ParameterError: a table cannot be read, or has no complete row for a key.
    """
    tables = []
    for path in paths:
        with file_errors(path):
            tables.append(pd.read_csv(path, **options))
    with file_errors(os.path.commonpath(paths)):
        table = pd.concat(tables)
        twice = table.index[table.index.duplicated()]
        if len(twice):
            raise ValueError(f"there is more than one line for {twice[0]}")
        rows = table.reindex(keys)
        wrong = list(rows.index[rows.isna().any(axis=1)])
        if not may_hold_others:
            wrong += set(table.index) - set(keys)
        if wrong:
            raise ValueError(f"there is no whole line, or no image, for {wrong[0]}")
    return rows


def list_classes(*places: Path, names: list[str] | None = None) -> Listing:
    """The images in the class folders of the first place, at any depth.

    Each real file is listed only once over all places, so that no image is in two parts or has two
    classes.

    Args:
        places: folders of class folders. The others must have the same classes as the first.
        names: the class folders to read; all of them if None: then fewer than two are no classes,
            and there are no labels.

    Raises:
        ParameterError: a class folder is missing or holds no image, or an image lies beside them.
    """
    with file_errors(places[0]):
        names = _class_names(places) if names is None else names
        for folder in (place / name for place in places for name in names):
            if not folder.is_dir():
                raise ValueError(f"the class folder {folder} is missing")
        # Sorted, so that a file with names in two parts stays in one, whichever is asked for.
        folders = [place / name for place in sorted(places) for name in names]
        found = dict(zip(folders, images_below(folders), strict=True))
        for name in names:
            if not found[places[0] / name]:
                missing = f"there is no image ({', '.join(FORMATS)}) in {places[0] / name}"
                other = "that is not another name (link) of one in another folder of the set"
                raise ValueError(f"{missing} {other}")
    paths: list[str] = []
    labels: list[int] = []
    for name in sorted(names):
        images = found[places[0] / name]
        paths += images
        labels += [names.index(name) if name else -1] * len(images)
    classes = _titles([name for name in names if name])
    return Listing(np.array(paths, object), torch.tensor(labels), classes)


def list_part(folder: Path, sibling: str, names: list[str] | None = None) -> Listing:
    """The images in the class folders of one part of a data set.

    Args:
        folder: the folder of the part.
        sibling: name of the other part beside it, which must have the same classes if it exists.
        names: the class folders to read; all of them if None.
    """
    other = folder.with_name(sibling)
    return list_classes(folder, *([other] if other.is_dir() else []), names=names)


def divided(data: Listing, split: str, groups: pd.Series | None = None) -> Listing:
    """A stratified 80% of the images for training, or the other 20%; always the same ones.

    Args:
        data: all images.
        split: `train` or `test`.
        groups: (N,), the group of each image; groups are not split.

    Raises:
        ParameterError: there are too few images, in total or in one class.
    """
    from sklearn import model_selection  # takes a second

    cure = " It takes more images, or folders train and test with their own."
    with file_errors(os.path.commonpath(list(data.paths)), cure=cure):
        counts = data.labels[data.labels >= 0].bincount()
        for name, count in zip(data.classes, counts, strict=True):
            if count == 1:  # scikit-learn would name it by its number
                alone = "has one image, which cannot be in training and in test"
                raise ValueError(f"the class {name} {alone}")
        division = model_selection.StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
        if groups is not None:
            division = model_selection.StratifiedGroupKFold(5, shuffle=True, random_state=0)
        train, test = next(division.split(data.paths, data.labels.numpy(), groups))
        for label, name in enumerate(data.classes if groups is not None else ()):
            if not all((data.labels[part] == label).any() for part in (train, test)):
                raise ValueError(f"the class {name} has too few groups to be in both parts")
    return data[torch.from_numpy(np.sort(test if split == "test" else train))]


def _class_names(places: Sequence[Path]) -> list[str]:
    """The class folders in any of the places.

    If there are fewer than two, it is [""], which stands for the places themselves.
    """
    names = sorted({name for place in places for name in class_folders(place)})
    if len(names) < 2:
        return [""]
    for path in (path for place in places for path in place.iterdir()):
        is_image = path.suffix.lower() in FORMATS and not hidden(path.name)
        if is_image and not path.is_dir():
            raise ValueError(f"{path} lies beside class folders, not in one")
    return names


def _titles(names: list[str]) -> list[str]:
    """Printable names of the classes, no two alike."""
    titles: list[str] = []
    for name in names:
        title = printable(os.path.basename(name))
        again = sum(other == title or other.startswith(f"{title} (") for other in titles)
        titles.append(f"{title} ({again + 1})" if title in titles else title)
    return titles
