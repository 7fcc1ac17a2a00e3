"""`python -m pipeline.site [FOLDER]` builds the notebooks, the results and the package's reference
into static HTML.

The pages' sources are gathered in `FOLDER/source` in the repository's layout, so that links between
files hold here as there; what a page links to comes along. The results' pages are made from
`reports/`, the reference's from the package.
"""

import ast
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import pandas as pd
from sphinx.cmd.build import build_main

from infomax_nb.files import project_root
from infomax_nb.report import committed
from pipeline.copies import data_note

ROOT = project_root()
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# A report's folder is called by what was done and on which data; reports come in this order.
WORK = {
    "kappa": ("The bandwidth κ", "03_ablate_kappa"),
    "beta": ("The weight β", "04_ablate_beta"),
    "projector": ("The projector's width", "05_ablate_projector"),
    "methods": ("Seven methods", "08_compare_methods"),
    "saliency": ("Saliency on objects", "06_saliency"),
    "centroids": ("Class centroids", "07_centroids"),
    "coarse": ("Coarse or fine", "09_coarse_vs_fine"),
}
DATA = {
    "cifar10": "CIFAR-10",
    "fashion_mnist": "Fashion-MNIST",
    "glyphs_long": "glyphs, later in training",
}
DATA |= {
    "lc25000": "LC25000, random split",
    "lc25000_groups": "LC25000, groups held out",
    "lr": "learning rates",
}
DATA |= {"tiny_imagenet": "Tiny-ImageNet", "tiny_imagenet_vit": "Tiny-ImageNet, small ViT"}
DATA |= {"class_counts": "number of classes"}
COLUMNS = {
    "linear_top1": "linear head, top-1 (%)",
    "knn_top1": "k-NN, top-1 (%)",
    "seeds": "number of seeds",
}
COLUMNS |= {"kappa": "κ", "beta": "β", "proj_dim": "dimensions", "lr": "learning rate"}
COLUMNS |= {
    "linear_top5": "linear head, top-5 (%)",
    "knn_top5": "k-NN, top-5 (%)",
    "mi_held_out": "I, held out (nats)",
}


def gather(source: Path) -> None:
    """Write the pages' sources into the empty folder `source`."""
    stage = Stage(source)
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".ipynb", ".png", ".jpg", ".svg") and "_static" not in path.parts:
            # The first page stands at the site's root; the others keep their place.
            stage.add(path, "index.md" if path == ROOT / "docs" / "index.md" else None)
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        ROOT / "params/README.md",
        *ROOT.glob("reports/[a-z]*.md"),
    ):
        stage.add(path)
    stage.add(ROOT / "reports" / "paper_table1.csv")
    # The other pages for people, whichever there are, come last in the first page's contents.
    pages = [
        *source.glob("docs/*.md"),
        *(p for p in source.glob("*.md") if p.stem not in ("README", "index")),
    ]
    if pages:
        entries = "\n".join(sorted(str(p.relative_to(source).with_suffix("")) for p in pages))
        with (source / "index.md").open("a", encoding="utf-8") as index:
            index.write(f"\n```{{toctree}}\n:hidden:\n:caption: For people\n\n{entries}\n```\n")
    names = sorted((p.parent.name for p in ROOT.glob("reports/*/caption.txt")), key=_order)
    for name in names:
        stage.add(ROOT / "reports" / name / "figure.png")
        stage.write(f"reports/{name}/index.md", report(name))
    for path in ROOT.glob("reports/benchmarks/*.png"):
        stage.add(path)
    stage.write("reports/benchmarks/index.md", benchmarks())
    stage.write("reports/networks/index.md", networks())
    stage.write("reports/table1.md", paper_table())
    stage.write("reports/index.md", overview(names))
    modules = _modules()
    for name, found in modules.items():
        stage.write(f"api/{name}.md", reference(name, found))
    stage.write("api/index.md", contents(modules))


