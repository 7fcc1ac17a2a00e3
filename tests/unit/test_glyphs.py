"""The embedded data: what its images, masks and labels are, told by other means than the
generator's."""

from collections import Counter
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial.distance import cdist, pdist

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
def test_classes_are_different_symbols_with_groups_together(n):
    pairs = glyphs.classes(n)
    groups = [group for group, _ in pairs]
    symbols = {symbol for _, symbol in pairs}
    assert len(pairs) == len(symbols) == n
    borders = sum(before != after for before, after in pairwise(groups))
    assert borders == len(set(groups)) - 1
    assert all(symbol in glyphs.GROUPS[group] for group, symbol in pairs)


def test_48_classes_are_eight_groups_of_six():
    groups = [group for group, _ in glyphs.classes(48)]
    assert list(Counter(groups).values()) == [6] * 8


def test_at_most_all_symbols_are_classes():
    symbols = [symbol for _, symbol in glyphs.classes(glyphs.MAX_CLASSES)]
    assert sorted(symbols) == sorted("".join(glyphs.GROUPS.values()))


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
    distances = pdist(pictures, "cityblock") / pictures.shape[1]
    pairs = combinations(symbols, 2)
    twins = [pair for pair, far in zip(pairs, distances, strict=True) if far < 1e-3]
    assert twins == []


@pytest.mark.parametrize(("split", "size"), [("train", 32), ("test", 32), ("test", 48)])
def test_shapes_and_balance(split, size):
    images, masks, labels = glyphs.make(split, 10, size)
    count = 10 * glyphs.PER_CLASS[split]
    assert images.shape == (count, 3, size, size)
    assert masks.shape == (count, size, size)
    assert labels.shape == (count,)
    assert [images.dtype, masks.dtype, labels.dtype] == [np.uint8, bool, np.int64]
    assert np.bincount(labels).tolist() == [glyphs.PER_CLASS[split]] * 10
    assert (np.diff(labels) != 0).mean() > 0.8  # in random order


def brightness(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Mean of each image (3, H, W) within its mask (H, W)."""
    grey = images.mean(1)
    means = [image[mask].mean() for image, mask in zip(grey, masks, strict=True)]
    return np.array(means)


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
    nearest = cdist(cuts, templates).argmin(1)
    right = nearest == labels
    assert right.mean() > 0.75  # chance is 2%; tilted by 12 degrees a template fits less well
    # No class has another one's label.
    assert min(right[labels == k].mean() for k in range(48)) > 0.1


def test_textured_glyphs_have_the_texture_outside_of_the_mask():
    images, masks, labels = glyphs.make("test", 10, textured=True)
    wins = 0
    for image, mask in zip(images, masks, strict=True):
        inside = image[:, mask].std(1).mean()
        outside = image[:, ~mask].std(1).mean()
        wins += inside < outside
    assert wins / len(images) > 0.97
    assert np.bincount(labels).tolist() == [glyphs.PER_CLASS["test"]] * 10


def assert_same(first: glyphs.Glyphs, second: glyphs.Glyphs) -> None:
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.masks, second.masks)
    assert np.array_equal(first.labels, second.labels)


def test_the_same_call_gives_the_same(drawn):
    assert_same(drawn, glyphs.make("test", 48))


def test_the_global_generator_plays_no_part():
    np.random.seed(1)
    small = glyphs.make("test", 10)
    np.random.seed(2)
    assert_same(small, glyphs.make("test", 10))


def test_no_image_comes_twice_in_a_split_or_in_two():
    seen: set[bytes] = set()
    for split, seed in product(("train", "test"), (0, 1)):
        made = glyphs.make(split, 10, seed=seed)
        images = {image.tobytes() for image in made.images}
        assert len(images) == 10 * glyphs.PER_CLASS[split]
        assert not images & seen
        seen |= images
