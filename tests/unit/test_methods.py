"""Methods against float64 steps written out, recipes against lightly's signatures, pixels against
Pillow's."""

import inspect
import math
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision
from lightly import transforms as lightly
from lightly.loss import DCLLoss
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image, ImageFilter, ImageOps
from scipy.special import ive
from test_views import BOX, FACTORS, JITTER, off_from_pillow, photographs, seeded
from torch.func import functional_call
from torch.nn.functional import gelu, linear, relu
from torch.nn.modules.module import register_module_forward_pre_hook
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from infomax_nb import captured, models
from infomax_nb.config import TrainConfig
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import BYOL, DINO, FAMILY, METHODS, build
from infomax_nb.methods.many_views import pairs
from infomax_nb.train.fitting import fit
from infomax_nb.views.batch import MultiView
from infomax_nb.views.colours import ORDERS
from infomax_nb.views.drawing import draw
from infomax_nb.views.specification import ViewSpec

EPOCHS = 10
IMAGES = 4
KAPPA = 7.0
ALPHA = 1.5
BETA = 0.7
OUTPUT = {
    **dict.fromkeys(["infomax", *FAMILY], (2048, 16)),
    "simclr": (2048, 128),
    "vicreg": (2048, 2048),
    "barlow_twins": (2048, 2048),
    "byol": (1024, 256),
    "dino": (512, 512, 64, 2048),
    "supervised": (10,),
}


@cache
def built(name):
    return build(TrainConfig(method=name, proj_dim=16), 10)


# --- Heads and losses, written out ----------------------------------------------------------------


def norm(x, p, layer):
    """BatchNorm in training, written out."""
    centred = x - x.mean(0)
    scaled = centred / (centred.square().mean(0) + 1e-5).sqrt()
    return scaled * p[f"{layer}.weight"] + p[f"{layer}.bias"]


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
    every = []
    own = []
    for i, row in enumerate(unit):
        s = {j: scale * (row @ other) for j, other in enumerate(unit) if j != i}
        every.append(torch.stack(list(s.values())).logsumexp(0))
        own.append(torch.stack([s[j] for j in s if j % IMAGES == i % IMAGES]).logsumexp(0))
    return torch.stack(every), torch.stack(own)


def infomax(z):
    """Eq. 2 to 4; C_D from scipy's Bessel function."""
    n = IMAGES * len(z)
    nu = z[0].shape[1] / 2 - 1
    log_bessel = math.log(ive(nu, KAPPA)) + KAPPA
    log_c = nu * math.log(KAPPA) - (nu + 1) * math.log(2 * math.pi) - log_bessel
    h_global, h_local = [-(log_c + s - math.log(n - 1)).mean() for s in log_sums(z, KAPPA)]
    return -(ALPHA * h_global - BETA * h_local), {"h_global": h_global, "h_local": h_local}


def family(name, z):
    """The other points of ours' family, view by view, from plain sums of plain exponentials."""
    unit = [row / row.norm() for row in torch.cat(z)]
    terms = []
    for i, row in enumerate(unit):
        e = [(KAPPA * (row @ other)).exp() for other in unit]
        own = [e[j] for j in range(len(e)) if j != i and j % IMAGES == i % IMAGES]
        others = sum(e[j] for j in range(len(e)) if j % IMAGES != i % IMAGES)
        shares = torch.stack([each / (each + others) for each in own])
        terms += {
            "l_out": [-(torch.stack(own) / (sum(own) + others)).log().mean()],
            "dcl": [-(sum(own) / others).log()],
            "pvc_geometric": [-shares.log().mean()],
            "pvc_arithmetic": [-shares.mean().log()],
        }[name]
    return torch.stack(terms).mean()


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
        for s, logits in enumerate(student):
            if s != t:
                terms.append(-(target * (logits / 0.1).log_softmax(1)).sum(1).mean())
    assert len(terms) == 2 * len(student) - 2
    return torch.stack(terms).mean()


# --- One step -------------------------------------------------------------------------------------


