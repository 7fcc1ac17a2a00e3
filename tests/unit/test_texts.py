"""README and docs: every command is known to the tests, and what it names is there."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from texts import PAGES, ROOT, commands, commands_in
from ways import WAYS, way_of

from infomax_nb.config import TrainConfig

COMMANDS = commands()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = {
    name for rule in re.findall(r"(?m)^([a-z][a-z0-9 -]*):(?!=)", MAKEFILE) for name in rule.split()
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line[:60])
def test_every_command_is_tried_or_says_why_not(command):
    way_of(command)


def test_every_way_is_some_commands():
    taken = {way_of(command) for command in COMMANDS}
    assert [way.pattern for way in WAYS if way not in taken] == []


MAKE = re.compile(r"^make((?: [A-Z_]+=\S+)*)((?: [a-z][a-z0-9-]+)+)((?: [A-Z_]+=\S+)*)")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_make_has_every_target_and_variable_that_a_text_names(path):
    code = re.findall(r"`([^`\n]+)`", path.read_text("utf-8"))
    page = str(path.relative_to(ROOT))
    code += [command.line for command in COMMANDS if command.page == page]
    for called in filter(None, map(MAKE.match, code)):
        before, targets, after = called.groups()
        assert set(targets.split()) <= TARGETS, called[0]
        for name in re.findall(r"([A-Z_]+)=", before + after):
            assert re.search(rf"\b{name}\b", MAKEFILE), called[0]


def test_every_file_that_a_command_names_is_there():
    for command in COMMANDS:
        for name in re.findall(
            r"(?:notebooks|params|profiles|tests|pipeline)/[\w/.]+", command.line
        ):
            if "NN_" not in name:
                assert (ROOT / name).exists(), command


def test_every_module_that_a_command_runs_is_there():
    for command in COMMANDS:
        for name in re.findall(r"-m ((?:pipeline|infomax_nb)[\w.]*)", command.line):
            assert importlib.util.find_spec(name), command


def test_every_parameter_that_a_command_sets_is_one():
    for command in COMMANDS:
        known = set(TrainConfig.model_fields)
        for name in re.findall(r"notebooks/(\d\d\w+\.ipynb)", command.line):
            cells = nbformat.read(ROOT / "notebooks" / name, 4).cells
            (cell,) = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
            known |= set(re.findall(r"(?m)^(\w+) =", cell.source))
        given = re.findall(r"-[pr] (\w+) ", command.line)
        given += re.findall(r"""-y ["'](\w+):""", command.line)
        assert set(given) <= known, command


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path):
    text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", path.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?m)^\[\w+\]: (\S+)", text)
    for target in targets:
        place, _, anchor = target.partition("#")
        file = (path.parent / place).resolve() if place else path
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_how_commands_are_taken_from_a_block():
    block = "make a   # why\n\nb -c \\\n  d\nfor x in y; do\n  e $x  # each\ndone\ngrep 'a#b' f\n"
    assert commands_in(block) == [
        "make a",
        "b -c d",
        "for x in y; do\n  e $x\ndone",
        "grep 'a#b' f",
    ]
