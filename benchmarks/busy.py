"""A default run on a machine that does something else, too: its time there over its quiet time.

The package lets threads that wait sleep (`infomax_nb.threads`), also where torch was imported
first. Beside it stands how OpenMP's library (libgomp) comes: threads that wait keep their cores.
That one is stopped after `--limit` seconds.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product

from common import median_ratio, publish
from trainings import ONE_THREAD, Training

# libgomp's own number of turns, which it takes where nobody says anything.
WAYS: dict[str, dict] = {
    "as it is": {},
    "torch imported first": {"first": "import torch"},
    "libgomp's own policy": {"variables": {"GOMP_SPINCOUNT": "300000"}},
}
BUSY_PROCESSES = {"nothing": 0, "one busy process": 1, "two busy processes": 2}
BESIDE = (*BUSY_PROCESSES, "another training")


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that needs a core and does nothing with it."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(way: dict, beside: str, limit: float) -> float:
    """Seconds of training and evaluation, by the run's record; infinite if it was stopped."""
    with ExitStack() as stack:
        for _ in range(BUSY_PROCESSES.get(beside, 0)):
            stack.enter_context(busy_process())
        if beside == "another training":  # longer than any that is measured
            stack.enter_context(Training(10_000, variables=ONE_THREAD, device="cpu"))
        run = stack.enter_context(Training(1, device="cpu", **way))
        try:
            record = run.record(limit)
        except subprocess.TimeoutExpired:
            return float("inf")
    return record["train_seconds"] + record["evaluation_seconds"]


def main() -> None:
    """Medians over rounds in which all take turns; ratios to the same way's quiet run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=180.0, metavar="SECONDS")
    given = parser.parse_args()
    spent: dict[tuple[str, str], list[float]] = {pair: [] for pair in product(WAYS, BESIDE)}
    for _ in range(given.rounds):
        for name, beside in spent:
            spent[name, beside].append(seconds(WAYS[name], beside, given.limit))
    rows = []
    for (name, beside), values in spent.items():
        how = {"candidate": name, "beside": beside, "rounds": given.rounds}
        ratio = median_ratio(values, spent[name, "nothing"])
        rows.append({**how, "seconds": statistics.median(values), "times_quiet": ratio})
    publish("busy", rows)


if __name__ == "__main__":
    main()
