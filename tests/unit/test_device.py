"""Precision and device: what is float32 stays so, what a run used is part of its name, and faults
are told apart.

There may be no GPU. bfloat16 autocast runs on every CPU;
`torch.set_float32_matmul_precision("medium")` puts bfloat16 in float32's place on CPUs that have
it, as TF32 does on a GPU; torch's own answers about CUDA are put into its mouth.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
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
from infomax_nb.methods import METHODS, InfoMax, Supervised, build
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
    "driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=seeded(0))


# --- bfloat16 autocast ----------------------------------------------------------------------------


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
    """Value and gradient against float64, computed from the networks' outputs as they are, bfloat16
    numbers."""
    torch.manual_seed(0)
    method = build(TrainConfig(method=name, proj_dim=16, epochs=10), 10)
    views = [
        torch.randn(16, 3, view.size, view.size, generator=seeded(k))
        for k, view in enumerate(method.view_specs(32))
    ]
    labels = torch.arange(16) % 10
    seen, losses = [], method.losses

    def noting(labels, *outputs):
        assert all(x.dtype == torch.float32 for each in outputs for x in each)
        assert not torch.is_autocast_enabled("cpu")
        seen.extend([x.detach().requires_grad_() for x in each] for each in outputs)
        return losses(labels, *seen)

    method.losses = noting
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(views, labels)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(
        torch.equal(x, x.bfloat16().float()) for each in seen for x in each
    )  # autocast was on
    if name == "dino":
        method.criterion.center.zero_()  # as it was before the first step
    exactly = [[x.detach().double().requires_grad_() for x in each] for each in seen]
    wanted = losses(labels, *exactly)["loss"]
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=2e-5)
    for mine, theirs in zip(sum(seen, []), sum(exactly, []), strict=True):
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
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(
                module.weight
            )  # timm's zeros at the end of a block let nothing back through it
    weight = net.get_submodule(layer).weight
    images = torch.randn(16, 3, 16, 16)
    for _ in range(3):
        net.zero_grad()
        spoilt = [
            torch.full((weight.numel() // part,), torch.nan) for part in (1, 2) for _ in range(8)
        ]
        del spoilt
        with torch.autocast("cpu", torch.bfloat16):
            out = net(images)
        out.float().square().sum().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters())
        around = torch.ones(3, 3, dtype=torch.bool)
        around[1, 1] = False
        assert weight.grad[:, :, around].abs().max() == 0 < weight.grad[:, :, 1, 1].abs().max()


def test_views_do_not_feel_autocast():
    views = MultiView(dino_views(96))
    plain = views(pictures(8, 96), seeded(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(
            torch.equal(a, b) for a, b in zip(plain, views(pictures(8, 96), seeded(1)), strict=True)
        )


class Collapsed(nn.Module):
    """128 features that vary in three dimensions around a common mean."""

    def __init__(self):
        super().__init__()
        self.few, self.many = nn.Linear(3 * 32 * 32, 3), nn.Linear(3, 128)
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(generator=seeded(p.numel()))
            self.few.weight.mul_(0.01)
            self.many.bias.mul_(50)

    def forward(self, x):
        return self.many(self.few(x.flatten(1)))


def test_a_collapse_is_seen_in_bfloat16():
    net, images = Collapsed(), pictures(400)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(images.float() / 255).detach().float()
        assert effective_rank(rounded) > 20  # what rounding makes of it
        found = features(net, images)
        assert found.dtype == torch.float32 and torch.equal(
            found, represent({"x": net}, ImageSet(images, None, []))["x"][0]
        )
        assert effective_rank(found) < 4
        labels, few = torch.arange(400) % 4, torch.arange(100) % 4
        sets = ImageSet(images, labels, list("abcd")), ImageSet(images[:100], few, list("abcd"))
        measured = OnlineEvaluation(*sets, 128, 0, torch.device("cpu"))(net, 1)
    assert measured["effective_rank"] < 4
    assert measured == OnlineEvaluation(*sets, 128, 0, torch.device("cpu"))(net, 1)


def test_measurements_do_not_feel_autocast():
    x, queries = torch.randn(300, 64, generator=seeded(0)), torch.randn(50, 64, generator=seeded(1))
    labels, net, tokens = (
        torch.arange(300) % 5,
        backbone("resnet_small").eval(),
        backbone("vit_mini").eval(),
    )
    method = build(TrainConfig(proj_dim=16), 4).eval()
    held_out = ImageSet(pictures(16), torch.arange(16) % 4, list("abcd"))
    found = {
        "knn": lambda: knn(x, labels, queries, 5),
        "nearest": lambda: nearest(x, queries, 7),
        "maps": lambda: maps(net, pictures(4)),
        "attention": lambda: maps(tokens, pictures(4)),
        "held out": lambda: torch.tensor([*held_out_information(method, held_out).values()]),
        "diagnostics": lambda: torch.tensor(
            [*diagnostics([x[:50], queries], InfoMaxLoss(10.0)).values()]
        ),
    }
    for name, measure in found.items():
        plain = measure()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(measure(), plain), name


# --- TF32 -----------------------------------------------------------------------------------------


@pytest.fixture
def coarse():
    """bfloat16 in the place of float32 in products and convolutions, the CPU's counterpart of
    TF32."""
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    x = torch.full((512, 512), 1 + 2**-12)
    able = not torch.equal(x @ torch.eye(512), x)
    yield able or pytest.skip("this CPU has no bfloat16 products")
    torch.set_float32_matmul_precision("highest")
    torch.backends.mkldnn.conv.fp32_precision = "none"


def plainly(compute):
    """What `compute` gives with torch's flags as they are at the start."""
    flags = torch.get_float32_matmul_precision(), torch.backends.mkldnn.conv.fp32_precision
    torch.set_float32_matmul_precision("highest")
    torch.backends.mkldnn.conv.fp32_precision = "none"
    made = compute()
    torch.set_float32_matmul_precision(flags[0])
    torch.backends.mkldnn.conv.fp32_precision = flags[1]
    return made


