"""How much of several networks' saliency lies on objects: for each image, stage and in words.

Maps and masks are as in `saliency`; networks of one kind differ in their seed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from infomax_nb.analysis.centroids import read_intervals
from infomax_nb.analysis.saliency import inside, interval, map_sizes, smooth_grad_cam
from infomax_nb.evaluation.intervals import interval_text
from infomax_nb.evaluation.representation import inputs

PARTS = ("ratio", "other", "hit")

# --- Images -----------------------------------------------------------------------------------


def on_objects(maps: Tensor, masks: Tensor) -> pd.DataFrame:
    """`inside` for each image, and `other`: the ratio of the map of the image before it.

    Args:
        maps: (N, H, W).
        masks: (N, H, W).
    """
    return inside(maps, masks).assign(other=inside(maps.roll(1, 0), masks).ratio)


def mean_of_networks(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """An image's mean over the networks; each table of `on_objects` is one network's."""
    return pd.concat(tables).groupby(level=0).mean()


def by_stage(
    net: Any, images: Tensor, masks: Tensor, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """`inside` of Smooth Grad-CAM from each stage of the network whose map is not a single point.

    Args:
        net: one of timm's convolutional networks.
        images: uint8 (N, 3, H, W).
        masks: (N, H, W).
        device: `auto`, `cpu` or `cuda`.
    """
    found = {}
    first = next(iter(inputs(images[:1], next(net.parameters()).device)))
    for name, size in map_sizes(net, first).items():
        if max(size) > 1:
            maps = smooth_grad_cam(net, images, name, device=device)
            found[name] = inside(maps, masks)
    return found


# --- Tables -----------------------------------------------------------------------------------


def intervals(measured: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Mean and 95% interval over images: a table each of `ratio`, `other` and `hit` (percent).

    Args:
        measured: for each name, which is a row, a table of `on_objects`.
    """
    columns = {part: _column(measured, part) for part in PARTS}
    return {part: interval(values) for part, values in columns.items()}


def _column(measured: Mapping[str, pd.DataFrame], part: str) -> pd.DataFrame:
    return pd.DataFrame({name: table[part] for name, table in measured.items()})


def in_brackets(values: pd.DataFrame, digits: int) -> pd.Series:
    """Intervals as texts such as `1.25 (1.22 to 1.27)`.

    Args:
        values: columns `mean`, `low` and `high`.
        digits: after the decimal point.
    """
    form = f"{{0:.{digits}f}} ({{1:.{digits}f}} to {{2:.{digits}f}})"
    rounded = values[["mean", "low", "high"]].round(digits) + 0  # no minus before a zero
    return rounded.apply(lambda row: form.format(*row).replace("-", "−"), axis=1)


def from_brackets(texts: pd.Series) -> pd.DataFrame:
    """The intervals in texts of `in_brackets`; rows with other texts are left out.

    >>> from_brackets(pd.Series({"a": "1.25 (−1.22 to 1.27)", "b": "–"}))
       mean   low  high
    a  1.25 -1.22  1.27
    """
    return read_intervals(texts).dropna()


def result_table(by_seed: Mapping[str, Sequence[pd.DataFrame]], ours: str) -> pd.DataFrame:
    """What is exported: each interval as a text, `ours` less each of the others beside it.

    Args:
        by_seed: for each name tables of `on_objects`, one for each network.
        ours: the name that the others are compared with.
    """
    measured = {name: mean_of_networks(each) for name, each in by_seed.items()}
    found = intervals(measured)
    columns = {
        "ratio": in_brackets(found["ratio"], 2),
        "ratio, another's object": in_brackets(found["other"], 2),
        "pointing game (%)": in_brackets(found["hit"], 1),
        f"ratio, {ours} less it": _less(measured, ours, "ratio", 2),
        f"pointing game, {ours} less it": _less(measured, ours, "hit", 1),
    }
    if len(by_seed[ours]) > 1:
        columns |= _over_networks(by_seed, ours)
    return pd.DataFrame(columns, index=list(measured)).fillna("–")


def _less(measured: Mapping[str, pd.DataFrame], ours: str, part: str, digits: int) -> pd.Series:
    """A part of `ours` less each of the others', image by image, as texts."""
    values = _column(measured, part)
    others = values.drop(columns=ours)
    less = others.rsub(values[ours], axis=0)
    return in_brackets(interval(less), digits)


def _over_networks(
    by_seed: Mapping[str, Sequence[pd.DataFrame]], ours: str
) -> dict[str, pd.Series]:
    """Each network's ratio, and `ours` less the others paired by seed, as texts."""
    number = len(by_seed[ours])
    ratios = pd.DataFrame(
        {
            name: [table.ratio.mean() for table in tables]
            for name, tables in by_seed.items()
            if len(tables) == number
        }
    )
    others = ratios.drop(columns=ours)
    less = others.rsub(ratios[ours], axis=0)
    return {
        "ratio, seed by seed": ratios.round(2).apply(_listed),
        f"ratio, {ours} less it, over networks": less.apply(interval_text, digits=2, count=False),
    }


def _listed(values: pd.Series) -> str:
    return ", ".join(map("{:.2f}".format, values))


def stage_table(staged: Mapping[str, Mapping[str, pd.DataFrame]], ours: str) -> pd.DataFrame:
    """The ratios of what `by_stage` returned for each name, and `ours` less the untrained one.

    The last column is a text with an interval over images.
    """
    ratios = {
        name: {stage: table.ratio.mean() for stage, table in tables.items()}
        for name, tables in staged.items()
    }
    table = pd.DataFrame(ratios).map("{:.2f}".format)
    less = {
        stage: staged[ours][stage].ratio - staged["untrained"][stage].ratio for stage in table.index
    }
    table[f"{ours} less untrained"] = in_brackets(interval(pd.DataFrame(less)), 2)
    return table


# --- Words ------------------------------------------------------------------------------------


def sentences(
    differences: pd.DataFrame, gaps: Mapping[str, Sequence[pd.Series]]
) -> tuple[list[str], str]:
    """A sentence on each difference, and one on what the intervals are over.

    Args:
        differences: what `saliency.compared` returned.
        gaps: what it was given.
    """
    each = differences.word + " " + differences.index
    each = each + ", difference " + in_brackets(differences, 2)
    networks = len(next(iter(gaps.values())))
    if networks == 1:
        unit = "Intervals: 95%, over the images of one network of each kind"
        return list(each), f"{unit}; over networks there is none"
    by_run = pd.DataFrame({name: [gap.mean() for gap in every] for name, every in gaps.items()})
    texts = by_run.round(2).astype(str).agg(", ".join).str.replace("-", "−")
    unit = f"Intervals of differences: 95%, Student's t over {networks} networks"
    return list(each + ", seed by seed " + texts), unit


def seed_by_seed(texts: pd.Series) -> pd.DataFrame:
    """The numbers in `ratio, seed by seed` of a result's table: a row for each seed.

    >>> seed_by_seed(pd.Series({"a": "1.25, 0.89", "b": "–"}))
          a
    0  1.25
    1  0.89
    """
    numbers = texts[texts != "–"].str.split(", ")
    return pd.DataFrame({name: np.array(row, float) for name, row in numbers.items()})
