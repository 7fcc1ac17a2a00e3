"""What the README tells a newcomer to type, taken from its text and run.

Each of its paths ends where it says. Where a command would train for minutes, shorter training is
added to its end; what stands in the README stays.
"""

import gzip
import os
import re
import shlex
import shutil
import struct
import subprocess
from importlib.resources import files
from pathlib import Path

import nbformat
import numpy as np
import pytest
from checkout import tracked
from PIL import Image

from infomax_nb.data import glyphs
from infomax_nb.train.run import Run, collect

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHORT = "-p n_train 64 -p epochs 1 -p batch_size 32"


def commands(section: str, paragraph: str) -> list[str]:
    """The console lines below the paragraph that begins so, in a section; comments cut off."""
    text = re.search(rf"(?ms)^## {section}\n(.*?)(?=^## |\Z)", README)[1]
    block = re.search(rf"(?s){re.escape(paragraph)}.*?```console\n(.*?)```", text)[1]
    return [re.sub(r"\s+#.*", "", line) for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with the environment and the finished runs at hand."""
    copy = tracked(tmp_path_factory.mktemp("readme") / "check out")
    for name in (".venv", ".tools", "runs"):
        if (ROOT / name).exists():
            (copy / name).symlink_to((ROOT / name).resolve())
    return copy


def type_in(checkout: Path, command: str, data: Path | None = None, more: str = "") -> str:
    """Run the line in a shell, with a folder of one's own for DIR."""
    line = re.sub(r"\bDIR\b", lambda _: shlex.quote(str(data)), command) + f" {more}"
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    options = {"env": environment, "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-c", line], cwd=checkout, **options)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def pictures(notebook: Path) -> int:
    """How many figures the executed notebook holds."""
    cells = nbformat.read(notebook, 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def runs_option(folder: Path) -> str:
    """Of a command line: where it keeps its runs."""
    return f"-p runs_dir {shlex.quote(str(folder / 'runs'))}"


def save(folder: Path, count: int, label: int) -> None:
    """Write images of one class of glyphs."""
    folder.mkdir(parents=True)
    images, _, labels = glyphs.make("test", 4)
    for k, image in enumerate(images[labels == label][:count]):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{folder.name} {k}.png")


def test_a_report(checkout):
    assert commands("Two commands", "On a machine with")[0] == "make report"
    type_in(checkout, "make report")
    page = (checkout / "reports" / "index.html").read_text()
    assert page.count("<img") >= 10
    assert "kappa_cifar10" in page


def write_fashion_mnist(raw: Path) -> None:
    """A few random images in the publisher's format."""
    raw.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for part, n in (("train", 600), ("t10k", 200)):
        arrays = {
            "images-idx3": draw.integers(0, 256, (n, 28, 28), np.uint8),
            "labels-idx1": np.arange(n, dtype=np.uint8) % 10,
        }
        for kind, array in arrays.items():
            head = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
            with gzip.open(raw / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())


def test_a_sweep_of_kappa_on_fashion_mnist(checkout, tmp_path):
    write_fashion_mnist(tmp_path / "my data" / "FashionMNIST" / "raw")
    (command,) = commands("Try it", "**A sweep of κ on real Fashion-MNIST**")
    type_in(checkout, command, tmp_path / "my data", f"{SHORT} {runs_option(tmp_path)}")
    metrics = collect(tmp_path / "runs")
    assert sorted(metrics.kappa.unique()) == [0.1, 0.6931, 1, 10, 20]
    assert set(metrics.dataset) == {"fashion_mnist"}
    assert pictures(checkout / "kappa.ipynb") >= 1


def test_saliency_of_a_photograph_of_ones_own(checkout, tmp_path):
    folder = tmp_path / "holiday pictures"
    folder.mkdir()
    shutil.copy(str(files("skimage") / "data" / "rocket.jpg"), folder / "Rocket (1).JPG")
    (command,) = commands("Try it", "**Saliency on your own photographs**")
    type_in(checkout, command, folder)
    cells = nbformat.read(checkout / "saliency.ipynb", 4).cells
    first = next(cell for cell in cells if "overlay(pictures, rows)" in cell.source)
    assert any("image/png" in output.get("data", {}) for output in first.outputs)


def train_on_own_images(checkout: Path, data: Path, folder: Path):
    """The metrics of the README's two commands on a data set of one's own."""
    lines = commands("Try it", "**Your own data set**")
    assert len(lines) == 2
    for line in lines:
        type_in(checkout, line, data, f"-p epochs 1 -p batch_size 16 {runs_option(folder)}")
    assert pictures(checkout / "mine.ipynb") >= 2
    assert pictures(checkout / "mine_probed.ipynb") >= 1
    metrics = collect(folder / "runs")
    assert metrics[metrics.method == "infomax"].mi_density.notna().all()
    return metrics


def test_a_labelled_data_set_of_ones_own(checkout, tmp_path):
    data = tmp_path / "my images"
    for label in (0, 1):
        save(data / f"kind {label}", 50, label)
    metrics = train_on_own_images(checkout, data, tmp_path)
    assert set(metrics.method) == {"infomax", "supervised"}
    assert metrics.linear_top1.notna().all()


def test_a_data_set_of_ones_own_without_labels(checkout, tmp_path):
    save(tmp_path / "my images", 50, 0)
    metrics = train_on_own_images(checkout, tmp_path / "my images", tmp_path)
    assert set(metrics.method) == {"infomax"}
    assert "linear_top1" not in metrics


def test_one_run_in_two_processes(checkout, tmp_path):
    (command,) = commands("Try it", "**One run in two processes**")
    output = type_in(checkout, command, more=f"{SHORT} {runs_option(tmp_path)}")
    record = Run(Path(output.split("\n")[-2])).record
    assert record["devices"] == 2
    assert record["images"] == 64


def test_the_bill(checkout):
    line = commands("Many runs, many devices", "Every table row")[0]
    assert line == "make plan"
    assert "ImageNet, resnet50, infomax, κ = 10" in type_in(checkout, line)


def test_every_target_that_the_readme_names_is_there():
    targets = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", README)) - {"and", "anew"}
    rules = set(re.findall(r"(?m)^([a-z][a-z0-9 -]*):", (ROOT / "Makefile").read_text()))
    assert targets <= {name for rule in rules for name in rule.split()}, targets
