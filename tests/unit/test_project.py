"""The project's own rules: one source of versions, a thin package, a frozen generator."""

import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import infomax_nb
from infomax_nb.data import glyphs
from infomax_nb.report import CLAIM

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_lock_satisfies_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        r for extra in project["optional-dependencies"].values() for r in extra
    ]
    locked: dict[str, list[Version]] = {}
    for name, number in re.findall(r"(?m)^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", LOCK):
        locked.setdefault(name.lower(), []).append(Version(number))
    for requirement in map(Requirement, wanted):
        found = locked.get(requirement.name.lower())
        assert found, f"{requirement.name} is not in the lock"
        assert all(v in requirement.specifier for v in found), (requirement, found)


def test_the_lock_holds_hashes_and_no_addresses():
    entries = [line for line in LOCK.splitlines() if "==" in line]
    assert len(entries) > 100 and LOCK.count("--hash=sha256:") >= len(entries)
    assert "://" not in LOCK
    assert "-r requirements.lock" in (ROOT / "environment.yml").read_text()


def test_what_runs_is_what_is_locked():
    assert f"torch=={version('torch').split('+')[0]}" in LOCK


SHAPE = r"\([A-Za-z0-9.][^()]*\)|scalar"  # (N, D), (..., 3), (M,)
UNITS = {  # what a name is about, and the unit that its docstring, its class's or its module's says
    r"entrop|information|normalizer|nwj|mine|info_nce|log_area|ksg": "nats",
    r"accuracy": "percent",
    r"^size$|image_size|pixels": "pixel",
    r"degrees": "degree",
}

COUNTS = ("draws", "batches")  # their `size` is a number of classes, of images


def public() -> dict[str, tuple]:
    """Every public class, function and method of the package: the object, and the docstrings around
    it.

    A method that a base class has too is documented there.
    """
    found: dict[str, tuple] = {}
    for _, name, _ in pkgutil.walk_packages(infomax_nb.__path__, "infomax_nb."):
        module = importlib.import_module(name)
        for each, thing in vars(module).items():
            kind = inspect.isclass(thing) or inspect.isfunction(thing)
            if kind and thing.__module__ == name and each[0] != "_":
                found[f"{name}.{each}"] = (thing, module.__doc__ or "")
            if inspect.isclass(thing) and thing.__module__ == name and each[0] != "_":
                own = {
                    k: getattr(v, "fget", None) or v for k, v in vars(thing).items() if k[0] != "_"
                }
                for method, function in own.items():
                    inherited = any(hasattr(base, method) for base in thing.__mro__[1:])
                    if inspect.isfunction(function) and not inherited:
                        found[f"{name}.{each}.{method}"] = (
                            function,
                            f"{module.__doc__} {thing.__doc__}",
                        )
    return found


@pytest.mark.parametrize("name", public())
def test_docstrings_say_what_shapes_and_units(name):
    thing, around = public()[name]
    own = thing.__doc__ or ""
    assert len(own) > 10, f"{name} has no docstring"
    if inspect.isfunction(thing):
        arguments = inspect.signature(thing).parameters
        types = " ".join(map(str, inspect.get_annotations(thing).values()))
        if re.search("Tensor|ndarray|ArrayLike", types):
            assert re.search(SHAPE, own), f"{name}: which shapes?"
        for words, unit in UNITS.items():
            said = [thing.__name__, *(a for a in arguments if thing.__name__ not in COUNTS)]
            if any(re.search(words, word) for word in said):
                assert unit in (around + own).lower(), f"{name}: in {unit}?"


@pytest.mark.parametrize(
    "split, digest",
    [("train", "b3d8c7f5cf1b4d1e"), ("test", "867039105196d761")],
)
def test_glyphs_are_frozen(split, digest):
    """Results in reports/ refer to these pixels; a change of the generator needs a name of its
    own."""
    images, masks, labels = glyphs.make(split)
    assert (
        hashlib.sha256(
            images.tobytes() + masks.tobytes() + labels.astype("int64").tobytes()
        ).hexdigest()[:16]
        == digest
    )


@pytest.mark.parametrize("result", ["kappa_cifar10", "kappa_fashion_mnist"])
def test_the_readmes_numbers_are_the_reports(result):
    """Each row of the README's tables is computed anew from the committed metrics."""
    metrics = pd.read_csv(ROOT / "reports" / result / "metrics.csv")
    records = json.loads((ROOT / "reports" / result / "records.json").read_text())
    assert {r["config"]["kappa"] for r in records} == {0.1, 0.6931, 1, 10, 20} and all(
        r["commit"] for r in records
    )
    last = metrics[metrics.epoch == metrics.epoch.max()]
    readme = (ROOT / "reports" / "README.md").read_text()
    for kappa, rows in last.groupby("kappa"):
        cells = [
            f"{rows[c].mean():.1f}" + (f" ± {rows[c].std():.1f}" if len(rows) > 1 else "")
            for c in CLAIM
        ]
        assert f"| {kappa:g} | {cells[0]} | {cells[1]} |" in readme


@pytest.mark.parametrize("result, seeds", [("methods_cifar10", 3), ("methods_glyphs", 3)])
def test_the_readmes_table_of_methods_is_the_reports(result, seeds):
    """All seven methods at one budget, the same seeds for each; every cell of the README's table
    computed anew."""
    folder = ROOT / "reports" / result
    metrics, baselines = (
        pd.read_csv(folder / "metrics.csv"),
        pd.read_csv(folder / "baselines.csv", index_col=0),
    )
    records = json.loads((folder / "records.json").read_text())
    same = [
        {k: v for k, v in r["config"].items() if k in ("epochs", "n_train", "lr", "batch_size")}
        for r in records
    ]
    assert (
        len(records) == 7 * seeds
        and all(s == same[0] for s in same)
        and all(r["commit"] for r in records)
    )
    last, readme = (
        metrics[metrics.epoch == metrics.epoch.max()],
        (ROOT / "reports" / "README.md").read_text(),
    )
    assert last.groupby("method").size().tolist() == [seeds] * 7
    for method, rows in last.groupby("method"):
        cells = [f"{rows[c].mean():.1f} ± {rows[c].std():.1f}" for c in CLAIM]
        assert f"| {method} | {cells[0]} | {cells[1]} |" in readme
    for name, row in baselines.iterrows():
        cells = ["–" if pd.isna(row[c]) else f"{row[c]:.1f}" for c in CLAIM]
        assert f"| {name} | {cells[0]} | {cells[1]} |" in readme
