"""Images decoded once: the same pixels as in their files, whole or not there, and never others'."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data import decoded
from infomax_nb.data.decoded import FOLDER, decoded_once, place
from infomax_nb.data.fingerprints import fingerprint
from infomax_nb.data.image_set import DecodedImages, ImageFiles, ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.sampling import batches
from infomax_nb.distributed import processes
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.representation import features
from infomax_nb.train.fitting import fit
from infomax_nb.train.job import Job
from infomax_nb.train.record import session
from infomax_nb.train.run import Run
from infomax_nb.train.trainer import pretrain

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Forty noisy photographs of two classes, each with its own size."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for name in ("bright", "dark"):
        (folder / name).mkdir()
        for k in range(20):
            pixels = noise.integers(0, 128, (30 + k, 40, 3)) + 100 * (name == "bright")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def whole(root):
    """The training split, decoded in memory."""
    return load("folder", root, image_size=32)


@pytest.fixture
def files(root):
    return load("folder", root, image_size=32, memory=0)


def once(files, folder, root, data="a digest"):
    return decoded_once(files, folder, root, data)


def kept(folder: Path) -> list[str]:
    """The names of the files that have pixels, and of what is half-written."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


ROWS = {
    "numbers": torch.tensor([5, 2, 2, 31]),
    "mask": torch.arange(32) % 3 == 1,
    "nothing": torch.tensor([], dtype=torch.long),
    "slice": slice(3, 30, 4),
    "everything": slice(None),
    "number": 7,
    "tensor of one number": torch.tensor(7),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_the_file_has_the_pixels_of_the_images(root, files, whole, tmp_path, rows):
    images = once(files.images, tmp_path, root)
    assert isinstance(images, DecodedImages)
    assert images.shape == whole.images.shape and len(images) == len(whole)
    assert torch.equal(images[rows], whole.images[rows])
    assert images[rows].dtype == torch.uint8


def test_chunks_of_the_file_are_chunks_of_the_images(root, files, whole, tmp_path):
    images = once(files.images, tmp_path, root)
    for ours, theirs in zip(images.split(5), whole.images.split(5), strict=True):
        assert torch.equal(ours, theirs)


def test_the_file_holds_nothing_but_pixels_in_their_order(root, files, whole, tmp_path):
    once(files.images, tmp_path, root)
    (name,) = kept(tmp_path)
    assert (tmp_path / name).read_bytes() == whole.images.numpy().tobytes()


def test_the_second_time_no_image_is_opened(root, whole, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    files = load("folder", copy, image_size=32, memory=0)
    once(files.images, tmp_path / "decoded", copy)
    for path in files.images.paths:
        Path(path).unlink()
    assert torch.equal(once(files.images, tmp_path / "decoded", copy)[:], whole.images)


def test_a_copy_of_the_set_elsewhere_has_the_same_file(root, files, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    there = load("folder", copy, image_size=32, memory=0)
    once(files.images, tmp_path / "decoded", root)
    once(there.images, tmp_path / "decoded", copy)
    assert len(kept(tmp_path / "decoded")) == 1


def test_no_set_is_taken_for_another_one(root, files, tmp_path):
    """Other images, another order, another size, other contents at the same names."""
    paths = files.images.paths
    sets = [ImageFiles(paths, 32), ImageFiles(paths[:-1], 32), ImageFiles(paths[::-1], 32)]
    sets.append(ImageFiles(paths, 16))
    for each in sets:
        assert torch.equal(once(each, tmp_path, root)[:], each[:])
    once(sets[0], tmp_path, root, "another digest")
    assert len(kept(tmp_path)) == 5


def test_a_truncated_file_is_written_anew(root, files, whole, tmp_path):
    once(files.images, tmp_path, root)
    (name,) = kept(tmp_path)
    os.truncate(tmp_path / name, 1000)
    assert torch.equal(once(files.images, tmp_path, root)[:], whole.images)


def test_a_damaged_image_is_named_and_nothing_is_kept(root, files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(files.images.paths[0]).read_bytes()[:500])
    paths = np.append(files.images.paths, str(bad))
    with pytest.raises(ParameterError, match=re.escape(str(bad))):
        once(ImageFiles(paths, 32), tmp_path / "decoded", root)
    assert not kept(tmp_path / "decoded")


# --- Faults ---------------------------------------------------------------------------------------


def test_without_room_on_the_disk_they_stay_in_their_files(
    root, files, tmp_path, monkeypatch, capsys
):
    """One sentence says what it takes: the images' bytes and a GiB of spare room."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage(9e9, 8e9, 1e9))
    assert once(files.images, tmp_path, root) is files.images
    said = capsys.readouterr().err
    needed = (32 * 3 * 32 * 32 + 2**30) / 1e9
    assert len(said.splitlines()) == 1
    assert f"{tmp_path} needs {needed:.1f} GB free" in said and "1.0 GB" in said
    assert not kept(tmp_path)


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(root, files, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        images = once(files.images, tmp_path, root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert images is files.images
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not kept(tmp_path)


def test_a_folder_that_cannot_be_made_leaves_them_in_their_files(root, files, tmp_path, capsys):
    (tmp_path / "decoded").touch()
    assert once(files.images, tmp_path / "decoded", root) is files.images
    assert len(capsys.readouterr().err.splitlines()) == 1


DECODE = """if True:
    import sys
    from pathlib import Path
    import numpy as np
    from infomax_nb.data.decoded import decoded_once
    from infomax_nb.data.image_set import ImageFiles
    folder, *paths = sys.argv[1:]
    images = decoded_once(ImageFiles(np.array(paths, object), 32), Path(folder), Path("/"), "data")
    print(int(images[:].sum()))
"""


def start(folder, paths):
    command = [sys.executable, "-c", DECODE, str(folder), *map(str, paths)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_while_it_writes_leaves_nothing_that_counts(root, whole, tmp_path):
    """A pipe in place of the last image holds it there, when a chunk of 512 is written."""
    paths = [*sorted(root.glob("*/*.png")) * 13, tmp_path / "pipe.png"]
    os.mkfifo(paths[-1])
    folder = tmp_path / "decoded"
    process = start(folder, paths)
    deadline = time.monotonic() + 60
    while not [path for path in folder.glob("*.part") if path.stat().st_size]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [name.endswith(".part") for name in kept(folder)] == [True]
    paths[-1].unlink()
    shutil.copy(paths[0], paths[-1])
    files = ImageFiles(np.array([*map(str, paths)], object), 32)
    assert torch.equal(decoded_once(files, folder, Path("/"), "data")[:], files[:])
    assert [name.endswith(".uint8") for name in kept(folder)] == [True]


def test_two_processes_write_one_file(root, files, tmp_path):
    paths = sorted(root.glob("*/*.png"))
    both = [start(tmp_path, paths), start(tmp_path, paths)]
    said = [process.communicate(timeout=120)[0] for process in both]
    expected = ImageFiles(np.array([*map(str, paths)], object), 32)[:].sum()
    assert [int(each) for each in said] == [int(expected)] * 2
    assert len(kept(tmp_path)) == 1


# --- Where they are read --------------------------------------------------------------------------


def refused(_):
    raise AssertionError("nothing is to be decoded into a file here")


@pytest.mark.parametrize("memory", [0, 2**30], ids=["in files", "in memory"])
def test_sets_that_fit_live_on_the_device(root, whole, memory):
    sets = [load("folder", root, part, image_size=32, memory=memory) for part in ("train", "test")]
    size = sum(each.images.nbytes for each in sets)
    train, test = place(sets, CPU, size + 1, refused)
    assert isinstance(train.images, torch.Tensor)
    assert isinstance(test.images, torch.Tensor)
    assert torch.equal(train.images, whole.images)
    assert torch.equal(train.labels, whole.labels)


def test_sets_that_do_not_fit_are_read_ahead(root, files, whole, tmp_path):
    """32 images of either set: together they have the bytes that there is room for, not fewer."""
    room = 2 * 32 * 3 * 32 * 32
    for train in place([files, whole], CPU, room, lambda each: once(each, tmp_path, root)):
        assert isinstance(train.images, DecodedImages)
        assert torch.equal(train.images[:], whole.images)
        assert not train.images.pinned


@pytest.mark.parametrize("kind", ["files", "decoded"])
def test_a_gpu_gets_fresh_pinned_memory_for_each_batch(files, whole, monkeypatch, kind):
    """Memory is pinned by CUDA's driver. Here each request for it is noted."""
    asked = []

    def pin_memory(tensor):
        asked.append(tensor.clone())
        return asked[-1]

    def empty(*shape, pin_memory=False, **options):
        made = new(*shape, **options)
        if pin_memory:
            asked.append(made)
        return made

    new = torch.empty
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch, "empty", empty)
    images = {"files": files.images, "decoded": DecodedImages(whole.images)}[kind]
    images.pinned = True
    pinned = ImageSet(images, whole.labels, whole.classes)
    taken = list(batches(pinned, 8, seed=0, epoch=1))
    places = [tensor.data_ptr() for batch in taken for tensor in batch]
    assert len(set(places)) == 2 * 4
    assert set(places) == {tensor.data_ptr() for tensor in asked}
    for ours, theirs in zip(taken, batches(whole, 8, seed=0, epoch=1), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_features_are_those_of_the_images(files, whole, root, tmp_path):
    images = once(files.images, tmp_path, root)
    network = torch.nn.Flatten()
    assert torch.equal(features(network, images), features(network, whole.images))


def test_a_run_reads_them_as_it_would_the_files(root, tmp_path):
    """A run whose images are in the decoded file, and one as runs on the CPU are."""
    shape = {"dataset": "folder", "data_root": str(root), "image_size": 32, "device": "cpu"}
    shape |= {"batch_size": 8, "proj_dim": 16, "epochs": 2}
    usual = fit(TrainConfig(**shape, runs_dir=str(tmp_path / "usual")))
    config = TrainConfig(**shape, runs_dir=str(tmp_path / "decoded")).resolved()
    data = fingerprint(config)
    folder = config.run_dir.parent / FOLDER
    in_files = [load("folder", root, part, image_size=32, memory=0) for part in ("train", "test")]
    sets = place(in_files, CPU, 0, lambda each: decoded_once(each, folder, root, data["digest"]))
    run = Run(config.run_dir)
    run.path.mkdir()
    pretrain(Job(config, run, *sets, data, processes(), 0.0, "decoded"), session(config))
    assert len(kept(folder)) == 2
    ours = (run.path / "metrics.csv").read_bytes()
    assert ours == (usual.path / "metrics.csv").read_bytes()
