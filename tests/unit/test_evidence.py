"""The plan's runs: what is in them, and the queue that runs them, small, by the command that is
used in earnest."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
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
from pipeline.evidence.history import PLAN, lacks_plan_in, no_evidence
from pipeline.evidence.hours import hours_left
from pipeline.evidence.places import Places
from pipeline.evidence.precision import verdict
from pipeline.evidence.runs import Planned, chosen, planned
from pipeline.evidence.state import State, exported

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
RUNS = {
    "a": [
        {
            "name": "kappa10",
            "epochs": 8,
            "keep_epochs": [2, 8],
            "keep_network": True,
            "probe": True,
        },
        {"name": "broken", "n_train": 99_999},
        {"name": "blown", "lr": 1e30},
    ],
    "b": [{"name": "branch", "trunk": "kappa10", "start_epoch": 2, "beta": 1.5}],
    "c": [{"name": "orphan", "trunk": "broken", "start_epoch": 2}],
    "d": [{"name": "no_data", "dataset": "cifar10"}],
    "g": [{"name": "rate", "not_built": "a schedule of the learning rate"}],
}


def toy(folder: Path, lines: dict = RUNS, **changes) -> Path:
    """A folder with a parameter file for each line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "common.yaml").write_text(yaml.safe_dump({**TOY, **changes}))
    for line, runs in lines.items():
        (folder / f"{line}.yaml").write_text(yaml.safe_dump({"runs": runs}))
    return folder


def command(folder: Path, *words: str, module: str = "queue", params: str = "toy") -> list[str]:
    places = ["--params", str(folder / params), "--data-root", "nowhere"]
    return [sys.executable, "-m", f"pipeline.evidence.{module}", *places, *words]


# --- What is planned --------------------------------------------------------------------------


def test_the_lines_are_the_plans():
    """Counted by hand from the table of docs/plan.md: runs of each line, in its order, with its
    seeds."""
    runs = planned(Places())
    assert Counter(run.line for run in runs) == {
        "0": 24, "a": 6, "b": 3, "c": 18, "d": 15, "e": 12, "f": 24, "g": 6, "h": 2,
    }  # fmt: skip
    queue = chosen(runs, None)
    assert [run.line for run in queue] == sorted(run.line for run in queue) and "0" not in {
        r.line for r in queue
    }
    assert len({run.results for run in runs}) == len(runs) == len({run.name for run in runs})
    assert len({run.config.precision for run in queue}) == 1
    configs = [run.config for run in queue if not run.not_built]
    assert len({config.name for config in configs}) == len(configs)
    assert all(
        config.lr == 1e-3 and config.batch_size == 128 and config.n_train is None
        for config in configs
    )
    epochs = {run.line: {r.config.epochs for r in queue if r.line == run.line} for run in queue}
    assert epochs == {
        "a": {60}, "b": {40}, "c": {60, 40}, "d": {60}, "e": {70}, "f": {10}, "g": {60, 200}, "h": {200},
    }  # fmt: skip
    assert [run.label for run in queue if run.line == "c"][:7] == [
        *(
            f"{name}_seed1"
            for name in ("kappa10", "kappa20", "beta0.1", "beta0.75", "simclr", "supervised")
        ),
        "beta1.25_from20_seed1",
    ]
    assert [run.label for run in queue if run.line == "d"][:5] == [
        *(f"kappa1_seed{seed}" for seed in (0, 1, 2)), "vicreg_seed0", "barlow_twins_seed0",
    ]  # fmt: skip


def test_branches_name_their_trunk_and_it_keeps_their_epoch():
    """Of the same seed, and with no other difference than the plan's."""
    branches = [run for run in chosen(planned(Places()), None) if run.trunk]
    assert len(branches) == 3 + 6 + 4
    for run in branches:
        trunk = run.trunk
        assert run.config.start_from == trunk.config.name and run.config.seed == trunk.config.seed
        assert run.start in trunk.config.keep_epochs and run.branching == trunk.kept(run.start)
        own = {"start_from", "start_epoch", "keep_epochs", "epochs", "beta", "decay_epochs"}
        assert run.config.model_dump(exclude=own) == trunk.config.model_dump(exclude=own)
        assert run.config.decay_epochs == (
            10 if run.label.startswith(("kappa10_rate", "kappa20_rate")) else 0
        )
    betas = sorted((run.config.beta, run.config.seed) for run in branches if run.line in "bc")
    assert betas == [(beta, seed) for beta in (1.25, 1.5, 2.0) for seed in (0, 1, 2)]


