"""Parameters of every notebook as papermill hands them over: a list as a value, as text; bad ones
in one sentence."""

import math
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from papermill.cli import _resolve_type
from papermill.iorw import NoDatesSafeLoader
from papermill.translators import PythonTranslator

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.parameters import (
    LISTS,
    NUMBERS,
    SIZES,
    TABLES,
    TEXTS,
    notebook_parameters,
    own_value,
)


def from_notebook(namespace, extra=()):
    return notebook_parameters(namespace, extra).config


ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"), key=lambda path: path.stem)


@cache
def first_cells(notebook: Path) -> tuple[str, str]:
    """The sources of the `parameters` cell and of the one that validates it."""
    code = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    assert code[0].startswith("# Parameters") and "notebook_parameters" in code[1]
    return code[0], "\n".join(line for line in code[1].splitlines() if line[0:1] != "%")


def assigned(notebook: Path) -> dict:
    """What the `parameters` cell assigns."""
    values: dict = {}
    exec(first_cells(notebook)[0], values)
    return {name: value for name, value in values.items() if name != "__builtins__"}


def opened(notebook: Path, given: dict) -> dict:
    """The notebook's names after its first cells, with the cell that papermill injects for
    `given`."""
    defaults, validate = first_cells(notebook)
    injected = PythonTranslator.codify(given)
    names = {"In": ["", defaults, injected, validate]}
    for source in (defaults, injected, validate):
        exec(source, names)
    return names


def flags(flag: str, name: str, text: str) -> dict:
    """The parameter that papermill makes of `-p NAME TEXT`, `-r NAME TEXT`, `-y "NAME: TEXT"`."""
    value = {
        "-p": _resolve_type,
        "-r": str,
        "-y": lambda t: yaml.load(f"x: {t}", NoDatesSafeLoader)["x"],
    }[flag](text)
    return {name: value}


def holding(names) -> list[tuple[Path, str]]:
    return [
        (notebook, name) for notebook in NOTEBOOKS for name in assigned(notebook) if name in names
    ]


def ids(value) -> str:
    return value.stem[:2] if isinstance(value, Path) else str(value)


# A value of each list, another, and one that is not allowed; what the first two are.
EXAMPLES = {
    "methods": ("simclr", "byol", "simclir", ["simclr", "byol"]),
    "seeds": ("3", "4", "-1", [3, 4]),
    "kappas": ("15", "1e1", "0", [15.0, 10.0]),
    "betas": ("0.5", "4", "-1", [0.5, 4.0]),
    "proj_dims": ("256", "512", "1", [256, 512]),
    "lrs": ("3e-4", "0.003", "0", [0.0003, 0.003]),
    "class_counts": ("24", "340", "1", [24, 340]),
    "samples": ("64", "512", "1", [64, 512]),
    "pairs": ("64", "256", "15", [64, 256]),
    "views": ("2", "4", "1", [2, 4]),
}


def test_every_parameter_has_a_type():
    """Of every notebook: a field of `TrainConfig`, or declared with its limits; a list has its
    examples here."""
    own = {name for notebook in NOTEBOOKS for name in assigned(notebook)} - set(
        TrainConfig.model_fields
    )
    assert own == {*LISTS, *SIZES, *TABLES, *TEXTS, *NUMBERS}
    assert {*EXAMPLES} == {*LISTS, *SIZES}


@pytest.mark.parametrize("flag", ["-p", "-r", "-y"])
@pytest.mark.parametrize(("notebook", "name"), holding({*LISTS, *SIZES}), ids=ids)
def test_a_list_is_a_list_a_value_or_its_text(notebook, name, flag):
    one, other, bad, expected = EXAMPLES[name]
    assert opened(notebook, flags(flag, name, one))[name] == expected[:1]
    assert opened(notebook, flags(flag, name, f"[{one}, {other}]"))[name] == expected
    assert (
        opened(notebook, flags(flag, name, f"[{one}, {other}, {one}]"))[name] == expected
    )  # once each
    for text in (
        bad,
        f"[{one}, {bad}]",
        "[]",
        "true",
        f"[{one}",
        f"{one}, {other}",
        "{a: 1}",
        f"[[{one}]]",
    ):
        if flag == "-y" and text == f"[{one}":
            continue  # papermill's own error
        with pytest.raises(ParameterError) as error:
            opened(notebook, flags(flag, name, text))
        assert (
            str(error.value).startswith(f"{name} = ") and len(str(error.value).splitlines()) == 1
        ), text


