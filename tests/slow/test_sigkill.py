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
    """Whether the sweep was still at work after so many seconds; then it and all that it started
    are killed at once."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        started = psutil.Process(process.pid).children(
            recursive=True
        )  # while the parent that names them is there
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
    folder, started = sweep_in(tmp_path_factory.mktemp("unkilled")), time.monotonic()
    done = run(folder, COMMAND)
    assert done.returncode == 0, done.stderr[-4000:]
    runs = [Run(path.parent) for path in records(folder)]
    assert len(runs) == 3 and all(one.finished and len(one.metrics) == 3 for one in runs)
    return {
        one.path.name: (one.path / "metrics.csv").read_bytes() for one in runs
    }, time.monotonic() - started


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_sweep_finishes_when_started_again(unkilled, tmp_path, seed):
    """By the same command; what was finished is not trained again, and every metric is the unkilled
    sweep's."""
    wanted, seconds = unkilled
    folder, moment = sweep_in(tmp_path), random.Random(seed).uniform(0.05, 0.95) * seconds
    with (folder / "killed.log").open("w") as log:
        group = {"start_new_session": True, "stdout": log, "stderr": log}
        IN_TIME.append(
            killed(subprocess.Popen(COMMAND, cwd=folder, env=environment(folder), **group), moment)
        )
    before = records(folder)
    done = run(folder, COMMAND)
    assert done.returncode == 0, (
        f"killed after {moment:.1f} s of {seconds:.1f} s: {done.stderr[-4000:]}"
    )
    after = records(folder)
    assert before.items() <= after.items() and len(after) == 3
    runs = [Run(path.parent) for path in after]
    assert {one.path.name: (one.path / "metrics.csv").read_bytes() for one in runs} == wanted
    assert all(one.finished and (one.path / ".done").exists() for one in runs)
    assert not [
        p
        for one in runs
        for p in one.path.iterdir()
        if p.suffix in (".ckpt", ".part") and one.finished
    ]


def test_the_kills_came_in_time():
    assert len(IN_TIME) == ROUNDS and sum(IN_TIME) >= 0.75 * ROUNDS, IN_TIME
