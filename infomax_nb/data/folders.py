"""People's folders: which files in them are images, each once, and which folders are parts of a
data set."""

import json
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from infomax_nb.errors import ParameterError, printable

FORMATS = (*IMG_EXTENSIONS, ".gif", ".jfif")

_NAMES = json.loads(Path(__file__).with_name("folder_names.json").read_text("utf-8"))
# What file servers, Macs, cameras and editors leave beside images: copies, previews, bins. In
# small letters here, in any on the disk.
COMPANIONS = frozenset(_NAMES["companions"])
_KINDS = {word: kind for kind, words in _NAMES["parts"].items() for word in words}
# Words that say nothing about which part of a data set a folder is.
_FILLER = r"(?:seg|sets?|data|dataset|images?|imgs?|pictures?|pics?|photos?|folder|split|part)"
_WORD = "|".join(sorted(_KINDS, key=len, reverse=True))
_GLUED = re.compile(rf"{_FILLER}?({_WORD}){_FILLER}?")  # trainset, testimages
_WRAPPER = re.compile(rf"[\W\d_]*{_FILLER}[\W\d_]*")  # images, _data_2
# Folders by what `part_of` finds in their names: the rest of the name, then the kind of part.
Named = dict[str, dict[str, list[Path]]]


def hidden(name: str) -> bool:
    """Whether it was not the owner who made a file or folder of this name: it has a dot in front,
    or is one of `COMPANIONS` or Lightroom's previews."""
    plain = name.casefold()
    return plain.startswith(".") or plain in COMPANIONS or plain.endswith(".lrdata")


def is_image(path: Path) -> bool:
    """Whether there is a file with the name of an image."""
    return _has_image_name(path.name) and path.is_file()


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; without hidden ones, and without links to a folder that
    holds this one."""
    above = _with_parents(folder)
    inside = sorted(path for path in folder.iterdir() if not hidden(path.name) and path.is_dir())
    return [path for path in inside if os.path.realpath(path) not in above]


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder; a link into another one of them is a second name of what is
    there already."""
    names: dict[str, str] = {}  # by the folders' real paths
    for path in sorted(subfolders(folder), key=Path.is_symlink):  # links last
        if not path.is_symlink() or names.keys().isdisjoint(_with_parents(path)):
            names[os.path.realpath(path)] = path.name
    return sorted(names.values())


def _with_parents(folder: str | Path) -> set[str]:
    """Real paths of a folder and of all above it."""
    real = Path(os.path.realpath(folder))
    return {str(path) for path in (real, *real.parents)}


def _has_image_name(name: str) -> bool:
    return name.lower().endswith(FORMATS) and not name.startswith(".")


# --- Images, each once ----------------------------------------------------------------------------


def images_below(roots: Sequence[Path]) -> list[list[str]]:
    """Paths of the images below each of the roots, however deep, sorted.

    Each real file is listed once, whatever the links. A file belongs to where it lies; one that
    only links lead to belongs to where the fewest of them lead to, and then to the first of the
    roots. Of hard links to one file the first counts. A link to a folder above itself, or above the
    roots, is not followed. Links to nothing are listed, so that whoever opens them says so.
    """
    images: list[list[str]] = [[] for _ in roots]
    for root, path in _Walk(roots):
        images[root].append(path)
    return [sorted(paths, key=os.path.split) for paths in images]


class _Walk:
    """Images below the roots, each with its root's number, as they are found.

    First come those on whose way there is no link, then those behind one link, then two, ...: the
    links that are met wait in `ahead` until all folders before them are done.
    """

    def __init__(self, roots: Sequence[Path]):
        base = os.path.commonpath(roots)
        real = Path(os.path.realpath(base))

        def is_linked(k: int) -> bool:
            return os.path.realpath(roots[k]) != str(real / roots[k].relative_to(base))

        self.above = _with_parents(base)
        self.visited: set = set()  # real paths, or (device, inode) of a file with several names
        self.ahead = deque((k, str(roots[k])) for k in sorted(range(len(roots)), key=is_linked))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while self.ahead:
            root, path = self.ahead.popleft()
            real = os.path.realpath(path)
            if os.path.isdir(path) and real not in self.visited:
                yield from self._enter(root, path)
            elif not os.path.exists(path) or self._is_new(path, real):
                yield root, path

    def _enter(self, root: int, path: str) -> Iterator[tuple[int, str]]:
        """The images below a folder; its links are put into `ahead`."""
        for folder, inner, files in os.walk(path, onerror=_raise):
            real = os.path.realpath(folder)
            if real in self.visited:
                inner.clear()
                continue
            self.visited.add(real)
            inner[:] = sorted(name for name in inner if not hidden(name))
            for name in [*inner, *sorted(filter(_has_image_name, files))]:
                below = os.path.join(folder, name)
                if os.path.islink(below):
                    if os.path.realpath(below) not in self.above | _with_parents(real):
                        self.ahead.append((root, below))
                elif self._is_new(below, os.path.join(real, name)):  # no folder: walked into later
                    yield root, below

    def _is_new(self, path: str, real: str) -> bool:
        """Whether a path leads to a regular file that was not listed before."""
        status = os.stat(path)
        file = (status.st_dev, status.st_ino) if status.st_nlink > 1 else real
        if not stat.S_ISREG(status.st_mode) or file in self.visited:
            return False
        self.visited.add(file)
        return True


def _raise(error: OSError) -> None:
    raise error


# --- Parts of a data set --------------------------------------------------------------------------


