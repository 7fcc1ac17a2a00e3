"""The project's own rules: one source of versions, a thin package, a frozen generator."""

import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import infomax_nb
from infomax_nb.data import glyphs
from infomax_nb.names import in_words
from infomax_nb.report import TOP1_COLUMNS

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_lock_satisfies_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    locked: dict[str, list[Version]] = {}
    for name, number in re.findall(r"(?m)^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", LOCK):
        locked.setdefault(name.lower(), []).append(Version(number))
    for requirement in map(Requirement, wanted):
        versions = locked.get(requirement.name.lower())
        assert versions, f"{requirement.name} is not in the lock"
        assert all(v in requirement.specifier for v in versions), (requirement, versions)


def test_the_lock_holds_hashes():
    entries = [line for line in LOCK.splitlines() if "==" in line]
    assert len(entries) > 100
    assert LOCK.count("--hash=sha256:") >= len(entries)


def test_the_lock_holds_no_addresses():
    assert "://" not in LOCK


def test_conda_installs_the_lock():
    assert "-r requirements.lock" in (ROOT / "environment.yml").read_text()


def test_what_runs_is_what_is_locked():
    assert f"torch=={version('torch').split('+')[0]}" in LOCK


LENGTH = r"(?:\.\.\.|\d+|[<>]= ?\w+|[A-Za-z][\w']*)(?: ?[-+*/×] ?\w+)*"
SHAPE = rf"\({LENGTH}(?:, {LENGTH})+\)|\({LENGTH},\)|\(\.\.\.\)|scalar"  # (N, D), (..., 3), (M,)
UNITS = {  # what a name is about, and the unit that its docstring, its class's or its module's says
    r"entrop|information|normalizer|nwj|mine|info_nce|log_area|ksg": "nats",
    r"accuracy": "percent",
    r"^size$|image_size|pixels": "pixel",
    r"degrees": "degree",
}

COUNTS = ("draws", "batches")  # their `size` is a number of classes, of images


class Documented(NamedTuple):
    """A class, a function or a method, and the docstrings around it."""

    thing: type | Callable
    around: str


def own_methods(kind: type | Callable) -> dict[str, Callable]:
    """A class's public methods and properties; what a base class has too is documented there."""
    if not inspect.isclass(kind):
        return {}
    inherited = {name for base in kind.__mro__[1:] for name in dir(base)}
    names = [name for name in vars(kind) if name[0] != "_" and name not in inherited]
    members = {name: vars(kind)[name] for name in names}
    functions = {name: getattr(member, "fget", None) or member for name, member in members.items()}
    return {name: function for name, function in functions.items() if inspect.isfunction(function)}


def public() -> dict[str, Documented]:
    """Every public class, function and method of the package."""
    documented: dict[str, Documented] = {}
    for _, name, _ in pkgutil.walk_packages(infomax_nb.__path__, "infomax_nb."):
        module = importlib.import_module(name)
        for each, thing in vars(module).items():
            known_kind = inspect.isclass(thing) or inspect.isfunction(thing)
            if each[0] == "_" or not known_kind or thing.__module__ != name:
                continue
            documented[f"{name}.{each}"] = Documented(thing, module.__doc__ or "")
            for method, function in own_methods(thing).items():
                around = f"{module.__doc__} {thing.__doc__}"
                documented[f"{name}.{each}.{method}"] = Documented(function, around)
    return documented


PUBLIC = public()
FUNCTIONS = {name: each for name, each in PUBLIC.items() if inspect.isfunction(each.thing)}


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_a_docstring(name):
    assert len(PUBLIC[name].thing.__doc__ or "") > 10


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_say_the_shapes_of_arrays(name):
    function = FUNCTIONS[name].thing
    types = " ".join(map(str, inspect.get_annotations(function).values()))
    if re.search("Tensor|ndarray|ArrayLike", types):
        assert re.search(SHAPE, function.__doc__), "which shapes?"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_say_the_units_of_what_names_promise(name):
    function, around = FUNCTIONS[name]
    names = [function.__name__]
    if function.__name__ not in COUNTS:
        names += inspect.signature(function).parameters
    for words, unit in UNITS.items():
        if any(re.search(words, word) for word in names):
            assert unit in (around + function.__doc__).lower(), f"in {unit}?"


@pytest.mark.parametrize(
    "split, digest",
    [("train", "b3d8c7f5cf1b4d1e"), ("test", "867039105196d761")],
)
def test_glyphs_are_frozen(split, digest):
    """Results in reports/ refer to these pixels; a change of the generator needs a name of its
    own."""
    images, masks, labels = glyphs.make(split)
    pixels = images.tobytes() + masks.tobytes() + labels.astype("int64").tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == digest


README = (ROOT / "reports" / "README.md").read_text()


def read_report(result: str) -> tuple[pd.DataFrame, list[dict]]:
    """A report's metrics after the last epoch, and the records of its runs."""
    folder = ROOT / "reports" / result
    metrics = pd.read_csv(folder / "metrics.csv")
    records = json.loads((folder / "records.json").read_text())
    return metrics[metrics.epoch == metrics.epoch.max()], records


@pytest.mark.parametrize("result", ["kappa_cifar10", "kappa_fashion_mnist"])
def test_the_readmes_numbers_are_the_reports(result):
    """Each row of the README's tables is computed anew from the committed metrics."""
    last, records = read_report(result)
    assert {r["config"]["kappa"] for r in records} == {0.1, 0.6931, 1, 10, 20}
    assert all(r["commit"] for r in records)
    for kappa, rows in last.groupby("kappa"):
        cells = [f"{rows[c].mean():.1f}" for c in TOP1_COLUMNS]
        if len(rows) > 1:
            cells = [f"{rows[c].mean():.1f} ± {rows[c].std():.1f}" for c in TOP1_COLUMNS]
        assert f"| {kappa:g} | {cells[0]} | {cells[1]} |" in README


COMPARISONS = ["methods_cifar10", "methods_glyphs"]


@pytest.mark.parametrize("result", COMPARISONS)
def test_methods_are_compared_at_one_budget_with_three_seeds_each(result):
    last, records = read_report(result)
    assert len(records) == 7 * 3
    assert last.groupby("method").size().tolist() == [3] * 7
    assert all(r["commit"] for r in records)
    for name in ("epochs", "n_train", "lr", "batch_size"):
        assert len({r["config"][name] for r in records}) == 1, name


@pytest.mark.parametrize("result", COMPARISONS)
def test_the_readmes_table_of_methods_is_the_reports(result):
    """Every cell of a method is computed anew."""
    last, _ = read_report(result)
    for method, rows in last.groupby("method"):
        cells = [f"{rows[c].mean():.1f} ± {rows[c].std():.1f}" for c in TOP1_COLUMNS]
        assert f"| {in_words(method)} | {cells[0]} | {cells[1]} |" in README


@pytest.mark.parametrize("result", COMPARISONS)
def test_the_readmes_baselines_are_the_reports(result):
    baselines = pd.read_csv(ROOT / "reports" / result / "baselines.csv", index_col=0)
    for name, row in baselines.iterrows():
        cells = ["–" if pd.isna(row[c]) else f"{row[c]:.1f}" for c in TOP1_COLUMNS]
        assert f"| {name} | {cells[0]} | {cells[1]} |" in README
