"""`python -m pipeline.site [FOLDER]` builds the site.

The pages' sources are gathered in `FOLDER/source` in the repository's layout, so that links between
files work in both. Files that a page links to are copied, too. The results' pages are made from
`reports/`, the reference from the package.
"""

import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from pipeline.site import reference, results
from pipeline.site.stage import ROOT, Stage

PICTURES = (".png", ".jpg", ".svg")


def gather(source: Path) -> None:
    """Write the pages' sources into the empty folder `source`."""
    stage = Stage(source)
    add_documents(stage)
    list_pages_for_people(source)
    add_results(stage)
    pages = reference.modules_of_pages()
    for name, modules in pages.items():
        stage.write(f"api/{name}.md", reference.module_page(name, modules))
    stage.write("api/index.md", reference.contents(pages))


def add_documents(stage: Stage) -> None:
    """Add the notebooks and the hand-written texts."""
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".ipynb", *PICTURES) and "_static" not in path.parts:
            # The first page goes to the site's root; the others keep their places.
            stage.add(path, "index.md" if path == ROOT / "docs" / "index.md" else None)
    texts = [*ROOT.glob("*.md"), ROOT / "params" / "README.md", *ROOT.glob("reports/[a-z]*.md")]
    for path in [*texts, *ROOT.glob("notebooks/*.ipynb"), ROOT / "reports" / "paper_table1.csv"]:
        stage.add(path)


def list_pages_for_people(source: Path) -> None:
    """Add the texts that no other list names to the end of the first page's contents."""
    pages = [path for path in source.glob("*.md") if path.stem not in ("README", "index")]
    names = [
        path.relative_to(source).with_suffix("") for path in [*pages, *source.glob("docs/*.md")]
    ]
    entries = "\n".join(sorted(map(str, names)))
    with (source / "index.md").open("a", encoding="utf-8") as index:
        index.write(f"\n```{{toctree}}\n:hidden:\n:caption: For people\n\n{entries}\n```\n")


def add_results(stage: Stage) -> None:
    """Add a page for each result, and a list of all."""
    names = results.names()
    for name in names:
        stage.add(ROOT / "reports" / name / "figure.png")
        stage.write(f"reports/{name}/index.md", results.report(name))
    for path in ROOT.glob("reports/benchmarks/*.png"):
        stage.add(path)
    stage.write("reports/benchmarks/index.md", results.benchmarks())
    stage.write("reports/networks/index.md", results.networks())
    stage.write("reports/table1.md", results.paper_table())
    stage.write("reports/index.md", results.overview(names))


def build(folder: Path) -> Path:
    """Rebuild the site in `folder`, with warnings as errors; returns its first page."""
    for part in ("source", "doctrees", "html"):
        shutil.rmtree(folder / part, ignore_errors=True)
    gather(folder / "source")
    settings = ["-q", "-W", "--keep-going", "-c", str(ROOT / "docs")]
    places = ["-d", str(folder / "doctrees"), str(folder / "source"), str(folder / "html")]
    if build_main([*settings, *places]):
        sys.exit("The site was not built: see the warnings above.")
    return folder / "html" / "index.html"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_site"
    print(build(target.resolve()))
