"""One run in two processes (gloo) is the run in one: same views, same losses, same path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

SCRIPT = str(Path(__file__).with_name("parallel.py"))
SHAPE = {
    "n_classes": 10,
    "n_train": 128,
    "batch_size": 32,
    "proj_dim": 16,
    "backbone": "vit_mini",
    "eval_every": 3,
}
METHODS = (
    "infomax",
    "simclr",
    "vicreg",
    "barlow_twins",
)  # whose losses compare the images of a batch
SINGLE, TORCHRUN = (
    [sys.executable],
    [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
)


def trained(folder, command, devices, methods=METHODS):
    """The finished runs, of three epochs of four steps each."""
    configs = [{**SHAPE, "method": m, "epochs": 3, "runs_dir": str(folder)} for m in methods]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, SCRIPT, json.dumps(configs), str(devices)],
        env=environment,
        check=True,
        timeout=600,
    )
    return {
        m: Run(TrainConfig(**config).run_dir) for m, config in zip(methods, configs, strict=True)
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), SINGLE, 1)


def same_path(run, reference):
    """Twelve steps: every number that was logged, and the backbone, up to the rounding of sums in
    another order.

    Of the 500 test images rounding may tip two, between classes that have as many votes; of the 256
    views of a batch one, between two neighbours as near.
    """
    accuracies = [column for column in run.metrics if "_top" in column]
    counts = [column for column in run.metrics if column == "nn_positive"]
    ours, theirs = (each.metrics.drop(columns=accuracies + counts) for each in (run, reference))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4, atol=1e-4)
    pd.testing.assert_frame_equal(
        run.metrics[counts], reference.metrics[counts], rtol=0, atol=1.1 / 256
    )
    pd.testing.assert_frame_equal(
        run.metrics[accuracies], reference.metrics[accuracies], rtol=0, atol=0.41
    )
    assert run.record["devices"] == 2 and reference.record["devices"] == 1
    theirs, both = reference.weights, run.weights
    pairs = [(both[n].flatten(), theirs[n].flatten()) for n in both if n.startswith("backbone")]
    apart = (torch.cat([a for a, _ in pairs]) - torch.cat([b for _, b in pairs])).abs()
    # A step of Adam is as long as the rate, 1e-3, however small the gradient: where it is zero but
    # for rounding, as of the keys' biases, weights go their own ways.
    assert (apart > 1e-4).float().mean() < 0.01


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("torchrun"), TORCHRUN, 2)


@pytest.mark.parametrize("method", METHODS)
def test_torchruns_two_processes_take_the_path_of_one(by_torchrun, alone, method):
    same_path(by_torchrun[method], alone[method])


def test_lightnings_two_processes_take_the_path_of_one(tmp_path, alone):
    same_path(trained(tmp_path, SINGLE, 2, METHODS[:1])["infomax"], alone["infomax"])


@pytest.mark.parametrize("size", [96, 150, 7])
def test_shares_get_the_views_of_the_whole_batch(size):
    images = torch.randint(
        0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    views = MultiView(dino_views(32)[:3])
    drawn = views.draw(size, 32, 32, torch.Generator().manual_seed(1))
    whole, first = views.make(images, drawn), 0
    for part in images.tensor_split(3):
        share = views.make(
            part, {name: t[:, first : first + len(part)] for name, t in drawn.items()}
        )
        for mine, all_of_them in zip(share, whole, strict=True):
            torch.testing.assert_close(
                mine, all_of_them[first : first + len(part)], rtol=0, atol=1e-6
            )
        first += len(part)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="batch_size = 33 .* multiple of 2"):
        fit(TrainConfig(**{**SHAPE, "batch_size": 33}, runs_dir=str(tmp_path)), devices=2)
