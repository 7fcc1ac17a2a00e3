"""Publishers' layouts: `READERS[name](root, split)` is an `ImageSet`.

Where each image is a file of its own, `images` are the paths (N,) and `boxes` are fractions of the
image's side. All raise ParameterError.
"""

from pathlib import Path
from typing import Any

from infomax_nb.data.readers.class_folders import _folder, _imagenet, _imagenet100
from infomax_nb.data.readers.lc25000 import _lc25000
from infomax_nb.data.readers.tiny_imagenet import _tiny_imagenet
from infomax_nb.data.readers.torchvision_sets import (
    PUBLISHED,
    _cifar10,
    _cifar100,
    _fashion_files,
    _fashion_mnist,
    _published_sums,
    _stl10,
)

_ALL = (
    _fashion_mnist,
    _cifar10,
    _cifar100,
    _stl10,
    _folder,
    _lc25000,
    _tiny_imagenet,
    _imagenet,
    _imagenet100,
)


READERS = {read.__name__[1:]: read for read in _ALL} | {
    "lc25000_groups": lambda at, split: _lc25000(at, split, True)
}


def packed_files(name: str, root: Path) -> list[Path]:
    """The files that hold all images of a data set; none where each image is a file of its own.

    Raises ParameterError where they are not there.
    """
    if name == "fashion_mnist":
        return [*_fashion_files(root, "train"), *_fashion_files(root, "t10k")]
    kind: Any = PUBLISHED.get(name)
    paths = [root / kind.base_folder / file for file in _published_sums(kind)] if kind else []
    return [path for path in paths if path.exists()]
