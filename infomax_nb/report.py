"""What is kept under `reports/`: results with their records, and the tables made from them."""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.errors import not_allowed
from infomax_nb.files import atomic_write, project_root, runs_folder
from infomax_nb.plots import save
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run

TOP1_COLUMNS = ("linear_top1", "knn_top1")
EXPORTED = {"figure.png", "caption.txt", "records.json"}  # beside tables
# Columns of the summary tables
FORMATS = {"linear_top1": "{:.1f}", "knn_top1": "{:.1f}", "mi_held_out": "{:.2f}"}


def run_label(
    config: TrainConfig, images: str = "", stem: bool = False, seeds: Iterable[int] = ()
) -> str:
    """A title for figures and tables that says what was trained on which data.

    Args:
        config: the run.
        images: the training images in words; by default their number, `n_train`.
        stem: whether to name the stem.
        seeds: the seeds of all runs; each is named once.

    >>> run_label(TrainConfig(n_train=2400), seeds=[1, 0, 1])
    'glyphs, 2400 training images, 8 epochs, resnet_small; seeds 0, 1'
    """
    images = images or f"{config.n_train or 'all'} training images"
    label = f"{config.dataset}, {images}, {config.epochs} epochs, {config.backbone}"
    if stem:
        label += f", {config.stem} stem"
    which = [str(seed) for seed in sorted(set(seeds))]
    if which:
        label += f"; {'seed' if len(which) == 1 else 'seeds'} {', '.join(which)}"
    return label


def export_runs(
    name: str, metrics: pd.DataFrame, figure: Figure, caption: str, baselines=None
) -> str:
    """Write `reports/<name>/`: runs' metrics, configurations and records, a figure, its caption.

    Args:
        name: the folder's name: letters, digits and underscores.
        metrics: what `train.siblings` or `train.collect` returned.
        figure: the figure to save.
        caption: a text that names data, number of images, epochs, network and seeds.
        baselines: accuracies of what was not trained, a table with one row for each.

    Returns:
        What was written where, as a sentence.

    Raises:
        ParameterError: `name` is not allowed.
    """
    places = ["data_root", "runs_dir"]
    fields = list(TrainConfig.model_fields)
    fixed = [column for column in fields if metrics[column].nunique(dropna=False) == 1]
    folder = runs_folder(metrics.runs_dir.iloc[0])
    runs = [Run(folder / run) for run in metrics.run.unique()]
    varied = metrics.drop(columns=fixed + places).set_index("epoch")
    tables = {"metrics": varied, "baselines": baselines}
    return export_tables(name, tables, figure, caption, runs)


def export_tables(
    name: str,
    tables: dict[str, pd.DataFrame | None],
    figure: Figure,
    caption: str,
    sources: list[Run],
    reports: Path | None = None,
) -> str:
    """Write `reports/<name>/`: tables as `<name>.csv`, a figure, its caption, `records.json`.

    Tables and records of an earlier export go first, and the records come last: a folder without
    them was not written to its end.

    Args:
        name: the folder's name: letters, digits and underscores.
        tables: by name, saved with their index. The site shows the one called `table`.
        figure: the figure to save.
        caption: a text that names data, number of images, epochs, network and seeds.
        sources: the runs that the tables were computed from.
        reports: the folder of all results; None means the project's.

    Returns:
        What was written where, as a sentence.

    Raises:
        ParameterError: `name` is not allowed, or its folder holds what no export wrote.
        RunError: the disk is full.
    """
    if not re.fullmatch(r"\w+", str(name)):
        raise not_allowed("export", name, "a name of letters, digits and '_'")
    records = [
        {"config": run.config.identity(), "data": "unknown", **run.record} for run in sources
    ]
    text = json.dumps(records or [environment()], indent=1)
    folder = (reports or project_root() / "reports") / name
    folder.mkdir(parents=True, exist_ok=True)
    _clear(name, folder)
    atomic_write(folder / "caption.txt", lambda part: part.write_text(caption + "\n", "utf-8"))
    for part, table in tables.items():
        if table is not None:
            atomic_write(folder / f"{part}.csv", partial(table.to_csv, float_format="%.6g"))
    save(figure, folder / "figure.png")
    atomic_write(folder / "records.json", lambda part: part.write_text(text, encoding="utf-8"))
    return f"reports/{name} holds {len(sources)} runs"


