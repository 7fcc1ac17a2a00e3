"""A default run on a machine that does something else, too: its time beside other processes over
its quiet time.

The package lets threads that wait sleep (`infomax_nb.waiting`), also where torch was imported
first. Beside it stands how OpenMP's library (libgomp) comes: threads that wait keep their cores.
That one is stopped after `--limit` seconds.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from common import publish
from trainings import Training, one_thread

# libgomp's own number of turns, which it takes where nobody says anything.
WAYS: dict[str, dict] = {
    "as it is": {},
    "torch imported first": {"first": "import torch"},
    "libgomp's own policy": {"own": {"GOMP_SPINCOUNT": "300000"}},
}
BESIDE = ("nothing", "one busy process", "two busy processes", "another training")


@contextmanager
def looping() -> Iterator[None]:
    """A process that needs a core and does nothing with it."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def spent(way: dict, beside: str, limit: float) -> float:
    """Seconds of training and evaluation, by the run's record; infinite if it was stopped."""
    with ExitStack() as stack:
        for _ in range({"one busy process": 1, "two busy processes": 2}.get(beside, 0)):
            stack.enter_context(looping())
        if beside == "another training":  # longer than any that is measured
            stack.enter_context(Training(10_000, own=one_thread(), device="cpu"))
        run = stack.enter_context(Training(1, device="cpu", **way))
        try:
            record = run.record(limit)
        except subprocess.TimeoutExpired:
            return float("inf")
    return record["train_seconds"] + record["evaluation_seconds"]


def main() -> None:
    """Medians over rounds in which all take turns; the ratio is to the same way's quiet run of that
    round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=180.0, metavar="SECONDS")
    given = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {
        (name, beside): [] for name in WAYS for beside in BESIDE
    }
    for _ in range(given.rounds):
        for name, beside in found:
            found[name, beside].append(spent(WAYS[name], beside, given.limit))
    rows = []
    for (name, beside), values in found.items():
        ratio = statistics.median(
            a / b for a, b in zip(values, found[name, "nothing"], strict=True)
        )
        row = {"candidate": name, "beside": beside, "rounds": given.rounds}
        rows.append(row | {"seconds": statistics.median(values), "times_quiet": ratio})
    publish("busy", rows)


if __name__ == "__main__":
    main()