def test_pixels_are_exact_whatever_float32_is_replaced_by(coarse):
    views = MultiView(dino_views(96))  # with blur
    make = lambda: views(pictures(8, 96), seeded(1))  # noqa: E731
    assert all(torch.equal(a, b) for a, b in zip(make(), plainly(make), strict=True))
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"


@pytest.mark.parametrize("kappa", [10.0, 1e4])
def test_entropies_and_their_gradients_are_exact(coarse, kappa):
    """Eight views that are nearly one: at the largest kappa a rounded product would be off by whole
    nats."""
    centre = torch.randn(1, 64, 256, generator=seeded(0))
    given = centre + 1e-2 * torch.randn(8, 64, 256, generator=seeded(1))
    made = {}
    for dtype in (torch.float32, torch.float64):
        views = [v.to(dtype).requires_grad_() for v in given]
        entropies = InfoMaxLoss(kappa).entropies(views)
        sum(entropies).backward()
        made[dtype] = [h.item() for h in entropies], torch.stack([v.grad for v in views])
    (mine, slope), (theirs, wanted) = made.values()
    assert mine == pytest.approx(theirs, abs=1e-6 * kappa + 1e-4)
    assert (slope - wanted).norm() <= 1e-3 * wanted.norm()


def test_features_and_neighbours_are_exact(coarse):
    net, images = backbone("resnet_small").eval(), pictures(200)
    x, queries = (
        torch.randn(3000, 64, generator=seeded(0)),
        torch.randn(500, 64, generator=seeded(1)),
    )
    labels = torch.arange(3000) % 5
    for compute in (
        lambda: features(net, images),
        lambda: nearest(x, queries, 9),
        lambda: knn(x, labels, queries, 5),
    ):
        assert torch.equal(compute(), plainly(compute))


