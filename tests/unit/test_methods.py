"""Methods against float64 steps written out, recipes against lightly's signatures, pixels against
Pillow's."""

import inspect
import math
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision
from lightly import transforms as lightly
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image, ImageFilter, ImageOps
from scipy.special import ive
from test_views import FACTORS, JITTER, photographs, seeded
from torch.func import functional_call
from torch.nn.functional import gelu, linear, relu
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from infomax_nb import models
from infomax_nb.config import TrainConfig
from infomax_nb.methods import BYOL, DINO, METHODS, build
from infomax_nb.train.fitting import fit
from infomax_nb.views.batch import MultiView
from infomax_nb.views.drawing import draw
from infomax_nb.views.pixels import ORDERS, crop
from infomax_nb.views.specification import ViewSpec

EPOCHS, IMAGES, KAPPA, ALPHA, BETA = 10, 4, 7.0, 1.5, 0.7
OUTPUT = {
    **{
        "infomax": (2048, 16),
        "simclr": (2048, 128),
        "vicreg": (2048, 2048),
        "barlow_twins": (2048, 2048),
    },
    **{"byol": (1024, 256), "dino": (512, 512, 64, 2048), "supervised": (10,)},
}


# --- One step -------------------------------------------------------------------------------------


def norm(x, p, layer):
    """BatchNorm in training, written out."""
    mean = x.mean(0)
    return (x - mean) / (((x - mean) ** 2).mean(0) + 1e-5).sqrt() * p[f"{layer}.weight"] + p[
        f"{layer}.bias"
    ]


def mlp(p, x):
    x = relu(norm(linear(x, p["layers.0.weight"]), p, "layers.1"))
    return linear(x, p["layers.3.weight"], p["layers.3.bias"])


def simclr_head(p, x):
    x = relu(norm(linear(x, p["layers.0.weight"]), p, "layers.1"))
    return norm(linear(x, p["layers.3.weight"]), p, "layers.4")


def dino_head(p, x):
    for k in (0, 2):
        x = gelu(linear(x, p[f"layers.{k}.weight"], p[f"layers.{k}.bias"]))
    x = linear(x, p["layers.4.weight"], p["layers.4.bias"])
    v = p["last_layer.weight_v"]
    rows = v / v.square().sum(1, keepdim=True).sqrt() * p["last_layer.weight_g"]
    return x / x.square().sum(1, keepdim=True).sqrt() @ rows.T


def cosines(a, b):
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()


def log_sums(z, scale):
    """log sum_j exp(scale * s_ij) over all j != i, and over the other views of i's image."""
    unit = [row / row.norm() for row in torch.cat(z)]
    every, own = [], []
    for i, row in enumerate(unit):
        s = {j: scale * (row @ other) for j, other in enumerate(unit) if j != i}
        every.append(torch.stack(list(s.values())).logsumexp(0))
        own.append(torch.stack([s[j] for j in s if j % IMAGES == i % IMAGES]).logsumexp(0))
    return torch.stack(every), torch.stack(own)


def infomax(z):
    """Eq. 2 to 4; C_D from scipy's Bessel function."""
    n, nu = IMAGES * len(z), z[0].shape[1] / 2 - 1
    log_c = (
        nu * math.log(KAPPA) - (nu + 1) * math.log(2 * math.pi) - math.log(ive(nu, KAPPA)) - KAPPA
    )
    h_global, h_local = (-(log_c + s - math.log(n - 1)).mean() for s in log_sums(z, KAPPA))
    return -(ALPHA * h_global - BETA * h_local), {"h_global": h_global, "h_local": h_local}


def nt_xent(z):
    every, own = log_sums(z, 1 / 0.5)  # of two views, `own` is the one positive
    return (every - own).mean()


