"""Views against Pillow and torchvision (pixels) and lightly's `DINOTransform` (distributions)."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision
from lightly.transforms import DINOTransform
from PIL import Image, ImageFilter, ImageOps
from scipy import stats
from sklearn.datasets import load_sample_images
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from infomax_nb.views.batch import MultiView
from infomax_nb.views.colours import ORDERS
from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    crop,
    standardise,
    unstandardise,
)
from infomax_nb.views.recipes import dino_views, local_size, supervised_views
from infomax_nb.views.specification import ViewSpec

JITTER = (
    vision.adjust_brightness,
    vision.adjust_contrast,
    vision.adjust_saturation,
    vision.adjust_hue,
)
BOX = ("top", "left", "height", "width")
FACTORS = ("brightness", "contrast", "saturation", "hue")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(width: int, height: int, count: int) -> torch.Tensor:
    """Parts of scikit-learn's two sample photographs, uint8 (count, 3, height, width)."""
    whole = [Image.fromarray(a) for a in load_sample_images().images]
    small = []
    for k in range(count):
        left = k * 30
        top = k * 10
        box = (left, top, left + 300, top + 300)
        part = whole[k % 2].crop(box)
        resized = part.resize((width, height), Image.Resampling.BICUBIC)
        small.append(np.asarray(resized))
    images = torch.from_numpy(np.stack(small))
    return images.permute(0, 3, 1, 2).contiguous()


def with_pillow(image: Image.Image, d: dict, size: int) -> Image.Image:
    """What lightly's DINOViewTransform does, step by step, with the drawn parameters."""
    box = [int(d[name]) for name in BOX]
    image = vision.resized_crop(image, *box, [size, size], InterpolationMode.BICUBIC)
    if d["flip"]:
        image = vision.hflip(image)
    if d["jitter"]:
        for k in ORDERS[d["order"]]:
            image = JITTER[k](image, d[FACTORS[k]])
    if d["gray"]:
        image = vision.rgb_to_grayscale(image, 3)
    if d["blur"]:
        image = image.filter(ImageFilter.GaussianBlur(radius=d["sigma"]))
    return ImageOps.solarize(image, 128) if d["solarize"] else image


def pixels_of(view: torch.Tensor) -> np.ndarray:
    """A normalised view (B, 3, S, S) as pixels (B, S, S, 3), 0 to 255."""
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    pixels = (view * std + mean) * 255
    return pixels.permute(0, 2, 3, 1).numpy()


def numbers_of(numbers: dict[str, torch.Tensor], member: int) -> dict[str, torch.Tensor]:
    """What was drawn for one view, or for one image of a view."""
    return {name: x[member] for name, x in numbers.items()}


def off_from_pillow(view: torch.Tensor, images: torch.Tensor, numbers: dict, with_pillow):
    """How far the pixels of a view are from Pillow's; `numbers`: (B,), what was drawn for it."""
    off = []
    for b, pixels in enumerate(pixels_of(view)):
        own = {name: x.item() for name, x in numbers_of(numbers, b).items()}
        reference = with_pillow(vision.to_pil_image(images[b]), own)
        off.append(np.abs(pixels - np.asarray(reference)).ravel())
    return np.concatenate(off)


def compiled(specs: list[ViewSpec]) -> MultiView:
    """Views of which torch compiles the making, as one graph."""
    views = MultiView(specs)
    views.make = torch.compile(views.make, fullgraph=True)
    return views


CASES = [(32, 32, 24, MultiView), (96, 96, 8, MultiView), (64, 96, 8, MultiView)]
CASES.append((32, 32, 24, compiled))


@pytest.mark.parametrize(("width", "height", "count", "make"), CASES)
def test_pixels_equal_torchvisions_on_pillow_images(width, height, count, make):
    images = photographs(width, height, count)
    size = max(width, height)
    specs = dino_views(size)
    views = make(specs)(images, seeded(3))
    numbers = draw(specs, len(images), height, width, seeded(3))
    used = [numbers[name][:2] for name in ("flip", "jitter", "gray")]
    if size >= 96:
        used.append(numbers["blur"])
    assert all(x.any() and not x.all() for x in used)
    assert numbers["solarize"][1].any()
    for members in ((0, 1), range(2, 8)):
        off = []
        for v in members:
            own = numbers_of(numbers, v)
            pillows = partial(with_pillow, size=specs[v].size)
            off.append(off_from_pillow(views[v], images, own, pillows))
        assert (np.concatenate(off) < 2.01).mean() >= 0.999


