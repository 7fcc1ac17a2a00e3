"""What is kept under `reports/`: results with their records, and the index page.

`python -m infomax_nb.report` writes `reports/index.html` from the committed results and the executed notebooks.
"""

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
from jinja2 import Template
from matplotlib.figure import Figure

from .config import ParameterError, TrainConfig, project_root
from .train import Run, write_whole

CLAIM = ("linear_top1", "knn_top1")  # the columns of the summary tables


def export_runs(name: str, metrics: pd.DataFrame, figure: Figure, caption: str) -> str:
    """Write `reports/<name>/`: the runs' metrics, configurations and records, a figure and its caption.

    Args:
        name: a folder's name of letters, digits and underscores.
        metrics: what `train.siblings` or `train.collect` returned.
        caption: names data, number of images, epochs, network and seeds.
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
    write_whole(folder / "records.json", lambda p: p.write_text(json.dumps(records, indent=1)))
    write_whole(folder / "figure.png", lambda p: figure.savefig(p, format="png", dpi=110))
    write_whole(folder / "caption.txt", lambda p: p.write_text(caption + "\n"))
    return f"reports/{name} holds {len(runs)} runs"


def summary(metrics: pd.DataFrame, by: str = "kappa") -> pd.DataFrame:
    """Accuracies after the last epoch, mean ± standard deviation over seeds, one row for each value of `by`."""
    last = metrics[metrics.epoch == metrics.epoch.max()].groupby(by)
    mean, sd = last[list(CLAIM)].mean(), last[list(CLAIM)].std()
    table = mean.map("{:.1f}".format) + sd.map(lambda v: "" if pd.isna(v) else f" ± {v:.1f}")
    return table.assign(seeds=last.size()).rename(index="{:g}".format)


def index() -> Path:
    """Write `reports/index.html`; returns its path."""
    reports = project_root() / "reports"
    results = []
    for folder in sorted(p.parent for p in reports.glob("*/caption.txt")):
        metrics = pd.read_csv(folder / "metrics.csv")
        table = summary(metrics).to_html(border=0) if "kappa" in metrics else ""
        records = json.loads((folder / "records.json").read_text())
        made = {
            f"{r['commit'][:10]} on {r['gpu'] or r['cpu']}, {r['threads']} threads, {r['started'][:10]}"
            for r in records
        }
        results.append(
            {"name": folder.name, "caption": (folder / "caption.txt").read_text(), "table": table, "made": sorted(made)}
        )
    notebooks = [_sections(p) for p in sorted((reports / "notebooks").glob("*.ipynb"))]
    page = Template((Path(__file__).parent / "index.html.j2").read_text(), autoescape=False)
    write_whole(
        reports / "index.html", lambda p: p.write_text(page.render(results=results, notebooks=notebooks), "utf-8")
    )
    return reports / "index.html"


def _sections(path: Path) -> dict:
    """Title, introduction and figures, each with the caption that follows it, of an executed notebook."""
    cells = nbformat.read(path, 4).cells
    title = cells[0].source.splitlines()[0].lstrip("# ")
    figures = []
    for cell, after in zip(cells, [*cells[1:], cells[-1]], strict=True):
        for out in cell.get("outputs", []):
            if "image/png" in out.get("data", {}):
                caption = re.match(r"\*([^*]+)\*", after.source if after.cell_type == "markdown" else "")
                figures.append({"png": out["data"]["image/png"], "caption": caption[1] if caption else ""})
    return {"title": title, "file": f"notebooks/{path.stem}.html", "figures": figures}


if __name__ == "__main__":
    print(index())
