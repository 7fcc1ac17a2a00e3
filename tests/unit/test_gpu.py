"""`make gpu` on a machine without a GPU: its order, its checks, its deadline, what it refuses.

What runs is the command itself, in a copy of the checkout; tests/slow/test_gpu_trial.py has the
whole of it.
"""

import argparse
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from checkout import ROOT, environment, tracked
from gpu_trial import METHODS, said, trial

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from pipeline.gpu import __main__ as session_command
from pipeline.gpu import results, speeds, steps, training
from pipeline.gpu.checks import FAILED, PASSED, CheckSetting, loss_difference, view_difference
from pipeline.gpu.jobs import Deadline, Job, run_jobs
from pipeline.gpu.order import ORDER, SHARES, parts
from pipeline.gpu.results import Results
from pipeline.gpu.session import Session
from pipeline.gpu.steps import run_difference, step_difference

# --- The command, in the copy ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return tracked(tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def interrupted(copy) -> dict:
    """A trial with seconds alone, far too few for the first check to end."""
    done = trial(copy, 0.02)
    assert done.returncode == 0, done.stderr
    assert "This was a trial on the CPU" in done.stdout
    return said(copy)


def test_what_has_no_time_is_left_out_and_said(interrupted):
    assert interrupted["trial"]
    assert interrupted["failed"] == []
    over = [line for line in interrupted["left_out"] if "the time was over" in line]
    for part in (*parts("checks"), *parts("speed"), *parts("contrasts")):
        assert any(line.startswith(part.name) for line in over), part.name
    assert len([line for line in over if line.startswith("CIFAR-10, ")]) == 7


def test_a_trial_removes_nothing_but_what_trials_have_left(tmp_path, monkeypatch):
    monkeypatch.setattr(session_command, "project_root", lambda: tmp_path)
    beside = [tmp_path / "out" / "notes.txt", tmp_path / "runs" / "record.json"]
    left = tmp_path / "build/gpu/trial/runs/left.txt"
    for file in (*beside, left):
        file.parent.mkdir(parents=True)
        file.touch()
    setting = session_command.setting_of(given(reports=tmp_path / "new" / "out"))
    session_command.begin_anew(setting)
    assert setting.places.params.is_relative_to(tmp_path / "build/gpu/trial")
    with pytest.raises(ParameterError, match="must be empty or not there yet"):
        session_command.begin_anew(session_command.setting_of(given(reports=tmp_path / "out")))
    session_command.begin_anew(session_command.setting_of(given()))
    assert all(file.exists() for file in beside)
    assert not left.exists()


def given(reports: Path | None = None) -> argparse.Namespace:
    """The command line of a trial."""
    numbers = {"minutes": 1.0, "tolerance": 1.0, "despite_checks": False}
    places = {"data_root": "data", "runs_dir": "runs", "reports": reports}
    return argparse.Namespace(device="cpu", **numbers, **places)


def test_a_copy_without_history_takes_the_commit_that_it_is_told(copy):
    command = [sys.executable, "-c", "from infomax_nb.train.record import commit; print(commit())"]
    told = environment(copy, INFOMAX_COMMIT="0123abc")
    done = subprocess.run(command, cwd=copy, env=told, capture_output=True, text=True)
    assert done.stdout.strip() == "0123abc"


# --- Checks ---------------------------------------------------------------------------------------


@pytest.fixture
def setting(tmp_path) -> CheckSetting:
    return CheckSetting("cpu", 8, 1.0, tmp_path)


def test_a_wrong_loss_fails(setting):
    """With a bandwidth that is off by a hundredth, and with TF32's three digits."""

    class ThreeDigits(InfoMaxLoss):
        def forward(self, views, alone=False):
            return super().forward([x.bfloat16().to(x.dtype) for x in views], alone)

    wrong = {"bandwidth": lambda kappa: InfoMaxLoss(1.01 * kappa), "digits": ThreeDigits}
    for kappa in (1.0, 10.0):
        right = setting.compared("loss", "ours", partial(loss_difference, setting, kappa))
        assert right.result == PASSED
        for name, loss in wrong.items():
            measure = partial(loss_difference, setting, kappa, loss)
            assert setting.compared("loss", name, measure).result == FAILED, name


