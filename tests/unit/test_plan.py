"""What runs cost before they start, against sums done by hand."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from infomax_nb.config import TrainConfig
from infomax_nb.files import project_root
from pipeline import plan

RATE = {"images_per_second": [100.0], "evaluated_per_second": [600.0]}


def rates(*key) -> dict[str, pd.DataFrame]:
    """A throughput that is easy to divide by, as if it were measured for one kind of run."""
    return {"cpu": pd.DataFrame(RATE, index=pd.MultiIndex.from_tuples([key]))}


@pytest.fixture
def cifar10() -> TrainConfig:
    """ResNet-18, 200 epochs of 390 steps."""
    return TrainConfig.from_yaml(project_root() / "params/paper/cifar10_infomax_resnet18.yaml")


@pytest.fixture
def measured() -> dict[str, pd.DataFrame]:
    return rates("resnet18", "imagenet", 32, "infomax", 128)


def test_the_hours_are_those_of_the_images_and_of_the_evaluations(cifar10, measured):
    line = plan.bill(cifar10, measured)
    assert line["images"] == 50_000
    assert line["views"] == 8
    assert line["epochs"] == 200
    assert line["steps"] == 78_000
    assert line["cpu"] == pytest.approx(78_000 * 128 / 100 + 200 * 60_000 / 600)
    assert line["own_views"]


def test_the_disk_holds_each_weight_and_two_numbers_more_while_it_trains(cifar10):
    """ResNet-18 without its classifier, and the projector: two layers, a bias and BatchNorm."""
    line = plan.bill(cifar10, {})
    weights = 11_176_512 + 512 * 2048 + 2048 * 128 + 128 + 2 * 2048
    assert line["kept_bytes"] == pytest.approx(4 * weights, rel=2e-3)  # and running statistics
    assert line["peak_bytes"] - line["kept_bytes"] == pytest.approx(8 * weights, rel=2e-3)


def test_what_was_not_measured_has_no_hours(cifar10, measured):
    assert math.isnan(plan.bill(cifar10.replace(image_size=64), measured)["cpu"])


def test_fewer_views_cost_as_much_less_as_their_convolutions(cifar10, measured):
    """Two views of 32 pixels beside six of 16, where a convolution's cost goes with the area."""
    measured |= rates("resnet18", "small", 32, "infomax", 128)
    eight = cifar10.replace(stem="small", eval_every=200)
    two = plan.bill(eight.replace(local_views=0), measured)
    evaluation = 60_000 / 600
    share = (two["cpu"] - evaluation) / (plan.bill(eight, measured)["cpu"] - evaluation)
    assert two["views"] == 2
    assert not two["own_views"]
    assert share == pytest.approx(2 * 32**2 / (2 * 32**2 + 6 * 16**2), rel=0.02)


def test_the_methods_own_views_may_be_named(cifar10, measured):
    line = plan.bill(cifar10, measured)
    named = plan.bill(cifar10.replace(augmentation="dino", local_views=6), measured)
    assert named["cpu"] == line["cpu"]
    assert named["own_views"]


@pytest.mark.parametrize("method, images", [("supervised", 5_000), ("infomax", 105_000)])
def test_supervised_training_has_the_labelled_images_of_stl10(method, images):
    assert plan.bill(TrainConfig(dataset="stl10", method=method), {})["images"] == images


def test_imagenet100_is_evaluated_only():
    line = plan.bill(TrainConfig(dataset="imagenet100"), {})
    assert line["images"] == line["epochs"] == line["steps"] == 0


@pytest.mark.parametrize("devices, hours", [(1, 12.0), (2, 6.0), (3, 5.0), (64, 5.0)])
def test_the_longest_run_comes_first(devices, hours):
    assert plan.makespan([1.0, 2.0, 5.0, 4.0], devices) == hours


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    command = [sys.executable, "-u", "-m", "pipeline.plan", "params/fast.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=project_root(), **pipes)
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 0
