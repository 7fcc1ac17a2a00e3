"""What notebook 06 draws of its own: two targets, series for forest plots, ratios by stage."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infomax_nb.figures.axes import look, panels, shared_legend
from infomax_nb.figures.intervals import forest
from infomax_nb.names import in_words

Z = (2.4, 0.9)  # an embedding in two dimensions
OTHER = (1.1, 2.0)  # that of another view


def two_targets() -> Figure:
    """Where each target's gradient moves an embedding: outwards, or around towards another."""
    figure, axis = plt.subplots(figsize=(9.5, 4.4), layout="constrained")
    z = np.array(Z)
    other = np.array(OTHER)
    length = np.linalg.norm(z)
    towards = other / np.linalg.norm(other)
    pull = towards - (towards @ z) * z / length**2
    angles = np.linspace(-0.15, 1.45, 100)
    axis.plot(length * np.cos(angles), length * np.sin(angles), color="0.35", ls="--", lw=1.2)
    axis.text(-0.05, 2.62, "all embeddings as long as z", color="0.35")
    _arrow(axis, (0, 0), z, "0.35", "z, the image", (12, -16))
    _arrow(axis, (0, 0), other, "0.35", "another view", (-88, 4))
    _arrow(axis, z, 1.35 * z, "C0", "target “length”: outwards, along z")
    _arrow(axis, z, z + 1.2 * pull, "C1", "target “another view”: around, towards it")
    axis.set(xlim=(-0.3, 6.3), ylim=(-0.2, 2.8), aspect="equal", xticks=[], yticks=[])
    axis.axis("off")
    return figure


def _arrow(axis: Axes, start, end, colour: str, text: str, offset=(8, 2)) -> None:
    """An arrow with a text at its end, `offset` points away."""
    look = {"arrowstyle": "-|>", "color": colour, "lw": 2.2, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look)
    axis.annotate(text, end, offset, textcoords="offset points", color=colour)


def series(tables: Mapping[str, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """A panel of a forest plot: each table is a series, its rows are named in words.

    Args:
        tables: for each series, a table with `mean`, `low` and `high`, indexed by name.
        names: the rows that are shown, in this order; a table may lack some.
    """
    parts = []
    for kind, table in tables.items():
        rows = table.loc[[name for name in names if name in table.index]]
        parts.append(rows.assign(series=kind))
    return pd.concat(parts)[["mean", "low", "high", "series"]].rename(index=in_words)


def single(values: pd.Series) -> pd.DataFrame:
    """Values as means without intervals."""
    return pd.DataFrame({"mean": values, "low": float("nan"), "high": float("nan")})


def by_stage(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """The ratio over the stage that the map is drawn from; a panel for each table.

    Args:
        tables: for each panel's title, ratios with a row for each stage, shallow to deep, and a
            column for each network.
    """
    figure, axes = panels(len(tables), 4.2)
    for axis, (name, table) in zip(axes, tables.items(), strict=True):
        for number, network in enumerate(table):
            values = table[network].astype(float)
            (line,) = axis.plot(values, ms=7, **look(number))
            line.set_label(in_words(network))
        axis.axhline(1, color="0.35", ls="--", label="uniform map")
        axis.set_title(name)
        axis.set_xlabel("stage, from shallow to deep")
    axes[0].set_ylabel("saliency on the object, times chance")
    shared_legend(figure, axes[0], len(axes[0].lines), loc="outside upper center")
    return figure


# Panels of `on_masks`: by the x axis' label, for each series its measure, and whether it is ours
# less the row's network.
Panels = Mapping[str, Mapping[str, tuple[str, bool]]]


def _by_target(measure: str, less: bool) -> dict[str, tuple[str, bool]]:
    """A measure by both targets."""
    return {"target “length”": (measure, less), "“another view”": (f"{measure}_view", less)}


LESS = "share of ours less that of the row (points)"
SHARES: Panels = {
    "share inside the mask (%)": _by_target("share", False),
    LESS: _by_target("share", True),
}
BESIDE: Panels = {
    "pointing game: hits (%)": _by_target("hit", False),
    "linear segmentation: mIoU (%)": {"": ("iou", False)},
}
_WAYS = {"as planned": "", "at 64 pixels": "_64", "at 32 pixels": "_32"}
_WAYS |= {f"from {layer}": f"_{layer}" for layer in ("layer2", "layer1")}
OTHERWISE: Panels = {LESS: {words: (f"share{end}", True) for words, end in _WAYS.items()}}


def on_masks(
    found: pd.DataFrame, chosen: Panels = SHARES, leave_out: Sequence[str] = ("uniform",)
) -> Figure:
    """A forest plot of `reports/objects_voc/intervals.csv`; a uniform map is a dashed line.

    Args:
        found: the columns `measure`, `kind`, `less`, `mean`, `low`, `high` and `seeds`.
        chosen: what is drawn.
        leave_out: kinds of network that get no row.
    """
    rows = found[~found["kind"].isin(leave_out)]
    names = list(dict.fromkeys(rows["kind"]))
    panels_drawn = {}
    lines = {}
    for label, wanted in chosen.items():
        tables = {words: _of(rows, *which) for words, which in wanted.items()}
        first, *others = tables
        for words in others:  # what looks at no image has one share, whatever the target
            tables[words] = tables[words][tables[words]["seeds"] > 0]
        panels_drawn[label] = series({words: t for words, t in tables.items() if len(t)}, names)
        measure, less = wanted[first]
        uniform = _of(found, measure, less)["mean"].get("uniform")
        if less:
            lines[label] = {"no difference": 0.0}
        elif uniform is not None:
            lines[label] = {"uniform map": uniform}
    return forest(panels_drawn, lines)


def _of(found: pd.DataFrame, measure: str, less: bool) -> pd.DataFrame:
    """The rows of a measure, by kind."""
    return found[(found["measure"] == measure) & (found["less"] == less)].set_index("kind")
