"""One run in two processes (gloo) is the run in one: same views, same losses, same path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from checkout import ROOT

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

SCRIPT = str(Path(__file__).with_name("parallel.py"))
SHAPE = {"n_classes": 10, "n_train": 128, "batch_size": 32, "proj_dim": 16}
SHAPE |= {"backbone": "vit_mini", "eval_every": 3}
# Their losses compare the images of a batch.
METHODS = ("infomax", "simclr", "vicreg", "barlow_twins")
SINGLE = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def trained(folder, command, devices, methods=METHODS):
    """The finished runs by their methods, of three epochs of four steps each."""
    shape = {**SHAPE, "epochs": 3, "runs_dir": str(folder)}
    configs = [{**shape, "method": method} for method in methods]
    script = [*command, SCRIPT, json.dumps(configs), str(devices)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(script, env=environment, check=True, timeout=600)
    return {config["method"]: Run(TrainConfig(**config).run_dir) for config in configs}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), SINGLE, 1)


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


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("torchrun"), TORCHRUN, 2)


@pytest.mark.parametrize("method", METHODS)
def test_torchruns_two_processes_take_the_path_of_one(by_torchrun, alone, method):
    assert_same_path(by_torchrun[method], alone[method])


def test_lightnings_two_processes_take_the_path_of_one(tmp_path, alone):
    both = trained(tmp_path, SINGLE, 2, ["infomax"])
    assert_same_path(both["infomax"], alone["infomax"])


@pytest.mark.parametrize("size", [96, 150, 7])
def test_shares_get_the_views_of_the_whole_batch(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=generator)
    views = MultiView(dino_views(32)[:3])
    numbers = views.draw(size, 32, 32, torch.Generator().manual_seed(1))
    whole = views.make(images, numbers)
    for rows in torch.arange(size).tensor_split(3):
        share = views.make(images[rows], {name: each[:, rows] for name, each in numbers.items()})
        for ours, all_of_them in zip(share, whole, strict=True):
            torch.testing.assert_close(ours, all_of_them[rows], rtol=0, atol=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="batch_size = 33 .* multiple of 2"):
        fit(TrainConfig(**{**SHAPE, "batch_size": 33}, runs_dir=str(tmp_path)), devices=2)
