"""`python -m pipeline.plan [FILE ...]`: what runs cost before they start, those of the paper unless
files are named.

Images x views x epochs, device-hours and disk, from the throughput that `benchmarks/throughput.py`
measured for the same network, size and method on each kind of device
(`reports/benchmarks/*_throughput.csv`). What has no measurement says so. Beside it stands the
recorded time of a run that is finished.
"""

import os
import sys
from functools import lru_cache
from itertools import product
from pathlib import Path

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root
from infomax_nb.methods import build
from infomax_nb.train.run import Run
from pipeline.sweep import runs_of

# Images that a run trains on, is evaluated on (training and test), and classes, where a file
# doesn't say less. STL-10: 5,000 labelled and 100,000 other images; Supervised has the labelled
# ones alone. LC25000 is divided 80/20.
SETS = {
    "glyphs": (4800, 2400, 48),
    "glyphs_textured": (4800, 2400, 48),
    "fashion_mnist": (60_000, 10_000, 10),
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
    "stl10": (105_000, 8_000, 10),
    "tiny_imagenet": (100_000, 10_000, 200),
    "lc25000": (20_000, 5_000, 5),
    "lc25000_groups": (20_000, 5_000, 5),
    "imagenet": (1_281_167, 50_000, 1000),
    "imagenet100": (126_689, 5_000, 100),
}
GATHERED = {
    "infomax": None,
    "simclr": 128,
    "vicreg": 2048,
    "barlow_twins": 2048,
}  # width; None is the projector's
DEVICES = (1, 8, 64)


def measured() -> dict[str, pd.DataFrame]:
    """Throughput by kind of device: `cpu`, `cuda`."""
    keys = ["backbone", "stem", "image_size", "method", "proj_dim"]
    files = sorted((project_root() / "reports" / "benchmarks").glob("*_throughput.csv"))
    return {file.name.partition("_")[0]: pd.read_csv(file).set_index(keys) for file in files}


@lru_cache
def numbers(
    method: str, backbone: str, stem: str, size: int, width: int, classes: int
) -> tuple[int, int, int]:
    """Views of an image, bytes of the finished weights, bytes of the checkpoint (AdamW keeps two
    numbers a weight)."""
    config = TrainConfig(
        method=method, backbone=backbone, stem=stem, image_size=size, proj_dim=width
    )
    made = build(config, classes)
    weights = sum(v.numel() * v.element_size() for v in made.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in made.parameters() if p.requires_grad)
    return len(made.view_specs(size)), weights, weights + 2 * trained


