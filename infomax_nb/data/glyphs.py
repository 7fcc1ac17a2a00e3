"""`glyphs`: images of symbols in matplotlib's DejaVu Sans, with masks and two levels of labels.

Groups of symbols are the coarse classes, symbols the fine ones. The generator is frozen: a test
checks a hash of its pixels, and results in `reports/` depend on it.
"""

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infomax_nb.symbols import GROUPS, MAX_CLASSES

PER_CLASS = {"train": 100, "test": 50}
_SPLIT_SEED = {"train": 11, "test": 12}
_FINE = 4  # symbols are drawn this many times larger, then reduced
_FONT_PIXELS = 160


class Glyphs(NamedTuple):
    """A split: images, masks and labels.

    `images`: uint8 (M, 3, size, size); `masks`: bool (M, size, size), True on the symbol; `labels`:
    (M,), the number of the class.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray


def classes(n: int) -> list[tuple[str, str]]:
    """The n (group, symbol) pairs in use, groups together.

    At first each group has about six symbols (48 is 8 groups of 6); then the groups grow.

    Raises:
        ValueError: there are fewer than n symbols, or n is below 2.
    """
    if not 2 <= n <= MAX_CLASSES:
        raise ValueError(f"n_classes = {n} is not allowed: glyphs has 2 to {MAX_CLASSES} classes.")
    first = list(GROUPS)[: max(2, round(n / 6))]
    # The groups of the symbols in order of use: the first groups in turn, then the others.
    turns = [name for k in range(64) for name in first if k < len(GROUPS[name])]
    turns += [name for name in GROUPS if name not in first for _ in GROUPS[name]]
    used = Counter(turns[:n])
    pairs: list[tuple[str, str]] = []
    for name, symbols in GROUPS.items():
        pairs += [(name, symbol) for symbol in symbols[: used[name]]]
    return pairs


def stencils(n: int) -> list[bytes]:
    """The n symbols as this machine draws them, on which the images depend besides this module."""
    return [_stencil(symbol).tobytes() for _, symbol in classes(n)]


def make(split: str, n: int = 48, size: int = 32, seed: int = 0, textured: bool = False) -> Glyphs:
    """The split's images, masks and labels, `PER_CLASS[split]` of each class, in random order.

    Each image has a random position, scale, tilt and colours, and a nearly plain background. They
    are the same on every machine with the same font.

    Args:
        split: `train` or `test`.
        n: number of classes.
        size: side of the square images in pixels.
        seed: selects a draw from the same distribution; results refer to 0.
        textured: whether each symbol has its own coloured texture behind it.

    Returns:
        Images (M, 3, size, size), masks (M, size, size) and labels (M,) in 0..n-1.
    """
    rng = np.random.default_rng([_SPLIT_SEED[split], seed, n, size])
    labels = rng.permutation(np.repeat(np.arange(n), PER_CLASS[split]))
    symbols = [symbol for _, symbol in classes(n)]
    count = len(labels)
    extent = rng.uniform(0.58, 0.88, count) * size
    free = 0.62 * (size - 0.9 * extent) / 2
    x, y = size / 2 + rng.uniform(-1, 1, (2, count)) * free
    tilt = rng.uniform(-12, 12, count)
    dark = rng.uniform(0, 0.2, (count, 1))
    light = rng.uniform(0.8, 1, (count, 1))
    colours = np.stack([dark, light]) + rng.normal(0, 0.02, (2, count, 3))
    ink, paper = colours[..., None, None]
    slope_x, slope_y = rng.normal(0, 0.02, (2, count, 1, 1, 1))
    ramp = np.linspace(-1, 1, size)
    images = np.empty((count, 3, size, size), np.uint8)
    masks = np.empty((count, size, size), bool)
    for k, label in enumerate(labels):
        cover = _cover(symbols[label], size, extent[k], x[k], y[k], tilt[k])
        back = paper[k] + slope_x[k] * ramp + slope_y[k] * ramp[:, None]
        if textured:
            back = _texture(rng, size)
        noise = rng.normal(0, 0.01, (3, size, size))
        image = back * (1 - cover) + ink[k] * cover + noise
        images[k] = np.clip(np.rint(image * 255), 0, 255)
        masks[k] = cover > 0.5
    return Glyphs(images, masks, labels)


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth random colours (3, size, size) in 0..1."""
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    fine = coarse.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(fine).transpose(2, 0, 1) / 255


def _cover(symbol: str, size: int, extent: float, x: float, y: float, degrees: float) -> np.ndarray:
    """How much of each pixel the symbol covers, (size, size) in 0..1.

    It is `extent` pixels large, centred at (x, y) and turned by `degrees`.
    """
    stencil = _stencil(symbol)
    centre = stencil.width / 2
    zoom = stencil.width / (extent * _FINE)
    cos = np.cos(np.radians(degrees)) * zoom
    sin = np.sin(np.radians(degrees)) * zoom
    x = x * _FINE
    y = y * _FINE
    # PIL's affine map goes from a pixel of the result to one of the stencil.
    matrix = (cos, sin, centre - cos * x - sin * y, -sin, cos, centre + sin * x - cos * y)
    square = (size * _FINE, size * _FINE)
    turned = stencil.transform(square, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(turned.reduce(_FINE), dtype=np.float32) / 255


@lru_cache(maxsize=512)
def _stencil(symbol: str) -> Image.Image:
    """The symbol's coverage, 0 to 255, cut to its ink and centred on a square."""
    from matplotlib import font_manager

    file = font_manager.findfont("DejaVu Sans", fallback_to_default=False)
    font = ImageFont.truetype(file, _FONT_PIXELS)
    page = Image.new("L", (3 * _FONT_PIXELS, 3 * _FONT_PIXELS))
    ImageDraw.Draw(page).text((_FONT_PIXELS, _FONT_PIXELS), symbol, fill=255, font=font)
    ink = page.crop(page.getbbox())
    side = max(ink.size)
    square = Image.new("L", (side, side))
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return square
