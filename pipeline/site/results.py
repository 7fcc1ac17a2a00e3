"""The pages of results, from `reports/`."""

import json

import pandas as pd

from infomax_nb.report import committed
from pipeline.copies import data_note
from pipeline.site.markdown import escape, facts, table
from pipeline.site.records import facts_of, parameter_values
from pipeline.site.stage import ROOT

REPORTS = ROOT / "reports"
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
    "class_counts": "number of classes",
    "fashion_mnist": "Fashion-MNIST",
    "glyphs_long": "glyphs, later in training",
    "lc25000": "LC25000, random split",
    "lc25000_groups": "LC25000, groups held out",
    "lr": "learning rates",
    "tiny_imagenet": "Tiny-ImageNet",
    "tiny_imagenet_vit": "Tiny-ImageNet, small ViT",
}
COLUMNS = {
    "beta": "β",
    "kappa": "κ",
    "knn_top1": "k-NN, top-1 (%)",
    "knn_top5": "k-NN, top-5 (%)",
    "linear_top1": "linear head, top-1 (%)",
    "linear_top5": "linear head, top-5 (%)",
    "lr": "learning rate",
    "mi_held_out": "I, held out (nats)",
    "proj_dim": "dimensions",
    "seeds": "number of seeds",
}


def names() -> list[str]:
    """The results' folders below `reports/`, in the order in which they are shown."""

    def order(name: str) -> tuple[int, str]:
        work = name.partition("_")[0]
        place = list(WORK).index(work) if work in WORK else len(WORK)
        return place, name

    return sorted((path.parent.name for path in REPORTS.glob("*/caption.txt")), key=order)


def title(name: str) -> str:
    """A report's title, from the name of its folder.

    >>> title("kappa_cifar10")
    'The bandwidth κ · CIFAR-10'
    """
    work, _, data = name.partition("_")
    words = WORK[work][0] if work in WORK else work.capitalize()
    return f"{words} · {DATA.get(data, data.replace('_', ' '))}" if data else words


def report(name: str) -> str:
    """The page of `reports/<name>`: caption, figure, table, how it came about, files."""
    folder = REPORTS / name
    caption = (folder / "caption.txt").read_text().strip()
    records = json.loads((folder / "records.json").read_text())
    note = data_note(records)
    images = f"**Images: {escape(note)}.**\n\n" if note else ""
    after = "After the last epoch; mean ± standard deviation over seeds.\n\n"
    if (folder / "table.csv").exists():
        after = ""
    return f"""# {title(name)}

```{{figure}} figure.png
:alt: {title(name)}

{escape(caption)}
```

{images}{after}{table(_numbers(name, records))}

## How it was made

{facts(_origin(name, records))}
"""


def _numbers(name: str, records: list[dict]) -> pd.DataFrame:
    """The result's table, its columns in words; rows are called by what differs between runs."""
    numbers = committed(name).rename(columns=COLUMNS)
    if not numbers.index.name:
        values = parameter_values(records)
        different = [key for key in values if len(values[key]) > 1 and key != "seed"]
        numbers.index.name = ", ".join(COLUMNS.get(key, key) for key in different)
    return numbers


def _origin(name: str, records: list[dict]) -> dict[str, str]:
    """How the result came about, and where its numbers are."""
    origin = facts_of(records)
    _, notebook = WORK.get(name.partition("_")[0], ("", ""))
    if notebook:
        origin["Notebook"] = f"[{notebook}](../../notebooks/{notebook}.ipynb)"
    if (ROOT / "params" / f"{name}.yaml").exists():
        origin["Parameters"] = f"[params/{name}.yaml](../../params/{name}.yaml)"
        glyphs = records[0]["config"]["dataset"].startswith("glyphs")
        command = f"papermill notebooks/{notebook}.ipynb out.ipynb -f params/{name}.yaml"
        origin["Again"] = f"`.venv/bin/{command}{'' if glyphs else ' -p data_root DIR'}`"
    files = [path.name for path in sorted((REPORTS / name).iterdir())]
    numbers = [f"[{file}]({file})" for file in files if file.endswith((".csv", ".json"))]
    return origin | {"Numbers": ", ".join(numbers)}


def benchmarks() -> str:
    """The page of `reports/benchmarks/`: each table with its machine."""
    ratios = "Ratios are taken within one run; a table's machine stands below it."
    parts = [f"# Benchmarks\n\nWritten by `make bench`. {ratios}\n"]
    for path in sorted((REPORTS / "benchmarks").glob("*.csv")):
        device, _, name = path.stem.partition("_")
        words = name.replace("_", " ")
        parts.append(f"## {words.capitalize()}, {device.upper()}\n")
        if path.with_suffix(".png").exists():
            parts.append(f"![{words}]({path.stem}.png)\n")
        numbers = pd.read_csv(path, dtype=str, index_col=0)
        parts.append(table(numbers.rename(columns=lambda c: c.replace("_", " "))) + "\n")
        machine = facts_of([json.loads(path.with_suffix(".json").read_text())])
        parts.append(facts(machine | {"Numbers": f"[{path.name}]({path.name})"}) + "\n")
    return "\n".join(parts)


def networks() -> str:
    """The page of `reports/networks/`: what the trained networks are."""
    rows = {}
    for path in sorted(REPORTS.glob("networks/*.json")):
        about = json.loads(path.read_text())
        rows[f"`{path.stem}`"] = {
            "epochs": about["config"]["epochs"],
            "method": about["config"]["method"],
            "network": about["config"]["backbone"],
            "trained on": escape(about["trained_on"]),
            "k-NN, top-1 (%)": about["knn_top1"],
            "measured on": escape(about["measured_on"]),
            "commit": f"`{about['commit'][:10]}`",
            "record": f"[json]({path.name})",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")
    return f"""# Trained networks

In half precision, with their records. `pretrained(name)` of [](../../api/networks.md) loads one.
`python -m pipeline.networks --measure NAME ... -p data_root DIR` measures them on the images in
DIR.

{table(frame, marked=True)}
"""


def paper_table() -> str:
    """The paper's Table 1, as printed there."""
    printed = pd.read_csv(REPORTS / "paper_table1.csv", dtype=str, index_col=0)
    printed.index.name = "data set"
    source = "As printed in the paper, percent."
    return f"""# The paper's Table 1

{source} The last column names each row's file in [params/paper](../params/README.md).

{table(printed.rename(columns=COLUMNS))}

Numbers: {{download}}`paper_table1.csv`
"""


def overview(names: list[str]) -> str:
    """The page of `reports/`: what its README says, and the list of results."""
    readme = (REPORTS / "README.md").read_text("utf-8")
    entries = "\n".join(f"- [{title(name)}]({name}/index.md)" for name in names)
    toctree = "\n".join(f"{name}/index" for name in names)
    return f"""{readme}
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
