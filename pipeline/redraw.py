"""`python -m pipeline.redraw [NAME ...]`: draw kept figures anew from the numbers beside them.

A figure under `reports/` keeps the look and the names of the day when its notebook drew it. This
draws it as the notebook would today, and says its caption in today's names; numbers and records
stay as they are, and nothing is trained.
"""

import argparse
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from infomax_nb.errors import not_allowed
from infomax_nb.figures import coarse, methods
from infomax_nb.figures.intervals import forest
from infomax_nb.figures.saliency import series
from infomax_nb.files import atomic_write
from infomax_nb.methods import METHODS
from infomax_nb.names import in_words
from infomax_nb.plots import curves, save
from infomax_nb.report import TOP1_COLUMNS
from pipeline.command import in_a_sentence
from pipeline.site.results import REPORTS

# What a sweep's runs differ in, by the first word of its folder's name
VARIED = {"kappa": "kappa", "beta": "beta", "projector": "proj_dim"}
INTERVAL = re.compile(r"(?P<mean>\S+) \((?P<low>\S+) to (?P<high>\S+)\)")
NOT_SHOWN = ("uniform", "mask at 8×8")  # rows of a table of saliency that its figure leaves out


def redrawn(folder: Path) -> Figure | None:
    """The figure of a result as its notebook would draw it today.

    Args:
        folder: `reports/<name>`; the first word of the name says what was done.

    Returns:
        The figure, or None where a command of its own draws it, or where numbers that it shows
        are not kept.
    """
    kind = folder.name.split("_")[0]
    if folder.name == "coarse_class_counts":
        return coarse.class_counts(pd.read_csv(folder / "counts.csv"))
    if kind == "coarse":
        return coarse.near_and_far(pd.read_csv(folder / "draws.csv"), title(folder))
    if kind == "saliency":
        return saliency(folder)
    if kind in VARIED:
        metrics = pd.read_csv(folder / "metrics.csv")
        return curves(metrics, list(TOP1_COLUMNS), hue=VARIED[kind], title=title(folder))
    if (folder / "metrics.csv").exists():
        return comparison(folder)
    return None


def in_todays_words(caption: str) -> str:
    """A caption with the names that people read, and one seed in the singular."""
    return in_words(re.sub(r"\bseeds (\d+)(?=;|$)", r"seed \1", caption))


def title(folder: Path) -> str:
    """What stands above a result's figure: the setting that its caption names, in words."""
    caption = in_todays_words((folder / "caption.txt").read_text("utf-8").strip())
    setting = re.split(r"(?:here|budget|Table 1\)|classes): ", caption)[1]
    setting = re.sub(r"; runs of each width .*", "", setting)
    setting = re.sub(r"(.*); (κ = \S+)", r"\2: \1", setting)
    return re.sub(r"; \d+ near and .*(subsets of \d+) classes; .*", r"; \1", setting)


def comparison(folder: Path) -> Figure:
    """Methods over epochs, or over learning rates where these differ."""
    metrics = methods.in_order(pd.read_csv(folder / "metrics.csv"), METHODS)
    if "lr" in metrics:
        return methods.by_rate(metrics)
    baselines = pd.read_csv(folder / "baselines.csv", index_col=0)
    return methods.accuracy(metrics, baselines, title(folder))


def saliency(folder: Path) -> Figure:
    """How much saliency lies on objects, and how often its peak does."""
    table = pd.read_csv(folder / "table.csv", index_col=0)
    names = [name for name in table.index if name not in NOT_SHOWN]
    own = intervals(table.ratio)
    others = intervals(table["ratio, another's object"])
    hits = intervals(table["pointing game (%)"])
    share = "saliency on the object, times chance"
    hit = "pointing game: hits (%)"
    panels = {
        share: series({"own object": own, "another's object": others}, names),
        hit: series({"own object": hits}, names),
    }
    chance = hits.loc["uniform", "mean"]
    lines = {share: {"uniform map": 1.0}, hit: {"chance: the area": chance}}
    return forest(panels, lines, size=(9.5, 7))


def intervals(texts: pd.Series) -> pd.DataFrame:
    """Columns `mean`, `low` and `high` of texts such as `1.25 (1.22 to 1.27)`."""
    return texts.str.extract(INTERVAL).astype(float)


def main() -> None:
    """Read the command line and draw."""
    kept = sorted(path.parent.name for path in REPORTS.glob("*/caption.txt"))
    told = argparse.ArgumentParser(prog="python -m pipeline.redraw", description=__doc__)
    told.add_argument(
        "names", nargs="*", metavar="NAME", help="folders under reports/; by default all"
    )
    names = told.parse_args().names
    with in_a_sentence():
        for name in names:
            if name not in kept:
                raise not_allowed("NAME", name, f"one of {', '.join(kept)}")
    for name in names or kept:
        print(f"{name}: {draw(REPORTS / name)}")


def draw(folder: Path) -> str:
    """Write a result's figure and caption anew; returns what was done."""
    path = folder / "caption.txt"
    caption = in_todays_words(path.read_text("utf-8"))
    atomic_write(path, lambda part: part.write_text(caption, "utf-8"))
    figure = redrawn(folder)
    if figure is None:
        return "its figure is left as it is"
    save(figure, folder / "figure.png")
    plt.close(figure)
    return "drawn"


if __name__ == "__main__":
    main()
