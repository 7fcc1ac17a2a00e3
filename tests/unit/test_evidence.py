"""The plan's runs, and the queue that runs them.

The queue runs small ones, by the command that is used in earnest.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import yaml
from checkout import ROOT, checkout, environment
from scipy import stats

from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.curves import scheduled
from infomax_nb.files import load_weights
from infomax_nb.train.run import Run
from pipeline.evidence import queue
from pipeline.evidence.history import PLAN, lacks_plan_in, no_evidence
from pipeline.evidence.hours import hours_left
from pipeline.evidence.places import Places
from pipeline.evidence.precision import verdict
from pipeline.evidence.runs import Planned, chosen, planned
from pipeline.evidence.state import State, exported, is_locked

TOY = {
    "dataset": "glyphs",
    "n_classes": 10,
    "n_train": 128,
    "batch_size": 64,
    "proj_dim": 16,
    "epochs": 4,
    "precision": "32",
    "probe": False,
    "seeds": [0],
}
WHOLE = {"name": "kappa10", "epochs": 8, "keep_epochs": [2, 8], "keep_network": True, "probe": True}
RUNS = {
    "a": [WHOLE, {"name": "broken", "n_train": 99_999}, {"name": "blown", "lr": 1e30}],
    "b": [{"name": "branch", "trunk": "kappa10", "start_epoch": 2, "beta": 1.5}],
    "c": [{"name": "orphan", "trunk": "broken", "start_epoch": 2}],
    "d": [{"name": "no_data", "dataset": "cifar10"}],
    "g": [{"name": "rate", "not_built": "a schedule of the learning rate"}],
}
PATIENCE = 600  # seconds: the queue has the lowest priority, and a machine may be busy


def toy(folder: Path, lines: dict = RUNS, **changes) -> Path:
    """A folder with a parameter file for each line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "common.yaml").write_text(yaml.safe_dump({**TOY, **changes}))
    for line, runs in lines.items():
        (folder / f"{line}.yaml").write_text(yaml.safe_dump({"runs": runs}))
    return folder


def command(folder: Path, *words: str, module: str = "queue", params: str = "toy") -> list[str]:
    """A command of the queue's in a checkout."""
    places = ["--params", str(folder / params), "--data-root", "nowhere"]
    return [sys.executable, "-m", f"pipeline.evidence.{module}", *places, *words]


