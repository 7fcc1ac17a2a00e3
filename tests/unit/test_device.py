"""Precision and device: what is float32 stays so, what a run used is part of its name, and faults
are told apart.

There may be no GPU. bfloat16 autocast runs on every CPU;
`torch.set_float32_matmul_precision("medium")` puts bfloat16 in float32's place on CPUs that have
it, as TF32 does on a GPU; torch's own answers about CUDA are put into its mouth.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode

from infomax_nb import device, errors
from infomax_nb.analysis.saliency import maps
from infomax_nb.config import PATCHES, TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError, RunError, file_errors
from infomax_nb.evaluation.neighbours import knn, nearest
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.evaluation.probe import held_out_information, represent
from infomax_nb.evaluation.representation import effective_rank, features
from infomax_nb.files import atomic_write
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import METHODS, Method, build
from infomax_nb.models import backbone
from infomax_nb.objective.diagnostics import diagnostics
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run, collect, siblings
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views
from pipeline import plan, table1
from pipeline.sweep import name_of, runs_of

ROOT = Path(__file__).parents[2]
TINY = {"n_classes": 4, "n_train": 32, "batch_size": 16, "proj_dim": 8, "epochs": 1}
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx"
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rows(n: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(n, dim, generator=seeded(seed))


def pictures(n: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=seeded(0))


def labelled(n: int, size: int = 32) -> ImageSet:
    """Pictures of four classes in turn."""
    return ImageSet(pictures(n, size), torch.arange(n) % 4, list("abcd"))


# --- bfloat16 autocast ----------------------------------------------------------------------------

autocast = partial(torch.autocast, "cpu", torch.bfloat16)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_in_bfloat16(method, tmp_path):
    """Close to float32, but not equal: the networks did run in bfloat16."""
    config = TrainConfig(method=method, **TINY, device="cpu", runs_dir=str(tmp_path))
    plain = fit(config)
    half = fit(config.replace(precision="bf16"))
    assert half.path != plain.path
    assert half.config.precision == half.record["precision"] == "bf16"
    assert half.metrics.notna().all(axis=None)
    assert half.metrics.loss[0] != plain.metrics.loss[0]
    assert half.metrics.loss[0] == pytest.approx(plain.metrics.loss[0], rel=0.05)
    assert all(v.dtype != torch.bfloat16 for v in half.method().state_dict().values())


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_float32_under_autocast(name):
    """Value and gradient are float64's, from the networks' outputs as they are, bfloat16
    numbers."""
    received = []

    class Noting(METHODS[name]):
        def losses(self, labels, *outputs):
            assert all(x.dtype == torch.float32 for each in outputs for x in each)
            assert not torch.is_autocast_enabled("cpu")
            received.extend([x.detach().requires_grad_() for x in each] for each in outputs)
            return super().losses(labels, *received)

    torch.manual_seed(0)
    method = Noting(TrainConfig(method=name, proj_dim=16, epochs=10), 10)
    sizes = [view.size for view in method.view_specs(32)]
    views = [torch.randn(16, 3, s, s, generator=seeded(k)) for k, s in enumerate(sizes)]
    labels = torch.arange(16) % 10
    with autocast():
        loss = method(views, labels)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    outputs = [*chain.from_iterable(received)]
    assert all(torch.equal(x, x.bfloat16().float()) for x in outputs)  # autocast was on

    if name == "dino":
        method.criterion.center.zero_()  # as it was before the first step
    exact = [[x.detach().double().requires_grad_() for x in each] for each in received]
    reference = METHODS[name].losses(method, labels, *exact)["loss"]
    reference.backward()
    assert loss.item() == pytest.approx(reference.item(), rel=2e-5)
    for mine, theirs in zip(outputs, chain.from_iterable(exact), strict=True):
        if theirs.grad is not None:  # a teacher's has none
            assert (mine.grad - theirs.grad).abs().max() <= 1e-4 * theirs.grad.abs().max()


@pytest.mark.parametrize(
    "network, layer", [("resnet_small", "layer4.0.conv1"), ("resnet50", "layer4.0.conv2")]
)
def test_gradients_of_a_kernel_that_sees_padding_are_zero_in_bfloat16(network, layer):
    """A view of 16 pixels is one pixel in the last layer: there 3x3 has a centre, and eight weights
    that see nothing.

    Memory is filled with NaN before, for it is what an unwritten gradient shows.
    """
    torch.manual_seed(0)
    net = backbone(network)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            # timm's zeros at the end of a block let nothing back through it.
            nn.init.ones_(module.weight)
    weight = net.get_submodule(layer).weight
    images = torch.randn(16, 3, 16, 16)
    around = torch.ones(3, 3, dtype=torch.bool)
    around[1, 1] = False
    for _ in range(3):
        net.zero_grad()
        sizes = [weight.numel()] * 8 + [weight.numel() // 2] * 8
        spoilt = [torch.full((size,), torch.nan) for size in sizes]
        del spoilt
        with autocast():
            out = net(images)
        out.float().square().sum().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters())
        assert weight.grad[:, :, around].abs().max() == 0
        assert weight.grad[:, :, 1, 1].abs().max() > 0


def test_views_do_not_feel_autocast():
    views = MultiView(dino_views(96))
    plain = views(pictures(8, 96), seeded(1))
    with autocast():
        rounded = views(pictures(8, 96), seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(plain, rounded, strict=True))


class Collapsed(nn.Module):
    """128 features that vary in three dimensions around a common mean."""

    def __init__(self):
        super().__init__()
        self.few = nn.Linear(3 * 32 * 32, 3)
        self.many = nn.Linear(3, 128)
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(generator=seeded(p.numel()))
            self.few.weight.mul_(0.01)
            self.many.bias.mul_(50)

    def forward(self, x):
        return self.many(self.few(x.flatten(1)))


def test_a_collapse_shows_in_features_under_autocast():
    net = Collapsed()
    images = pictures(400)
    with autocast():
        rounded = net(images.float() / 255).detach().float()
        exact = features(net, images)
        assert effective_rank(rounded) > 20  # what rounding makes of it
        assert effective_rank(exact) < 4
    assert exact.dtype == torch.float32


def test_representations_are_features_under_autocast():
    net = Collapsed()
    images = pictures(400)
    with autocast():
        represented = represent({"x": net}, ImageSet(images, None, []))
        assert torch.equal(features(net, images), represented["x"][0])


def test_a_collapse_shows_in_the_online_evaluation_under_autocast():
    net = Collapsed()
    train = labelled(400)
    test = train[:100]
    with autocast():
        measured = OnlineEvaluation(train, test, 128, 0, torch.device("cpu"))(net, 1)
    assert measured["effective_rank"] < 4
    assert measured == OnlineEvaluation(train, test, 128, 0, torch.device("cpu"))(net, 1)


def assert_same_under_autocast(measure) -> None:
    plain = measure()
    with autocast():
        assert torch.equal(measure(), plain)


def test_neighbours_do_not_feel_autocast():
    x = random_rows(300, 64, seed=0)
    queries = random_rows(50, 64, seed=1)
    labels = torch.arange(300) % 5
    assert_same_under_autocast(lambda: nearest(x, queries, 7))
    assert_same_under_autocast(lambda: knn(x, labels, queries, 5))


@pytest.mark.parametrize("network", ["resnet_small", "vit_mini"])
def test_saliency_maps_do_not_feel_autocast(network):
    net = backbone(network).eval()
    assert_same_under_autocast(lambda: maps(net, pictures(4)))


def test_held_out_information_does_not_feel_autocast():
    method = build(TrainConfig(proj_dim=16), 4).eval()
    measure = partial(held_out_information, method, labelled(16))
    assert_same_under_autocast(lambda: torch.tensor([*measure().values()]))


def test_diagnostics_do_not_feel_autocast():
    views = [random_rows(50, 64, seed=0), random_rows(50, 64, seed=1)]
    measure = partial(diagnostics, views, InfoMaxLoss(10.0))
    assert_same_under_autocast(lambda: torch.tensor([*measure().values()]))


# --- TF32 -----------------------------------------------------------------------------------------


def replace_float32(products: str, convolutions: str) -> None:
    """Say what takes float32's place; "highest" and "none", as at the start: nothing."""
    torch.set_float32_matmul_precision(products)
    torch.backends.mkldnn.conv.fp32_precision = convolutions


