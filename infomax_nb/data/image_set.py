"""data.image_set."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from infomax_nb.data.decoding import decode_image
from infomax_nb.errors import file_errors


class ImageFiles:
    """Images uint8 (N, 3, H, W) that stay in their files; threads decode the ones that are asked
    for.

    Args:
        paths: the files (N,), an array of strings, each as `picture` reads it.
        size: the images are scaled (bicubic, the short side to `size` pixels) and cropped to their
            central square; None takes them as they are, all as large as the first.

    Raises ParameterError that names a file that cannot be read, here or when its image is asked
    for.
    """

    device = torch.device("cpu")

    def __init__(self, paths: np.ndarray, size: int | None = None):
        self.paths, self.scaled, self.frame = (
            paths,
            bool(size),
            (size, size) if size else decode_image(paths[0]).size,
        )
        self.shape = torch.Size((len(paths), 3, *self.frame[::-1]))
        self.nbytes = self.shape.numel()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: torch.Tensor | slice | int) -> torch.Tensor:
        chosen = np.asarray(
            self.paths[rows.cpu().numpy() if isinstance(rows, torch.Tensor) else rows], object
        )
        out = np.empty((chosen.size, *self.shape[1:]), np.uint8)
        tasks = [np.array_split(each, 1 + len(out) // 16) for each in (chosen.reshape(-1), out)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._decode, *tasks))
        return torch.from_numpy(out.reshape(*chosen.shape, *self.shape[1:]))

    def split(self, n: int) -> Iterator[torch.Tensor]:
        """Chunks (n, 3, H, W), each decoded while the caller works on the one before."""
        return _ahead(self.__getitem__, (slice(k, k + n) for k in range(0, len(self), n)))

    def to(self, device: torch.device | str) -> "ImageFiles":
        """Itself: files stay where they are."""
        return self

    def _decode(self, paths: np.ndarray, out: np.ndarray) -> None:
        for path, place in zip(paths, out, strict=True):
            image = decode_image(
                path, (2 * self.frame[0], 2 * self.frame[1]) if self.scaled else None
            )
            with file_errors(path):
                if not self.scaled and image.size != self.frame:
                    raise ValueError(f"it has {image.size} pixels, the first one {self.frame}")
                place[:] = np.asarray(
                    ImageOps.fit(image, self.frame, Image.Resampling.BICUBIC)
                ).transpose(2, 0, 1)


def _ahead(read: Callable, parts: Iterable) -> Iterator:
    """`read(part)` of each part, by a thread, while the caller works on the one before."""
    with ThreadPoolExecutor(1) as reader:
        coming = chain((reader.submit(read, part) for part in parts), [None])
        for ready, _ in pairwise(coming):
            yield ready.result()  # type: ignore[union-attr]  # the last one is no `ready`


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W), labels int64 (N,), -1 where there is none; names of the classes,
    [] without labels.

    `images`: `ImageFiles` where a set is large. `coarse`: (classes,) superclass of each class, or None;
    `coarse_names`. `masks`: bool (N, H, W), or None. `boxes`: float32 (N, 4), x0 y0 x1 y1 in the
    images' pixels, or None.
    """

    images: torch.Tensor | ImageFiles
    labels: torch.Tensor
    classes: list[str]
    coarse: torch.Tensor | None = None
    coarse_names: list[str] | None = None
    masks: torch.Tensor | None = None
    boxes: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: torch.Tensor | slice) -> "ImageSet":
        chosen = {
            k: v[rows] for k in ("labels", "masks", "boxes") if (v := getattr(self, k)) is not None
        }
        images: Any = self.images
        if isinstance(images, np.ndarray) and isinstance(rows, torch.Tensor):  # a reader's paths
            return replace(
                self, images=images[rows.numpy()], **chosen
            )  # NumPy takes a tensor of one row for a number
        return replace(self, images=images[rows], **chosen)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with labels and images (files excepted) on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))
