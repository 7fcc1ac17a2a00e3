"""data.readers.torchvision_sets."""

import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST, utils

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.class_folders import _parts
from infomax_nb.data.readers.common import _first
from infomax_nb.errors import ParameterError, file_errors

DEBIAN_FASHION_MNIST = Path(
    "/usr/share/datasets/fashion-mnist"
)  # the package dataset-fashion-mnist


def _fashion_mnist(root: Path, split: str) -> ImageSet:
    """torchvision's layout `<root>/FashionMNIST/raw`, or Debian's package dataset-fashion-mnist;
    packed or not."""
    part = "train" if split == "train" else "t10k"
    paths = _fashion_files(root, part)
    images, labels = map(_idx, paths)
    if len(images) != len(labels):
        counts = f"{len(images)} {part} images but {len(labels)} labels"
        raise ParameterError(f"data_root: {paths[0].parent} holds {counts}.")
    images = torch.nn.functional.pad(
        images[:, None].expand(-1, 3, -1, -1), (2, 2, 2, 2)
    )  # to 32 pixels, as is usual
    return ImageSet(images, labels.long(), list(FashionMNIST.classes))


def _fashion_files(root: Path, part: str) -> list[Path]:
    """The files of images and of labels, beside each other."""
    get = f"torchvision.datasets.FashionMNIST({str(root)!r}, download=True) or Debian's dataset-fashion-mnist has it."
    places = [root / "FashionMNIST" / "raw", root, DEBIAN_FASHION_MNIST]
    found: list[Path] = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{part}-{kind}-ubyte"
        found.append(
            _first(
                "Fashion-MNIST",
                [place / f"{name}{end}" for place in places for end in ("", ".gz")],
                get,
            )
        )
        places = [found[0].parent]
    return found


def _idx(path: Path) -> torch.Tensor:
    """The array in a file of MNIST's IDX format."""
    with file_errors(path):
        raw = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
        shape = np.frombuffer(raw, ">i4", raw[3], 4)
        return torch.from_numpy(
            np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()
        )


def _published(kind: Any, root: Path, **arguments):
    """A data set of torchvision's, which compares each file's MD5 with the published one before it
    unpickles it."""
    get = f"torchvision.datasets.{kind.__name__}({str(root)!r}, download=True) fetches it."
    folder = _first(kind.__name__, [root / kind.base_folder], get)
    try:
        return kind(str(root), **arguments)
    except RuntimeError:
        sums = _published_sums(kind).items()
        bad = next(
            (folder / name for name, md5 in sums if not utils.check_integrity(folder / name, md5)),
            folder,
        )
        raise ParameterError(
            f"data_root: {bad} is missing, or its MD5 is not the published one. {get}"
        ) from None


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
    """torchvision's pickles, `<root>/cifar-10-batches-py`, or folders
    `<root>[/cifar10]/{train,test}/<class>`."""
    pickles = root / CIFAR10.base_folder
    if pickles.exists():
        return _cifar(CIFAR10, root, split)
    get = f"torchvision.datasets.CIFAR10({str(root)!r}, download=True) fetches it to {pickles.resolve()}."
    return _parts("CIFAR-10", "cifar10", "test", get, root, split)


def _cifar100(root: Path, split: str) -> ImageSet:
    """torchvision's pickles, `<root>/cifar-100-python`, with the 20 superclasses."""
    data = _cifar(CIFAR100, root, split)
    folder = root / CIFAR100.base_folder
    batch, meta = (
        pickle.loads((folder / name).read_bytes(), encoding="latin1") for name in ("test", "meta")
    )
    coarse = dict(sorted(zip(batch["fine_labels"], batch["coarse_labels"], strict=True)))
    return replace(
        data, coarse=torch.tensor([*coarse.values()]), coarse_names=meta["coarse_label_names"]
    )


def _stl10(root: Path, split: str) -> ImageSet:
    """The publisher's binaries, `<root>/stl10_binary`."""
    data = _published(STL10, root, split="train+unlabeled" if split == "unlabeled" else split)
    names = getattr(data, "classes", None) or [str(k) for k in range(10)]
    return ImageSet(torch.from_numpy(data.data), torch.from_numpy(data.labels).long(), names)


PUBLISHED = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}
