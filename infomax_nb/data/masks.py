"""Photographs with a mask for each: which pixels show the object, and which are unsure."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch import Tensor

from infomax_nb.data.decoding import decode_image, orientation
from infomax_nb.data.fingerprints import digest_of
from infomax_nb.errors import ParameterError, file_errors
from infomax_nb.files import data_place

# Values of a mask's pixels
BACKGROUND = 0
UNSURE = 128
OBJECT = 255


@dataclass(frozen=True)
class MaskedPhotographs:
    """Square photographs of one size with their masks.

    Args:
        names: of the files, without ending.
        images: uint8 (N, 3, S, S).
        masks: bool (N, S, S), True on the object.
        sure: bool (N, S, S), False where a mask does not say what the pixel shows.
    """

    names: list[str]
    images: Tensor
    masks: Tensor
    sure: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def first(self, number: int) -> "MaskedPhotographs":
        """The first ones."""
        parts = {part: getattr(self, part)[:number] for part in ("images", "masks", "sure")}
        return replace(self, names=self.names[:number], **parts)

    @property
    def digest(self) -> str:
        """Hexadecimal digest of names, pixels and masks."""
        arrays = [part.numpy().tobytes() for part in (self.images, self.masks, self.sure)]
        return digest_of([*self.names, *arrays])


def read_masked(
    folder: str | Path, split: str | None = None, size: int = 128, parameter: str = "data_root"
) -> MaskedPhotographs:
    """The photographs of `folder/images/<id>.jpg` with `folder/masks/<id>.png`, in the table's
    order.

    `folder/images.csv` has a line for each, with the columns `id` and `split`. A mask's pixels are
    0 on the background, 255 on the object and 128 where it is unsure. Of each photograph and mask
    the central square is taken, and scaled to `size` pixels a side unless it has them.

    Args:
        folder: a relative one is looked for in the working folder, then in the project's.
        split: only photographs of this split; None for all.
        size: pixels of a side.
        parameter: what names the folder; errors begin with it.

    Raises:
        ParameterError: a file is missing or damaged, a mask has another size than its photograph
            or shows no object, EXIF turns a photograph, or no photograph is in the split.
    """
    root = data_place(folder)
    with file_errors(root / "images.csv", parameter):
        table = pd.read_csv(root / "images.csv", dtype=str, keep_default_na=False)
        chosen = table if split is None else table[table["split"] == split]
        names = list(chosen["id"])
    if not names:
        which = f" of the split {split!r}" if split else ""
        raise ParameterError(f"{parameter}: {root / 'images.csv'} names no photograph{which}.")
    pairs = [_pair(root, name, size, parameter) for name in names]
    images = torch.stack([image for image, _ in pairs])
    values = torch.stack([mask for _, mask in pairs])
    return MaskedPhotographs(names, images, values == OBJECT, values != UNSURE)


def _pair(root: Path, name: str, size: int, parameter: str) -> tuple[Tensor, Tensor]:
    """A photograph's pixels, uint8 (3, S, S), and its mask's values, uint8 (S, S)."""
    photograph = root / "images" / f"{name}.jpg"
    image = decode_image(photograph, parameter=parameter, cure="")
    with file_errors(photograph, parameter), Image.open(photograph) as stored:
        if orientation(stored) != 1:
            turned = f"orientation {orientation(stored)}"
            raise ValueError(f"EXIF turns it ({turned}), but not its mask")
    path = root / "masks" / f"{name}.png"
    with file_errors(path, parameter):
        mask = Image.open(path).convert("L")
        if mask.size != image.size:
            raise ValueError(f"the mask has {mask.size} pixels, the photograph {image.size}")
        unknown = set(np.unique(np.asarray(mask))) - {BACKGROUND, UNSURE, OBJECT}
        if unknown:
            raise ValueError(f"a mask's pixels are 0, 128 or 255, not {min(unknown)}")
        values = _square(mask, size, Image.Resampling.NEAREST)
        if not (values == OBJECT).any():
            raise ValueError("its central square shows no object: no pixel is 255")
    return _square(image, size, Image.Resampling.BICUBIC).permute(2, 0, 1), values


def _square(image: Image.Image, size: int, resampling: Image.Resampling) -> Tensor:
    """The central square, `size` pixels a side."""
    return torch.from_numpy(np.array(ImageOps.fit(image, (size, size), resampling)))