def test_runs_are_evaluated_when_the_plan_says():
    """`late.scheduled` is the plan's; the fields of the runs must say the same."""
    for run in planned(Places()):
        config = run.config
        after = [
            e
            for e in range(1, config.epochs + 1)
            if e <= config.eval_first or e % config.eval_every == 0
        ]
        assert after == scheduled(config.epochs), run.name


@pytest.mark.parametrize(
    "change, words",
    [
        ({"precision": "auto"}, "precision = 'auto' is not allowed"),
        ({"epoch": 3}, "no parameter 'epoch': did you mean 'epochs'"),
        ({"trunk": "nobody"}, "no run before it is called nobody_seed0"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, change, words):
    folder = toy(tmp_path / "toy", {"a": [{"name": "one", **change}]})
    with pytest.raises(ParameterError, match=re.escape(words)):
        planned(Places(folder))


def test_an_unknown_line_is_refused():
    with pytest.raises(ParameterError, match="ONLY = a,z is not allowed: the lines are 0, a, b"):
        chosen(planned(Places()), "a,z")


# --- The queue --------------------------------------------------------------------------------


def groups_niceness(processes: list[psutil.Process]) -> list[int]:
    """What Linux says of the groups that sessions are scheduled by; nothing where it has none."""
    files = [Path(f"/proc/{process.pid}/autogroup") for process in processes]
    return [int(file.read_text().split()[-1]) for file in files if file.exists()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout whose queue was killed like by a power cut while it trained its first run, and
    then did the rest."""
    copy = checkout(tmp_path_factory.mktemp("evidence") / "copy")
    toy(copy / "toy")
    with (copy / "killed.log").open("w") as log:
        first = subprocess.Popen(
            command(copy, "--cores", "1"), cwd=copy, env=environment(copy), stdout=log, stderr=log
        )
    try:
        _until(lambda: _epochs(copy) >= 5, "it did not come to its fifth epoch")
    finally:
        tree = [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]
        (copy / "nice.json").write_text(
            json.dumps([process.nice() for process in tree] + groups_niceness(tree[:1]))
        )
        for process in tree:
            process.kill()
        first.wait()
    saved = load_weights(next(copy.glob("runs/*/checkpoint.ckpt")))["callbacks"]
    history = next(state["history"] for state in saved.values() if "history" in state)
    (copy / "epochs.json").write_text(json.dumps([_epochs(copy), len(history)]))
    done = subprocess.run(
        command(copy, "--cores", "2"),
        cwd=copy,
        env=environment(copy),
        capture_output=True,
        text=True,
    )
    (copy / "first.log").write_text(done.stdout + done.stderr)
    (copy / "status").write_text(str(done.returncode))
    return copy


def _epochs(copy: Path) -> int:
    """Epochs in the metrics of the one run there is."""
    return sum(len(pd.read_csv(path)) for path in copy.glob("runs/*/metrics.csv"))


def _until(happened, otherwise: str) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError(otherwise)


def _run(folder: Path, *words: str, module="queue") -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, *words, module=module),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )


def test_a_killed_queue_goes_on_where_it_was(folder):
    """At most an epoch is lost, everything had the lowest priority, and the result is whole."""
    log = (folder / "first.log").read_text()
    measured, saved = json.loads((folder / "epochs.json").read_text())
    assert measured >= 5 and measured - saved in (0, 1)
    assert f"a_kappa10_seed0: epoch {measured} of 8, goes on" in log, log
    assert set(json.loads((folder / "nice.json").read_text())) == {19}
    kept = Run(folder / "reports/late_a/kappa10_seed0")
    assert kept.metrics.epoch.tolist() == list(range(1, 9)) and kept.record["threads"] == 1
    assert kept.record["precision"] == "32" and len(kept.record["data"]["digest"]) == 32


def test_runs_begin_in_order_and_a_branch_when_its_trunk_is_there(folder):
    log = (folder / "first.log").read_text()
    begun = re.findall(r"(\w+): epoch \d of \d, (?:begins|goes on)", log)
    assert begun == ["a_kappa10_seed0", "a_broken_seed0", "a_blown_seed0", "b_branch_seed0"], log
    branch, trunk = (Run(folder / f"reports/late_{x}_seed0") for x in ("b/branch", "a/kappa10"))
    assert branch.config.start_from == trunk.record["name"] and branch.config.beta == 1.5
    assert branch.metrics.epoch.max() == 4


def test_what_cannot_be_run_is_named_and_the_others_go_on(folder):
    """A run that fails, one without data, one that is not built, the branch of one that failed;
    exit status 1."""
    assert (folder / "status").read_text() == "1"
    log = (folder / "first.log").read_text()
    assert "a_broken_seed0: failed: n_train = 99999 is not allowed" in log
    assert "c_orphan_seed0: failed: its trunk a_broken_seed0: failed" in log
    assert "d_no_data_seed0: data missing: data_root: CIFAR-10 was not found" in log
    assert "g_rate_seed0: not built: it needs a schedule of the learning rate" in log
    assert "Traceback" not in log


def test_a_loss_that_becomes_nan_is_a_result(folder):
    kept = Run(folder / "reports/late_a/blown_seed0")
    assert (
        re.search(r"became (NaN|infinite) in epoch 1", kept.record["failed"])
        and kept.record["threads"] == 1
    )
    assert kept.config.lr == 1e30 and len(kept.metrics) == 0


def test_results_say_nothing_of_this_machine_and_hold_the_network(folder):
    """Half of each weight of the run, and the probe as scikit-learn fits it."""
    results = folder / "reports/late_a/kappa10_seed0"
    names = {path.name for path in results.iterdir()}
    assert names == {"config.yaml", "metrics.csv", "record.json", "predictions.npz", "backbone.pt"}
    for name in ("config.yaml", "record.json", "metrics.csv"):
        assert (
            str(folder) not in (results / name).read_text()
            and "nowhere" not in (results / name).read_text()
        )
    run = Run(folder / "runs" / Run(results).record["name"])
    network = torch.load(results / "backbone.pt", weights_only=True)
    trained = run.method().get_submodule("backbone").state_dict()
    assert network.keys() == trained.keys()
    for name, value in network.items():
        assert torch.allclose(value.float(), trained[name].float(), rtol=1e-3, atol=1e-6), name
    assert (results / "backbone.pt").stat().st_size < 3e6
    predicted = np.load(results / "predictions.npz")
    assert (
        predicted["epochs"].tolist()
        == Run(results).metrics.dropna(subset="knn_top1").epoch.tolist()
    )
    assert 0 <= Run(results).record["probe_top1"] <= 100
    assert "probe_top1" not in Run(folder / "reports/late_b/branch_seed0").record


def test_the_status_shows_what_is_finished_and_what_is_not(folder, tmp_path):
    done = _run(folder, "--csv", str(tmp_path / "status.csv"), module="status")
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
    results = folder / "reports"
    before = {
        path: path.stat().st_mtime_ns for path in results.rglob("*") if "late_b" not in str(path)
    }
    old = Run(results / "late_b/branch_seed0").metrics
    shutil.rmtree(folder / "runs")
    shutil.rmtree(results / "late_b/branch_seed0")
    done = _run(folder, "--cores", "2", "--lines", "b")
    begun = re.findall(r"(\w+): epoch \d of \d, begins", done.stdout)
    assert begun == ["a_kappa10_seed0", "b_branch_seed0"] and done.returncode == 0, done.stdout
    assert "a_kappa10_seed0 is trained again, for epoch_2.ckpt of b_branch_seed0" in done.stdout
    assert "differs" not in done.stdout
    pd.testing.assert_frame_equal(Run(results / "late_b/branch_seed0").metrics, old)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_configurations_results_are_refused(folder, tmp_path):
    """Another precision, too; and a file that was changed."""
    same = planned(Places(folder / "toy", folder / "reports"))[0]
    assert same.results.is_dir()
    for change in ({"batch_size": 32}, {"precision": "bf16"}, {"weight_decay": 0.1}):
        other = planned(Places(toy(tmp_path / "toy", **change), folder / "reports"))[0]
        with pytest.raises(RunError, match="holds a run of another configuration"):
            exported(other)
    shutil.copytree(same.results, tmp_path / "late_a" / same.label)
    damaged = planned(Places(folder / "toy", tmp_path))[0]
    (damaged.results / "metrics.csv").write_text("epoch,knn_top1\n5,99.9\n")
    with pytest.raises(RunError, match="check sum"):
        exported(damaged)


def test_a_signal_stops_the_queue_and_its_runs(folder):
    """They save what they have and end; the queue says that the same command goes on."""
    toy(folder / "signal", {"a": [{"name": "long", "epochs": 500}]})
    told = command(folder, "--cores", "1", params="signal")
    process = subprocess.Popen(
        told, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    )
    try:
        _until(
            lambda: process.poll() is not None or psutil.Process(process.pid).children(),
            "nothing was started",
        )
        (child,) = psutil.Process(process.pid).children()
        again = _run(folder, "--cores", "1")
        assert again.returncode == 1 and "Another `make evidence` is at work" in again.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "the same command goes on" in said
    assert not child.is_running() and "failed" not in said


# --- Hours ------------------------------------------------------------------------------------


def _results(run: Planned, seconds: float, **metrics) -> None:
    """Results as a finished run's are, of which only the seconds matter."""
    run.results.mkdir(parents=True)
    values = run.config.resolved().model_dump(mode="json")
    (run.results / "config.yaml").write_text(yaml.safe_dump(values))
    last = pd.DataFrame([{"epoch": run.config.epochs, **metrics}])
    last.to_csv(run.results / "metrics.csv", index=False)
    commit = _git(ROOT, "rev-parse", "HEAD") if (ROOT / ".git").exists() else ""
    record = {"train_seconds": seconds, "evaluation_seconds": 0.0, "commit": commit, "data": {}}
    (run.results / "record.json").write_text(
        json.dumps({**record, "seal": Run(run.results).seal(record)})
    )


def test_hours_come_from_the_epochs_so_far(tmp_path):
    """40 s of 4 epochs: 10 s an epoch of that kind; twice as many images cost twice as much."""
    lines = {
        "a": [{"name": "done"}, {"name": "same", "epochs": 9}, {"name": "double", "n_train": 256}]
    }
    runs = planned(Places(toy(tmp_path / "toy", lines), tmp_path, str(tmp_path / "runs")))
    _results(runs[0], 40.0)
    states = {"a_done_seed0": State("finished", 4), "a_same_seed0": State("running", 3)}
    states["a_double_seed0"] = State("waiting")
    left = hours_left(runs, states, runs)
    assert left == pytest.approx(
        {"a_done_seed0": 0, "a_same_seed0": 60 / 3600, "a_double_seed0": 80 / 3600}
    )


# --- Precision --------------------------------------------------------------------------------


def _pairs(tmp_path: Path, differences: list[float]) -> list[Planned]:
    kinds = [{"name": "float32"}, {"name": "bf16", "precision": "bf16"}]
    folder = toy(tmp_path / "toy", {"0_precision": kinds}, seeds=list(range(len(differences))))
    runs = planned(Places(folder, tmp_path, str(tmp_path / "runs")))
    for run in runs:
        shift = differences[run.config.seed] if run.config.precision == "bf16" else 0.0
        _results(run, 1.0, linear_top1=40.0 + run.config.seed + shift, knn_top1=50.0 - shift)
    return runs


def test_the_precisions_verdict_is_two_one_sided_tests(tmp_path):
    """±0.2 about 0.1 over 12 seeds: t = 1.796, so the 90% interval is 0.1 ± 1.796 · 0.2089 / √12,
    inside ±0.5."""
    runs = _pairs(tmp_path / "near", [0.3, -0.1] * 6)
    table = verdict(runs).set_index("measure")
    assert runs[0].results.parent.name == "late_precision" and set(table.answer) == {"equivalent"}
    half = 1.7959 * np.std([0.3, -0.1] * 6, ddof=1) / np.sqrt(12)
    assert table.loc["linear_top1", ["low", "high"]].tolist() == pytest.approx(
        [0.1 - half, 0.1 + half], abs=1e-4
    )
    assert table.loc["knn_top1", "mean"] == pytest.approx(-0.1)
    assert set(verdict(_pairs(tmp_path / "far", [1.0, 1.2] * 6)).answer) == {"not equivalent"}
    assert set(verdict(_pairs(tmp_path / "wide", [2.0, -2.0] * 6)).answer) == {"undecided"}


def test_without_all_its_runs_there_is_no_verdict(tmp_path):
    runs = _pairs(tmp_path, [0.0, 0.1, 0.05])
    shutil.rmtree(runs[-1].results)
    assert set(verdict(runs).answer) == {"unfinished"}


# --- The plan came first ----------------------------------------------------------------------


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_commit_without_the_plan_before_it_is_no_evidence(tmp_path):
    """In a history of its own: before the plan, with it, with changes, after the plan was changed
    in silence."""
    _git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("")
    commits = {"before": _committed(tmp_path)}
    for path in PLAN[1:]:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("")
    (tmp_path / "docs").mkdir()
    plan = tmp_path / PLAN[0]
    plan.write_text("Margin: 1 point.\n\n## Changes since\n\nNone.\n")
    commits["plan"] = _committed(tmp_path)
    assert lacks_plan_in(tmp_path, commits["plan"]) == ""
    assert "does not have docs/plan.md before it" in lacks_plan_in(tmp_path, commits["before"])
    assert "does not have docs/plan.md before it" in lacks_plan_in(tmp_path, "0" * 40)
    for unknown in (f"{commits['plan']}-modified", ""):
        assert "nobody knows with which code" in lacks_plan_in(tmp_path, unknown)

    plan.write_text("Margin: 2 points.\n\n## Changes since\n\nNone.\n")
    commits["silent"] = _committed(tmp_path)
    lacks_plan_in.cache_clear()
    assert lacks_plan_in(tmp_path, commits["silent"]) == ""
    assert "docs/plan.md has changed since" in lacks_plan_in(tmp_path, commits["plan"])
    plan.write_text(
        "Margin: 2 points.\n\n## Changes since\n\nThe margin, since it was a misprint.\n"
    )
    _committed(tmp_path)
    lacks_plan_in.cache_clear()
    assert lacks_plan_in(tmp_path, commits["plan"]) == ""
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "-q", "--depth", "1", f"file://{tmp_path}", str(shallow))
    assert lacks_plan_in(shallow, commits["before"]) == ""  # nobody can tell


def _committed(folder: Path) -> str:
    _git(folder, "add", "--all")
    _git(folder, "commit", "-qm", "x")
    return _git(folder, "rev-parse", "HEAD")


RECORDS = sorted((ROOT / "reports").glob("late_*/*/record.json"))


@pytest.mark.parametrize(
    "path", RECORDS, ids=lambda path: f"{path.parent.parent.name}/{path.parent.name}"
)
def test_committed_results_came_after_the_plan(path):
    """Each record is whole, names data, precision, threads and commit, and the plan is an ancestor
    of that commit."""
    record = Run(path.parent).record
    assert (
        record["data"]["digest"]
        and record["precision"] in ("32", "bf16")
        and record["threads"] == 1
    )
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])
    assert no_evidence(record) == ""


