"""`python -m workflow.table1 CIFAR-10 out.csv`: rows of the paper's Table 1 and what was measured of them.

`-p NAME VALUE` changes every configuration, as papermill does; the runs' records are written beside the table.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import yaml

from infomax_nb.config import TrainConfig, project_root
from infomax_nb.report import CLAIM
from infomax_nb.train import Run, siblings, write_whole


def table1(**changes) -> pd.DataFrame:
    """The paper's Table 1 and what was measured of it: a row for each of the 25, NaN where a run is missing.

    `changes` alter every configuration, for example `runs_dir="runs"`, `epochs=1`. Columns: the paper's, and
    `measured_linear_top1`, ..., `seeds` (the number of finished runs that differ in the seed alone).
    """
    paper = pd.read_csv(project_root() / "reports" / "paper_table1.csv")
    rows = []
    for file in paper.params:
        found = siblings(TrainConfig.from_yaml(project_root() / "params" / "paper" / f"{file}.yaml", **changes), "seed")
        last = found[found.epoch == found.epoch.max()] if len(found) else pd.DataFrame(columns=CLAIM)
        scores = last[[c for c in paper if "_top" in c and c in last]].mean().add_prefix("measured_")
        rows.append({**scores, "seeds": len(last)})
    return pd.concat([paper, pd.DataFrame(rows)], axis=1)


def main() -> None:
    """Write and print the table of one data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="as the table names it")
    parser.add_argument("out", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    arguments = parser.parse_args()
    changes = {name: yaml.safe_load(value) for name, value in arguments.p}
    table = table1(**changes)
    what = {name: value for name, value in changes.items() if name not in ("data_root", "device", "runs_dir")}
    table = table[table.dataset == arguments.dataset].assign(**what)
    files = [project_root() / "params" / "paper" / f"{file}.yaml" for file in table.params]
    records = [Run(TrainConfig.from_yaml(file, **changes).run_dir).record for file in files]
    write_whole(arguments.out, lambda p: table.to_csv(p, index=False, float_format="%.5g"))
    write_whole(arguments.out.with_suffix(".json"), lambda p: p.write_text(json.dumps(records, indent=1)))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
