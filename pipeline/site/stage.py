"""Gather pages in a folder, and change their links to lead to the pages of their targets."""

import re
import shutil
from pathlib import Path

import nbformat

from infomax_nb.files import project_root
from pipeline.site.moving import give_films, give_sliders
from pipeline.site.notebooks import describe_pictures

ROOT = project_root()
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:|$|/")  # a link that does not begin with a path in the repository


class Stage:
    """The folder in which pages are gathered, in the repository's layout.

    Args:
        folder: its path.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, path: Path) -> None:
        """Copy a file of the repository to the same place; in a page, links are changed."""
        place = self.folder / path.relative_to(ROOT)
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()  # pages may link to each other
        if path.suffix == ".md":
            place.write_text(self.relinked(path.read_text("utf-8"), path.parent), "utf-8")
        elif path.suffix == ".ipynb":
            self.add_notebook(path, path)
        else:
            shutil.copy(path, place)

    def add_notebook(self, path: Path, executed: Path) -> None:
        """Copy a notebook to the same place, with the outputs of its executed form.

        Args:
            path: the notebook in the repository, to which its links are relative.
            executed: the file to take; the same, or a copy that was executed.
        """
        notebook = nbformat.read(executed, 4)
        describe_pictures(notebook)
        give_films(notebook, path.stem, self.folder)
        give_sliders(notebook, path.stem, self.folder)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self.relinked(cell.source, path.parent)
        place = self.folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, place)

    def write(self, name: str, text: str) -> None:
        """Write a page that is not a file of the repository, and copy what it links to."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.relinked(text, (ROOT / name).parent), "utf-8")

    def relinked(self, text: str, folder: Path) -> str:
        """The text of a page in `folder`, with its links changed for the stage."""
        return LINK.sub(lambda link: self._relinked(link, folder), text)

    def _relinked(self, link: re.Match, folder: Path) -> str:
        mark, words, target = link.groups()
        words = self.relinked(words, folder)  # an image inside a link
        path, hash_sign, anchor = target.partition("#")
        if ELSEWHERE.match(path):
            return f"{mark}[{words}]({target})"
        there = (folder / path).resolve()
        page = page_for(there)
        if page is None and there.is_dir():
            return words  # a folder without a page: only the words stay
        if page is not None:
            path = "../" * len(folder.relative_to(ROOT).parts) + page
        elif there.is_file() and there.is_relative_to(ROOT):
            self.add(there)
        return f"{mark}[{words}]({path}{hash_sign}{anchor})"


def page_for(there: Path) -> str | None:
    """The page that stands for a file or folder; None if the file stands for itself."""
    if there in (ROOT, ROOT / "README.md", ROOT / "docs"):
        return "index.md"
    if there == ROOT / "reports" / "paper_table1.csv":
        return "reports/table1.md"
    if there == ROOT / "infomax_nb":
        return "api/index.md"
    if there in (ROOT / "reports", ROOT / "reports" / "README.md"):
        return "reports/index.md"
    if there.parent == ROOT / "reports" and there.is_dir():
        return f"reports/{there.name}/index.md"
    return f"{there.relative_to(ROOT)}/README.md" if (there / "README.md").is_file() else None
