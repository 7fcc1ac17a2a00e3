"""Identify the images that a run saw, by a digest that is compared before a run is reused.

The digest covers names, sizes and contents. Contents are read once: while every file keeps its size
and its time of change, the digest comes from a small cache in the folder of the runs.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tqdm import tqdm

from infomax_nb.config import TrainConfig
from infomax_nb.data import glyphs
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.readers import READERS, packed_files
from infomax_nb.data.readers.listing import Listing
from infomax_nb.errors import ParameterError, RunError, file_errors
from infomax_nb.files import atomic_write, data_folder, runs_folder
from infomax_nb.notebook import shows_bars

CACHE = ".fingerprints.json"
CACHED = 100  # data sets in the cache, the newest ones
ENTRY = {"digest", "files", "bytes"}

# Test splits whose pixels are known, by `pixels_digest`.
KNOWN = {"e52002014771ff5dcdd9d3f399069fc9": "CIFAR-10, lossless"}


def fingerprint(config: TrainConfig) -> dict[str, Any]:
    """What identifies the configured data set.

    The digest covers each file's place below `data_root`, its size, its content, its split, class,
    superclass and box. So a copy elsewhere has the same digest. For the drawn sets it covers the
    symbols as this machine's font renders them.

    Returns:
        `digest` (hexadecimal), the number of `files` and their `bytes`.

    Raises:
        ParameterError: the data set is not there, or cannot be read.
    """
    if config.dataset.startswith("glyphs"):
        return {"digest": digest_of(glyphs.stencils(config.n_classes)), "files": 0, "bytes": 0}
    root = data_folder(config.data_root)
    roles = roles_of(config.dataset, root)
    with file_errors(root):
        stats = [os.stat(path) for path, _ in roles]
    times = [f"{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}" for stat in stats]
    key = digest_of([str(root), *_joined(roles, times)])
    cache = runs_folder(config.runs_dir) / CACHE
    known = _read_cache(cache)
    if key in known:
        return known[key]
    with _one_at_a_time(cache):
        known = _read_cache(cache)  # another process of this run may have been here meanwhile
        if key not in known:
            digest = digest_of(_joined(roles, _contents(roles, config.damaged == "skip")))
            number = len({path for path, _ in roles})
            size = sum(stat.st_size for stat in stats)
            known[key] = {"digest": digest, "files": number, "bytes": size}
            _write_cache(cache, known)
    return known[key]


def pixels_digest(data: ImageSet) -> str | None:
    """A digest of the images' pixels (N, 3, H, W) and labels (N,); None if they are in files.

    It does not depend on the images' order or file format.
    """
    if not isinstance(data.images, torch.Tensor):
        return None
    rows = zip(data.images.cpu().numpy(), data.labels.cpu().numpy(), strict=True)
    labelled = (image.tobytes() + label.tobytes() for image, label in rows)
    return digest_of(sorted(hashlib.sha256(each).digest() for each in labelled))


def described(data: dict[str, Any], test: ImageSet) -> dict[str, Any]:
    """A fingerprint as a run records it.

    It also gets `pixels`, the test split's `pixels_digest`, and `name`, the images known by it.
    """
    pixels = pixels_digest(test)
    if pixels is None:
        return data
    return data | {"pixels": pixels, "name": KNOWN.get(pixels, "not known")}


def check_data(run: Path, config: TrainConfig, then: dict | None, now: dict) -> None:
    """Refuse a data set that is not the one that the run was trained on.

    Args:
        run: the run's directory.
        config: the run's configuration.
        then: the fingerprint that the run recorded; None if the run is older than fingerprints.
        now: what `fingerprint` returns now.

    Raises:
        ParameterError: the fingerprints differ.
    """
    same = config.dataset != "folder" if then is None else then["digest"] == now["digest"]
    if same:
        return
    drawn = config.dataset.startswith("glyphs")
    if then is None:
        why = "it was trained before data were recorded, so nobody can say on which images"
    elif drawn:
        release = "another release of its font, Pillow or FreeType"
        why = f"this machine draws the symbols otherwise, by {release}"
    elif then["files"] != now["files"]:
        why = f"its data set had {then['files']:,} files, now there are {now['files']:,}"
    else:
        why = "its data set has changed: as many files, but other names or contents"
    where = "glyphs" if drawn else data_folder(config.data_root)
    anew = "train anew: delete the run's folder, or name another runs_dir"
    cure = f"restore what was there, or {anew}"
    raise ParameterError(f"data_root: {where} does not fit the run in {run}: {why}; {cure}.")


def roles_of(name: str, root: Path) -> list[tuple[str, str]]:
    """Each file that the data set is read from, and its role there: place, split, class, box.

    Raises:
        ParameterError: the data set is not there.
    """
    # Without them the reader says what is missing.
    packed = [path for path in packed_files(name, root) if path.exists()]
    if packed:
        return [(str(path), path.name) for path in packed]
    roles = []
    for split in ("train", "test"):
        data = READERS[name](root, split)
        assert isinstance(data, Listing)
        classes = list(data.classes)
        if data.coarse is not None and data.coarse_names is not None:
            superclasses = [data.coarse_names[k] for k in data.coarse.tolist()]
            classes = [
                f"{name}\0{above}" for name, above in zip(classes, superclasses, strict=True)
            ]
        classes.append("")  # of label -1
        boxes = [""] * len(data) if data.boxes is None else data.boxes.tolist()
        for path, label, box in zip(data.paths, data.labels.tolist(), boxes, strict=True):
            place = os.path.relpath(path, root)
            roles.append((path, f"{place}\0{split}\0{classes[label]}\0{box}"))
    return sorted(roles)


def _joined(roles: list[tuple[str, str]], more: list[str]) -> list[str]:
    """Each file's role, joined with what else is known about it."""
    return [f"{role}\0{each}" for (_, role), each in zip(roles, more, strict=True)]


def _contents(roles: list[tuple[str, str]], skip: bool) -> list[str]:
    """Digest of each file's content; with `skip`, a note for a file that cannot be read."""
    quiet = not shows_bars()
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda role: _content(role[0], skip), roles)
        about = "fingerprint of the data"
        return list(tqdm(digests, about, total=len(roles), disable=quiet, leave=False))


def _content(path: str, skip: bool) -> str:
    try:
        with file_errors(path, cure=" `damaged: skip` leaves it out."), open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except ParameterError:
        if not skip:
            raise
        return "cannot be read"


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Hexadecimal digest of the parts in their order; 128 bits."""
    whole = hashlib.sha256()
    for part in parts:
        raw = os.fsencode(part)
        whole.update(len(raw).to_bytes(8, "big") + raw)
    return whole.hexdigest()[:32]


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Let one process read the contents while others wait; without a lock, each of them reads."""
    lock = FileLock(cache.with_suffix(".lock"))
    try:
        with suppress(OSError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        yield
    finally:
        lock.release(force=True)


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """The cache; empty if there is none or it is damaged, as it can be made again."""
    try:
        known = json.loads(path.read_bytes())
        return {key: entry for key, entry in known.items() if entry.keys() == ENTRY}
    except (OSError, ValueError, AttributeError):  # AttributeError: not a table of tables
        return {}


def _write_cache(path: Path, known: dict[str, dict[str, Any]]) -> None:
    """Write the cache if possible: the folder of the runs may be read-only."""
    newest = json.dumps(dict(list(known.items())[-CACHED:]), indent=1)
    with suppress(OSError, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda part: part.write_text(newest, encoding="utf-8"))
