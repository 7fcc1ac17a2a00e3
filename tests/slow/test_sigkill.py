"""A sweep that is killed at a random moment and started again, in twenty rounds."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from checkout import checkout, environment, run, snakemake, sweep_file

from infomax_nb.train.run import Run

COMMAND = snakemake("sweep", config={"sweep": "sweep.yaml"})
ROUNDS = int(os.environ.get("INFOMAX_KILLS", 20))
IN_TIME = []  # of each round, whether the kill came before the sweep had ended


def killed(process: subprocess.Popen, seconds: float) -> bool:
    """Whether the sweep was still at work after so many seconds; then all of it is killed."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        # while the parent that names them is there
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        for child in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        assert not psutil.wait_procs(started, 30)[1]
        return True


def records(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each finished run's record was written, and what it says."""
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.glob("runs/*/record.json")}


def sweep_in(folder: Path) -> Path:
    """A fresh checkout with three runs to train."""
    sweep_file(checkout(folder), "sweep.yaml", kappas=[1, 10, 20])
    return folder


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """The same sweep left alone: its metrics by run, and the seconds that it took."""
    folder = sweep_in(tmp_path_factory.mktemp("unkilled"))
    started = time.monotonic()
    done = run(folder, COMMAND)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr[-4000:]
    runs = [Run(path.parent) for path in records(folder)]
    assert len(runs) == 3
    assert all(one.finished and len(one.metrics) == 3 for one in runs)
    return metrics_by_run(runs), seconds


def metrics_by_run(runs: list[Run]) -> dict[str, bytes]:
    """What the runs measured, by their names."""
    return {run.path.name: (run.path / "metrics.csv").read_bytes() for run in runs}


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_sweep_finishes_when_started_again(unkilled, tmp_path, seed):
    """What was finished is not trained again, and every metric is the unkilled sweep's."""
    wanted, seconds = unkilled
    folder = sweep_in(tmp_path)
    moment = random.Random(seed).uniform(0.05, 0.95) * seconds
    with (folder / "killed.log").open("w") as log:
        group = {"start_new_session": True, "stdout": log, "stderr": log}
        sweep = subprocess.Popen(COMMAND, cwd=folder, env=environment(folder), **group)
        IN_TIME.append(killed(sweep, moment))
    before = records(folder)
    done = run(folder, COMMAND)
    when = f"killed after {moment:.1f} s of {seconds:.1f} s"
    assert done.returncode == 0, f"{when}: {done.stderr[-4000:]}"
    after = records(folder)
    assert before.items() <= after.items()
    runs = [Run(path.parent) for path in after]
    assert len(runs) == 3
    assert metrics_by_run(runs) == wanted
    for one in runs:
        assert one.finished
        assert (one.path / ".done").exists()
        assert not [path for path in one.path.iterdir() if path.suffix in (".ckpt", ".part")]


def test_the_kills_came_in_time():
    assert len(IN_TIME) == ROUNDS
    assert sum(IN_TIME) >= 0.75 * ROUNDS, IN_TIME
