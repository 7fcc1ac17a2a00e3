"""The bill before the run, against sums done by hand."""

import subprocess
import sys

import pandas as pd
import pytest

from infomax_nb.config import TrainConfig
from pipeline import plan


def test_a_runs_line():
    """CIFAR-10, ResNet-18, 200 epochs of 390 steps; two rates that are easy to divide by."""
    config = TrainConfig.from_yaml(
        plan.project_root() / "params" / "paper" / "cifar10_infomax_resnet18.yaml"
    )
    keys = pd.MultiIndex.from_tuples([("resnet18", "imagenet", 32, "infomax", 128)])
    rates = {
        "cpu": pd.DataFrame(
            {"images_per_second": [100.0], "evaluated_per_second": [600.0]}, index=keys
        )
    }
    line = plan.bill(config, rates)
    assert (line["images"], line["views"], line["epochs"], line["steps"]) == (
        50_000,
        8,
        200,
        78_000,
    )
    assert line["cpu"] == pytest.approx(78_000 * 128 / 100 + 200 * 60_000 / 600)
    # 8 x 128 rows of 128 float32; 7/8 of them arrive in the all-gather, twice that in the
    # all-reduce of its gradient.
    assert line["gathered_1"] == 0 and line["gathered_8"] == 3 * 7 / 8 * 8 * 128 * 128 * 4
    # ResNet-18 without its classifier has 11,176,512 weights; the projector its two layers, a bias
    # and BatchNorm.
    weights = 11_176_512 + 512 * 2048 + 2048 * 128 + 128 + 2 * 2048
    assert line["kept_bytes"] == pytest.approx(4 * weights, rel=2e-3)  # and the running statistics
    assert line["peak_bytes"] - line["kept_bytes"] == pytest.approx(8 * weights, rel=2e-3)
    assert "cpu" not in plan.bill(config.replace(image_size=64), rates)


def test_evaluation_only_and_labelled_sets():
    few, half = (TrainConfig(dataset="stl10", method=m) for m in ("supervised", "infomax"))
    assert plan.bill(few, {})["images"] == 5_000 and plan.bill(half, {})["images"] == 105_000
    assert plan.bill(TrainConfig(dataset="imagenet100"), {})["steps"] == 0


@pytest.mark.parametrize("devices, hours", [(1, 12.0), (2, 6.0), (3, 5.0), (64, 5.0)])
def test_makespan(devices, hours):
    assert plan.makespan([1.0, 2.0, 5.0, 4.0], devices) == hours


def test_a_reader_who_has_seen_enough_ends_it_quietly():
    command = [sys.executable, "-u", "-m", "pipeline.plan", "params/fast.yaml"]
    process = subprocess.Popen(
        command, cwd=plan.project_root(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.communicate()[1] == b"" and process.returncode == 0