class Flags(TorchDispatchMode):
    """Notes torch's flags at each product and convolution."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        product = any(word in str(function) for word in ("aten.mm", "bmm", "addmm", "convolution"))
        if product and all(a.dtype == torch.float32 for a in args if isinstance(a, torch.Tensor)):
            self.seen.add(
                (
                    torch.backends.cuda.matmul.fp32_precision,
                    torch.backends.cudnn.conv.fp32_precision,
                )
            )
        return function(*args, **(kwargs or {}))


def test_cudas_flags_are_ieee_in_every_product():
    """Forward and backward, of all that promises exactness: the flags that a GPU would compute
    with."""
    torch.set_float32_matmul_precision("high")
    try:
        with Flags() as flags:
            MultiView(dino_views(96))(pictures(4, 96), seeded(0))
            views = [torch.randn(16, 8, generator=seeded(k), requires_grad=True) for k in range(4)]
            InfoMaxLoss(10.0)(views).backward()
            features(backbone("resnet_small"), pictures(4))
            nearest(torch.randn(20, 4), torch.randn(5, 4), 3)
        assert flags.seen == {("ieee", "ieee")}
    finally:
        torch.set_float32_matmul_precision("highest")


def test_training_is_exact_in_both_passes(tmp_path):
    """All products of float32 numbers; in `32` that is every one."""
    torch.set_float32_matmul_precision("high")
    try:
        with Flags() as flags:
            fit(TrainConfig(method="vicreg", **TINY, device="cpu", runs_dir=str(tmp_path)))
        assert flags.seen == {("ieee", "ieee")}
    finally:
        torch.set_float32_matmul_precision("highest")


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


def script(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )


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


@pytest.fixture
def says(monkeypatch, capsys):
    """Makes torch say why it can't use CUDA; what comes on stderr is read by `says.err()`."""
    caches = (device.obstacle, device._say_once)

    class Says:
        def __call__(self, error: Exception) -> None:
            def init():
                raise error

            monkeypatch.setattr(torch.cuda, "init", init)
            [each.cache_clear() for each in caches]

        def err(self) -> str:
            return capsys.readouterr().err

    yield Says()
    monkeypatch.undo()
    [each.cache_clear() for each in caches]


def test_a_driver_that_is_too_old_is_named(says):
    says(RuntimeError(OLD_DRIVER))
    assert device.resolve() == ("cpu", "32") == device.resolve("auto", "32")
    said = says.err()
    assert (
        said.count("\n") == 1
        and "device = 'auto'" in said
        and "too old (found version 11040)" in said
    )
    assert device.resolve("cpu", "bf16") == ("cpu", "bf16") and not says.err()
    with pytest.raises(
        ParameterError, match=r"^device = 'cuda' is not allowed.*too old \(found version 11040\)\.$"
    ):
        device.resolve("cuda")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
        ),
        RuntimeError("No CUDA GPUs are available"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_a_machine_without_a_gpu_is_silent(says, error):
    says(error)
    assert device.resolve() == ("cpu", "32") and not says.err()
    with pytest.raises(ParameterError) as refused:
        device.resolve("cuda")
    assert (
        str(error).split(". ")[0] in str(refused.value)
        and len(str(refused.value).splitlines()) == 1
    )


def test_a_run_says_so_and_goes_on_or_is_refused(says, tmp_path):
    says(RuntimeError(OLD_DRIVER))
    run = fit(TrainConfig(**TINY, runs_dir=str(tmp_path)))
    assert says.err().count("too old") == 1 and run.config.device == "cpu"
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ParameterError, match="device = 'cuda' is not allowed"):
        fit(TrainConfig(**TINY, device="cuda", runs_dir=str(tmp_path)))
    assert sorted(tmp_path.iterdir()) == before
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
FILES = {
    "fast": ["glyphs-infomax-resnet_small-44136fa355"],
    "sweep": ["glyphs-infomax-resnet_small-697a0ea6ee"],
    "kappa": [f"glyphs-infomax-resnet_small-{digest}" for digest in
              ("bc35d530cf", "bef91c09d3", "94f201844d", "697a0ea6ee", "bfb473a9da")],
    "paper/cifar10_infomax_resnet18": ["cifar10-infomax-resnet18-9bcfcff5af"],
    "paper/stl10_infomax_vit_tiny": ["stl10-infomax-vit_tiny-c3eac22c2f"],
    "paper/imagenet100_infomax_resnet50": ["imagenet100-infomax-resnet50-acb69ab277"],
}  # fmt: skip


