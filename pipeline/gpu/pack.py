"""`python -m pipeline.gpu.pack OUT --data-root DIR`: what a bare machine needs, in small parts.

OUT gets CIFAR-10, file by file as it is in DIR, and the libraries that the machine lacks, each
in parts of at most `--megabytes`, with lists of their check sums. `unpack.py` beside this file puts
them together there. The code itself is the checkout, which is copied as it is.

The libraries are the locked versions, with the lock's check sums. `--there` names those that the
machine has, in whatever version; `--without` those that only notebooks need.
"""

import argparse
import hashlib
import io
import json
import lzma
import math
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from infomax_nb.data.readers import READERS, packed_files
from infomax_nb.data.readers.listing import Listing
from infomax_nb.errors import not_allowed
from infomax_nb.files import atomic_write, data_folder
from infomax_nb.train.record import commit
from pipeline.command import in_a_sentence, made_folder
from pipeline.gpu import wheels

DATASET = "cifar10"
PRESET = 1  # of xz: images hardly shrink, their names and headers do


class Parts(io.RawIOBase):
    """A file that is written as several, none larger than a limit.

    Args:
        folder: where the files come.
        name: how their names begin.
        limit: bytes of a file.
    """

    def __init__(self, folder: Path, name: str, limit: int):
        self.folder = folder
        self.name = name
        self.limit = limit
        self.whole = hashlib.sha256()
        self.written: list[dict[str, Any]] = []
        self.part = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block) -> int:
        self.whole.update(block)
        self.part += block
        while len(self.part) >= self.limit:
            self._keep(self.limit)
        return len(block)

    def finish(self) -> dict[str, Any]:
        """Write what is left, and return the check sums of the whole and of its parts."""
        if self.part:
            self._keep(len(self.part))
        return {"sha256": self.whole.hexdigest(), "parts": self.written}

    def _keep(self, size: int) -> None:
        block = bytes(self.part[:size])
        del self.part[:size]
        path = self.folder / f"{self.name}.{len(self.written):03d}"
        atomic_write(path, lambda part: part.write_bytes(block))
        digest = hashlib.sha256(block).hexdigest()
        self.written.append({"file": path.name, "bytes": size, "sha256": digest})


def pack(name: str, root: Path, files: Iterable[Path], out: Path, limit: int, **more) -> dict:
    """Pack files, and write the list of the parts last.

    The same files give the same parts: times and owners are left out.

    Args:
        name: of the pack, and of the folder that it becomes.
        root: the folder that the files' places are seen from.
        files: what is packed.
        out: where the parts come.
        limit: bytes of a part.
        more: entries of the list.

    Returns:
        The list.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in [out / f"{name}.json", *out.glob(f"{name}.[0-9][0-9][0-9]")]:
        old.unlink(missing_ok=True)
    paths = sorted(files)
    parts = Parts(out, name, limit)
    joined = io.BufferedWriter(parts)
    with lzma.open(joined, "wb", preset=PRESET) as stream, _archive(stream) as archive:
        for path in tqdm(paths, name, disable=not sys.stderr.isatty(), leave=False):
            _add(archive, path, path.relative_to(root))
    joined.flush()
    kept = {"name": name, "files": len(paths), **more, **parts.finish()}
    text = json.dumps(kept, indent=1) + "\n"
    atomic_write(out / f"{name}.json", lambda part: part.write_text(text, encoding="utf-8"))
    return kept


def _archive(stream: lzma.LZMAFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w|")


def _add(archive: tarfile.TarFile, path: Path, place: Path) -> None:
    entry = tarfile.TarInfo(place.as_posix())
    entry.size = path.stat().st_size
    with path.open("rb") as file:
        archive.addfile(entry, file)


def files_of_data(root: Path) -> list[Path]:
    """CIFAR-10's files in `root`, which its reader has read.

    Raises:
        ParameterError: they are not there, or damaged.
    """
    splits = [READERS[DATASET](root, split) for split in ("train", "test")]
    listed = [path for each in splits if isinstance(each, Listing) for path in each.paths]
    paths = [Path(path) for path in listed] or packed_files(DATASET, root)
    return [Path(os.path.abspath(path)) for path in paths]


def pack_data(data_root: str, out: Path, limit: int) -> dict:
    """Pack CIFAR-10; see `pack`."""
    root = data_folder(data_root)
    return pack("data", root, files_of_data(root), out, limit, dataset=DATASET)


def pack_site(given: argparse.Namespace, machine: wheels.Machine, limit: int) -> dict:
    """Pack the libraries as wheels; see `pack`."""
    there = {*wheels.THERE, *given.there}
    needed = wheels.needed(machine, there, {*wheels.WITHOUT, *given.without})
    print(f"There already: {', '.join(sorted(there))}.")
    print(f"Packed: {', '.join(f'{each.name} {each.version}' for each in needed)}.")
    with tempfile.TemporaryDirectory() as folder:
        wheels.download(needed, machine, Path(folder), given.pip)
        wheels.write_own(Path(folder))
        names = [path.name for path in sorted(Path(folder).iterdir())]
        about = {"python": given.python, "wheels": names, "commit": commit()}
        return pack("site", Path(folder), Path(folder).iterdir(), given.out, limit, **about)


def main() -> None:
    """Pack, and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("out", type=Path)
    add("--data-root", default="data")
    add("--megabytes", type=float, default=60.0, help="of a part, at most")
    add("--only", choices=["data", "site"], help="only the data, only the libraries")
    add("--python", default="3.12", help="version of the machine's Python")
    add("--machine", default="x86_64")
    add("--glibc", default="2.28", help="its C library is at least this one")
    add("--there", nargs="*", default=[], help="more libraries that the machine has, as timm")
    add("--without", nargs="*", default=[], help="more libraries that are not needed there")
    add("--pip", default="", help="a Python that has pip; else one is looked for")
    given = parser.parse_args()
    with in_a_sentence():
        if not 0.001 <= given.megabytes < math.inf:
            raise not_allowed("--megabytes", given.megabytes, "a number of at least 0.001")
        machine = wheels.Machine(given.python, given.machine, given.glibc)
        made_folder("OUT", given.out)
        limit = int(given.megabytes * 1e6)
        packed = []
        if given.only != "site":
            packed.append(pack_data(given.data_root, given.out, limit))
        if given.only != "data":
            packed.append(pack_site(given, machine, limit))
    for each in packed:
        size = sum(part["bytes"] for part in each["parts"]) / 1e6
        print(
            f"{each['name']}: {each['files']:,} files in {len(each['parts'])} parts, {size:.0f} MB"
        )
    shutil.copy(Path(__file__).with_name("unpack.py"), given.out)
    print(f"Copy {given.out}, then: python3 unpack.py PACKS DIR")


if __name__ == "__main__":
    main()