def _clear(name: str, folder: Path) -> None:
    """Remove the tables and records of an earlier export.

    Raises:
        ParameterError: the folder holds anything else, or tables that no export has captioned.
    """
    files = {path.name for path in folder.glob("[!.]*") if path.suffix != ".part"}
    tables = {file for file in files if file.endswith(".csv")}
    others = files - tables - EXPORTED
    if others or (tables and "caption.txt" not in files):
        raise not_allowed("export", name, f"another name: its folder has {min(others or tables)}")
    for file in (*tables, "records.json"):
        (folder / file).unlink(missing_ok=True)


def with_recorded(
    found: pd.DataFrame, config: TrainConfig, name: str, *differing: str
) -> pd.DataFrame:
    """The rows of runs found here, and of those in `reports/<name>` that were not trained here.

    A recorded run counts if it differs from `config` in the named fields alone.

    Args:
        found: what `train.siblings` returned.
        config: the run at hand.
        name: the result's folder. What its runs have in common is not in its `metrics.csv`.
        differing: fields of the configuration.
    """
    folder = project_root() / "reports" / name
    records = json.loads((folder / "records.json").read_bytes())
    configs = {
        record["name"]: TrainConfig(**UNSAID | record["config"]).identity() for record in records
    }
    own = config.identity()
    shared = own.keys() - set(differing)
    beside = {
        run: values
        for run, values in configs.items()
        if all(values.get(field) == own[field] for field in shared) and run not in set(found.run)
    }
    rows = pd.read_csv(folder / "metrics.csv")
    rows = rows[rows.run.isin(beside)]
    if rows.empty:  # which would turn whole numbers into fractions
        return found
    values = pd.DataFrame([beside[run] for run in rows.run], index=rows.index)
    missing = values.columns.difference(rows.columns)
    return pd.concat([found, rows.join(values[missing])], ignore_index=True)


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """Accuracies after the last epoch in percent, mean ± standard deviation over seeds, as text.

    There is one row for each combination of method, kappa, beta, proj_dim and lr that occurs; what
    else differs is averaged with the seeds.
    """
    differing = ("method", "kappa", "beta", "proj_dim", "lr")
    by = [name for name in differing if name in metrics and metrics[name].nunique() > 1] or ["run"]
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby(by, sort="method" not in by)
    table = pd.DataFrame(index=last.size().index)
    for column, form in FORMATS.items():
        if column in metrics:
            mean = last[column].mean().map(form.format)
            deviation = last[column].std()
            table[column] = mean + deviation.map(f" ± {form}".format).where(deviation.notna(), "")
    table["seeds"] = last.size().astype(str)
    return table.rename(index=lambda value: f"{value:g}" if isinstance(value, float) else value)


def committed(name: str, reports: Path | None = None) -> pd.DataFrame:
    """The table of `reports/<name>`: its `table.csv`, or the summary of its runs.

    Baselines, which were not trained, are added below. `reports` is as in `export_tables`.
    """
    folder = (reports or project_root() / "reports") / name
    if (folder / "table.csv").exists():
        return pd.read_csv(folder / "table.csv", index_col=0)
    table = summary(pd.read_csv(folder / "metrics.csv"))
    if (folder / "baselines.csv").exists():
        baselines = pd.read_csv(folder / "baselines.csv", index_col=0)[list(TOP1_COLUMNS)]
        table = pd.concat([table, baselines.map("{:.1f}".format)])
    table.index = [", ".join(key) if isinstance(key, tuple) else key for key in table.index]
    return table.replace("nan", "").fillna("")