def test_runs_that_exist_keep_their_names():
    for name, values in NAMES.items():
        assert TrainConfig(**values, device="cpu", recipe=1).name == name
        assert TrainConfig(**values, device="cpu", recipe=1, precision=32).name == name
    for file, names in FILES.items():
        assert list(runs_of(ROOT / "params" / f"{file}.yaml", recipe=1)) == names  # on any machine
        if len(names) == 1:
            assert (
                TrainConfig.from_yaml(ROOT / "params" / f"{file}.yaml", device="cpu", recipe=1).name
                == names[0]
            )


def test_what_a_run_uses_is_part_of_its_identity():
    values = {
        device: TrainConfig(device=device, precision=p)
        for device, p in (("cpu", "32"), ("cuda", "auto"))
    }
    assert not {"device", "precision"} & {*values["cpu"].identity()}
    assert values["cuda"].identity().items() >= {"device": "cuda", "precision": "bf16"}.items()
    half = TrainConfig(device="cpu", precision="bf16").identity()
    assert half["precision"] == "bf16" and "device" not in half
    known = [("cpu", "32"), ("cpu", "bf16"), ("cuda", "32"), ("cuda", "bf16")]
    assert len({TrainConfig(device=d, precision=p).name for d, p in known}) == 4
    assert TrainConfig(precision=32) == TrainConfig(precision="32")
    resolved = TrainConfig(kappa=3, device="cuda").resolved()
    assert (resolved.device, resolved.precision, resolved.kappa) == ("cuda", "bf16", 3)


def test_auto_is_found_out_where_a_run_starts():
    code = """
plain = TrainConfig()
print(json.dumps([plain.name, TrainConfig(precision='32').name, plain.device]))
"""
    named = on_a_gpu(code)
    wanted = [
        TrainConfig(device="cuda").name,
        TrainConfig(device="cuda", precision="32").name,
        "auto",
    ]
    assert named == wanted


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A run on the CPU, one from before there was a precision, and one as of CUDA."""
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
    return plain, old, gpu


def rewrite(run: Run, config: dict, record: dict) -> None:
    """A finished run with another configuration and record, sealed anew."""
    record = {**run.record, **record}
    run.write("config.yaml", yaml.safe_dump(config))
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}))


def test_a_gpus_run_is_read_on_a_machine_without(three):
    plain, _, gpu = three
    assert gpu.finished
    assert (gpu.config.device, gpu.config.precision) == ("cuda", "bf16")
    assert gpu.config.name == gpu.path.name != plain.path.name
    theirs = features(plain.method().backbone, pictures(4))
    assert torch.equal(features(gpu.method().backbone, pictures(4)), theirs)
    assert fit(gpu.config) == gpu  # finished: nothing is computed


def test_runs_are_compared_on_one_device_in_one_precision(three):
    plain, old, gpu = three
    config = plain.config.replace(device="auto", precision="auto")
    assert {*siblings(config, "seed").run} == {plain.path.name, old.path.name}
    assert {*siblings(config.replace(device="cuda"), "seed").run} == {gpu.path.name}
    assert len(siblings(config, "seed", "device", "precision")) == 3
    found = collect(config.runs_dir).set_index("run")[["device", "precision"]]
    assert found.loc[old.path.name].tolist() == ["cpu", "32"]
    assert found.loc[gpu.path.name].tolist() == ["cuda", "bf16"]


def test_runs_from_before_are_the_cpus_on_a_gpu_machine_too(three):
    plain, old, gpu = three
    code = """
