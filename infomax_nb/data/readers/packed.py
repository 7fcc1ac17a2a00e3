"""Read data sets packed into a few files: Fashion-MNIST, CIFAR-10, CIFAR-100 and STL-10."""

import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST, utils

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.listing import Listing, first_of, list_part
from infomax_nb.errors import ParameterError, file_errors

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # dataset-fashion-mnist
PUBLISHED: dict[str, Any] = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}


# --- Fashion-MNIST --------------------------------------------------------------------------------


def read_fashion_mnist(root: Path, split: str, debian: Path = DEBIAN_FASHION_MNIST) -> ImageSet:
    """Fashion-MNIST in torchvision's layout `<root>/FashionMNIST/raw` or that of Debian's package.

    The files may be compressed. The images get the usual black border, to 32 pixels.
    """
    part = "train" if split == "train" else "t10k"
    paths = fashion_files(root, part, debian)
    images, labels = (_idx(path) for path in paths)
    if len(images) != len(labels):
        counts = f"{len(images)} {part} images but {len(labels)} labels"
        raise ParameterError(f"data_root: {paths[0].parent} holds {counts}.")
    images = pad(images[:, None].expand(-1, 3, -1, -1), (2, 2, 2, 2))
    return ImageSet(images, labels.long(), list(FashionMNIST.classes))


def fashion_files(root: Path, part: str, debian: Path = DEBIAN_FASHION_MNIST) -> list[Path]:
    """The files of images and of labels, beside each other, of the part `train` or `t10k`.

    Raises:
        ParameterError: they are not there.
    """
    download = f"torchvision.datasets.FashionMNIST({str(root)!r}, download=True)"
    cure = f"{download} or Debian's dataset-fashion-mnist has it."
    places = [root / "FashionMNIST" / "raw", root, debian]
    files: list[Path] = []
    for kind in ("images-idx3", "labels-idx1"):
        names = [f"{part}-{kind}-ubyte", f"{part}-{kind}-ubyte.gz"]
        candidates = [place / name for place in places for name in names]
        files.append(first_of("Fashion-MNIST", candidates, cure))
        places = [files[0].parent]
    return files


def _idx(path: Path) -> torch.Tensor:
    """The array in a file of MNIST's IDX format."""
    with file_errors(path):
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        dimensions = raw[3]
        shape = np.frombuffer(raw, ">i4", dimensions, offset=4)
        values = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
        return torch.from_numpy(values.reshape(shape).copy())


# --- Files with published check sums --------------------------------------------------------------


def read_cifar10(root: Path, split: str) -> ImageSet | Listing:
    """CIFAR-10, from torchvision's pickles or from class folders.

    These are `<root>/cifar-10-batches-py` or `<root>[/cifar10]/{train,test}/<class>`.
    """
    pickles = root / CIFAR10.base_folder
    if pickles.exists():
        return _cifar(CIFAR10, root, split)
    download = f"torchvision.datasets.CIFAR10({str(root)!r}, download=True)"
    cure = f"{download} fetches it to {pickles.resolve()}."
    folder = first_of("CIFAR-10", [root / "cifar10" / split, root / split], cure)
    return list_part(folder, "test" if split == "train" else "train")


def read_cifar100(root: Path, split: str) -> ImageSet:
    """CIFAR-100 with its 20 superclasses, from torchvision's pickles, `<root>/cifar-100-python`."""
    data = _cifar(CIFAR100, root, split)
    folder = root / CIFAR100.base_folder
    test = pickle.loads((folder / "test").read_bytes(), encoding="latin1")
    meta = pickle.loads((folder / "meta").read_bytes(), encoding="latin1")
    superclass = dict(zip(test["fine_labels"], test["coarse_labels"], strict=True))
    coarse = torch.tensor([superclass[label] for label in sorted(superclass)])
    return replace(data, coarse=coarse, coarse_names=meta["coarse_label_names"])


def read_stl10(root: Path, split: str) -> ImageSet:
    """STL-10, from the publisher's `<root>/stl10_binary`; `unlabeled` is train and unlabeled."""
    data = _published(STL10, root, split="train+unlabeled" if split == "unlabeled" else split)
    names = getattr(data, "classes", None) or [str(k) for k in range(10)]
    return ImageSet(torch.from_numpy(data.data), torch.from_numpy(data.labels).long(), names)


def published_files(name: str, root: Path) -> list[Path]:
    """A data set's files, there or not; none of a set whose files torchvision does not check."""
    kind = PUBLISHED.get(name)
    return [root / kind.base_folder / file for file in _check_sums(kind)] if kind else []


def _cifar(kind: Any, root: Path, split: str) -> ImageSet:
    data = _published(kind, root, train=split == "train")
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(data.targets), data.classes)


def _published(kind: Any, root: Path, **arguments: Any) -> Any:
    """One of torchvision's data sets.

    torchvision compares each file's MD5 with the published one before it unpickles the file.
    """
    cure = f"torchvision.datasets.{kind.__name__}({str(root)!r}, download=True) fetches it."
    folder = first_of(kind.__name__, [root / kind.base_folder], cure)
    try:
        return kind(str(root), **arguments)
    except RuntimeError:
        sums = {folder / name: md5 for name, md5 in _check_sums(kind).items()}
        wrong = (path for path, md5 in sums.items() if not utils.check_integrity(path, md5))
        problem = f"{next(wrong, folder)} is missing, or its MD5 is not the published one"
        raise ParameterError(f"data_root: {problem}. {cure}") from None


def _check_sums(kind: Any) -> dict[str, str]:
    """Each file of one of torchvision's data sets, with its MD5."""
    meta = getattr(kind, "meta", None)
    names = [[meta["filename"], meta["md5"]]] if meta else []
    return dict(kind.train_list + kind.test_list + names)
