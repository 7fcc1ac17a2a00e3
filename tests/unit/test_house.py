"""The limits that keep the code readable, and its docstrings' examples."""

import ast
import doctest
import importlib
import io
import pkgutil
import re
import tokenize

import pytest
from house import ROOT, Module, measure, modules

import infomax_nb

PACKAGE = modules("infomax_nb")
FIGURES = [module for module in PACKAGE if module.path.parent.name == "figures"]
PIPELINE = modules("pipeline")
TESTS = modules("tests")
NAMES = [name for _, name, _ in pkgutil.walk_packages(infomax_nb.__path__, "infomax_nb.")]


def density(of: list[Module]) -> float:
    return sum(module.tokens for module in of) / lines(of)


def names(of: list[Module]) -> list[str]:
    return [f"{module.path.relative_to(ROOT)} ({module.lines} lines)" for module in of]


def lines(of: list[Module]) -> int:
    return sum(module.lines for module in of)


def test_the_package_does_not_grow():
    """The aim is 3,300 lines without figures. At one thought a line, what it does takes more."""
    assert lines(PACKAGE) - lines(FIGURES) <= 6300, names(PACKAGE)


def test_the_figures_do_not_grow():
    """Drawings for notebooks: a reader of the method needs none, so they count by themselves."""
    assert 0 < lines(FIGURES) <= 1630, names(FIGURES)


def test_no_module_is_longer_than_a_reader_can_hold():
    assert not names([module for module in PACKAGE + PIPELINE if module.lines > 250])


@pytest.mark.parametrize("of", [PACKAGE, PIPELINE, TESTS], ids=["package", "pipeline", "tests"])
def test_a_line_holds_one_thought(of):
    assert density(of) <= 12.5
    assert not names([module for module in of if module.density > 14])


@pytest.mark.parametrize("of", [PACKAGE, PIPELINE, TESTS], ids=["package", "pipeline", "tests"])
def test_functions_have_forty_lines_at_most(of):
    assert not names([module for module in of if module.longest_function > 40])


def test_readers_stumble_over_sixty_places_at_most():
    places = [f"{m.path}: {place}" for m in PACKAGE + PIPELINE for place in m.places]
    assert len(places) <= 60, places


def test_what_mypy_is_told_to_ignore_has_its_reason():
    told = []
    for module in PACKAGE + PIPELINE:
        for token in tokenize.generate_tokens(io.StringIO(module.path.read_text()).readline):
            if token.type == tokenize.COMMENT and "type: ignore" in token.string:
                told.append(token.string)
    assert len(told) <= 8, told
    assert all(re.search(r"type: ignore\[[\w, -]+\]  # \w", comment) for comment in told), told


def test_text_is_read_and_written_as_utf_8():
    """Whatever the machine's locale; what says how errors are met is read for its ASCII."""
    unsaid = []
    for module in PACKAGE + PIPELINE:
        for node in ast.walk(ast.parse(module.path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                before = {"read_text": 0, "write_text": 1}.get(node.func.attr)
                said = {word.arg for word in node.keywords} & {"encoding", "errors"}
                if before is not None and len(node.args) <= before and not said:
                    unsaid.append(f"{module.path}: {node.lineno}")
    assert not unsaid


def test_nothing_is_imported_for_others_alone():
    texts = [module.path.read_text() for module in PACKAGE + PIPELINE]
    assert not [text for text in texts if "noqa" in text]


def test_the_counting_counts(tmp_path):
    """Against a file counted by hand."""
    path = tmp_path / "counted.py"
    path.write_text(
        '"""A docstring."""\n\n# a comment\na, b = 1, 2\n\n\n'
        'def f(x):\n    """Another.\n\n    Of lines.\n    """\n    return f"{x + 1} is {x}"\n'
    )
    counted = measure(path)
    assert counted.lines == 3
    assert (
        counted.tokens
        == len(["a", ",", "b", "=", "1", ",", "2"]) + len(["def", "f", "(", "x", ")", ":"]) + 2
    )
    assert counted.longest_function == 2
    assert counted.places == ["line 4: assigns several values in one statement"]


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    tests = [doctest.DocTestFinder().find(importlib.import_module(name)) for name in NAMES]
    assert sum(len(test.examples) for found in tests for test in found) > 10
