"""The effects of several factors and of their interactions, as a forest plot."""

import pandas as pd
from matplotlib.figure import Figure

from infomax_nb.figures.axes import empty
from infomax_nb.figures.intervals import forest

WORDS = {"kappa": "κ"}
TIMES = " × "  # stands between the factors of an interaction


def effects(table: pd.DataFrame, margin: float = 1.0) -> Figure:
    """Draw main effects above a line and interactions below it, each with its interval, in points.

    Args:
        table: a row for each effect and `series` (equal epochs, equal compute), indexed by the
            effect's name, such as "views" or "views × kappa", with the columns `mean`, `low`,
            `high` and `seeds`, of which the smallest number is named. One seed has no interval:
            `low` and `high` are NaN, the mark is hollow. Effects whose `mean` is NaN are left out.
            If there is none, the figure says so.
        margin: half the width of the grey band: smaller effects are called none, in points.
    """
    table = table.dropna(subset="mean") if len(table) else table
    if table.empty:
        return empty("nothing to show yet: no seed of the factorial has all its runs")
    order = table.index.str.count(TIMES).argsort(kind="stable")
    table = table.iloc[order].rename(index=_in_words)
    fewest = int(table.seeds.min())
    seeds = f"{fewest} seeds" if fewest > 1 else "one seed, no interval"
    label = f"effect, points ({seeds})"
    figure = forest({label: table}, {label: {"no effect": 0}})
    axis = figure.axes[0]
    axis.axvspan(-margin, margin, color="0.9", zorder=-1)
    main = [name for name in table.index.unique() if TIMES not in name]
    axis.axhline(len(main) - 0.5, color="0.6", lw=1, label="_interactions below")
    return figure


def _in_words(name: str) -> str:
    return TIMES.join(WORDS.get(factor, factor) for factor in name.split(TIMES))