@pytest.mark.parametrize(("notebook", "name"), holding(LISTS), ids=ids)
def test_a_list_that_is_none_is_the_default(notebook, name):
    for flag in ("-p", "-r", "-y"):
        for word in ("none", "None", "null", "~", '""' if flag == "-y" else ""):
            assert opened(notebook, flags(flag, name, word))["parameters"].values[name] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_every_parameter_as_text(notebook):
    """The values that stand in the cell, each handed over as `-r` would, are the same values."""
    plain = opened(notebook, {})
    for name, value in assigned(notebook).items():
        text = "none" if value is None else str(value)
        assert opened(notebook, {name: text})[name] == plain[name], name
        assert type(opened(notebook, {name: text})[name]) is type(plain[name]), name


@pytest.mark.parametrize(
    ("notebook", "name"), holding(set(TrainConfig.model_fields) | {*TEXTS, *NUMBERS}), ids=ids
)
def test_a_boolean_and_a_list_are_no_number(notebook, name):
    for value in (True, [1, 2], {"a": 1}):
        with pytest.raises(ParameterError) as error:
            opened(notebook, {name: value})
        assert str(error.value).startswith(f"{name} = {value!r} is not allowed: it must "), str(
            error.value
        )


@pytest.mark.parametrize("word", ["none", "None", "null", "~", "", " NULL "])
def test_none_in_words(word):
    notebook = ROOT / "notebooks" / "01_train.ipynb"
    assert opened(notebook, {"n_train": word, "image_size": word})["config"] == TrainConfig()
    with pytest.raises(ParameterError, match="kappa = "):  # no default to stand for
        opened(notebook, {"kappa": word})
    assert TrainConfig(n_train=word).n_train is None


def test_a_folder_called_2024(tmp_path):
    """papermill makes a number of it."""
    notebook = ROOT / "notebooks" / "06_saliency.ipynb"
    given = {"photos": 2024, "data_root": 2024, "runs_dir": 7, "export": 2024, "network": 5}
    names = opened(notebook, given)
    assert (names["photos"], names["data_root"], names["runs_dir"], names["export"]) == (
        "2024",
        "2024",
        "7",
        "2024",
    )
    assert names["config"].data_root == "2024" and own_value("hierarchy_csv", 1.5) == "1.5"
    assert own_value("photos", "~") == "~"  # the home folder, where YAML reads "none"
    (tmp_path / "p.yaml").write_text("data_root: 2024\n")
    assert TrainConfig.from_yaml(tmp_path / "p.yaml").data_root == "2024"


# --- Notebooks 00 and 10 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        flags("-y", "kappa", "1e1"),
        flags("-r", "kappa", "10"),
        flags("-p", "kappa", "10"),
        flags("-y", "kappa", "10.0"),
    ],
)
def test_00_computes_with_numbers(given):
    names = opened(ROOT / "notebooks" / "00_loss_derivation.ipynb", given)
    assert names["kappa"] == 10.0 and isinstance(names["kappa"], float)
    with pytest.raises(ParameterError, match="kappa = 'ten' is not allowed"):
        opened(ROOT / "notebooks" / "00_loss_derivation.ipynb", {"kappa": "ten"})