@pytest.fixture
def coarse():
    """bfloat16 in the place of float32 in products and convolutions, the CPU's counterpart of
    TF32."""
    replace_float32("medium", "bf16")
    try:
        x = torch.full((512, 512), 1 + 2**-12)
        if torch.equal(x @ torch.eye(512), x):
            pytest.skip("this CPU has no bfloat16 products")
        yield
    finally:
        replace_float32("highest", "none")


def plainly(compute):
    """What `compute` gives with torch's flags as they are at the start."""
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.mkldnn.conv.fp32_precision
    replace_float32("highest", "none")
    plain = compute()
    replace_float32(products, convolutions)
    return plain


def test_pixels_are_exact_whatever_float32_is_replaced_by(coarse):
    views = MultiView(dino_views(96))  # with blur

    def make():
        return views(pictures(8, 96), seeded(1))

    assert all(torch.equal(a, b) for a, b in zip(make(), plainly(make), strict=True))
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"


def entropies_and_gradients(kappa: float, views: torch.Tensor) -> tuple[list[float], torch.Tensor]:
    """Of both entropies' sum, for views (V, N, D)."""
    leaves = [view.requires_grad_() for view in views]
    entropies = InfoMaxLoss(kappa).entropies(leaves)
    sum(entropies).backward()
    return [h.item() for h in entropies], torch.stack([leaf.grad for leaf in leaves])


