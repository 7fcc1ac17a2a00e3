"""One claim of the paper: what was found early, and the plan's verdict once it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from infomax_nb.files import project_root
from infomax_nb.late import verdict_rows

REPORTS = project_root() / "reports"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, and what became of it here.

    Args:
        paper: what the paper says, in Markdown.
        place: where it says so.
        standing: whether the claim holds in what was run, does not hold, or neither can be said.
        verdict: the finding in one or two words.
        found: the finding's numbers, in Markdown.
        evidence: how strong it is: the budget, and the number of seeds.
        links: files of the repository that show it, by the words of the link.
    """

    paper: str
    place: str
    standing: Literal["holds", "does not hold", "open"]
    verdict: str
    found: str
    evidence: str
    links: dict[str, str] = field(default_factory=dict)


STANDINGS: dict[str, Literal["holds", "does not hold", "open"]] = {
    "holds": "holds",
    "does not hold": "does not hold",
    "undecided": "open",
}


def with_late(
    early: Claim,
    number: str,
    reports: Path = REPORTS,
    says: str = "",
    compared: str | None = None,
    called: Mapping[str, str] | None = None,
) -> Claim:
    """The claim as early runs have it; once the plan's verdict is there, with that.

    Args:
        early: what was found in short runs.
        number: the claim's number in `docs/plan.md`.
        reports: the folder of all results.
        says: what the paper says, where the verdict is about a part of the early claim.
        compared: the verdict's contrast in fewer words than it has in the plan; none where its
            numbers say it.
        called: what the verdict's numbers are called here instead, in fewer words.
    """
    row = verdict_rows([number], reports / "verdicts").loc[number]
    late_links = {f"verdict {number}": "reports/verdicts"}
    if row.verdict == "unfinished":
        evidence = f"{early.evidence}; plan {row.seeds.replace(' of ', '/')}"
        return replace(early, evidence=evidence, links=early.links | late_links)
    contrast = row.contrast if compared is None else compared
    found = f"{contrast}: {row.brief}" if contrast else row.brief
    for name, words in (called or {}).items():
        if name not in found:
            raise ValueError(f"{name!r} is not in the verdict's numbers: {found}")
        found = found.replace(name, words)
    return replace(
        early,
        paper=says or early.paper,
        standing=STANDINGS[row.verdict],
        verdict=row.verdict.capitalize(),
        found=found,
        evidence=f"{row.evidence}, {row.seeds.partition(' ')[0]} {row.unit}s",
        links=late_links | early.links,
    )


def metrics_of(result: str) -> pd.DataFrame:
    """The rows of a result in `reports/`."""
    return pd.read_csv(REPORTS / result / "metrics.csv")


def early_evidence(seeds: float) -> str:
    """How strong a finding of short runs is, in words."""
    return f"early, {seeds:.0f} seeds"


def links_to(*names: str) -> dict[str, str]:
    """Results in `reports/`, by their names."""
    return {name: f"reports/{name}" for name in names}