def vicreg(z):
    """25, 25, 1 as in the authors' code: all means over features, each view's hinge counted
    half."""
    loss = 25 * (z[0] - z[1]).square().mean()
    for x in z:
        centred = x - x.mean(0)
        deviation = (centred.square().sum(0) / (IMAGES - 1) + 1e-4).sqrt()
        assert 0 < (deviation < 1).sum() < x.shape[1]  # both sides of the hinge
        loss = loss + 25 * (1 - deviation).clamp(min=0).mean() / 2
        # |C|² without its diagonal; |XᵀX|² = |XXᵀ|²
        squares = (centred @ centred.T).square().sum() - centred.square().sum(0).square().sum()
        loss = loss + squares / (IMAGES - 1) ** 2 / x.shape[1]
    return loss


def barlow_twins(z):
    a, b = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in z)
    c = a.T @ b / IMAGES
    diagonal = c.diagonal()
    return (1 - diagonal).square().sum() + 5e-3 * (c.square().sum() - diagonal.square().sum())


def dino(student, teacher, center):
    temperature = float(np.float32(0.04))  # lightly keeps it in float32
    terms = []
    for t, target in enumerate(teacher):
        target = ((target - center) / temperature).softmax(1)
        for s, made in enumerate(student):
            if s != t:
                terms.append(
                    -(target * (made / 0.1 - (made / 0.1).logsumexp(1, keepdim=True))).sum(1).mean()
                )
    assert len(terms) == 2 * len(student) - 2
    return torch.stack(terms).mean()


def plain_step(name, method, given, labels, epoch):
    """Loss, gradients and all that the step changes beside, from `method`'s present weights; it is
    left as it is."""
    weights = {
        n: p.detach().clone().requires_grad_(p.requires_grad) for n, p in method.named_parameters()
    }
    backbone, groups = deepcopy(method.backbone), [g for g in (given[:2], given[2:]) if g]
    made, head = {"backbone": backbone}, {"dino": dino_head, "simclr": simclr_head}.get(name, mlp)

    def part(prefix):
        return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}

    def encode(network, prefix, groups):
        return torch.cat([functional_call(network, part(prefix), torch.cat(g)) for g in groups])

    features = encode(backbone, "backbone.", groups)
    if name == "supervised":
        logits = linear(features, weights["classifier.weight"], weights["classifier.bias"])
        loss = (logits.logsumexp(1) - logits[range(IMAGES), labels]).mean()
    else:
        z = head(part("projector."), features).split(IMAGES)
    if name in ("byol", "dino"):
        momentum = 1 - 0.004 * (1 + math.cos(math.pi * epoch / (EPOCHS - 1))) / 2
        for n in [n for n in weights if n.startswith("teacher.")]:
            source = n.replace("teacher.0", "backbone").replace("teacher.1", "projector")
            weights[n] = momentum * weights[n] + (1 - momentum) * weights[source].detach()
        made |= {"teacher": part("teacher."), "teacher_backbone": deepcopy(method.teacher[0])}
        with torch.no_grad():
            t = head(
                part("teacher.1."), encode(made["teacher_backbone"], "teacher.0.", [given[:2]])
            ).split(IMAGES)
    match name:
        case "infomax":
            loss, made["entropies"] = infomax(z)
        case "simclr":
            loss = nt_xent(z)
        case "vicreg":
            loss = vicreg(z)
        case "barlow_twins":
            loss = barlow_twins(z)
        case "byol":
            first, second = mlp(part("predictor."), torch.cat(z)).split(IMAGES)
            loss = 0.5 * (-cosines(first, t[1]).mean() - cosines(second, t[0]).mean())
        case "dino":
            center = method.criterion.center.clone()
            loss = dino(z, t, center[0])
            made["center"] = 0.9 * center + 0.1 * torch.cat(t).mean(0)
    trained = {n: w for n, w in weights.items() if w.requires_grad}
    return (
        loss,
        dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True)),
        made,
    )


CASES = [
    ("infomax", 3, 6),
    ("infomax", 3, 0),
    ("simclr", 3, 0),
    ("vicreg", 3, 0),
    ("barlow_twins", 3, 0),
]
CASES += [
    ("byol", 3, 0),
    ("byol", 9, 0),
    ("dino", 0, 6),
    ("dino", 1, 0),
    ("dino", 3, 6),
    ("supervised", 3, 0),
]