def test_committed_results_are_those_that_are_planned():
    """None of another configuration, and of one precision."""
    runs = planned(Places())
    kept = {run.results for run in runs if exported(run)}
    assert {path.parent for path in RECORDS} == kept


@pytest.mark.parametrize("target", ["evidence", "evidence-status", "precision-check"])
def test_make_passes_on_what_it_is_given(target, tmp_path):
    """Words with spaces stay one; `python` that prints its words stands in for the queue."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    said = tmp_path / ".venv/bin/python"
    said.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    said.chmod(0o755)
    (tmp_path / ".venv/.ready").touch()
    given = ["DATA_ROOT=my data", "REPORTS=other/reports", "ONLY=a,b", "CORES=3"]
    told = ["make", "-s", "-o", ".venv/.ready", target, *given]
    env = {**os.environ, "LINES": "50"}  # a terminal's height
    words = subprocess.run(
        told, cwd=tmp_path, capture_output=True, text=True, check=True, env=env
    ).stdout.split("\n")
    assert (
        words[words.index("--data-root") + 1] == "my data"
        and words[words.index("--reports") + 1] == "other/reports"
    )
    assert "50" not in words and (
        "--cores" not in words or words[words.index("--cores") + 1] == "3"
    )
    lines = {"precision-check": "0"}.get(target, "a,b")
    assert words[words.index("--lines") + 1] == lines


def test_the_verdict_on_bf16_is_that_of_the_committed_runs():
    """Computed anew from their metrics, by SciPy; the page says the same numbers."""
    folder = ROOT / "reports" / "late_precision"
    table = pd.read_csv(folder / "verdict.csv", index_col="measure")
    page = (ROOT / "docs" / "evidence.md").read_text("utf-8")
    for measure, row in table.iterrows():
        last = {
            name: [
                pd.read_csv(folder / f"{name}_seed{seed}" / "metrics.csv")[measure].iloc[-1]
                for seed in range(12)
            ]
            for name in ("bf16", "float32")
        }
        apart = np.subtract(last["bf16"], last["float32"])
        low, high = stats.t.interval(0.90, 11, apart.mean(), stats.sem(apart))
        assert (row["mean"], row.low, row.high) == pytest.approx(
            (apart.mean(), low, high), abs=1e-9
        )
        assert row.answer == ("equivalent" if low > -0.5 and high < 0.5 else "undecided")
        said = f"{apart.mean():.2f}", f"{low:.2f} to {high:.2f}"
        assert all(number.replace("-", "−") in page for number in said)
    precisions = {run.config.precision for run in chosen(planned(Places()), None)}
    assert precisions == {"bf16" if (table.answer == "equivalent").all() else "32"}
