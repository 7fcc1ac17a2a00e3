"""`python -m pipeline.index` writes `reports/index.html`: committed results, executed notebooks."""

import json
import re
from pathlib import Path

import nbformat
from jinja2 import Template

from infomax_nb.files import atomic_write, project_root
from infomax_nb.report import committed
from pipeline.copies import data_note


def index() -> Path:
    """Write `reports/index.html`; returns its path."""
    path = project_root() / "reports" / "index.html"
    text = page()
    atomic_write(path, lambda p: p.write_text(text, "utf-8"))
    return path


def page() -> str:
    """The page, HTML."""
    reports = project_root() / "reports"
    folders = sorted(path.parent for path in reports.glob("*/caption.txt"))
    notebooks = sorted((reports / "notebooks").glob("*.ipynb"))
    template = Template((Path(__file__).parent / "index.html.j2").read_text(), autoescape=False)
    results = [_result(folder) for folder in folders]
    return template.render(results=results, notebooks=[_notebook(path) for path in notebooks])


def _result(folder: Path) -> dict:
    """What the page shows about a committed result."""
    records = json.loads((folder / "records.json").read_text())
    metrics = (folder / "metrics.csv").exists()
    return {
        "name": folder.name,
        "caption": (folder / "caption.txt").read_text(),
        "table": committed(folder.name).to_html(border=0, na_rep=""),
        "made": sorted({_origin(record) for record in records}),
        "csv": "metrics.csv" if metrics else "table.csv",
        "images": data_note(records),
        "runs": not (folder / "table.csv").exists(),
    }


def _origin(record: dict) -> str:
    """A line on where a run's numbers come from."""
    machine = f"{record['gpu'] or record['cpu']}, {record['threads']} threads"
    return f"{record['commit'][:10]} on {machine}, {record.get('started', '')[:10]}"


def _notebook(path: Path) -> dict:
    """What the page shows about an executed notebook."""
    cells = nbformat.read(path, 4).cells
    return {
        "title": cells[0].source.splitlines()[0].lstrip("# "),
        "file": f"notebooks/{path.stem}.html",
        "figures": _figures(cells),
        "ran": _parameters(cells),
    }


def _parameters(cells: list) -> str:
    """What was run, in words, from the cells with parameters."""
    values: dict = {}
    for cell in cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, values)  # assignments of literals
    if "dataset" not in values:
        return ""
    seeds = ", ".join(map(str, values.get("seeds") or [values["seed"]]))
    images = f"{values['n_train'] or 'all'} training images"
    run = f"{values['dataset']}, {images}, {values['epochs']} epochs, {values['backbone']}"
    return f"{run}, seed {seeds}, unless the figure says otherwise"


def _figures(cells: list) -> list[dict]:
    """The pictures, each with the caption in the text that follows its cell."""
    figures = []
    for cell, after in zip(cells, [*cells[1:], cells[-1]], strict=True):
        text = after.source if after.cell_type == "markdown" else ""
        caption = re.match(r"\*([^*]+)\*", text)
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture is not None:
                figures.append({"png": picture, "caption": caption[1] if caption else ""})
    return figures


if __name__ == "__main__":
    print(index())
