"""How torch's OpenMP threads wait for each other: asleep, so that a run gets on beside others.

They wait at the end of every operation. Left alone, GNU's OpenMP library (libgomp) lets them keep
their cores for 300,000 turns meanwhile. Where another process has the core of the thread that is
waited for, that is most of the time. What is computed is the same, bit for bit.
"""

import os
import sys
import threading


def wait_asleep() -> None:
    """Let the threads of this process, and of those that it starts, wait asleep.

    Unless the environment says how: `OMP_WAIT_POLICY` and `GOMP_SPINCOUNT` are read when the
    library is loaded, which `import torch` does. Where that came first, on Linux, teams of threads
    are kept asleep until there are more threads than cores: libgomp then waits for 1,000 turns,
    some microseconds, before it sleeps (its manual, under `GOMP_SPINCOUNT`).
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if "torch" in sys.modules and sys.platform == "linux":
        _outnumber_cores()


def _outnumber_cores() -> None:
    """Keep as many teams asleep as make, with the team that computes, more threads than cores."""
    import torch

    helpers = torch.get_num_threads() - 1  # of a team, beside the thread that calls
    teams = (len(os.sched_getaffinity(0)) - 1) // helpers if helpers else 0
    for _ in range(teams):
        ready = threading.Event()
        threading.Thread(target=_keep_a_team, args=(ready,), daemon=True).start()
        ready.wait()


def _keep_a_team(ready: threading.Event) -> None:
    """Compute something that takes all threads, then keep this thread and its team for good."""
    import torch

    try:
        # torch gives each thread 2^15 elements or more.
        torch.ones(2**15 * torch.get_num_threads(), device="cpu")
    finally:
        ready.set()
    threading.Event().wait()
