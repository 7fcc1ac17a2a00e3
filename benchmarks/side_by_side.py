"""Images per second of a machine: a run on each core, against one run with all cores.

The first, one thread each, is what `make sweep`, `make paper` and `make table1` do on CPUs.
"""

import argparse
import os
import statistics
from contextlib import ExitStack

from common import median_ratio, publish
from trainings import IMAGES, Training


def images_per_second(runs: int, threads: int, epochs: int) -> float:
    """Of so many runs, started at once, together; evaluation is not counted."""
    variables = {"OMP_NUM_THREADS": str(threads)}
    with ExitStack() as stack:
        started = []
        for seed in range(runs):
            training = Training(epochs, variables=variables, device="cpu", seed=seed)
            started.append(stack.enter_context(training))
        return sum(epochs * IMAGES / each.record()["train_seconds"] for each in started)


def main() -> None:
    """Medians over rounds in which the two take turns; the ratio is that of a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ways = {"one run": (1, cores), "a run on each core": (cores, 1)}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, (runs, threads) in ways.items():
            speeds[name].append(images_per_second(runs, threads, given.epochs))
    rows = []
    for name, (runs, threads) in ways.items():
        how = {"candidate": name, "runs": runs, "threads": threads, "rounds": given.rounds}
        ratio = median_ratio(speeds[name], speeds["one run"])
        median = statistics.median(speeds[name])
        rows.append({**how, "images_per_second": median, "times_one_run": ratio})
    publish("side_by_side", rows)


if __name__ == "__main__":
    main()
