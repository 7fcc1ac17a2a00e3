"""Figures that several notebooks share, and names as figures can show them.

`gallery` and `curves` draw and return a matplotlib figure.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

from infomax_nb.errors import printable

LABELS: dict[str, str] = json.loads(Path(__file__).with_name("labels.json").read_text("utf-8"))
plt.style.use(["seaborn-v0_8-whitegrid", "infomax_nb.figures"])


def label(name: str, number: int | None = None, most: int = 24) -> str:
    """A name as matplotlib shows it: as text, never as a formula, in letters that a font here has.

    Where the house's font lacks a letter, one of this machine's fonts that has it is added to
    `font.family`. Where there is none, the number is shown (without a number: "?" for the letter).
    Of a name of more than `most` letters the middle is left out. A label's label is itself.
    """
    text = "\n".join(map(printable, name.replace(r"\$", "$").split("\n")))
    lost = _without_glyph(text)
    if lost:
        text = (
            "".join("?" if letter in lost else letter for letter in text)
            if number is None
            else str(number)
        )
    if len(text) > most:
        text = text[: most // 2] + "…" + text[len(text) - (most - most // 2 - 1) :]
    return text.replace("$", r"\$")


def labels(names: Sequence[str], most: int = 24) -> list[str]:
    """The `label` of each name, with its place in the list for its number; no two alike."""
    made = [label(name, k, most) for k, name in enumerate(names)]
    times = Counter(made)
    return [f"{text} ({k})" if times[text] > 1 else text for k, text in enumerate(made)]


def _without_glyph(text: str) -> set[str]:
    """The letters that no font here can draw, after fonts that can draw the others have been
    added."""
    lost = set(text) - {"\n"} - _drawn()
    if lost:
        added = next((name for name, path in _fonts() if lost <= _glyphs(path)), None)
        if added is not None:
            plt.rcParams["font.family"] = [*plt.rcParams["font.family"], added]
            return set()
    return lost


def _drawn() -> set[str]:
    """The letters of the fonts that text is set in now."""
    fonts = [findfont(FontProperties(family=[family])) for family in plt.rcParams["font.family"]]
    return set().union(*map(_glyphs, fonts))


@cache
def _fonts() -> list[tuple[str, str]]:
    """Name and file of each upright font of ordinary weight; without TeX's and those of stand-ins
    for any letter."""
    plain = {
        f.name: f.fname
        for f in fontManager.ttflist
        if f.style == "normal" and f.weight in (400, "normal")
    }
    return sorted(
        (name, path)
        for name, path in plain.items()
        if not re.match(r"cm\w+\d|STIX|Last ?Resort", name)
    )


@cache
def _glyphs(path: str) -> frozenset[str]:
    """The letters that a font's file has outlines of."""
    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a format that matplotlib lists, but cannot draw
        return frozenset()


def gallery(
    images: torch.Tensor, titles: Sequence[str] = (), columns=12, wrong: Sequence[bool] = ()
) -> plt.Figure:
    """A grid of uint8 images (N, 3, H, W), each with its title; those of `wrong` ones orange,
    between dashes."""
    titles = [label(title, most=16) for title in titles]
    rows = -(-len(images) // columns)
    inches = (columns * 0.95, rows * (1.2 if titles else 0.97))
    bare = {"frame_on": False, "xticks": [], "yticks": []}
    figure, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False, subplot_kw=bare)
    for k, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        if titles:
            bad = bool(wrong) and wrong[k]
            axis.set_title(
                f"– {titles[k]} –" if bad else titles[k],
                fontsize=11,
                color="C1" if bad else "black",
            )
    figure.tight_layout(pad=0.3)
    widest = max(axis.title.get_window_extent().width for axis in axes.flat)
    room = 0.9 * figure.bbox.width / columns
    for axis in axes.flat if widest > room else []:  # so that neighbours do not touch
        axis.title.set_fontsize(11 * room / widest)
    return figure


def curves(
    metrics: pd.DataFrame, columns: Sequence[str], hue: str | None = None, title: str = ""
) -> plt.Figure:
    """One panel for each of `columns` over the epoch; `hue` names the column that tells runs apart.

    Where runs differ in their seed alone, the line is their mean and the band one standard
    deviation. Columns that are not there (accuracies, without labels) make way for the mutual
    information and the effective rank.
    """
    import seaborn as sns  # takes a second

    columns = list(
        dict.fromkeys(c for c in (*columns, "mi_density", "effective_rank") if c in metrics)
    )[: len(columns)]
    figure, axes = plt.subplots(
        1, len(columns), figsize=(4.4 * len(columns), 3.6), squeeze=False, layout="tight"
    )
    if numbers := hue is not None and pd.api.types.is_numeric_dtype(metrics[hue]):
        # in their order, by name: seaborn takes names in the order that they come in
        metrics = metrics.sort_values(hue, kind="stable").assign(
            **{hue: lambda rows: rows[hue].map("{:g}".format)}
        )
    style: dict = (
        {"hue": hue, "style": hue, "palette": "viridis" if numbers else "colorblind"} if hue else {}
    )
    for axis, column in zip(axes[0], columns, strict=True):
        sns.lineplot(
            metrics,
            x="epoch",
            y=column,
            errorbar="sd",
            ax=axis,
            legend=axis is axes[0, -1],
            **style,
        )
        axis.set(xlabel="epoch", ylabel=LABELS.get(column, column))
        axis.xaxis.get_major_locator().set_params(integer=True)
    if hue:
        axes[0, -1].legend(title=LABELS.get(hue, hue), loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.suptitle(title, fontsize=11)
    return figure