class Stage:
    """The folder that pages are gathered in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def add(self, path: Path, name: str | None = None) -> None:
        """Copy a file of the repository; of pages with their links led to what stands for their
        targets here."""
        place = self.folder / (name or path.relative_to(ROOT))
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            place.write_text(self.relinked(path.read_text("utf-8"), path.parent), "utf-8")
        elif path.suffix == ".ipynb":
            notebook = nbformat.read(path, 4)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = self.relinked(cell.source, path.parent)
            nbformat.write(notebook, place)
        else:
            shutil.copy(path, place)

    def write(self, name: str, text: str) -> None:
        """Write a page that is made here, after what it links to."""
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.relinked(text, (ROOT / name).parent), "utf-8")

    def relinked(self, text: str, folder: Path) -> str:
        """The text of a page in `folder`, its relative links changed where a file or folder has
        another page here."""

        def change(link: re.Match) -> str:
            mark, words, target = link.groups()
            path, _, anchor = target.partition("#")
            words = LINK.sub(change, words)  # an image inside a link
            if re.match(r"[a-z]+:|$|/", path):
                return f"{mark}[{words}]({target})"
            there = (folder / path).resolve()
            page = self.page(there)
            if page is None and there.is_dir():
                return words  # a folder without a page: the words are left
            if page is not None:
                up = len(folder.relative_to(ROOT).parts)
                path = "../" * up + page
            elif there.is_file() and there.is_relative_to(ROOT):
                self.add(there)
            return f"{mark}[{words}]({path}{'#' * bool(anchor)}{anchor})"

        return LINK.sub(change, text)

    def page(self, there: Path) -> str | None:
        """The page that stands for a file or folder, if it has another name than that file."""
        if there in (ROOT, ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs"):
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


def report(name: str) -> str:
    """The page of `reports/<name>`: caption, figure, table, how it was made, files."""
    folder = ROOT / "reports" / name
    caption, records = (
        (folder / "caption.txt").read_text().strip(),
        json.loads((folder / "records.json").read_text()),
    )
    whole = committed(name).rename(columns=COLUMNS)
    after = (
        ""
        if (folder / "table.csv").exists()
        else "After the last epoch; mean ± standard deviation over seeds.\n\n"
    )
    note = data_note(records)
    images = f"**Images: {escape(note)}.**\n\n" if note else ""
    _, notebook = WORK.get(name.partition("_")[0], ("", ""))
    made = _record(records)
    if not whole.index.name:
        whole.index.name = ", ".join(
            COLUMNS.get(k, k) for k, v in _values(records).items() if len(v) > 1 and k != "seed"
        )
    if notebook:
        made["Notebook"] = f"[{notebook}](../../notebooks/{notebook}.ipynb)"
    if (ROOT / "params" / f"{name}.yaml").exists():
        made["Parameters"] = f"[params/{name}.yaml](../../params/{name}.yaml)"
        data = "" if records[0]["config"]["dataset"].startswith("glyphs") else " -p data_root DIR"
        made["Again"] = (
            f"`.venv/bin/papermill notebooks/{notebook}.ipynb out.ipynb -f params/{name}.yaml{data}`"
        )
    files = [
        f"[{p.name}]({p.name})" for p in sorted(folder.iterdir()) if p.suffix in (".csv", ".json")
    ]
    return f"""# {title(name)}

```{{figure}} figure.png
:alt: {title(name)}

{escape(caption)}
```

{images}{after}{table(whole)}

## How it was made

{_facts(made | {"Numbers": ", ".join(files)})}
"""


def title(name: str) -> str:
    """A report's title, from the name of its folder."""
    work, _, data = name.partition("_")
    words = WORK[work][0] if work in WORK else work.capitalize()
    return f"{words} · {DATA.get(data, data.replace('_', ' '))}" if data else words


def _order(name: str) -> tuple[int, str]:
    work = name.partition("_")[0]
    return (list(WORK).index(work) if work in WORK else len(WORK)), name


