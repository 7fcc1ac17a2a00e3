"""Make the site's first page: the claims, the paper's table and figures, and where to go on."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from infomax_nb.figures.table1 import OURS
from infomax_nb.late import verdict_rows
from infomax_nb.names import in_words, listed, setting
from infomax_nb.networks import pretrained
from pipeline.claims import Claim, claims, summary
from pipeline.copies import data_note
from pipeline.site import photographs
from pipeline.site.figures import CENTRAL, FIGURES, Late, PaperFigure
from pipeline.site.markdown import escape, page
from pipeline.site.results import REPORTS, runs_in_words, title, verdicts
from pipeline.site.stage import ROOT

PLAYGROUND = "docs/playground"  # stands with the notebooks
# Pages for those who use the project, in this order; pages that are not here follow in "How it is
# made".
USE = ("install", "loss", "data", "runs", "gpu", "speed", "paper", "related", "instructors")
TABLE1_ALT = "Dot plot of the paper's Table 1: top-1 accuracy by method, linear and k-NN"
PARTS = {
    "Table 1": "table-1",
    **{f"Figure {figure.number}": f"figure-{figure.number}" for figure in FIGURES},
    "coarse or fine": "coarse",
    "start here": "start-here",
    "notebooks": "notebooks",
    "how fast": "speed",
    "faults": "faults",
}


def front(pages: Iterable[str]) -> str:
    """The first page; `pages` are the names of the other pages for people, such as `docs/data`."""
    names = sorted(pages)
    use = [f"docs/{name}" for name in USE if f"docs/{name}" in names]
    found = claims()
    return page(
        "front",
        lead=lead_of_readme(),
        summary=summary(found),
        late=late_training(),
        claims=claims_table(found),
        jump=" · ".join(f"[{words}](#{anchor})" for words, anchor in PARTS.items()),
        table1_alt=TABLE1_ALT,
        copies=_copies(),
        figures=[_beside(figure) for figure in FIGURES],
        coarse=_links(CENTRAL),
        ways_in=section_of_readme("Three ways in"),
        notebooks=section_of_readme("Notebooks"),
        speed=verdicts(),
        use=use,
        rest=[name for name in names if name not in (*use, PLAYGROUND)],
    )


def late_training() -> str:
    """How far the planned runs are, as the end of a sentence."""
    words = runs_in_words()
    return f"on all images by rules fixed beforehand: {words[0].lower()}{words[1:]}"


def claims_table(found: list[Claim]) -> str:
    """The claims in Markdown, each with its place in the paper, and where to read on."""
    lines = ["| the paper says | where | we found | evidence | more |", "|---|---|---|---|---|"]
    for claim in found:
        more = ", ".join(_link(words, path) for words, path in claim.links.items())
        cells = [claim.paper, claim.place, f"**{claim.verdict}**: {claim.found}", claim.evidence]
        lines.append(f"| {' | '.join([*cells, more])} |")
    return "\n".join(lines)


def _link(words: str, path: str) -> str:
    """A link to a result, to a notebook, or to a verdict's place on the page of all verdicts."""
    number = words.removeprefix("verdict ")
    target = path if number == words else f"#verdict-{number}"
    return f"[{_short(words)}]({target})"


def _short(words: str) -> str:
    """The data that a result is on, from its title."""
    if not (REPORTS / words).is_dir():
        return words
    return title(words).rpartition(" · ")[2].removeprefix("LC25000, ")


def _beside(figure: PaperFigure) -> dict:
    """What the page says about one of the paper's figures and ours beside it."""
    records = json.loads((REPORTS / figure.result / "records.json").read_bytes())
    return {
        "figure": figure,
        "picture": f"reports/{figure.result}/figure.png",
        "alt": f"{title(figure.result)}: {setting(records)}",
        "setting": escape(setting(records)),
        "images": escape(data_note(records)),
        "links": _links((figure.result, *figure.more)),
        "drawn": _on_photographs(figure) if figure.drawn else None,
        "late": _late(figure, figure.late) if figure.late else None,
    }


def _on_photographs(figure: PaperFigure) -> dict[str, str]:
    """What the page says about the maps on photographs."""
    network = pretrained(photographs.network_of(figure.drawn))
    kind = in_words(figure.drawn)
    trained = f"{escape(network.record['trained_on'])}, {network.config.epochs} epochs"
    return {
        "picture": f"reports/{drawing(figure)}",
        "alt": f"Six photographs, and where a {kind} looks in them, trained and untrained",
        "caption": f"**Here, early**: a {kind} of ours ({trained}), and the same one untrained; "
        "bright where a map is large.",
    }


def drawing(figure: PaperFigure) -> str:
    """The file's name of the maps on photographs."""
    return f"figure{figure.number}.png"


def _late(figure: PaperFigure, late: Late) -> dict[str, str]:
    """What the page says about late training: a picture if there is one, and the verdicts."""
    picture = f"reports/{late.result}/figure.png" if late.result else ""
    if late.conditions:
        picture = f"reports/{late_drawing(figure)}"
    return {
        "picture": picture,
        "alt": f"{figure.title}, late in training: {listed(list(late.conditions.values()))}"
        if late.conditions
        else f"{figure.title}, late in training",
        "shows": escape(late.shows),
        "verdicts": "; ".join(_verdict(claim) for claim in late.claims),
    }


def _verdict(claim: str) -> str:
    """What the plan asks, its answer so far, and a link to its numbers."""
    row = verdict_rows([claim]).loc[claim]
    seeds = f", {row.seeds} {row.unit}s" if row.verdict == "unfinished" else ""
    return f"“{row.says}”: [**{row.verdict}**](#verdict-{claim}){seeds}"


def late_drawing(figure: PaperFigure) -> str:
    """The file's name of accuracies over the epochs of late training."""
    return f"late{figure.number}.png"


def _links(results: Iterable[str]) -> str:
    return listed([f"[{title(name)}](reports/{name}/index.md)" for name in results])


def _copies() -> str:
    """A note on the images of ours in the plot of Table 1."""
    notes = []
    for result in filter(None, OURS.values()):
        notes.append(data_note(json.loads((REPORTS / result / "records.json").read_bytes())))
    copies = escape("; ".join(filter(None, notes)))
    return f" Orange ones are of copies: {copies}." if copies else ""


def lead_of_readme() -> str:
    """What the README says first, below its title and above its picture.

    Raises:
        ValueError: there is no picture.
    """
    text = (Path(ROOT) / "README.md").read_text("utf-8")
    found = re.search(r"(?ms)\A# [^\n]+\n(.*?)^!\[", text)
    if found is None:
        raise ValueError("README.md has no picture below its first paragraph.")
    return found[1].strip()


def section_of_readme(heading: str) -> str:
    """A section of the README without its heading.

    Raises:
        ValueError: the README has no such heading.
    """
    text = (Path(ROOT) / "README.md").read_text("utf-8")
    found = re.search(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text)
    if found is None:
        raise ValueError(f"README.md has no section {heading!r}.")
    return found[1].strip()