@pytest.mark.parametrize("kappa", [10.0, 1e4])
def test_entropies_and_their_gradients_are_exact(coarse, kappa):
    """Eight views that are nearly one: at the largest kappa a rounded product would be off by whole
    nats."""
    centre = torch.randn(1, 64, 256, generator=seeded(0))
    views = centre + 1e-2 * torch.randn(8, 64, 256, generator=seeded(1))
    wanted, wanted_gradients = entropies_and_gradients(kappa, views.double())
    entropies, gradients = entropies_and_gradients(kappa, views)
    assert entropies == pytest.approx(wanted, abs=1e-6 * kappa + 1e-4)
    assert (gradients - wanted_gradients).norm() <= 1e-3 * wanted_gradients.norm()


def test_features_are_exact(coarse):
    compute = partial(features, backbone("resnet_small").eval(), pictures(200))
    assert torch.equal(compute(), plainly(compute))


def test_neighbours_are_exact(coarse):
    x = random_rows(3000, 64, seed=0)
    queries = random_rows(500, 64, seed=1)
    labels = torch.arange(3000) % 5
    for compute in (partial(nearest, x, queries, 9), partial(knn, x, labels, queries, 5)):
        assert torch.equal(compute(), plainly(compute))


class Flags(TorchDispatchMode):
    """Notes torch's flags at each product and convolution."""

    PRODUCTS = ("aten.mm", "bmm", "addmm", "convolution")

    def __init__(self):
        super().__init__()
        self.noted = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        is_product = any(word in str(function) for word in self.PRODUCTS)
        if is_product and all(a.dtype == torch.float32 for a in tensors):
            products = torch.backends.cuda.matmul.fp32_precision
            convolutions = torch.backends.cudnn.conv.fp32_precision
            self.noted.add((products, convolutions))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def high():
    """TF32 in the place of float32 on CUDA."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def test_cudas_flags_are_ieee_in_every_product(high):
    """Forward and backward, of all that promises exactness: the flags that a GPU would compute
    with."""
    with Flags() as flags:
        MultiView(dino_views(96))(pictures(4, 96), seeded(0))
        views = [random_rows(16, 8, seed=k).requires_grad_() for k in range(4)]
        InfoMaxLoss(10.0)(views).backward()
        features(backbone("resnet_small"), pictures(4))
        nearest(torch.randn(20, 4), torch.randn(5, 4), 3)
    assert flags.noted == {("ieee", "ieee")}


def test_training_is_exact_in_both_passes(high, tmp_path):
    """All products of float32 numbers; in `32` that is every one."""
    with Flags() as flags:
        fit(TrainConfig(method="vicreg", **TINY, device="cpu", runs_dir=str(tmp_path)))
    assert flags.noted == {("ieee", "ieee")}


STATES = {
    "untouched": "",
    "old products": "torch.backends.cuda.matmul.allow_tf32 = True",
    "old convolutions": "torch.backends.cudnn.allow_tf32 = False",
    "new products": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "new convolutions": "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "all": "torch.backends.fp32_precision = 'tf32'",
    "high": "torch.set_float32_matmul_precision('high')",
    "medium": "torch.set_float32_matmul_precision('medium')",
}
SHOW = """
import json, sys, torch
from infomax_nb.device import exact
def flags():
    found = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    found += [torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv]
    return [each.fp32_precision for each in found]
