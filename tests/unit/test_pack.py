"""Data and libraries in small parts: packed here, unpacked where there is nothing but Python."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import fingerprint, pixels_digest
from infomax_nb.data.loading import load
from infomax_nb.errors import ParameterError
from pipeline.gpu import pack, unpack, wheels

ROOT = Path(__file__).parents[2]
CLASSES = ("airplane", "cat", "frog")
LIMIT = 10_000  # bytes of a part: a few images
LINUX = wheels.Machine("3.12", "x86_64", "2.28")


@pytest.fixture
def data(tmp_path) -> Path:
    """Class folders of small images, in the place of CIFAR-10's."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for split, count in (("train", 6), ("test", 3)):
        for name in CLASSES:
            folder = root / "cifar10" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    return root


@pytest.fixture
def packs(data, tmp_path) -> Path:
    pack.pack_data(str(data), tmp_path / "packs", LIMIT)
    return tmp_path / "packs"


def run_unpack(packs: Path, folder: Path) -> subprocess.CompletedProcess:
    """The script alone, by a Python that sees no library, in another folder."""
    script = packs.parent / "unpack.py"
    shutil.copy(ROOT / "pipeline" / "gpu" / "unpack.py", script)
    command = [sys.executable, "-I", "-S", str(script), str(packs), str(folder)]
    return subprocess.run(command, cwd=packs.parent, capture_output=True, text=True)


# --- Data -----------------------------------------------------------------------------------------


def test_the_same_files_come_back(data, packs, tmp_path):
    """Name by name and byte by byte, so that a run's fingerprint of them is the same, too."""
    done = run_unpack(packs, tmp_path / "there")
    assert done.returncode == 0, done.stderr
    for path in data.rglob("*.png"):
        assert (tmp_path / "there/data" / path.relative_to(data)).read_bytes() == path.read_bytes()
    for split in ("train", "test"):
        pixels = [
            pixels_digest(load("cifar10", root, split)) for root in (data, tmp_path / "there/data")
        ]
        assert pixels[0] == pixels[1]
    roots = (data, tmp_path / "there" / "data")
    places = [
        TrainConfig(dataset="cifar10", data_root=str(root), runs_dir=str(tmp_path))
        for root in roots
    ]
    assert fingerprint(places[0]) == fingerprint(places[1])


def test_no_part_is_larger_than_it_may_be(packs):
    parts = sorted(packs.glob("data.[0-9]*"))
    assert len(parts) > 3
    assert all(path.stat().st_size <= LIMIT for path in parts)
    assert sum(path.stat().st_size == LIMIT for path in parts) == len(parts) - 1


def test_the_same_files_give_the_same_parts(data, packs, tmp_path):
    for path in data.rglob("*.png"):
        os.utime(path, (0, 0))
    pack.pack_data(str(data), tmp_path / "again", LIMIT)
    for path in packs.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_fewer_parts_leave_none_of_the_old_ones(data, packs):
    pack.pack_data(str(data), packs, 10**9)
    assert [path.name for path in sorted(packs.iterdir())] == ["data.000", "data.json"]


def test_a_damaged_part_is_refused_by_name(packs, tmp_path):
    path = packs / "data.002"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    done = run_unpack(packs, tmp_path / "there")
    assert done.returncode == 1
    assert "data.002 is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "there").exists()


def test_a_missing_part_is_named(packs, tmp_path):
    (packs / "data.001").unlink()
    assert "data.001 is missing" in run_unpack(packs, tmp_path / "there").stderr
    assert not (tmp_path / "there").exists()


def test_parts_of_two_packs_are_refused(packs, tmp_path):
    path = packs / "data.json"
    kept = json.loads(path.read_text())
    kept["parts"] = kept["parts"][1:]
    path.write_text(json.dumps(kept))
    assert "are not those of one pack" in run_unpack(packs, tmp_path / "there").stderr


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "data"}'])
def test_a_damaged_list_is_refused(packs, tmp_path, text):
    (packs / "data.json").write_text(text)
    assert "data.json is damaged" in run_unpack(packs, tmp_path / "there").stderr


def test_no_list_is_no_pack(tmp_path):
    with pytest.raises(unpack.PackError, match=r"no list of parts"):
        unpack.unpack(tmp_path, tmp_path / "there")


