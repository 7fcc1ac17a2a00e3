"""`make gpu` on a machine without a GPU: the whole of it small, its order, and its checks.

What runs is the command itself, in a copy of the checkout.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT, environment, tracked

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from pipeline.gpu import __main__ as session_command
from pipeline.gpu import speeds
from pipeline.gpu.checks import FAILED, PASSED, Setting, loss_difference, view_difference
from pipeline.gpu.jobs import Deadline, Job, run_jobs
from pipeline.gpu.order import ORDER, SHARES, parts

METHODS = {"infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino", "supervised"}


def digests(folder: Path) -> dict[str, str]:
    """The content of each file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trial(copy: Path, minutes: float, *more: str) -> subprocess.CompletedProcess:
    """What `make gpu DEVICE=cpu` starts, where there are no data."""
    command = [sys.executable, "-m", "pipeline.gpu", "--device", "cpu", "--minutes", str(minutes)]
    own = environment(copy, CUDA_VISIBLE_DEVICES="")
    nothing = ["--data-root", "nowhere", *more]
    return subprocess.run([*command, *nothing], cwd=copy, env=own, capture_output=True, text=True)


def said(copy: Path) -> dict:
    """What a trial in this copy has kept of itself."""
    path = copy / "build/gpu/trial/reports/benchmarks/cpu_session.json"
    return json.loads(path.read_text(encoding="utf-8"))


# --- The whole, in the copy -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return tracked(tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def before(copy) -> dict[str, str]:
    return digests(copy / "reports")


@pytest.fixture(scope="module")
def interrupted(copy, before) -> dict:
    """A trial with seconds alone, far too few for the first check to end."""
    done = trial(copy, 0.02)
    assert done.returncode == 0, done.stderr
    assert "This was a trial on the CPU" in done.stdout
    return said(copy)


@pytest.fixture(scope="module")
def whole(copy, interrupted) -> dict:
    """Then one with time for everything, which goes on."""
    done = trial(copy, 15, "--go-on")
    assert done.returncode == 0, done.stdout + done.stderr
    return said(copy)


def test_what_has_no_time_is_left_out_and_said(interrupted):
    assert interrupted["trial"]
    assert interrupted["failed"] == []
    over = [line for line in interrupted["left_out"] if "the time was over" in line]
    for part in (*parts("checks"), *parts("speed"), *parts("contrasts")):
        assert any(line.startswith(part.name) for line in over), part.name
    assert len([line for line in over if line.startswith("CIFAR-10, ")]) == 7


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


@pytest.mark.parametrize(
    "words, sentence",
    [
        (
            ["--minutes", "0"],
            "MINUTES = 0.0 is not allowed: it must be a number of minutes above 0.",
        ),
        (
            ["--device", "cpu", "--reports", "reports"],
            "is not allowed: it must be empty or not there",
        ),
        (["--device", "cuda"], "device = 'cuda' is not allowed here"),
    ],
)
def test_what_is_not_allowed_is_one_sentence(copy, words, sentence):
    command = [sys.executable, "-m", "pipeline.gpu", *words]
    own = environment(copy, CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(command, cwd=copy, env=own, capture_output=True, text=True)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


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
def setting(tmp_path) -> Setting:
    return Setting("cpu", 8, 1.0, tmp_path)


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
    fields = {"n_classes": 10, "n_train": 128, "batch_size": 64, "proj_dim": 16, "epochs": 30}
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
    assert list(run.metrics.epoch) == list(range(1, 31))


def test_the_clock_of_a_run_is_read_from_what_it_keeps(tmp_path):
    """The median of the later epochs, beside the whole run's seconds in its record."""
    fields = {"n_classes": 4, "n_train": 64, "batch_size": 32, "proj_dim": 8, "device": "cpu"}
    config = TrainConfig(**fields, epochs=3, keep_epochs=(3,), runs_dir=str(tmp_path))
    run = fit(config)
    training, evaluation = speeds.seconds_of_epochs(run, 3)
    assert 0 < training < run.record["train_seconds"] + 0.1
    assert 0 < evaluation < run.record["evaluation_seconds"] + 0.1