def _values(records: list[dict]) -> dict[str, list[str]]:
    """For each parameter of the runs its values, in order."""
    found: dict[str, list] = {}
    for config in (r["config"] for r in records if "config" in r):
        for name, value in config.items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    numeric = {k: all(isinstance(v, int | float) for v in values) for k, values in found.items()}
    return {
        k: [f"{v:g}" for v in sorted(v)] if numeric[k] else [str(x) for x in v]
        for k, v in found.items()
    }


def _record(records: list[dict]) -> dict[str, str]:
    """What the runs have in common and what differs, of their records."""

    def values(get: Callable[[dict], object]) -> list[str]:
        return list(dict.fromkeys(str(v) for v in map(get, records) if v is not None))

    made = {}
    if every := _values(records):
        made["Runs"] = str(len(records))
        made["Seeds"] = ", ".join(every.pop("seed"))
        made["The same in all"] = ", ".join(
            f"`{k}` {v[0]}"
            for k, v in every.items()
            if len(v) == 1 and v != ["None"] and k != "eval_every"
        )
        made["Different"] = "; ".join(
            f"`{k}` {', '.join(v)}" for k, v in every.items() if len(v) > 1
        )
    made["Commit"] = ", ".join(
        f"`{c[:10]}`{' (modified)' * c.endswith('modified')}" for c in values(lambda r: r["commit"])
    )
    made["Hardware"] = "; ".join(
        values(lambda r: f"{r['gpu'] or r['cpu']}, {r['cores']} cores, threads: {r['threads']}")
    )
    made["Software"] = "; ".join(
        values(
            lambda r: ", ".join([f"Python {r['python']}", *map(" ".join, r["versions"].items())])
        )
    )
    if days := sorted(values(lambda r: r.get("started", "")[:10] or None)):
        made["Date"] = " to ".join(dict.fromkeys([days[0], days[-1]]))
    return {k: v for k, v in made.items() if v}


def benchmarks() -> str:
    """The page of `reports/benchmarks/`: each table with its machine."""
    folder, parts = ROOT / "reports" / "benchmarks", ["# Benchmarks\n"]
    parts.append(
        "Written by `make bench`. Ratios are taken within one run; a table's machine stands below it.\n"
    )
    for path in sorted(folder.glob("*.csv")):
        device, _, what = path.stem.partition("_")
        parts.append(f"## {what.replace('_', ' ').capitalize()}, {device.upper()}\n")
        if path.with_suffix(".png").exists():
            parts.append(f"![{what.replace('_', ' ')}]({path.stem}.png)\n")
        measured = pd.read_csv(path, dtype=str, index_col=0).rename(
            columns=lambda c: c.replace("_", " ")
        )
        parts.append(table(measured) + "\n")
        made = _record([json.loads(path.with_suffix(".json").read_text())])
        parts.append(_facts(made | {"Numbers": f"[{path.name}]({path.name})"}) + "\n")
    return "\n".join(parts)


def networks() -> str:
    """The page of `reports/networks/`: what the trained networks are."""
    rows = {}
    for path in sorted(ROOT.glob("reports/networks/*.json")):
        about = json.loads(path.read_text())
        config = about["config"]
        rows[f"`{path.stem}`"] = {
            "epochs": config["epochs"],
            "method": config["method"],
            "network": config["backbone"],
            "trained on": escape(about["trained_on"]),
            "k-NN, top-1 (%)": about["knn_top1"],
            "measured on": escape(about["measured_on"]),
            "commit": f"`{about['commit'][:10]}`",
            "record": f"[json]({path.name})",
        }
    shown = table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("name"), marked=True)
    return f"""# Trained networks

In half precision, with their records. `pretrained(name)` of [](../../api/pretrained.md) loads one.
`python -m pipeline.networks --measure NAME ... -p data_root DIR` measures them on the images in DIR.

{shown}
"""


def paper_table() -> str:
    """The paper's Table 1, as printed there."""
    printed = pd.read_csv(ROOT / "reports" / "paper_table1.csv", dtype=str, index_col=0)
    printed.index.name = "data set"
    return f"""# The paper's Table 1

As printed in the paper, percent. The last column names each row's file in [params/paper](../params/README.md).

{table(printed.rename(columns=COLUMNS))}

Numbers: {{download}}`paper_table1.csv`
"""


