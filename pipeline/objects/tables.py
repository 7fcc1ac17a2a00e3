"""The tables, the figure and the caption of `reports/objects_voc/`."""

from functools import partial
from pathlib import Path

import pandas as pd

from infomax_nb.errors import ParameterError
from infomax_nb.figures.saliency import on_masks
from infomax_nb.files import atomic_write
from infomax_nb.names import in_words, setting
from infomax_nb.plots import save
from pipeline.evidence.rules import UNFINISHED, Verdict
from pipeline.objects.names import OURS, SEEDS
from pipeline.objects.results import beside, folder_of, intervals, photographs, records, verdict

COLUMNS = {
    "share": "share inside the mask (%)",
    "share_view": "share by “another view”",
    "hit": "pointing game (%)",
    "hit_view": "pointing game by “another view”",
    "iou": "linear segmentation, mIoU (%)",
}


def conclude(reports: Path | None = None) -> str:
    """Write the tables, the figure and the verdict from what was measured; the verdict in words.

    Args:
        reports: the folder of all results; None means the project's.

    Raises:
        ParameterError: nothing was measured.
    """
    if photographs(reports).empty:
        raise ParameterError(f"reports: {folder_of(reports)} holds no measured network.")
    folder = folder_of(reports)
    found = intervals(reports)
    answer = verdict(reports)
    numbers = answer.numbers.rename_axis("contrast").assign(answer=answer.answer)
    caption = _caption(answer, reports)
    tables = {
        "intervals": found.set_index(["measure", "kind", "less"]),
        "table": table_in_words(found),
        "verdict": numbers,
        "beside": beside(reports).set_index(["measure", "kind", "less"]),
    }
    for name, table in tables.items():
        atomic_write(folder / f"{name}.csv", partial(table.to_csv, float_format="%.4f"))
    save(on_masks(found), folder / "figure.png")
    atomic_write(folder / "caption.txt", lambda part: part.write_text(caption + "\n", "utf-8"))
    return sentence(answer)


def table_in_words(found: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind: its number of networks, each measure, and ours less it."""
    own = found[~found["less"]]
    columns = {"networks": own.groupby("kind", sort=False)["seeds"].max().astype(int)}
    for measure, words in COLUMNS.items():
        columns[words] = _texts(own, measure)
    columns["share, infomax less it"] = _texts(found[found["less"]], "share")
    kinds = own["kind"].unique()
    return pd.DataFrame(columns).reindex(kinds).fillna("–").rename_axis("network")


def _texts(found: pd.DataFrame, measure: str) -> pd.Series:
    """Means of a measure by kind, with their intervals where there are some."""
    rows = found[found["measure"] == measure].set_index("kind")
    return rows.apply(_text, axis=1) if len(rows) else pd.Series(dtype=str)


def _text(row: pd.Series) -> str:
    """A mean, and its interval if there is one, such as `48.1 (45.2 to 51.0)`."""
    text = f"{row['mean']:.1f}"
    if pd.notna(row["low"]):
        text += f" ({row['low']:.1f} to {row['high']:.1f})"
    return text.replace("-", "−")


def sentence(answer: Verdict) -> str:
    """The verdict in words, with its numbers."""
    parts = []
    for name, row in answer.numbers.iterrows():
        number = f"{row['mean']:+.1f} points".replace("-", "−")
        if pd.notna(row["low"]):
            number += f" ({row['low']:.1f} to {row['high']:.1f})".replace("-", "−")
        parts.append(f"{name} {number if row['seeds'] else 'not measured'}")
    seeds = int(answer.numbers["seeds"].min())
    count = f"{seeds} of {len(SEEDS)} networks"
    return f"“Focus on main objects”: {answer.answer} ({count}). Share of ours {'; '.join(parts)}."


def _caption(answer: Verdict, reports: Path | None) -> str:
    """What was measured on what, and what follows."""
    kept = records(reports)
    of_ours = [each for each in kept if each["kind"] == OURS]
    number = photographs(reports).index.get_level_values("photograph").nunique()
    trained = f"; {OURS}: {setting(of_ours)}" if of_ours else ""
    about = (
        f"Saliency on the pixel masks of {number} photographs of animals (PASCAL VOC, 128 pixels)"
    )
    unit = "Intervals: 90%, over networks; one network has none"
    late = " Not all planned networks have been trained." if answer.answer == UNFINISHED else ""
    early = "The early networks, of fewer than 10,000 steps, learned from a JPEG-compressed copy"
    rest = "all others from the lossless images"
    return in_words(f"{about}{trained}. {early}, {rest}. {unit}. {sentence(answer)}{late}")
