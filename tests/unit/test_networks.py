"""The trained networks elsewhere: their cards, timm, torch.hub, and what a wheel takes."""

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from infomax_nb.networks import FILES, NETWORKS, SHIPPED, available, pretrained
from pipeline.cards import accuracy, card
from pipeline.networks import half_precision
from pipeline.wheel import NetworkHook

ROOT = Path(__file__).parents[2]
VITS = available(backbone="vit_mini")


def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def features(network: torch.nn.Module) -> Tensor:
    """Of the images, in evaluation mode."""
    return network.eval()(images())


def read_card(name: str) -> str:
    return (NETWORKS / f"{name}.md").read_text()


def blocks(name: str) -> list[str]:
    """The Python blocks of its card."""
    return re.findall(r"(?ms)^```python\n(.*?)^```", read_card(name))


def run_block(code: str) -> dict:
    """The names that a block defines; it is run from the project's folder."""
    names: dict = {}
    exec(compile(ast.parse(code), "card", "exec"), names)
    return names


@pytest.mark.parametrize("name", available())
def test_a_card_is_what_its_record_gives(name):
    """`python -m pipeline.networks` writes both."""
    record = json.loads((NETWORKS / f"{name}.json").read_text())
    assert read_card(name) == card(name, record)


@pytest.mark.parametrize("name", available())
def test_a_card_says_what_people_ask_for(name):
    network = pretrained(name)
    record = network.record
    said = read_card(name)
    for words in (record["trained_on"], record["measured_on"], f"{record['knn_top1']}%"):
        assert words in said
    head = ["Trained on", "Budget", "Accuracy", "Licence", "Input", "Output"]
    assert all(f"| {row} |" in said for row in head)
    assert "## Intended use" in said and "## Limits" in said
    epochs = network.config.epochs
    assert f"{epochs} epochs, {epochs * (record['images'] // 128):,} steps of 128 images" in said
    stored = half_precision(network.backbone)
    is_learnt = [key for key in stored if not re.search("running_|num_batches", key)]
    assert f"| {sum(stored[key].numel() for key in is_learnt):,} parameters" in said


@pytest.mark.parametrize(("images", "k"), [(5000, 200), (1000, 200), (144, 28)])
def test_a_card_says_how_many_neighbours_voted(images, k):
    record = {"images": images, "knn_top1": 12.5, "measured_on": "drawn glyphs"}
    assert accuracy(record) == f"k-NN (k = {k}), top-1: 12.5% (drawn glyphs)"


@pytest.mark.parametrize("name", available())
def test_a_cards_code_loads_its_network(name, monkeypatch):
    """Ours, then timm's or torch.hub's: with the same features, bit for bit."""
    monkeypatch.chdir(ROOT)
    ours, elsewhere = blocks(name)
    assert ("timm.create_model" in elsewhere) == (name in VITS)
    expected = features(pretrained(name).backbone)
    assert torch.equal(features(run_block(ours)["network"].backbone), expected)
    assert torch.equal(features(run_block(elsewhere)["network"]), expected)


@pytest.mark.parametrize("name", VITS)
def test_timm_loads_a_vit_as_one_of_its_pretrained(name):
    path = str(NETWORKS / f"{name}.safetensors")
    size = {"patch_size": 4, "img_size": 32, "embed_dim": 128, "depth": 4, "num_heads": 4}
    options = {"pretrained": True, "pretrained_cfg_overlay": {"file": path}, "num_classes": 0}
    network = timm.create_model("vit_tiny_patch16_224", **size, **options)
    assert torch.equal(features(network), features(pretrained(name).backbone))


def test_the_hub_lists_the_networks_and_what_they_need():
    """As torch.hub reads the file: names that can be called, and libraries that must be there."""
    code = "import hubconf as h; print([n for n in vars(h) if callable(getattr(h, n))])"
    code += "; import sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names, imported = map(ast.literal_eval, done.stdout.splitlines())
    assert {name.replace("-", "_") for name in available()} <= set(names)
    dependencies = runpy.run_path(str(ROOT / "hubconf.py"))["dependencies"]
    own = {"torch", "torchvision", "timm", "lightly", "pandas", "scipy", "sklearn", "matplotlib"}
    own |= {"yaml", "pydantic", "safetensors", "lazy_loader", "filelock", "PIL", "numpy"}
    assert set(imported) & own <= set(dependencies)


def test_a_network_says_in_a_line_what_it_is():
    said = repr(pretrained())
    assert said == f"<Network {SHIPPED}: 10 classes, k-NN {pretrained().record['knn_top1']}%>"


def forced(network: str, version: str) -> dict[str, str]:
    """What the build adds to the package, by its place in the project."""
    build_data: dict = {"force_include": {}}
    options = {"metadata": None, "directory": "", "target_name": "wheel"}
    hook = NetworkHook(str(ROOT), {"network": network}, None, **options)
    hook.initialize(version, build_data)
    taken = build_data["force_include"]
    return {str(Path(path).relative_to(ROOT)): place for path, place in taken.items()}


def test_the_wheel_takes_the_network_that_comes_first():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    network = build["targets"]["wheel"]["hooks"]["custom"]["network"]
    assert network == SHIPPED
    names = {f"{SHIPPED}{suffix}" for suffix in (".json", ".md", *FILES.values())}
    places = {f"reports/networks/{name}": f"infomax_nb/shipped/{name}" for name in names}
    assert forced(network, "standard") == places
    assert forced(network, "editable") == {}  # it reads the checkout's
    with pytest.raises(FileNotFoundError, match="reports/networks/nobody"):
        forced("nobody", "standard")
