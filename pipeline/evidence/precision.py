"""`make precision-check`: may bf16 stand in for float32? The verdict on line 0, by the rule of
`docs/plan.md`."""

import sys

import pandas as pd

from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.verdicts import equivalent, paired_interval
from infomax_nb.train.run import Run
from pipeline.evidence.job import parser, places
from pipeline.evidence.runs import Planned, chosen, exported, planned

MARGIN = 0.5  # points
MEASURES = ("linear_top1", "knn_top1")


def verdict(runs: list[Planned]) -> pd.DataFrame:
    """A row for each measure after the last epoch: bf16 less float32 in points, 90% interval,
    seeds, answer.

    The answer is `unfinished` while a run's results are missing; `undecided` counts as not shown.
    """
    finals = {}
    for run in runs:
        if exported(run):
            finals[run.config.precision, run.config.seed] = Run(run.results).metrics.iloc[-1]
    rows = []
    for measure in MEASURES:
        values = pd.Series({key: final[measure] for key, final in finals.items()}, dtype=float)
        found = paired(values, measure)
        if len(finals) < len(runs):
            found["answer"] = "unfinished"
        rows.append(found)
    return pd.DataFrame(rows)


def paired(values: pd.Series, measure: str) -> dict:
    """The interval of the differences, bf16 less float32, of values (percent) by (precision,
    seed)."""
    table = values.unstack(0) if len(values) else pd.DataFrame()
    differences = (
        table.get("bf16", pd.Series(dtype=float)) - table.get("32", pd.Series(dtype=float))
    ).dropna()
    return {
        "measure": measure,
        **paired_interval(differences, 0.90),
        "answer": equivalent(differences, MARGIN),
    }


def main() -> None:
    """Write `verdict.csv` beside the runs' results and say what it says."""
    given = parser(__doc__, prog="python -m pipeline.evidence.precision").parse_args()
    try:
        runs = chosen(planned(places(given)), "0")
        table = verdict(runs)
        folder = runs[0].results.parent
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "verdict.csv", index=False)
    except (ParameterError, RunError) as error:
        sys.exit(str(error))
    print(table.to_string(index=False))
    shown = (table.answer == "equivalent").all()
    print(
        f"bf16 {'may' if shown else 'may not'} stand in for float32 (±{MARGIN} points): {folder / 'verdict.csv'}"
    )


if __name__ == "__main__":
    main()
