"""Readers of data sets in their publishers' layouts, by the data set's name.

`READERS[name](root, split)` is a `Listing` where each image is a file of its own, else an
`ImageSet`. Readers raise ParameterError, which says what is missing or names the file that is
damaged.
"""

from collections.abc import Callable
from pathlib import Path

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers import torchvision_sets
from infomax_nb.data.readers.class_folders import read_folder, read_imagenet, read_imagenet100
from infomax_nb.data.readers.lc25000 import read_lc25000, read_lc25000_groups
from infomax_nb.data.readers.listing import Listing
from infomax_nb.data.readers.tiny_imagenet import read_tiny_imagenet

READERS: dict[str, Callable[[Path, str], ImageSet | Listing]] = {
    "fashion_mnist": torchvision_sets.read_fashion_mnist,
    "cifar10": torchvision_sets.read_cifar10,
    "cifar100": torchvision_sets.read_cifar100,
    "stl10": torchvision_sets.read_stl10,
    "folder": read_folder,
    "lc25000": read_lc25000,
    "tiny_imagenet": read_tiny_imagenet,
    "imagenet": read_imagenet,
    "imagenet100": read_imagenet100,
    "lc25000_groups": read_lc25000_groups,
}


def packed_files(name: str, root: Path) -> list[Path]:
    """The files that hold all images of a data set; none where each image is a file of its own.

    Raises:
        ParameterError: they are not there.
    """
    if name == "fashion_mnist":
        parts = ("train", "t10k")
        return [path for part in parts for path in torchvision_sets.fashion_files(root, part)]
    return torchvision_sets.published_files(name, root)
