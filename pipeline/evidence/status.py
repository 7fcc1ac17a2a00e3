"""`make evidence-status [DATA_ROOT=DIR] [CSV=FILE]`: how far each run of the plan is, and how many
hours are left."""

import os
import sys
from pathlib import Path

import pandas as pd

from infomax_nb.errors import ParameterError, RunError
from pipeline.evidence.job import parser, places
from pipeline.evidence.runs import Planned, chosen, hours_left, planned, state


def status(runs: list[Planned], every: list[Planned]) -> pd.DataFrame:
    """A row for each run: line, run, state, the last epoch and how many there are, core-hours left,
    a reason.

    every: all runs of the plan, from which the hours are estimated.
    """
    states = {run.name: state(run) for run in runs}
    left = hours_left(runs, states, every)
    rows = []
    for run in runs:
        now = states[run.name]
        row = {
            "line": run.line,
            "run": run.label,
            "state": now.kind,
            "epoch": now.epoch,
            "of": run.config.epochs,
        }
        rows.append(row | {"hours left": round(left[run.name], 2), "said": now.said})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table; write it without the hours, which change all the time, to a file if one is
    named."""
    told = parser(__doc__, prog="python -m pipeline.evidence.status")
    told.add_argument("--lines", help="a,b: only these; else all that are letters")
    told.add_argument("--csv", type=Path, help="write the table there, too")
    given = told.parse_args()
    try:
        every = planned(places(given))
        table = status(chosen(every, given.lines), every)
        if given.csv:
            table.drop(columns="hours left").to_csv(given.csv, index=False)
    except (ParameterError, RunError) as error:
        sys.exit(str(error))
    print(table.to_string(index=False, max_colwidth=70))
    done = table.state.isin(["finished", "collapsed"]).sum()
    print(
        f"\n{done} of {len(table)} runs are there; {table['hours left'].sum():.1f} core-hours left."
    )


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
