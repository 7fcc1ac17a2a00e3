"""A training step on one thread, views to optimiser: the code here against an older commit, in one
call.

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

from common import publish
from trainings import STEPS, Training, one_thread

from infomax_nb.files import project_root

MORE = 3  # epochs that are measured, after one that is not


def unpacked(commit: str, folder: Path) -> Path:
    """The package and the parameter files of a commit, in `folder`."""
    command = ["git", "archive", "--format=tar", commit, "infomax_nb", "params"]
    done = subprocess.run(command, cwd=project_root(), capture_output=True)
    if done.returncode:
        sys.exit(f"--against {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def seconds(code: Path, parameters: dict[str, str]) -> float:
    """Of a step."""
    spent = []
    for epochs in (1, 1 + MORE):
        with Training(epochs, code, one_thread(), device="cpu", **parameters) as run:
            spent.append(run.record()["train_seconds"])
    return (spent[1] - spent[0]) / (MORE * STEPS)


def measured(ways: dict[str, tuple[Path, dict[str, str]]], rounds: int) -> list[dict]:
    """Medians over rounds, half the spread between quartiles, and the ratio to the first way within
    a round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (code, parameters) in ways.items():
            found[name].append(seconds(code, parameters))
    rows, first = [], next(iter(found.values()))
    for name, values in found.items():
        quartiles = statistics.quantiles(values, n=4) if rounds > 1 else [values[0]] * 3
        ratio = statistics.median(a / b for a, b in zip(values, first, strict=True))
        row = {
            "candidate": name,
            "threads": 1,
            "rounds": rounds,
            "seconds": statistics.median(values),
        }
        rows.append(row | {"spread": (quartiles[2] - quartiles[0]) / 2, "share_of_first": ratio})
    return rows


def main() -> None:
    """Seconds of a step, and what share of the older commit's that is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="ebca0cf", metavar="COMMIT")
    parser.add_argument("--also", nargs="+", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = project_root()
        ways: dict[str, tuple[Path, dict[str, str]]] = {
            given.against: (unpacked(given.against, Path(folder)), {})
        }
        for words in (["precision=32"], ["precision=bf16"], *given.also):
            ways[", ".join(words)] = (here, dict(word.split("=", 1) for word in words))
        publish("engine", measured(ways, given.rounds))


if __name__ == "__main__":
    main()
