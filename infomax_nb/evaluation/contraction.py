"""Whether runs did what a threshold said of them before they began (docs/contraction.md)."""

import pandas as pd

SMALL = 0.1  # of the spread before training, below which a run counts as collapsed


def outcome(rows: pd.DataFrame, small: float = SMALL) -> pd.DataFrame:
    """The rows with what was predicted and what happened, true or false.

    Args:
        rows: a row for each run with `beta` (alpha is 1), `threshold_start`, `threshold_collapsed`
            and the batch's spread before training and after each epoch, `spread_0`, `spread_1`, ...
        small: the share of the spread before training below which a run counts as collapsed.

    Returns:
        The same with `contracts_predicted`, `contracts`, `collapses_predicted` and `collapses`.
    """
    last = max(int(name.removeprefix("spread_")) for name in rows if name.startswith("spread_"))
    above_start = rows.beta > rows.threshold_start
    return rows.assign(
        contracts_predicted=above_start,
        contracts=rows.spread_1 < rows.spread_0,
        collapses_predicted=above_start & (rows.beta > rows.threshold_collapsed),
        collapses=rows[f"spread_{last}"] < small * rows.spread_0,
    )


def right(predicted: pd.DataFrame) -> pd.DataFrame:
    """How many predictions came true, beside the best constant guess, for both predictions."""
    questions = {
        "contracts": "contracts in the first epoch",
        "collapses": "is collapsed at the end",
    }
    table = {}
    for name, words in questions.items():
        happened = predicted[name]
        table[words] = {
            "runs": len(predicted),
            "predicted": int(predicted[f"{name}_predicted"].sum()),
            "happened": int(happened.sum()),
            "right": int((predicted[f"{name}_predicted"] == happened).sum()),
            "best constant guess": int(max(happened.sum(), (~happened).sum())),
        }
    return pd.DataFrame(table).T.rename_axis("a run …")