class PlainStep:
    """A step from a method's present weights, which it leaves as they are.

    `changed` is what the step changes beside the weights: BatchNorm's statistics, the teacher.
    """

    def __init__(self, method, views, labels, epoch):
        self.method = method
        self.views = views
        self.labels = labels
        self.epoch = epoch
        self.weights = {}
        for name, p in method.named_parameters():
            self.weights[name] = p.detach().clone().requires_grad_(p.requires_grad)
        self.changed = {"backbone": deepcopy(method.backbone)}

    def part(self, prefix):
        own = [name for name in self.weights if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.weights[name] for name in own}

    def encode(self, network, prefix, views):
        """Features (V * B, D), each resolution in one batch."""
        groups = [torch.cat(group) for group in (views[:2], views[2:]) if group]
        return torch.cat([functional_call(network, self.part(prefix), group) for group in groups])

    def features(self):
        return self.encode(self.changed["backbone"], "backbone.", self.views)

    def project(self, head):
        return head(self.part("projector."), self.features()).split(IMAGES)

    def teach(self, head):
        """Move the teacher, and project the global views with it."""
        momentum = 1 - 0.004 * (1 + math.cos(math.pi * self.epoch / (EPOCHS - 1))) / 2
        for name in [name for name in self.weights if name.startswith("teacher.")]:
            source = name.replace("teacher.0", "backbone").replace("teacher.1", "projector")
            student = self.weights[source].detach()
            self.weights[name] = momentum * self.weights[name] + (1 - momentum) * student
        network = deepcopy(self.method.teacher[0])
        self.changed |= {"teacher": self.part("teacher."), "teacher_backbone": network}
        with torch.no_grad():
            features = self.encode(network, "teacher.0.", self.views[:2])
            return head(self.part("teacher.1."), features).split(IMAGES)

    def gradients(self, loss):
        trained = {name: w for name, w in self.weights.items() if w.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()))
        return dict(zip(trained, gradients, strict=True))


def infomax_step(step):
    loss, step.changed["entropies"] = infomax(step.project(mlp))
    return loss


def family_step(name, step):
    return family(name, step.project(mlp))


def simclr_step(step):
    return nt_xent(step.project(simclr_head))


def vicreg_step(step):
    return vicreg(step.project(mlp))


def barlow_twins_step(step):
    return barlow_twins(step.project(mlp))


def byol_step(step):
    z = step.project(mlp)
    targets = step.teach(mlp)
    first, second = mlp(step.part("predictor."), torch.cat(z)).split(IMAGES)
    return 0.5 * (-cosines(first, targets[1]).mean() - cosines(second, targets[0]).mean())


def dino_step(step):
    student = step.project(dino_head)
    targets = step.teach(dino_head)
    center = step.method.criterion.center.clone()
    step.changed["center"] = 0.9 * center + 0.1 * torch.cat(targets).mean(0)
    return dino(student, targets, center[0])


def supervised_step(step):
    p = step.part("classifier.")
    logits = linear(step.features(), p["weight"], p["bias"])
    return (logits.logsumexp(1) - logits[range(IMAGES), step.labels]).mean()


STEPS = {
    **{name: partial(family_step, name) for name in FAMILY},
    "infomax": infomax_step,
    "simclr": simclr_step,
    "vicreg": vicreg_step,
    "barlow_twins": barlow_twins_step,
    "byol": byol_step,
    "dino": dino_step,
    "supervised": supervised_step,
}
# Method, epoch, local views.
CASES = [
    ("infomax", 3, 6),
    ("infomax", 3, 0),
    *((name, 3, local) for name in FAMILY for local in (6, 0)),
    ("simclr", 3, 0),
    ("vicreg", 3, 0),
    ("barlow_twins", 3, 0),
    ("byol", 3, 0),
    ("byol", 9, 0),
    ("dino", 0, 6),
    ("dino", 1, 0),
    ("dino", 3, 6),
    ("supervised", 3, 0),
]


