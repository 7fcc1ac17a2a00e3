"""Which views are drawn: recipes for any method, local views beside, and what a method refuses."""

import inspect
from dataclasses import replace

import pytest
import torch
from lightly import transforms as lightly

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.methods import METHODS, build
from infomax_nb.train.fitting import fit
from infomax_nb.views.recipes import dino_views
from infomax_nb.views.specification import ViewSpec

TWO = ("simclr", "vicreg", "barlow_twins", "byol")
RECIPES = {
    "dino": "infomax",
    "simclr": "simclr",
    "vicreg": "vicreg",
    "byol": "byol",
    "supervised": "supervised",
}


def views(size=32, **values) -> list[ViewSpec]:
    """What a run with these options draws of images of `size` pixels."""
    return build(TrainConfig(**{"proj_dim": 8, "image_size": size, **values}), 4).view_specs(size)


# --- What is drawn --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_its_methods_whatever_the_method(recipe, size):
    """Its global views; and local ones of half the size, 96 for 224, 5 to 40% of the area, with its
    strengths."""
    whole = [view for view in views(size, method=RECIPES[recipe]) if view.size == size]
    drawn = views(size, augmentation=recipe, local_views=6)
    count = len(whole)
    assert drawn[:count] == whole and count == (1 if recipe == "supervised" else 2)
    assert [(view.size, view.area) for view in drawn[count:]] == [
        (96 if size == 224 else size // 2, (0.05, 0.4))
    ] * 6
    if recipe == "dino":
        assert drawn == dino_views(size)
        return
    for k, view in enumerate(drawn[count:]):
        assert replace(view, size=size, area=whole[k % count].area) == whole[k % count]


def test_simclrs_local_views_have_lightlys_strengths_of_simclr():
    of = {
        name: p.default for name, p in inspect.signature(lightly.SimCLRTransform).parameters.items()
    }
    jitter = tuple(
        of["cj_strength"] * of[f"cj_{name}"] for name in ("bright", "contrast", "sat", "hue")
    )
    for view in views(augmentation="simclr"):
        assert (view.jitter, view.jitter_p) == (jitter, of["cj_prob"])
        assert (view.gray_p, view.blur_p, view.sigma) == (
            of["random_gray_scale"],
            of["gaussian_blur"],
            of["sigmas"],
        )
        assert view.solarize_p == 0


@pytest.mark.parametrize("local", [0, 1, 2, 9])
def test_any_number_of_local_views(local):
    assert views(local_views=local) == dino_views(32, n_local_views=local)
    assert len(views(augmentation="byol", local_views=local)) == 2 + local


def test_the_number_that_is_not_said_is_the_methods():
    assert [len(views(augmentation=recipe)) for recipe in RECIPES] == [8, 8, 8, 8, 7]
    assert [len(views(size, method="dino", augmentation="simclr")) for size in (32, 64)] == [2, 8]
    assert len(views(method="simclr", augmentation="dino")) == 2


def test_dino_takes_local_views_at_any_size_and_keeps_its_own_areas():
    small = views(32, method="dino", local_views=6)
    assert [(view.size, view.area) for view in small] == [(32, (0.5, 1.0))] * 2 + [
        (16, (0.3, 0.5))
    ] * 6
    assert views(64, method="dino", local_views=6) == views(64, method="dino")
    assert views(64, method="dino", local_views=0) == views(64, method="dino")[:2]
    assert views(32, method="dino", augmentation="dino", local_views=6) == dino_views(32)


@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": "simclr", "local_views": 3},
        {"method": "dino", "augmentation": "byol", "local_views": 2},
        {"method": "vicreg", "augmentation": "dino"},
    ],
)
def test_a_run_trains_with_them(tmp_path, options):
    small = {
        "n_classes": 4,
        "n_train": 32,
        "batch_size": 16,
        "proj_dim": 8,
        "epochs": 1,
        "device": "cpu",
    }
    method = options.get("method", "infomax")
    run = fit(TrainConfig(**small, **options, runs_dir=str(tmp_path)))
    other = fit(TrainConfig(**small, method=method, runs_dir=str(tmp_path)))
    assert run.finished and run.metrics.loss[0] != other.metrics.loss[0]
    assert run.config.augmentation == options["augmentation"]


# --- Which runs are one ---------------------------------------------------------------------------

OWN = {
    "infomax": ("dino", 6),
    "simclr": ("simclr", 0),
    "vicreg": ("vicreg", 0),
    "barlow_twins": ("byol", 0),
}
OWN |= {"byol": ("byol", 0), "supervised": ("supervised", 0)}


