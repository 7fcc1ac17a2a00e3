"""Data sets as uint8 images: tensors that live on the training device or, where a set is large, files.

`load(name, root, split)` returns an `ImageSet`. `root` is where the data lie; nothing is read for `glyphs`.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from . import glyphs
from .config import SIZES, ParameterError, data_place, reading
from .device import memory
from .pictures import picture as picture

MEMORY = 2 * 2**30  # bytes; images in files that need more stay there and are decoded each time they are used


class Files:
    """Images uint8 (N, 3, H, W) that stay in their files; threads decode the ones that are asked for.

    Args:
        paths: the files (N,), an array of strings, each as `picture` reads it.
        size: the images are scaled (bicubic, the short side to `size` pixels) and cropped to their central square;
            None takes them as they are, all as large as the first.

    Raises ParameterError that names a file that cannot be read, here or when its image is asked for.
    """

    device = torch.device("cpu")

    def __init__(self, paths: np.ndarray, size: int | None = None):
        self.paths, self.scaled, self.frame = paths, bool(size), (size, size) if size else picture(paths[0]).size
        self.shape = torch.Size((len(paths), 3, *self.frame[::-1]))
        self.nbytes = self.shape.numel()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: torch.Tensor | slice | int) -> torch.Tensor:
        chosen = np.asarray(self.paths[rows.cpu().numpy() if isinstance(rows, torch.Tensor) else rows], object)
        out = np.empty((chosen.size, *self.shape[1:]), np.uint8)
        tasks = [np.array_split(each, 1 + len(out) // 16) for each in (chosen.reshape(-1), out)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._decode, *tasks))
        return torch.from_numpy(out.reshape(*chosen.shape, *self.shape[1:]))

    def split(self, n: int) -> Iterator[torch.Tensor]:
        """Chunks (n, 3, H, W), each decoded while the caller works on the one before."""
        return _ahead(self.__getitem__, (slice(k, k + n) for k in range(0, len(self), n)))

    def to(self, device: torch.device | str) -> "Files":
        """Itself: files stay where they are."""
        return self

    def _decode(self, paths: np.ndarray, out: np.ndarray) -> None:
        for path, place in zip(paths, out, strict=True):
            image = picture(path, (2 * self.frame[0], 2 * self.frame[1]) if self.scaled else None)
            with reading(path):
                if not self.scaled and image.size != self.frame:
                    raise ValueError(f"it has {image.size} pixels, the first one {self.frame}")
                place[:] = np.asarray(ImageOps.fit(image, self.frame, Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def _ahead(read: Callable, parts: Iterable) -> Iterator:
    """`read(part)` of each part, by a thread, while the caller works on the one before."""
    with ThreadPoolExecutor(1) as reader:
        coming = chain((reader.submit(read, part) for part in parts), [None])
        for ready, _ in pairwise(coming):
            yield ready.result()  # type: ignore[union-attr]  # the last one is no `ready`


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W), labels int64 (N,), -1 where there is none; names of the classes, [] without labels.

    `images`: `Files` where a set is large. `coarse`: (classes,) superclass of each class, or None; `coarse_names`.
    `masks`: bool (N, H, W), or None. `boxes`: float32 (N, 4), x0 y0 x1 y1 in the images' pixels, or None.
    """

    images: torch.Tensor | Files
    labels: torch.Tensor
    classes: list[str]
    coarse: torch.Tensor | None = None
    coarse_names: list[str] | None = None
    masks: torch.Tensor | None = None
    boxes: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: torch.Tensor | slice) -> "ImageSet":
        chosen = {k: v[rows] for k in ("labels", "masks", "boxes") if (v := getattr(self, k)) is not None}
        images: Any = self.images
        if isinstance(images, np.ndarray) and isinstance(rows, torch.Tensor):  # a reader's paths
            return replace(self, images=images[rows.numpy()], **chosen)  # NumPy takes a tensor of one row for a number
        return replace(self, images=images[rows], **chosen)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with labels and images (files excepted) on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@memory("a data set was loaded", "take fewer images (n_train) or a smaller image_size")
