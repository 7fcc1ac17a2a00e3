"""`python -m pipeline.plan [FILE ...]`: what runs will cost, before they start.

Without files these are the paper's runs. The bill lists images, views, steps, device-hours and
disk. Hours come from the throughput that was measured for the same network, image size and method
(`reports/benchmarks/*_throughput.csv`: on the CPU by `make bench`, on a GPU by `make gpu`). Where
there is no measurement, the bill says so. A GPU's hours are then estimated from a roofline
(`pipeline/roofline.py`); a column says of each number which of the two it is.

Throughput was measured with each method's own views. For other views the measured time of a
step is multiplied by the ratio of the networks' floating-point operations, and `~` marks the hours.
That ignores the cost of drawing the views. Batch size, precision, stopping and starting are always
ignored. The recorded time of a finished run is shown beside the projected one.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root
from infomax_nb.methods import build
from infomax_nb.train.run import Run
from pipeline.cost import flops_per_image, step_shape
from pipeline.roofline import ESTIMATED, evaluation_seconds, step_seconds
from pipeline.sweep import runs_of

# Training images, test images and classes, where a file does not ask for fewer.
SETS = {
    "glyphs": (4800, 2400, 48),
    "glyphs_textured": (4800, 2400, 48),
    "fashion_mnist": (60_000, 10_000, 10),
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "stl10": (105_000, 8_000, 10),  # 5,000 of them labelled
    "tiny_imagenet": (100_000, 10_000, 200),
    "lc25000": (20_000, 5_000, 5),  # divided 80/20
    "lc25000_groups": (20_000, 5_000, 5),
    "imagenet": (1_281_167, 50_000, 1000),
    "imagenet100": (126_689, 5_000, 100),
}
STL10_LABELLED = 5_000
DEVICES = (1, 8, 64)
KINDS = ("cpu", "cuda")
BYTES_OF_ADAMW = 2  # times a trained weight's bytes: it keeps two numbers for each


# --- One run ----------------------------------------------------------------------------------


def training_images(config: TrainConfig) -> int:
    """Images in an epoch. Supervised training uses only the labelled ones."""
    labelled_only = config.dataset == "stl10" and config.method == "supervised"
    return config.n_train or (STL10_LABELLED if labelled_only else SETS[config.dataset][0])


def evaluated_images(config: TrainConfig) -> tuple[int, int]:
    """Images in an evaluation: the labelled training images, and those of the test split."""
    train, test, _ = SETS[config.dataset]
    labelled = STL10_LABELLED if config.dataset == "stl10" else config.n_train or train
    return labelled, test


def number_of_steps(config: TrainConfig) -> int:
    """Number of training steps; 0 for `imagenet100`, which evaluates a network of `imagenet`."""
    if config.dataset == "imagenet100":
        return 0
    return config.epochs * (training_images(config) // config.batch_size)


def number_of_evaluations(config: TrainConfig) -> int:
    """Number of evaluations; the last epoch always has one."""
    if not number_of_steps(config):
        return 1
    before = set(range(1, config.epochs))
    at_first = set(range(1, config.eval_first + 1))
    regular = set(range(config.eval_every, config.epochs, config.eval_every))
    return len(before & (at_first | regular)) + 1


@cache
def footprint(shape: TrainConfig, n_classes: int) -> dict[str, int]:
    """Views of an image, bytes of the finished weights, and bytes of a checkpoint in training."""
    method = build(shape, n_classes)
    weights = sum(v.numel() * v.element_size() for v in method.state_dict().values())
    trained = [p for p in method.parameters() if p.requires_grad]
    optimiser = BYTES_OF_ADAMW * sum(p.numel() * p.element_size() for p in trained)
    views = len(method.view_specs(shape.size))
    return {"views": views, "kept_bytes": weights, "peak_bytes": weights + optimiser}


def measured() -> dict[str, pd.DataFrame]:
    """The measured throughput by kind of device, `cpu` or `cuda`."""
    keys = ["backbone", "stem", "image_size", "method", "proj_dim"]
    files = sorted((project_root() / "reports" / "benchmarks").glob("*_throughput.csv"))
    return {file.name.partition("_")[0]: pd.read_csv(file).set_index(keys) for file in files}


def extra_work(config: TrainConfig) -> float:
    """Operations of a step relative to those with the method's own views, for which it is 1."""
    shape = step_shape(config)
    own = shape.replace(augmentation=None, local_views=None)
    if shape.resolved() == own.resolved():
        return 1.0
    return flops_per_image(shape) / flops_per_image(own)