def bill(config: TrainConfig, rates: dict[str, pd.DataFrame]) -> dict:
    """One run's line: what it computes, seconds on one device of each kind (NaN: not measured),
    bytes."""
    n, tested, classes = SETS[config.dataset]
    labelled = 5_000 if config.dataset == "stl10" else config.n_train or n
    n = config.n_train or (
        5_000 if (config.dataset, config.method) == ("stl10", "supervised") else n
    )
    views, kept, peak = numbers(
        config.method, config.backbone, config.stem, config.size, config.proj_dim, classes
    )
    steps = 0 if config.dataset == "imagenet100" else config.epochs * (n // config.batch_size)
    usual = [
        epoch
        for epoch in range(1, config.epochs)
        if epoch <= config.eval_first or epoch % config.eval_every == 0
    ]
    evaluations = 1 if steps == 0 else 1 + len(usual)
    width = GATHERED.get(config.method, 0)
    rows = 4 * views * config.batch_size * (config.proj_dim if width is None else width)
    line = {
        "run": config.name,
        "images": n if steps else 0,
        "views": views,
        "epochs": config.epochs if steps else 0,
    }
    line |= {"steps": steps, "kept_bytes": kept, "peak_bytes": peak}
    # A ring: all-gather forward, all-reduce of its gradient backward, (d - 1) / d of the rows once
    # and twice.
    line |= {f"gathered_{d}": round(3 * rows * (d - 1) / d) for d in DEVICES}
    for kind, table in rates.items():
        key = (config.backbone, config.stem, config.size, config.method, config.proj_dim)
        if config.method != "infomax":  # no projector of that width: measured once
            key = next((k for k in table.index if k[:4] == key[:4]), key)
        if key in table.index:
            rate = table.loc[key]
            train = steps * config.batch_size / rate["images_per_second"]
            line[kind] = train + evaluations * (labelled + tested) / rate["evaluated_per_second"]
    record = recorded(config)
    line["recorded"] = record.get("train_seconds", float("nan")) + record.get(
        "evaluation_seconds", float("nan")
    )
    return line


def recorded(config: TrainConfig) -> dict:
    """The record of the finished run of a configuration, {} if there is none; `auto` is CUDA's
    before the CPU's."""
    devices = ("cuda", "cpu") if config.device == "auto" else (config.device,)
    precisions = ("bf16", "32") if config.precision == "auto" else (config.precision,)
    for device, precision in product(devices, precisions):
        run = Run(config.replace(device=device, precision=precision).run_dir)
        if run.finished:
            return run.record
    return {}


def makespan(hours: list[float], devices: int) -> float:
    """Hours until the last run ends when each takes the device that is free first, longest
    first."""
    ends = [0.0] * devices
    for each in sorted(hours, reverse=True):
        ends[ends.index(min(ends))] += each
    return max(ends)


def main(files: list[str]) -> None:
    """Print the bill."""
    paths = [Path(f) for f in files] or sorted((project_root() / "params" / "paper").glob("*.yaml"))
    configs = {}
    for path in paths:
        for name, values in runs_of(path).items():
            if values is None:
                raise ParameterError(
                    f"{path} cannot be read as a parameter file, or asks for no run."
                )
            configs[name] = TrainConfig(**values)
    rates = measured()
    table = pd.DataFrame([bill(config, rates) for config in configs.values()]).set_index("run")
    shown = table[["images", "views", "epochs", "steps"]].copy()
    for kind in ("cpu", "cuda"):
        seconds = table[kind] if kind in table else pd.Series(float("nan"), table.index)
        shown[f"{kind} hours"] = (
            (seconds / 3600).map("{:.3g}".format).where(seconds.notna(), "not measured")
        )
    shown["recorded hours"] = (
        (table.recorded / 3600).map("{:.3g}".format).where(table.recorded.notna(), "")
    )
    shown["MB kept"] = (table.kept_bytes / 1e6).map("{:.0f}".format)
    shown["MB at most"] = (table.peak_bytes / 1e6).map("{:.0f}".format)
    for d in DEVICES[1:]:
        shown[f"MB/step, {d}"] = (table[f"gathered_{d}"] / 1e6).map("{:.1f}".format)
    print(shown.to_string())
    print(
        f"\n{len(table)} runs; MB/step: what a device receives for the gathered loss, forward and backward."
    )
    for kind in ("cpu", "cuda"):
        known = table[kind].dropna() / 3600 if kind in table else pd.Series(dtype=float)
        if known.empty:
            print(
                f"{kind}: not measured; `python throughput.py` in benchmarks/ measures it where there is one."
            )
            continue
        spans = ", ".join(f"{makespan(list(known), d):.3g} h on {d}" for d in DEVICES)
        left = f"; {len(table) - len(known)} runs not measured" if len(known) < len(table) else ""
        print(f"{kind}: {known.sum():.3g} device-hours; one device a run: {spans}{left}")
    for d in DEVICES:
        peak = table.kept_bytes.sum() + (table.peak_bytes - table.kept_bytes).nlargest(d).sum()
        print(
            f"disk with {d} at a time: {table.kept_bytes.sum() / 1e9:.2f} GB kept, {peak / 1e9:.2f} GB at most"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ParameterError as error:
        sys.exit(str(error))
