"""Checkpoints written beside the training: as of their moment, whole, one after another."""

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.errors import RunError
from infomax_nb.files import load_weights
from infomax_nb.train.checkpoints import CHECKPOINTS, CheckpointsBeside, WholeCheckpoints
from infomax_nb.train.fitting import fit

SMALL = {"n_classes": 10, "n_train": 64, "batch_size": 16, "proj_dim": 16, "epochs": 3}
SMALL |= {"eval_every": 3, "device": "cpu"}
KILLED = Path(__file__).with_name("killed.py")


class Held(WholeCheckpoints):
    """Writes each checkpoint once it is let go on."""

    def __init__(self):
        self.go_on = threading.Event()

    def save_checkpoint(self, *given, **options):
        assert self.go_on.wait(60)
        super().save_checkpoint(*given, **options)


@pytest.fixture
def held():
    held = Held()
    yield held
    held.go_on.set()


@pytest.fixture
def beside(monkeypatch):
    """Training on the CPU writes its checkpoints as training on CUDA does."""
    monkeypatch.setitem(CHECKPOINTS, "cpu", CHECKPOINTS["cuda"])


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A finished run whose checkpoints were written in turn with the training."""
    return fit(TrainConfig(**SMALL, runs_dir=str(tmp_path_factory.mktemp("usual"))))


def assert_same(run, other):
    assert (run.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()
    theirs = other.weights
    for name, value in run.weights.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name


def test_only_cuda_writes_them_beside():
    assert isinstance(CHECKPOINTS["cuda"](), CheckpointsBeside)
    assert isinstance(CHECKPOINTS["cpu"](), WholeCheckpoints)


def test_a_checkpoint_is_of_its_moment_whatever_training_changes_meanwhile(tmp_path, held):
    io = CheckpointsBeside(held)
    weights = torch.ones(3)
    history = [{"epoch": 1}]
    io.save_checkpoint({"weights": weights, "history": history}, tmp_path / "a.ckpt")
    weights.add_(1)
    history[0]["epoch"] = 2
    history.append({"epoch": 2})
    assert not list(tmp_path.iterdir())  # it has returned before anything is written
    held.go_on.set()
    io.teardown()
    kept = load_weights(tmp_path / "a.ckpt")
    assert kept["weights"].tolist() == [1, 1, 1]
    assert kept["history"] == [{"epoch": 1}]
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_one_is_whole_before_the_next_one_is_begun(tmp_path, held):
    """The second call waits for the first file, so that no more than one copy is in memory."""
    io = CheckpointsBeside(held)
    io.save_checkpoint({"epoch": 1}, tmp_path / "epoch_1.ckpt")
    second = threading.Thread(
        target=io.save_checkpoint, args=({"epoch": 1}, tmp_path / "checkpoint.ckpt")
    )
    second.start()
    second.join(0.3)
    assert second.is_alive()
    held.go_on.set()
    second.join(60)
    assert (tmp_path / "epoch_1.ckpt").exists()
    io.teardown()
    assert load_weights(tmp_path / "checkpoint.ckpt") == {"epoch": 1}


def test_what_went_wrong_is_raised_at_the_next_one_and_at_the_end(tmp_path, held):
    io = CheckpointsBeside(held)
    io.save_checkpoint({"epoch": 1}, tmp_path / "missing" / "checkpoint.ckpt")
    held.go_on.set()
    with pytest.raises(RunError, match="checkpoint.ckpt could not be written"):
        io.save_checkpoint({"epoch": 2}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(RunError, match="checkpoint.ckpt could not be written"):
        io.teardown()


def test_a_run_is_the_same_and_nothing_is_left(beside, usual, tmp_path):
    run = fit(TrainConfig(**SMALL, runs_dir=str(tmp_path)))
    assert_same(run, usual)
    assert not [path for path in run.path.iterdir() if path.suffix in (".ckpt", ".part")]


def test_the_record_is_written_when_all_else_is_on_the_disk(usual, tmp_path, monkeypatch):
    """A checkpoint that is written slowly would else come after it has been removed."""
    held = Held()
    monkeypatch.setitem(CHECKPOINTS, "cpu", lambda: CheckpointsBeside(held))
    timer = threading.Timer(3, held.go_on.set)
    timer.start()
    run = fit(TrainConfig(**{**SMALL, "epochs": 1}, keep_epochs=1, runs_dir=str(tmp_path)))
    assert held.go_on.is_set()
    assert run.record["kept"].keys() == {"1"}
    time.sleep(0.5)
    assert sorted(path.name for path in run.path.glob("*.ckpt")) == ["epoch_1.ckpt"]


def test_a_full_disk_gives_the_same_sentence(beside, usual, tmp_path):
    """Files may have 1 MB: a checkpoint has more."""
    config = TrainConfig(**SMALL, runs_dir=str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        sentence = re.escape(f"{config.run_dir / 'checkpoint.ckpt'} could not be written, the disk")
        with pytest.raises(RunError, match=sentence):
            fit(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(config.run_dir.glob("*.part"))
    assert_same(fit(config), usual)


def test_a_killed_run_has_a_whole_checkpoint_and_goes_on(usual, tmp_path):
    """Killed at the start of its third epoch; all epochs' checkpoints are to be written."""
    config = {**SMALL, "runs_dir": str(tmp_path)}
    command = [sys.executable, str(KILLED), json.dumps(config), "3", "beside"]
    killed = subprocess.run(command, env={**os.environ, "INFOMAX_SAVE_SECONDS": "0"})
    assert killed.returncode == -9
    run = TrainConfig(**config).run_dir
    assert load_weights(run / "checkpoint.ckpt")["epoch"] in (0, 1)
    assert_same(fit(TrainConfig(**config)), usual)