def asked():
    found = []
    for ask in (
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            found.append(ask())
        except RuntimeError:  # the old way to ask, where old and new flags disagree
            found.append("mixed")
    return found
exec(sys.argv[1])
before = flags(), asked()
with exact():
    inside = flags(), asked()
    with exact():
        pass
    assert (flags(), asked()) == inside
print(json.dumps([before, inside, (flags(), asked())]))
"""


def script(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("override", ["0", "1"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_flags_are_ieee_inside_and_as_before_afterwards(state, override):
    done = script(SHOW, state, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=override)
    assert done.returncode == 0, done.stderr
    before, inside, after = json.loads(done.stdout)
    assert inside == [["ieee"] * 5, [False, False, "highest"]]
    assert after == before


def test_flags_are_restored_after_an_error():
    before = torch.backends.cudnn.conv.fp32_precision
    with pytest.raises(KeyError), device.exact():
        raise KeyError
    assert torch.backends.cudnn.conv.fp32_precision == before


# --- Device and precision of a run ----------------------------------------------------------------


def forget_cuda() -> None:
    """Let the package ask torch again, and repeat what it said: it does either once a process."""
    device.obstacle.cache_clear()
    device._say_once.cache_clear()


@pytest.fixture
def break_cuda(monkeypatch):
    """Makes torch say why it can't use CUDA."""

    def break_with(error: Exception) -> None:
        def init():
            raise error

        monkeypatch.setattr(torch.cuda, "init", init)
        forget_cuda()

    yield break_with
    monkeypatch.undo()
    forget_cuda()


def test_a_driver_that_is_too_old_is_named_once(break_cuda, capsys):
    break_cuda(RuntimeError(OLD_DRIVER))
    assert device.resolve() == ("cpu", "32")
    assert device.resolve("auto", "32") == ("cpu", "32")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "device = 'auto'" in said
    assert "too old (found version 11040)" in said


def test_a_driver_that_is_too_old_is_no_matter_on_the_cpu(break_cuda, capsys):
    break_cuda(RuntimeError(OLD_DRIVER))
    device.resolve()
    capsys.readouterr()
    assert device.resolve("cpu", "bf16") == ("cpu", "bf16")
    assert not capsys.readouterr().err


def test_a_driver_that_is_too_old_is_the_reason_why_cuda_is_refused(break_cuda):
    break_cuda(RuntimeError(OLD_DRIVER))
    sentence = r"^device = 'cuda' is not allowed.*too old \(found version 11040\)\.$"
    with pytest.raises(ParameterError, match=sentence):
        device.resolve("cuda")


NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
NO_GPU = [
    RuntimeError(NO_DRIVER),
    RuntimeError("No CUDA GPUs are available"),
    AssertionError("Torch not compiled with CUDA enabled"),
]


@pytest.mark.parametrize("error", NO_GPU)
def test_a_machine_without_a_gpu_is_silent(break_cuda, capsys, error):
    break_cuda(error)
    assert device.resolve() == ("cpu", "32")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("error", NO_GPU)
def test_cuda_is_refused_in_one_line_on_a_machine_without_a_gpu(break_cuda, error):
    break_cuda(error)
    with pytest.raises(ParameterError) as refused:
        device.resolve("cuda")
    assert str(error).split(". ")[0] in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_run_says_why_it_leaves_the_gpu_alone_and_goes_on(break_cuda, capsys, tmp_path):
    break_cuda(RuntimeError(OLD_DRIVER))
    run = fit(TrainConfig(**TINY, runs_dir=str(tmp_path)))
    assert capsys.readouterr().err.count("too old") == 1
    assert run.config.device == "cpu"


def test_a_run_on_cuda_is_refused_before_any_work(break_cuda, tmp_path):
    break_cuda(RuntimeError(OLD_DRIVER))
    with pytest.raises(ParameterError, match="device = 'cuda' is not allowed"):
        fit(TrainConfig(**TINY, device="cuda", runs_dir=str(tmp_path)))
    assert not [*tmp_path.iterdir()]


def test_features_on_cuda_are_refused(break_cuda):
    break_cuda(RuntimeError(OLD_DRIVER))
    with pytest.raises(ParameterError, match="device = 'cuda' is not allowed"):
        features(backbone("resnet_small"), pictures(2), "cuda")


# A GPU that can be asked, but not computed on: `auto` is CUDA then.
GPU = """
import torch
ones = torch.ones
torch.cuda.init = lambda: None
torch.ones = lambda *given, device=None, **options: ones(*given, **options)
import json, sys
from infomax_nb.config import TrainConfig
from infomax_nb.train import Run, collect, siblings
"""


def on_a_gpu(code: str, *arguments: str):
    done = script(GPU + code, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


NAMES = {  # as of the commit before there was a precision
    "glyphs-infomax-resnet_small-44136fa355": {},
    "glyphs-simclr-resnet_small-1e57dfa6ab": {"method": "simclr"},
    "cifar10-infomax-resnet_small-0a8b3b1b73": {"dataset": "cifar10", "kappa": 1, "seed": 3},
    "glyphs-supervised-resnet_small-f6e2abdfad": {"method": "supervised"},
}
OF_FILES = {
    "fast": ["glyphs-infomax-resnet_small-44136fa355"],
    "sweep": ["glyphs-infomax-resnet_small-697a0ea6ee"],
    "kappa": [
        "glyphs-infomax-resnet_small-bc35d530cf",
        "glyphs-infomax-resnet_small-bef91c09d3",
        "glyphs-infomax-resnet_small-94f201844d",
        "glyphs-infomax-resnet_small-697a0ea6ee",
        "glyphs-infomax-resnet_small-bfb473a9da",
    ],
    "paper/cifar10_infomax_resnet18": ["cifar10-infomax-resnet18-9bcfcff5af"],
    "paper/stl10_infomax_vit_tiny": ["stl10-infomax-vit_tiny-c3eac22c2f"],
    "paper/imagenet100_infomax_resnet50": ["imagenet100-infomax-resnet50-acb69ab277"],
}
# What files have had other values for since, by which their runs have other names.
CHANGED = {"paper/imagenet100_infomax_resnet50": {"eval_every": 1}}


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_exist_keep_their_names(name):
    config = TrainConfig(**NAMES[name], device="cpu", recipe=1)
    assert config.name == name
    assert config.replace(precision=32).name == name


@pytest.mark.parametrize("file", OF_FILES)
def test_runs_of_a_parameter_file_keep_their_names(file):
    path = ROOT / "params" / f"{file}.yaml"
    then = {"recipe": 1, **CHANGED.get(file, {})}
    assert list(runs_of(path, **then)) == OF_FILES[file]  # on any machine
    if len(OF_FILES[file]) == 1:
        assert [TrainConfig.from_yaml(path, device="cpu", **then).name] == OF_FILES[file]


def test_the_cpu_in_float32_is_no_part_of_the_identity():
    identity = TrainConfig(device="cpu", precision="32").identity()
    assert not {"device", "precision"} & {*identity}


def test_cuda_and_its_precision_are_part_of_the_identity():
    identity = TrainConfig(device="cuda", precision="auto").identity()
    assert identity.items() >= {"device": "cuda", "precision": "bf16"}.items()


def test_bfloat16_on_the_cpu_is_part_of_the_identity_and_the_cpu_is_not():
    identity = TrainConfig(device="cpu", precision="bf16").identity()
    assert identity["precision"] == "bf16"
    assert "device" not in identity


def test_every_device_and_precision_has_its_own_name():
    used = [("cpu", "32"), ("cpu", "bf16"), ("cuda", "32"), ("cuda", "bf16")]
    names = {TrainConfig(device=device, precision=p).name for device, p in used}
    assert len(names) == len(used)


def test_precision_32_may_be_a_number_or_a_text():
    assert TrainConfig(precision=32) == TrainConfig(precision="32")


def test_what_auto_means_is_resolved_and_all_else_stays():
    resolved = TrainConfig(kappa=3, device="cuda").resolved()
    assert (resolved.device, resolved.precision, resolved.kappa) == ("cuda", "bf16", 3)


def test_auto_is_found_out_where_a_run_starts():
    code = """
plain = TrainConfig()
print(json.dumps([plain.name, TrainConfig(precision='32').name, plain.device]))
"""
    on_cuda = TrainConfig(device="cuda")
    assert on_a_gpu(code) == [on_cuda.name, on_cuda.replace(precision="32").name, "auto"]


class Runs(NamedTuple):
    """A run on the CPU, one from before there was a precision, and one as of CUDA."""

    plain: Run
    old: Run
    gpu: Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = TrainConfig(**TINY, device="cpu", runs_dir=str(folder))
    plain = fit(config)
    old = fit(config.replace(seed=1))
    values = yaml.safe_load((old.path / "config.yaml").read_text())
    del values["precision"]
    rewrite(old, {**values, "device": "auto"}, {})
    on_cuda = config.replace(device="cuda")
    gpu = Run(on_cuda.run_dir)
    shutil.copytree(plain.path, gpu.path)
    used = {"device": "cuda", "precision": "bf16", "gpu": "a GPU"}
    rewrite(gpu, on_cuda.resolved().model_dump(), used)
    return Runs(plain, old, gpu)


def rewrite(run: Run, config: dict, record: dict) -> None:
    """A finished run with another configuration and record, sealed anew."""
    record = {**run.record, **record}
    run.write("config.yaml", yaml.safe_dump(config))
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}))


