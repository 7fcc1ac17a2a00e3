"""Check by git that the plan came before a run, from the commit in the run's record."""

import subprocess
from functools import cache
from pathlib import Path

from infomax_nb.files import project_root

# The plan and its rules, under the names that they had when git recorded them.
PLAN = ("docs/plan.md", "infomax_nb/late.py", "workflow/evidence.py")
CHANGES = "## Changes since"  # the plan's last section, which may grow


def no_evidence(record: dict) -> str:
    """Why a run with this record is no evidence, judged by its commit and its trunk's.

    The text is empty if the run is evidence.
    """
    own = lacks_plan(record.get("commit", ""))
    return own or lacks_plan(record.get("trunk", record).get("commit", ""))


def lacks_plan(commit: str) -> str:
    """Why a run of this commit is no evidence, as when the plan was not there before it.

    The text is empty if it was, or if there is no telling: no git, or no complete history.
    """
    return lacks_plan_in(project_root(), commit)


@cache
def lacks_plan_in(checkout: Path, commit: str) -> str:
    """The same as `lacks_plan`, by the history of a checkout."""
    if not has_history(checkout):
        return ""
    if not commit or commit.endswith("-modified"):
        unknown = "so nobody knows with which code it was trained"
        return f"it records the commit {commit or 'unknown'}, {unknown}"
    for path in PLAN:
        added = _git(checkout, "log", "--diff-filter=A", "--format=%H", "--", path).split()
        if not added or _git(checkout, "merge-base", added[-1], commit).strip() != added[-1]:
            return f"it records the commit {commit[:12]}, which does not have {path} before it"
    now, _, changes = _git(checkout, "show", f"HEAD:{PLAN[0]}").partition(CHANGES)
    then, _, _ = _git(checkout, "show", f"{commit}:{PLAN[0]}").partition(CHANGES)
    if then != now and changes.strip() in ("", "None."):
        silent = f"and its section '{CHANGES.removeprefix('## ')}' says nothing"
        return f"{PLAN[0]} has changed since its commit {commit[:12]}, {silent}"
    return ""


@cache
def has_history(checkout: Path) -> bool:
    """Whether this is a checkout with its complete history."""
    top = _git(checkout, "rev-parse", "--show-toplevel").strip()
    if not top or Path(top).resolve() != checkout.resolve():
        return False
    return _git(checkout, "rev-parse", "--is-shallow-repository").strip() == "false"


def _git(checkout: Path, *words: str) -> str:
    """Git's answer in the checkout; empty if there is none."""
    command = ["git", *words]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
