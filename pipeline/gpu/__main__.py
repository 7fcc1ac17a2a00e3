"""`python -m pipeline.gpu --minutes M`: check, measure and train on one GPU, in the time there is.

First the device is compared with the CPU, and speeds are measured. Then come the rows of Table 1
(ours, SimCLR and Supervised first, STL-10's if its images are at hand), the runs of `docs/plan.md`,
and the table. Nothing is begun with too little time left; runs save themselves when the time is
over, and the same command goes on. What was done and what was left out is said at the end.

`--device cpu` tries all of it, small, in two minutes, without data and without touching `reports/`.
A trial begins anew; what it reads and trains says nothing about any method.
The machine may be bare: `pipeline.gpu.pack` says how data and libraries get there.
"""

import argparse
import shutil
import signal
import sys
from pathlib import Path

from infomax_nb.device import resolve
from infomax_nb.errors import not_allowed
from infomax_nb.files import project_root
from pipeline.command import in_a_sentence
from pipeline.gpu.jobs import Deadline
from pipeline.gpu.session import Session
from pipeline.gpu.setting import Setting

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def setting_of(given: argparse.Namespace) -> Setting:
    """What a command line asks for.

    Raises:
        ParameterError: a number is not allowed, or there is no GPU.
    """
    if not 0 < given.minutes < float("inf"):
        raise not_allowed("MINUTES", given.minutes, "a number of minutes above 0")
    if not 0 <= given.tolerance < float("inf"):
        raise not_allowed("--tolerance", given.tolerance, "a number >= 0")
    trial = given.device == "cpu"
    build = project_root() / "build" / "gpu"
    scratch = build / "trial" if trial else build
    reports = scratch / "reports" if trial else project_root() / "reports"
    if given.reports:
        reports = given.reports.resolve()
    runs_dir = str(scratch / "runs") if trial else given.runs_dir
    return Setting(
        minutes=given.minutes,
        device=resolve(given.device)[0],
        data_root=given.data_root,
        runs_dir=runs_dir,
        reports=reports,
        scratch=scratch,
        tolerance=given.tolerance,
        despite=given.despite_checks,
    )


def begin_anew(setting: Setting) -> None:
    """Remove what the last trial has left, in the folder that belongs to trials alone.

    Raises:
        ParameterError: results are to go to a folder in which there is something.
    """
    elsewhere = not setting.reports.is_relative_to(setting.scratch)
    if elsewhere and (setting.reports.is_file() or list(setting.reports.glob("*"))):
        allowed = "empty or not there yet, as this is a trial; or give --go-on"
        raise not_allowed("--reports", str(setting.reports), allowed)
    shutil.rmtree(setting.scratch, ignore_errors=True)


def main() -> None:
    """Run the session."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.gpu", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=30.0, help="for everything")
    add("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a trial")
    add("--data-root", default="data")
    add("--runs-dir", default="runs")
    add("--reports", type=Path, help="the folder of results; else reports/, of a trial build/")
    add("--tolerance", type=float, default=1.0, help="times what checks allow")
    add("--despite-checks", action="store_true", help="go on after a failed check")
    add("--go-on", action="store_true", help="of a trial: keep what the last one has done")
    given = parser.parse_args()
    with in_a_sentence():
        setting = setting_of(given)
        if setting.trial and not given.go_on:
            begin_anew(setting)
        deadline = Deadline(60 * setting.minutes - setting.reserve)
        for sign in SIGNALS:
            if signal.getsignal(sign) is not signal.SIG_IGN:  # as nohup has left it
                signal.signal(sign, deadline.stop)
        sys.exit(Session(setting, deadline).run())


if __name__ == "__main__":
    main()