@pytest.mark.parametrize("flag", ["-p", "-r", "-y"])
def test_10_takes_its_tables(flag):
    """From YAML their keys come as text: papermill writes each key of a mapping as text."""
    notebook = ROOT / "notebooks" / "10_estimator.ipynb"
    names = opened(notebook, flags(flag, "concentrations", "{3: 10, 16: 5e1}"))
    assert names["concentrations"] == {3: 10.0, 16: 50.0}
    names = opened(notebook, flags(flag, "channels", "{3: [1, 5], 16: 10}"))
    assert names["channels"] == {3: [1.0, 5.0], 16: [10.0]}
    for name in TABLES:
        for text in (
            "10",
            "[3, 16]",
            "{1: 10}",
            "{3: -1}",
            "{3: ten}",
            "{a: 10}",
            "{}",
            "none",
            "{3: {16: 10}}",
        ):
            with pytest.raises(ParameterError) as error:
                opened(notebook, flags(flag, name, text))
            assert (
                str(error.value).startswith(f"{name} = ")
                and len(str(error.value).splitlines()) == 1
            )


def test_10_takes_sizes_in_their_order():
    names = opened(
        ROOT / "notebooks" / "10_estimator.ipynb",
        {"samples": [2048, 128, 512], "pairs": "[256, 64]"},
    )
    assert (names["samples"], names["pairs"]) == ([128, 512, 2048], [64, 256])


@pytest.mark.parametrize("name", sorted(set(NUMBERS)))
def test_single_values_have_limits(name):
    assert own_value(name, "100") == 100
    for bad in (-1, "-1", "ten", math.nan, [3], 10**5 if name == "views_kappa0" else 2.5):
        with pytest.raises(ParameterError, match=f"^{name} = "):
            own_value(name, bad)


# --- In a kernel ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        (1, 10),
        range(1, 3),
        np.array([1, 10]),
        np.array([1.5]),
        np.float64(3),
        np.array(7),
        [np.int64(2)],
    ],
)
def test_what_a_person_writes_into_the_cell(given):
    assert own_value("kappas", given) == [
        float(value) for value in np.atleast_1d(np.array(list_of(given)))
    ]


def list_of(given):
    return list(given) if isinstance(given, tuple | range | list) else given


def test_yamls_odd_numbers_are_no_others():
    """In YAML 010 is 8 and 1:30 is 90."""
    assert own_value("seeds", "010") == [10] and own_value("seeds", "[010]") == [10]
    with pytest.raises(ParameterError, match="1:30"):
        own_value("kappas", "1:30")


def test_a_cell_that_is_run_again_changes_nothing():
    notebook = ROOT / "notebooks" / "03_ablate_kappa.ipynb"
    names = opened(notebook, {"kappas": "[1, 10]", "seeds": 3})
    before = (names["config"], names["kappas"], names["configs"])
    exec(first_cells(notebook)[1], names)
    assert (names["config"], names["kappas"], names["configs"]) == before
    assert [(c.kappa, c.seed) for c in names["configs"]] == [(1, 3), (10, 3)]


def test_a_name_that_is_not_declared_is_taken_as_it_is():
    made = notebook_parameters({"kappa": "3", "mine": [1], "other": 2}, extra=["mine", "absent"])
    assert made.values == {"kappa": 3.0, "mine": [1]} and made.config == TrainConfig(kappa=3)
    with pytest.raises(ParameterError, match="kappas = 'ten'"):
        from_notebook({"kappas": "ten"}, extra=["kappas"])


def test_a_field_that_a_notebook_does_not_read_is_refused():
    """Where nothing is trained, `epochs` would change nothing."""
    cells = ["", "# Parameters\nseed = 0", "# Parameters\nepochs = 3"]
    given = {"In": cells, "seed": "1", "epochs": 3}
    assert notebook_parameters(given).config == TrainConfig(seed=1, epochs=3)
    with pytest.raises(ParameterError, match="There is no parameter 'epochs'"):
        notebook_parameters(given, extra=["images"], fields=["seed"])
    assert notebook_parameters({**given, "In": cells[:2]}, fields=["seed"]).values == {"seed": 1}
