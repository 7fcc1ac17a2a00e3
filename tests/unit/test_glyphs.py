"""The embedded data: what its images, masks and labels are, told by other means than the
generator's."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from infomax_nb import config
from infomax_nb.data import glyphs
from infomax_nb.errors import ParameterError

FONT = font_manager.findfont("DejaVu Sans", fallback_to_default=False)


def extent(picture: Image.Image, size: int = 24) -> np.ndarray:
    """What is not black in a picture, stretched to a square, 0..1."""
    part = picture.crop(picture.getbbox())
    return np.asarray(part.resize((size, size), Image.Resampling.BOX), float) / 255


def ink(symbol: str, size: int = 24) -> np.ndarray:
    """The extent of the symbol's own bitmap."""
    page = Image.new("L", (400, 400))
    font = ImageFont.truetype(FONT, 120)
    ImageDraw.Draw(page).text((100, 100), symbol, fill=255, font=font)
    return extent(page, size)


@pytest.fixture(scope="module")
def drawn():
    return glyphs.make("test", 48)


@pytest.mark.parametrize("n", [2, 10, 48, 100, glyphs.MAX_CLASSES])
def test_classes(n):
    pairs = glyphs.classes(n)
    groups = [g for g, _ in pairs]
    assert len(pairs) == len(set(pairs)) == len({s for _, s in pairs}) == n
    assert sum(a != b for a, b in pairwise(groups)) == len(set(groups)) - 1  # groups together
    assert all(symbol in glyphs.GROUPS[group] for group, symbol in pairs)
    if n == 48:
        assert [groups.count(g) for g in dict.fromkeys(groups)] == [6] * 8
    if n == glyphs.MAX_CLASSES:
        assert sorted(s for _, s in pairs) == sorted("".join(glyphs.GROUPS.values()))


@pytest.mark.parametrize("bad", [1, 0, -3, glyphs.MAX_CLASSES + 1])
def test_bad_number_of_classes(bad):
    with pytest.raises(ValueError) as error:
        glyphs.classes(bad)
    assert f"n_classes = {bad}" in str(error.value)
    assert f"2 to {glyphs.MAX_CLASSES}" in str(error.value)


def test_configuration_admits_as_many_classes_as_there_are():
    config.TrainConfig(n_classes=glyphs.MAX_CLASSES)
    with pytest.raises(ParameterError, match=str(glyphs.MAX_CLASSES)):
        config.TrainConfig(n_classes=glyphs.MAX_CLASSES + 1)


def test_every_symbol_is_in_the_font_and_looks_like_no_other():
    symbols = [s for _, s in glyphs.classes(glyphs.MAX_CLASSES)]
    font = FT2Font(FONT)
    assert [s for s in symbols if font.get_char_index(ord(s)) == 0] == []
    pictures = np.stack([ink(s, 32).ravel() for s in symbols])
    difference = np.stack([np.abs(pictures - p).mean(1) for p in pictures]) + np.eye(len(symbols))
    twins = {f"{symbols[i]}{symbols[j]}" for i, j in np.argwhere(difference < 1e-3) if i < j}
    assert twins == set()


@pytest.mark.parametrize(("split", "size"), [("train", 32), ("test", 32), ("test", 48)])
def test_shapes_and_balance(split, size):
    images, masks, labels = glyphs.make(split, 10, size)
    count = 10 * glyphs.PER_CLASS[split]
    assert (images.shape, images.dtype) == ((count, 3, size, size), np.uint8)
    assert (masks.shape, masks.dtype) == ((count, size, size), bool)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    assert np.bincount(labels).tolist() == [glyphs.PER_CLASS[split]] * 10
    assert (np.diff(labels) != 0).mean() > 0.8  # in random order


def brightness(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Mean of each image (3, H, W) within its mask (H, W)."""
    grey = images.mean(1)
    return np.array([image[mask].mean() for image, mask in zip(grey, masks, strict=True)])


def test_masks_are_where_the_symbols_are(drawn):
    images, masks, _ = drawn
    inside = brightness(images, masks)
    assert (inside < brightness(images, ~masks) - 25).mean() > 0.99
    share = masks.mean((1, 2))
    assert share.min() > 0.005
    assert share.max() < 0.8  # a filled square of the largest size has 0.88 ** 2
    # A mask that is shifted by three pixels is a worse one.
    shifted = brightness(images, np.roll(masks, 3, axis=2))
    assert (inside < shifted).mean() > 0.99


def test_labels_name_the_symbol_that_is_drawn(drawn):
    """Each mask, cut to its extent, against every symbol's own bitmap."""
    _, masks, labels = drawn
    templates = np.stack([ink(s).ravel() for _, s in glyphs.classes(48)])
    pictures = [Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks]
    cuts = np.stack([extent(picture).ravel() for picture in pictures])
    distance = (cuts**2).sum(1)[:, None] - 2 * cuts @ templates.T + (templates**2).sum(1)
    right = distance.argmin(1) == labels
    assert right.mean() > 0.75  # chance is 2%; tilted by 12 degrees a template fits less well
    # No class has another one's label.
    assert min(right[labels == k].mean() for k in range(48)) > 0.1


def test_textured_glyphs_have_the_texture_outside_of_the_mask():
    images, masks, labels = glyphs.make("test", 10, textured=True)
    pairs = list(zip(images, masks, strict=True))
    inside = np.array([image[:, mask].std(1).mean() for image, mask in pairs])
    outside = np.array([image[:, ~mask].std(1).mean() for image, mask in pairs])
    assert (inside < outside).mean() > 0.97
    assert np.bincount(labels).tolist() == [glyphs.PER_CLASS["test"]] * 10


def test_the_same_call_gives_the_same(drawn):
    again = glyphs.make("test", 48)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_the_global_generator_plays_no_part():
    np.random.seed(1)
    small = glyphs.make("test", 10)
    np.random.seed(2)
    again = glyphs.make("test", 10)
    assert all(np.array_equal(a, b) for a, b in zip(small, again, strict=True))


def test_no_image_comes_twice_in_a_split_or_in_two():
    seen: set[bytes] = set()
    for split, seed in (("train", 0), ("test", 0), ("train", 1), ("test", 1)):
        images = {image.tobytes() for image in glyphs.make(split, 10, seed=seed).images}
        assert len(images) == 10 * glyphs.PER_CLASS[split]
        assert not images & seen
        seen |= images
