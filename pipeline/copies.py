"""Find the results that come from copies of data sets that are not the published ones."""

import pandas as pd

from infomax_nb.files import project_root


def data_note(records: list[dict]) -> str:
    """A note on the images that runs read, if these were not the published ones; else empty.

    `reports/data_notes.csv` has a line for each such copy of a data set. Runs before the day given
    there read that copy.

    Args:
        records: the runs' records, as in `records.json`.
    """
    notes = pd.read_csv(project_root() / "reports" / "data_notes.csv")
    copies = []
    for dataset, day, images in notes.itertuples(index=False):
        runs = [record for record in records if record.get("config", {}).get("dataset") == dataset]
        read = [run for run in runs if run.get("started", day) < day]
        if read:
            copies.append(images if len(read) == len(runs) else f"some of the runs read {images}")
    return "; ".join(copies)
