"""`python pipeline/gpu/unpack.py PACKS DIR`: unpack what `pipeline.gpu.pack` packed, into DIR.

PACKS holds the parts and the lists of their check sums. DIR gets `data`, which `--data-root` takes,
and `site`, the libraries, for PYTHONPATH. Every check sum is compared before anything is unpacked,
and what was interrupted is done anew. This needs Python's standard library only.
"""

import argparse
import hashlib
import io
import json
import lzma
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

STAMP = ".packed"  # in what is complete: the check sum of what it was unpacked from
BLOCK = 2**20


class PackError(Exception):
    """A pack cannot be used; the sentence says which file, and why."""


class Joined(io.RawIOBase):
    """Files read as if they were one.

    Args:
        paths: the files in their order.
    """

    def __init__(self, paths: list[Path]):
        self.blocks = _blocks(paths)
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self.rest:
            block = next(self.blocks, None)
            if block is None:
                return 0
            self.rest = block
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


def _blocks(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            block = file.read(BLOCK)
            while block:
                yield block
                block = file.read(BLOCK)


def lists(packs: Path) -> list[dict]:
    """The list of each pack: its name, check sum and parts.

    Raises:
        PackError: there is none, or one cannot be read.
    """
    found = []
    for path in sorted(packs.glob("*.json")):
        try:
            pack = json.loads(path.read_text(encoding="utf-8"))
            found.append({**pack, "parts": list(pack["parts"]), "name": Path(pack["name"]).name})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PackError(f"{path} is damaged: {error}.") from None
    if not found:
        raise PackError(f"There is no list of parts (*.json) in {packs}.")
    return found


def check(packs: Path, pack: dict) -> list[Path]:
    """The paths of a pack's parts, which are complete and undamaged.

    Raises:
        PackError: a part is missing or another one than was packed.
    """
    whole = hashlib.sha256()
    paths = []
    for part in pack["parts"]:
        path = packs / Path(part["file"]).name
        if not path.is_file():
            raise PackError(f"{path} is missing: copy it, too.")
        own = hashlib.sha256()
        for block in _blocks([path]):
            own.update(block)
            whole.update(block)
        if own.hexdigest() != part["sha256"]:
            raise PackError(f"{path} is damaged, its SHA-256 is another: copy it again.")
        paths.append(path)
    if whole.hexdigest() != pack["sha256"]:
        raise PackError(f"The parts of {pack['name']} are not those of one pack: copy all again.")
    return paths


def unpack(packs: Path, folder: Path) -> list[Path]:
    """Unpack every pack, or leave it if it is there; returns the folders.

    Raises:
        PackError: a part is missing or damaged, or a folder holds something else.
    """
    folders = []
    for pack in lists(packs):
        target = folder / pack["name"]
        folders.append(target)
        if not _is_there(target, pack):
            _unpack(check(packs, pack), pack, target)
    return folders


def _is_there(target: Path, pack: dict) -> bool:
    if not target.exists():
        return False
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text(encoding="ascii") == pack["sha256"]:
        return True
    raise PackError(f"{target} holds something else: move it away, or name another folder.")


def _unpack(parts: list[Path], pack: dict, target: Path) -> None:
    """Fill a folder beside the target, then rename it: it is there whole or not at all."""
    here = ".".join(map(str, sys.version_info[:2]))
    if pack.get("python", here) != here:
        wanted = f"{pack['name']} was packed for Python {pack['python']}, this is {here}"
        raise PackError(f"{wanted}: pack it with --python {here}.")
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    joined = io.BufferedReader(Joined(parts), BLOCK)
    with lzma.open(joined) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(beside, filter="data")
    if pack.get("python"):
        for wheel in sorted(beside.glob("*.whl")):
            _install(wheel, beside)
            wheel.unlink()
    (beside / STAMP).write_text(pack["sha256"], encoding="ascii")
    beside.rename(target)


def _install(wheel: Path, site: Path) -> None:
    """A wheel is an archive of what lies in the folder of libraries, but for its `.data`."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for data in site.glob("*.data"):
        for kind in ("purelib", "platlib"):
            if (data / kind).is_dir():
                shutil.copytree(data / kind, site, dirs_exist_ok=True)
        shutil.rmtree(data)


def main() -> None:
    """Unpack, and say how to go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, help="the folder with the parts")
    parser.add_argument("folder", type=Path, help="where `data` and `site` come")
    given = parser.parse_args()
    try:
        folders = unpack(given.packs, given.folder)
        commit = next((pack["commit"] for pack in lists(given.packs) if pack.get("commit")), "")
    except (PackError, OSError) as error:
        sys.exit(str(error))
    for folder in folders:
        print(f"{folder.resolve()} is complete.")
    site = f"PYTHONPATH={(given.folder / 'site').resolve()}"
    said = f"INFOMAX_COMMIT={commit} " if commit else ""
    data = (given.folder / "data").resolve()
    print(f"{said}{site} python3 -m pipeline.gpu --data-root {data}")


if __name__ == "__main__":
    main()
