"""What somebody has who installs the wheel and has no checkout: from an empty folder.

The environment is a fresh one that holds the wheel alone; libraries are those of the tests' own.
"""

import os
import resource
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from checkout import tracked

from infomax_nb.config import TrainConfig
from infomax_nb.networks import NETWORKS, SHIPPED

IMPORT_SECONDS = 4
NTXENT = """
import torch
from infomax_nb import InfoMaxLoss
from lightly.loss import NTXentLoss
z0, z1 = torch.randn(2, 32, 64)
print(abs(InfoMaxLoss(temperature=0.1)(z0, z1) - NTXentLoss(temperature=0.1)(z0, z1)).item())
"""
FEATURES = """
import torch
from infomax_nb import pretrained
network = pretrained()
print(network)
torch.save(network.backbone(torch.ones(2, 3, 32, 32)), "features.pt")
"""
UNKNOWN = """
from infomax_nb import pretrained
pretrained("tiny_imagenet-infomax-vit_mini")
"""


def run(command: list, folder: Path) -> subprocess.CompletedProcess:
    """The finished command; the environment names no other copy of the package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    options = {"env": environment, "cwd": folder, "capture_output": True, "text": True}
    return subprocess.run(command, **options)


def output(command: list, folder: Path) -> str:
    """What it prints; fails with its output."""
    done = run(command, folder)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder with the programs of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = tracked(folder / "checkout")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"]
    output(build, copy)
    (wheel,) = (folder / "dist").glob("*.whl")
    assert wheel.stat().st_size < 4e6
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    output([programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel], folder)
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A folder named here is searched, but .pth files in it, as of an editable install, are not.
    (own / "others.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def test_what_is_imported_is_what_was_installed(installed, tmp_path):
    code = "import infomax_nb as i; print(*i.__path__, sep='\\n')"
    (place,) = output([installed / "python", "-c", code], tmp_path).splitlines()
    assert Path(place).is_relative_to(installed.parent)
    assert (Path(place) / "py.typed").exists()


def test_the_import_takes_less_than_four_seconds(installed, tmp_path):
    """Of the processor's time, the second time: that of the clock depends on what else runs."""
    command = [installed / "python", "-c", "from infomax_nb import InfoMaxLoss"]
    output(command, tmp_path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output(command, tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < IMPORT_SECONDS


def test_the_loss(installed, tmp_path):
    assert float(output([installed / "python", "-c", NTXENT], tmp_path)) <= 1e-6


def test_the_network_that_it_carries(installed, tmp_path):
    """The same as the checkout's, byte for byte."""
    said = output([installed / "python", "-c", FEATURES], tmp_path)
    assert said.startswith(f"<Network {SHIPPED}: ")
    assert (tmp_path / "features.pt").exists()
    (shipped,) = installed.parent.glob("lib/python*/site-packages/infomax_nb/shipped")
    for path in NETWORKS.glob(f"{SHIPPED}.*"):
        assert (shipped / path.name).read_bytes() == path.read_bytes()


def test_a_network_that_it_does_not_carry_is_one_sentence(installed, tmp_path):
    done = run([installed / "python", "-c", UNKNOWN], tmp_path)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.endswith(f"it must be one of networks.available(), such as '{SHIPPED}'.")


def test_the_commands_help_lists_every_field(installed, tmp_path):
    lines = output([installed / "infomax-nb", "--help"], tmp_path).splitlines()
    names = [line for line in lines if line in TrainConfig.model_fields]
    assert names == list(TrainConfig.model_fields)


@pytest.mark.parametrize("devices", [1, 2])
def test_the_command_trains(installed, tmp_path, devices):
    tiny = {"n_classes": 4, "n_train": 64, "batch_size": 32, "epochs": 1, "proj_dim": 16}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny | {"device": "cpu"}))
    command = [installed / "infomax-nb", "tiny.yaml", "--devices", str(devices)]
    said = output(command, tmp_path)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert str(run_dir) in said
    assert (run_dir / "model.pt").exists()
