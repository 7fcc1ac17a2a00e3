"""Readers of data sets in their publishers' layouts, by the data set's name.

`READERS[name](root, split)` is a `Listing` if each image has its own file, else an `ImageSet`.
Readers raise ParameterError, which says what is missing or names the damaged file.
"""

from collections.abc import Callable
from pathlib import Path

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers.class_folders import read_folder
from infomax_nb.data.readers.imagenet import read_imagenet, read_imagenet100
from infomax_nb.data.readers.lc25000 import read_lc25000, read_lc25000_groups
from infomax_nb.data.readers.listing import Listing
from infomax_nb.data.readers.packed import (
    fashion_files,
    published_files,
    read_cifar10,
    read_cifar100,
    read_fashion_mnist,
    read_stl10,
)
from infomax_nb.data.readers.tiny_imagenet import read_tiny_imagenet

READERS: dict[str, Callable[[Path, str], ImageSet | Listing]] = {
    "fashion_mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "stl10": read_stl10,
    "folder": read_folder,
    "lc25000": read_lc25000,
    "tiny_imagenet": read_tiny_imagenet,
    "imagenet": read_imagenet,
    "imagenet100": read_imagenet100,
    "lc25000_groups": read_lc25000_groups,
}


def packed_files(name: str, root: Path) -> list[Path]:
    """The files that hold all images of a data set, there or not; none where each is a file itself.

    Raises:
        ParameterError: Fashion-MNIST is not there.
    """
    if name == "fashion_mnist":
        return [*fashion_files(root, "train"), *fashion_files(root, "t10k")]
    return published_files(name, root)
