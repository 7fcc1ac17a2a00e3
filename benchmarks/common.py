"""What the benchmarks share: rounds in which candidates take turns, and a table with its record."""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.files import atomic_write, project_root
from infomax_nb.train.record import environment

# `make gpu` says where tables go, and whether it only tries whether all works.
BENCHMARKS = Path(os.environ.get("INFOMAX_BENCHMARKS") or project_root() / "reports" / "benchmarks")
TRIAL = bool(os.environ.get("INFOMAX_TRIAL"))


def device() -> str:
    """`cuda` where there is one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def used() -> TrainConfig:
    """A configuration that has the device and the precision in which networks are timed."""
    return TrainConfig(device=device(), precision="bf16" if device() == "cuda" else "32")


def timed(
    candidates: dict[str, Callable[[], object]], rounds: int, ours: str = "ours"
) -> list[dict]:
    """Seconds of each candidate over rounds in which all take turns, after one to warm up.

    Ratios are taken within a round, so a slow minute of the machine hits both sides.

    Args:
        candidates: what is timed, by name.
        rounds: how often.
        ours: the candidate that others are compared with.

    Returns:
        A row for each candidate: the median in `seconds`, half the `spread` between the quartiles,
        and `times_ours`, the median over rounds of the ratio to ours (above 1: ours is faster).
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if device() == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, values in seconds.items():
        times = {"seconds": statistics.median(values), "spread": half_spread(values)}
        ratio = median_ratio(values, seconds[ours])
        rows.append({"candidate": name, **times, "times_ours": ratio})
    return rows


def half_spread(values: Sequence[float]) -> float:
    """Half the spread between the quartiles; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / 2


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """The median over rounds of the ratio of two values in a round."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def publish(name: str, rows: list[dict]) -> pd.DataFrame:
    """Print a table, and write it with the machine's record.

    The files are `reports/benchmarks/<device>_<name>.csv` and `.json`.
    """
    table = pd.DataFrame(rows)
    stem = f"{device()}_{name}"
    record = environment(used())
    text = json.dumps(record, indent=1) + "\n"

    def write_table(path: Path) -> None:
        table.to_csv(path, index=False, float_format="%.5g")

    BENCHMARKS.mkdir(parents=True, exist_ok=True)
    atomic_write(BENCHMARKS / f"{stem}.csv", write_table)
    atomic_write(BENCHMARKS / f"{stem}.json", lambda path: path.write_text(text, encoding="utf-8"))
    where = record["gpu"] or f"{record['cpu']}, {torch.get_num_threads()} threads"
    print(f"\n{stem}: {where}")
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}"), flush=True)
    return table
