"""People's folders: which files in them are images, each once, and which folders are parts of a
data set."""

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence, Set
from itertools import islice, product
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from infomax_nb.errors import ParameterError, printable

FORMATS = (*IMG_EXTENSIONS, ".gif", ".jfif")

_NAMES = json.loads(Path(__file__).with_name("folder_names.json").read_text("utf-8"))
# What file servers, Macs, cameras and editors leave beside images: copies, previews, bins. In any
# case of letters.
COMPANIONS = frozenset(_NAMES["companions"])
_KINDS: dict[str, list[str]] = _NAMES["parts"]
_KIND = {word: kind for kind, words in _KINDS.items() for word in words}
# of no meaning here
_FILLER = r"(?:seg|sets?|data|dataset|images?|imgs?|pictures?|pics?|photos?|folder|split|part)"
_WORD = "|".join(sorted(_KIND, key=len, reverse=True))
_GLUED = re.compile(rf"{_FILLER}?({_WORD}){_FILLER}?")  # trainset, testimages


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of its owner's own: a dot in front, or one of
    `COMPANIONS`."""
    return (
        name.startswith(".") or name.casefold() in COMPANIONS or name.casefold().endswith(".lrdata")
    )


def _within(inner: str, outer: str) -> bool:
    """Whether one real path is the other one, or lies below it."""
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; without hidden ones, and without links to a folder that
    holds this one."""
    real = os.path.realpath(folder)
    inside = sorted(path for path in folder.iterdir() if not hidden(path.name) and path.is_dir())
    return [
        path for path in inside if not (path.is_symlink() and _within(real, os.path.realpath(path)))
    ]


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder; a link into another one of them is a second name of what is
    there already."""
    kept: dict[str, str] = {}
    for path in sorted(subfolders(folder), key=Path.is_symlink):  # links last
        real = os.path.realpath(path)
        if not path.is_symlink() or not any(_within(real, other) for other in kept):
            kept[real] = path.name
    return sorted(kept.values())


# --- Images, each once ----------------------------------------------------------------------------


def images_below(roots: Sequence[Path]) -> list[list[str]]:
    """Paths of the images below each of the roots, however deep, sorted: each real file once,
    whatever the links.

    A file belongs to where it lies; one that only links lead to belongs to where the fewest of them
    lead to, and then to the first of the roots. Of hard links to one file the first counts. A link
    to a folder above itself, or above the roots, is not followed. Links to nothing are listed, so
    that whoever opens them says so.
    """
    walk = _Walk(os.path.commonpath(roots), len(roots))
    now = [(k, str(root), os.path.realpath(root)) for k, root in enumerate(roots)]
    later = [way for way in now if not walk.is_straight(way)]
    now = [way for way in now if walk.is_straight(way)]
    while now or later:
        links = [link for way in now for link in walk.visit(*way)]
        now = later + links
        later = []
    return [sorted(found, key=os.path.split) for found in walk.found]


class _Walk:
    """One pass over all roots; `found` has a list of paths for each."""

    def __init__(self, base: str, n: int):
        self.base = base
        self.real_base = os.path.realpath(base)
        self.found: list[list[str]] = [[] for _ in range(n)]
        self.seen: set = (
            set()
        )  # real paths of folders and files, (device, inode) of files with several names

    def is_straight(self, way: tuple[int, str, str]) -> bool:
        """Whether no link leads from the base to the root."""
        _, path, real = way
        return real == os.path.normpath(
            os.path.join(self.real_base, os.path.relpath(path, self.base))
        )

    def visit(self, k: int, path: str, real: str) -> Iterator[tuple[int, str, str]]:
        """List the image, or the folder as far as it goes without links; yields the links."""
        if not os.path.isdir(real):
            if not os.path.exists(real) and _is_shown(path):
                self.found[k].append(path)  # a link to nothing
            elif _is_shown(path):
                self._list(k, path, real, os.stat(real))
            return
        for at, inner, files in os.walk(path, onerror=_raise):
            real_at = os.path.normpath(os.path.join(real, os.path.relpath(at, path)))
            if real_at in self.seen:
                inner.clear()
                continue
            self.seen.add(real_at)
            inner[:] = sorted(name for name in inner if not hidden(name))
            for name in [*inner, *filter(_is_shown, sorted(files))]:
                below = os.path.join(at, name)
                status = os.lstat(below)
                if stat.S_ISREG(status.st_mode):
                    self._list(k, below, os.path.join(real_at, name), status)
                elif stat.S_ISLNK(status.st_mode):
                    target = os.path.realpath(below)
                    if not _within(real_at, target) and not _within(self.real_base, target):
                        yield k, below, target

    def _list(self, k: int, path: str, real: str, status: os.stat_result) -> None:
        names: set = {real}
        if status.st_nlink > 1:
            names.add((status.st_dev, status.st_ino))
        if stat.S_ISREG(status.st_mode) and self.seen.isdisjoint(names):
            self.seen |= names
            self.found[k].append(path)


def _is_shown(path: str) -> bool:
    """Whether a file is an image by its name."""
    return path.lower().endswith(FORMATS) and not os.path.basename(path).startswith(".")


def _raise(error: OSError) -> None:
    raise error


def _is_image(path: Path) -> bool:
    return _is_shown(path.name) and path.is_file()


def _holds_images(folder: Path) -> bool:
    """Whether there is an image below a folder; the search ends at the first one."""
    been: set[str] = set()
    ahead = [folder]
    while ahead:
        here = ahead.pop()
        real = os.path.realpath(here)
        if real in been:
            continue
        been.add(real)
        if any(map(_is_image, here.iterdir())):
            return True
        ahead += subfolders(here)
    return False


# --- Parts of a data set --------------------------------------------------------------------------


def part_of(name: str) -> tuple[str, str] | None:
    """(kind, rest) of a folder called like a part of a data set: "Seg_Train" is ("train", ""),
    "cats-val" ("val", "cats"). Kinds are train, test, val and more; None for other names.
    """
    kinds = []
    rest = []
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # trainA, catsTest
    for word in re.findall(r"[^\W\d_]+", apart.casefold()):
        glued = _GLUED.fullmatch(word)
        if glued:
            kinds.append(_KIND[glued[1]])
        elif not re.fullmatch(_FILLER, word):
            rest.append(word)
    return (kinds[0], " ".join(rest)) if len(kinds) == 1 else None


def parts(root: Path) -> dict[str, Path]:
    """The folders of a data set's parts, `train` and `test` (which a `val` stands in for); empty if
    there are none.

    They may lie in a folder of their own, as may what is in them:
    root/archive/seg_train/seg_train/<class>.

    Raises ParameterError where names of parts stand beside other folders of images, so that either
    may be meant.
    """
    here = root if root.is_dir() else None
    while here is not None:
        inside = subfolders(here)
        found = _parts_among(here, inside)
        if found:
            return {kind: _unwrapped(path) for kind, path in found.items()}
        here = _only(here, inside)
    return {}


def _only(folder: Path, inside: list[Path]) -> Path | None:
    """The one of the folders inside that holds images, if there are none beside it."""
    if any(map(_is_image, folder.iterdir())):
        return None
    holders = list(islice(filter(_holds_images, inside), 2))
    return holders[0] if len(holders) == 1 else None


def _unwrapped(part: Path) -> Path:
    """The folder in a part that is only a wrapper: seg_train/seg_train, train/images."""
    while inner := _only(part, subfolders(part)):
        name = part_of(inner.name)
        if name is None and not re.fullmatch(rf"[\W\d_]*{_FILLER}[\W\d_]*", inner.name.casefold()):
            break
        part = inner
    return part


def _parts_among(root: Path, inside: list[Path]) -> dict[str, Path]:
    """The parts among the folders inside; empty if these are classes. ParameterError if they may be
    either."""
    named: dict[str, dict[str, list[Path]]] = {}
    for path in inside:
        kind, rest = part_of(path.name) or ("", "")
        if kind:
            named.setdefault(rest, {}).setdefault(kind, []).append(path)
    # "test tube" is a class, unless there is a "train tube" too.
    groups = {rest: of for rest, of in named.items() if _is_meant(rest, of.keys())}
    if not groups:
        _refuse_rests_that_differ(root, inside, named)
        return {}
    chosen = groups.get("") or next(iter(groups.values()))
    mine = [path for of in chosen.values() for path in of]
    others = [path for path in inside if path not in mine and _holds_images(path)]
    if others and not any(map(_holds_images, mine)):
        return {}
    test = "test" if "test" in chosen else "val"
    found = {
        name: chosen[kind] for name, kind in (("train", "train"), ("test", test)) if kind in chosen
    }
    single = all(len(paths) == 1 for paths in found.values())
    if not single or others and not _same_classes(found):
        raise ParameterError(_either(root, mine, others))
    return {name: paths[0] for name, paths in found.items()}


def _refuse_rests_that_differ(
    root: Path, inside: list[Path], named: dict[str, dict[str, list[Path]]]
) -> None:
    """ParameterError for train_augmented beside test_clean if they hold the same class folders: no
    two classes do."""
    trains = [path for of in named.values() for path in of.get("train", [])]
    tests = [path for kind in ("test", "val") for of in named.values() for path in of.get(kind, [])]
    for train, test in product(trains, tests):
        if _same_classes({"train": [train], "test": [test]}):
            others = [path for path in inside if path not in (train, test) and _holds_images(path)]
            raise ParameterError(_either(root, [train, test], others))


def _is_meant(rest: str, kinds: Set[str]) -> bool:
    """Whether names with this rest in common say parts; with one there must be two of them."""
    tests = kinds & {"test", "val"}
    return "train" in kinds and bool(tests) if rest else "train" in kinds or bool(tests)


def _same_classes(found: dict[str, list[Path]]) -> bool:
    """Whether there are two parts with two class folders in common: then they are parts, whatever
    lies beside them."""
    names = [set(class_folders(_unwrapped(paths[0]))) for paths in found.values()]
    return len(names) == 2 and len(names[0] & names[1]) > 1


def _either(root: Path, mine: list[Path], others: list[Path]) -> str:
    called = ", ".join(printable(path.name) for path in mine)
    beside = ", ".join(printable(path.name) for path in others[:3]) + ", …" * (len(others) > 3)
    return (
        f"data_root: {printable(str(root))} holds folders that are called like parts of a data set ({called})"
        + (f" beside others ({beside})" if others else "")
        + f": parts must be called train and test, with nothing but them in the folder; if these are classes, put "
        f"all classes into {printable(str(root / 'train'))} and, other images of them, into "
        f"{printable(str(root / 'test'))}."
    )
