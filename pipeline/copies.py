"""Copies of data sets that are not the published ones: which results read them."""

import pandas as pd

from infomax_nb.files import project_root


def data_note(records: list[dict]) -> str:
    """Which images runs read where these were not the published ones; else an empty text.

    `reports/data_notes.csv` has a line for each such copy of a data set, with the day before which
    runs read it.

    Args:
        records: the runs' records, as in `records.json`.
    """
    notes = pd.read_csv(project_root() / "reports" / "data_notes.csv")
    copies = []
    for dataset, day, images in notes.itertuples(index=False):
        runs = [record for record in records if record.get("config", {}).get("dataset") == dataset]
        if any(run["started"] < day for run in runs):
            copies.append(images)
    return "; ".join(copies)
