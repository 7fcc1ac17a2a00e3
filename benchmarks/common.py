"""What the benchmarks share: rounds in which candidates take turns, a table with ratios, a CSV with
its record."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from infomax_nb.files import atomic_write, project_root
from infomax_nb.train.record import environment


def device() -> str:
    """`cuda` where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def timed(
    candidates: dict[str, Callable[[], object]], rounds: int, ours: str = "ours"
) -> list[dict]:
    """Seconds of each candidate over `rounds` rounds, in turn, after one to warm up.

    One row each: median, half the spread between the quartiles, and the median over rounds of the
    ratio to `ours` (above 1: ours is faster). Ratios are taken within a round, so a slow minute of
    the machine hits both sides.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if device() == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, values in seconds.items():
        quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        ratio = statistics.median(v / o for v, o in zip(values, seconds[ours], strict=True))
        spread = (quartiles[2] - quartiles[0]) / 2
        rows.append(
            {
                "candidate": name,
                "seconds": statistics.median(values),
                "spread": spread,
                "times_ours": ratio,
            }
        )
    return rows


def publish(name: str, rows: list[dict]) -> pd.DataFrame:
    """Print the table, write `reports/benchmarks/<device>_<name>.csv` and the machine's record
    beside it."""
    folder = project_root() / "reports" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    stem = f"{device()}_{name}"
    atomic_write(
        folder / f"{stem}.csv", lambda p: table.to_csv(p, index=False, float_format="%.5g")
    )
    atomic_write(
        folder / f"{stem}.json",
        lambda p: Path(p).write_text(json.dumps(environment(), indent=1) + "\n"),
    )
    print(f"\n{stem}: {environment()['cpu']}, {torch.get_num_threads()} threads")
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}"), flush=True)
    return table