def test_a_gpus_run_is_read_on_a_machine_without(runs):
    assert runs.gpu.finished
    assert (runs.gpu.config.device, runs.gpu.config.precision) == ("cuda", "bf16")
    assert runs.gpu.config.name == runs.gpu.path.name
    assert runs.gpu.path.name != runs.plain.path.name
    network = runs.plain.method().backbone
    assert torch.equal(
        features(runs.gpu.method().backbone, pictures(4)), features(network, pictures(4))
    )


def test_a_gpus_finished_run_is_not_computed_again(runs):
    assert fit(runs.gpu.config) == runs.gpu


def test_runs_are_compared_on_one_device_in_one_precision(runs):
    config = runs.plain.config.replace(device="auto", precision="auto")
    on_the_cpu = {runs.plain.path.name, runs.old.path.name}
    assert {*siblings(config, "seed").run} == on_the_cpu
    assert {*siblings(config.replace(device="cuda"), "seed").run} == {runs.gpu.path.name}
    assert len(siblings(config, "seed", "device", "precision")) == 3


def test_collected_runs_name_their_device_and_precision(runs):
    table = collect(runs.plain.config.runs_dir).set_index("run")[["device", "precision"]]
    assert table.loc[runs.old.path.name].tolist() == ["cpu", "32"]
    assert table.loc[runs.gpu.path.name].tolist() == ["cuda", "bf16"]


