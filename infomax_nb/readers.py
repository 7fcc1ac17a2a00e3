"""Publishers' layouts: `READERS[name](root, split)` is an `ImageSet`.

Where each image is a file of its own, `images` are the paths (N,) and `boxes` are fractions of the image's side.
All raise ParameterError.
"""

import gzip
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST, utils

from . import folders
from .config import ParameterError, printable, reading
from .data import ImageSet
from .folders import FORMATS as FORMATS

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist


def _first(what: str, places: list[Path], get: str) -> Path:
    """The first of the places that exists."""
    found = next((p for p in places if p.exists()), None)
    if found is None:
        looked = " and ".join(str(p.resolve()) for p in places)
        raise ParameterError(f"data_root: {what} was not found; looked for {looked}. {get}", data_missing=True)
    return found


# --- All images in a few files --------------------------------------------------------------------------------


def _fashion_mnist(root: Path, split: str) -> ImageSet:
    """torchvision's layout `<root>/FashionMNIST/raw`, or Debian's package dataset-fashion-mnist; packed or not."""
    part = "train" if split == "train" else "t10k"
    paths = _fashion_files(root, part)
    images, labels = map(_idx, paths)
    if len(images) != len(labels):
        counts = f"{len(images)} {part} images but {len(labels)} labels"
        raise ParameterError(f"data_root: {paths[0].parent} holds {counts}.")
    images = torch.nn.functional.pad(images[:, None].expand(-1, 3, -1, -1), (2, 2, 2, 2))  # to 32 pixels, as is usual
    return ImageSet(images, labels.long(), list(FashionMNIST.classes))


def _fashion_files(root: Path, part: str) -> list[Path]:
    """The files of images and of labels, beside each other."""
    get = f"torchvision.datasets.FashionMNIST({str(root)!r}, download=True) or Debian's dataset-fashion-mnist has it."
    places = [root / "FashionMNIST" / "raw", root, DEBIAN_FASHION_MNIST]
    found: list[Path] = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{part}-{kind}-ubyte"
        found.append(_first("Fashion-MNIST", [place / f"{name}{end}" for place in places for end in ("", ".gz")], get))
        places = [found[0].parent]
    return found


def _idx(path: Path) -> torch.Tensor:
    """The array in a file of MNIST's IDX format."""
    with reading(path):
        raw = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
        shape = np.frombuffer(raw, ">i4", raw[3], 4)
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())


def _published(kind: Any, root: Path, **arguments):
    """A data set of torchvision's, which compares each file's MD5 with the published one before it unpickles it."""
    get = f"torchvision.datasets.{kind.__name__}({str(root)!r}, download=True) fetches it."
    folder = _first(kind.__name__, [root / kind.base_folder], get)
    try:
        return kind(str(root), **arguments)
    except RuntimeError:
        sums = _published_sums(kind).items()
        bad = next((folder / name for name, md5 in sums if not utils.check_integrity(folder / name, md5)), folder)
        raise ParameterError(f"data_root: {bad} is missing, or its MD5 is not the published one. {get}") from None


def _published_sums(kind: Any) -> dict[str, str]:
    """Each file of a data set of torchvision's, with its MD5."""
    meta = getattr(kind, "meta", None)
    names = [[meta["filename"], meta["md5"]]] if meta else []
    return dict(kind.train_list + kind.test_list + names)


def _cifar(kind: Any, root: Path, split: str) -> ImageSet:
    data = _published(kind, root, train=split == "train")
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(data.targets), data.classes)


def _cifar10(root: Path, split: str) -> ImageSet:
    """torchvision's pickles, `<root>/cifar-10-batches-py`, or folders `<root>[/cifar10]/{train,test}/<class>`."""
    pickles = root / CIFAR10.base_folder
    if pickles.exists():
        return _cifar(CIFAR10, root, split)
    get = f"torchvision.datasets.CIFAR10({str(root)!r}, download=True) fetches it to {pickles.resolve()}."
    return _parts("CIFAR-10", "cifar10", "test", get, root, split)


def _cifar100(root: Path, split: str) -> ImageSet:
    """torchvision's pickles, `<root>/cifar-100-python`, with the 20 superclasses."""
    data = _cifar(CIFAR100, root, split)
    folder = root / CIFAR100.base_folder
    batch, meta = (pickle.loads((folder / name).read_bytes(), encoding="latin1") for name in ("test", "meta"))
    coarse = dict(sorted(zip(batch["fine_labels"], batch["coarse_labels"], strict=True)))
    return replace(data, coarse=torch.tensor([*coarse.values()]), coarse_names=meta["coarse_label_names"])


def _stl10(root: Path, split: str) -> ImageSet:
    """The publisher's binaries, `<root>/stl10_binary`."""
    data = _published(STL10, root, split="train+unlabeled" if split == "unlabeled" else split)
    names = getattr(data, "classes", None) or [str(k) for k in range(10)]
    return ImageSet(torch.from_numpy(data.data), torch.from_numpy(data.labels).long(), names)


