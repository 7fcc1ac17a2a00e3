"""Find the project's folders, and write files whole or not at all."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from infomax_nb.errors import RunError, device_failed, file_errors, not_allowed, one_line, ran_out


def project_root() -> Path:
    """The checkout's folder, which has `params/` and `notebooks/`.

    It is the package's parent or the nearest parent of the working folder; where there is no
    checkout, the working folder itself.
    """
    for place in (Path(__file__).resolve().parents[1], Path.cwd(), *Path.cwd().parents):
        if (place / "params").is_dir() and (place / "notebooks").is_dir():
            return place
    return Path.cwd()


def data_place(root: str | Path) -> Path:
    """The path of `data_root`, seen from the working folder or else from the project's."""
    given = _at_home("data_root", root)
    seen_from_project = project_root() / given
    return seen_from_project if seen_from_project.is_dir() and not given.is_dir() else given


def data_folder(root: str | Path) -> Path:
    """The path of `data_root`, absolute and without links."""
    return data_place(root).resolve()


def runs_folder(runs_dir: str | Path) -> Path:
    """The path of `runs_dir`; a relative one lies in the project's folder."""
    return project_root() / _at_home("runs_dir", runs_dir)


def _at_home(name: str, folder: str | Path) -> Path:
    """The folder with its `~` replaced."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        allowed = "written without ~, or begin with the home of a user of this machine"
        raise not_allowed(name, str(folder), allowed) from None


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there.

    A reader of `path` sees the whole file or none.

    Raises:
        RunError: the disk is full or may not be written to, or there is no such folder.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb+") as file:  # Windows refuses it for a file that is only read
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError for a full disk
        if ran_out(error) or device_failed(error):
            raise
        if not path.parent.is_dir():
            raise RunError(f"{path} could not be written: its folder is not there.") from None
        reason = f"could not be written, the disk may be full: {one_line(error)}"
        raise RunError(f"{path} {reason}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def load_weights(path: Path, what: str = "weights") -> dict[str, Any]:
    """Load what `torch.save` wrote to `path`, to the CPU. Nothing in it is executed.

    Args:
        path: the file.
        what: what it holds; an error's sentence begins with it.

    Raises:
        RunError: the file is damaged, or holds anything but tensors and plain values.
    """
    import torch

    with file_errors(path, what, RunError), zipfile.ZipFile(path) as file:
        damaged = file.testzip()  # torch does not compare check sums
        if damaged:
            raise ValueError(f"the check sum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)


def file_digest(path: Path) -> str:
    """The SHA-256 check sum of a file, hexadecimal.

    Raises:
        RunError: the file cannot be read.
    """
    with file_errors(path, "file", RunError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