def git(folder: Path, *words: str) -> str:
    """What git answers in a folder."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    options = {"capture_output": True, "text": True, "check": True}
    return subprocess.run(["git", *who, *words], cwd=folder, **options).stdout.strip()


# --- What is planned --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_run() -> list[Planned]:
    return planned(Places())


@pytest.fixture(scope="module")
def letters(every_run) -> list[Planned]:
    """The runs of all lines but those of the control, which has a number."""
    return chosen(every_run, None)


def test_each_line_has_as_many_runs_as_the_plan_says(every_run):
    """Counted by hand from the table of docs/plan.md."""
    numbers = {"0": 24, "a": 6, "b": 3, "c": 18, "d": 15, "e": 12, "f": 24, "g": 6, "h": 2}
    assert Counter(run.line for run in every_run) == numbers


def test_runs_are_in_the_plans_order(letters):
    lines = [run.line for run in letters]
    assert lines == sorted(lines)
    assert "0" not in lines


def test_each_run_has_its_own_name_and_results(every_run):
    assert len({run.results for run in every_run}) == len(every_run)
    assert len({run.name for run in every_run}) == len(every_run)


def test_each_run_has_its_own_configuration(letters):
    names = [run.config.name for run in letters if not run.not_built]
    assert len(set(names)) == len(names)


def test_all_runs_have_one_precision_rate_and_batch_size_and_all_images(letters):
    assert len({run.config.precision for run in letters}) == 1
    assert {run.config.lr for run in letters} == {1e-3}
    assert {run.config.batch_size for run in letters} == {128}
    assert {run.config.n_train for run in letters} == {None}


def test_each_line_has_the_plans_epochs(letters):
    epochs: dict[str, set[int]] = {}
    for run in letters:
        epochs.setdefault(run.line, set()).add(run.config.epochs)
    long = {"c": {60, 40}, "e": {70}, "f": {10}, "g": {60, 200}, "h": {200}}
    assert epochs == {"a": {60}, "b": {40}, "d": {60}, **long}


def test_line_c_goes_seed_by_seed(letters):
    names = ["kappa10", "kappa20", "beta0.1", "beta0.75", "simclr", "supervised"]
    first = [*(f"{name}_seed1" for name in names), "beta1.25_from20_seed1"]
    assert [run.label for run in letters if run.line == "c"][:7] == first


def test_line_d_goes_block_by_block(letters):
    first = [*(f"kappa1_seed{seed}" for seed in (0, 1, 2)), "vicreg_seed0", "barlow_twins_seed0"]
    assert [run.label for run in letters if run.line == "d"][:5] == first


def test_a_trunk_keeps_the_epoch_at_which_a_branch_begins(letters):
    branches = [run for run in letters if run.trunk]
    assert len(branches) == 3 + 6 + 4
    for run in branches:
        assert run.config.start_from == run.trunk.config.name
        assert run.config.seed == run.trunk.config.seed
        assert run.start in run.trunk.config.keep_epochs
        assert run.branching == run.trunk.kept(run.start)


def test_a_branch_differs_from_its_trunk_as_the_plan_says(letters):
    own = {"start_from", "start_epoch", "keep_epochs", "epochs", "beta", "decay_epochs"}
    for run in letters:
        if run.trunk:
            trunk = run.trunk.config
            assert run.config.model_dump(exclude=own) == trunk.model_dump(exclude=own)
            falling = run.label.startswith(("kappa10_rate", "kappa20_rate"))
            assert run.config.decay_epochs == (10 if falling else 0)


def test_the_branches_of_lines_b_and_c_have_the_plans_betas_and_seeds(letters):
    configs = [run.config for run in letters if run.trunk and run.line in "bc"]
    pairs = sorted((config.beta, config.seed) for config in configs)
    assert pairs == [(beta, seed) for beta in (1.25, 1.5, 2.0) for seed in (0, 1, 2)]


def test_runs_are_evaluated_when_the_plan_says(every_run):
    """`curves.scheduled` is the plan's; the fields of the runs must say the same."""
    for run in every_run:
        config = run.config
        epochs = range(1, config.epochs + 1)
        first = [epoch for epoch in epochs if epoch <= config.eval_first]
        regular = [epoch for epoch in epochs if epoch % config.eval_every == 0]
        assert sorted({*first, *regular}) == scheduled(config.epochs), run.name