def shaken(name):
    """A method in float64: nothing at its initial zero or one, a teacher unlike the student."""
    torch.manual_seed(1)
    own = {"proj_dim": 16, "kappa": KAPPA, "alpha": ALPHA, "beta": BETA}
    method = build(TrainConfig(method=name, epochs=EPOCHS, **own), 10).double()
    generator = seeded(2)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.02)
        if name == "dino":
            method.criterion.center.normal_(0, 0.1, generator=generator)
    return method


def compare_gradients(method, name, epoch, gradients):
    without = {n for n, p in method.named_parameters() if p.grad is None}
    cancelled = {"projector.last_layer.weight_v"} if (name, epoch) == ("dino", 0) else set()
    untrained = {n for n, p in method.named_parameters() if n not in gradients}
    assert without == untrained | cancelled
    for n in untrained:
        assert n.startswith("teacher.") or n == "projector.last_layer.weight_g"
    largest = max(g.abs().max() for g in gradients.values())
    silent = set()
    for n, p in method.named_parameters():
        if n in without:
            continue
        scale = gradients[n].abs().max()
        assert (p.grad - gradients[n]).abs().max() <= 1e-5 * scale + 1e-12 * largest, n
        if scale < 1e-9 * largest:
            silent.add(n)
    # Whatever all views share is centred away.
    centred = name in ("vicreg", "barlow_twins", "byol")
    assert silent == ({"projector.layers.3.bias"} if centred else set())


def compare_buffers(network, expected):
    buffers = dict(network.named_buffers())
    for key, value in expected.named_buffers():
        torch.testing.assert_close(buffers[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "epoch", "local"), CASES)
def test_a_step_equals_one_written_out_in_float64(name, epoch, local):
    method = shaken(name)
    generator = seeded(3)
    sizes = [32] if name == "supervised" else [32] * 2 + [16] * local
    shapes = [(IMAGES, 3, size, size) for size in sizes]
    views = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    labels = torch.tensor([7, 0, 3, 3])
    step = PlainStep(method, views, labels, epoch)
    loss = STEPS[name](step)
    gradients = step.gradients(loss)

    method.epoch = epoch
    out = method(views, labels)
    out["loss"].backward()
    method.after_backward()

    assert out["loss"].item() == pytest.approx(loss.item(), rel=1e-9)
    for key, value in step.changed.get("entropies", {}).items():
        assert out[key].item() == pytest.approx(value.item(), rel=1e-9)
    if name == "dino":
        center = step.changed["center"]
        torch.testing.assert_close(method.criterion.center, center, rtol=1e-9, atol=1e-12)
    compare_gradients(method, name, epoch, gradients)
    batches = method.backbone.bn1.num_batches_tracked
    assert batches == (2 if local else 1)  # one for each resolution
    compare_buffers(method.backbone, step.changed["backbone"])
    if "teacher" in step.changed:
        for key, value in method.teacher.named_parameters():
            moved = step.changed["teacher"][key]
            torch.testing.assert_close(value.data, moved, rtol=1e-12, atol=1e-15)
        compare_buffers(method.teacher[0], step.changed["teacher_backbone"])


def widths(head):
    return [tuple(m.weight.shape) for m in head.modules() if isinstance(m, torch.nn.Linear)]


@pytest.mark.parametrize("name", METHODS | FAMILY)
def test_heads_have_the_widths_of_the_evaluation_code(name):
    method = built(name)
    head = method.classifier if name == "supervised" else method.projector
    assert widths(head) == list(zip(OUTPUT[name], (256, *OUTPUT[name]), strict=False))
    if name == "byol":
        assert widths(method.predictor) == [(1024, 256), (256, 1024)]


# --- Ours' family ---------------------------------------------------------------------------------


def projections(views, dtype=torch.float64):
    generator = seeded(4)
    return [torch.randn(IMAGES, 8, generator=generator, dtype=dtype) for _ in range(views)]


def loss_of(name, z, kappa=KAPPA):
    return FAMILY[name].of_pairs(*pairs(z, kappa))


@pytest.mark.parametrize("kappa", [0.1, 7.0, 500.0])
def test_decoupled_is_lightlys_for_two_views(kappa):
    z = projections(2)
    expected = DCLLoss(temperature=1 / kappa)(*z).item()
    assert loss_of("dcl", z, kappa).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["l_out", "pvc_geometric", "pvc_arithmetic"])
