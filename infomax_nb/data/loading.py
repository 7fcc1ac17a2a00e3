"""Data sets as uint8 images: tensors that live on the training device or, where a set is large,
files.

`load(name, root, split)` returns an `ImageSet`. `root` is where the data lie; nothing is read for
`glyphs`.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from infomax_nb.config import SIZES
from infomax_nb.data import glyphs
from infomax_nb.data.decoding import decode_image
from infomax_nb.data.image_set import ImageFiles, ImageSet
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError, memory_errors
from infomax_nb.files import data_place

MEMORY = (
    2 * 2**30
)  # bytes; images in files that need more stay there and are decoded each time they are used


@memory_errors("a data set was loaded", "take fewer images (n_train) or a smaller image_size")
def load(
    name: str,
    root="data",
    split="train",
    n: int | None = None,
    seed=0,
    n_classes=48,
    image_size=None,
    damaged="refuse",
) -> ImageSet:
    """Load a split of a data set.

    Args:
        name: `glyphs`, `glyphs_textured`, or one of `readers.READERS`.
        root: the folder that holds the data; a relative one is looked for from here, then from the
            project.
        split: `train` or `test`; STL-10 has `unlabeled` (train + unlabeled, labels -1 there), too.
        n: images to keep, the same number of each class as far as possible, drawn by `seed`; None
            keeps all.
        seed: of the subset; for glyphs, `split="test"` with `n=None` is the same whatever the seed.
        n_classes: number of classes of glyphs.
        image_size: pixels; None keeps the data set's own size, or `config.SIZES` where its images
            differ in size.
        damaged: files that cannot be decoded: `refuse`, or `skip`, which decodes every file here,
            once more than else, and names those that are left out on stderr. A class must keep an
            image.

    Images in files of their own are decoded here, or, if that would take more than `MEMORY`, when
    they are used.

    Raises ParameterError that says what is missing, where it was looked for and how to get it, or
    names the file that is damaged.
    """
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    from infomax_nb.data.readers import READERS

    splits = ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")
    if split not in splits:
        raise ParameterError(f"split = {split!r} is not allowed: {name} has {', '.join(splits)}.")
    if name in ("glyphs", "glyphs_textured"):
        data = _glyphs(split, n_classes, image_size or 32, name == "glyphs_textured")
    elif name in READERS:
        data = READERS[name](data_place(root), split)
    else:
        raise ParameterError(
            f"dataset = {name!r} is not allowed; glyphs, glyphs_textured, {', '.join(READERS)} are."
        )
    if damaged == "skip" and isinstance(data.images, np.ndarray):
        data = _without_damaged(data, split)
    if n is not None and n > len(data):
        raise ParameterError(
            f"n_train = {n} is not allowed: the {split} split of {name} has {len(data)} images."
        )
    if n not in (None, len(data)):
        data = data[stratified(data.labels, n, seed)]
    if isinstance(data.images, np.ndarray):
        files = ImageFiles(data.images, image_size or SIZES.get(name))
        data = replace(data, images=files if files.nbytes > MEMORY else files[:])
    elif image_size and data.images.shape[-1] != image_size:
        chunks = [
            resize(c, [image_size] * 2, InterpolationMode.BICUBIC) for c in data.images.split(512)
        ]
        data = replace(data, images=torch.cat(chunks))
    return data if data.boxes is None else replace(data, boxes=data.boxes * data.images.shape[-1])


def _without_damaged(data: ImageSet, split: str) -> ImageSet:
    """The images whose files can be decoded; the others are named on stderr."""
    with ThreadPoolExecutor() as pool:
        tried = [pool.submit(lambda path: decode_image(path).close(), path) for path in data.images]  # type: ignore[union-attr]  # paths
    whole = torch.tensor([each.exception() is None for each in tried])
    if len(lost := data.images[~whole.numpy()]):  # type: ignore[index]
        print(
            f"{len(lost)} of {len(data)} images are damaged and skipped:",
            *lost,
            sep="\n  ",
            file=sys.stderr,
        )
    for k in set(data.labels.tolist()) - set(data.labels[whole].tolist()):
        raise ParameterError(
            f"data_root: all {split} images of {[*data.classes, 'the set'][k]} are damaged."
        )
    return data[whole]


def _glyphs(split: str, n_classes: int, size: int, textured: bool) -> ImageSet:
    images, masks, labels = map(
        torch.from_numpy, glyphs.make(split, n_classes, size, textured=textured)
    )
    groups, symbols = zip(*glyphs.classes(n_classes), strict=True)
    coarse, names = pd.factorize(np.array(groups, object))
    return ImageSet(images, labels, list(symbols), torch.from_numpy(coarse), list(names), masks)