@pytest.mark.parametrize(
    "change, words",
    [
        ({"precision": "auto"}, "precision = 'auto' is not allowed"),
        ({"epoch": 3}, "no parameter 'epoch': did you mean 'epochs'"),
        ({"trunk": "nobody"}, "no run before it is called nobody_seed0"),
        ({"kappa": -1}, "kappa = -1 is not allowed"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_its_run(tmp_path, change, words):
    folder = toy(tmp_path / "toy", {"a": [{"name": "one", **change}]})
    sentence = f"{re.escape(str(folder / 'a.yaml'))}, one, seed 0: .*{re.escape(words)}"
    with pytest.raises(ParameterError, match=sentence):
        planned(Places(folder))


def test_two_runs_of_one_name_are_refused(tmp_path):
    folder = toy(tmp_path / "toy", {"a": [{"name": "one"}, {"name": "one", "kappa": 3}]})
    with pytest.raises(ParameterError, match="a.yaml, one, seed 0' is not allowed: it must be one"):
        planned(Places(folder))


def test_a_folder_without_a_plan_is_refused(tmp_path):
    nowhere = tmp_path / "nowhere"
    sentence = re.escape(f"params = {str(nowhere)!r} is not allowed")
    with pytest.raises(ParameterError, match=sentence):
        planned(Places(nowhere))


@pytest.mark.parametrize("lines", ["a,z", ",", " "])
def test_an_unknown_line_is_refused_and_so_is_none(every_run, lines):
    with pytest.raises(ParameterError, match=f"ONLY = {lines} is not allowed: the lines are 0, a"):
        chosen(every_run, lines)


@pytest.mark.parametrize(
    "values",
    [
        {"kappas": [1]},
        {"runs": [{"kappa": 1}]},
        {"runs": "kappa10"},
        {"of": ["a", "z"]},
        {"of": ["b"]},
        {"blocks": [{"seeds": [0]}]},
        {"blocks": 3},
        {"blocks": [3]},
    ],
    ids=str,
)
def test_a_file_that_is_no_line_of_the_plan_is_named(tmp_path, values):
    folder = toy(tmp_path / "toy", {"a": [{"name": "one"}]})
    (folder / "b_other.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ParameterError, match="b_other.yaml' is not allowed: it must be a line"):
        planned(Places(folder))


# --- Notes ------------------------------------------------------------------------------------


@pytest.fixture
def one_run(tmp_path) -> Planned:
    """A run that the queue may write notes of."""
    places = Places(toy(tmp_path / "toy", {"a": [{"name": "one"}]}), tmp_path, str(tmp_path))
    places.journal.mkdir()
    return planned(places)[0]


@pytest.mark.parametrize("text", ["", '{"kind": "fai', "[]", "\0\0"])
def test_a_note_that_a_power_cut_has_left_is_none(one_run, text):
    one_run.note("failed", "why")
    assert one_run.last_note() == {"kind": "failed", "said": "why"}
    one_run.log.with_suffix(".json").write_text(text)
    assert one_run.last_note() == {}


def test_a_note_that_cannot_be_written_leaves_the_last_one(one_run, monkeypatch):
    def full(_: int) -> None:
        raise OSError("No space left on device")

    one_run.note("started")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="the disk may be full"):
        one_run.note("failed", "why")
    assert one_run.last_note()["kind"] == "started"


# --- The queue --------------------------------------------------------------------------------


def groups_niceness(processes: list[psutil.Process]) -> list[int]:
    """What Linux says of the groups that sessions are scheduled by; nothing where it has none."""
    files = [Path(f"/proc/{process.pid}/autogroup") for process in processes]
    return [int(file.read_text().split()[-1]) for file in files if file.exists()]


def epochs_so_far(copy: Path) -> int:
    """Epochs in the metrics of the one run there is."""
    return sum(len(pd.read_csv(path)) for path in copy.glob("runs/*/metrics.csv"))


def until(happened, otherwise: str) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def finished(folder: Path, *words: str, module="queue") -> subprocess.CompletedProcess:
    """A command of the queue's, run to its end."""
    given = command(folder, *words, module=module)
    options = {"capture_output": True, "text": True}
    return subprocess.run(given, cwd=folder, env=environment(folder), **options)


@dataclass
class Killed:
    """What was seen of a queue that was killed in its first run.

    `measured` and `saved`: epochs in the run's metrics and in its checkpoint. `niceness`: of its
    processes and of their groups. `again`: the same command, started once more.
    """

    copy: Path
    measured: int
    saved: int
    niceness: list[int]
    again: subprocess.CompletedProcess

    @property
    def log(self) -> str:
        return self.again.stdout + self.again.stderr


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Killed:
    """A queue that was killed like by a power cut while it trained its first run, and then again.

    The second time it did the rest.
    """
    copy = checkout(tmp_path_factory.mktemp("evidence") / "copy")
    toy(copy / "toy")
    with (copy / "killed.log").open("w") as log:
        out = {"stdout": log, "stderr": log}
        first = command(copy, "--cores", "1")
        process = subprocess.Popen(first, cwd=copy, env=environment(copy), **out)
    try:
        until(lambda: epochs_so_far(copy) >= 5, "it did not come to its fifth epoch")
    finally:
        queue = psutil.Process(process.pid)
        tree = [*queue.children(recursive=True), queue]
        niceness = [each.nice() for each in tree] + groups_niceness(tree[:1])
        for each in tree:
            each.kill()
        process.wait()
    saved = load_weights(next(copy.glob("runs/*/checkpoint.ckpt")))["callbacks"]
    history = next(state["history"] for state in saved.values() if "history" in state)
    measured = epochs_so_far(copy)
    return Killed(copy, measured, len(history), niceness, finished(copy, "--cores", "2"))


@pytest.fixture
def folder(killed) -> Path:
    """The checkout of the queue that was killed and did the rest."""
    return killed.copy


def test_a_killed_queue_loses_at_most_an_epoch(killed):
    assert killed.measured >= 5
    assert killed.measured - killed.saved in (0, 1)
    goes_on = f"a_kappa10_seed0: epoch {killed.measured} of 8, goes on"
    assert goes_on in killed.log, killed.log


def test_everything_has_the_lowest_priority(killed):
    assert set(killed.niceness) == {19}


def test_the_result_of_a_killed_run_is_whole(folder):
    kept = Run(folder / "reports/late_a/kappa10_seed0")
    assert kept.metrics.epoch.tolist() == list(range(1, 9))
    assert kept.record["threads"] == 1
    assert kept.record["precision"] == "32"
    assert len(kept.record["data"]["digest"]) == 32


def test_runs_begin_in_order_and_a_branch_when_its_trunk_is_there(killed):
    begun = re.findall(r"(\w+): epoch \d of \d, (?:begins|goes on)", killed.log)
    runs = ["a_kappa10_seed0", "a_broken_seed0", "a_blown_seed0", "b_branch_seed0"]
    assert begun == runs, killed.log


def test_a_branch_begins_where_its_trunk_was(folder):
    branch = Run(folder / "reports/late_b/branch_seed0")
    trunk = Run(folder / "reports/late_a/kappa10_seed0")
    assert branch.config.start_from == trunk.record["name"]
    assert branch.config.beta == 1.5
    assert branch.metrics.epoch.max() == 4


@pytest.mark.parametrize(
    "words",
    [
        "a_broken_seed0: failed: n_train = 99999 is not allowed",
        "c_orphan_seed0: failed: its trunk a_broken_seed0: failed",
        "d_no_data_seed0: data missing: data_root: CIFAR-10 was not found",
        "g_rate_seed0: not built: it needs a schedule of the learning rate",
    ],
    ids=["failed", "orphan", "no data", "not built"],
)
def test_what_cannot_be_run_is_named(killed, words):
    assert words in killed.log


def test_what_cannot_be_run_stops_no_other_run(killed):
    """But the exit status tells of it."""
    assert killed.again.returncode == 1
    assert "Traceback" not in killed.log


def test_a_loss_that_becomes_nan_is_a_result(folder):
    kept = Run(folder / "reports/late_a/blown_seed0")
    assert re.search(r"became (NaN|infinite) in epoch 1", kept.record["failed"])
    assert kept.record["threads"] == 1
    assert kept.config.lr == 1e30
    assert len(kept.metrics) == 0


@pytest.fixture
def results(folder) -> Path:
    """The results of the run whose network is kept."""
    return folder / "reports/late_a/kappa10_seed0"


def test_results_say_nothing_of_this_machine(folder, results):
    for name in ("config.yaml", "record.json", "metrics.csv"):
        text = (results / name).read_text()
        assert str(folder) not in text
        assert "nowhere" not in text


def test_results_hold_half_of_each_weight_of_the_network(folder, results):
    trained = Run(folder / "runs" / Run(results).record["name"]).method()
    weights = trained.get_submodule("backbone").state_dict()
    kept = torch.load(results / "backbone.pt", weights_only=True)
    assert kept.keys() == weights.keys()
    for name, value in kept.items():
        assert torch.allclose(value.float(), weights[name].float(), rtol=1e-3, atol=1e-6), name
    assert (results / "backbone.pt").stat().st_size < 3e6


def test_results_are_five_files(results):
    names = {path.name for path in results.iterdir()}
    assert names == {"config.yaml", "metrics.csv", "record.json", "predictions.npz", "backbone.pt"}


def test_results_hold_the_predictions_of_each_evaluation(results):
    evaluated = Run(results).metrics.dropna(subset="knn_top1").epoch.tolist()
    assert np.load(results / "predictions.npz")["epochs"].tolist() == evaluated


def test_the_probe_is_fitted_where_it_is_asked_for(folder, results):
    assert 0 <= Run(results).record["probe_top1"] <= 100
    assert "probe_top1" not in Run(folder / "reports/late_b/branch_seed0").record


def test_the_status_shows_what_is_finished_and_what_is_not(folder, tmp_path):
    done = finished(folder, "--csv", str(tmp_path / "status.csv"), module="status")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "status.csv").set_index("run")
    assert table.state.to_dict() == {
        "kappa10_seed0": "finished",
        "broken_seed0": "failed",
        "blown_seed0": "collapsed",
        "branch_seed0": "finished",
        "orphan_seed0": "waiting",
        "no_data_seed0": "data missing",
        "rate_seed0": "not built",
    }
    assert "3 of 7 runs are there" in done.stdout


def test_what_is_kept_is_not_trained_again_but_for_a_trunks_checkpoint(folder):
    """With the runs gone, as on another machine, and one branch still to be done."""
    reports = folder / "reports"
    branch = reports / "late_b/branch_seed0"
    kept = [path for path in reports.rglob("*") if "late_b" not in str(path)]
    written = {path: path.stat().st_mtime_ns for path in kept}
    before = Run(branch).metrics
    shutil.rmtree(folder / "runs")
    shutil.rmtree(branch)
    done = finished(folder, "--cores", "2", "--lines", "b")
    begun = re.findall(r"(\w+): epoch \d of \d, begins", done.stdout)
    assert begun == ["a_kappa10_seed0", "b_branch_seed0"], done.stdout
    assert done.returncode == 0, done.stdout
    assert "a_kappa10_seed0 is trained again, for epoch_2.ckpt of b_branch_seed0" in done.stdout
    assert "differs" not in done.stdout
    pd.testing.assert_frame_equal(Run(branch).metrics, before)
    assert written == {path: path.stat().st_mtime_ns for path in written}


@pytest.mark.parametrize(
    "change", [{"batch_size": 32}, {"precision": "bf16"}, {"weight_decay": 0.1}], ids=str
)
def test_another_configurations_results_are_refused(folder, tmp_path, change):
    other = planned(Places(toy(tmp_path / "toy", **change), folder / "reports"))[0]
    assert other.results.is_dir()
    with pytest.raises(RunError, match="holds a run of another configuration"):
        exported(other)


def test_results_that_were_changed_are_refused(folder, results, tmp_path):
    shutil.copytree(results, tmp_path / "late_a" / results.name)
    run = planned(Places(folder / "toy", tmp_path))[0]
    (run.results / "metrics.csv").write_text("epoch,knn_top1\n5,99.9\n")
    with pytest.raises(RunError, match="check sum"):
        exported(run)


@pytest.fixture
def at_work(folder):
    """A queue that trains a long run; it is stopped in the end."""
    toy(folder / "signal", {"a": [{"name": "long", "epochs": 500}]})
    given = command(folder, "--cores", "1", params="signal")
    out = {"stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(given, cwd=folder, env=environment(folder), **out)
    children = psutil.Process(process.pid).children
    until(lambda: process.poll() is not None or children(), "nothing was started")
    yield process
    if process.poll() is None:
        process.kill()


def test_a_second_queue_is_refused(folder, at_work):
    again = finished(folder, "--cores", "1")
    at_work.send_signal(signal.SIGTERM)
    at_work.communicate(timeout=PATIENCE)
    assert again.returncode == 1
    assert "Another `make evidence` is at work" in again.stderr


def test_a_signal_stops_the_queue_and_its_runs(at_work):
    """They save what they have and end; the queue says that the same command goes on."""
    (child,) = psutil.Process(at_work.pid).children()
    at_work.send_signal(signal.SIGTERM)
    output, _ = at_work.communicate(timeout=PATIENCE)
    assert at_work.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in output
    assert "failed" not in output
    assert not child.is_running()


# --- Hours ------------------------------------------------------------------------------------


def write_results(run: Planned, seconds: float, **metrics) -> None:
    """Results as a finished run's are, of which only the seconds and the last metrics matter."""
    run.results.mkdir(parents=True)
    values = run.config.resolved().model_dump(mode="json")
    (run.results / "config.yaml").write_text(yaml.safe_dump(values))
    last = pd.DataFrame([{"epoch": run.config.epochs, **metrics}])
    last.to_csv(run.results / "metrics.csv", index=False)
    commit = git(ROOT, "rev-parse", "HEAD") if (ROOT / ".git").exists() else ""
    record = {"train_seconds": seconds, "evaluation_seconds": 0.0, "commit": commit, "data": {}}
    sealed = {**record, "seal": Run(run.results).seal(record)}
    (run.results / "record.json").write_text(json.dumps(sealed))


def test_hours_come_from_the_epochs_so_far(tmp_path):
    """40 s of 4 epochs: 10 s an epoch of that kind; twice as many images cost twice as much."""
    entries = [{"name": "done"}, {"name": "same", "epochs": 9}, {"name": "double", "n_train": 256}]
    folder = toy(tmp_path / "toy", {"a": entries})
    runs = planned(Places(folder, tmp_path, str(tmp_path / "runs")))
    write_results(runs[0], 40.0)
    states = {
        "a_done_seed0": State("finished", 4),
        "a_same_seed0": State("running", 3),
        "a_double_seed0": State("waiting"),
    }
    hours = {"a_done_seed0": 0, "a_same_seed0": 60 / 3600, "a_double_seed0": 80 / 3600}
    assert hours_left(runs, states, runs) == pytest.approx(hours)


# --- Precision --------------------------------------------------------------------------------


def pairs(tmp_path: Path, differences: list[float]) -> list[Planned]:
    """Runs in float32 and bf16 whose linear heads differ so; k-NN differs the other way."""
    kinds = [{"name": "float32"}, {"name": "bf16", "precision": "bf16"}]
    folder = toy(tmp_path / "toy", {"0_precision": kinds}, seeds=list(range(len(differences))))
    runs = planned(Places(folder, tmp_path, str(tmp_path / "runs")))
    for run in runs:
        seed = run.config.seed
        shift = differences[seed] if run.config.precision == "bf16" else 0.0
        write_results(run, 1.0, linear_top1=40.0 + seed + shift, knn_top1=50.0 - shift)
    return runs


def test_the_precisions_verdict_is_an_interval_of_the_paired_differences(tmp_path):
    """±0.2 about 0.1 over 12 seeds, t = 1.796: 0.1 ± 1.796 · 0.2089 / √12, inside ±0.5."""
    table = verdict(pairs(tmp_path, [0.3, -0.1] * 6)).set_index("measure")
    half = 1.7959 * np.std([0.3, -0.1] * 6, ddof=1) / np.sqrt(12)
    ends = table.loc["linear_top1", ["low", "high"]].tolist()
    assert ends == pytest.approx([0.1 - half, 0.1 + half], abs=1e-4)
    assert table.loc["knn_top1", "mean"] == pytest.approx(-0.1)


@pytest.mark.parametrize(
    "two_differences, answer",
    [([0.3, -0.1], "equivalent"), ([1.0, 1.2], "not equivalent"), ([2.0, -2.0], "undecided")],
)
def test_the_precisions_verdict_is_two_one_sided_tests(tmp_path, two_differences, answer):
    assert set(verdict(pairs(tmp_path, two_differences * 6)).answer) == {answer}


def test_the_precisions_runs_are_kept_together(tmp_path):
    assert {run.results.parent.name for run in pairs(tmp_path, [0.0])} == {"late_precision"}


@pytest.mark.parametrize("epochs", [0, 1])
def test_where_a_run_collapses_nothing_is_shown(tmp_path, epochs):
    """It has no numbers, or those of an epoch before, which are not its last ones."""
    runs = pairs(tmp_path, [0.0, 0.1, 0.05])
    collapse(runs[-1], epochs)
    assert set(verdict(runs).answer) == {"undecided"}


def collapse(run: Planned, epochs: int) -> None:
    """Let the kept results be those of a run whose loss became NaN after so many epochs."""
    record = {**Run(run.results).record, "failed": f"became NaN in epoch {epochs + 1}"}
    path = run.results / "metrics.csv"
    pd.read_csv(path).assign(epoch=epochs).head(epochs).to_csv(path, index=False)
    record.pop("seal")
    sealed = {**record, "seal": Run(run.results).seal(record)}
    (run.results / "record.json").write_text(json.dumps(sealed))


@pytest.mark.parametrize(("epochs", "again"), [(2, True), (1, False)])
def test_a_trunk_that_collapsed_later_is_trained_again_for_its_branch(
    tmp_path, monkeypatch, epochs, again
):
    """A branch that begins after its second epoch."""
    folder = toy(tmp_path / "toy", {line: RUNS[line][:1] for line in "ab"})
    trunk, branch = planned(Places(folder, tmp_path, str(tmp_path / "runs")))
    write_results(trunk, 1.0)
    collapse(trunk, epochs)
    monkeypatch.setattr(queue, "no_data", lambda _: "")
    work = queue.Queue([branch], 1, [trunk, branch])
    launched = []
    monkeypatch.setattr(work, "_launch", lambda *run: launched.append(run))
    work._consider(branch)
    assert launched == ([(trunk, trunk.kept(2))] if again else [])
    assert (branch.name in work.ended) != again


def test_where_nothing_can_be_locked_nothing_runs(tmp_path, monkeypatch):
    """As in somebody else's folder."""

    def forbidden(*_, **__):
        raise PermissionError("Permission denied")

    folder = toy(tmp_path / "toy", {"a": [{"name": "one"}]})
    (run,) = planned(Places(folder, tmp_path, str(tmp_path / "runs")))
    run.config.run_dir.mkdir(parents=True)
    (run.config.run_dir / ".lock").touch()
    monkeypatch.setattr("filelock.FileLock.acquire", forbidden)
    assert not is_locked(run)


def test_without_all_its_runs_there_is_no_verdict(tmp_path):
    runs = pairs(tmp_path, [0.0, 0.1, 0.05])
    shutil.rmtree(runs[-1].results)
    assert set(verdict(runs).answer) == {"unfinished"}


# --- The plan came first ----------------------------------------------------------------------


def committed(folder: Path) -> str:
    """The commit of all that is in a folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD")


def write_plan(folder: Path, margin: str, changes: str) -> None:
    path = folder / PLAN[0]
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"Margin: {margin}.\n\n## Changes since\n\n{changes}\n")


@pytest.fixture
def history(tmp_path):
    """A history of its own: a commit before the plan, and one with it."""
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("")
    before = committed(tmp_path)
    for path in PLAN[1:]:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("")
    write_plan(tmp_path, "1 point", "None.")
    return {"folder": tmp_path, "before": before, "plan": committed(tmp_path)}


def test_a_commit_with_the_plan_before_it_is_evidence(history):
    assert lacks_plan_in(history["folder"], history["plan"]) == ""


def test_a_commit_without_the_plan_before_it_is_no_evidence(history):
    for commit in (history["before"], "0" * 40):
        reason = lacks_plan_in(history["folder"], commit)
        assert "does not have docs/plan.md before it" in reason


def test_a_run_of_unknown_code_is_no_evidence(history):
    for commit in (f"{history['plan']}-modified", ""):
        assert "nobody knows with which code" in lacks_plan_in(history["folder"], commit)


def test_a_plan_that_changes_in_silence_makes_no_evidence_of_earlier_runs(history):
    write_plan(history["folder"], "2 points", "None.")
    later = committed(history["folder"])
    assert lacks_plan_in(history["folder"], later) == ""
    assert "docs/plan.md has changed since" in lacks_plan_in(history["folder"], history["plan"])


def test_a_change_of_the_plan_that_is_explained_leaves_evidence(history):
    write_plan(history["folder"], "2 points", "The margin, since it was a misprint.")
    committed(history["folder"])
    assert lacks_plan_in(history["folder"], history["plan"]) == ""


def test_without_the_whole_history_nobody_can_tell(history):
    shallow = history["folder"] / "shallow"
    source = f"file://{history['folder']}"
    git(history["folder"], "clone", "-q", "--depth", "1", source, str(shallow))
    assert lacks_plan_in(shallow, history["before"]) == ""


RECORDS = sorted((ROOT / "reports").glob("late_*/*/record.json"))
recorded = pytest.mark.parametrize(
    "path", RECORDS, ids=lambda path: f"{path.parent.parent.name}/{path.parent.name}"
)


@recorded
def test_committed_results_name_data_precision_threads_and_commit(path):
    record = Run(path.parent).record
    assert record["data"]["digest"]
    assert record["precision"] in ("32", "bf16")
    assert record["threads"] == 1
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])


@recorded
def test_committed_results_came_after_the_plan(path):
    assert no_evidence(Run(path.parent).record) == ""


def test_committed_results_are_those_that_are_planned(every_run):
    """None of another configuration, and of one precision."""
    kept = {run.results for run in every_run if exported(run)}
    assert {path.parent for path in RECORDS} == kept


# --- Commands and the page --------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, lines", [("evidence", "a,b"), ("evidence-status", "a,b"), ("precision-check", "0")]
)
def test_make_passes_on_what_it_is_given(target, lines, tmp_path):
    """Words with spaces stay one; `python` that prints its words stands in for the queue."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/.ready").touch()
    printer = tmp_path / ".venv/bin/python"
    printer.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    printer.chmod(0o755)
    given = ["DATA_ROOT=my data", "REPORTS=other/reports", "ONLY=a,b", "CORES=3"]
    make = ["make", "-s", "-o", ".venv/.ready", target, *given]
    own = {**os.environ, "LINES": "50"}  # a terminal's height
    options = {"capture_output": True, "text": True, "check": True}
    words = subprocess.run(make, cwd=tmp_path, env=own, **options).stdout.split("\n")
    values = dict(pairwise(words))
    assert values["--data-root"] == "my data"
    assert values["--reports"] == "other/reports"
    assert values["--lines"] == lines
    assert values.get("--cores") == (None if target == "evidence-status" else "3")
    assert "50" not in words


BF16 = ROOT / "reports" / "late_precision"


def bf16_interval(measure: str) -> tuple[float, float, float]:
    """Mean and 90% interval of bf16 less float32 over the committed seeds, by SciPy."""
    finals = {}
    for name in ("bf16", "float32"):
        tables = [pd.read_csv(BF16 / f"{name}_seed{seed}" / "metrics.csv") for seed in range(12)]
        finals[name] = [table[measure].iloc[-1] for table in tables]
    apart = np.subtract(finals["bf16"], finals["float32"])
    low, high = stats.t.interval(0.90, 11, apart.mean(), stats.sem(apart))
    return apart.mean(), low, high


@pytest.mark.parametrize("measure", ["linear_top1", "knn_top1"])
def test_the_verdict_on_bf16_is_that_of_the_committed_runs(measure):
    """The page says the same numbers."""
    row = pd.read_csv(BF16 / "verdict.csv", index_col="measure").loc[measure]
    mean, low, high = bf16_interval(measure)
    assert (row["mean"], row.low, row.high) == pytest.approx((mean, low, high), abs=1e-9)
    assert row.answer == ("equivalent" if low > -0.5 and high < 0.5 else "undecided")
    page = (ROOT / "docs" / "evidence.md").read_text("utf-8")
    for number in (f"{mean:.2f}", f"{low:.2f} to {high:.2f}"):
        assert number.replace("-", "−") in page


def test_the_runs_have_the_precision_of_the_verdict(letters):
    answers = pd.read_csv(BF16 / "verdict.csv").answer
    precision = "bf16" if (answers == "equivalent").all() else "32"
    assert {run.config.precision for run in letters} == {precision}
