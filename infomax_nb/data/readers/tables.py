"""Text tables that say more about each image or class of a data set."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from infomax_nb.errors import file_errors


def table_rows(
    keys: list[str], paths: list[Path], may_hold_others: bool = False, **options: Any
) -> pd.DataFrame:
    """One row for each key, in their order, of text tables whose index is the key.

    Args:
        keys: what rows are wanted for.
        paths: the tables, which are read as one.
        may_hold_others: whether there may be rows for other keys.
        options: what `pandas.read_csv` is told about the tables.

    Raises:
        ParameterError: a table cannot be read, or has no whole row for a key.
    """
    tables = [file_errors(path)(pd.read_csv)(path, **options) for path in paths]
    with file_errors(os.path.commonpath(paths)):
        table = pd.concat(tables)
        rows = table.reindex(keys)
        wrong = list(rows.index[rows.isna().any(axis=1)])
        if not may_hold_others:
            wrong += set(table.index) - set(keys)
        if wrong:
            raise ValueError(f"there is no whole line, or no image, for {wrong[0]}")
    return rows
