"""A bill in text: runs as people call them, and their time in minutes, hours or days."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.names import NAMES
from infomax_nb.train.progress import duration, title
from infomax_nb.views.recipes import LIKE_OURS
from pipeline.roofline import ESTIMATED
from pipeline.sweep import paper

KINDS = {"cpu": "on a CPU", "cuda": "on a GPU"}
DEVICES = (1, 8, 64)
DATASETS = {**NAMES, "imagenet": "ImageNet", "imagenet100": "ImageNet-100"}
PARTS = {"table1": "Table 1", "figure3": "Figure 3, the projector's width"}
PARTS |= {"figure4": "Figure 4, the bandwidth κ", "figure5": "Figure 5, the weight β"}
PARTS |= {"figure6": "Figure 6, accuracy by epoch", "figure7": "Figure 7, class centroids"}


# --- Names ------------------------------------------------------------------------------------


def paper_parts(folder: Path) -> dict[str, list[Path]]:
    """The parameter files in `params/paper` by the table or figure that shows their runs.

    A file stands under the first part that needs it.
    """
    seen: set[str] = set()
    parts = {}
    for target, name in PARTS.items():
        own = [stem for stem in paper()[target] if stem not in seen]
        seen.update(own)
        parts[name] = [folder / f"{stem}.yaml" for stem in own]
    return parts


def called(configs: list[TrainConfig]) -> list[str]:
    """What people call each of several runs: data set, network, method, and what differs.

    >>> called([TrainConfig(dataset="stl10", kappa=k) for k in (0.1, 1)])[0]
    'STL-10, resnet_small, infomax, κ = 0.1'
    """
    words = []
    for config in configs:
        first = DATASETS.get(config.dataset, config.dataset)
        names = ["backbone", "method", *["kappa"] * (config.method in LIKE_OURS)]
        names += [name for name in _differing(config, configs) if name not in names]
        words.append(f"{first}, {title(config, *names)}")
    return words


def _differing(config: TrainConfig, configs: list[TrainConfig]) -> list[str]:
    """The fields in which a run differs from others of its data set, network and method."""
    alike = ("dataset", "backbone", "method")
    of_kind = [c for c in configs if all(getattr(c, n) == getattr(config, n) for n in alike)]
    fields = [each.model_dump() for each in of_kind]
    return [name for name in fields[0] if len({str(each[name]) for each in fields}) > 1]


# --- Text -------------------------------------------------------------------------------------


def shown(table: pd.DataFrame) -> str:
    """The bill of some runs as a table in text.

    Args:
        table: a row for each run, as `plan.bill` returns it, and `called`.
    """
    columns = pd.DataFrame({"run": table.called})
    columns["images"] = table.images.map("{:,}".format)
    columns["views"] = table.views
    columns["epochs"] = table.epochs
    columns["steps"] = table.steps.map("{:,}".format)
    for kind, heading in KINDS.items():
        times = table[kind].map(lambda seconds: duration(seconds), na_action="ignore")
        columns[heading] = (marks(table, kind) + times).where(table[kind].notna(), "not measured")
    taken = table.recorded.map(lambda seconds: duration(seconds), na_action="ignore")
    if taken.notna().any():
        columns["it took"] = taken.fillna("")
    width = columns["run"].str.len().max()
    columns["run"] = columns["run"].str.ljust(width)
    return columns.rename(columns={"run": "run".ljust(width)}).to_string(index=False)


def marks(table: pd.DataFrame, kind: str) -> pd.Series:
    """`≈` where a time is estimated, `~` where it is scaled from other views' measurement."""
    scaled = (~table.own_views).map({True: "~", False: ""})
    if kind == "cpu":
        return scaled
    return scaled.mask(table.cuda_source == ESTIMATED, "≈")


def legend(table: pd.DataFrame) -> list[str]:
    """What each sign means, of those that the bill has."""
    signs = {sign for kind in KINDS for sign in marks(table, kind)}
    on_gpu = [source for source in table.cuda_source.unique() if source != ESTIMATED]
    lines = ["CPU: two cores, measured (reports/benchmarks/cpu_throughput.csv)."]
    lines += [f"GPU: {source}, where no sign stands." for source in on_gpu]
    if "≈" in signs:
        lines.append(f"≈ {ESTIMATED}, a guess to a factor of two")
    if "~" in signs:
        lines.append("~ other views than measured: scaled by the networks' operations")
    return lines


def sums(table: pd.DataFrame) -> list[str]:
    """Lines on the whole: the time for each kind of device, and the disk."""
    lines = []
    for kind, heading in KINDS.items():
        known = table[kind].dropna()
        if known.empty:
            cure = "`python throughput.py` in benchmarks/ measures it"
            lines.append(f"{heading}: not measured; {cure}")
            continue
        at_once = [f"{duration(makespan(known, count))} on {count}" for count in DEVICES]
        missing = len(table) - len(known)
        rest = f"; {missing} runs not measured" if missing else ""
        lines.append(f"{heading}: {', '.join(at_once)}, one run on each{rest}")
    kept = table.kept_bytes.sum()
    checkpoints = table.peak_bytes - table.kept_bytes
    peak = kept + checkpoints.nlargest(max(DEVICES)).sum()
    with_checkpoints = f"{peak / 1e9:.2f} GB while {max(DEVICES)} are trained"
    return [*lines, f"disk: {kept / 1e9:.2f} GB, {with_checkpoints}"]


def makespan(times: Iterable[float], devices: int) -> float:
    """When the last run ends; the longest runs start first, on whichever device is free."""
    ends = [0.0] * devices
    for each in sorted(times, reverse=True):
        ends[ends.index(min(ends))] += each
    return max(ends)