@pytest.mark.parametrize("method", OWN)
def test_what_is_a_methods_own_is_one_run_however_it_is_written(method):
    """One name, and one configuration in the run's directory."""
    recipe, local = OWN[method]
    plain = TrainConfig(method=method)
    for options in (
        {"augmentation": recipe},
        {"local_views": local},
        {"augmentation": recipe, "local_views": local},
    ):
        asked = plain.replace(**options)
        assert asked.name == plain.name and asked.resolved() == plain.resolved()
        assert views(method=method, **options) == views(method=method)


def test_dinos_are_runs_of_their_own():
    """Its number of local views depends on the images, which the configuration does not always
    know."""
    plain = TrainConfig(method="dino")
    names = {
        plain.replace(**options).name
        for options in ({}, {"augmentation": "dino"}, {"local_views": 0})
    }
    assert len(names) == 3


# --- What is refused ------------------------------------------------------------------------------

REFUSED = [
    *[
        (
            {"method": m, "local_views": 1},
            f"local_views = 1 is not allowed: {m} takes exactly 2 views",
        )
        for m in TWO
    ],
    *[
        (
            {"method": m, "augmentation": "supervised"},
            f"augmentation = 'supervised' is not allowed: {m}",
        )
        for m in TWO
    ],
    (
        {"method": "simclr", "augmentation": "dino", "local_views": 6},
        "local_views = 6 is not allowed: simclr takes",
    ),
    (
        {"method": "simclr", "augmentation": "supervised", "local_views": 1},
        "local_views = 1 is not allowed: simclr",
    ),
    (
        {"method": "supervised", "augmentation": "simclr"},
        "supervised takes exactly 1 view, and no local ones",
    ),
    (
        {"method": "supervised", "local_views": 6},
        "local_views = 6 is not allowed: supervised takes exactly 1 view",
    ),
    (
        {"augmentation": "supervised", "local_views": 0},
        "augmentation = 'supervised' is not allowed: infomax takes 2",
    ),
    ({"method": "dino", "augmentation": "supervised"}, "dino takes 2 views that are not local"),
    (
        {"method": "dino", "augmentation": "supervised", "local_views": 3},
        "dino takes 2 views that are not local",
    ),
    (
        {"local_views": -1},
        "local_views = -1 is not allowed: it must be greater than or equal to 0, or none",
    ),
    (
        {"local_views": 101},
        "local_views = 101 is not allowed: it must be less than or equal to 100",
    ),
    ({"local_views": "some"}, "local_views = 'some' is not allowed: it must be a valid integer"),
    ({"augmentation": "simclrr"}, "(did you mean 'simclr'?)"),
    (
        {"augmentation": "infomax"},
        "augmentation = 'infomax' is not allowed: it must be 'dino', 'simclr'",
    ),
    ({"momentum_schedule": "step"}, "(did you mean 'steps'?)"),
    ({"eval_first": -1}, "eval_first = -1 is not allowed"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_views_that_a_method_does_not_take(options, words):
    with pytest.raises(ParameterError) as error:
        TrainConfig(**options)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_one_view_and_one_local_view_are_enough_for_ours():
    assert len(views(augmentation="supervised", local_views=1)) == 2


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({}, {32, 64}),
        ({"local_views": 0}, {16, 32, 48, 64}),
        ({"method": "dino"}, {16, 32, 48, 64}),
        ({"method": "dino", "local_views": 1}, {32, 64}),
        ({"method": "dino", "local_views": 0}, {16, 32, 48, 64}),
        ({"method": "simclr", "augmentation": "dino"}, {16, 32, 48, 64}),
        ({"augmentation": "supervised", "local_views": 2}, {32, 64}),
    ],
)
def test_local_views_are_whole_patches_too(options, fits):
    for size in (16, 32, 40, 48, 64):
        given = {"backbone": "vit_tiny", "image_size": size, **options}
        if size in fits:
            assert all(
                view.size % 16 == 0
                for view in views(**{**given, "size": size, "backbone": "resnet_small"})
            )
            TrainConfig(**given)
        else:
            with pytest.raises(
                ParameterError,
                match=f"^image_size = {size} is not allowed: it must be a multiple of ",
            ):
                TrainConfig(**given)


@pytest.mark.parametrize("method", METHODS)
def test_views_of_all_sizes_go_through_a_method(method):
    """With the recipe and the number that it takes; its loss is finite and reaches the backbone."""
    recipe = "supervised" if method == "supervised" else "vicreg"
    options = {"augmentation": recipe} | (
        {"local_views": 3} if method in ("infomax", "dino") else {}
    )
    torch.manual_seed(0)
    made = build(TrainConfig(method=method, proj_dim=8, **options), 4)
    given = [torch.randn(4, 3, view.size, view.size) for view in made.view_specs(32)]
    assert len(given) == {"supervised": 1, "infomax": 5, "dino": 5}.get(method, 2)
    loss = made(given, torch.arange(4))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in made.backbone.parameters())
