"""What README and docs tell people to type, taken from the texts and run.

First a newcomer's paths, each of which ends where the README says, then every other command.
Where a command would train for minutes, shorter training is added to its end; what stands in the
text stays.
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
from texts import commands
from ways import SHORT, way_of

from infomax_nb.data import glyphs
from infomax_nb.train.run import Run, collect

ROOT = Path(__file__).parents[2]


def readme_commands(words: str, page: str = "README.md") -> list[str]:
    """The commands of the README, or of another page, that hold these words."""
    found = [each.line for each in commands() if each.page == page and words in each.line]
    assert found, words
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with the environment at hand, and no runs."""
    copy = tracked(tmp_path_factory.mktemp("readme") / "check out")
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (copy / name).symlink_to((ROOT / name).resolve())
    return copy


def typed(checkout: Path, command: str, data: Path, more: str) -> tuple[int, str]:
    """Run the line in a shell, with a folder for DIR: exit code and all output."""
    line = re.sub(r"\bDIR\b", lambda _: shlex.quote(str(data)), command)
    line = re.sub(r"(?=2> \S+$|$)", f" {more} ", line, count=1)
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_CURRENT_TEST", None)  # a kernel that sees it says nothing to a log
    options = {"env": environment, "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-c", line], cwd=checkout, **options)
    return done.returncode, done.stdout + done.stderr


def type_in(checkout: Path, command: str, data: Path | None = None, more: str = "") -> str:
    """The output of a line that must end well."""
    code, output = typed(checkout, command, data or Path("missing"), more)
    assert code == 0, f"{command} {more}\n{output[-4000:]}"
    return output


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
    (command,) = readme_commands("make report")
    type_in(checkout, command)
    page = (checkout / "reports" / "html" / "index.html").read_text()
    assert "Does the paper hold?" in page
    assert page.count("<img") >= 10
    assert "reports/kappa_cifar10/index.html" in page


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
    (command,) = readme_commands("fashion_mnist")
    type_in(checkout, command, tmp_path / "my data", f"{SHORT} {runs_option(tmp_path)}")
    metrics = collect(tmp_path / "runs")
    assert sorted(metrics.kappa.unique()) == [0.1, 0.6931, 1, 10, 20]
    assert set(metrics.dataset) == {"fashion_mnist"}
    assert pictures(checkout / "kappa.ipynb") >= 1


def test_saliency_of_a_photograph_of_ones_own(checkout, tmp_path):
    folder = tmp_path / "holiday pictures"
    folder.mkdir()
    shutil.copy(str(files("skimage") / "data" / "rocket.jpg"), folder / "Rocket (1).JPG")
    (command,) = readme_commands("photos DIR")
    type_in(checkout, command, folder)
    cells = nbformat.read(checkout / "saliency.ipynb", 4).cells
    first = next(cell for cell in cells if "overlay(pictures, rows)" in cell.source)
    assert any("image/png" in output.get("data", {}) for output in first.outputs)


def train_on_own_images(checkout: Path, data: Path, folder: Path):
    """The metrics of the README's two commands on a data set of one's own."""
    lines = readme_commands("dataset folder")
    assert len(lines) == 2
    for line in lines:
        type_in(checkout, line, data, f"-p epochs 1 -p batch_size 16 {runs_option(folder)}")
    assert pictures(checkout / "mine.ipynb") >= 2
    assert pictures(checkout / "probed.ipynb") >= 1
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
    (command,) = readme_commands("--devices 2", "docs/runs.md")
    output = type_in(checkout, command, more=f"{SHORT} {runs_option(tmp_path)}")
    folders = re.findall(rf"(?m)^{re.escape(str(tmp_path))}/runs/\S+$", output)
    record = Run(Path(folders[-1])).record
    assert record["devices"] == 2
    assert record["images"] == 64


# --- Every other command ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder of each kind that stands for DIR."""
    root = tmp_path_factory.mktemp("data")
    for kind in ("empty", "photographs", "images", "cifar10"):
        (root / kind).mkdir()
    shutil.copy(str(files("skimage") / "data" / "rocket.jpg"), root / "photographs")
    for label in (0, 1):
        save(root / "images" / f"kind {label}", 50, label)
    write_fashion_mnist(root / "fashion_mnist" / "FashionMNIST" / "raw")
    draw = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in CIFAR10:
            folder = root / "cifar10" / part / label
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = draw.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return {path.name: path for path in root.iterdir()}


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TRIED = [command for command in commands() if not way_of(command).reason]


@pytest.mark.parametrize("command", TRIED, ids=lambda each: f"{each.page}: {each.line[:50]}")
def test_a_command_does_what_its_page_says(checkout, folders, command):
    way = way_of(command)
    data = folders[way.data] if way.data else Path("missing")
    code, output = typed(checkout, command.line, data, way.more)
    assert (code != 0) == way.fails, output[-3000:]
    assert re.search(way.says, output), output[-3000:]
    if way.fails:
        assert len(output.strip().splitlines()) <= 8, output