def noise(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


def off_on_noise(images: torch.Tensor, box: dict[str, torch.Tensor], kernel: str) -> np.ndarray:
    """How far 16 pixels of crops of the images are from Pillow's."""
    one_view = {name: x[None].float() for name, x in box.items()}
    one_view["flip"] = one_view["flip"] > 0
    crops = crop(images, one_view, 16, kernel)[:, 0]
    crops = crops.permute(1, 2, 3, 0).numpy()
    off = []
    for k, image in enumerate(images):
        own = [int(box[name][k]) for name in BOX]
        mode = InterpolationMode(kernel)
        picture = vision.to_pil_image(image)
        reference = vision.resized_crop(picture, *own, [16, 16], mode)
        reference = vision.hflip(reference) if box["flip"][k] else reference
        off.append(crops[k] - np.asarray(reference, float))
    return np.stack(off)


def test_crops_equal_pillows_on_noise():
    """Whatever the crop, 1/255: one pixel to all, shrinking and growing, the axes in Pillow's
    order."""
    rng = np.random.default_rng(0)
    images = noise(rng, 200, 3, 40, 31)
    height = torch.from_numpy(rng.integers(1, 41, 200))
    width = torch.from_numpy(rng.integers(1, 32, 200))
    place = torch.from_numpy(rng.random((3, 200)))
    box = {
        "height": height,
        "width": width,
        "top": (place[0] * (41 - height)).long(),
        "left": (place[1] * (32 - width)).long(),
        "flip": place[2] < 0.5,
    }
    off = np.abs(off_on_noise(images, box, "bicubic"))
    assert (off <= 1).mean() >= 0.999
    assert (off == 0).mean() >= 0.95


def test_bilinear_crops_equal_pillows_on_noise():
    """Ties included, which powers of two make common: Pillow rounds them up."""
    rng = np.random.default_rng(0)
    images = noise(rng, 100, 3, 40, 32)
    height = torch.from_numpy(rng.integers(1, 41, 100))
    width = torch.from_numpy(rng.integers(1, 33, 100))
    box = {"height": height, "width": width, "top": 40 - height, "left": 32 - width}
    off = off_on_noise(images, {**box, "flip": height % 2 == 0}, "bilinear")
    assert (np.abs(off) <= 1).mean() >= 0.999
    assert (off == 0).mean() >= 0.98
    assert abs(off.mean()) < 0.005


# --- Distributions --------------------------------------------------------------------------------

DRAWS = 20_000
PEER_DRAWS = 4_000


def steps(view: int) -> dict[str, object]:
    """The transforms of one of lightly's views by their class's name."""
    inside = DINOTransform().transforms[view].transform.transforms
    return {type(t).__name__: t for t in inside}


@pytest.fixture(scope="module")
def drawn():
    drawn = {}
    for side in (96, 224):
        drawn[side] = draw(dino_views(side), DRAWS, side, side, seeded(5))
    return drawn


def same_distribution(mine, theirs) -> None:
    assert stats.ks_2samp(np.asarray(mine), np.asarray(theirs)).pvalue > 1e-3


def test_defaults_are_lightlys():
    theirs = DINOTransform()
    mine = dino_views(224)
    assert len(mine) == len(theirs.transforms) == 8
    for k, view in enumerate(mine):
        peer = steps(k)
        crop = peer["RandomResizedCrop"]
        jitter = peer["RandomApply"].transforms[0]
        assert tuple(crop.size) == (view.size, view.size)
        assert tuple(crop.scale) == view.area
        assert tuple(crop.ratio) == pytest.approx(view.ratio)
        assert peer["RandomHorizontalFlip"].p == view.flip
        assert peer["RandomVerticalFlip"].p == 0
        assert peer["RandomApply"].p == view.jitter_p
        for name, strength in zip(FACTORS[:3], view.jitter[:3], strict=True):
            low, high = getattr(jitter, name)
            assert low == pytest.approx(max(0, 1 - strength))
            assert high == pytest.approx(1 + strength)
        hue = view.jitter[3]
        assert tuple(jitter.hue) == pytest.approx((-hue, hue))
        assert peer["RandomGrayscale"].p == view.gray_p
        assert peer["GaussianBlur"].prob == view.blur_p
        assert tuple(peer["GaussianBlur"].sigmas) == view.sigma
        assert peer["RandomSolarization"].prob == view.solarize_p
    assert list(IMAGENET_MEAN) == list(steps(0)["Normalize"].mean)
    assert list(IMAGENET_STD) == list(steps(0)["Normalize"].std)


def test_below_96_pixels_nothing_is_blurred_and_all_else_stays():
    for small, large in zip(dino_views(32), dino_views(96), strict=True):
        assert small == replace(large, size=large.size // 3, blur_p=0.0)


def test_supervised_view_is_torchvisions_default_crop_and_a_flip():
    (view,) = supervised_views(32)
    peer = transforms.RandomResizedCrop(32)
    assert view.area == tuple(peer.scale)
    assert view.ratio == pytest.approx(tuple(peer.ratio))
    assert view.flip == transforms.RandomHorizontalFlip().p
    assert view.jitter_p == view.gray_p == view.blur_p == view.solarize_p == 0


def peer_boxes(image, scale, ratio) -> np.ndarray:
    """torchvision's crops of an image: top, left, height, width, each (PEER_DRAWS,)."""
    get_params = transforms.RandomResizedCrop.get_params
    boxes = [get_params(image, scale, ratio) for _ in range(PEER_DRAWS)]
    return np.array(boxes, float).T


@pytest.mark.parametrize("side", [96, 224])
@pytest.mark.parametrize("view", [0, 1, 4])
def test_crops_are_distributed_as_lightlys(drawn, side, view):
    crop = steps(view)["RandomResizedCrop"]
    image = Image.new("RGB", (side, side))
    torch.manual_seed(0)
    top, left, height, width = peer_boxes(image, crop.scale, crop.ratio)
    mine = {name: x.numpy() for name, x in numbers_of(drawn[side], view).items()}
    same_distribution(mine["height"] * mine["width"], height * width)
    same_distribution(mine["width"] / mine["height"], width / height)
    for name, theirs in (("top", top), ("left", left)):
        same_distribution(mine[name], theirs)
    assert (mine["top"] + mine["height"]).max() <= side
    assert (mine["left"] + mine["width"]).max() <= side


@pytest.mark.parametrize("shape", [(20, 90), (90, 20)])
def test_crops_of_long_images_fall_back_as_torchvisions(shape):
    """At 1:4.5 most attempts do not fit; where all ten fail, torchvision takes the centre."""
    view = ViewSpec(32, (0.4, 1.0))
    mine = draw([view], DRAWS, *shape, seeded(6))
    torch.manual_seed(1)
    peer = peer_boxes(torch.empty(3, *shape), view.area, view.ratio)
    for theirs, name in zip(peer, BOX, strict=True):
        own = mine[name][0]
        same_distribution(own, theirs)
        assert (own == theirs[0]).float().mean() > 0.5  # the fallback is what is tested


@pytest.mark.parametrize("view", [0, 1, 4])
def test_chances_are_lightlys(drawn, view):
    peer = steps(view)
    chances = {
        "flip": peer["RandomHorizontalFlip"].p,
        "jitter": peer["RandomApply"].p,
        "gray": peer["RandomGrayscale"].p,
        "blur": peer["GaussianBlur"].prob,
        "solarize": peer["RandomSolarization"].prob,
    }
    for name, chance in chances.items():
        count = int(drawn[224][name][view].sum())
        assert stats.binomtest(count, DRAWS, chance).pvalue > 1e-3, name


@pytest.mark.parametrize("view", [0, 1, 4])
def test_jitter_and_blur_are_distributed_as_lightlys(drawn, view):
    peer = steps(view)
    mine = {name: x.numpy() for name, x in numbers_of(drawn[224], view).items()}
    jitter = peer["RandomApply"].transforms[0]
    torch.manual_seed(2)
    ranges = [tuple(getattr(jitter, name)) for name in FACTORS]
    params = [transforms.ColorJitter.get_params(*ranges) for _ in range(PEER_DRAWS)]
    for k, name in enumerate(FACTORS):
        same_distribution(mine[name], [p[1 + k] for p in params])
        low, high = ranges[k]
        assert mine[name].min() == pytest.approx(low, abs=1e-3)
        assert mine[name].max() == pytest.approx(high, abs=1e-3)
    orders = [ORDERS.index(tuple(p[0].tolist())) for p in params]
    own = np.bincount(mine["order"], minlength=24)
    theirs = np.bincount(orders, minlength=24)
    assert len(own) == 24
    assert stats.chi2_contingency([own, theirs]).pvalue > 1e-3
    # lightly draws the blur's radius from NumPy, uniformly between its `sigmas`.
    sharp, soft = peer["GaussianBlur"].sigmas
    theirs = np.random.default_rng(0).uniform(sharp, soft, PEER_DRAWS)
    same_distribution(mine["sigma"], theirs)


def test_draws_are_independent(drawn):
    """Between the views of an image, between its parameters, and between images."""
    names = ("flip", "jitter", "gray", "solarize", "sigma", "order", *FACTORS)
    columns = torch.cat([drawn[96][name].double() for name in names]).numpy()
    columns = columns[columns.std(1) > 0]
    neighbours = np.concatenate([columns[:, 1:], columns[:, :-1]])
    correlations = np.corrcoef(neighbours) - np.eye(len(neighbours))
    assert np.abs(correlations).max() < 5.5 / math.sqrt(DRAWS)


# --- What a training step gets --------------------------------------------------------------------


@pytest.mark.parametrize(("size", "local"), [(32, 16), (64, 32), (96, 48), (224, 96)])
def test_shapes_and_layout(size, local):
    assert local_size(size) == local
    images = photographs(size, size, 3)
    views = MultiView(dino_views(size))(images, seeded())
    assert [v.shape[-1] for v in views] == [size] * 2 + [local] * 6
    for v in views:
        side = v.shape[-1]
        assert v.shape == (3, 3, side, side)
        assert v.dtype == torch.float32
        assert v.is_contiguous(memory_format=torch.channels_last)
        assert torch.isfinite(v).all()


def test_an_image_gets_the_views_that_its_numbers_say_whoever_is_beside_it():
    """Blur and jitter included: no sample shares an order, or a reach, with others of its batch."""
    images = photographs(96, 96, 12)
    transform = MultiView(dino_views(96))
    drawn = transform.draw(12, 96, 96, seeded(4))
    together = transform.make(images, drawn)
    for k in (0, 5, 11):
        itself = slice(k, k + 1)
        own = {name: x[:, itself] for name, x in drawn.items()}
        alone = transform.make(images[itself], own)
        for theirs, mine in zip(together, alone, strict=True):
            off = (theirs[k] - mine[0]).abs()
            assert off.max() < 0.05  # 1/255 is 0.017 to 0.02 after normalisation
            assert (off > 0).float().mean() < 1e-3


def test_an_epochs_numbers_come_in_blocks():
    """Of 65,536 images: each block's numbers are those that the generator gives after the last
    one's."""
    view = dino_views(32)[:1]
    whole = draw(view, 2**16 + 100, 32, 32, seeded(8))
    generator = seeded(8)
    first = draw(view, 2**16, 32, 32, generator)
    second = draw(view, 100, 32, 32, generator)
    for name, numbers in whole.items():
        blocks = torch.cat([first[name], second[name]], 1)
        assert torch.equal(numbers, blocks), name
    assert not torch.equal(first["hue"][:, :100], second["hue"])


def equal(views: list[torch.Tensor], others: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(views, others, strict=True)]


def test_views_differ_and_repeat_with_the_seed():
    one = photographs(32, 32, 1).repeat(4, 1, 1, 1)
    transform = MultiView(dino_views(32))
    state = torch.get_rng_state()
    made = transform(one, seeded(1))
    again = transform(one, seeded(1))
    other = transform(one, seeded(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(equal(made, again))
    for group in (made[:2], made[2:]):
        flat = torch.cat(group).flatten(1)
        distance = torch.cdist(flat, flat) + torch.eye(len(flat)) * 1e9
        assert distance.min() > 0.5  # no two views of the image, in one row or in two, are the same
    assert not any(equal(made, other))


def standardised(images: torch.Tensor) -> torch.Tensor:
    """What a network takes, of images uint8 (B, 3, H, W)."""
    channels_first = images.transpose(0, 1).float()
    return standardise(channels_first).transpose(0, 1)


def test_without_augmentation_a_view_is_the_normalised_image():
    images = photographs(32, 32, 2)
    whole = (1.0, 1.0)
    still = ViewSpec(32, area=whole, ratio=whole, flip=0.0, jitter_p=0.0, gray_p=0.0)
    (made,) = MultiView([still])(images, seeded())
    peer = steps(0)["Normalize"]
    reference = vision.normalize(images.float() / 255, peer.mean, peer.std)
    torch.testing.assert_close(made, reference, rtol=0, atol=2e-6)
    torch.testing.assert_close(standardised(images), reference, rtol=0, atol=2e-6)


def test_an_image_comes_back_from_what_a_network_takes():
    images = photographs(16, 16, 2)
    view = standardised(images)
    enlarged = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(unstandardise(view, 32), enlarged)


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(2, 3, 32, 32),
        torch.zeros(3, 32, 32, dtype=torch.uint8),
        torch.zeros(2, 1, 32, 32, dtype=torch.uint8),
    ],
)
def test_bad_images(bad):
    with pytest.raises(ValueError) as error:
        MultiView(dino_views(32))(bad, seeded())
    assert f"images are {bad.dtype} {tuple(bad.shape)}" in str(error.value)
    assert "uint8 (B, 3, H, W)" in str(error.value)