from pathlib import Path
old = Run(Path(sys.argv[1]))
config = old.config.replace(device="auto", precision="auto")
found = [old.config.device, old.config.precision, old.config.name]
print(json.dumps([*found, list(siblings(config, "seed").run)]))
"""
    assert on_a_gpu(code, str(old.path)) == ["cpu", "32", old.path.name, [gpu.path.name]]


def test_a_checkpoint_of_another_device_is_refused(three, tmp_path):
    """Whose identity, from before there was a precision, says nothing of it."""
    config = three[0].config.replace(runs_dir=str(tmp_path), precision="bf16")
    config.run_dir.mkdir()
    identity = config.replace(precision="32").identity()
    torch.save({"loop": {"identity": identity}}, config.run_dir / "checkpoint.ckpt")
    with pytest.raises(RunError, match="checkpoint: .* is another run's"):
        fit(config)


def test_the_record_says_what_was_used(three):
    plain = three[0]
    record = plain.record
    assert (record["device"], record["precision"]) == ("cpu", "32")
    assert [record[name] for name in ("gpu", "driver", "cuda", "cudnn")] == [None] * 4
    assert record["cpu"]
    assert record["cores"] == os.cpu_count()
    assert record["threads"] == torch.get_num_threads()
    stored = yaml.safe_load((plain.path / "config.yaml").read_text())
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
    asked = [{}, {"device": "cpu"}, {"device": "cuda"}, {"precision": "32"}, {"precision": "bf16"}]
    asked += [{"device": "cpu", "precision": "bf16"}, {"device": "cuda", "precision": "32"}]
    names = [name_of(values) for values in asked]
    assert len({*names}) == len(names) and names[0] == TrainConfig(device="cpu").name
    code = """
from pipeline.sweep import name_of
print(json.dumps([name_of(values) for values in json.loads(sys.argv[1])]))
"""
    assert on_a_gpu(code, json.dumps(asked)) == names


def test_the_table_takes_runs_of_any_device_but_mixes_none(three):
    plain, old, gpu = three
    config = plain.config.replace(device="auto", precision="auto")
    assert {*table1.measured(config).run} == {gpu.path.name}
    assert {*table1.measured(config.replace(device="cpu")).run} == {plain.path.name, old.path.name}
    assert table1.measured(config.replace(device="cpu", precision="bf16")).empty
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


MEMORY = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "python": lambda: MemoryError(),
    "numpy": lambda: np._core._exceptions._ArrayMemoryError((10**15,), np.dtype("uint8")),
    "allocator": allocators_error,
}
FAULTS = {
    "access": lambda: torch.AcceleratorError(
        "CUDA error: an illegal memory access was encountered"
    ),
    "older": lambda: RuntimeError("CUDA error: an illegal memory access was encountered"),
    "shape": lambda: RuntimeError("the memory format is not supported"),
}


@pytest.fixture
def register(monkeypatch):
    """Registers a method, in the place of the package's while a test runs."""
    return partial(monkeypatch.setitem, METHODS)


def failing(error: Exception) -> type[InfoMax]:
    """The method whose losses end with that error."""

    class Failing(InfoMax):
        def losses(self, labels, *outputs):
            raise error

    return Failing


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_that_runs_out_in_training_is_one_sentence(kind, tmp_path, register):
    register("infomax", failing(MEMORY[kind]()))
    where = "cuda" if kind == "torch" else "cpu"
    sentence = f"^out of memory on {where} while training: use a batch_size below 16.$"
    with pytest.raises(RunError, match=sentence):
        fit(TrainConfig(**TINY, device="cpu", runs_dir=str(tmp_path)))