def test_views_agree_with_themselves(setting):
    assert view_difference(setting, "dino", 32)[0] == 0.0


def test_views_that_are_off_by_two_levels_fail(setting, monkeypatch):
    """Half of the device's pixels are: far more than rounding makes."""
    make = MultiView.make
    level = 1 / 255 / max((0.229, 0.224, 0.225))
    calls = []

    def off_on_the_device(views, *given):
        made = make(views, *given)
        if calls:  # the CPU's come first
            made[0][: len(made[0]) // 2] += 2 * level
        calls.append(made)
        return made

    monkeypatch.setattr(MultiView, "make", off_on_the_device)
    found, allowed = view_difference(setting, "dino", 32)
    assert found > 0.05 > allowed


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_step_in_float32_is_one_in_float64_but_for_rounding(setting, method):
    check = setting.compared("step", method, partial(step_difference, method, "cpu", 8))
    assert (check.result, check.said) == (PASSED, "")
    assert check.difference > 0  # so where nothing is allowed, it fails
    nothing = replace(setting, tolerance=0.0)
    assert nothing.compared("step", method, lambda: (check.difference, 1.0)).result == FAILED


def test_a_short_run_is_the_same_twice(setting, tmp_path):
    measure = partial(run_difference, "infomax", "cpu", 8, tmp_path)
    check = setting.compared("run", "infomax", measure)
    assert (check.result, check.said) == (PASSED, "")


class NanGradient(InfoMaxLoss):
    """Its value is right, and its gradient is not a number."""

    def forward(self, views, alone=False):
        return super().forward(views, alone) + (0 * views[0]).sqrt().sum()


def test_a_gradient_that_is_not_a_number_fails(setting):
    check = setting.compared("loss", "ours", partial(loss_difference, setting, 1.0, NanGradient))
    assert check.result == FAILED


def test_views_that_are_not_numbers_fail(setting, monkeypatch):
    """The CPU's are made first."""
    made = iter(torch.full((1, 8, 3, 32, 32), value) for value in (0.0, torch.nan))
    monkeypatch.setattr(MultiView, "make", lambda *_: list(next(made)))
    assert view_difference(setting, "dino", 32)[0] == 1.0


@pytest.mark.parametrize("part", ["loss", "buffers"])
def test_a_step_that_is_not_a_number_fails(setting, monkeypatch, part):
    right = {"loss": torch.ones(1), "gradients": torch.ones(3), "buffers": torch.ones(2)}
    wrong = {**right, part: right[part] * torch.nan}
    found = iter([right, right, wrong])  # in float64, on the CPU, on the device
    monkeypatch.setattr(steps, "_step", lambda *_: next(found))
    check = setting.compared("step", "ours", partial(step_difference, "infomax", "cpu", 8))
    assert check.result == FAILED


def test_a_check_that_breaks_has_failed_and_says_how(setting):
    def broken():
        raise RuntimeError("CUDA error:\nan illegal memory access")

    check = setting.compared("views", "dino", broken)
    assert check.result == FAILED
    assert check.said == "RuntimeError: CUDA error: an illegal memory access"


# --- Order ----------------------------------------------------------------------------------------


def test_the_order_is_that_of_what_matters():
    kinds = [part.kind for part in ORDER]
    assert list(dict.fromkeys(kinds)) == ["checks", "speed", "row", "contrasts", "table"]
    assert kinds == sorted(kinds, key=list(dict.fromkeys(kinds)).index)
    rows = [part.what for part in parts("row")]
    assert rows[:3] == [f"cifar10_{name}_resnet18" for name in ("infomax", "simclr", "supervised")]
    assert {name.removeprefix("cifar10_").removesuffix("_resnet18") for name in rows[:7]} == METHODS
    assert all(name.startswith("stl10_") for name in rows[7:])


def test_the_rows_are_those_of_table_1():
    table = pd.read_csv(ROOT / "reports" / "paper_table1.csv")
    wanted = table[table.dataset.isin(["CIFAR-10", "STL-10"])].params
    assert sorted(part.what for part in parts("row")) == sorted(wanted)
    for part in parts("row"):
        config = TrainConfig.from_yaml(ROOT / "params" / "paper" / f"{part.what}.yaml")
        assert config.dataset == part.dataset


def test_measuring_leaves_most_of_the_time_to_training():
    assert sum(SHARES.values()) <= 0.4


def test_each_benchmark_is_there():
    for part in parts("speed"):
        script = ROOT / "benchmarks" / f"{part.what}.py"
        assert script.exists() or part.what in ("side_by_side", "throughput")


def test_the_rows_networks_are_measured_first():
    first = [speeds.key(config) for config in speeds.kinds()[:8]]
    assert [each["backbone"] for each in first] == ["resnet_small", *["resnet18"] * 7]
    assert {each["image_size"] for each in first} == {32}
    assert [each["method"] for each in first[1:4]] == ["infomax", "simclr", "supervised"]


# --- What was measured before ---------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path, monkeypatch) -> Results:
    """What code with changes has written, of which the checkout has some, too."""
    monkeypatch.setattr(results, "machine", lambda _: machine_of("0123abc-modified"))
    kept = Results(tmp_path, "cpu", "loss")
    kept.write([{"ms": 1.0}])
    return kept


def machine_of(commit: str) -> dict:
    return {"commit": commit, "gpu": None, "cpu": "one", "device": "cpu"}


def test_what_code_with_changes_has_measured_is_forgotten(measured):
    measured.begin()
    assert not measured.table.exists()
    assert not measured.record.exists()


def test_what_another_commit_has_measured_stays_but_is_not_taken_for_this_ones(
    measured, monkeypatch
):
    monkeypatch.setattr(results, "machine", lambda _: machine_of("4567def"))
    measured.begin()
    assert measured.table.exists()
    assert not measured.whole
    assert measured.read() == []


def test_where_no_network_can_be_measured_the_command_fails(tmp_path, monkeypatch):
    def out_of_memory(*_):
        raise RunError("The GPU's memory is full.")

    monkeypatch.setattr(speeds, "throughput", out_of_memory)
    short = speeds.Short("cpu", "data", True, tmp_path)
    kept = Results(tmp_path, "cpu", "throughput")
    with pytest.raises(SystemExit, match="no network could be measured"):
        speeds.measure_throughput(short, kept, 60)
    assert not kept.table.exists()


def test_a_damaged_run_costs_its_own_row_and_table_alone(tmp_path, monkeypatch):
    def damaged(*_):
        raise RunError("record.json is damaged.")

    monkeypatch.setattr(Run, "finished", property(damaged))
    monkeypatch.setattr(training, "write_table", damaged)
    setting = session_command.setting_of(given(reports=tmp_path))
    session = Session(setting, Deadline(600))
    session.train_rows()
    session.write_tables()
    rows = [part.name for part in parts("row") if part.dataset == "cifar10"]
    wanted = [*rows, *(part.name for part in parts("table"))]
    assert session.failed == [f"{name}: record.json is damaged." for name in wanted]


# --- Processes and the deadline -------------------------------------------------------------------


def python(code: str, log: Path, **more) -> Job:
    return Job(log.stem, [sys.executable, "-c", code], log, **more)


def test_what_would_not_come_to_anything_is_not_begun(tmp_path):
    quick = python("print('here')", tmp_path / "quick.log")
    long = python("print('here')", tmp_path / "long.log", least=1e6)
    ended = run_jobs([long, quick], 1, Deadline(600))
    assert ended["long"].code is None
    assert not long.log.exists()
    assert (ended["quick"].code, ended["quick"].said) == (0, "here")


def test_a_deadline_within_another_ends_with_it():
    whole = Deadline(600)
    early = whole.within(60)
    late = whole.within(6000)
    assert early.left() == pytest.approx(60, abs=5)
    assert late.left() == pytest.approx(600, abs=5)
    whole.stop(signal.SIGTERM)
    assert early.left() <= 0
    assert late.left() <= 0


def test_two_at_a_time_run_together(tmp_path):
    """Each waits for the other's file."""
    wait = "open('{0}', 'w').close()\nwhile not os.path.exists('{1}'): time.sleep(0.01)"
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    jobs = []
    for own, other in (names, names[::-1]):
        code = f"import os, time\n{wait.format(own, other)}"
        jobs.append(python(code, Path(f"{own}.log")))
    ended = run_jobs(jobs, 2, Deadline(600))
    assert [each.code for each in ended.values()] == [0, 0]


def test_one_that_does_not_listen_is_killed_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    child = f"import time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {'import os; ' + child!r}])\n"
        "time.sleep(600)"
    )
    deadline = Deadline(600)
    threading.Thread(target=stop_when, args=(pid, deadline), daemon=True).start()
    ended = run_jobs([python(code, tmp_path / "deaf.log")], 1, deadline, grace=0.3)
    assert ended["deaf"].code == -signal.SIGKILL
    assert not ended["deaf"].in_time
    assert is_gone(int(pid.read_text()))