def overview(names: Iterable[str]) -> str:
    """The page of `reports/`: what its README says, and the list of results."""
    said = (ROOT / "reports" / "README.md").read_text("utf-8")
    entries = "\n".join(f"- [{title(name)}]({name}/index.md)" for name in names)
    toctree = "\n".join(f"{name}/index" for name in names)
    return f"""{said}
## A page for each result

Figure, numbers, and the record of the runs that they come from.

{entries}
- [Benchmarks](benchmarks/index.md), [faults](faults.md), [trained networks](networks/index.md),
  [the paper's Table 1](table1.md)

```{{toctree}}
:hidden:

{toctree}
benchmarks/index
faults
networks/index
table1
```
"""


def _modules() -> dict[str, dict[str, str]]:
    """The package's pages: for each, its modules by their full names, with the first line of what
    they say."""
    pages: dict[str, dict[str, str]] = {}
    for path in sorted((ROOT / "infomax_nb").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if said:
            pages.setdefault(parts[1], {})[".".join(parts).removesuffix(".__init__")] = (
                said.partition("\n")[0]
            )
    return pages


def reference(name: str, modules: Iterable[str]) -> str:
    """The page of one module, or of a package with its modules."""
    parts = [f"# {name}\n"]
    for module in modules:
        if module.count(".") > 1:
            parts.append(f"## {module.split('.', 1)[1]}\n")
        parts.append(
            f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :show-inheritance:\n```\n"
        )
    return "\n".join(parts)


def contents(modules: dict[str, dict[str, str]]) -> str:
    """The list of modules."""
    rows = {
        f"[{name}]({name}.md)": {"what it holds": next(iter(found.values()))}
        for name, found in modules.items()
    }
    shown = table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("module"), marked=True)
    toctree = "\n".join(modules)
    return f"""# The package

`infomax_nb` computes; the notebooks explain. Sizes are written as N for views, V for views of one image, D for
dimensions, B for the images of a batch. All names: {{ref}}`genindex`.

{shown}

```{{toctree}}
:hidden:

{toctree}
```
"""


def escape(text: object) -> str:
    """The text with Markdown's special characters made plain."""
    return re.sub(r"([\\`*_{}\[\]<>$|])", r"\\\1", str(text))


def table(frame: pd.DataFrame, marked: bool = False) -> str:
    """A Markdown table of a frame with its index; `marked`: the cells hold Markdown."""

    def cell(value: object) -> str:
        text = str(value) if marked else escape(value)
        # A number and its interval stay on one line.
        return (
            text.replace(" ", "\u00a0") if len(text) < 30 and re.match(r"[−–-]?\d", text) else text
        )

    head = [str(frame.index.name or ""), *frame.columns]
    rows = [
        [index, *values] for index, values in zip(frame.index, frame.to_numpy(object), strict=True)
    ]
    lines = [
        map(cell, head),
        ["---"] * len(head),
        *([cell("" if pd.isna(v) else v) for v in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _facts(facts: dict[str, str]) -> str:
    """A table with two columns and no head."""
    items = "\n".join(f"* - {name}\n  - {value}" for name, value in facts.items())
    return f"```{{list-table}}\n:stub-columns: 1\n:class: facts\n\n{items}\n```"


def build(folder: Path) -> Path:
    """Build the site anew in `folder`, warnings as errors; returns its first page."""
    for part in ("source", "doctrees", "html"):
        shutil.rmtree(folder / part, ignore_errors=True)
    source, doctrees, html = (str(folder / part) for part in ("source", "doctrees", "html"))
    gather(folder / "source")
    if build_main(
        ["-q", "-W", "--keep-going", "-c", str(ROOT / "docs"), "-d", doctrees, source, html]
    ):
        sys.exit("The site was not built: see the warnings above.")
    return folder / "html" / "index.html"


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_site").resolve()))
