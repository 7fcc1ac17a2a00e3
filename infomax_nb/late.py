"""Late training: the verdicts of `docs/plan.md` and the curves behind them.

They are read from `reports/verdicts/`, which `python -m pipeline.evidence.verdicts` computes from
the results of the plan's runs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root

if TYPE_CHECKING:
    from IPython.display import Markdown

VERDICTS = project_root() / "reports" / "verdicts"
CIFAR10_LINES = "abcdg"  # the plan's lines with whole trainings on CIFAR-10
HEAD = """\
| claim | compared | difference and interval | verdict | rests on |
|---|---|---|---|---|
"""


def verdicts(*claims: str, folder: Path = VERDICTS) -> "Markdown":
    """Verdicts of the plan as a table, and below it how to check each of them.

    Args:
        claims: their numbers in the plan, such as `1` or `4b`.
        folder: where the tables are.

    Raises:
        ParameterError: the plan has no such claim.
    """
    from IPython.display import Markdown

    rows = verdict_rows(claims, folder)
    return Markdown(f"{in_a_table(rows)}\n\n{how_to_check(rows)}")


def verdict_rows(claims: Iterable[str], folder: Path = VERDICTS) -> pd.DataFrame:
    """The rows of these claims, as `pipeline/evidence/finding.py` writes them.

    Raises:
        ParameterError: the plan has no such claim.
    """
    table = pd.read_csv(folder / "table.csv", index_col="claim", dtype={"claim": str})
    for claim in claims:
        if claim not in table.index:
            known = ", ".join(table.index)
            raise ParameterError(f"claim = {claim!r} is not allowed: the plan has {known}.")
    return table.loc[list(claims)].fillna("")


def in_a_table(rows: pd.DataFrame) -> str:
    """Verdicts as a table in Markdown."""
    lines = []
    for claim, row in rows.iterrows():
        budgets = f"{row.budgets}; {row.network}; {row['data']}"
        basis = f"{row.evidence}: {row.seeds} {row.unit}s; {budgets}"
        compared = f"{row.contrast} ({row['when']})"
        found = f"{row.difference} ({row.scale})" if row.difference else "nothing to compare yet"
        cells = (f"{claim}. {row.says}", compared, found, f"**{row.verdict}**", basis)
        lines.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(lines)


def how_to_check(rows: pd.DataFrame) -> str:
    """For each verdict what would change it, how to recompute it, how to run it anew.

    Runs that are kept are not trained again, so new ones go to a folder of their own.
    """
    lines = []
    for claim, row in rows.iterrows():
        change = f" Would change our mind: {row.change}." if row.change else ""
        recompute = f"`{row.recompute}` computes it again from what is kept, in seconds"
        anew = f"`{row.anew}` trains its runs anew, into a folder NEW"
        lines.append(f"- **{claim}.** {recompute}; {anew}.{change}")
    return "\n".join(lines)


def evaluations(*runs: str, lines: str = CIFAR10_LINES, folder: Path = VERDICTS) -> pd.DataFrame:
    """The evaluations of finished runs, a row for each run and epoch; accuracies in percent.

    Args:
        runs: conditions, as `params/evidence/` names them.
        lines: the plan's lines in which they are sought.
        folder: where the tables are.
    """
    rows = pd.read_csv(folder / "curves.csv")
    return rows[rows.run.isin(runs) & rows.line.isin(list(lines))]


def without_trunks(rows: pd.DataFrame) -> pd.DataFrame:
    """`evaluations` without those that a branch, as `beta2_from20`, has from its trunk."""
    branched = rows.run.str.extract(r"_from(\d+)$")[0].astype(float)
    return rows[~(rows.epoch < branched)]


def late_means(rows: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Mean of each run's last five evaluations, by run and seed; accuracies in percent.

    Args:
        rows: of `evaluations`, finished runs on one data set.
        columns: of `rows`.

    Raises:
        ValueError: the rows are of line e and of others, whose data differ.
    """
    lines = set(rows.line)
    if "e" in lines and len(lines) > 1:
        raise ValueError(f"lines {sorted(lines)} have no common mean: line e has other data.")
    last = rows.sort_values("epoch").groupby(["run", "seed"]).tail(5)
    return last.groupby(["run", "seed"])[list(columns)].mean()


def factor_effects(measure: str = "linear", folder: Path = VERDICTS) -> pd.DataFrame:
    """The effects of views, κ and recipe, for `figures.factorial.effects`; empty until they ran.

    Args:
        measure: `linear` or `knn`.
        folder: where the tables are.
    """
    table = pd.read_csv(folder / "effects.csv")
    return table[table.measure == measure].set_index("effect")


def references(dataset: str, reports: Path = VERDICTS.parent) -> pd.DataFrame:
    """What was not trained, and kept networks: k-NN accuracies in percent, means over seeds.

    Args:
        dataset: as `TrainConfig` names it.
        reports: the folder of all results; `late_reference/` in it has the numbers.
    """
    rows = pd.read_csv(reports / "late_reference" / "table.csv")
    of_set = rows[rows.dataset == dataset].groupby("network", sort=False)
    names = {"knn_top1": "k-NN, all classes", "knn_far": "far classes", "knn_near": "breeds"}
    table = of_set[list(names)].mean().dropna(axis=1).round(1).rename(columns=names)
    return table.assign(seeds=of_set.size()).rename_axis("features")
