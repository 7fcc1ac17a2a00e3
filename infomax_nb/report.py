"""What is kept under `reports/`: results with their records, and the tables made from them."""

import json
import re

import pandas as pd
from matplotlib.figure import Figure

from .config import ParameterError, TrainConfig, project_root
from .train import Run, siblings, write_whole

CLAIM = ("linear_top1", "knn_top1")  # the columns of the summary tables


def export_runs(
    name: str, metrics: pd.DataFrame, figure: Figure, caption: str, baselines: pd.DataFrame | None = None
) -> str:
    """Write `reports/<name>/`: the runs' metrics, configurations and records, a figure and its caption.

    Args:
        name: a folder's name of letters, digits and underscores.
        metrics: what `train.siblings` or `train.collect` returned.
        caption: names data, number of images, epochs, network and seeds.
        baselines: accuracies of what did not train, a row each.
    """
    if not re.fullmatch(r"\w+", str(name)):
        raise ParameterError(
            f"export = {name!r} is not allowed: it must be a folder's name of letters, digits and '_'."
        )
    folder = project_root() / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    constant = [
        c for c in TrainConfig.model_fields if metrics[c].nunique(dropna=False) == 1 or c in ("data_root", "runs_dir")
    ]
    runs = [Run(project_root() / metrics.runs_dir.iloc[0] / run) for run in metrics.run.unique()]
    records = [{"config": run.config.identity(), **run.record} for run in runs]
    write_whole(
        folder / "metrics.csv", lambda p: metrics.drop(columns=constant).to_csv(p, index=False, float_format="%.6g")
    )
    if baselines is not None:
        write_whole(folder / "baselines.csv", lambda p: baselines.to_csv(p, float_format="%.6g"))
    write_whole(folder / "records.json", lambda p: p.write_text(json.dumps(records, indent=1)))
    write_whole(folder / "figure.png", lambda p: figure.savefig(p, format="png", dpi=110))
    write_whole(folder / "caption.txt", lambda p: p.write_text(caption + "\n"))
    return f"reports/{name} holds {len(runs)} runs"


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """Accuracies after the last epoch, mean ± standard deviation over seeds, a row for each method, κ and rate."""
    by = [c for c in ("method", "kappa", "lr") if c in metrics and metrics[c].nunique() > 1] or ["run"]
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby(by, sort="method" not in by)
    mean, sd = last[list(CLAIM)].mean(), last[list(CLAIM)].std()
    table = mean.map("{:.1f}".format) + sd.map(lambda v: "" if pd.isna(v) else f" ± {v:.1f}")
    return table.assign(seeds=last.size().astype(str)).rename(index=lambda v: f"{v:g}" if isinstance(v, float) else v)


def committed(name: str) -> pd.DataFrame:
    """The summary of `reports/<name>`, its baselines (networks that did not train) below."""
    folder = project_root() / "reports" / name
    table, baselines = summary(pd.read_csv(folder / "metrics.csv")), folder / "baselines.csv"
    if baselines.exists():
        table = pd.concat([table, pd.read_csv(baselines, index_col=0)[list(CLAIM)].map("{:.1f}".format)])
    table.index = [", ".join(i) if isinstance(i, tuple) else i for i in table.index]
    return table.replace("nan", "").fillna("")


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