def test_with_two_views_all_that_keep_the_positive_below_are_ours(name):
    z = projections(2)
    assert loss_of(name, z).item() == pytest.approx(InfoMaxLoss(KAPPA)(z).item(), rel=1e-9)


def test_with_more_views_they_stand_in_the_order_that_jensen_says():
    """Less in the denominator is a smaller loss; a mean outside the logarithm a larger one."""
    z = projections(5)
    found = {name: loss_of(name, z).item() for name in FAMILY}
    ours = InfoMaxLoss(KAPPA)(z).item() + math.log(4)  # as a mean over the four positives
    assert found["dcl"] + math.log(4) < ours < found["l_out"]
    assert found["pvc_arithmetic"] < found["pvc_geometric"] < found["l_out"]


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("views", [2, 3, 5])
def test_gradients_are_finite_differences(name, views):
    z = [x.requires_grad_() for x in projections(views)]
    assert torch.autograd.gradcheck(lambda *given: loss_of(name, list(given)), z)


@pytest.mark.parametrize("name", FAMILY)
def test_at_large_kappa_nothing_overflows(name):
    z = [x.requires_grad_() for x in projections(3, torch.float32)]
    loss = loss_of(name, z, kappa=1e4)
    loss.backward()
    exact = loss_of(name, [x.detach().double() for x in z], kappa=1e4)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
    assert all(x.grad.isfinite().all() for x in z)


def test_what_differs_from_ours_in_the_loss_alone_has_its_views_and_its_kappa():
    for name in FAMILY:
        assert built(name).view_specs(32) == built("infomax").view_specs(32)
        values = TrainConfig(method=name).identity()
        assert {"kappa", "proj_dim"} <= set(values)
        assert not {"alpha", "beta"} & set(values)


# --- What the loop trains -------------------------------------------------------------------------


@contextmanager
def noted_steps(kind):
    """A list that each step of a method of this kind adds to: its epoch and present weights."""
    steps = []

    def note(module, inputs):
        if isinstance(module, kind):
            weights = {name: x.clone() for name, x in module.state_dict().items()}
            steps.append((module.epoch, weights))

    hook = register_module_forward_pre_hook(note)
    try:
        yield steps
    finally:
        hook.remove()


def short_run(kind, folder):
    """Three epochs of two steps."""
    size = {"n_classes": 4, "n_train": 32, "batch_size": 16, "epochs": 3, "eval_every": 3}
    place = {"device": "cpu", "runs_dir": str(folder)}
    return fit(TrainConfig(method=kind.__name__.lower(), lr=0.01, **size, **place))


@pytest.mark.parametrize("kind", [BYOL, DINO])
def test_the_loops_teacher_is_the_students_moving_average(kind, tmp_path):
    with noted_steps(kind) as steps:
        run = short_run(kind, tmp_path)
    assert [epoch for epoch, _ in steps] == [0, 0, 1, 1, 2, 2]
    _, start = steps[0]
    momenta = [0.996, 0.998, 1.0]
    ways = []
    for n, p in run.method().teacher.named_parameters():
        source = "backbone" + n[1:] if n.startswith("0.") else "projector" + n[1:]
        assert torch.equal(start[f"teacher.{n}"], start[source])  # a copy, at first
        expected = start[f"teacher.{n}"].double()
        for epoch, weights in steps:
            momentum = momenta[epoch]
            expected = momentum * expected + (1 - momentum) * weights[source].double()
        way = (expected - start[f"teacher.{n}"]).abs().max().item()
        assert (p - expected).abs().max() <= 2e-3 * way + 5e-7, n
        ways.append(way)
    assert max(ways) > 1e-4


