"""Find each notebook in its newest form, and give its pictures texts for those who can't see."""

import re
from pathlib import Path

from nbformat import NotebookNode

from infomax_nb.files import project_root

STORED = project_root() / "notebooks"
EXECUTED = project_root() / "reports" / "notebooks"
CAPTION = re.compile(r"\s*\*([^*]+)\*")  # a text in italics below a picture
OF_MARKUP = re.compile(r"[`$*_\\]")


def newest(name: str, executed: Path = EXECUTED) -> Path:
    """The notebook's copy in the folder `executed`; the stored one if there is none."""
    copy = executed / f"{name}.ipynb"
    return copy if copy.exists() else STORED / f"{name}.ipynb"


def describe_pictures(notebook: NotebookNode) -> None:
    """Set each picture's alternative text: the caption below its cell, or the nearest heading."""
    heading = ""
    cells = notebook.cells
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            heading = _last_heading(cell.source) or heading
            continue
        after = cells[place + 1].source if place + 1 < len(cells) else ""
        caption = CAPTION.match(after)
        text = OF_MARKUP.sub("", caption[1] if caption else heading)
        options = cell.metadata.setdefault("mystnb", {})
        options["image"] = {"alt": " ".join(text.split())}


def _last_heading(source: str) -> str:
    """The last heading of a text; empty if it has none."""
    headings = re.findall(r"(?m)^#+ (.+)$", source)
    return headings[-1] if headings else ""
