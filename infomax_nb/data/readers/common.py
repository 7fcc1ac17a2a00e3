"""data.readers.common."""

import os
from pathlib import Path

import pandas as pd

from infomax_nb.errors import ParameterError, file_errors


def _first(what: str, places: list[Path], get: str) -> Path:
    """The first of the places that exists."""
    found = next((p for p in places if p.exists()), None)
    if found is None:
        looked = " and ".join(str(p.resolve()) for p in places)
        raise ParameterError(
            f"data_root: {what} was not found; looked for {looked}. {get}", data_missing=True
        )
    return found


def _lines(keys: list[str], paths: list[Path], others: bool = False, **options) -> pd.DataFrame:
    """The lines for `keys` in text tables whose index is the key; there may be `others`."""
    tables = [file_errors(path)(pd.read_csv)(path, **options) for path in paths]
    with file_errors(os.path.commonpath(paths)):
        table = pd.concat(tables)
        lines = table.reindex(keys)
        lost = [
            *lines.index[lines.isna().any(axis=1)],
            *(set() if others else set(table.index) - set(keys)),
        ]
        if lost:
            raise ValueError(f"there is no whole line, or no image, for {lost[0]}")
    return lines
