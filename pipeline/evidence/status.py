"""`make evidence-status [DATA_ROOT=DIR] [CSV=FILE]`: how far each run of the plan is."""

from functools import partial
from pathlib import Path

import pandas as pd

from infomax_nb.files import atomic_write
from pipeline.command import check_folder_of, in_a_sentence, until_read
from pipeline.evidence.hours import hours_left
from pipeline.evidence.places import add_lines, evidence_parser, places_of
from pipeline.evidence.runs import Planned, chosen, planned
from pipeline.evidence.state import state


def status(runs: list[Planned], every: list[Planned]) -> pd.DataFrame:
    """A row for each run: how far it is, core-hours left, and a reason where one is needed.

    Args:
        runs: the runs to show.
        every: all runs of the plan, from which the hours are estimated.
    """
    states = {run.name: state(run) for run in runs}
    left = hours_left(runs, states, every)
    rows = []
    for run in runs:
        now = states[run.name]
        progress = {"state": now.kind, "epoch": now.epoch, "of": run.config.epochs}
        hours = {"hours left": round(left[run.name], 2), "said": now.reason}
        rows.append({"line": run.line, "run": run.label, **progress, **hours})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table. If a file is named, also write it there, without the hours, which change."""
    arguments = evidence_parser("status", __doc__)
    add_lines(arguments)
    arguments.add_argument("--csv", type=Path, help="write the table there, too")
    given = arguments.parse_args()
    with in_a_sentence():
        if given.csv:
            check_folder_of("CSV", given.csv)
        every = planned(places_of(given))
        table = status(chosen(every, given.lines), every)
        if given.csv:
            write = partial(table.drop(columns="hours left").to_csv, index=False)
            atomic_write(given.csv, write)
    print(table.to_string(index=False, max_colwidth=70))
    done = table.state.isin(["finished", "collapsed"]).sum()
    hours = table["hours left"].sum()
    print(f"\n{done} of {len(table)} runs are there; {hours:.1f} core-hours left.")


if __name__ == "__main__":
    until_read(main)