def part_of(name: str) -> tuple[str, str] | None:
    """(kind, rest) of a folder called like a part of a data set, None for other names.

    Kinds are train, test, val and more; the rest are the words that name neither a kind nor
    something that every data set has.

    >>> part_of("Seg_Train"), part_of("cats-val"), part_of("trains")
    (('train', ''), ('val', 'cats'), None)
    """
    kinds = []
    rest = []
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # trainA, catsTest
    for word in re.findall(r"[^\W\d_]+", apart.casefold()):
        glued = _GLUED.fullmatch(word)
        if glued:
            kinds.append(_KINDS[glued[1]])
        elif not re.fullmatch(_FILLER, word):
            rest.append(word)
    return (kinds[0], " ".join(rest)) if len(kinds) == 1 else None


def parts(root: Path) -> dict[str, Path]:
    """The folders of a data set's parts, `train` and `test` (which a `val` stands in for); empty if
    there are none.

    They may lie in a folder of their own, as may what is in them:
    root/archive/seg_train/seg_train/<class>.

    Raises:
        ParameterError: names of parts stand beside other folders of images, so that either may be
            meant.
    """
    if not root.is_dir():
        return {}
    found = _parts_in(root)
    if found:
        return {split: _unwrapped(path) for split, path in found.items()}
    inner = _only_subfolder(root)
    return parts(inner) if inner else {}


def _only_subfolder(folder: Path) -> Path | None:
    """The one subfolder that holds images, if there are none beside it."""
    if any(map(is_image, folder.iterdir())):
        return None
    holders = list(islice(filter(_holds_images, subfolders(folder)), 2))
    return holders[0] if len(holders) == 1 else None


def _holds_images(folder: Path) -> bool:
    """Whether there is an image below a folder; the search ends at the first one."""
    return any(os.path.exists(path) for _, path in _Walk([folder]))


def _unwrapped(part: Path) -> Path:
    """The folder in a part that is only a wrapper: seg_train/seg_train, train/images."""
    inner = _only_subfolder(part)
    if inner is None:
        return part
    is_wrapper = part_of(inner.name) or _WRAPPER.fullmatch(inner.name.casefold())
    return _unwrapped(inner) if is_wrapper else part


def _parts_in(root: Path) -> dict[str, Path]:
    """The parts among the subfolders; empty if these are classes.

    Raises:
        ParameterError: they may be either.
    """
    inside = subfolders(root)
    named = _by_name(inside)
    # "test tube" is a class, unless there is a "train tube" too.
    candidates = {}
    for rest, kinds in named.items():
        if len(_splits(kinds)) >= (2 if rest else 1):
            candidates[rest] = kinds
    if not candidates:
        _refuse_rests_that_differ(root, inside, named)
        return {}
    chosen = candidates.get("") or next(iter(candidates.values()))
    own = [path for paths in chosen.values() for path in paths]
    others = [path for path in inside if path not in own and _holds_images(path)]
    if others and not any(map(_holds_images, own)):  # an empty "train" beside classes
        return {}
    splits = _splits(chosen)
    one_each = all(len(paths) == 1 for paths in splits.values())
    folders = [paths[0] for paths in splits.values()]
    if not one_each or others and not _same_classes(folders):
        raise _either(root, own, others)
    return dict(zip(splits, folders, strict=True))


def _by_name(folders: list[Path]) -> Named:
    """The folders that are called like parts of a data set."""
    named: Named = {}
    for path in folders:
        part = part_of(path.name)
        if part:
            kind, rest = part
            named.setdefault(rest, {}).setdefault(kind, []).append(path)
    return named


def _splits(kinds: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Of folders by kind those of train and of test, if there are any; a val stands in for a
    test."""
    test = kinds.get("test") or kinds.get("val")
    splits = {"train": kinds.get("train"), "test": test}
    return {split: paths for split, paths in splits.items() if paths}


def _refuse_rests_that_differ(root: Path, inside: list[Path], named: Named) -> None:
    """Raise ParameterError for train_augmented beside test_clean with the same class folders, which
    no two classes have."""

    def of_kind(kind: str) -> list[Path]:
        return [path for kinds in named.values() for path in kinds.get(kind, [])]

    for train, test in product(of_kind("train"), of_kind("test") + of_kind("val")):
        if _same_classes([train, test]):
            others = [path for path in inside if path not in (train, test) and _holds_images(path)]
            raise _either(root, [train, test], others)


def _same_classes(folders: list[Path]) -> bool:
    """Whether there are two folders with two class folders in common: then they are parts, whatever
    lies beside them."""
    names = [set(class_folders(_unwrapped(folder))) for folder in folders]
    return len(names) == 2 and len(names[0] & names[1]) > 1


def _either(root: Path, own: list[Path], others: list[Path]) -> ParameterError:
    """The error for folders that may be parts or classes."""
    what = f"parts of a data set ({', '.join(printable(path.name) for path in own)})"
    if others:
        names = ", ".join(printable(path.name) for path in others[:3])
        what += f" beside others ({names}{', …' if len(others) > 3 else ''})"
    train, test = (printable(str(root / split)) for split in ("train", "test"))
    rule = "parts must be called train and test, with nothing but them in the folder"
    cure = f"put all classes into {train} and, other images of them, into {test}"
    problem = f"{printable(str(root))} holds folders that are called like {what}"
    return ParameterError(f"data_root: {problem}: {rule}; if these are classes, {cure}.")
