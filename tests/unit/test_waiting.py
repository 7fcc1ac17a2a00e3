"""How torch's threads wait: what OpenMP's library says, what the kernel counts; no number moves."""

import os
import re
import subprocess
import sys

import pytest
from checkout import ROOT

FIRST = "import infomax_nb, torch"
LATER = "import torch, infomax_nb"
# A hundred operations of two threads, a millisecond apart. How often the other threads fell asleep,
# by the kernel.
SLEEPS = """
import re, time
from pathlib import Path

def asleep():
    own = re.search(r"Pid:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    texts = {p.parent.name: p.read_text() for p in Path("/proc/self/task").glob("*/status")}
    switches = re.compile(r"\\nvoluntary_ctxt_switches:\\s+(\\d+)")
    counts = {thread: int(switches.search(text)[1]) for thread, text in texts.items()}
    return sum(count for thread, count in counts.items() if thread != own)

numbers = torch.ones(70_000)
numbers.add(1)
before = asleep()
for _ in range(100):
    numbers.add(1)
    time.sleep(0.001)
print(asleep() - before)
"""
TWO = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
two_cores = pytest.mark.skipif(not TWO, reason="needs Linux, and a core for each of two threads")


def python(*arguments, **variables) -> subprocess.CompletedProcess:
    """Python with two threads and nothing else said about OpenMP but `variables`."""
    others = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    environment = {**others, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", **variables}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "command",
    [
        ("-c", "from infomax_nb.parameters import notebook_parameters; import torch"),
        ("-m", "infomax_nb.train", "--help"),
    ],
    ids=["notebooks", "files"],
)
def test_openmps_library_is_told_to_wait_passively(command):
    """`OMP_DISPLAY_ENV` makes it print, as it is loaded, what it has read."""
    done = python(*command, OMP_DISPLAY_ENV="TRUE")
    assert set(re.findall(r"OMP_WAIT_POLICY = '(\w+)'", done.stderr)) == {"PASSIVE"}


@pytest.mark.parametrize(
    "own, policy",
    [
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ({"GOMP_SPINCOUNT": "5000"}, "None"),
    ],
    ids=str,
)
def test_a_process_hands_on_its_policy_and_ones_own_choice_stays(own, policy):
    code = "import os, infomax_nb; print(os.environ.get('OMP_WAIT_POLICY'))"
    done = python("-c", code, **own)
    assert done.stdout.strip() == policy


@two_cores
@pytest.mark.parametrize("code", [FIRST, LATER])
def test_threads_sleep_while_they_wait(code):
    """Also where torch was imported first."""
    assert int(python("-c", code + SLEEPS).stdout) >= 90


@two_cores
@pytest.mark.parametrize("code", [FIRST, LATER])
def test_threads_that_wait_actively_never_sleep(code):
    assert int(python("-c", code + SLEEPS, OMP_WAIT_POLICY="ACTIVE").stdout) < 10


def test_one_thread_needs_no_others():
    count = "import threading; print(threading.active_count())"
    assert python("-c", f"{LATER}; {count}", OMP_NUM_THREADS="1").stdout.strip() == "1"


def test_metrics_are_the_same_bit_for_bit(tmp_path):
    """Threads that sleep, those of a process in which torch came first, and those that go round for
    a while."""
    training = """
import sys
from infomax_nb.config import TrainConfig
from infomax_nb.train import fit
small = {"n_classes": 4, "n_train": 64, "batch_size": 16, "proj_dim": 8, "epochs": 1}
run = fit(TrainConfig(**small, device="cpu", runs_dir=sys.argv[1]))
print(run.record["threads"])
print(run.metrics.to_json())
"""
    asleep = python("-c", f"{FIRST}\n{training}", tmp_path / "asleep").stdout
    later = python("-c", f"{LATER}\n{training}", tmp_path / "later").stdout
    round_for_a_while = {"GOMP_SPINCOUNT": "10000"}
    spun = python("-c", f"{FIRST}\n{training}", tmp_path / "spun", **round_for_a_while).stdout
    assert asleep.startswith("2\n")
    assert later == asleep
    assert spun == asleep