@pytest.mark.parametrize("kind", FAULTS)
def test_other_faults_are_left_alone(kind, tmp_path, register):
    fault = FAULTS[kind]()
    register("infomax", failing(fault))
    with pytest.raises(type(fault)) as error:
        fit(TrainConfig(**TINY, device="cpu", runs_dir=str(tmp_path)))
    assert error.value is fault
    with pytest.raises(type(fault)) as error, errors.memory_errors("x", "y"):
        raise fault
    assert error.value is fault


@pytest.mark.parametrize("make", [*MEMORY.values(), FAULTS["access"], FAULTS["older"]])
def test_a_fault_that_comes_late_is_no_full_disk_and_no_damaged_file(make, tmp_path):
    """An error of a kernel is raised where somebody next waits for the device: while a checkpoint
    is written."""
    fault = make()

    def write(path):
        raise fault

    with pytest.raises(type(fault)) as error:
        atomic_write(tmp_path / "checkpoint.ckpt", write)
    assert error.value is fault and not [*tmp_path.iterdir()]
    if errors.ran_out(fault):
        with pytest.raises(type(fault)), file_errors(tmp_path / "x"):
            raise fault


class Greedy(nn.Module):
    """Asks for more memory than there is."""

    def forward(self, x):
        return torch.empty(10**15)


def test_memory_that_runs_out_in_evaluation_is_one_sentence():
    with pytest.raises(RunError) as error:
        features(Greedy(), pictures(3))
    said = str(error.value)
    assert said.startswith(
        "out of memory on cpu while the features of 3 images of 32 pixels were computed: "
    )
    assert "n_train" in said and len(said.splitlines()) == 1


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="limits its own memory as Linux does"
)
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
def test_a_loss_that_is_no_number_stops_the_run(value, word, tmp_path, register):
    class Spoilt(Supervised):
        def losses(self, *outputs):
            return {"loss": super().losses(*outputs)["loss"] * 0 + value}

    register("supervised", Spoilt)
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
    for size in SIZES:
        sides = {size, *(view.size for view in built(method).view_specs(size))}
        fits = all(side % PATCHES.get(network, 1) == 0 for side in sides)
        try:
            TrainConfig(method=method, backbone=network, image_size=size)
            assert fits, size
        except ParameterError as error:
            assert not fits and str(error).startswith(
                f"image_size = {size} is not allowed: it must be a multiple of "
            )
            step = int(str(error).split("a multiple of ")[1].split()[0].strip(",."))
            TrainConfig(method=method, backbone=network, image_size=4 * step)  # as it says


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("network", "size"), [("vit_tiny", 32), ("vit_tiny", 224), ("vit_mini", 24), ("vit_mini", 72)]
)
def test_a_vit_sees_all_views_of_the_sizes_that_are_allowed(method, network, size):
    net = backbone(network, size=size).eval()
    for view in built(method).view_specs(size):
        assert net(torch.zeros(1, 3, view.size, view.size)).shape[0] == 1


def test_the_paper_s_example_is_refused_before_any_work(tmp_path):
    with pytest.raises(
        ParameterError, match="^image_size = 48 is not allowed: it must be a multiple of 32"
    ):
        TrainConfig(backbone="vit_tiny", image_size=48)
    net, images = backbone("vit_tiny", size=32), pictures(2, 40)
    for measure in (features, maps):
        with pytest.raises(
            ParameterError, match="^image_size = 40 is not allowed: it must be a multiple of 16"
        ):
            measure(net, images)
    method = build(TrainConfig(method="simclr", backbone="vit_tiny", image_size=48), 4)
    with pytest.raises(
        ParameterError, match="^image_size = 24 is not allowed"
    ):  # the measure's own local views
        held_out_information(method, ImageSet(pictures(4, 48), torch.arange(4), list("abcd")))
