"""Images per second of a machine: a run on each core, one thread each, against one run with a
thread on each core.

The first is what `make sweep`, `make paper` and `make table1` do on CPUs.
"""

import argparse
import os
import statistics
from contextlib import ExitStack

from common import publish
from trainings import IMAGES, Training


def images_per_second(runs: int, threads: int, epochs: int) -> float:
    """Of so many runs, started at once, together; evaluation is not counted."""
    with ExitStack() as stack:
        own = {"OMP_NUM_THREADS": str(threads)}
        started = [
            stack.enter_context(Training(epochs, own=own, device="cpu", seed=k))
            for k in range(runs)
        ]
        return sum(epochs * IMAGES / each.record()["train_seconds"] for each in started)


def main() -> None:
    """Medians over rounds in which the two take turns; the ratio is that of a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ways = {"one run": (1, cores), "a run on each core": (cores, 1)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (runs, threads) in ways.items():
            found[name].append(images_per_second(runs, threads, given.epochs))
    rows = []
    for name, (runs, threads) in ways.items():
        ratio = statistics.median(a / b for a, b in zip(found[name], found["one run"], strict=True))
        row = {"candidate": name, "runs": runs, "threads": threads, "rounds": given.rounds}
        row |= {"images_per_second": statistics.median(found[name]), "times_one_run": ratio}
        rows.append(row)
    publish("side_by_side", rows)


if __name__ == "__main__":
    main()