@pytest.mark.parametrize(("name", "epoch", "local"), CASES)
def test_a_step_equals_one_written_out_in_float64(name, epoch, local):
    torch.manual_seed(1)
    method = build(
        TrainConfig(method=name, epochs=EPOCHS, proj_dim=16, kappa=KAPPA, alpha=ALPHA, beta=BETA),
        10,
    )
    method.double()
    generator = seeded(2)
    with torch.no_grad():  # nothing at its initial zero or one; a teacher unlike the student
        for p in method.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.02)
        if name == "dino":
            method.criterion.center.normal_(0, 0.1, generator=generator)
    sizes = [32] if name == "supervised" else [32] * 2 + [16] * local
    given = [torch.randn(IMAGES, 3, s, s, generator=generator, dtype=torch.float64) for s in sizes]
    labels = torch.tensor([7, 0, 3, 3])
    loss, gradients, made = plain_step(name, method, given, labels, epoch)

    method.epoch = epoch
    out = method(given, labels)
    out["loss"].backward()
    method.after_backward()

    single = 1e-6 if name == "infomax" else 0  # its loss comes in float32, its entropies in float64
    assert out["loss"].item() == pytest.approx(loss.item(), rel=max(1e-9, single))
    for key, value in made.get("entropies", {}).items():
        assert out[key].item() == pytest.approx(value.item(), rel=1e-9)
    if name == "dino":
        torch.testing.assert_close(method.criterion.center, made["center"], rtol=1e-9, atol=1e-12)

    without = {n for n, p in method.named_parameters() if p.grad is None}
    cancelled = {"projector.last_layer.weight_v"} if (name, epoch) == ("dino", 0) else set()
    assert without == {n for n, p in method.named_parameters() if n not in gradients} | cancelled
    assert all(
        n.startswith("teacher.") or n == "projector.last_layer.weight_g"
        for n in without - cancelled
    )
    largest, silent = max(g.abs().max() for g in gradients.values()), set()
    for n, p in method.named_parameters():
        if n not in without:
            scale = gradients[n].abs().max()
            assert (p.grad - gradients[n]).abs().max() <= 1e-5 * scale + 1e-12 * largest, n
            silent |= {n} if scale < 1e-9 * largest else set()
    # Whatever all views share is centred away.
    assert silent == (
        {"projector.layers.3.bias"} if name in ("vicreg", "barlow_twins", "byol") else set()
    )

    after = dict(method.backbone.named_buffers())
    assert after["bn1.num_batches_tracked"] == (2 if local else 1)  # one batch for each resolution
    for key, value in made["backbone"].named_buffers():
        torch.testing.assert_close(after[key], value, rtol=1e-9, atol=1e-12)
    if "teacher" in made:
        for key, value in method.teacher.named_parameters():
            torch.testing.assert_close(value.data, made["teacher"][key], rtol=1e-12, atol=1e-15)
        after = dict(method.teacher[0].named_buffers())
        for key, value in made["teacher_backbone"].named_buffers():
            torch.testing.assert_close(after[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_heads_have_the_widths_of_the_evaluation_code(name):
    method = built(name)
    head = method.classifier if name == "supervised" else method.projector
    shapes = [tuple(m.weight.shape) for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert shapes == list(zip(OUTPUT[name], (256, *OUTPUT[name]), strict=False))
    if name == "byol":
        shapes = [
            tuple(m.weight.shape)
            for m in method.predictor.modules()
            if isinstance(m, torch.nn.Linear)
        ]
        assert shapes == [(1024, 256), (256, 1024)]


@cache
def built(name):
    return build(TrainConfig(method=name, proj_dim=16), 10)


# --- What the loop trains -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BYOL, DINO])
def test_the_loops_teacher_is_the_students_moving_average(kind, tmp_path, monkeypatch):
    """Three epochs of two steps; `forward` notes the epoch and the student that it is called
    with."""
    seen, forward = [], kind.forward

    def noting(self, *given):
        seen.append((self.epoch, {k: v.clone() for k, v in self.state_dict().items()}))
        return forward(self, *given)

    monkeypatch.setattr(kind, "forward", noting)
    config = {
        "n_classes": 4,
        "n_train": 32,
        "batch_size": 16,
        "epochs": 3,
        "lr": 0.01,
        "eval_every": 3,
    }
    run = fit(
        TrainConfig(method=kind.__name__.lower(), **config, device="cpu", runs_dir=str(tmp_path))
    )
    assert [epoch for epoch, _ in seen] == [0, 0, 1, 1, 2, 2]
    final, start = run.method(), seen[0][1]
    moved = 0.0
    for n, p in final.teacher.named_parameters():
        source = "backbone" + n[1:] if n.startswith("0.") else "projector" + n[1:]
        assert torch.equal(start[f"teacher.{n}"], start[source])  # a copy, at first
        expected = start[f"teacher.{n}"].double()
        for epoch, state in seen:
            momentum = (0.996, 0.998, 1.0)[epoch]
            expected = momentum * expected + (1 - momentum) * state[source].double()
        way = (expected - start[f"teacher.{n}"]).abs().max()
        assert (p - expected).abs().max() <= 2e-3 * way + 5e-7, n
        moved = max(moved, way.item())
    assert moved > 1e-4
    if kind is DINO:  # the last layer is frozen in the first epoch, and only there
        v = [state["projector.last_layer.weight_v"] for _, state in seen]
        assert torch.equal(v[0], v[1]) and torch.equal(v[1], v[2])
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(v[2:], v[3:], strict=False))
        assert (
            seen[1][1]["projector.layers.0.weight"] - start["projector.layers.0.weight"]
        ).abs().max() > 1e-3


# --- Views ----------------------------------------------------------------------------------------


def recipe(kind, size, area=None, kernel="bilinear", blur=None, solarize=None, first=False):
    """A view of one of lightly's transforms, from the defaults in its signature."""
    d = {n: p.default for n, p in inspect.signature(kind).parameters.items()}
    assert d["vf_prob"] == d["rr_prob"] == 0
    jitter = tuple(d["cj_strength"] * d[f"cj_{n}"] for n in ("bright", "contrast", "sat", "hue"))
    return ViewSpec(
        size=size,
        area=area or (d["min_scale"], 1.0),
        ratio=inspect.signature(transforms.RandomResizedCrop).parameters["ratio"].default,
        flip=d["hf_prob"],
        jitter=jitter,
        jitter_p=d["cj_prob"],
        gray_p=d["random_gray_scale"],
        blur_p=d["gaussian_blur"] if blur is None else blur,
        sigma=d["sigmas"],
        solarize_p=d[solarize] if isinstance(solarize, str) else solarize or 0.0,
        kernel=kernel,
        solarize_first=first,
    )


def multi_crop(size, local, n_local, areas, blur):
    def view(size, area, blur, solarize=0.0):
        return recipe(lightly.DINOTransform, size, area, "bicubic", blur, solarize)

    globals_ = [view(size, areas[0], blur[0]), view(size, areas[0], blur[1], 0.2)]
    return globals_ + [view(local, areas[1], blur[2])] * n_local


PAPER, LARGE, NONE, LIGHTLY = (
    ((0.4, 1.0), (0.05, 0.4)),
    ((0.5, 1.0), (0.3, 0.5)),
    (0.0, 0.0, 0.0),
    (1.0, 0.1, 0.5),
)
DINO_VIEWS = {
    32: multi_crop(32, 16, 0, LARGE, NONE),
    64: multi_crop(64, 32, 6, LARGE, NONE),
    96: multi_crop(96, 48, 6, LARGE, LIGHTLY),
    224: multi_crop(224, 96, 6, PAPER, LIGHTLY),
}


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_recipes_are_lightlys(size):
    assert built("simclr").view_specs(size) == [recipe(lightly.SimCLRTransform, size)] * 2
    same = recipe(lightly.VICRegTransform, size, solarize="solarize_prob", first=True)
    assert built("vicreg").view_specs(size) == [same] * 2
    both = [
        recipe(k, size, solarize="solarization_prob")
        for k in (BYOLView1Transform, BYOLView2Transform)
    ]
    assert built("byol").view_specs(size) == both == built("barlow_twins").view_specs(size)
    assert built("dino").view_specs(size) == DINO_VIEWS[size]
    local, blur = {32: 16, 64: 32, 96: 48, 224: 96}[size], LIGHTLY if size >= 96 else NONE
    assert built("infomax").view_specs(size) == multi_crop(size, local, 6, PAPER, blur)
    (view,) = built("supervised").view_specs(size)
    crop = {
        n: p.default for n, p in inspect.signature(transforms.RandomResizedCrop).parameters.items()
    }
    assert (view.size, view.area, view.ratio) == (size, crop["scale"], crop["ratio"])
    assert (view.flip, view.kernel) == (0.5, crop["interpolation"].value)
    assert view.jitter_p == view.gray_p == view.blur_p == view.solarize_p == 0


def step_by_step(image, d, steps):
    """lightly's or torchvision's transforms in their own order, with the drawn parameters."""
    for step in steps:
        match type(step).__name__:
            case "RandomResizedCrop":
                box = [int(d[name]) for name in ("top", "left", "height", "width")]
                image = vision.resized_crop(
                    image, *box, list(step.size), InterpolationMode(step.interpolation)
                )
            case "RandomHorizontalFlip":
                image = vision.hflip(image) if d["flip"] else image
            case "RandomApply":
                for k in ORDERS[d["order"]] if d["jitter"] else ():
                    image = JITTER[k](image, d[FACTORS[k]])
            case "RandomGrayscale":
                image = vision.rgb_to_grayscale(image, 3) if d["gray"] else image
            case "GaussianBlur":
                image = (
                    image.filter(ImageFilter.GaussianBlur(radius=d["sigma"]))
                    if d["blur"]
                    else image
                )
            case "RandomSolarization":
                image = ImageOps.solarize(image, step.threshold) if d["solarize"] else image
            case other:
                assert other in ("RandomVerticalFlip", "RandomRotate", "ToTensor", "Normalize")
    return image


BOTH = lightly.BYOLTransform(BYOLView1Transform(input_size=32), BYOLView2Transform(input_size=32))
PEERS = {
    "simclr": [v.transform.transforms for v in lightly.SimCLRTransform(input_size=32).transforms],
    "vicreg": [v.transform.transforms for v in lightly.VICRegTransform(input_size=32).transforms],
    "byol": [v.transform.transforms for v in BOTH.transforms],
    "supervised": [[transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip()]],
}


@pytest.mark.parametrize(("width", "height"), [(32, 32), (64, 48)])
@pytest.mark.parametrize("name", PEERS)
def test_pixels_equal_pillows_in_the_recipes_order(name, width, height):
    """Blur and solarisation raised or lowered to one half where there is any, so that their order
    shows."""
    mine = built(name).view_specs(32)
    mine = [
        replace(v, blur_p=0.5 * (v.blur_p > 0), solarize_p=0.5 * (v.solarize_p > 0)) for v in mine
    ]
    images = photographs(width, height, 24)
    made, drawn = (
        MultiView(mine)(images, seeded(3)),
        draw(mine, len(images), height, width, seeded(3)),
    )
    both = (drawn["blur"] & drawn["solarize"]).sum(1).tolist()
    assert [n >= 3 for n in both] == {"vicreg": [True, True], "byol": [False, True]}.get(
        name, [False] * len(mine)
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    differences = []
    for v, steps in enumerate(PEERS[name]):
        got = (made[v] * std[:, None, None] + mean[:, None, None]) * 255
        for b, image in enumerate(images):
            d = {n: t[v, b].item() for n, t in drawn.items()}
            reference = step_by_step(vision.to_pil_image(image), d, steps)
            differences.append(
                np.abs(got[b].permute(1, 2, 0).numpy() - np.asarray(reference)).ravel()
            )
    assert (np.concatenate(differences) < 2.01).mean() >= 0.999


def test_bilinear_crops_equal_pillows_on_noise():
    """Ties included, which powers of two make common: Pillow rounds them up."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (100, 3, 40, 32), dtype=np.uint8))
    height, width = (
        torch.from_numpy(rng.integers(1, 41, 100)),
        torch.from_numpy(rng.integers(1, 33, 100)),
    )
    d = {
        "height": height,
        "width": width,
        "top": 40 - height,
        "left": 32 - width,
        "flip": height % 2 == 0,
    }
    got = crop(
        images,
        {n: t[None] if n == "flip" else t[None].float() for n, t in d.items()},
        16,
        "bilinear",
    )
    off = []
    for k, image in enumerate(images):
        box = [int(d[n][k]) for n in ("top", "left", "height", "width")]
        reference = vision.resized_crop(
            vision.to_pil_image(image), *box, [16, 16], InterpolationMode.BILINEAR
        )
        reference = vision.hflip(reference) if d["flip"][k] else reference
        off.append(got[:, 0, k].permute(1, 2, 0).numpy() - np.asarray(reference, float))
    assert (np.abs(off) <= 1).mean() >= 0.999
    assert np.equal(off, 0).mean() >= 0.98
    assert abs(np.mean(off)) < 0.005


# --- Backbones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "local", "patch", "dim"),
    [("vit_tiny", 96, 48, 16, 192), ("vit_tiny", 224, 96, 16, 192), ("vit_mini", 32, 16, 4, 128)],
)
def test_vits_take_local_views_with_resampled_position_embeddings(name, size, local, patch, dim):
    """As a network for the local size does, with embeddings that Pillow has resized."""
    torch.manual_seed(0)
    net = build(TrainConfig(method="simclr", backbone=name, image_size=size), 10).backbone
    old, new = size // patch, local // patch
    assert net.pos_embed.shape == (1, 1 + old**2, dim) and net.num_features == dim
    with torch.no_grad():
        net.pos_embed.normal_()
        given = [torch.randn(2, 3, s, s) for s in (size, local, size)]
        made = models.forward_views(net, given)
        assert all(y.shape == (2, dim) and y.isfinite().all() for y in made)
        torch.testing.assert_close(
            made[2], net.forward_features(given[2])[:, 0], rtol=1e-4, atol=1e-5
        )  # CLS

        grid = net.pos_embed[0, 1:].T.view(dim, old, old).numpy()
        cells = [
            np.asarray(Image.fromarray(c).resize((new, new), Image.Resampling.BICUBIC))
            for c in grid
        ]
        resized = torch.from_numpy(np.stack(cells)).flatten(1).T
        small = models.backbone(name, size=local)
        small.load_state_dict(
            net.state_dict() | {"pos_embed": torch.cat([net.pos_embed[0, :1], resized])[None]}
        )
        torch.testing.assert_close(made[1], small(given[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "stem", "sides"),
    [
        ("resnet18", "imagenet", [8, 4, 2, 1]),
        ("resnet18", "small", [32, 16, 8, 4]),
        ("resnet_small", "imagenet", [8, 4, 2, 1]),
        ("resnet_small", "small", [16, 8, 4, 2]),
    ],
)
def test_stems_set_the_resolution(name, stem, sides):
    net, seen = models.backbone(name, stem).eval(), []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        stage.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape[2:])))
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, net.num_features)
    assert seen == [(s, s) for s in sides]


def test_vicregs_terms_are_lightlys():
    """Loss and gradient of lightly's `VICRegLoss`, whose covariance term is computed with a
    mask."""
    from lightly.loss import VICRegLoss

    method = build(TrainConfig(method="vicreg"), 10)
    z = [torch.randn(24, 2048, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    method.project = lambda views: views
    mine, peer = method(z, None)["loss"], VICRegLoss()(*z)
    assert mine.item() == pytest.approx(peer.item(), rel=1e-12)
    for a, b in zip(torch.autograd.grad(mine, z), torch.autograd.grad(peer, z), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