def test_runs_from_before_are_the_cpus_on_a_gpu_machine_too(runs):
    code = """
from pathlib import Path
old = Run(Path(sys.argv[1]))
config = old.config.replace(device="auto", precision="auto")
used = [old.config.device, old.config.precision, old.config.name]
print(json.dumps([*used, list(siblings(config, "seed").run)]))
"""
    old = runs.old.path
    assert on_a_gpu(code, str(old)) == ["cpu", "32", old.name, [runs.gpu.path.name]]


def test_a_checkpoint_of_another_device_is_refused(runs, tmp_path):
    """Whose identity, from before there was a precision, says nothing of it."""
    config = runs.plain.config.replace(runs_dir=str(tmp_path), precision="bf16")
    config.run_dir.mkdir()
    identity = config.replace(precision="32").identity()
    torch.save({"loop": {"identity": identity}}, config.run_dir / "checkpoint.ckpt")
    with pytest.raises(RunError, match="checkpoint: .* is another run's"):
        fit(config)


def test_the_record_says_what_was_used(runs):
    record = runs.plain.record
    assert (record["device"], record["precision"]) == ("cpu", "32")
    assert [record[name] for name in ("gpu", "driver", "cuda", "cudnn")] == [None] * 4
    assert record["cpu"]
    assert record["cores"] == os.cpu_count()
    assert record["threads"] == torch.get_num_threads()


def test_the_stored_configuration_says_what_auto_was(runs):
    stored = yaml.safe_load((runs.plain.path / "config.yaml").read_text())
    assert (stored["device"], stored["precision"]) == ("cpu", "32")


def test_the_record_names_no_gpu_for_a_run_on_the_cpu():
    """On a machine that has one."""
    code = """
from infomax_nb.train import environment
torch.cuda.get_device_name = lambda *which: "NVIDIA H100"
torch.backends.cudnn.version = lambda: 92000
def used(*given):
    record = environment(*given)
    return [record["gpu"], record["cudnn"], record["precision"]]
cpu, gpu = (TrainConfig(device=device).resolved() for device in ("cpu", "auto"))
print(json.dumps([used(), used(cpu), used(gpu)]))
"""
    nothing = [None, None, "32"]
    assert on_a_gpu(code) == [nothing, nothing, ["NVIDIA H100", 92000, "bf16"]]


# --- Jobs and the table ---------------------------------------------------------------------------


def test_a_jobs_name_does_not_depend_on_the_machine():
    given = [{}, {"device": "cpu"}, {"device": "cuda"}, {"precision": "32"}, {"precision": "bf16"}]
    given += [{"device": "cpu", "precision": "bf16"}, {"device": "cuda", "precision": "32"}]
    names = [name_of(values) for values in given]
    assert len({*names}) == len(names)
    assert names[0] == TrainConfig(device="cpu").name
    code = """
from pipeline.sweep import name_of
print(json.dumps([name_of(values) for values in json.loads(sys.argv[1])]))
"""
    assert on_a_gpu(code, json.dumps(given)) == names


def test_the_table_takes_runs_of_any_device_but_mixes_none(runs):
    config = runs.plain.config.replace(device="auto", precision="auto")
    on_the_cpu = config.replace(device="cpu")
    assert {*table1.measured(config).run} == {runs.gpu.path.name}
    assert {*table1.measured(on_the_cpu).run} == {runs.plain.path.name, runs.old.path.name}
    assert table1.measured(on_the_cpu.replace(precision="bf16")).empty


def test_the_tables_records_are_those_of_the_runs_that_it_takes(runs):
    config = runs.plain.config.replace(device="auto", precision="auto")
    record, nothing = table1.records([config, config.replace(kappa=3)])
    assert record["gpu"] == "a GPU"
    assert nothing == {}
    assert plan.recorded(config)["gpu"] == "a GPU"
    assert plan.recorded(config.replace(device="cpu"))["gpu"] is None


# --- Faults ---------------------------------------------------------------------------------------


def allocators_error() -> RuntimeError:
    with pytest.raises(RuntimeError) as error:
        torch.empty(10**15)
    return error.value


