"""Where a GPU's training reads its images: from its own memory, else from a file, decoded once.

The file has an image set's pixels as they are, uint8 (N, 3, H, W), in `.decoded` in the folder of
the runs. Processes map it into memory, so that they share what of it is there.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from torch import Tensor

from infomax_nb.data.fingerprints import digest_of
from infomax_nb.data.image_set import DecodedImages, ImageFiles, ImageSet
from infomax_nb.errors import RunError
from infomax_nb.files import atomic_write

FOLDER = ".decoded"
VERSION = 1  # of the pixels that a file gives; raised when they change
SPARE = 2**30  # bytes that stay free for what else a run writes


def place(
    sets: list[ImageSet], device: torch.device, room: float, decoded: Callable
) -> list[ImageSet]:
    """The sets where training on a GPU reads them.

    Args:
        sets: the training and the test images.
        device: the GPU.
        room: bytes on it that images may take. If all fit, they live there.
        decoded: what makes of `ImageFiles` those to read from instead, as `decoded_once` does.
    """
    if sum(each.images.nbytes for each in sets) < room:
        return [each.to(device) for each in sets]
    return [replace(each, images=_ahead(each.images, device, decoded)) for each in sets]


def _ahead(images: Tensor | ImageFiles, device: torch.device, decoded: Callable) -> ImageFiles:
    """The images, to be read ahead of a step, for a GPU into pinned memory."""
    files = DecodedImages(images) if isinstance(images, Tensor) else decoded(images)
    files.pinned = device.type == "cuda"
    return files


def decoded_once(files: ImageFiles, folder: Path, root: Path, data: str) -> ImageFiles:
    """The images in the file that has them decoded, which is written if there is none.

    While one process writes, others wait. A sentence on stderr says where there is no room on the
    disk: the images are then decoded each time.

    Args:
        files: the images.
        folder: where the file is.
        root: the data set's folder.
        data: the digest of the data set (`data.fingerprints`).
    """
    names = (os.path.relpath(path, root) for path in files.paths)
    kind = (VERSION, PIL.__version__, data, files.scaled, *files.shape)
    path = folder / f"{digest_of([*map(str, kind), *names])}.uint8"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists() or path.stat().st_size != files.nbytes:
                _write(files, path)
            return DecodedImages(_mapped(path, files.shape))
    except (OSError, RunError) as error:
        reason = str(error).rstrip(".")
        print(f"{reason}; the images are decoded each time.", file=sys.stderr, flush=True)
        return files


def _write(files: ImageFiles, path: Path) -> None:
    """Decode all images into the file; RunError if the disk has no room for them."""
    for part in path.parent.glob(f"{path.name}.*.part"):  # left by a killed process
        part.unlink()
    free = shutil.disk_usage(path.parent).free
    if free < files.nbytes + SPARE:
        needed = f"{(files.nbytes + SPARE) / 1e9:,.1f} GB free to keep its images decoded"
        raise RunError(f"{path.parent} needs {needed}, it has {free / 1e9:,.1f} GB.")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            for chunk in files.chunks():
                chunk.numpy().tofile(file)

    atomic_write(path, write)


def _mapped(path: Path, shape: torch.Size) -> Tensor:
    """The file's pixels, which may be read, not written: that they are so torch warns of."""
    with warnings.catch_warnings(action="ignore"):
        return torch.from_numpy(np.memmap(path, np.uint8, "r", shape=tuple(shape)))
