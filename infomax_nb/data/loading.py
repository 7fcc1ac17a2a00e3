"""`load`: a split of a data set as uint8 images, in memory or, if it is large, in its files."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torchvision.transforms.v2.functional import InterpolationMode, resize

from infomax_nb.config import common_size
from infomax_nb.data import glyphs
from infomax_nb.data.decoding import decode_image
from infomax_nb.data.image_set import ImageFiles, ImageSet
from infomax_nb.data.readers import READERS
from infomax_nb.data.readers.listing import Listing
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError, memory_errors, not_allowed
from infomax_nb.files import data_place
from infomax_nb.symbols import MAX_CLASSES

MEMORY = 2 * 2**30  # bytes that images may take if all are decoded at once


@memory_errors("a data set was loaded", "take fewer images (n_train) or a smaller image_size")
def load(
    name: str,
    root: str | Path = "data",
    split: str = "train",
    n: int | None = None,
    seed: int = 0,
    n_classes: int = 48,
    image_size: int | None = None,
    damaged: str = "refuse",
    memory: int = MEMORY,
) -> ImageSet:
    """Load a split of a data set.

    Args:
        name: `glyphs`, `glyphs_textured`, or one of `readers.READERS`.
        root: the folder that holds the data. A relative one is looked for in the working folder,
            then in the project's. Nothing is read for glyphs.
        split: `train` or `test`; for STL-10 also `unlabeled` (train + unlabeled, with labels -1 for
            the latter).
        n: images to keep, the same number of each class as far as possible; None keeps all.
        seed: decides the choice of images.
        n_classes: number of classes of glyphs.
        image_size: pixels of a side; None keeps the data set's own size, or takes
            `config.common_size` where its images differ in size.
        damaged: what to do with files that cannot be decoded: `refuse`, or `skip`, which decodes
            every file once more and names on stderr those left out. Each class must keep an image.
        memory: bytes. Images in separate files are decoded here if all of them take no more than
            this, else when they are used.

    Returns:
        The set, images (N, 3, H, W).

    Raises:
        ParameterError: data are missing (the error says where they were looked for and how to get
            them) or damaged (it names the file), or an argument is not allowed.
        RunError: memory ran out.
    """
    splits = ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")
    if split not in splits:
        raise ParameterError(f"split = {split!r} is not allowed: {name} has {', '.join(splits)}.")
    if n is not None and n < 1:
        raise not_allowed("n_train", n, "at least 1, or None for all images")
    if image_size is not None and image_size < 1:
        raise not_allowed("image_size", image_size, "at least 1, or None")
    if damaged not in ("refuse", "skip"):
        raise not_allowed("damaged", damaged, "refuse or skip")
    if not 2 <= n_classes <= MAX_CLASSES:
        raise not_allowed("n_classes", n_classes, f"from 2 to {MAX_CLASSES}")
    size = common_size(name, image_size)
    data = _read(name, root, split, n_classes, size)
    if damaged == "skip" and isinstance(data, Listing):
        data = _without_damaged(data, split)
    if n is not None and n > len(data):
        there = f"the {split} split of {name} has {len(data)} images"
        raise ParameterError(f"n_train = {n} is not allowed: {there}.")
    if n not in (None, len(data)):
        data = data[stratified(data.labels, n, seed)]
    return _decoded(data, size, memory) if isinstance(data, Listing) else _resized(data, size)


def _read(
    name: str, root: str | Path, split: str, n_classes: int, size: int | None
) -> ImageSet | Listing:
    """The split as its reader returns it, or as it is drawn."""
    if name in READERS:
        return READERS[name](data_place(root), split)
    if name not in ("glyphs", "glyphs_textured"):
        names = f"glyphs, glyphs_textured, {', '.join(READERS)}"
        raise ParameterError(f"dataset = {name!r} is not allowed; {names} are.")
    drawn = glyphs.make(split, n_classes, size or 32, textured=name == "glyphs_textured")
    images, masks, labels = map(torch.from_numpy, drawn)
    groups, symbols = zip(*glyphs.classes(n_classes), strict=True)
    coarse, coarse_names = pd.factorize(np.array(groups, object))
    above = (torch.from_numpy(coarse), list(coarse_names))
    return ImageSet(images, labels, list(symbols), *above, masks)


def _without_damaged(data: Listing, split: str) -> Listing:
    """The images whose files can be decoded; the others are named on stderr."""
    with ThreadPoolExecutor() as pool:
        whole = np.array(list(pool.map(_is_whole, data.paths)))
    lost = data.paths[~whole]
    if len(lost):
        said = f"{len(lost)} of {len(data)} images are damaged and skipped:"
        print(said, *lost, sep="\n  ", file=sys.stderr)
    kept = data[torch.from_numpy(whole)]
    for label in set(data.labels.tolist()) - set(kept.labels.tolist()):
        name = [*data.classes, "the set"][label]
        raise ParameterError(f"data_root: all {split} images of {name} are damaged.")
    return kept


def _is_whole(path: str) -> bool:
    try:
        decode_image(path)
    except (ParameterError, MemoryError):  # a damaged file may claim to be huge
        return False
    return True


def _decoded(data: Listing, size: int | None, memory: int) -> ImageSet:
    """The listed images, which stay in their files if they would take more than `memory`."""
    files = ImageFiles(data.paths, size)
    images = files if files.nbytes > memory else files[:]
    boxes = None if data.boxes is None else data.boxes * files.shape[-1]
    return ImageSet(images, data.labels, data.classes, data.coarse, data.coarse_names, boxes=boxes)


def _resized(data: ImageSet, size: int | None) -> ImageSet:
    if size in (None, data.images.shape[-1]):
        return data
    chunks = data.images.split(512)
    images = [resize(chunk, [size, size], InterpolationMode.BICUBIC) for chunk in chunks]
    return replace(data, images=torch.cat(images))
