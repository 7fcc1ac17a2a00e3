"""`glyphs`: images of symbols drawn from matplotlib's own DejaVu Sans, with masks and two levels of
labels.

Groups of symbols are the coarse classes, symbols the fine ones. The generator is frozen: a test
holds a hash of its pixels, and results in `reports/` depend on it.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GROUPS: dict[str, str] = json.loads(Path(__file__).with_name("glyphs.json").read_text("utf-8"))
MAX_CLASSES = sum(map(len, GROUPS.values()))
PER_CLASS = {"train": 100, "test": 50}
_SPLIT_SEED = {"train": 11, "test": 12}
_OVERSAMPLE, _FONT_PIXELS = 4, 160


def classes(n: int) -> list[tuple[str, str]]:
    """The n (group, symbol) pairs in use, groups together: six symbols a group at first (48 = 8
    groups of 6)."""
    if not 2 <= n <= MAX_CLASSES:
        raise ValueError(f"n_classes = {n} is not allowed: glyphs has 2 to {MAX_CLASSES} classes.")
    names = list(GROUPS)[: min(len(GROUPS), max(2, round(n / 6)))]
    ranked = [(rank, g) for rank in range(64) for g in names if rank < len(GROUPS[g])]
    ranked += [(rank, g) for g in GROUPS if g not in names for rank in range(len(GROUPS[g]))]
    return [
        (g, GROUPS[g][rank]) for g in GROUPS for rank, other in sorted(ranked[:n]) if other == g
    ]


@lru_cache(maxsize=512)
def _stencil(symbol: str) -> Image.Image:
    """The symbol's coverage, 0 to 255, cut to its ink and centred on a square."""
    from matplotlib import font_manager

    font = ImageFont.truetype(
        font_manager.findfont("DejaVu Sans", fallback_to_default=False), _FONT_PIXELS
    )
    page = Image.new("L", (3 * _FONT_PIXELS, 3 * _FONT_PIXELS))
    ImageDraw.Draw(page).text((_FONT_PIXELS, _FONT_PIXELS), symbol, fill=255, font=font)
    ink = page.crop(page.getbbox())
    square = Image.new("L", (max(ink.size), max(ink.size)))
    square.paste(ink, ((square.width - ink.width) // 2, (square.height - ink.height) // 2))
    return square


def _cover(symbol: str, size: int, pixels: float, x: float, y: float, degrees: float) -> np.ndarray:
    """Coverage (size, size) in 0..1 of the symbol, `pixels` large, centred at (x, y), turned by
    `degrees`."""
    stencil, fine = _stencil(symbol), size * _OVERSAMPLE
    zoom = stencil.width / (pixels * _OVERSAMPLE)
    cos, sin = np.cos(np.radians(degrees)) * zoom, np.sin(np.radians(degrees)) * zoom
    x, y, c = x * _OVERSAMPLE, y * _OVERSAMPLE, stencil.width / 2
    matrix = (cos, sin, c - cos * x - sin * y, -sin, cos, c + sin * x - cos * y)
    turned = stencil.transform(
        (fine, fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(turned.reduce(_OVERSAMPLE), dtype=np.float32) / 255


def stencils(n: int) -> list[bytes]:
    """The n symbols as this machine draws them: what the images depend on beside this module."""
    return [_stencil(symbol).tobytes() for _, symbol in classes(n)]


def make(split: str, n: int = 48, size: int = 32, seed: int = 0, textured: bool = False):
    """The split's images, masks and labels, the same on every machine: `PER_CLASS[split]` of each
    class, mixed.

    Each image has a random position, scale, tilt and colours, and a nearly plain background.

    Args:
        n: number of classes. size: pixels of the square images. textured: a coloured texture of its
            own behind each symbol. seed: names another draw of the same distribution (0 is the one
            that results refer to).

    Returns: images (M, 3, size, size) uint8; masks (M, size, size) bool, True on the symbol; labels
        (M,) in 0..n-1.
    """
    rng = np.random.default_rng([_SPLIT_SEED[split], seed, n, size])
    labels = rng.permutation(np.repeat(np.arange(n), PER_CLASS[split]))
    symbols, count = classes(n), len(labels)
    pixels = rng.uniform(0.58, 0.88, count) * size
    free = 0.62 * (size - 0.9 * pixels) / 2
    x, y = (size / 2 + rng.uniform(-1, 1, (2, count)) * free).astype(np.float64)
    tilt = rng.uniform(-12, 12, count)
    dark, light = rng.uniform(0, 0.2, (count, 1)), rng.uniform(0.8, 1, (count, 1))
    ink, paper = np.stack([dark, light]) + rng.normal(0, 0.02, (2, count, 3))
    slope = rng.normal(0, 0.02, (2, count, 1, 1, 1))
    ramp = np.linspace(-1, 1, size)
    images, masks = np.empty((count, 3, size, size), np.uint8), np.empty((count, size, size), bool)
    for k, label in enumerate(labels):
        alpha = _cover(symbols[label][1], size, pixels[k], x[k], y[k], tilt[k])
        back = paper[k][:, None, None] + slope[0, k] * ramp + slope[1, k] * ramp[:, None]
        if textured:
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            back = (
                np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
                / 255
            )
        image = (
            back * (1 - alpha)
            + ink[k][:, None, None] * alpha
            + rng.normal(0, 0.01, (3, size, size))
        )
        images[k] = np.clip(np.rint(image * 255), 0, 255)
        masks[k] = alpha > 0.5
    return images, masks, labels
