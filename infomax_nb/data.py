"""Data sets in their publishers' layouts, as uint8 tensors that live on the training device.

`load(name, root, split)` returns an `ImageSet`. `root` is where the data lie; nothing is read for `glyphs`.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import glyphs
from .config import ParameterError, project_root

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W), labels int64 (N,), -1 where there is none; names of the classes.

    `coarse`: (classes,) superclass of each class, or None; `coarse_names`. `masks`: bool (N, H, W), or None.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    coarse: Tensor | None = None
    coarse_names: list[str] | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> "ImageSet":
        masks = None if self.masks is None else self.masks[rows]
        return replace(self, images=self.images[rows], labels=self.labels[rows], masks=masks)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set with images and labels on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def load(
    name: str,
    root: str | Path = "data",
    split: str = "train",
    n: int | None = None,
    seed: int = 0,
    n_classes: int = 48,
    image_size: int | None = None,
) -> ImageSet:
    """Load a split of a data set.

    Args:
        name: `glyphs`, `glyphs_textured`, `fashion_mnist`, `cifar10` or `stl10`.
        root: the folder that holds the data; a relative one is looked for from here, then from the project.
        split: `train` or `test`; STL-10 has `unlabeled` (train + unlabeled, labels -1 there), too.
        n: images to keep, the same number of each class as far as possible, drawn by `seed`; None keeps all.
        seed: of the subset; for glyphs, `split="test"` with `n=None` is the same whatever the seed.
        n_classes: number of classes of glyphs.
        image_size: pixels; None keeps the data set's own size.

    Raises ParameterError that says what is missing, where it was looked for and how to get it.
    """
    splits = ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")
    if split not in splits:
        raise ParameterError(f"split = {split!r} is not allowed: {name} has {', '.join(splits)}.")

    def pick(labels: Tensor) -> Tensor:
        if n is None:
            return torch.arange(len(labels))
        if n > len(labels):
            raise ParameterError(f"n_train = {n} is not allowed: the {split} split of {name} has {len(labels)} images.")
        return stratified(labels, n, seed)

    if name in ("glyphs", "glyphs_textured"):
        data = _glyphs(split, n_classes, image_size or 32, name == "glyphs_textured")
    elif name in _READERS:
        data = _READERS[name](_find(root), split, pick)
    else:
        raise ParameterError(
            f"dataset = {name!r} is not allowed: it must be one of glyphs, glyphs_textured, {', '.join(_READERS)}."
        )
    if n is not None and len(data) != n:
        data = data[pick(data.labels)]
    if image_size and data.images.shape[-1] != image_size:
        data = replace(data, images=_resize(data.images, image_size))
    return data


def stratified(labels: Tensor, n: int, seed: int) -> Tensor:
    """Indices of n of the labels (N,), as many of each class as of any other (up to rounding), in random order."""
    rng = np.random.default_rng([7, seed])
    order = rng.permutation(len(labels))
    shuffled = labels.cpu().numpy()[order]
    by_class = np.argsort(shuffled, kind="stable")
    starts = np.searchsorted(shuffled[by_class], shuffled[by_class])
    rank = np.empty(len(labels), int)
    rank[by_class] = np.arange(len(labels)) - starts  # how many of the class came before
    chosen = np.argsort(rank, kind="stable")[:n]
    return torch.from_numpy(order[np.sort(chosen)])


def stream(seed: int, epoch: int, use: int) -> int:
    """A seed for one use of random numbers in one epoch: a resumed run draws what an uninterrupted one does."""
    return int(np.random.SeedSequence([seed, epoch, use]).generate_state(1, np.uint64)[0] >> 1)


def batches(
    data: ImageSet, size: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled (images, labels) of `size`, the last incomplete one dropped; the order depends on (seed, epoch) alone.

    With several processes each takes its share of every global batch of `size` images.
    """
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(stream(seed, epoch, 0)))
    for start in range(0, len(data) - size + 1, size):
        rows = order[start : start + size].tensor_split(world)[rank].to(data.images.device)
        yield data.images[rows], data.labels[rows]


def _glyphs(split: str, n_classes: int, size: int, textured: bool) -> ImageSet:
    images, masks, labels = glyphs.make(split, n_classes, size, textured=textured)
    pairs = glyphs.classes(n_classes)
    groups = list(dict.fromkeys(g for g, _ in pairs))
    coarse = torch.tensor([groups.index(g) for g, _ in pairs])
    names = [symbol for _, symbol in pairs]
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels), names, coarse, groups, torch.from_numpy(masks))


def _find(root: str | Path) -> Path:
    folder = Path(root).expanduser()
    for place in (folder, project_root() / folder):
        if place.is_dir():
            return place
    return folder


def _missing(what: str, looked: list[Path], get: str) -> ParameterError:
    places = " and ".join(str(p.resolve()) for p in looked)
    return ParameterError(f"data_root: {what} was not found; looked for {places}. {get}")


