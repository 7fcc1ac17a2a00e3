"""Photographs to look at with a network: some that come with two of the packages, or a folder of
one's own."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from infomax_nb.data.folders import FORMATS
from infomax_nb.data.loading import decode_image
from infomax_nb.errors import ParameterError, file_errors, printable
from infomax_nb.files import project_root

SHIPPED = [
    files("skimage") / "data" / name
    for name in ("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg")
]
SHIPPED += [files("sklearn") / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]


@dataclass(frozen=True)
class Photograph:
    """`name`: of the file. `pixels`: uint8 (3, H, W), the whole picture; its shorter side as long
    as was asked for."""

    name: str
    pixels: Tensor


@dataclass(frozen=True)
class Album:
    """`shown`: the photographs; `found`: how many pictures there are; `damaged`: files that were
    left out."""

    shown: list[Photograph]
    found: int
    damaged: list[str]

    @property
    def squares(self) -> Tensor:
        """The central square of each photograph that is shown, uint8 (N, 3, S, S)."""
        return torch.stack(
            [center_crop(each.pixels, [min(each.pixels.shape[1:])] * 2) for each in self.shown]
        )

    def in_words(self) -> str:
        """Which of how many pictures are shown, by number and file name."""
        names = ", ".join(f"{k} {photograph.name}" for k, photograph in enumerate(self.shown, 1))
        whole = "all that are whole" if self.damaged else "all"
        which = whole if len(self.shown) + len(self.damaged) == self.found else "the first by name"
        lost = f"; damaged and left out: {', '.join(self.damaged)}" if self.damaged else ""
        return f"{len(self.shown)} of {self.found} pictures, {which}: {names}{lost}"


def shipped(size: int = 64) -> Album:
    """Six photographs of scikit-image and scikit-learn; the shorter side has `size` pixels."""
    shown = [Photograph(path.name, whole(Path(str(path)), size)) for path in SHIPPED]
    return Album(shown, len(shown), [])


def own(folder: str, damaged: str = "refuse", most: int = 8, size: int = 64) -> Album:
    """The first pictures by name in a folder, not in those below it; the shorter side has `size`
    pixels.

    Args:
        folder: a relative one is looked for from here, then from the project.
        damaged: a file that cannot be decoded is refused, or, with `skip`, left out and the next
            one taken.
        most: how many are shown.

    Raises ParameterError for a folder that is none or holds no picture, and for a damaged one, by
    its name.
    """
    paths = _pictures(folder)
    shown: list[Photograph] = []
    lost: list[str] = []
    for path in paths:
        if len(shown) == most:
            break
        try:
            shown.append(Photograph(printable(path.name), whole(path, size)))
        except ParameterError as error:
            if damaged != "skip":
                raise ParameterError(str(error).replace("data_root:", "photos:", 1)) from None
            lost.append(printable(path.name))
    if not shown:
        why = (
            f"all pictures in it are damaged: {', '.join(lost)}"
            if lost
            else "it must be a folder that holds pictures"
        )
        raise ParameterError(f"photos = {folder!r} is not allowed: {why}.")
    return Album(shown, len(paths), lost)


def _pictures(folder: str) -> list[Path]:
    """The pictures in a folder, by name."""
    with file_errors(folder, "photos"):
        places = (Path(folder).expanduser(), project_root() / folder)
        place = next((path for path in places if path.is_dir()), None)
        inside = place.iterdir() if place else ()
        found = [path for path in inside if path.suffix.lower() in FORMATS and path.name[0] != "."]
        return sorted(path for path in found if path.is_file())


def whole(path: Path, size: int) -> Tensor:
    """The picture in a file as uint8 (3, H, W), nothing cut off: the shorter side has `size`
    pixels.

    Sides are multiples of 4, which is what a ViT's patches ask for; a picture more than 16 times as
    long as wide is compressed to that. Raises ParameterError as `data.picture`.
    """
    image = decode_image(path, (2 * size, 2 * size))
    scale = size / min(image.size)
    width, height = (min(16 * size, max(size, 4 * round(side * scale / 4))) for side in image.size)
    return torch.from_numpy(
        np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    ).permute(2, 0, 1)
