"""Make the package's reference: a page for each module, or for each folder of modules."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipeline.site.markdown import escape, page, table
from pipeline.site.stage import ROOT

# The full names of a page's modules, each with the first paragraph of its docstring.
Modules = dict[str, str]


def modules_of_pages() -> dict[str, Modules]:
    """The modules of each page, by the page's name; a folder comes before its modules."""
    pages: dict[str, Modules] = {}
    for path in sorted((ROOT / "infomax_nb").rglob("*.py")):
        name = module_name(path)
        if name != "infomax_nb":
            pages.setdefault(name.split(".")[1], {})[name] = first_paragraph(path)
    return pages


def module_name(path: Path) -> str:
    """The name by which a file of the package is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def first_paragraph(path: Path) -> str:
    """The first paragraph of a module's docstring, in one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def module_page(name: str, modules: Iterable[str]) -> str:
    """The page of one module, or of a folder and its modules."""
    return page("module", page=name, modules={module: _short(module) for module in modules})


def contents(pages: dict[str, Modules]) -> str:
    """The list of all modules."""
    rows = {}
    for name, modules in pages.items():
        for module, about in modules.items():
            anchor = "" if _short(module) == name else f"#{_short(module).replace('.', '')}"
            rows[f"[{escape(_short(module))}]({name}.md{anchor})"] = about
    frame = pd.Series(rows, name="what it holds").rename_axis("module").to_frame()
    return page("reference", modules=table(frame, marked=True), pages=pages)


def _short(module: str) -> str:
    """The module's name within the package."""
    return module.removeprefix("infomax_nb.")
