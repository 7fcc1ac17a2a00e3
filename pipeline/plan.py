"""`python -m pipeline.plan [FILE ...]`: what runs will cost, before they start.

Without files these are the paper's runs, by table and figure. The bill lists images, views, steps,
times and disk. Times come from the throughput that was measured for the same network, image size
and method (`reports/benchmarks/*_throughput.csv`: on the CPU by `make bench`, on a GPU by
`make gpu`). Where there is no measurement, the bill says so. A GPU's time is then estimated from a
roofline (`pipeline/roofline.py`), which a sign says of each number.

Throughput was measured with each method's own views. For other views the measured time of a
step is multiplied by the ratio of the networks' floating-point operations, and `~` marks the time.
That ignores the cost of drawing the views. Batch size, precision, stopping and starting are always
ignored. The recorded time of a finished run is shown beside the projected one.
"""

import argparse
import json
import math
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.data import glyphs
from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.files import atomic_write, project_root
from infomax_nb.methods import build
from infomax_nb.train.budget import steps
from infomax_nb.train.run import Run
from infomax_nb.views.recipes import LIKE_OURS
from pipeline.bill import KINDS, called, legend, paper_parts, shown, sums
from pipeline.command import check_folder_of, in_a_sentence, until_read
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
BYTES_OF_ADAMW = 2  # times a trained weight's bytes: it keeps two numbers for each


# --- One run ----------------------------------------------------------------------------------


def images_and_classes(config: TrainConfig) -> tuple[int, int, int]:
    """All training images, test images and classes of a run's data set.

    Raises:
        ParameterError: it is a folder, whose images nobody has counted yet.
    """
    if config.dataset not in SETS:
        allowed = "a data set whose number of images is known before it is read"
        raise not_allowed("dataset", config.dataset, allowed)
    train, test, classes = SETS[config.dataset]
    if not config.dataset.startswith("glyphs"):
        return train, test, classes
    drawn = config.n_classes
    return glyphs.PER_CLASS["train"] * drawn, glyphs.PER_CLASS["test"] * drawn, drawn


def training_images(config: TrainConfig) -> int:
    """Images in an epoch. Supervised training uses only the labelled ones."""
    labelled_only = config.dataset == "stl10" and config.method == "supervised"
    every = STL10_LABELLED if labelled_only else images_and_classes(config)[0]
    return config.n_train or every


def evaluated_images(config: TrainConfig) -> tuple[int, int]:
    """Images in an evaluation: the labelled training images, and those of the test split."""
    train, test, _ = images_and_classes(config)
    labelled = STL10_LABELLED if config.dataset == "stl10" else config.n_train or train
    return labelled, test


def number_of_steps(config: TrainConfig) -> int:
    """Number of training steps; 0 for `imagenet100`, which evaluates a network of `imagenet`."""
    if config.dataset == "imagenet100":
        return 0
    return steps(config, training_images(config))


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
    if config.method not in LIKE_OURS:  # its projector's width does not depend on proj_dim
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
        **footprint(step_shape(config), images_and_classes(config)[2]),
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


def printed(parts: dict[str, list[Path]], csv: Path | None = None) -> None:
    """Print the bill of the runs of parameter files.

    Args:
        parts: the files, by what their runs are for.
        csv: a file that gets the same, with the names of the runs' folders, in seconds and bytes.
    """
    rates = measured()
    tables = []
    for part, files in parts.items():
        configs = configurations(files)
        if part.startswith("Figure"):
            configs.sort(key=lambda config: (config.kappa, config.beta, config.proj_dim))
        if not configs:
            print(f"\n{part}: its runs are above")
            continue
        lines = [dict.fromkeys(KINDS, float("nan")) | bill(config, rates) for config in configs]
        table = pd.DataFrame(lines).assign(part=part, called=called(configs))
        print(f"\n{part}\n{shown(table)}")
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True).drop_duplicates("run")
    print(f"\nIn total {len(whole)} runs", *sums(whole), "", *legend(whole), sep="\n")
    if csv:
        atomic_write(csv, lambda part: whole.to_csv(part, index=False))


def main() -> None:
    """Print the bill of the files' runs, or of the paper's."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.plan", description=main.__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="parameter files")
    parser.add_argument("--csv", type=Path, help="a file for the same, with the runs' folders")
    given = parser.parse_args()
    paper = paper_parts(project_root() / "params" / "paper")
    with in_a_sentence():
        if given.csv:
            check_folder_of("CSV", given.csv)
        printed({str(file): [file] for file in given.files} or paper, given.csv)


if __name__ == "__main__":
    until_read(main)
