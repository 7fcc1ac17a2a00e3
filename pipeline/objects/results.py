"""What is kept in `reports/objects_voc/`, and what follows from it: intervals and the verdict.

Everything here is computed from `photographs.csv` and the records alone, in seconds.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from infomax_nb.evaluation.curves import compare
from infomax_nb.files import atomic_write, project_root
from pipeline.evidence.rules import Verdict, ahead, joint_answer
from pipeline.objects.names import (
    ORDER,
    OTHERS,
    OURS,
    PIXELS,
    SEEDS,
    UNIFORM,
    UNTRAINED,
    WIDTHS,
)

FOLDER = "objects_voc"
NETWORKS = "records.json"
REFERENCES = "references.json"
KEYS = ["kind", "seed", "photograph"]
CENTRE = next(iter(WIDTHS))
NOT_NETWORKS = (*WIDTHS, UNIFORM)
ROW = "value"  # of a table of one row, a column for each (seed, photograph)


def folder_of(reports: Path | None = None) -> Path:
    """The folder of the result; `reports` is that of all results, None for the project's."""
    return (reports or project_root() / "reports") / FOLDER


# --- What was measured ------------------------------------------------------------------------


def photographs(reports: Path | None = None) -> pd.DataFrame:
    """The rows of `photographs.csv`, by kind of network, seed and photograph; none if not there."""
    path = folder_of(reports) / "photographs.csv"
    if not path.exists():
        return pd.DataFrame(columns=KEYS).set_index(KEYS)
    return pd.read_csv(path, dtype={"photograph": str}).set_index(KEYS)


def records(reports: Path | None = None, name: str = NETWORKS) -> list[dict]:
    """The record of each network that was measured, or, from `REFERENCES`, of each reference."""
    path = folder_of(reports) / name
    return json.loads(path.read_text("utf-8")) if path.exists() else []


def keep(table: pd.DataFrame, record: dict, reports: Path | None = None) -> None:
    """Add what was measured of a network or reference, in place of what there was of it.

    Args:
        table: a row for each photograph, by its name.
        record: with `kind` and `seed`, and a network's `config`.
        reports: as in `folder_of`.
    """
    name = NETWORKS if "config" in record else REFERENCES
    folder = folder_of(reports)
    folder.mkdir(parents=True, exist_ok=True)
    own = (record["kind"], record["seed"])
    new = pd.concat({own: table}, names=KEYS)
    before = photographs(reports)
    others = before[[key[:2] != own for key in before.index]]
    rows = pd.concat([others, new]) if len(others) else new
    rows[list(PIXELS)] = rows.reindex(columns=PIXELS).astype("Int64")
    maps = [column for column in MEASURES if column in rows]
    rows = rows[[*maps, *PIXELS]]
    kept = [each for each in records(reports, name) if (each["kind"], each["seed"]) != own]
    text = json.dumps([*kept, record], indent=1)
    atomic_write(folder / "photographs.csv", lambda part: rows.to_csv(part, float_format="%.2f"))
    atomic_write(folder / name, lambda part: part.write_text(text, "utf-8"))


# --- Values of photographs --------------------------------------------------------------------


def values(measure: str, reports: Path | None = None) -> pd.DataFrame:
    """A measure of each photograph, in percent: columns (kind, seed), a row for each photograph.

    Args:
        measure: a column of `photographs.csv`, or `iou`, the photographs' parts of the mean IoU.
        reports: as in `folder_of`.
    """
    rows = photographs(reports)
    if measure == "iou":
        whole = rows.dropna(subset=list(PIXELS)) if len(rows) else rows
        parts = [mean_iou(table) for _, table in whole.groupby(KEYS[:2], sort=False)]
        column = pd.concat(parts) if parts else pd.Series(dtype=float)
    else:
        column = rows[measure].dropna() if measure in rows else pd.Series(dtype=float)
    if column.empty:
        return pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []], names=KEYS[:2]))
    return column.unstack(KEYS[:2])


def mean_iou(table: pd.DataFrame) -> pd.Series:
    """Mean IoU of object and background over all pixels, percent, and each photograph's share.

    The measure is a ratio of sums, I/U, not a mean over photographs. Photograph i of n counts here
    as I/U + n (Iᵢ − Uᵢ I/U) / U, the linear part of its influence (the infinitesimal jackknife).
    The mean of these is the measure itself, and their variance over n is the measure's.

    Args:
        table: a row for each photograph, its pixels in columns `tp`, `fp`, `fn` and `tn`.
    """
    of_both = []
    for hit in ("tp", "tn"):
        union = table[hit] + table["fp"] + table["fn"]
        iou = table[hit].sum() / union.sum()
        influence = (table[hit] - iou * union) / union.mean()
        of_both.append(iou + influence)
    return 100 * sum(of_both) / len(of_both)


