"""Let torch's OpenMP threads sleep while they wait, so that runs can share a machine.

Threads wait for each other at the end of every operation. By default GNU's OpenMP library (libgomp)
lets a waiting thread keep its core busy for 300,000 turns. When another process occupies the core
of the thread that is waited for, this takes most of the time. Results are the same, bit for bit.
"""

import os
import sys
import threading


def wait_asleep() -> None:
    """Make the threads of this process, and of those that it starts, sleep while they wait.

    If the environment sets `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT`, nothing is changed. The library
    reads them when it is loaded, which `import torch` does. If torch was imported first, on Linux,
    teams of threads are kept asleep until there are more threads than cores. libgomp then waits
    only 1,000 turns, some microseconds, before it sleeps (its manual, under `GOMP_SPINCOUNT`).
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if "torch" in sys.modules and sys.platform == "linux":
        _outnumber_cores()


def _outnumber_cores() -> None:
    """Keep enough teams asleep that, with the team that computes, threads outnumber cores."""
    import torch

    helpers = torch.get_num_threads() - 1  # in a team, besides the calling thread
    teams = (len(os.sched_getaffinity(0)) - 1) // helpers if helpers else 0
    for _ in range(teams):
        ready = threading.Event()
        threading.Thread(target=_keep_a_team, args=(ready,), daemon=True).start()
        ready.wait()


def _keep_a_team(ready: threading.Event) -> None:
    """Compute something that uses all threads, then keep this thread and its team alive."""
    import torch

    try:
        # torch gives each thread 2^15 elements or more.
        torch.ones(2**15 * torch.get_num_threads(), device="cpu")
    finally:
        ready.set()
    threading.Event().wait()