def test_what_was_interrupted_is_no_result_and_is_done_anew(packs, data, tmp_path):
    """Killed while it unpacks, as if at the second image: then only the folder beside is there."""
    there = tmp_path / "there"
    half = there / "data.part" / "cifar10" / "train" / "cat"
    half.mkdir(parents=True)
    (half / "stray.png").write_bytes(b"half")
    assert not (there / "data").exists()
    unpack.unpack(packs, there)
    assert not (there / "data.part").exists()
    names = {path.relative_to(there / "data") for path in (there / "data").rglob("*.png")}
    assert names == {path.relative_to(data) for path in data.rglob("*.png")}


def test_a_process_that_is_killed_leaves_no_result(packs, tmp_path):
    """Its end of input never comes: the parts are read from a pipe that is cut off."""
    there = tmp_path / "there"
    (one,) = unpack.lists(packs)
    parts = unpack.check(packs, one)
    with pytest.raises(EOFError):
        unpack._unpack(parts[:-1], one, there / "data")
    assert not (there / "data").exists()
    assert [path.name for path in there.iterdir()] == ["data.part"]


def test_what_is_there_stays_and_is_not_unpacked_again(packs, tmp_path):
    unpack.unpack(packs, tmp_path / "there")
    (packs / "data.000").unlink()
    assert unpack.unpack(packs, tmp_path / "there") == [tmp_path / "there" / "data"]


def test_something_else_in_its_place_is_refused(packs, tmp_path):
    (tmp_path / "there" / "data").mkdir(parents=True)
    with pytest.raises(unpack.PackError, match=r"data holds something else: move it away"):
        unpack.unpack(packs, tmp_path / "there")


def test_without_the_images_nothing_is_packed(tmp_path):
    with pytest.raises(ParameterError, match="CIFAR-10"):
        pack.pack_data(str(tmp_path), tmp_path / "packs", LIMIT)
    assert not (tmp_path / "packs").exists()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_parts_are_read_as_one(tmp_path, size):
    """Whatever is asked for at a time."""
    content = random.Random(0).randbytes(10_001)
    parts = pack.Parts(tmp_path, "x", 997)
    for start in range(0, len(content), 500):
        parts.write(content[start : start + 500])
    kept = parts.finish()
    paths = [tmp_path / part["file"] for part in kept["parts"]]
    assert [path.stat().st_size for path in paths] == [997] * 10 + [31]
    stream = io.BufferedReader(unpack.Joined(paths), 13)
    read = b"".join(iter(lambda: stream.read(size), b""))
    assert read == content


# --- Libraries ------------------------------------------------------------------------------------


def names(there: set[str], without: set[str] = frozenset()) -> set[str]:
    return {each.name for each in wheels.needed(LINUX, there, without)}


def test_what_a_machine_has_is_not_packed_nor_what_that_needs():
    packed = names(wheels.THERE, wheels.WITHOUT)
    assert {"pydantic", "lightly", "timm", "pandas", "filelock", "scipy"} <= packed
    assert not packed & {"torch", "torchvision", "triton", "pytorch-lightning", "torchmetrics"}
    assert not {name for name in packed if name.startswith("nvidia")}
    assert not packed & {"grad-cam", "ipykernel", "opencv-python-headless", "pytest", "snakemake"}
    assert "torch" in names(set())


def test_more_may_be_there():
    packed = names(wheels.THERE, wheels.WITHOUT)
    assert names({*wheels.THERE, "TIMM"}, wheels.WITHOUT) < packed
    assert "huggingface-hub" in packed
    assert "huggingface-hub" not in names({*wheels.THERE, "timm"}, wheels.WITHOUT)


def test_each_library_is_the_locked_one_with_its_check_sums():
    lock = (ROOT / "requirements.lock").read_text()
    for each in wheels.needed(LINUX, wheels.THERE, wheels.WITHOUT):
        first, *hashes = each.lines.rstrip().splitlines()
        assert first == f"{each.name}=={each.version} \\"
        assert f"\n{each.name}=={each.version}" in f"\n{lock}"
        assert hashes and all(line.strip(" \\").startswith("--hash=sha256:") for line in hashes)
        assert not hashes[-1].endswith("\\")