def shares(reports: Path | None = None) -> pd.DataFrame:
    """The percent of each saliency map's sum inside the photograph's mask, by the plan's target.

    Returns:
        A row for each photograph, columns (kind of network, seed). References that look at no image
        are among the kinds.
    """
    return values("share", reports)


def one_row(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A kind's values as the rules take them: one row, a column for each (seed, photograph).

    A reference is the same for every seed. A kind that is not there has no number for any seed.
    """
    absent = pd.Series(np.nan, index=table.index if len(table) else ["none"])
    columns = dict.fromkeys(SEEDS, absent)
    if kind in NOT_NETWORKS and (kind, 0) in table:
        columns = dict.fromkeys(SEEDS, table[kind, 0])
    elif kind in table:
        columns = {seed: table[kind, seed] for seed in table[kind]}
    return pd.concat(columns).to_frame(ROW).T


def only(table: pd.DataFrame) -> pd.Series:
    """The statistic of a table of one row: that row."""
    return table.loc[ROW]


# --- What follows -----------------------------------------------------------------------------


def verdict(reports: Path | None = None) -> Verdict:
    """Claim 8: is the share of ours above an untrained network's and above the centre prior's?

    It holds if both are above, does not hold if one is shown to be less than a point above, and is
    unfinished while one of the plan's networks is missing.
    """
    table = shares(reports)
    ours = one_row(table, OURS)
    parts = {
        f"less {kind}": ahead(ours, one_row(table, kind), only, seeds=len(SEEDS))
        for kind in (UNTRAINED, CENTRE)
    }
    numbers = pd.concat([part.numbers.set_axis([name]) for name, part in parts.items()])
    return Verdict(joint_answer(part.answer for part in parts.values()), numbers)


MEASURES = {  # by the column, the one in which references stand that look at no image
    "share": "share",
    "share_view": "share",
    "hit": "hit",
    "hit_view": "hit",
    "iou": "iou",
    "share_64": "share",
    "share_32": "share",
    "share_layer2": "share",
    "share_layer1": "share",
}
COMPARED = (UNTRAINED, *NOT_NETWORKS, "simclr")  # with ours of the same seed
BESIDE = ("simclr", OTHERS)  # compared as ours are, without a verdict


def intervals(reports: Path | None = None) -> pd.DataFrame:
    """Each measure of each kind, and ours less some of them, with 90% intervals over networks.

    Columns: `measure`, `kind`, `less` (whether it is ours less the kind), and those of
    `paired_interval`. One network has no interval, a reference that looks at no image has no
    `seeds`.
    """
    rows = []
    for measure in MEASURES:
        table = _with_references(measure, reports)
        there = set(table.columns.get_level_values(0))
        for kind in [kind for kind in (*ORDER, *NOT_NETWORKS) if kind in there]:
            rows.append({"measure": measure, "kind": kind, "less": False} | _mean(table, kind))
            if kind in COMPARED:
                less = compare(one_row(table, OURS), one_row(table, kind), only)
                rows.append({"measure": measure, "kind": kind, "less": True} | less)
    found = pd.DataFrame(rows)
    return found[found["mean"].notna()].reset_index(drop=True)


def beside(reports: Path | None = None) -> pd.DataFrame:
    """Networks of the plan without a verdict, less an untrained one of their seed and the prior.

    Columns: `measure`, `kind`, `less` (the reference), and those of `paired_interval`, 90% over
    networks; kinds that are not there have no row.
    """
    rows = []
    for measure in MEASURES:
        table = _with_references(measure, reports)
        there = set(table.columns.get_level_values(0))
        pairs = product(BESIDE, (UNTRAINED, CENTRE))
        for kind, less in (pair for pair in pairs if there.issuperset(pair)):
            interval = compare(one_row(table, kind), one_row(table, less), only)
            rows.append({"measure": measure, "kind": kind, "less": less} | interval)
    columns = ["measure", "kind", "less", "mean", "low", "high", "error", "seeds"]
    found = pd.DataFrame(rows, columns=columns)
    return found[found["mean"].notna()].reset_index(drop=True)


def _with_references(measure: str, reports: Path | None) -> pd.DataFrame:
    """The measure's values, and those of what looks at no image and so has neither target nor
    layer."""
    table = values(measure, reports)
    base = MEASURES[measure]
    if base == measure:
        return table
    references = values(base, reports)
    known = references.columns.get_level_values(0).isin(NOT_NETWORKS)
    return pd.concat([table, references.loc[:, known]], axis=1)


def _mean(table: pd.DataFrame, kind: str) -> dict:
    """A kind's mean with its interval over networks; of a reference the mean alone."""
    own = one_row(table, kind)
    interval = compare(own, 0 * own, only)
    if kind in NOT_NETWORKS:
        interval |= {"low": np.nan, "high": np.nan, "error": np.nan, "seeds": 0}
    return interval
