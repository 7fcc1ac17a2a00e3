"""A training step on one thread, views to optimiser: the code here against an older commit.

Both train what `python -m infomax_nb.train params/sweep.yaml` trains, each from its own folder, in
turn. What a first epoch has to prepare, compiling included, is left out: a run of four epochs less
a run of one, by their records.

`--against COMMIT` names the other one. `--also precision=bf16 compile=...` adds a way to train,
here alone.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from common import half_spread, median_ratio, publish
from trainings import ONE_THREAD, STEPS, Training

from infomax_nb.files import project_root

MEASURED = 3  # epochs, after one that is not


def unpacked(commit: str, folder: Path) -> Path:
    """The package and the parameter files of a commit, in `folder`."""
    command = ["git", "archive", "--format=tar", commit, "infomax_nb", "params"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True)
    if done.returncode:
        sys.exit(f"--against {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def training_seconds(epochs: int, code: Path, parameters: dict[str, str]) -> float:
    """Seconds of a run's training."""
    with Training(epochs, code, ONE_THREAD, device="cpu", **parameters) as run:
        return run.record()["train_seconds"]


def step_seconds(code: Path, parameters: dict[str, str]) -> float:
    """Seconds of a step."""
    short = training_seconds(1, code, parameters)
    long = training_seconds(1 + MEASURED, code, parameters)
    return (long - short) / (MEASURED * STEPS)


def measured(ways: dict[str, tuple[Path, dict[str, str]]], rounds: int) -> list[dict]:
    """A row for each way: medians over rounds, and the ratio to the first way within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (code, parameters) in ways.items():
            seconds[name].append(step_seconds(code, parameters))
    first = next(iter(seconds.values()))
    rows = []
    for name, values in seconds.items():
        times = {"seconds": statistics.median(values), "spread": half_spread(values)}
        how = {"candidate": name, "threads": 1, "rounds": rounds}
        rows.append({**how, **times, "share_of_first": median_ratio(values, first)})
    return rows


def main() -> None:
    """Seconds of a step, and what share of the older commit's that is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="ebca0cf", metavar="COMMIT")
    parser.add_argument("--also", nargs="+", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = {given.against: (unpacked(given.against, Path(folder)), {})}
        for words in (["precision=32"], ["precision=bf16"], *given.also):
            parameters = dict(word.split("=", 1) for word in words)
            ways[", ".join(words)] = (project_root(), parameters)
        publish("engine", measured(ways, given.rounds))


if __name__ == "__main__":
    main()
