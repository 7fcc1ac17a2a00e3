"""`ImageSet`, images with labels; `ImageFiles` and `DecodedImages` hold those of large sets."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from infomax_nb.data.decoding import decode_image
from infomax_nb.errors import file_errors
from infomax_nb.notebook import shows_bars


class ImageFiles:
    """Images uint8 (N, 3, H, W) that stay in their files until threads decode the ones needed.

    Indexing and `split` give tensors, as they do for a tensor of all images.

    Args:
        paths: the files (N,), an array of strings.
        size: pixels of a side. Images are scaled (bicubic, the short side) and cropped to their
            central square. None takes them as they are; all must be as large as the first.

    Raises:
        ParameterError: a file cannot be read, here or when its image is needed. The error names it.
    """

    device = torch.device("cpu")
    pinned = False  # whether what is taken lies in memory that a GPU can copy from unattended

    def __init__(self, paths: np.ndarray, size: int | None = None):
        self.paths = paths
        self.scaled = size is not None
        width, height = decode_image(paths[0]).size if size is None else (size, size)
        self.shape = torch.Size((len(paths), 3, height, width))
        self.nbytes = self.shape.numel()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Tensor | slice | int) -> Tensor:
        chosen = self.paths[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        paths = np.asarray(chosen, object)  # a single row gives a string
        shape = (*paths.shape, *self.shape[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)
        pixels = images.numpy().reshape(-1, *self.shape[1:])
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._decode, paths.flat, pixels))
        return images

    def split(self, n: int) -> Iterator[Tensor]:
        """Chunks (n, 3, H, W), each decoded while the caller works on the one before."""
        return read_ahead(self.__getitem__, (slice(k, k + n) for k in range(0, len(self), n)))

    def chunks(self) -> Iterator[Tensor]:
        """All images, in chunks (<= 512, 3, H, W), with a progress bar that a log does not get."""
        quiet = not shows_bars()
        bar = tqdm(desc="images decoded once", total=len(self), disable=quiet, leave=False)
        with bar:
            for chunk in self.split(512):
                yield chunk
                bar.update(len(chunk))

    def to(self, device: torch.device | str) -> Tensor:
        """All images, decoded, on the device: uint8 (N, 3, H, W)."""
        whole = torch.empty(self.shape, dtype=torch.uint8, device=device)
        first = 0
        for chunk in self.chunks():
            whole[first : first + len(chunk)] = chunk
            first += len(chunk)
        return whole

    def _decode(self, path: str, pixels: np.ndarray) -> None:
        """Write the image in a file to `pixels` (3, H, W)."""
        frame = (self.shape[3], self.shape[2])
        image = decode_image(path, (2 * frame[0], 2 * frame[1]) if self.scaled else None)
        with file_errors(path):
            if not self.scaled and image.size != frame:
                raise ValueError(f"it has {image.size} pixels, the first one {frame}")
            square = ImageOps.fit(image, frame, Image.Resampling.BICUBIC)
            pixels[:] = np.asarray(square).transpose(2, 0, 1)


class DecodedImages(ImageFiles):
    """Images that are decoded, in memory or in a file that is mapped, and stay there.

    Args:
        pixels: uint8 (N, 3, H, W), on the CPU.
    """

    def __init__(self, pixels: Tensor):
        self.pixels = pixels
        self.shape = pixels.shape
        self.nbytes = pixels.nbytes

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Tensor | slice | int) -> Tensor:
        if isinstance(rows, Tensor) and rows.ndim == 1 and rows.dtype == torch.long:
            chosen = self.pixels.index_select(0, rows)  # nine times as fast as indexing
        else:
            chosen = self.pixels[rows]
        return chosen.pin_memory() if self.pinned else chosen


def read_ahead(read: Callable, parts: Iterable) -> Iterator:
    """`read(part)` for each part, in a thread, while the caller works on the one before."""
    with ThreadPoolExecutor(1) as reader:
        coming: deque[Future] = deque()
        for part in parts:
            coming.append(reader.submit(read, part))
            if len(coming) > 1:
                yield coming.popleft().result()
        for last in coming:
            yield last.result()


@dataclass(frozen=True)
class ImageSet:
    """Images with labels. Indexing takes the same rows of images, labels, masks and boxes.

    Args:
        images: uint8 (N, 3, H, W), H and W in pixels; `ImageFiles` where a set is large.
        labels: int64 (N,), -1 where there is none.
        classes: names of the classes; [] without labels.
        coarse: (classes,), the superclass of each class.
        coarse_names: names of the superclasses.
        masks: bool (N, H, W), True on the object.
        boxes: float32 (N, 4), x0 y0 x1 y1 in the images' pixels.
    """

    images: Tensor | ImageFiles
    labels: Tensor
    classes: list[str]
    coarse: Tensor | None = None
    coarse_names: list[str] | None = None
    masks: Tensor | None = None
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> "ImageSet":
        columns = {name: getattr(self, name) for name in ("images", "labels", "masks", "boxes")}
        chosen = {name: column[rows] for name, column in columns.items() if column is not None}
        return replace(self, **chosen)

    def labelled(self) -> "ImageSet":
        """The images that have a label, which of STL-10's are few."""
        known = self.labels >= 0
        return self if known.all() else self[known]

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with labels and images on `device`; those in files are decoded."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))
