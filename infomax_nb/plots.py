"""Figures that several notebooks share, and names in a form that figures can show.

`gallery`, `overlay` and `curves` draw and return a matplotlib figure. Importing this module sets
the project's style.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from torch import Tensor

from infomax_nb.errors import printable
from infomax_nb.files import atomic_write
from infomax_nb.names import in_words

LABELS: dict[str, str] = json.loads(Path(__file__).with_name("labels.json").read_text("utf-8"))
plt.style.use(["seaborn-v0_8-whitegrid", "infomax_nb.figures"])
COLOURS: list[str] = plt.rcParams["axes.prop_cycle"].by_key()["color"]

# --- Colours ----------------------------------------------------------------------------------


def shades(values: Sequence) -> dict[Any, str]:
    """Colours for numbers, dark to bright in the order of `values`, told apart by all eyes."""
    places = [0.79 * k / max(len(values) - 1, 1) for k in range(len(values))]
    colours = map(to_hex, map(plt.get_cmap("inferno"), places))
    return dict(zip(values, colours, strict=True))


# --- Files ------------------------------------------------------------------------------------


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, completely or not at all."""
    atomic_write(path, partial(figure.savefig, format="png", dpi=110))


# --- Legends ----------------------------------------------------------------------------------


def legend_beside(axis: Axes, *entries: Any, title: str | None = None) -> None:
    """Draw a legend to the right of the axes; the entries, if any, are as in `Axes.legend`."""
    axis.legend(*entries, title=title, loc="upper left", bbox_to_anchor=(1.02, 1))


# --- Names ------------------------------------------------------------------------------------


def label(name: str, number: int | None = None, most: int = 24) -> str:
    """A name for matplotlib to show: as text, never as a formula, in letters that a font here has.

    If the usual font lacks a letter, one of this machine's fonts that has it is added to
    `font.family`. The label of a label is that label.

    Args:
        name: any text.
        number: shown instead of the name if no font has one of its letters. None shows "?" for
            such a letter.
        most: the most letters shown; a longer name loses its middle.
    """
    text = "\n".join(map(printable, name.replace(r"\$", "$").split("\n")))
    missing = _missing_letters(text)
    if missing and number is not None:
        text = str(number)
    text = text.translate(dict.fromkeys(map(ord, missing), "?"))
    if len(text) > most:
        head = most // 2
        tail = most - head - 1
        text = f"{text[:head]}…{text[-tail:]}"
    return text.replace("$", r"\$")


def labels(names: Sequence[str], most: int = 24) -> list[str]:
    """The `label` of each name, no two alike; a name's number is its place in the list."""
    texts = [label(name, place, most) for place, name in enumerate(names)]
    while max(Counter(texts).values(), default=0) > 1:
        times = Counter(texts)
        texts = [f"{text} ({n})" if times[text] > 1 else text for n, text in enumerate(texts)]
    return texts


def _missing_letters(text: str) -> set[str]:
    """The letters that cannot be drawn, after adding a font that can draw them, if there is one."""
    families = plt.rcParams["font.family"]
    used = [findfont(FontProperties(family=[family])) for family in families]
    missing = set(text) - {"\n"}
    missing = missing.difference(*map(_letters, used))
    for family, path in _fonts():
        if missing and missing <= _letters(path):
            plt.rcParams["font.family"] = [*families, family]
            return set()
    return missing


@cache
def _fonts() -> list[tuple[str, str]]:
    """Name and file of each upright font of ordinary weight.

    TeX's fonts are left out, and those that draw a placeholder for any letter.
    """
    plain = {}
    for font in fontManager.ttflist:
        if font.style == "normal" and font.weight in (400, "normal"):
            plain[font.name] = font.fname
    unfit = re.compile(r"cm\w+\d|STIX|Last ?Resort")
    return sorted((name, path) for name, path in plain.items() if not unfit.match(name))


@cache
def _letters(path: str) -> frozenset[str]:
    """The letters for which a font's file has outlines."""
    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a format that matplotlib lists, but cannot draw
        return frozenset()


# --- Images -----------------------------------------------------------------------------------


