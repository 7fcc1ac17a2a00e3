"""Photographs to show a network: some that come with two packages, or the user's own folder."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from infomax_nb.data.decoding import decode_image
from infomax_nb.data.folders import is_image
from infomax_nb.errors import ParameterError, file_errors, printable
from infomax_nb.files import project_root

SHIPPED = {
    "skimage": ["data/chelsea.png", "data/astronaut.png", "data/coffee.png", "data/rocket.jpg"],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}


@dataclass(frozen=True)
class Photograph:
    """A photograph: its file's `name`, and its `pixels`, uint8 (3, H, W).

    It is the whole image; its shorter side has the length that was asked for.
    """

    name: str
    pixels: Tensor


@dataclass(frozen=True)
class Album:
    """Photographs from one place.

    `shown`: the photographs. `found`: the number of images there. `damaged`: names of files that
    were left out.
    """

    shown: list[Photograph]
    found: int
    damaged: list[str]

    @property
    def squares(self) -> Tensor:
        """The central square of each photograph, uint8 (N, 3, S, S), S pixels a side."""
        side = min(self.shown[0].pixels.shape[1:])
        return torch.stack([center_crop(each.pixels, [side, side]) for each in self.shown])

    def in_words(self) -> str:
        """A sentence on which pictures are shown, and of how many, by number and file name."""
        names = ", ".join(f"{k} {photograph.name}" for k, photograph in enumerate(self.shown, 1))
        which = "the first by name"
        if len(self.shown) + len(self.damaged) == self.found:
            which = "all that are whole" if self.damaged else "all"
        lost = f"; damaged and left out: {', '.join(self.damaged)}" if self.damaged else ""
        return f"{len(self.shown)} of {self.found} pictures, {which}: {names}{lost}"


def shipped(size: int = 64) -> Album:
    """Six photographs of scikit-image and scikit-learn; the shorter side has `size` pixels."""
    paths = [Path(str(files(package) / name)) for package in SHIPPED for name in SHIPPED[package]]
    return Album([_photograph(path, size) for path in paths], len(paths), [])


def own(folder: str, damaged: str = "refuse", most: int = 8, size: int = 64) -> Album:
    """The first pictures by name in a folder, not in those below it.

    Args:
        folder: a relative one is looked for in the working folder, then in the project's.
        damaged: what to do with a file that cannot be decoded: `refuse` raises, `skip` leaves it
            out and takes the next one.
        most: the largest number to show.
        size: pixels of the shorter side.

    Raises:
        ParameterError: there is no such folder, it holds no picture, or a picture is damaged. The
            error names it.
    """
    paths = _images_in(folder)
    shown: list[Photograph] = []
    lost: list[str] = []
    for path in paths:
        if len(shown) == most:
            break
        try:
            shown.append(_photograph(path, size))
        except ParameterError:
            if damaged != "skip":
                raise
            lost.append(printable(path.name))
    if not shown:
        why = f"all pictures in it are damaged: {', '.join(lost)}"
        empty = "it must be a folder that holds pictures"
        raise ParameterError(f"photos = {folder!r} is not allowed: {why if lost else empty}.")
    return Album(shown, len(paths), lost)


def _images_in(folder: str) -> list[Path]:
    """The images in a folder, by name."""
    with file_errors(folder, "photos"):
        for place in (Path(folder).expanduser(), project_root() / folder):
            if place.is_dir():
                return sorted(path for path in place.iterdir() if is_image(path))
    return []


def _photograph(path: Path, size: int) -> Photograph:
    """The image in a file with nothing cut off, its shorter side `size` pixels long.

    Sides are multiples of 4, as a ViT's patches require. An image more than 16 times as long as
    wide is compressed to that ratio.
    """
    image = decode_image(path, (2 * size, 2 * size), "photos")
    scale = size / min(image.size)
    width, height = (min(16 * size, max(size, 4 * round(side * scale / 4))) for side in image.size)
    pixels = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    return Photograph(printable(path.name), torch.from_numpy(pixels).permute(2, 0, 1))
