"""files."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from infomax_nb.errors import ParameterError, RunError, failed, ran_out, reading


def project_root() -> Path:
    """The checkout's folder: the package's parent, or the nearest parent of the working folder with
    `params/`."""
    places = (Path(__file__).resolve().parent.parent, Path.cwd(), *Path.cwd().parents)
    return next(
        (p for p in places if (p / "params").is_dir() and (p / "notebooks").is_dir()), Path.cwd()
    )


def data_place(root: str | Path) -> Path:
    """Where `data_root` is: seen from the working folder, else from the project's; `~` is the
    user's home."""
    given = at_home("data_root", root)
    places = (given, project_root() / given)
    return next((place for place in places if place.is_dir()), given)


def data_folder(root: str | Path) -> Path:
    """Where `data_root` is, absolute and without links."""
    return data_place(root).resolve()


def runs_folder(runs_dir: str | Path) -> Path:
    """Where `runs_dir` is: a relative one lies in the project's folder, whoever calls from where;
    `~` is the home."""
    return project_root() / at_home("runs_dir", runs_dir)


def at_home(name: str, folder: str | Path) -> Path:
    """The folder with its `~` replaced; ParameterError where that is nobody's home."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        allowed = "it must begin with the home of a user of this machine, or be written without ~"
        raise ParameterError(f"{name} = {str(folder)!r} is not allowed: {allowed}.") from None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there: a reader sees all of it
    or nothing.

    Raises RunError where the disk is full or may not be written to.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (
        OSError,
        RuntimeError,
    ) as error:  # torch.save raises RuntimeError where there is no room
        if ran_out(error) or failed(error):
            raise
        raise RunError(
            f"{path} could not be written, the disk may be full: {' '.join(str(error).split())}"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote to `path`, on the CPU: tensors and plain values; nothing in it is
    executed.

    Raises RunError for a file that is damaged (torch does not compare check sums) or holds other
    objects.
    """
    with reading(path, "weights", RunError), zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise ValueError(f"the check sum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)


def file_digest(path: Path) -> str:
    """Check sum (SHA-256) of a file; RunError if it cannot be read."""
    with reading(path, "file", RunError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