def projected_seconds(config: TrainConfig, rates: pd.DataFrame) -> float:
    """Seconds of training and evaluation on one device; NaN if no run like it was measured."""
    key = (config.backbone, config.stem, config.size, config.method, config.proj_dim)
    if config.method != "infomax":  # its projector's width does not depend on proj_dim
        key = next((each for each in rates.index if each[:4] == key[:4]), key)
    if key not in rates.index:
        return float("nan")
    rate = rates.loc[key]
    images = number_of_steps(config) * config.batch_size
    training = images / rate["images_per_second"] * extra_work(config)
    evaluated = number_of_evaluations(config) * sum(evaluated_images(config))
    return training + evaluated / rate["evaluated_per_second"]


def estimated_seconds(config: TrainConfig) -> float:
    """Seconds of training and evaluation on one GPU, by its roofline."""
    evaluation = evaluation_seconds(config, *evaluated_images(config))
    steps = number_of_steps(config)
    training = steps * step_seconds(config) if steps else 0.0
    return training + number_of_evaluations(config) * evaluation


@cache
def measured_on() -> str:
    """The GPU whose throughput was measured, for the bill."""
    path = project_root() / "reports" / "benchmarks" / "cuda_throughput.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return f"measured on {record.get('gpu') or 'a GPU'}"


def bill(config: TrainConfig, rates: dict[str, pd.DataFrame]) -> dict:
    """One run's line of the bill: work, bytes, and seconds on one device.

    Args:
        config: the run.
        rates: the measured throughput by kind of device, as `measured` returns it.

    Returns:
        `run`, `images`, `epochs`, `steps`; `views` of an image; `kept_bytes` of the finished
        weights and `peak_bytes` of the checkpoint; projected seconds under the name of each
        kind of device (NaN: not measured) and `recorded` seconds (NaN: no finished run);
        `own_views`, whether the views are those that were measured; `cuda_source`, whether a GPU's
        seconds were measured or estimated.
    """
    steps = number_of_steps(config)
    seconds = {kind: projected_seconds(config, table) for kind, table in rates.items()}
    source = measured_on()
    if math.isnan(seconds.get("cuda", math.nan)):
        seconds["cuda"] = estimated_seconds(config)
        source = ESTIMATED
    record = recorded(config)
    parts = [record.get(name, float("nan")) for name in ("train_seconds", "evaluation_seconds")]
    return {
        "run": config.name,
        "images": training_images(config) if steps else 0,
        "epochs": config.epochs if steps else 0,
        "steps": steps,
        **footprint(step_shape(config), SETS[config.dataset][2]),
        **seconds,
        "cuda_source": source,
        "recorded": sum(parts),
        "own_views": extra_work(config) == 1.0,
    }


def recorded(config: TrainConfig) -> dict:
    """The record of a configuration's finished run, empty if there is none.

    `auto` prefers a run on CUDA to one on the CPU, and one in bfloat16 to one in float32.
    """
    devices = ("cuda", "cpu") if config.device == "auto" else (config.device,)
    precisions = ("bf16", "32") if config.precision == "auto" else (config.precision,)
    for device, precision in product(devices, precisions):
        run = Run(config.replace(device=device, precision=precision).run_dir)
        if run.finished:
            return run.record
    return {}