def _fashion_mnist(root: Path, split: str, pick: Callable[[Tensor], Tensor]) -> ImageSet:
    """torchvision's layout `<root>/FashionMNIST/raw`, or Debian's package dataset-fashion-mnist."""
    from torchvision.datasets import FashionMNIST

    prefix = "train" if split == "train" else "t10k"
    places = [root / "FashionMNIST" / "raw", root, DEBIAN_FASHION_MNIST]
    for folder in places:
        images, labels = (
            _idx(folder / f"{prefix}-images-idx3-ubyte"),
            _idx(folder / f"{prefix}-labels-idx1-ubyte"),
        )
        if images is not None and labels is not None:
            if len(images) != len(labels):
                raise ParameterError(
                    f"data_root: {folder} holds {len(images)} {prefix} images but {len(labels)} labels."
                )
            images = torch.nn.functional.pad(images, (2, 2, 2, 2))  # 28 to 32 pixels, as is usual
            return ImageSet(
                images[:, None].expand(-1, 3, -1, -1).contiguous(), labels.long(), list(FashionMNIST.classes)
            )
    get = f"torchvision.datasets.FashionMNIST({str(root)!r}, download=True) or Debian's dataset-fashion-mnist has it."
    raise _missing("Fashion-MNIST", places, get)


def _idx(path: Path) -> Tensor | None:
    """A file in MNIST's IDX format, packed as `<path>.gz` or not; None if there is neither."""
    found = next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)
    if found is None:
        return None
    try:
        raw = (gzip.open if found.suffix == ".gz" else open)(found, "rb").read()
        shape = np.frombuffer(raw, ">i4", raw[3], 4)
        return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise ParameterError(f"data_root: {found} is damaged: {error}") from None


def _cifar10(root: Path, split: str, pick: Callable[[Tensor], Tensor]) -> ImageSet:
    """torchvision's pickles (`<root>/cifar-10-batches-py`), or folders `<root>[/cifar10]/<split>/<class>` of images."""
    from torchvision.datasets import CIFAR10

    if (root / CIFAR10.base_folder).is_dir():
        try:
            data = CIFAR10(str(root), train=split == "train")  # checks the published MD5 sums before it unpickles
        except RuntimeError:
            raise ParameterError(
                f"data_root: a file of {root / CIFAR10.base_folder} is damaged: its MD5 differs from the published one."
            ) from None
        return ImageSet(
            torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(data.targets),
            data.classes,
        )
    for folder in (root / "cifar10" / split, root / split):
        if folder.is_dir():
            return _folder(folder, pick)
    get = f"torchvision.datasets.CIFAR10({str(root)!r}, download=True) fetches it."
    raise _missing("CIFAR-10", [root / CIFAR10.base_folder, root / "cifar10" / split], get)


def _folder(folder: Path, pick: Callable[[Tensor], Tensor]) -> ImageSet:
    """A folder of class folders of equally large images; only those that `pick` chooses are decoded."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    try:
        listing = ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise ParameterError(f"data_root: {error}") from None
    targets = torch.tensor(listing.targets)
    rows, images = pick(targets), []
    for path in [listing.samples[i][0] for i in rows.tolist()]:
        try:
            with Image.open(path) as image:
                images.append(torch.from_numpy(np.array(image.convert("RGB"))))
            if images[-1].shape != images[0].shape:
                sizes = f"{tuple(images[-1].shape[:2])} pixels, the first image {tuple(images[0].shape[:2])}"
                raise ParameterError(f"data_root: {path} has {sizes}; they must be of one size.")
        except OSError as error:
            raise ParameterError(f"data_root: {path} cannot be read as an image: {error}") from None
    return ImageSet(torch.stack(images).permute(0, 3, 1, 2).contiguous(), targets[rows], listing.classes)


def _stl10(root: Path, split: str, pick: Callable[[Tensor], Tensor]) -> ImageSet:
    """torchvision's layout of the publisher's binaries, `<root>/stl10_binary`."""
    from torchvision.datasets import STL10

    try:
        data = STL10(str(root), split="train+unlabeled" if split == "unlabeled" else split)
    except RuntimeError:
        get = f"torchvision.datasets.STL10({str(root)!r}, download=True) fetches it."
        raise _missing("STL-10, or one of its files with the published MD5,", [root / STL10.base_folder], get) from None
    return ImageSet(
        torch.from_numpy(data.data),
        torch.from_numpy(data.labels).long(),
        getattr(data, "classes", None) or [str(k) for k in range(10)],
    )


def _resize(images: Tensor, size: int) -> Tensor:
    """Bicubic, antialiased, in chunks."""
    from torch.nn.functional import interpolate

    return torch.cat([
        interpolate(chunk.float(), (size, size), mode="bicubic", antialias=True).round_().clamp_(0, 255).byte()
        for chunk in images.split(512)
    ])  # fmt: skip


_READERS = {"fashion_mnist": _fashion_mnist, "cifar10": _cifar10, "stl10": _stl10}
