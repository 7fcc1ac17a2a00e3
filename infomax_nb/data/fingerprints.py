"""Which images a run saw: a digest of names, sizes and contents, compared before a run is reused.

Contents are read once: as long as no file's size or time of change has changed, the digest is taken
from a small cache in the folder of the runs.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from infomax_nb.config import TrainConfig
from infomax_nb.data import glyphs
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers import READERS, packed_files
from infomax_nb.errors import ParameterError, RunError, file_errors
from infomax_nb.files import atomic_write, data_folder, runs_folder
from infomax_nb.notebook import is_interactive

CACHE = ".fingerprints.json"
CACHED = 100  # data sets that the cache holds, the newest ones

# Test splits whose pixels are known, by `pixels_digest`.
KNOWN = {"e52002014771ff5dcdd9d3f399069fc9": "CIFAR-10, lossless"}


def fingerprint(config: TrainConfig) -> dict:
    """What identifies the configured data set: `digest` (hexadecimal), the number of `files` and
    their `bytes`.

    The digest covers each file's place below `data_root`, its size, its content, its split, class,
    superclass and box, so a copy elsewhere has the same one. Of the drawn sets it covers the
    symbols as this machine's font renders them.

    Raises ParameterError for a data set that cannot be read, or is not there.
    """
    if config.dataset.startswith("glyphs"):
        stencils = glyphs.stencils(config.n_classes)
        return {"digest": _digest(stencils), "files": 0, "bytes": 0}
    root = data_folder(config.data_root)
    entries = _entries(config.dataset, root)
    paths = [path for path, _ in entries]
    with file_errors(root):
        stats = [os.stat(path) for path in paths]
    told = [f"{meaning}\0" for _, meaning in entries]
    times = [f"{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}" for stat in stats]
    key = _digest([str(root), *map("".join, zip(told, times, strict=True))])
    cache = runs_folder(config.runs_dir) / CACHE
    known = _read_cache(cache)
    if key in known:
        return known[key]
    with _one_at_a_time(cache):
        known = _read_cache(cache)  # another process of this run may have been here meanwhile
        if key not in known:
            contents = _contents(paths, skip=config.damaged == "skip")
            digest = _digest(map("".join, zip(told, contents, strict=True)))
            known[key] = {
                "digest": digest,
                "files": len(set(paths)),
                "bytes": sum(s.st_size for s in stats),
            }
            _write_cache(cache, known)
    return known[key]


def pixels_digest(data: ImageSet) -> str | None:
    """A digest of the images' pixels and labels, whatever their order and format; None if they are
    in files."""
    if not isinstance(data.images, torch.Tensor):
        return None
    images = data.images.cpu().numpy()
    labels = data.labels.cpu().numpy()
    each = []
    for image, label in zip(images, labels, strict=True):
        each.append(hashlib.sha256(image.tobytes() + label.tobytes()).digest())
    return _digest(sorted(each))


def described(seen: dict, test: ImageSet) -> dict:
    """A fingerprint as a run records it: with `pixels` of the test split, and its `name` where the
    pixels are known."""
    pixels = pixels_digest(test)
    known_as = KNOWN.get(pixels or "", "not known")
    return seen if pixels is None else seen | {"pixels": pixels, "name": known_as}


def check_data(run: Path, config: TrainConfig, then: dict | None, now: dict) -> None:
    """ParameterError if the data set is not what the run was trained on.

    Args:
        run: the run's directory. then: the fingerprint that it recorded, None if it is older than
            fingerprints.
        now: what `fingerprint` says today.
    """
    if then is None and config.dataset != "folder":
        return
    if then is not None and then["digest"] == now["digest"]:
        return
    if then is None:
        why = "it was trained before data were recorded, so nobody can say on which images"
    elif config.dataset.startswith("glyphs"):
        why = "this machine draws the symbols otherwise, by another release of its font, Pillow or FreeType"
    elif then["files"] != now["files"]:
        why = f"its data set had {then['files']:,} files, now there are {now['files']:,}"
    else:
        why = "its data set has changed: as many files, but other names or contents"
    where = "glyphs" if config.dataset.startswith("glyphs") else data_folder(config.data_root)
    cure = (
        "restore what was there, or train anew: delete the run's folder, or name another runs_dir"
    )
    raise ParameterError(f"data_root: {where} does not fit the run in {run}: {why}; {cure}.")


def _entries(name: str, root: Path) -> list[tuple[str, str]]:
    """Each file that the data set is read from, and what it means there: its place, split, class
    and box."""
    packed = packed_files(name, root)
    if packed:
        return [(str(path), path.name) for path in packed]
    entries = []
    for split in ("train", "test"):
        data = READERS[name](root, split)
        meant = list(data.classes)
        if data.coarse is not None and data.coarse_names:
            meant = [
                f"{name}\0{data.coarse_names[k]}"
                for name, k in zip(meant, data.coarse.tolist(), strict=True)
            ]
        names = [meant[label] if label >= 0 else "" for label in data.labels.tolist()]
        boxes = (
            [""] * len(names) if data.boxes is None else [str(box) for box in data.boxes.tolist()]
        )
        for path, class_name, box in zip(np.asarray(data.images), names, boxes, strict=True):
            place = os.path.relpath(path, root)
            entries.append((path, f"{place}\0{split}\0{class_name}\0{box}"))
    return sorted(entries)


def _contents(paths: list[str], skip: bool) -> list[str]:
    """Digest of each file's content; with `skip`, of one that cannot be read, that it cannot."""
    quiet = not (is_interactive() or sys.stderr.isatty())
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda path: _content(path, skip), paths)
        return list(
            tqdm(jobs, "fingerprint of the data", total=len(paths), disable=quiet, leave=False)
        )


def _content(path: str, skip: bool) -> str:
    try:
        with file_errors(path, cure=" `damaged: skip` leaves it out."), open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except ValueError:
        if skip:
            return "cannot be read"
        raise


def _digest(parts: Iterable[str | bytes]) -> str:
    """Hexadecimal digest of the parts in their order; 128 bits."""
    whole = hashlib.sha256()
    for part in parts:
        raw = os.fsencode(part)
        whole.update(len(raw).to_bytes(8, "big") + raw)
    return whole.hexdigest()[:32]


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Contents are read by one process while others wait for what it finds; where no lock can be
    had, by each."""
    lock = FileLock(cache.with_suffix(".lock"))
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release(force=True)


def _read_cache(path: Path) -> dict[str, dict]:
    """The cache, empty if there is none or it is damaged: it can be made anew."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    entries = known.items() if isinstance(known, dict) else []
    return {
        key: entry
        for key, entry in entries
        if isinstance(entry, dict) and {*entry} == {"digest", "files", "bytes"}
    }


def _write_cache(path: Path, known: dict[str, dict]) -> None:
    """Keep what can be kept: runs may lie in a folder that is only read."""
    newest = dict(list(known.items())[-CACHED:])
    with suppress(OSError, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(
            path, lambda part: part.write_text(json.dumps(newest, indent=1), encoding="utf-8")
        )
