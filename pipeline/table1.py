"""`python -m pipeline.table1 CIFAR-10 out.csv`: rows of the paper's Table 1 and what was measured
of them.

`-p NAME VALUE` changes every configuration, as papermill does; the runs' records are written beside
the table.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import yaml

from infomax_nb.config import TrainConfig
from infomax_nb.files import atomic_write, project_root
from infomax_nb.report import CLAIM
from infomax_nb.train.run import Run, siblings


def measured(config: TrainConfig) -> pd.DataFrame:
    """Metrics of the finished runs that differ from `config` in the seed alone, all on one device,
    in one precision.

    `auto` stands for what a run used, wherever it was trained: this machine may have no GPU. Where
    there are runs of several kinds these are never mixed; it is CUDA's, bfloat16's before others,
    as `auto` would have it.
    """
    free = [name for name in ("device", "precision") if getattr(config, name) == "auto"]
    found = siblings(config, "seed", *free)
    for name, first in (("device", "cuda"), ("precision", "bf16")):
        if name in free and name in found and (found[name] == first).any():
            found = found[found[name] == first]
    return found


def table1(**changes) -> pd.DataFrame:
    """The paper's Table 1 and what was measured of it: a row for each of the 25, NaN where a run is
    missing.

    `changes` alter every configuration, for example `runs_dir="runs"`, `epochs=1`. Columns: the
    paper's, and `measured_linear_top1`, ..., `seeds` (the number of finished runs that differ in
    the seed alone), and the `device` and `precision` that these used.
    """
    paper = pd.read_csv(project_root() / "reports" / "paper_table1.csv")
    rows = []
    for file in paper.params:
        found = measured(
            TrainConfig.from_yaml(project_root() / "params" / "paper" / f"{file}.yaml", **changes)
        )
        last = (
            found[found.epoch == found.epoch.max()] if len(found) else pd.DataFrame(columns=CLAIM)
        )
        scores = (
            last[[c for c in paper if "_top" in c and c in last]].mean().add_prefix("measured_")
        )
        used = {
            name: last[name].iloc[0] if name in last and len(last) else None
            for name in ("device", "precision")
        }
        rows.append({**scores, "seeds": len(last), **used})
    return pd.concat([paper, pd.DataFrame(rows)], axis=1)


def records(configs: list[TrainConfig]) -> list[dict]:
    """The record of a finished run of each configuration, that of its own seed if there is one; {}
    without a run."""
    made = []
    for config in configs:
        found = measured(config)
        own = found[found.seed == config.seed] if len(found) else found
        runs = (own if len(own) else found).get("run", pd.Series(dtype=object)).unique()
        made.append(Run(config.run_dir.parent / runs[0]).record if len(runs) else {})
    return made


def main() -> None:
    """Write and print the table of one data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="as the table names it")
    parser.add_argument("out", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    arguments = parser.parse_args()
    changes = {name: yaml.safe_load(value) for name, value in arguments.p}
    table = table1(**changes)
    own = (
        "data_root",
        "device",
        "precision",
        "runs_dir",
    )  # where; and what the table says of each row
    what = {name: value for name, value in changes.items() if name not in own}
    table = table[table.dataset == arguments.dataset].assign(**what)
    files = [project_root() / "params" / "paper" / f"{file}.yaml" for file in table.params]
    used = records([TrainConfig.from_yaml(file, **changes) for file in files])
    atomic_write(arguments.out, lambda p: table.to_csv(p, index=False, float_format="%.5g"))
    atomic_write(
        arguments.out.with_suffix(".json"), lambda p: p.write_text(json.dumps(used, indent=1))
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