def gallery(
    images: Tensor, titles: Sequence[str] = (), columns=12, wrong: Sequence[bool] = ()
) -> plt.Figure:
    """A grid of images, each with its title.

    Args:
        images: uint8 (N, 3, H, W).
        titles: one for each image, or none.
        columns: number of columns.
        wrong: which titles are drawn in orange, between dashes.
    """
    rows = math.ceil(len(images) / columns)
    inches = (columns * 0.95, rows * (1.2 if titles else 0.97))
    bare = {"frame_on": False, "xticks": [], "yticks": []}
    figure, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False, subplot_kw=bare)
    for axis, image in zip(axes.flat, images, strict=False):
        axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    for k, (axis, title) in enumerate(zip(axes.flat, titles, strict=False)):
        text = label(title, most=16)
        axis.set_title(text, fontsize=11, color="black")
        if wrong and wrong[k]:
            axis.title.set(text=f"– {text} –", color="C1")
    figure.tight_layout(pad=0.3)
    widest = max(axis.title.get_window_extent().width for axis in axes.flat)
    room = 0.9 * figure.bbox.width / columns
    if widest > room:  # neighbours would touch
        for axis in axes.flat:
            axis.title.set_fontsize(11 * room / widest)
    return figure


def overlay(
    pictures: Sequence[Tensor],
    rows: Mapping[str, Sequence[Tensor]],
    masks: Sequence[Tensor] | None = None,
) -> plt.Figure:
    """A row of pictures, and below it one for each set of maps, bright where a map is large.

    Args:
        pictures: each uint8 (3, H, W).
        rows: for each row's name, a map (H, W) of each picture.
        masks: one (H, W) for each picture; their outlines are drawn over the maps.
    """
    inches = (1.5 * len(pictures) + 0.6, 1.55 * (len(rows) + 1))
    options: dict[str, Any] = {"figsize": inches, "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(len(rows) + 1, len(pictures), **options)
    for axis, picture in zip(axes[0], pictures, strict=True):
        axis.imshow(picture.permute(1, 2, 0))
    for line, maps in zip(axes[1:], rows.values(), strict=True):
        for k, axis in enumerate(line):
            grey = pictures[k].float().mean(0)
            axis.imshow(grey, cmap="gray", vmin=-255, vmax=255)  # pale: dark spots are the map's
            axis.imshow(maps[k], cmap="inferno", alpha=0.65)
            if masks is not None:
                axis.contour(masks[k], [0.5], colors="white", linewidths=1)
    for line, name in zip(axes, ["picture", *rows], strict=True):
        line[0].set_ylabel(name)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure


# --- Training curves --------------------------------------------------------------------------


def curves(
    metrics: pd.DataFrame,
    columns: Sequence[str],
    hue: str | None = None,
    title: str = "",
    among: Iterable[float] = (),
) -> plt.Figure:
    """One panel for each column of the metrics, over the epoch.

    Where runs differ in their seed alone, the line is their mean and the band one standard
    deviation.

    Args:
        metrics: rows of runs.
        columns: the columns to draw. Missing ones (accuracies, where there are no labels) are
            replaced by the mutual information and the effective rank.
        hue: the column that tells runs apart.
        title: shown above all panels.
        among: all numbers that the hue has in a larger figure, whose colours are kept.
    """
    import seaborn as sns  # takes a second

    candidates = dict.fromkeys([*columns, "mi_density", "effective_rank"])
    shown = [column for column in candidates if column in metrics][: len(columns)]
    inches = (max(9.5, 4.4 * len(shown)), 3.8)
    figure, axes = plt.subplots(1, len(shown), figsize=inches, squeeze=False, layout="tight")
    style: dict[str, Any] = {}
    if hue:
        numbers = pd.api.types.is_numeric_dtype(metrics[hue])
        if numbers:  # sorted, then made text: seaborn keeps the order in which texts come
            metrics = metrics.sort_values(hue, kind="stable")
            metrics[hue] = metrics[hue].map("{:g}".format)
        else:
            metrics = metrics.assign(**{hue: metrics[hue].map(in_words)})
        kinds = list(dict.fromkeys(metrics[hue]))
        every = [f"{number:g}" for number in sorted(among)]
        colours = (
            shades(every or kinds) if numbers else dict(zip(kinds, cycle(COLOURS), strict=False))
        )
        style = {"hue": hue, "style": hue, "palette": colours}
    for axis, column in zip(axes[0], shown, strict=True):
        last = axis is axes[0, -1]
        sns.lineplot(metrics, x="epoch", y=column, errorbar="sd", ax=axis, legend=last, **style)
        axis.set(xlabel="epoch", ylabel=LABELS.get(column, column))
        axis.xaxis.get_major_locator().set_params(integer=True)
    if hue:
        legend_beside(axes[0, -1], title=LABELS.get(hue, hue))
    figure.suptitle(title)
    return figure
