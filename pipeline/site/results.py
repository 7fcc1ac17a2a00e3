"""Make the pages of results from `reports/`."""

import json
from pathlib import Path

import pandas as pd

from infomax_nb.late import VERDICTS, verdict_rows
from infomax_nb.names import NAMES, in_words
from infomax_nb.report import committed
from pipeline.benchmarks import SUBJECTS, verdict_of
from pipeline.copies import data_note
from pipeline.site.markdown import escape, facts, page, table
from pipeline.site.records import facts_of, parameter_values
from pipeline.site.stage import ROOT
from pipeline.site.words import column_in_words

REPORTS = ROOT / "reports"
# A report's folder is named after what was done and the data; reports are shown in this order, the
# paper's.
WORK = {
    "methods": ("Seven methods", "08_compare_methods"),
    "family": ("Ours and its family", "08_compare_methods"),
    "coarse": ("Coarse or fine", "09_coarse_vs_fine"),
    "saliency": ("Saliency on objects", "06_saliency"),
    "objects": ("Saliency on pixel masks", "06_saliency"),
    "projector": ("The projector's width", "05_ablate_projector"),
    "kappa": ("The bandwidth κ", "03_ablate_kappa"),
    "beta": ("The weight β", "04_ablate_beta"),
    "centroids": ("Class centroids", "07_centroids"),
    "embedding": ("Maps over the epochs", "02_probe"),
    "contraction": ("Where a large β contracts", "04_ablate_beta"),
}
DATA = {
    **NAMES,
    "class_counts": "number of classes",
    "glyphs_long": "glyphs, later in training",
    "lc25000": "LC25000, random split",
    "lc25000_groups": "LC25000, groups held out",
    "lr": "learning rates",
    "tiny_imagenet_vit": "Tiny-ImageNet, small ViT",
    "voc": "animals of PASCAL VOC",
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
    """The page of `reports/<name>`: caption, figure, table, origin, files."""
    folder = REPORTS / name
    caption = (folder / "caption.txt").read_text("utf-8").strip()
    records = json.loads((folder / "records.json").read_bytes())
    return page(
        "report",
        title=title(name),
        caption=escape(in_words(caption)),
        images=escape(data_note(records)),
        of_runs=not (folder / "table.csv").exists(),
        numbers=table(_numbers(name, records)),
        origin=facts(_origin(name, records)),
    )


def _numbers(name: str, records: list[dict]) -> pd.DataFrame:
    """The result's table, with columns in words and rows named by what differs between runs."""
    numbers = committed(name)
    if numbers.index.name:
        numbers.index.name = column_in_words(numbers.index.name)
    else:
        values = parameter_values(records)
        different = [key for key in values if len(values[key]) > 1 and key != "seed"]
        numbers.index.name = ", ".join(map(column_in_words, different))
    return numbers.rename(index=in_words, columns=column_in_words)


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
    paths = sorted((REPORTS / "benchmarks").glob("*.csv"))
    return page("benchmarks", benchmarks=[_benchmark(path) for path in paths])


def _benchmark(path: Path) -> dict[str, str]:
    """What the page says about one table."""
    device, _, name = path.stem.partition("_")
    numbers = pd.read_csv(path, dtype=str, index_col=0)
    machine = facts_of([json.loads(path.with_suffix(".json").read_bytes())])
    picture = path.with_suffix(".png")
    return {
        "device": device,
        "words": name.replace("_", " "),
        "verdict": escape(verdict_of(path)),
        "picture": picture.name if picture.exists() else "",
        "numbers": table(numbers.rename(columns=lambda column: column.replace("_", " "))),
        "machine": facts(machine | {"Numbers": f"[{path.name}]({path.name})"}),
    }


def verdicts() -> list[str]:
    """A line for each benchmark that has a verdict: what it is about, the device, the verdict."""
    lines = []
    for name, subject in SUBJECTS.items():
        for path in sorted((REPORTS / "benchmarks").glob(f"*_{name}.csv")):
            device, _, whole = path.stem.partition("_")
            line = verdict_of(path)
            if line and whole == name:
                kind = "GPU" if device == "cuda" else device.upper()
                lines.append(f"**{subject}** ({kind}). {escape(line)}")
    return lines


def networks() -> str:
    """The page of `reports/networks/`: a table of the trained networks."""
    rows = {}
    for path in sorted(REPORTS.glob("networks/*.json")):
        about = json.loads(path.read_bytes())
        rows[f"`{path.stem}`"] = {
            "epochs": about["config"]["epochs"],
            "method": in_words(about["config"]["method"]),
            "network": in_words(about["config"]["backbone"]),
            "trained on": escape(about["trained_on"]),
            "k-NN, top-1 (%)": about["knn_top1"],
            "measured on": escape(about["measured_on"]),
            "commit": f"`{about['commit'][:10]}`",
            "more": f"[card]({path.stem}.md), [record]({path.name})",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")
    return page("networks", networks=table(frame, marked=True))


def paper_table() -> str:
    """The page of the paper's Table 1, as printed there."""
    printed = pd.read_csv(REPORTS / "paper_table1.csv", dtype=str, index_col=0)
    printed.index.name = "data set"
    return page("table1", printed=table(printed.rename(columns=column_in_words)))


def plan_verdicts() -> str:
    """The page of `reports/verdicts/`: the plan's verdicts, how to check each, and its runs."""
    rows = verdict_rows(all_claims())
    return page(
        "verdicts",
        state=runs_in_words(),
        answers=table(_answers(rows), marked=True),
        verdicts=[_verdict(str(claim), row) for claim, row in rows.iterrows()],
        runs=table(runs_by_line()),
    )


def _answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Each claim with its verdict and what that rests on, as the page's first table."""
    lines = {}
    for claim, row in rows.iterrows():
        basis = f"{row.evidence}, {row.seeds} {row.unit}s"
        lines[f"[{claim}. {row.says}](#verdict-{claim})"] = (f"**{row.verdict}**", basis)
    columns = ["verdict", "rests on"]
    return pd.DataFrame.from_dict(lines, "index", columns=columns).rename_axis("claim")


def _verdict(claim: str, row: pd.Series) -> dict[str, str]:
    """One claim's section: what was compared and found, and how to check it."""
    numbers = row.difference.replace("; ", "<br>") or "nothing to compare yet"
    about = {
        "Verdict": f"**{row.verdict}**",
        "Compared": f"{row.contrast} ({row.when})",
        f"Found, in {row.scale}": numbers,
        "Rests on": f"{row.evidence}: {row.seeds} {row.unit}s; {row.budgets}; {row.network}; "
        f"{row['data']}",
        "Would change our mind": row.change,
        "Again from what is kept, in seconds": f"`{row.recompute}`",
        "Anew, into a folder NEW": f"`{row.anew}`",
    }
    there = {name: text for name, text in about.items() if text}
    return {"claim": claim, "says": row.says, "facts": facts(there)}


def all_claims() -> list[str]:
    """The claims of the plan that have a verdict, or will have one."""
    return pd.read_csv(VERDICTS / "table.csv", dtype={"claim": str}).claim.tolist()


def runs_by_line() -> pd.DataFrame:
    """How many runs of each line of the plan are there, and which."""
    runs = pd.read_csv(VERDICTS / "runs.csv")
    there = runs[runs.state != "not finished"]
    lines = runs.groupby("line")
    names = there.groupby("line").run.agg(", ".join)
    counted = {"planned": lines.size(), "there": there.groupby("line").size(), "which": names}
    return pd.DataFrame(counted).fillna({"there": 0, "which": "–"}).astype({"there": int})


def runs_in_words() -> str:
    """How many of the plan's runs and verdicts are there, as a sentence."""
    runs = runs_by_line()
    table_of_verdicts = verdict_rows(all_claims())
    decided = (table_of_verdicts.verdict != "unfinished").sum()
    return (
        f"{runs.there.sum()} of {runs.planned.sum()} runs have finished, and {decided} of "
        f"{len(table_of_verdicts)} verdicts rest on all their seeds."
    )


def overview(names: list[str]) -> str:
    """The page of `reports/`: its README and a list of the results."""
    readme = (REPORTS / "README.md").read_text("utf-8")
    return page("results", readme=readme, titles={name: title(name) for name in names})