def test_dinos_last_layer_is_frozen_in_the_first_epoch_and_only_there(tmp_path):
    with noted_steps(DINO) as steps:
        short_run(DINO, tmp_path)
    last = [weights["projector.last_layer.weight_v"] for _, weights in steps]
    assert torch.equal(last[0], last[1]) and torch.equal(last[1], last[2])
    for before, after in pairwise(last[2:]):
        assert (before - after).abs().max() > 1e-3
    first = [weights["projector.layers.0.weight"] for _, weights in steps]
    assert (first[1] - first[0]).abs().max() > 1e-3


# --- Views ----------------------------------------------------------------------------------------


def recipe(kind, size, area=None, kernel="bilinear", blur=None, solarize=None, first=False):
    """A view of one of lightly's transforms, from the defaults in its signature."""
    d = {n: p.default for n, p in inspect.signature(kind).parameters.items()}
    assert d["vf_prob"] == d["rr_prob"] == 0
    strengths = [d[f"cj_{name}"] for name in ("bright", "contrast", "sat", "hue")]
    jitter = tuple(d["cj_strength"] * strength for strength in strengths)
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


# Areas of global and local views; probabilities of their blur.
PAPER = ((0.4, 1.0), (0.05, 0.4))
LARGE = ((0.5, 1.0), (0.3, 0.5))
NONE = (0.0, 0.0, 0.0)
LIGHTLY = (1.0, 0.1, 0.5)
LOCAL = {32: 16, 64: 32, 96: 48, 224: 96}
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
    blur = LIGHTLY if size >= 96 else NONE
    assert built("infomax").view_specs(size) == multi_crop(size, LOCAL[size], 6, PAPER, blur)


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_the_supervised_view_is_torchvisions(size):
    (view,) = built("supervised").view_specs(size)
    defaults = inspect.signature(transforms.RandomResizedCrop).parameters
    crop = {name: parameter.default for name, parameter in defaults.items()}
    assert (view.size, view.area, view.ratio) == (size, crop["scale"], crop["ratio"])
    assert (view.flip, view.kernel) == (0.5, crop["interpolation"].value)
    assert view.jitter_p == view.gray_p == view.blur_p == view.solarize_p == 0


def crop_and_resize(step, image, d):
    box = [int(d[name]) for name in BOX]
    mode = InterpolationMode(step.interpolation)
    return vision.resized_crop(image, *box, list(step.size), mode)


def flip(step, image, d):
    return vision.hflip(image) if d["flip"] else image


def jitter(step, image, d):
    for k in ORDERS[d["order"]] if d["jitter"] else ():
        image = JITTER[k](image, d[FACTORS[k]])
    return image


def grey(step, image, d):
    return vision.rgb_to_grayscale(image, 3) if d["gray"] else image


def blur(step, image, d):
    return image.filter(ImageFilter.GaussianBlur(radius=d["sigma"])) if d["blur"] else image


def solarise(step, image, d):
    return ImageOps.solarize(image, step.threshold) if d["solarize"] else image


def nothing(step, image, d):
    return image


APPLY = {
    "RandomResizedCrop": crop_and_resize,
    "RandomHorizontalFlip": flip,
    "RandomApply": jitter,
    "RandomGrayscale": grey,
    "GaussianBlur": blur,
    "RandomSolarization": solarise,
    **dict.fromkeys(("RandomVerticalFlip", "RandomRotate", "ToTensor", "Normalize"), nothing),
}


def step_by_step(image, d, steps):
    """lightly's or torchvision's transforms in their own order, with the drawn parameters."""
    for step in steps:
        image = APPLY[type(step).__name__](step, image, d)
    return image


def steps_of(transform):
    return [view.transform.transforms for view in transform.transforms]


BYOL_32 = [BYOLView1Transform(input_size=32), BYOLView2Transform(input_size=32)]
PEERS = {
    "simclr": steps_of(lightly.SimCLRTransform(input_size=32)),
    "vicreg": steps_of(lightly.VICRegTransform(input_size=32)),
    "byol": steps_of(lightly.BYOLTransform(*BYOL_32)),
    "supervised": [[transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip()]],
}