# --- Each image in a file -------------------------------------------------------------------------------------


def _listing(*places: Path, names: list[str] | None = None) -> ImageSet:
    """Images in the class folders `<first place>/<name>`, however deep; the other places must have the same ones.

    Each real file is listed once in all the places, so that no image is in two parts or of two classes.
    `names`: all that are there and not hidden, unless given; where these are fewer than two, there are no labels.
    """
    with reading(places[0]):
        names = _class_names(places) if names is None else names
        for path in [place / name for place in places for name in names]:
            if not path.is_dir():
                raise ValueError(f"the class folder {path} is missing")
        in_order = sorted(places)  # whichever comes first here: a file with names in two parts stays in one of them
        found = folders.images_below([place / name for place in in_order for name in names])
        first = in_order.index(places[0]) * len(names)
        own = found[first : first + len(names)]
        for name, paths in zip(names, own, strict=True):
            if not paths:
                other = "that is not another name (link) of one in another folder of the set"
                raise ValueError(f"there is no image ({', '.join(FORMATS)}) in {places[0] / name} {other}")
        by_name = sorted(range(len(names)), key=names.__getitem__)
        labels = [k if names[k] else -1 for k in by_name for _ in own[k]]
        every = np.array([path for k in by_name for path in own[k]], object)
    return ImageSet(every, torch.tensor(labels), _titles([name for name in names if name]))  # type: ignore[arg-type]  # paths, which `load` decodes


def _class_names(places: Sequence[Path]) -> list[str]:
    """The class folders in any of the places; `[""]`, the places themselves, if there are fewer than two."""
    names = sorted({name for place in places for name in folders.class_folders(place)})
    if len(names) < 2:
        return [""]
    for place in places:
        for path in place.iterdir():
            if path.suffix.lower() in FORMATS and not folders.hidden(path.name) and not path.is_dir():
                raise ValueError(f"{path} lies beside class folders, not in one")
    return names


def _titles(names: list[str]) -> list[str]:
    """Printable names of classes, no two alike."""
    titles: list[str] = []
    for name in (printable(os.path.basename(name)) for name in names):
        again = sum(title == name or title.startswith(f"{name} (") for title in titles)
        titles.append(f"{name} ({again + 1})" if name in titles else name)
    return titles


def _parts(what: str, place: str, test: str, get: str, root: Path, split: str, names: list | None = None) -> ImageSet:
    """`<root>[/<place>]/{train,<test>}/<class>/*`; the classes must be the same in both, where both are there."""
    part = "train" if split == "train" else test
    folder = _first(what, [root / place / part, root / part], get)
    other = folder.with_name(test if split == "train" else "train")
    return _listing(folder, *([other] if other.is_dir() else []), names=names)


def _divided(data: ImageSet, split: str, groups: pd.Series | None = None) -> ImageSet:
    """80% or 20% of the images, stratified, always the same ones; whole groups of them if there are groups."""
    apart = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    division = StratifiedShuffleSplit(1, test_size=0.2, random_state=0) if groups is None else apart
    cure = " It takes more images, or folders train and test with their own."
    with reading(os.path.commonpath(list(data.images)), cure=cure):  # type: ignore[arg-type]
        counts = data.labels.bincount().tolist() if data.classes else []
        for name, count in zip(data.classes, counts, strict=True):
            if count == 1:  # scikit-learn would name it by its number
                raise ValueError(f"the class {name} has one image, which cannot be in training and in test")
        parts = next(division.split(data.images, data.labels.numpy(), groups))
    return data[torch.from_numpy(np.sort(parts[split == "test"]))]


def _folder(root: Path, split: str) -> ImageSet:
    """`<root>/{train,test or val}/<class>/*`, or `<root>/<class>/*`, divided 80/20; or all without class folders.

    Parts may have other names, as long as these can mean nothing else: `folders.parts`. A table `superclasses.csv`
    with columns class and superclass, if there is one, groups the classes.
    """
    get = "It is a folder with a folder of images for each class, or of images alone, which then have no labels."
    with reading(root):
        found = folders.parts(root)
    if not found:
        return _divided(_grouped(_listing(_first("the data set", [root], get)), root), split)
    folder = _first("the data set", [found.get(split, root / split)], get)
    return _grouped(_listing(folder, *(path for part, path in found.items() if part != split)), root)


def _grouped(data: ImageSet, root: Path) -> ImageSet:
    """The set with the superclasses that `<root>/superclasses.csv` gives its classes, if there is such a table."""
    path = root / "superclasses.csv"
    if not path.is_file() or not data.classes:
        return data
    form: dict = {"index_col": "class", "usecols": ["class", "superclass"], "dtype": str}
    lines = _lines(data.classes, [path], keep_default_na=False, na_values=[""], **form)  # a class may be called NA
    coarse, names = pd.factorize(lines["superclass"], sort=True)
    return replace(data, coarse=torch.from_numpy(coarse), coarse_names=list(names))


