"""`python -m pipeline.table1 CIFAR-10 OUT.csv`: rows of the paper's Table 1, with measurements.

`-p NAME VALUE` changes every configuration, as in papermill. The runs' records are written
beside the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.files import atomic_write, project_root
from infomax_nb.report import TOP1_COLUMNS
from infomax_nb.train.run import Run, siblings
from pipeline.command import check_folder_of, in_a_sentence, takes_values, values_of
from pipeline.sweep import table1_rows


def measured(config: TrainConfig) -> pd.DataFrame:
    """Metrics of the finished runs that differ from `config` in the seed alone.

    `auto` stands for whatever a run used where it was trained, for this machine may have no GPU.
    Runs of different devices or precisions are never mixed. CUDA's are preferred, then bfloat16's,
    as with `auto`.
    """
    free = [name for name in ("device", "precision") if getattr(config, name) == "auto"]
    metrics = siblings(config, "seed", *free)
    for name, first_choice in (("device", "cuda"), ("precision", "bf16")):
        if name in free and name in metrics:
            chosen = metrics[metrics[name] == first_choice]
            metrics = chosen if len(chosen) else metrics
    return metrics


def table1(dataset: str | None = None, /, **changes: Any) -> pd.DataFrame:
    """The paper's Table 1 with what was measured for each of its 25 rows, or one data set's.

    Args:
        dataset: as the table names it; None for all.
        changes: fields of every configuration, for example `runs_dir="runs"`, `epochs=1`.

    Returns:
        The paper's columns; `measured_linear_top1` and so on, in percent, NaN where a run is
        missing; `seeds`, the number of finished runs that differ only in the seed; `device` and
        `precision`, which these used.
    """
    paper = pd.read_csv(project_root() / "reports" / "paper_table1.csv")
    if dataset:
        paper = paper[paper.dataset == dataset].reset_index(drop=True)
    accuracies = [column for column in paper if "_top" in column]
    rows = []
    for stem in paper.params:
        metrics = measured(_configuration(stem, changes))
        last = pd.DataFrame(columns=TOP1_COLUMNS)
        if len(metrics):
            last = metrics[metrics.epoch == metrics.epoch.max()]
        known = [column for column in accuracies if column in last]
        row = {**last[known].mean().add_prefix("measured_"), "seeds": len(last)}
        for name in ("device", "precision"):
            row[name] = last[name].iloc[0] if name in last and len(last) else None
        rows.append(row)
    return pd.concat([paper, pd.DataFrame(rows)], axis=1)


def _configuration(stem: str, changes: dict[str, Any]) -> TrainConfig:
    """The configuration of a file in `params/paper/`, changed."""
    return TrainConfig.from_yaml(project_root() / "params" / "paper" / f"{stem}.yaml", **changes)


def records(configs: list[TrainConfig]) -> list[dict]:
    """The record of one finished run of each configuration, with its own seed if there is one.

    A record is empty where there is no run.
    """
    kept: list[dict] = []
    for config in configs:
        metrics = measured(config)
        if metrics.empty:
            kept.append({})
            continue
        own_seed = metrics[metrics.seed == config.seed]
        name = (own_seed if len(own_seed) else metrics).run.iloc[0]
        kept.append(Run(config.run_dir.parent / name).record)
    return kept


def rows_of(dataset: str, /, **changes: Any) -> pd.DataFrame:
    """The table's rows of one data set, with the changes of their configurations as columns.

    Args:
        dataset: as the table names it.
        changes: fields of every configuration, as in `table1`.
    """
    table = table1(dataset, **changes)
    # Places are not shown; device and precision are in each row already.
    unshown = ("data_root", "device", "precision", "runs_dir")
    shown = {name: value for name, value in changes.items() if name not in unshown}
    return table.assign(**shown)


def write_rows(table: pd.DataFrame, out: Path, **changes: Any) -> None:
    """Write and print rows of the table, and the records of their runs beside them."""
    used = json.dumps(records([_configuration(stem, changes) for stem in table.params]), indent=1)
    atomic_write(out, lambda p: table.to_csv(p, index=False, float_format="%.5g"))
    atomic_write(out.with_suffix(".json"), lambda p: p.write_text(used, encoding="utf-8"))
    print(table.to_string(index=False))


def main() -> None:
    """Write and print the table of one data set."""
    datasets = table1_rows().values()
    parser = argparse.ArgumentParser(prog="python -m pipeline.table1", description=__doc__)
    parser.add_argument("dataset", choices=datasets, help="as the table names it")
    parser.add_argument("out", type=Path)
    takes_values(parser)
    given = parser.parse_args()
    with in_a_sentence():
        changes = values_of(given.p)
        check_folder_of("OUT.csv", given.out)
        write_rows(rows_of(given.dataset, **changes), given.out, **changes)


if __name__ == "__main__":
    main()