def test_a_marker_chooses_among_the_locked_versions():
    """What the lock has for Windows alone is not for Linux."""
    windows = {
        line.split("==")[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and line.rstrip(" \\").endswith("sys_platform == 'win32'")
    }
    assert windows
    assert not windows & set(wheels.locked(LINUX))


def test_the_platforms_go_down_from_the_machines():
    platforms = wheels.Machine("3.12", "aarch64", "2.17").platforms()
    assert platforms[0] == "manylinux_2_17_aarch64"
    assert "manylinux2014_aarch64" in platforms
    assert "manylinux_2_18_aarch64" not in platforms


@pytest.fixture
def pip(tmp_path) -> str:
    """A Python whose pip has wheels of all but two libraries: one is source, one is not there."""
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\n"
        "import sys, pathlib\n"
        "words = sys.argv[1:]\n"
        "asked = pathlib.Path(words[words.index('-r') + 1]).read_text().split('==')[0]\n"
        "kind = 'download' if 'download' in words else 'wheel'\n"
        "if asked == 'gone' or (asked == 'source' and kind == 'download'):\n"
        "    sys.exit('ERROR: No matching distribution found for ' + asked)\n"
        "folder = words[words.index('-d' if kind == 'download' else '-w') + 1]\n"
        "pathlib.Path(folder, f'{asked}-1-{kind}.whl').write_text(' '.join(words))\n"
    )
    script.chmod(0o755)
    return str(script)


def library(name: str) -> wheels.Locked:
    return wheels.Locked(name, "1", f"{name}==1 \\\n    --hash=sha256:00\n")


def test_wheels_are_those_of_the_machine_and_a_source_is_built(tmp_path, pip):
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheels.download([library("one"), library("source")], LINUX, folder, pip)
    assert sorted(path.name for path in folder.iterdir()) == [
        "one-1-download.whl",
        "source-1-wheel.whl",
    ]
    words = (folder / "one-1-download.whl").read_text()
    for word in ("--require-hashes", "--no-deps", "--python-version=3.12", "manylinux_2_17_x86_64"):
        assert word in words


def test_a_library_that_cannot_be_had_is_named(tmp_path, pip):
    with pytest.raises(ParameterError, match="gone 1 cannot be had: ERROR: No matching"):
        wheels.download([library("gone")], LINUX, tmp_path, pip)


def wheel(folder: Path, name: str, **files: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        for place, text in files.items():
            archive.writestr(place.replace("__", "/"), text)


def pack_site(tmp_path: Path, python: str) -> Path:
    """A pack of two libraries and of the project's own metadata."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "one", **{"one.py": "said = 'one'"})
    wheel(folder, "two", **{"two-1.data__purelib__two.py": "said = 'two'", "two-1.data__x": ""})
    wheels.write_own(folder)
    pack.pack("site", folder, folder.iterdir(), tmp_path / "packs", LIMIT, python=python)
    return tmp_path / "packs"


def test_libraries_can_be_imported_where_they_are_unpacked(tmp_path):
    here = ".".join(map(str, sys.version_info[:2]))
    done = run_unpack(pack_site(tmp_path, here), tmp_path / "there")
    assert done.returncode == 0, done.stderr
    code = (
        "import one, two, importlib.metadata as m\n"
        "print(one.said, two.said, m.version('infomax-nb'))"
    )
    own = {**os.environ, "PYTHONPATH": str(tmp_path / "there" / "site")}
    command = [sys.executable, "-S", "-c", code]
    said = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.split()[:2] == ["one", "two"], said.stderr
    assert said.stdout.split()[2] == wheels._project()["version"]
    assert not list((tmp_path / "there" / "site").glob("*.whl"))
    assert f"PYTHONPATH={tmp_path}/there/site python3 -m pipeline.gpu" in done.stdout


def test_libraries_of_another_python_are_refused(tmp_path):
    done = run_unpack(pack_site(tmp_path, "3.99"), tmp_path / "there")
    assert done.returncode == 1
    assert "was packed for Python 3.99" in done.stderr
    assert not (tmp_path / "there" / "site").exists()
