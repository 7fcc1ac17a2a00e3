"""The whole of `make gpu`, small, on a machine without a GPU: what it does, and in which order.

What runs is the command itself, in a copy of the checkout; some minutes.
"""

import json
from pathlib import Path

import pandas as pd
import pytest
from checkout import tracked
from gpu_trial import METHODS, digests, said, trial

from pipeline.gpu.checks import PASSED
from pipeline.gpu.order import ORDER, parts


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return tracked(tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def before(copy) -> dict[str, str]:
    return digests(copy / "reports")


@pytest.fixture(scope="module")
def whole(copy, before) -> dict:
    """After a trial that was interrupted at once, one with time for everything, which goes on."""
    assert trial(copy, 0.02).returncode == 0
    done = trial(copy, 15, "--go-on")
    assert done.returncode == 0, done.stdout + done.stderr
    return said(copy)


def test_all_of_it_is_done_where_there_is_time(whole):
    assert whole["failed"] == []
    for part in ORDER:
        if "STL-10" not in part.name:
            assert any(line.startswith(part.name) for line in whole["done"]), part.name
    assert all(line.startswith(("STL-10", "Table 1, STL-10")) for line in whole["left_out"])
    assert whole["used_minutes"] <= 15


def test_the_checks_are_those_of_every_method(whole, copy):
    table = pd.read_csv(copy / "build/gpu/trial/reports/benchmarks/cpu_checks.csv")
    for check in ("step", "run"):
        rows = table[table.check == check]
        assert set(rows.case) == METHODS
        assert set(rows.result) == {PASSED}
    assert set(table[table.check == "loss"].result) == {PASSED}
    waits = table[table.check == "no wait"]
    assert set(waits.result) == {"left out"}
    assert set(waits.said) == {"no CUDA"}


def test_the_speeds_are_there(whole, copy):
    folder = copy / "build/gpu/trial/reports/benchmarks"
    for name in ("step", "loss", "views", "epoch", "throughput", "side_by_side"):
        assert len(pd.read_csv(folder / f"cpu_{name}.csv")) >= 2, name
        assert json.loads((folder / f"cpu_{name}.json").read_text())["device"] == "cpu"
    rates = pd.read_csv(folder / "cpu_throughput.csv")
    assert (rates.images_per_second > 1).all()
    assert (rates.evaluated_per_second > rates.images_per_second).all()


def test_a_trials_rows_say_that_they_are_one(whole, copy):
    reports = copy / "build/gpu/trial/reports"
    table = pd.read_csv(reports / "table1_cifar10.csv")
    assert len(table) == 7
    assert set(table.dataset) == {"CIFAR-10, a trial: drawn glyphs in place of it, 1 epoch"}
    assert table.measured_knn_top1.between(0, 100).all()
    assert set(table.device) == {"cpu"}
    records = json.loads((reports / "table1_cifar10.json").read_text())
    assert len({record["name"] for record in records}) == 7


def test_the_contrasts_have_a_folder_of_their_own(whole, copy):
    kept = sorted((copy / "build/gpu/trial/reports/evidence_cpu").glob("late_*/*/record.json"))
    assert [path.parent.name for path in kept] == ["kappa10_seed0", "kappa20_seed0"]


def test_a_trial_leaves_reports_alone(whole, copy, before):
    assert digests(copy / "reports") == before
    assert not (copy / "runs").exists()


def test_what_is_done_is_not_done_again(whole, copy):
    done = trial(copy, 15, "--go-on")
    assert done.returncode == 0, done.stderr
    again = said(copy)
    for part in (*parts("checks"), *parts("speed")):
        assert f"{part.name}: measured before" in again["done"]
    for part in parts("row")[:7]:
        assert f"{part.name}: finished before" in again["done"]


def test_a_check_that_fails_ends_it(whole, copy):
    """With a tolerance of 0: float32 on the CPU is not float64."""
    done = trial(copy, 15, "--tolerance", "0")
    assert done.returncode == 1
    (failed,) = said(copy)["failed"]
    assert failed.startswith("checks against the CPU: ")
    for name in ("loss of kappa = 10", *(f"step of {method}" for method in METHODS)):
        assert name in failed  # the others were made all the same
    assert any(
        line.startswith("CIFAR-10, infomax: a check failed") for line in said(copy)["left_out"]
    )
    assert "failed: checks against the CPU" in done.stdout
