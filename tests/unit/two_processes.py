"""Runs in two processes: whether they take the path of one, and stop together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from checkout import ROOT

from infomax_nb.config import TrainConfig
from infomax_nb.files import load_weights
from infomax_nb.methods import FAMILY
from infomax_nb.train.run import Run

SCRIPT = str(Path(__file__).with_name("parallel.py"))
SHAPE = {"n_classes": 10, "n_train": 128, "batch_size": 32, "proj_dim": 16}
SHAPE |= {"backbone": "vit_mini", "eval_every": 3}
# Their losses compare the images of a batch.
METHODS = ("infomax", "simclr", "vicreg", "barlow_twins", *FAMILY)
SINGLE = [sys.executable]
STOPPED = str(Path(__file__).with_name("stopped.py"))
IMAGES = 8  # of each process at each step, of the small runs
SMALL = {"n_classes": 10, "n_train": 128, "batch_size": 2 * IMAGES, "proj_dim": 16}
LONG = {**SMALL, "epochs": 10, "eval_every": 20}  # 80 steps
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def run(command):
    """The command's status, each process with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, timeout=600).returncode


def trained(folder, command, devices, methods):
    """The finished runs by their methods, of three epochs of four steps each."""
    shape = {**SHAPE, "epochs": 3, "runs_dir": str(folder)}
    configs = [{**shape, "method": method} for method in methods]
    assert run([*command, SCRIPT, json.dumps(configs), str(devices)]) == 0
    return {config["method"]: Run(TrainConfig(**config).run_dir) for config in configs}


def backbone_weights(run):
    """All weights of the backbone, in a row."""
    weights = run.weights
    return torch.cat([weights[name].flatten() for name in weights if name.startswith("backbone")])


def assert_same_path(run, reference):
    """Twelve steps: every number that was logged, and the backbone, up to the rounding of sums in
    another order.

    Of the 500 test images rounding may tip two, between classes that have as many votes; of the 256
    views of a batch one, between two neighbours as near.
    """
    assert run.record["devices"] == 2
    assert reference.record["devices"] == 1
    same = pd.testing.assert_frame_equal
    ours = run.metrics
    theirs = reference.metrics
    accuracies = [column for column in ours if "_top" in column]
    counts = [column for column in ours if column == "nn_positive"]
    others = ours.columns.difference(accuracies + counts)
    same(ours[others], theirs[others], rtol=1e-4, atol=1e-4)
    same(ours[counts], theirs[counts], rtol=0, atol=1.1 / 256)
    same(ours[accuracies], theirs[accuracies], rtol=0, atol=0.41)
    apart = (backbone_weights(run) - backbone_weights(reference)).abs()
    # A step of Adam is as long as the rate, 1e-3, however small the gradient: where it is zero but
    # for rounding, as of the keys' biases, weights go their own ways.
    assert (apart > 1e-4).float().mean() < 0.01


def stopped_never(folder, launcher, values):
    """The run that no signal stops."""
    config = {**values, "runs_dir": str(folder)}
    assert run([*launcher, STOPPED, json.dumps(config), "-1", "-1"]) == 0
    return Run(TrainConfig(**config).run_dir)


def assert_both_stop_and_go_on(unstopped, folder, launcher, values, rank, status):
    """SIGTERM to the process of this rank, after which the run goes on.

    The checkpoint is whole, and leads to the very end of a run that was not stopped.
    """
    config = {**values, "runs_dir": str(folder)}
    command = [*launcher, STOPPED, json.dumps(config)]
    assert run([*command, str(rank), "4"]) == status
    last = {int((folder / f"{each}.txt").read_text()) for each in range(2)}
    assert len(last) == 1
    assert 4 <= min(last) < 79
    stopped = Run(TrainConfig(**config).run_dir)
    assert not list(stopped.path.glob("*.part"))
    assert load_weights(stopped.checkpoint)["global_step"] == min(last) + 1
    assert run([*command, "-1", "-1"]) == 0
    ours = (stopped.path / "metrics.csv").read_bytes()
    assert ours == (unstopped.path / "metrics.csv").read_bytes()
