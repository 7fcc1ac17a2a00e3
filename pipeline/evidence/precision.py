"""`make precision-check`: may bf16 stand in for float32?

It gives the verdict on line 0 of `docs/plan.md`, by the rule there.
"""

from functools import partial

import pandas as pd

from infomax_nb.evaluation.intervals import equivalent, paired_interval
from infomax_nb.files import atomic_write
from infomax_nb.train.run import Run
from pipeline.command import in_a_sentence
from pipeline.evidence.places import evidence_parser, kept_places_of
from pipeline.evidence.runs import Planned, chosen, planned
from pipeline.evidence.state import exported

MARGIN = 0.5  # points
MEASURES = ("linear_top1", "knn_top1")


def verdict(runs: list[Planned]) -> pd.DataFrame:
    """Whether bf16 is as good as float32 after the last epoch.

    Returns:
        A row for each measure: bf16 less float32 in points, with its 90% interval, the number of
        seeds, and the answer. The answer is `unfinished` while a run's results are missing;
        `undecided`, which counts as not shown, also where a run has collapsed.
    """
    rows = {}
    states = {run.name: exported(run) for run in runs}
    for run in runs:
        known = states[run.name]
        if known and known.kind == "finished":
            final = Run(run.results).metrics.iloc[-1]
            rows[run.config.precision, run.config.seed] = final.reindex(MEASURES)
    finals = pd.DataFrame.from_dict(rows, orient="index", columns=MEASURES, dtype=float)
    verdicts = []
    for measure in MEASURES:
        values = {precision: _by_seed(finals[measure], precision) for precision in ("bf16", "32")}
        apart = (values["bf16"] - values["32"]).dropna()
        if not all(states.values()):
            answer = "unfinished"
        elif 2 * len(apart) < len(runs):  # a run has collapsed, so its pair is not there
            answer = "undecided"
        else:
            answer = equivalent(apart, MARGIN)
        interval = paired_interval(apart, 0.90)
        verdicts.append({"measure": measure, **interval, "answer": answer})
    return pd.DataFrame(verdicts)


def _by_seed(values: pd.Series, precision: str) -> pd.Series:
    """The values of one precision by seed, from values by (precision, seed)."""
    of_seeds = {seed: value for (kind, seed), value in values.items() if kind == precision}
    return pd.Series(of_seeds, dtype=float)


def main() -> None:
    """Write `verdict.csv` beside the runs' results and print it."""
    given = evidence_parser("precision", __doc__).parse_args()
    with in_a_sentence():
        runs = chosen(planned(kept_places_of(given)), "0")
        table = verdict(runs)
        folder = runs[0].results.parent
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "verdict.csv", partial(table.to_csv, index=False))
    print(table.to_string(index=False))
    may = "may" if (table.answer == "equivalent").all() else "may not"
    print(f"bf16 {may} stand in for float32 (±{MARGIN} points): {folder / 'verdict.csv'}")


if __name__ == "__main__":
    main()
