"""Views against Pillow and torchvision (pixels) and lightly's `DINOTransform` (distributions)."""

import math

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

from infomax_nb.views import pixels
from infomax_nb.views.batch import MultiView
from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import ORDERS, crop, standardise
from infomax_nb.views.recipes import dino_views, local_size, supervised_views
from infomax_nb.views.specification import ViewSpec

JITTER = (
    vision.adjust_brightness,
    vision.adjust_contrast,
    vision.adjust_saturation,
    vision.adjust_hue,
)
FACTORS = ("brightness", "contrast", "saturation", "hue")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(width: int, height: int, count: int) -> torch.Tensor:
    """Parts of scikit-learn's two sample photographs, uint8 (count, 3, height, width)."""
    whole = [Image.fromarray(a) for a in load_sample_images().images]
    parts = [whole[k % 2].crop((k * 30, k * 10, k * 30 + 300, k * 10 + 300)) for k in range(count)]
    small = [np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in parts]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()


def with_pillow(image: Image.Image, d: dict, size: int) -> Image.Image:
    """What lightly's DINOViewTransform does, step by step, with the drawn parameters."""
    box = [int(d[name]) for name in ("top", "left", "height", "width")]
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


@pytest.mark.parametrize(("width", "height", "count"), [(32, 32, 24), (96, 96, 8), (64, 96, 8)])
def test_pixels_equal_torchvisions_on_pillow_images(width, height, count):
    images, size = photographs(width, height, count), max(width, height)
    made = MultiView(dino_views(size))(images, seeded(3))
    drawn = draw(dino_views(size), len(images), height, width, seeded(3))
    used = [drawn[name][:2] for name in ("flip", "jitter", "gray")] + (
        [drawn["blur"]] if size >= 96 else []
    )
    assert all(t.any() and not t.all() for t in used)
    assert drawn["solarize"][1].any()

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for members, side in (((0, 1), size), (range(2, 8), size // 2)):
        differences = []
        for v in members:
            got = (made[v] * std[:, None, None] + mean[:, None, None]) * 255
            for b, image in enumerate(images):
                d = {name: t[v, b].item() for name, t in drawn.items()}
                reference = with_pillow(vision.to_pil_image(image), d, side)
                differences.append(
                    np.abs(got[b].permute(1, 2, 0).numpy() - np.asarray(reference)).ravel()
                )
        assert (np.concatenate(differences) < 2.01).mean() >= 0.999


def test_crops_equal_pillows_on_noise():
    """Whatever the crop, 1/255: one pixel to all, shrinking and growing, the axes in Pillow's
    order."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (200, 3, 40, 31), dtype=np.uint8))
    height, width = (
        torch.from_numpy(rng.integers(1, 41, 200)),
        torch.from_numpy(rng.integers(1, 32, 200)),
    )
    d = {
        "height": height,
        "width": width,
        "top": (torch.from_numpy(rng.random(200)) * (41 - height)).long(),
        "left": (torch.from_numpy(rng.random(200)) * (32 - width)).long(),
        "flip": torch.from_numpy(rng.random(200) < 0.5),
    }
    got = crop(
        images, {name: t[None].float() if name != "flip" else t[None] for name, t in d.items()}, 16
    )
    off = np.empty((200, 16, 16, 3))
    for k, image in enumerate(images):
        box = [int(d[name][k]) for name in ("top", "left", "height", "width")]
        reference = vision.resized_crop(
            vision.to_pil_image(image), *box, [16, 16], InterpolationMode.BICUBIC
        )
        reference = vision.hflip(reference) if d["flip"][k] else reference
        off[k] = np.abs(got[:, 0, k].permute(1, 2, 0).numpy() - np.asarray(reference))
    assert (off <= 1).mean() >= 0.999
    assert (off == 0).mean() >= 0.95


# --- Distributions --------------------------------------------------------------------------------

DRAWS, PEER_DRAWS = 20_000, 4_000


def steps(view: int) -> dict[str, object]:
    """The transforms of one of lightly's views by their class's name."""
    inside = DINOTransform().transforms[view].transform.transforms
    return {type(t).__name__: t for t in inside}


@pytest.fixture(scope="module")
def drawn():
    return {side: draw(dino_views(side), DRAWS, side, side, seeded(5)) for side in (96, 224)}


def same_distribution(mine, theirs) -> None:
    assert stats.ks_2samp(np.asarray(mine), np.asarray(theirs)).pvalue > 1e-3


def test_defaults_are_lightlys():
    theirs = DINOTransform()
    mine = dino_views(224)
    assert len(mine) == len(theirs.transforms) == 8
    for k, view in enumerate(mine):
        peer = steps(k)
        crop, jitter = peer["RandomResizedCrop"], peer["RandomApply"].transforms[0]
        assert tuple(crop.size) == (view.size, view.size)
        assert tuple(crop.scale) == view.area
        assert tuple(crop.ratio) == pytest.approx(view.ratio)
        assert peer["RandomHorizontalFlip"].p == view.flip
        assert peer["RandomVerticalFlip"].p == 0
        assert peer["RandomApply"].p == view.jitter_p
        assert [max(0, 1 - s) for s in view.jitter[:3]] == pytest.approx(
            [getattr(jitter, f)[0] for f in FACTORS[:3]]
        )
        assert [1 + s for s in view.jitter[:3]] == pytest.approx(
            [getattr(jitter, f)[1] for f in FACTORS[:3]]
        )
        assert tuple(jitter.hue) == pytest.approx((-view.jitter[3], view.jitter[3]))
        assert peer["RandomGrayscale"].p == view.gray_p
        assert (peer["GaussianBlur"].prob, tuple(peer["GaussianBlur"].sigmas)) == (
            view.blur_p,
            view.sigma,
        )
        assert peer["RandomSolarization"].prob == view.solarize_p
    assert list(pixels.IMAGENET_MEAN) == list(steps(0)["Normalize"].mean)
    assert list(pixels.IMAGENET_STD) == list(steps(0)["Normalize"].std)
    # Below 96 pixels nothing is blurred; all else stays.
    for small, large in zip(dino_views(32), dino_views(96), strict=True):
        assert (small.blur_p, small.size * 3) == (0, large.size)
        assert (small.area, small.gray_p, small.solarize_p) == (
            large.area,
            large.gray_p,
            large.solarize_p,
        )


def test_supervised_view_is_torchvisions_default_crop_and_a_flip():
    (view,) = supervised_views(32)
    peer = transforms.RandomResizedCrop(32)
    assert (view.area, view.ratio) == (tuple(peer.scale), pytest.approx(tuple(peer.ratio)))
    assert view.flip == transforms.RandomHorizontalFlip().p
    assert view.jitter_p == view.gray_p == view.blur_p == view.solarize_p == 0


@pytest.mark.parametrize("side", [96, 224])
@pytest.mark.parametrize("view", [0, 1, 4])
def test_crops_are_distributed_as_lightlys(drawn, side, view):
    crop = steps(view)["RandomResizedCrop"]
    image = Image.new("RGB", (side, side))
    torch.manual_seed(0)
    boxes = [
        transforms.RandomResizedCrop.get_params(image, crop.scale, crop.ratio)
        for _ in range(PEER_DRAWS)
    ]
    top, left, height, width = np.array(boxes, float).T
    mine = {name: drawn[side][name][view].numpy() for name in ("top", "left", "height", "width")}
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
    peer = np.array(
        [
            transforms.RandomResizedCrop.get_params(torch.empty(3, *shape), view.area, view.ratio)
            for _ in range(PEER_DRAWS)
        ],
        float,
    )
    centre = peer[0]
    for k, name in enumerate(("top", "left", "height", "width")):
        same_distribution(mine[name][0], peer[:, k])
        assert (mine[name][0] == centre[k]).float().mean() > 0.5  # the fallback is what is tested


@pytest.mark.parametrize("view", [0, 1, 4])
def test_chances_are_lightlys(drawn, view):
    peer, mine = steps(view), drawn[224]
    for name, chance in (
        ("flip", peer["RandomHorizontalFlip"].p),
        ("jitter", peer["RandomApply"].p),
        ("gray", peer["RandomGrayscale"].p),
        ("blur", peer["GaussianBlur"].prob),
        ("solarize", peer["RandomSolarization"].prob),
    ):
        assert stats.binomtest(int(mine[name][view].sum()), DRAWS, chance).pvalue > 1e-3, name


@pytest.mark.parametrize("view", [0, 1, 4])
def test_jitter_and_blur_are_distributed_as_lightlys(drawn, view):
    peer, mine = steps(view), {name: t[view].numpy() for name, t in drawn[224].items()}
    jitter = peer["RandomApply"].transforms[0]
    torch.manual_seed(2)
    ranges = [tuple(getattr(jitter, name)) for name in FACTORS]
    params = [transforms.ColorJitter.get_params(*ranges) for _ in range(PEER_DRAWS)]
    for k, name in enumerate(FACTORS):
        same_distribution(mine[name], [p[1 + k] for p in params])
        assert (mine[name].min(), mine[name].max()) == pytest.approx(ranges[k], abs=1e-3)
    orders = [ORDERS.index(tuple(p[0].tolist())) for p in params]
    table = [np.bincount(o, minlength=24) for o in (mine["order"], orders)]
    assert len(table[0]) == 24
    assert stats.chi2_contingency(table).pvalue > 1e-3
    # lightly draws the blur's radius from NumPy, uniformly between its `sigmas`.
    same_distribution(
        mine["sigma"], np.random.default_rng(0).uniform(*peer["GaussianBlur"].sigmas, PEER_DRAWS)
    )


def test_draws_are_independent(drawn):
    """Between the views of an image, between its parameters, and between images."""
    names = ("flip", "jitter", "gray", "solarize", "sigma", "order", *FACTORS)
    columns = torch.stack([drawn[96][name][v].double() for name in names for v in range(8)]).numpy()
    columns = columns[columns.std(1) > 0]
    correlations = np.corrcoef(np.concatenate([columns[:, 1:], columns[:, :-1]]))
    assert np.abs(correlations[~np.eye(len(correlations), dtype=bool)]).max() < 5.5 / math.sqrt(
        DRAWS
    )


# --- What a training step gets --------------------------------------------------------------------


@pytest.mark.parametrize(("size", "local"), [(32, 16), (64, 32), (96, 48), (224, 96)])
def test_shapes_and_layout(size, local):
    assert local_size(size) == local
    images = photographs(size, size, 3)
    made = MultiView(dino_views(size))(images, seeded())
    assert [tuple(v.shape) for v in made] == [(3, 3, size, size)] * 2 + [(3, 3, local, local)] * 6
    for v in made:
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
        alone = transform.make(
            images[k : k + 1], {name: t[:, k : k + 1] for name, t in drawn.items()}
        )
        for view, own in zip(together, alone, strict=True):
            assert (
                view[k] - own[0]
            ).abs().max() < 0.05  # 1/255 is 0.017 to 0.02 after normalisation
            assert (view[k] != own[0]).float().mean() < 1e-3


def test_an_epochs_numbers_come_in_blocks():
    """Of 65,536 images: each block's numbers are those that the generator gives after the last
    one's."""
    whole = draw(dino_views(32)[:1], 2**16 + 100, 32, 32, seeded(8))
    generator = seeded(8)
    first, second = (draw(dino_views(32)[:1], n, 32, 32, generator) for n in (2**16, 100))
    for name, numbers in whole.items():
        assert torch.equal(numbers, torch.cat([first[name], second[name]], 1)), name
    assert not torch.equal(first["hue"][:, :100], second["hue"])


def test_views_differ_and_repeat_with_the_seed():
    one = photographs(32, 32, 1).repeat(4, 1, 1, 1)
    transform = MultiView(dino_views(32))
    state = torch.get_rng_state()
    made, again, other = (transform(one, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    for group in (made[:2], made[2:]):
        flat = torch.cat(group).flatten(1)
        distance = torch.cdist(flat, flat) + torch.eye(len(flat)) * 1e9
        assert distance.min() > 0.5  # no two views of the image, in one row or in two, are the same
    assert not any(torch.equal(a, b) for a, b in zip(made, other, strict=True))


def test_without_augmentation_a_view_is_the_normalised_image():
    images = photographs(32, 32, 2)
    still = ViewSpec(32, (1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter_p=0.0, gray_p=0.0)
    (made,) = MultiView([still])(images, seeded())
    mean, std = steps(0)["Normalize"].mean, steps(0)["Normalize"].std
    reference = vision.normalize(images.float() / 255, mean, std)
    torch.testing.assert_close(made, reference, rtol=0, atol=2e-6)
    channels_first = standardise(
        images.transpose(0, 1).float(), torch.tensor(mean), torch.tensor(std)
    )
    torch.testing.assert_close(channels_first.transpose(0, 1), reference, rtol=0, atol=2e-6)


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