def stop_when(path: Path, deadline: Deadline) -> None:
    """Let the deadline be over once there is something in a file."""
    while not (path.exists() and path.read_text()):
        time.sleep(0.05)
    deadline.stop(signal.SIGTERM)


def is_gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has asked about is a zombie."""
    for _ in range(100):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_run_saves_itself_at_the_deadline_and_goes_on(tmp_path):
    fields = {"n_classes": 10, "n_train": 128, "batch_size": 64, "proj_dim": 16, "epochs": 10}
    fields |= {"device": "cpu", "runs_dir": str(tmp_path)}
    run = Run(TrainConfig.from_yaml(ROOT / "params" / "fast.yaml", **fields).run_dir)
    words = [word for name, value in fields.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "infomax_nb.train", "params/fast.yaml", *words]
    one_thread = {"OMP_NUM_THREADS": "1"}
    job = Job("run", command, tmp_path / "run.log", variables=one_thread)
    deadline = Deadline(600)
    metrics = run.path / "metrics.csv"
    threading.Thread(target=stop_when, args=(metrics, deadline), daemon=True).start()
    ended = run_jobs([job], 1, deadline)["run"]
    assert (ended.code, ended.in_time) == (143, False)
    assert run.checkpoint.exists()
    assert not run.finished
    assert run_jobs([job], 1, Deadline(600))["run"].code == 0
    assert run.finished
    assert list(run.metrics.epoch) == list(range(1, 11))


def test_the_clock_of_a_run_is_read_from_what_it_keeps(tmp_path):
    """Of a real run the seconds are there, and less than the whole run's."""
    fields = {"n_classes": 4, "n_train": 64, "batch_size": 32, "proj_dim": 8, "device": "cpu"}
    config = TrainConfig(**fields, epochs=3, keep_epochs=(3,), runs_dir=str(tmp_path))
    run = fit(config)
    training, evaluation = speeds.seconds_of_epochs(run, 3)
    assert 0 < training < run.record["train_seconds"] + 0.1
    assert 0 < evaluation < run.record["evaluation_seconds"] + 0.1


def test_an_epochs_time_is_the_median_without_the_first(tmp_path):
    """The first one compiles."""
    seconds = [(90, 80), (1, 7), (2, 5), (4, 6), (3, 9)]
    kept = {"callbacks": {"Recorder": {"seconds": seconds}, "another": {}}}
    torch.save(kept, tmp_path / "epoch_5.ckpt")
    run = SimpleNamespace(kept_checkpoint=lambda epoch: tmp_path / f"epoch_{epoch}.ckpt")
    assert speeds.seconds_of_epochs(run, 5) == (2.5, 6.5)