def load(
    name: str, root="data", split="train", n: int | None = None, seed=0, n_classes=48, image_size=None, damaged="refuse"
) -> ImageSet:
    """Load a split of a data set.

    Args:
        name: `glyphs`, `glyphs_textured`, or one of `readers.READERS`.
        root: the folder that holds the data; a relative one is looked for from here, then from the project.
        split: `train` or `test`; STL-10 has `unlabeled` (train + unlabeled, labels -1 there), too.
        n: images to keep, the same number of each class as far as possible, drawn by `seed`; None keeps all.
        seed: of the subset; for glyphs, `split="test"` with `n=None` is the same whatever the seed.
        n_classes: number of classes of glyphs.
        image_size: pixels; None keeps the data set's own size, or `config.SIZES` where its images differ in size.
        damaged: files that cannot be decoded: `refuse`, or `skip`, which decodes every file here, once more than else,
            and names those that are left out on stderr. A class must keep an image.

    Images in files of their own are decoded here, or, if that would take more than `MEMORY`, when they are used.

    Raises ParameterError that says what is missing, where it was looked for and how to get it, or names the file
    that is damaged.
    """
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    from .readers import READERS

    splits = ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")
    if split not in splits:
        raise ParameterError(f"split = {split!r} is not allowed: {name} has {', '.join(splits)}.")
    if name in ("glyphs", "glyphs_textured"):
        data = _glyphs(split, n_classes, image_size or 32, name == "glyphs_textured")
    elif name in READERS:
        data = READERS[name](data_place(root), split)
    else:
        raise ParameterError(f"dataset = {name!r} is not allowed; glyphs, glyphs_textured, {', '.join(READERS)} are.")
    if damaged == "skip" and isinstance(data.images, np.ndarray):
        data = _without_damaged(data, split)
    if n is not None and n > len(data):
        raise ParameterError(f"n_train = {n} is not allowed: the {split} split of {name} has {len(data)} images.")
    if n not in (None, len(data)):
        data = data[stratified(data.labels, n, seed)]
    if isinstance(data.images, np.ndarray):
        files = Files(data.images, image_size or SIZES.get(name))
        data = replace(data, images=files if files.nbytes > MEMORY else files[:])
    elif image_size and data.images.shape[-1] != image_size:
        chunks = [resize(c, [image_size] * 2, InterpolationMode.BICUBIC) for c in data.images.split(512)]
        data = replace(data, images=torch.cat(chunks))
    return data if data.boxes is None else replace(data, boxes=data.boxes * data.images.shape[-1])


def _without_damaged(data: ImageSet, split: str) -> ImageSet:
    """The images whose files can be decoded; the others are named on stderr."""
    with ThreadPoolExecutor() as pool:
        tried = [pool.submit(lambda path: picture(path).close(), path) for path in data.images]  # type: ignore[union-attr]  # paths
    whole = torch.tensor([each.exception() is None for each in tried])
    if len(lost := data.images[~whole.numpy()]):  # type: ignore[index]
        print(f"{len(lost)} of {len(data)} images are damaged and skipped:", *lost, sep="\n  ", file=sys.stderr)
    for k in set(data.labels.tolist()) - set(data.labels[whole].tolist()):
        raise ParameterError(f"data_root: all {split} images of {[*data.classes, 'the set'][k]} are damaged.")
    return data[whole]


def stratified(labels: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Indices of n of the labels (N,), as many of each class as of any other (up to rounding), in random order."""
    order = np.random.default_rng([7, seed]).permutation(len(labels))
    shuffled = labels.cpu().numpy()[order]
    rank = pd.Series(shuffled).groupby(shuffled).cumcount().to_numpy()  # how many of the class came before
    return torch.from_numpy(order[np.sort(np.argsort(rank, kind="stable")[:n])])


def stream(seed: int, epoch: int, use: int) -> int:
    """A seed for one use of random numbers in one epoch: a resumed run draws what an uninterrupted one does."""
    return int(np.random.SeedSequence([seed, epoch, use]).generate_state(1, np.uint64)[0] >> 1)


def batches(data: ImageSet, size: int, seed: int, epoch: int, rank=0, world=1, first=0) -> Iterator[tuple]:
    """Shuffled (images, labels) of `size`, the last incomplete one dropped; the order depends on (seed, epoch) alone.

    With several processes (`world`) each takes its share of every batch of `size` images, in the order of `rank`.
    `first`: number of the batch to begin with. `Files` are decoded one batch ahead.
    """
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(stream(seed, epoch, 0)))
    wholes = (order[start : start + size] for start in range(first * size, len(data) - size + 1, size))
    shares = (whole.tensor_split(world)[rank].to(data.images.device) for whole in wholes)
    yield from (_ahead if isinstance(data.images, Files) else map)(lambda k: (data.images[k], data.labels[k]), shares)


def _glyphs(split: str, n_classes: int, size: int, textured: bool) -> ImageSet:
    images, masks, labels = map(torch.from_numpy, glyphs.make(split, n_classes, size, textured=textured))
    groups, symbols = zip(*glyphs.classes(n_classes), strict=True)
    coarse, names = pd.factorize(np.array(groups, object))
    return ImageSet(images, labels, list(symbols), torch.from_numpy(coarse), list(names), masks)