ACCESS = "CUDA error: an illegal memory access was encountered"
MEMORY = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "python": lambda: MemoryError(),
    "numpy": lambda: np._core._exceptions._ArrayMemoryError((10**15,), np.dtype("uint8")),
    "allocator": allocators_error,
}
FAULTS = {
    "access": lambda: torch.AcceleratorError(ACCESS),
    "older": lambda: RuntimeError(ACCESS),
    "shape": lambda: RuntimeError("the memory format is not supported"),
}


@pytest.fixture
def change_losses():
    """Puts a function between a method's losses and its training: a hook of torch's."""
    hooks = []

    def change_by(function) -> None:
        def hook(module, given, losses):
            return function(losses) if isinstance(module, Method) else losses

        hooks.append(register_module_forward_hook(hook))

    yield change_by
    for hook in hooks:
        hook.remove()


def raiser(error: Exception):
    """A function that raises the error, whatever it is given."""

    def fail(*given):
        raise error

    return fail


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_that_runs_out_in_training_is_one_sentence(kind, tmp_path, change_losses):
    change_losses(raiser(MEMORY[kind]()))
    where = "cuda" if kind == "torch" else "cpu"
    sentence = f"^out of memory on {where} while training: use a batch_size below 16.$"
    with pytest.raises(RunError, match=sentence):
        fit(TrainConfig(**TINY, device="cpu", runs_dir=str(tmp_path)))


@pytest.mark.parametrize("kind", FAULTS)
def test_other_faults_in_training_are_left_alone(kind, tmp_path, change_losses):
    fault = FAULTS[kind]()
    change_losses(raiser(fault))
    with pytest.raises(type(fault)) as error:
        fit(TrainConfig(**TINY, device="cpu", runs_dir=str(tmp_path)))
    assert error.value is fault


@pytest.mark.parametrize("kind", FAULTS)
def test_other_faults_are_no_lack_of_memory(kind):
    fault = FAULTS[kind]()
    with pytest.raises(type(fault)) as error, errors.memory_errors("x", "y"):
        raise fault
    assert error.value is fault


@pytest.mark.parametrize("make", [*MEMORY.values(), FAULTS["access"], FAULTS["older"]])
def test_a_fault_that_comes_late_is_no_full_disk(make, tmp_path):
    """An error of a kernel is raised where somebody next waits for the device: while a checkpoint
    is written."""
    fault = make()
    with pytest.raises(type(fault)) as error:
        atomic_write(tmp_path / "checkpoint.ckpt", raiser(fault))
    assert error.value is fault
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_that_runs_out_late_is_no_damaged_file(kind, tmp_path):
    fault = MEMORY[kind]()
    with pytest.raises(type(fault)) as error, file_errors(tmp_path / "x"):
        raise fault
    assert error.value is fault


class Greedy(nn.Module):
    """Asks for more memory than there is."""

    def forward(self, x):
        return torch.empty(10**15)


def test_memory_that_runs_out_in_evaluation_is_one_sentence():
    with pytest.raises(RunError) as error:
        features(Greedy(), pictures(3))
    said = str(error.value)
    computed = "the features of 3 images of 32 pixels were computed"
    assert said.startswith(f"out of memory on cpu while {computed}: ")
    assert "n_train" in said
    assert len(said.splitlines()) == 1


has_statm = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="limits its own memory as Linux does"
)


@has_statm
def test_memory_that_runs_out_in_loading_is_one_sentence():
    code = """
import resource
from infomax_nb import data
from infomax_nb.data import glyphs
from infomax_nb.errors import RunError
data.load("glyphs", n_classes=2)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
try:
    data.load("glyphs", n_classes=48, image_size=512)
except RunError as error:
    print(error)
"""
    done = script(code)
    cure = "take fewer images (n_train) or a smaller image_size"
    sentence = f"out of memory on cpu while a data set was loaded: {cure}.\n"
    assert done.stdout == sentence, done.stderr


@pytest.mark.parametrize(
    ("value", "word"), [(torch.inf, "infinite"), (-torch.inf, "infinite"), (torch.nan, "NaN")]
)
def test_a_loss_that_is_no_number_stops_the_run(value, word, tmp_path, change_losses):
    change_losses(lambda losses: {"loss": losses["loss"] * 0 + value})
    with pytest.raises(FloatingPointError, match=f"the loss became {word} in epoch 1"):
        fit(TrainConfig(method="supervised", **TINY, device="cpu", runs_dir=str(tmp_path)))


def test_weights_that_the_last_step_spoilt_stop_the_run(tmp_path):
    """One step: its loss is that of the initial weights, a number."""
    one = {**TINY, "n_train": 16, "lr": 1e38}
    with pytest.raises(FloatingPointError, match="the weights became NaN in epoch 1"):
        fit(TrainConfig(method="supervised", **one, device="cpu", runs_dir=str(tmp_path)))


