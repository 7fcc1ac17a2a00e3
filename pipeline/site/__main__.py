"""`python -m pipeline.site` builds the site, `reports/html/index.html`.

The pages' sources are gathered in `build/site/source` in the repository's layout, so that links
between files work in both. Files that a page links to are copied, too. The first page is made from
the claims and the paper's figures, the results' pages from `reports/`, the reference from the
package. Notebooks are shown as `make report` executed them. The old site stays until the new one
is complete.
"""

import argparse
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from sphinx.cmd.build import build_main

from infomax_nb.errors import not_allowed
from infomax_nb.figures import table1
from infomax_nb.figures.late import over_epochs
from infomax_nb.files import atomic_write
from infomax_nb.late import evaluations, without_trunks
from pipeline.command import finish
from pipeline.site import front, notebooks, photographs, reference, results
from pipeline.site.figures import FIGURES, Late
from pipeline.site.moving import FOLDER
from pipeline.site.stage import ROOT, Stage

PICTURES = (".png", ".jpg", ".svg")
SITE = ROOT / "reports" / "html"
INVENTORY = "objects.inv"  # a file that Sphinx writes into each site


def gather(source: Path, executed: Path = notebooks.EXECUTED) -> None:
    """Write the pages' sources into the empty folder `source`.

    Args:
        source: the folder.
        executed: the folder of executed notebooks; one that is not there is shown as it is stored.
    """
    stage = Stage(source)
    add_documents(stage)
    for path in sorted(notebooks.STORED.glob("*.ipynb")):
        stage.add_notebook(path, notebooks.newest(path.stem, executed))
    add_results(stage)
    pages = reference.modules_of_pages()
    for name, modules in pages.items():
        stage.write(f"api/{name}.md", reference.module_page(name, modules))
    stage.write("api/index.md", reference.contents(pages))
    stage.write("index.md", front.front([*pages_for_people(source), "params/README", "api/index"]))


def add_documents(stage: Stage) -> None:
    """Add the hand-written texts."""
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", *PICTURES) and "_static" not in path.parts:
            stage.add(path)
    texts = [path for path in ROOT.glob("*.md") if path.stem != "README"]  # the first page says it
    texts += [ROOT / "params" / "README.md", *ROOT.glob("reports/[a-z]*.md")]
    for path in [*texts, ROOT / "reports" / "paper_table1.csv"]:
        stage.add(path)


def pages_for_people(source: Path) -> list[str]:
    """The names of the hand-written pages."""
    pages = [*source.glob("*.md"), *source.glob("docs/*.md")]
    return [str(path.relative_to(source).with_suffix("")) for path in pages]


def add_results(stage: Stage) -> None:
    """Add a page for each result, a list of all, and what the first page draws."""
    names = results.names()
    for name in names:
        stage.add(ROOT / "reports" / name / "figure.png")
        stage.write(f"reports/{name}/index.md", results.report(name))
    for path in [ROOT / "reports" / "overview.png", *ROOT.glob("reports/benchmarks/*.png")]:
        stage.add(path)
    stage.write("reports/benchmarks/index.md", results.benchmarks())
    stage.write("reports/networks/index.md", results.networks())
    stage.write("reports/verdicts/index.md", results.plan_verdicts())
    stage.write("reports/table1.md", results.paper_table())
    stage.write("reports/index.md", results.overview(names))
    drawings = {"table1.png": table1.draw()}
    for figure in FIGURES:
        if figure.drawn:
            drawings[front.drawing(figure)] = photographs.draw(figure.drawn)
        if figure.late and figure.late.conditions:
            drawings[front.late_drawing(figure)] = over_the_epochs(figure.late)
    for name, drawn in drawings.items():
        save = partial(drawn.savefig, format="png", dpi=110)
        atomic_write(stage.folder / "reports" / name, save)


def over_the_epochs(late: Late) -> Figure:
    """Accuracies of the plan's runs over the epochs, a branch from where it leaves its trunk."""
    rows = without_trunks(evaluations(*late.conditions))
    return over_epochs(rows, late.conditions, windows=late.windows)


def build(site: Path = SITE, executed: Path = notebooks.EXECUTED) -> Path:
    """Build the site anew, with warnings as errors; returns its first page.

    Args:
        site: its folder, replaced once the new site is complete.
        executed: as in `gather`.

    Raises:
        ParameterError: there is a folder that is no site.
    """
    check_replaceable(site)
    # sites of other folders may be built at the same time
    work = ROOT / "build" / ("site" if site == SITE else f"site-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    gather(work / "source", executed)
    settings = ["-q", "-W", "--keep-going", "-c", str(ROOT / "docs")]
    places = ["-d", str(work / "doctrees"), str(work / "source"), str(work / "html")]
    if build_main([*settings, *places]):
        sys.exit("The site was not built: see the warnings above.")
    if (work / "source" / FOLDER).is_dir():  # Sphinx does not know them: a script shows them
        shutil.copytree(work / "source" / FOLDER, work / "html" / FOLDER)
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(work / "html", site)
    if site != SITE:
        shutil.rmtree(work)
    return site / "index.html"


def check_replaceable(site: Path) -> None:
    """Raise ParameterError if there is something at `site` that Sphinx did not build."""
    empty = not site.exists() or (site.is_dir() and not any(site.iterdir()))
    if not empty and not (site / INVENTORY).is_file():
        raise not_allowed("folder", str(site), "a site built before, empty, or not there yet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipeline.site", description=__doc__)
    where = "the site's folder, by default reports/html; a site that is there is replaced"
    parser.add_argument("folder", nargs="?", type=Path, default=SITE, help=where)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--stored", action="store_true", help="show notebooks as they are stored")
    executed = "the folder of executed notebooks, by default reports/notebooks"
    shown.add_argument("--executed", type=Path, default=notebooks.EXECUTED, help=executed)
    given = parser.parse_args()
    of = notebooks.STORED if given.stored else given.executed
    finish(lambda: str(build(given.folder.resolve(), of)))
