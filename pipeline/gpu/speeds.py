"""`python -m pipeline.gpu.speeds throughput|side_by_side`: images per second of real runs.

Short runs are trained as any run is, and their own clock is read: the seconds of each epoch after
the first, in which kernels are chosen and compiled. CIFAR-10's runs have its images where they are
at hand; other sizes, and all where they are not, have drawn glyphs, scaled to the size.

`throughput` writes what `make plan` takes, network by network, and goes on where it stopped.
`side_by_side` says whether two runs at once see more images a second than one.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError, one_line
from infomax_nb.files import load_weights, project_root
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.run import Run
from pipeline.gpu.data import reason_against
from pipeline.gpu.order import METHODS
from pipeline.gpu.results import Results, results_of

PAPER = project_root() / "params" / "paper"
OURS = PAPER / "cifar10_infomax_resnet18.yaml"
KEY = ("backbone", "stem", "image_size", "method", "proj_dim")
FIRST = ("cifar10", "stl10")  # whose networks are measured first, in this order


@dataclass(frozen=True)
class Short:
    """How short runs are trained.

    Args:
        device: `cuda` or `cpu`.
        data_root: where CIFAR-10 may be.
        trial: whether to train as little as possible.
        folder: where runs come.
    """

    device: str
    data_root: str
    trial: bool
    folder: Path

    def changes(self, config: TrainConfig) -> dict:
        """What a configuration's short run has instead of its own values."""
        epochs = 2 if self.trial else 4
        fields = {"epochs": epochs, "keep_epochs": (epochs,), "device": self.device}
        fields |= {"runs_dir": str(self.folder), "data_root": self.data_root}
        if self.trial:
            fields |= {"n_train": 64, "batch_size": 32}
        if config.dataset == "cifar10" and not reason_against("cifar10", self.data_root):
            return fields
        classes = 48 if config.size <= 32 else 24 if config.size <= 96 else 10  # drawing is slow
        fields |= {"dataset": "glyphs", "n_classes": 10 if self.trial else classes}
        return {**fields, "image_size": config.size}


def seconds_of_epochs(run: Run, epoch: int) -> tuple[float, float]:
    """The median seconds of training and of evaluation, of the epochs after the first.

    They stand in the checkpoint that a run keeps of its last epoch.
    """
    states = load_weights(run.kept_checkpoint(epoch))["callbacks"].values()
    (seconds,) = [state["seconds"] for state in states if "seconds" in state]
    training, evaluation = zip(*seconds[1:], strict=True)
    return statistics.median(training), statistics.median(evaluation)


# --- Throughput -------------------------------------------------------------------------------


def kinds() -> list[TrainConfig]:
    """One configuration for each network, size and method of the paper, CIFAR-10's first."""
    files = sorted(PAPER.glob("*.yaml"), key=_turn)
    configs = [TrainConfig(dataset="cifar10"), *map(TrainConfig.from_yaml, files)]
    return list({tuple(key(config).values()): config for config in configs}.values())


def _turn(file: Path) -> tuple[int, int, str]:
    """Where a file comes in the order: by its data set, then as the rows are trained."""
    data, _, rest = file.stem.partition("_")
    turns = [k for k, method in enumerate(METHODS) if rest == f"{method}_resnet18"]
    place = FIRST.index(data) if data in FIRST else len(FIRST)
    return place, min(turns, default=len(METHODS)), rest


def key(config: TrainConfig) -> dict[str, str | int]:
    """What the throughput depends on."""
    return {name: getattr(config, name) for name in KEY} | {"image_size": config.size}


def throughput(config: TrainConfig, short: Short) -> dict:
    """A row: images per second of training and of evaluation."""
    changed = config.replace(**short.changes(config))
    run = fit(changed)
    training, evaluation = seconds_of_epochs(run, changed.epochs)
    train, test = datasets(changed)
    trained = len(train) // changed.batch_size * changed.batch_size
    row: dict = {**key(config), "batch": changed.batch_size, "data": changed.dataset}
    row |= {"images_per_second": trained / max(training, 1e-3)}
    return row | {"evaluated_per_second": (len(train) + len(test)) / max(evaluation, 1e-3)}


def measure_throughput(short: Short, results: Results, seconds: float) -> None:
    """Measure what is not there yet, as long as there is time."""
    begin = time.monotonic()
    wanted = kinds()[:2] if short.trial else kinds()
    rows = results.read()
    known = {tuple(row[name] for name in KEY) for row in rows}
    left = [config for config in wanted if tuple(key(config).values()) not in known]
    broken = 0
    for config in left:
        if time.monotonic() - begin > seconds:
            break
        try:
            rows.append(throughput(config, short))
        except (ParameterError, RunError) as error:
            broken += 1
            print(f"{config.name}: {one_line(error)}", flush=True)
            continue
        print(rows[-1], flush=True)
        results.write(rows, whole=len(rows) == len(wanted))
    if broken and not rows:
        sys.exit("throughput: no network could be measured; the lines above say why.")


# --- Side by side -----------------------------------------------------------------------------


def images_per_second(runs: int, short: Short) -> float:
    """Of so many runs of ours on CIFAR-10, started at once, together, evaluation included."""
    config = TrainConfig.from_yaml(OURS)
    changes = [{**short.changes(config), "seed": seed} for seed in range(runs)]
    started = [_start(each) for each in changes]
    codes = [process.wait() for process in started]
    if any(codes):
        sys.exit(f"A run ended with {max(codes, key=abs)}.")
    rate = 0.0
    for each in (config.replace(**each) for each in changes):
        spent = sum(seconds_of_epochs(Run(each.run_dir), each.epochs))
        images = each.n_train or len(datasets(each)[0])
        rate += images / max(spent, 1e-3)
    return rate


def _start(changes: dict) -> subprocess.Popen:
    """A run of ours in a process of its own."""
    words = [sys.executable, "-m", "infomax_nb.train", str(OURS)]
    for name, value in changes.items():
        words += ["-p", name, str(list(value) if isinstance(value, tuple) else value)]
    return subprocess.Popen(words, cwd=project_root(), stdout=subprocess.DEVNULL)


def measure_side_by_side(short: Short, results: Results) -> None:
    """One run, then two at once."""
    rows = []
    for runs in (1, 2):
        here = Short(short.device, short.data_root, short.trial, short.folder / str(runs))
        rows.append({"runs": runs, "images_per_second": images_per_second(runs, here)})
    for row in rows:
        row["times_one_run"] = row["images_per_second"] / rows[0]["images_per_second"]
    results.write(rows)
    print(rows, flush=True)


def main() -> None:
    """Measure the one or the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["throughput", "side_by_side"])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    parser.add_argument("--scratch", type=Path, required=True, help="folder of short runs")
    parser.add_argument("--seconds", type=float, default=3600.0, help="start no run after these")
    parser.add_argument("--trial", action="store_true", help="train as little as possible")
    given = parser.parse_args()
    results = results_of(given, given.what)
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        short = Short(given.device, given.data_root, given.trial, Path(folder))
        if given.what == "throughput":
            measure_throughput(short, results, given.seconds)
        else:
            measure_side_by_side(short, results)


if __name__ == "__main__":
    main()