# --- Checkpoints by the clock ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "written"), [(None, [1, 4]), ("0", [1, 2, 3, 4]), ("3600", [1, 4])]
)
def test_checkpoints_are_written_by_the_clock(seconds, written, tmp_path, monkeypatch):
    """After the first epoch, once an interval, and at the end; four epochs of milliseconds."""
    saved = []
    save = torch.save

    def note_and_save(state, path):
        if path.name.startswith("checkpoint"):
            saved.append(len(state["callbacks"]["Recorder"]["history"]))
        save(state, path)

    monkeypatch.setattr(torch, "save", note_and_save)
    if seconds:
        monkeypatch.setenv("INFOMAX_SAVE_SECONDS", seconds)
    run = fit(TrainConfig(**{**TINY, "epochs": 4}, device="cpu", runs_dir=str(tmp_path)))
    assert saved == written
    assert run.metrics.epoch.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "inf"])
def test_an_interval_that_is_none_is_refused_before_any_work(said, tmp_path, monkeypatch):
    monkeypatch.setenv("INFOMAX_SAVE_SECONDS", said)
    sentence = f"^INFOMAX_SAVE_SECONDS = '{said}' is not allowed: it must be a number"
    with pytest.raises(ParameterError, match=sentence):
        fit(TrainConfig(**TINY, device="cpu", runs_dir=str(tmp_path)))
    assert not [*tmp_path.iterdir()]


def test_metrics_ahead_of_the_checkpoint_end_the_same(tmp_path):
    """Killed in the fourth epoch, the checkpoint is the first's: what was lost is trained again."""
    config = TrainConfig(**{**TINY, "epochs": 5}, device="cpu", runs_dir=str(tmp_path / "killed"))
    killed = [sys.executable, Path(__file__).with_name("killed.py")]
    command = [*killed, json.dumps(config.model_dump()), "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(pd.read_csv(config.run_dir / "metrics.csv")) == 3
    saved = torch.load(config.run_dir / "checkpoint.ckpt", weights_only=True)
    assert len(saved["callbacks"]["Recorder"]["history"]) == 1
    resumed = fit(config)
    whole = fit(config.replace(runs_dir=str(tmp_path / "whole")))
    assert (resumed.path / "metrics.csv").read_bytes() == (whole.path / "metrics.csv").read_bytes()


# --- Sizes of a ViT -------------------------------------------------------------------------------


@cache
def built(method: str):
    return build(TrainConfig(method=method, proj_dim=8), 4)


SIZES = [*range(16, 130, 2), 192, 208, 224, 256, 304, 320, 512]


@pytest.mark.parametrize("network", [*PATCHES, "resnet_small"])
@pytest.mark.parametrize("method", METHODS)
def test_images_and_views_are_whole_patches(method, network):
    """What is refused is just what the views that are drawn, or the images, can't be divided
    into."""
    config = partial(TrainConfig, method=method, backbone=network)
    for size in SIZES:
        sides = {size, *(view.size for view in built(method).view_specs(size))}
        if all(side % PATCHES.get(network, 1) == 0 for side in sides):
            config(image_size=size)
            continue
        sentence = f"^image_size = {size} is not allowed: it must be a multiple of "
        with pytest.raises(ParameterError, match=sentence) as error:
            config(image_size=size)
        step = int(re.search(r"a multiple of (\d+)", str(error.value))[1])
        config(image_size=4 * step)  # as it says


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("network", "size"), [("vit_tiny", 32), ("vit_tiny", 224), ("vit_mini", 24), ("vit_mini", 72)]
)
def test_a_vit_sees_all_views_of_the_sizes_that_are_allowed(method, network, size):
    net = backbone(network, size=size).eval()
    for view in built(method).view_specs(size):
        assert net(torch.zeros(1, 3, view.size, view.size)).shape[0] == 1


def test_the_papers_example_is_refused_before_any_work():
    sentence = "^image_size = 48 is not allowed: it must be a multiple of 32"
    with pytest.raises(ParameterError, match=sentence):
        TrainConfig(backbone="vit_tiny", image_size=48)


@pytest.mark.parametrize("measure", [features, maps])
def test_measurements_refuse_images_that_are_no_whole_patches(measure):
    net = backbone("vit_tiny", size=32)
    sentence = "^image_size = 40 is not allowed: it must be a multiple of 16"
    with pytest.raises(ParameterError, match=sentence):
        measure(net, pictures(2, 40))


def test_held_out_information_refuses_local_views_that_are_no_whole_patches():
    method = build(TrainConfig(method="simclr", backbone="vit_tiny", image_size=48), 4)
    with pytest.raises(ParameterError, match="^image_size = 24 is not allowed"):
        held_out_information(method, labelled(4, 48))
