"""What is kept under `reports/`: results with their records, and the tables made from them."""

import json
import re
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.files import atomic_write, project_root, runs_folder
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run

CLAIM = ("linear_top1", "knn_top1")
FORMATS = {
    "linear_top1": "{:.1f}",
    "knn_top1": "{:.1f}",
    "mi_held_out": "{:.2f}",
}  # columns of the summary tables


def export_runs(
    name: str, metrics: pd.DataFrame, figure: Figure, caption: str, baselines=None
) -> str:
    """Write `reports/<name>/`: the runs' metrics, configurations and records, a figure and its
    caption.

    Args:
        name: a folder's name of letters, digits and underscores.
        metrics: what `train.siblings` or `train.collect` returned.
        caption: names data, number of images, epochs, network and seeds.
        baselines: accuracies of what did not train, a table with a row for each.
    """
    fixed = [c for c in TrainConfig.model_fields if metrics[c].nunique(dropna=False) == 1] + [
        "data_root",
        "runs_dir",
    ]
    runs = [Run(runs_folder(metrics.runs_dir.iloc[0]) / run) for run in metrics.run.unique()]
    tables = {"metrics": metrics.drop(columns=fixed).set_index("epoch"), "baselines": baselines}
    return export_tables(name, tables, figure, caption, runs)


def export_tables(name: str, tables: dict, figure: Figure, caption: str, sources: list[Run]) -> str:
    """Write `reports/<name>/`: each of the tables as `<its name>.csv`, a figure, its caption, and
    `records.json`.

    Args:
        name: a folder's name of letters, digits and underscores.
        tables: with their index; one called `table` is what the report page shows.
        caption: names data, number of images, epochs, network and seeds.
        sources: the runs that the tables were computed from.
    """
    if not re.fullmatch(r"\w+", str(name)):
        raise ParameterError(
            f"export = {name!r} is not allowed: it must be a name of letters, digits and '_'."
        )
    folder = project_root() / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    for part, table in tables.items():
        if table is not None:
            atomic_write(folder / f"{part}.csv", partial(table.to_csv, float_format="%.6g"))
    records = [
        {"config": run.config.identity(), "data": "unknown", **run.record} for run in sources
    ]
    records = records or [environment()]
    atomic_write(folder / "records.json", lambda p: p.write_text(json.dumps(records, indent=1)))
    atomic_write(folder / "figure.png", lambda p: figure.savefig(p, format="png", dpi=110))
    atomic_write(folder / "caption.txt", lambda p: p.write_text(caption + "\n"))
    return f"reports/{name} holds {len(sources)} runs"


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """Accuracies after the last epoch, mean ± standard deviation over seeds, a row for each of what
    else differs."""
    by = [
        c
        for c in ("method", "kappa", "beta", "proj_dim", "lr")
        if c in metrics and metrics[c].nunique() > 1
    ]
    by = by or ["run"]
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby(by, sort="method" not in by)
    measured = last[[c for c in FORMATS if c in metrics]]
    mean = measured.mean()
    sd = measured.std()
    table = mean.apply(lambda c: c.map(FORMATS[c.name].format))
    table += sd.apply(lambda c: c.map((" ± " + FORMATS[c.name]).format).where(c.notna(), ""))
    return table.assign(seeds=last.size().astype(str)).rename(
        index=lambda v: f"{v:g}" if isinstance(v, float) else v
    )


def committed(name: str) -> pd.DataFrame:
    """What `reports/<name>` shows: its `table.csv`, or the summary of its runs, baselines (did not
    train) below."""
    folder = project_root() / "reports" / name
    if (folder / "table.csv").exists():
        return pd.read_csv(folder / "table.csv", index_col=0)
    table = summary(pd.read_csv(folder / "metrics.csv"))
    baselines = folder / "baselines.csv"
    if baselines.exists():
        table = pd.concat(
            [table, pd.read_csv(baselines, index_col=0)[list(CLAIM)].map("{:.1f}".format)]
        )
    table.index = [", ".join(i) if isinstance(i, tuple) else i for i in table.index]
    return table.replace("nan", "").fillna("")