@pytest.mark.parametrize(("width", "height"), [(32, 32), (64, 48)])
@pytest.mark.parametrize("name", PEERS)
def test_pixels_equal_pillows_in_the_recipes_order(name, width, height):
    """Blur and solarisation raised or lowered to one half where there is any, so that their order
    shows."""
    specs = []
    for spec in built(name).view_specs(32):
        chances = {"blur_p": 0.5 * (spec.blur_p > 0), "solarize_p": 0.5 * (spec.solarize_p > 0)}
        specs.append(replace(spec, **chances))
    images = photographs(width, height, 24)
    views = MultiView(specs)(images, seeded(3))
    numbers = draw(specs, len(images), height, width, seeded(3))
    both = (numbers["blur"] & numbers["solarize"]).sum(1).tolist()
    expected = {"vicreg": [True, True], "byol": [False, True]}.get(name, [False] * len(specs))
    assert [count >= 3 for count in both] == expected
    off = []
    for v, steps in enumerate(PEERS[name]):
        own = {n: x[v] for n, x in numbers.items()}
        off.append(off_from_pillow(views[v], images, own, partial(step_by_step, steps=steps)))
    assert (np.concatenate(off) < 2.01).mean() >= 0.999


# --- Backbones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "local", "patch", "dim"),
    [("vit_tiny", 96, 48, 16, 192), ("vit_tiny", 224, 96, 16, 192), ("vit_mini", 32, 16, 4, 128)],
)
def test_vits_take_local_views_with_resampled_position_embeddings(name, size, local, patch, dim):
    """As a network for the local size does, with embeddings that Pillow has resized."""
    torch.manual_seed(0)
    net = models.backbone(name, size=size)
    old = size // patch
    new = local // patch
    assert net.pos_embed.shape == (1, 1 + old**2, dim) and net.num_features == dim
    with torch.no_grad():
        net.pos_embed.normal_()
        views = [torch.randn(2, 3, side, side) for side in (size, local, size)]
        features = models.forward_views(net, views)
        assert all(y.shape == (2, dim) and y.isfinite().all() for y in features)
        cls = net.forward_features(views[2])[:, 0]
        torch.testing.assert_close(features[2], cls, rtol=1e-4, atol=1e-5)

        grid = net.pos_embed[0, 1:].T.view(dim, old, old).numpy()
        bicubic = Image.Resampling.BICUBIC
        cells = [Image.fromarray(channel).resize((new, new), bicubic) for channel in grid]
        resized = torch.from_numpy(np.stack(cells)).flatten(1).T
        small = models.backbone(name, size=local)
        embeddings = torch.cat([net.pos_embed[0, :1], resized])[None]
        small.load_state_dict(net.state_dict() | {"pos_embed": embeddings})
        torch.testing.assert_close(features[1], small(views[1]), rtol=1e-4, atol=1e-5)


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
    net = models.backbone(name, stem).eval()
    seen = []
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
    mine = method.losses(None, z)["loss"]
    peer = VICRegLoss()(*z)
    assert mine.item() == pytest.approx(peer.item(), rel=1e-12)
    for a, b in zip(torch.autograd.grad(mine, z), torch.autograd.grad(peer, z), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["byol", "dino"])
def test_where_steps_are_recorded_a_teacher_follows_its_student(method, monkeypatch):
    """Half a cosine from 0.996 to 1 over epochs 0, 1 and 2: in epoch 1 the teacher keeps 0.998."""
    torch.manual_seed(0)
    built = METHODS[method](TrainConfig(method=method, epochs=3, proj_dim=16), 10).eval()
    with torch.no_grad():
        for weight in built.teacher.parameters():
            weight.add_(torch.randn_like(weight))
    before = [weight.clone().double() for weight in built.teacher.parameters()]
    monkeypatch.setitem(captured.RECORDERS, "cpu", None)
    built.epoch = 1
    built.begin_step()
    built.teach([torch.zeros(2, 3, 32, 32)] * 2)
    students = [*built.backbone.parameters(), *built.projector.parameters()]
    for start, student, end in zip(before, students, built.teacher.parameters(), strict=True):
        expected = 0.998 * start + 0.002 * student.double()
        torch.testing.assert_close(end.double(), expected, rtol=1e-5, atol=1e-6)
