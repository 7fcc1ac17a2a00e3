"""`python -m pipeline.index` writes `reports/index.html` from the committed results and the
executed notebooks."""

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
    results = []
    for folder in sorted(p.parent for p in reports.glob("*/caption.txt")):
        table = committed(folder.name).to_html(border=0, na_rep="")
        records = json.loads((folder / "records.json").read_text())
        made = {
            f"{r['commit'][:10]} on {r['gpu'] or r['cpu']}, {r['threads']} threads, {r.get('started', '')[:10]}"
            for r in records
        }
        csv = "metrics.csv" if (folder / "metrics.csv").exists() else "table.csv"
        caption = (folder / "caption.txt").read_text()
        one = {
            "name": folder.name,
            "caption": caption,
            "table": table,
            "made": sorted(made),
            "csv": csv,
        }
        one["images"] = data_note(records)
        results.append(one | {"runs": not (folder / "table.csv").exists()})
    notebooks = [_sections(p) for p in sorted((reports / "notebooks").glob("*.ipynb"))]
    template = Template((Path(__file__).parent / "index.html.j2").read_text(), autoescape=False)
    return template.render(results=results, notebooks=notebooks)


def _sections(path: Path) -> dict:
    """Title, what was run, and figures, each with the caption that follows it, of an executed
    notebook."""
    cells = nbformat.read(path, 4).cells
    title = cells[0].source.splitlines()[0].lstrip("# ")
    values: dict = {}
    for cell in cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, values)  # assignments of literals
    ran = ""
    if "dataset" in values:
        seeds = ", ".join(map(str, values.get("seeds") or [values["seed"]]))
        ran = f"{values['dataset']}, {values['n_train'] or 'all'} training images, {values['epochs']} epochs, "
        ran += f"{values['backbone']}, seed {seeds}, unless the figure says otherwise"
    figures = []
    for cell, after in zip(cells, [*cells[1:], cells[-1]], strict=True):
        for out in cell.get("outputs", []):
            if "image/png" in out.get("data", {}):
                caption = re.match(
                    r"\*([^*]+)\*", after.source if after.cell_type == "markdown" else ""
                )
                figures.append(
                    {"png": out["data"]["image/png"], "caption": caption[1] if caption else ""}
                )
    return {"title": title, "file": f"notebooks/{path.stem}.html", "figures": figures, "ran": ran}


if __name__ == "__main__":
    print(index())