# --- All runs ---------------------------------------------------------------------------------


def makespan(hours: Iterable[float], devices: int) -> float:
    """Hours until the last run ends; the longest runs start first, on whichever device is free."""
    ends = [0.0] * devices
    for each in sorted(hours, reverse=True):
        ends[ends.index(min(ends))] += each
    return max(ends)


def configurations(files: list[Path]) -> list[TrainConfig]:
    """Every run that the parameter files ask for, once.

    Raises:
        ParameterError: a file cannot be read or asks for no run, or a run is not allowed.
    """
    configs = {}
    for file in files:
        for name, values in runs_of(file).items():
            if values is None:
                reason = "cannot be read as a parameter file, or asks for no run"
                raise ParameterError(f"{file} {reason}.")
            configs[name] = TrainConfig(**values)
    return list(configs.values())


def shown(table: pd.DataFrame) -> str:
    """The bill as a table in text, with times in hours and sizes in MB."""
    columns = table[["images", "views", "epochs", "steps"]].copy()
    for kind in KINDS:
        hours = table[kind] / 3600
        text = scaled_mark(table, kind) + hours.map("{:.3g}".format)
        columns[f"{kind} hours"] = text.where(hours.notna(), "not measured")
    columns["cuda hours are"] = table.cuda_source
    hours = (table.recorded / 3600).map("{:.3g}".format)
    columns["recorded hours"] = hours.where(table.recorded.notna(), "")
    columns["MB kept"] = (table.kept_bytes / 1e6).map("{:.0f}".format)
    columns["MB at most"] = (table.peak_bytes / 1e6).map("{:.0f}".format)
    return columns.to_string()


def scaled_mark(table: pd.DataFrame, kind: str) -> pd.Series:
    """`~` where hours are scaled from other views' measurement; a roofline's are of their own."""
    scaled = ~table.own_views
    if kind == "cuda":
        scaled &= table.cuda_source != ESTIMATED
    return scaled.map({True: "~", False: ""})


def sums(table: pd.DataFrame) -> list[str]:
    """Lines on the hours for each kind of device and on the disk for each number of devices."""
    lines = []
    for kind in KINDS:
        known = table[kind].dropna() / 3600
        if known.empty:
            cure = "`python throughput.py` in benchmarks/ measures it"
            lines.append(f"{kind}: not measured; {cure}.")
            continue
        spans = ", ".join(f"{makespan(known, count):.3g} h on {count}" for count in DEVICES)
        missing = len(table) - len(known)
        rest = f"; {missing} runs not measured" if missing else ""
        if kind == "cuda":
            counts = table.cuda_source.value_counts()
            rest = "".join(f"; {count} runs {source}" for source, count in counts.items())
        lines.append(f"{kind}: {known.sum():.3g} device-hours; one device a run: {spans}{rest}")
    kept = table.kept_bytes.sum()
    checkpoints = table.peak_bytes - table.kept_bytes
    for count in DEVICES:
        peak = kept + checkpoints.nlargest(count).sum()
        sizes = f"{kept / 1e9:.2f} GB kept, {peak / 1e9:.2f} GB at most"
        lines.append(f"disk with {count} at a time: {sizes}")
    return lines


def main(files: list[str]) -> None:
    """Print the bill of the files' runs, or of the paper's."""
    paper = sorted((project_root() / "params" / "paper").glob("*.yaml"))
    configs = configurations([Path(file) for file in files] or paper)
    rates = measured()
    lines = [dict.fromkeys(KINDS, float("nan")) | bill(config, rates) for config in configs]
    table = pd.DataFrame(lines).set_index("run")
    print(shown(table))
    print(f"\n{len(table)} runs")
    if any(scaled_mark(table, kind).any() for kind in KINDS):
        print("~ other views than measured: a step's time is scaled by the networks' operations")
    print("\n".join(sums(table)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ParameterError as error:
        sys.exit(str(error))