def _imagenet(root: Path, split: str, names: list[str] | None = None) -> ImageSet:
    """`<root>[/imagenet]/{train,val}/<WordNet id>/*.JPEG`."""
    get = "ImageNet (ILSVRC 2012) comes from its publishers; val, too, must be sorted into class folders."
    return _parts("ImageNet", "imagenet", "val", get, root, split, names)


def _imagenet100(root: Path, split: str) -> ImageSet:
    """The classes of ImageNet that `<root>[/imagenet]/imagenet100.txt` names."""
    get = "It is a text file with the WordNet ids of a hundred classes of ImageNet, one a line."
    path = _first("ImageNet-100's list", [root / "imagenet100.txt", root / "imagenet" / "imagenet100.txt"], get)
    return _imagenet(root, split, sorted(set(path.read_text(errors="replace").split())))


def _lines(keys: list[str], paths: list[Path], others: bool = False, **options) -> pd.DataFrame:
    """The lines for `keys` in text tables whose index is the key; there may be `others`."""
    tables = [reading(path)(pd.read_csv)(path, **options) for path in paths]
    with reading(os.path.commonpath(paths)):
        table = pd.concat(tables)
        lines = table.reindex(keys)
        lost = [*lines.index[lines.isna().any(axis=1)], *(set() if others else set(table.index) - set(keys))]
        if lost:
            raise ValueError(f"there is no whole line, or no image, for {lost[0]}")
    return lines


def _lc25000(root: Path, split: str, grouped: bool = False) -> ImageSet:
    """The publisher's `<root>/lung_colon_image_set/{lung,colon}_image_sets/<class>`, or `<root>[/lc25000]/<class>`.

    80/20 at random, or with whole groups of images held out: `groups.csv` (image = `<class>/<file>`, group).
    """
    get = "Borkowski et al. (2019) publish it as lung_colon_image_set."
    names = ["colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"]
    nested = [f"lung_colon_image_set/{name.split('_')[0]}_image_sets/{name}" for name in names]
    layouts = {root / layout[3]: layout for layout in (nested, [f"lc25000/{name}" for name in names], names)}
    names = layouts[_first("LC25000", list(layouts), get)]
    # Without the colon half it is a data set of three classes.
    data = _listing(root, names=names if any((root / name).is_dir() for name in names[:2]) else names[2:])
    if not grouped:
        return _divided(data, split)
    get = "It is a table with columns image (<class>/<file>) and group (the tile that the image is a copy of)."
    places = ("lc25000/groups.csv", "groups.csv", "lc25000_groups.csv", "lung_colon_image_set/groups.csv")
    table = _first("LC25000's table of groups", [root / place for place in places], get)
    keys = ["/".join(Path(path).parts[-2:]) for path in data.images]  # type: ignore[union-attr]
    lines = _lines(keys, [table], others=True, index_col="image", usecols=["image", "group"], dtype=str)
    return _divided(data, split, lines["group"])


def _tiny_imagenet(root: Path, split: str) -> ImageSet:
    """The publisher's `<root>/tiny-imagenet-200`; boxes are in a frame of 64 pixels, whatever the images' size."""
    get = "Stanford's course CS231n publishes it as tiny-imagenet-200."
    wnids = _first("Tiny-ImageNet", [root / p / "wnids.txt" for p in ("tiny-imagenet-200", "tiny_imagenet")], get)
    names = wnids.read_text(errors="replace").split()
    train = split == "train"
    folder = wnids.with_name("train" if train else "val")
    data = _listing(folder, names=names if train else ["images"])
    texts = [folder / name / f"{name}_boxes.txt" for name in names] if train else [folder / "val_annotations.txt"]
    form: dict = {"index_col": 0, "sep": "\t", "header": None, "dtype": {k - train: np.float32 for k in (2, 3, 4, 5)}}
    lines = _lines([os.path.basename(path) for path in data.images], texts, **form)  # type: ignore[union-attr]
    with reading(texts[0]):
        if not train:
            data = replace(data, labels=torch.tensor([names.index(wnid) for wnid in lines[1]]), classes=names)
    return replace(data, boxes=torch.tensor(lines.iloc[:, -4:].to_numpy() / 64))


_ALL = (_fashion_mnist, _cifar10, _cifar100, _stl10, _folder, _lc25000, _tiny_imagenet, _imagenet, _imagenet100)
READERS = {read.__name__[1:]: read for read in _ALL} | {"lc25000_groups": lambda at, split: _lc25000(at, split, True)}


PUBLISHED = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}


def packed_files(name: str, root: Path) -> list[Path]:
    """The files that hold all images of a data set; none where each image is a file of its own.

    Raises ParameterError where they are not there.
    """
    if name == "fashion_mnist":
        return [*_fashion_files(root, "train"), *_fashion_files(root, "t10k")]
    kind: Any = PUBLISHED.get(name)
    paths = [root / kind.base_folder / file for file in _published_sums(kind)] if kind else []
    return [path for path in paths if path.exists()]
