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

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"), key=lambda path: path.stem)
TRAIN = ROOT / "notebooks" / "01_train.ipynb"
KAPPA = ROOT / "notebooks" / "03_ablate_kappa.ipynb"
SALIENCY = ROOT / "notebooks" / "06_saliency.ipynb"
DERIVATION = ROOT / "notebooks" / "00_loss_derivation.ipynb"
ESTIMATOR = ROOT / "notebooks" / "10_estimator.ipynb"
FLAGS = ("-p", "-r", "-y")  # papermill's: a value, a text, YAML


@cache
def first_cells(notebook: Path) -> tuple[str, str]:
    """The sources of the `parameters` cell and of the one that validates it."""
    code = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    assert code[0].startswith("# Parameters")
    assert "notebook_parameters" in code[1]
    without_magics = [line for line in code[1].splitlines() if line[0:1] != "%"]
    return code[0], "\n".join(without_magics)


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
    if flag == "-y":
        return yaml.load(f"{name}: {text}", NoDatesSafeLoader)
    return {name: _resolve_type(text) if flag == "-p" else text}


def refused(notebook: Path, given: dict) -> str:
    """The one line that refuses a parameter."""
    with pytest.raises(ParameterError) as error:
        opened(notebook, given)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def holding(names) -> list[tuple[Path, str]]:
    """The notebooks that have one of these parameters, with its name."""
    own = [(notebook, name) for notebook in NOTEBOOKS for name in assigned(notebook)]
    return [(notebook, name) for notebook, name in own if name in names]


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
    """Of every notebook: a field of `TrainConfig`, or declared with its limits."""
    names = {name for notebook in NOTEBOOKS for name in assigned(notebook)}
    own = names - set(TrainConfig.model_fields)
    assert own == {*LISTS, *SIZES, *TABLES, *TEXTS, *NUMBERS}


def test_every_list_has_its_examples_here():
    assert {*EXAMPLES} == {*LISTS, *SIZES}


of_every_list = pytest.mark.parametrize(("notebook", "name"), holding({*LISTS, *SIZES}), ids=ids)


@pytest.mark.parametrize("flag", FLAGS)
@of_every_list
def test_a_list_is_a_list_a_value_or_its_text(notebook, name, flag):
    one, other, _, expected = EXAMPLES[name]
    assert opened(notebook, flags(flag, name, one))[name] == expected[:1]
    assert opened(notebook, flags(flag, name, f"[{one}, {other}]"))[name] == expected


@pytest.mark.parametrize("flag", FLAGS)
@of_every_list
def test_a_list_names_each_value_once(notebook, name, flag):
    one, other, _, expected = EXAMPLES[name]
    assert opened(notebook, flags(flag, name, f"[{one}, {other}, {one}]"))[name] == expected


@pytest.mark.parametrize("flag", FLAGS)
@of_every_list
def test_what_is_no_list_of_allowed_values_is_refused(notebook, name, flag):
    one, other, bad, _ = EXAMPLES[name]
    texts = [bad, f"[{one}, {bad}]", "[]", "true", f"{one}, {other}", "{a: 1}", f"[[{one}]]"]
    if flag != "-y":  # YAML: papermill's own error
        texts.append(f"[{one}")
    for text in texts:
        assert refused(notebook, flags(flag, name, text)).startswith(f"{name} = "), text


@pytest.mark.parametrize(("notebook", "name"), holding(LISTS), ids=ids)
def test_a_list_that_is_none_is_the_default(notebook, name):
    for flag in FLAGS:
        empty = '""' if flag == "-y" else ""
        for word in ("none", "None", "null", "~", empty):
            names = opened(notebook, flags(flag, name, word))
            assert names["parameters"].values[name] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=ids)
def test_every_parameter_as_text(notebook):
    """The values that stand in the cell, each handed over as `-r` would, are the same values."""
    plain = opened(notebook, {})
    for name, value in assigned(notebook).items():
        text = "none" if value is None else str(value)
        read = opened(notebook, {name: text})[name]
        assert read == plain[name], name
        assert type(read) is type(plain[name]), name


SINGLE = {*TrainConfig.model_fields, *TEXTS, *NUMBERS}


@pytest.mark.parametrize("value", [True, [1, 2], {"a": 1}], ids=str)
@pytest.mark.parametrize(("notebook", "name"), holding(SINGLE), ids=ids)
def test_a_boolean_and_a_list_are_no_single_value(notebook, name, value):
    message = refused(notebook, {name: value})
    assert message.startswith(f"{name} = {value!r} is not allowed: it must "), message


@pytest.mark.parametrize("word", ["none", "None", "null", "~", "", " NULL "])
def test_none_in_words_is_none(word):
    given = {"n_train": word, "image_size": word}
    assert opened(TRAIN, given)["config"] == TrainConfig()
    assert TrainConfig(n_train=word).n_train is None


@pytest.mark.parametrize("word", ["none", "None", "null", "~", "", " NULL "])
def test_none_is_refused_where_there_is_no_default(word):
    assert refused(TRAIN, {"kappa": word}).startswith("kappa = ")


def test_a_folder_may_be_called_2024():
    """papermill makes a number of it."""
    given = {"photos": 2024, "data_root": 2024, "runs_dir": 7, "export": 2024, "network": 5}
    names = opened(SALIENCY, given)
    texts = [names[name] for name in ("photos", "data_root", "runs_dir", "export")]
    assert texts == ["2024", "2024", "7", "2024"]
    assert names["config"].data_root == "2024"
    assert own_value("hierarchy_csv", 1.5) == "1.5"


def test_a_folder_of_a_parameter_file_may_be_called_2024(tmp_path):
    (tmp_path / "p.yaml").write_text("data_root: 2024\n")
    assert TrainConfig.from_yaml(tmp_path / "p.yaml").data_root == "2024"


def test_photographs_may_lie_in_ones_home():
    """Where YAML reads `none`."""
    assert own_value("photos", "~") == "~"


# --- Notebooks 00 and 10 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "text"), [("-y", "1e1"), ("-r", "10"), ("-p", "10"), ("-y", "10.0")]
)
def test_00_computes_with_numbers(flag, text):
    names = opened(DERIVATION, flags(flag, "kappa", text))
    assert names["kappa"] == 10.0
    assert isinstance(names["kappa"], float)


def test_00_refuses_what_is_no_number():
    assert refused(DERIVATION, {"kappa": "ten"}).startswith("kappa = 'ten' is not allowed")


@pytest.mark.parametrize("flag", FLAGS)
def test_10_takes_its_tables(flag):
    """From YAML their keys come as text: papermill writes each key of a mapping as text."""
    names = opened(ESTIMATOR, flags(flag, "concentrations", "{3: 10, 16: 5e1}"))
    assert names["concentrations"] == {3: 10.0, 16: 50.0}
    names = opened(ESTIMATOR, flags(flag, "channels", "{3: [1, 5], 16: 10}"))
    assert names["channels"] == {3: [1.0, 5.0], 16: [10.0]}


NO_TABLES = ["10", "[3, 16]", "{1: 10}", "{3: -1}", "{3: ten}", "{a: 10}", "{}", "none"]
NO_TABLES += ["{3: {16: 10}}"]


@pytest.mark.parametrize("text", NO_TABLES)
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("flag", FLAGS)
def test_10_refuses_what_is_no_table(flag, name, text):
    assert refused(ESTIMATOR, flags(flag, name, text)).startswith(f"{name} = ")


def test_10_takes_sizes_in_their_order():
    names = opened(ESTIMATOR, {"samples": [2048, 128, 512], "pairs": "[256, 64]"})
    assert names["samples"] == [128, 512, 2048]
    assert names["pairs"] == [64, 256]


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_single_values_have_limits(name):
    assert own_value(name, "100") == 100
    beyond = 10**5 if name == "views_kappa0" else 2.5
    for bad in (-1, "-1", "ten", math.nan, [3], beyond):
        with pytest.raises(ParameterError, match=f"^{name} = "):
            own_value(name, bad)


# --- In a kernel ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ((1, 10), [1.0, 10.0]),
        (range(1, 3), [1.0, 2.0]),
        (np.array([1, 10]), [1.0, 10.0]),
        (np.array([1.5]), [1.5]),
        (np.float64(3), [3.0]),
        (np.array(7), [7.0]),
        ([np.int64(2)], [2.0]),
    ],
)
def test_a_person_may_write_any_sequence_of_numbers_into_the_cell(given, values):
    assert own_value("kappas", given) == values


def test_yamls_odd_numbers_are_no_others():
    """In YAML 010 is 8 and 1:30 is 90."""
    assert own_value("seeds", "010") == [10]
    assert own_value("seeds", "[010]") == [10]
    with pytest.raises(ParameterError, match="1:30"):
        own_value("kappas", "1:30")


def test_a_cell_that_is_run_again_changes_nothing():
    names = opened(KAPPA, {"kappas": "[1, 10]", "seeds": 3})
    before = (names["config"], names["kappas"], names["configs"])
    exec(first_cells(KAPPA)[1], names)
    assert (names["config"], names["kappas"], names["configs"]) == before
    assert [(c.kappa, c.seed) for c in names["configs"]] == [(1, 3), (10, 3)]


def test_a_name_that_is_not_declared_is_taken_as_it_is():
    names = {"kappa": "3", "mine": [1], "other": 2}
    parameters = notebook_parameters(names, extra=["mine", "absent"])
    assert parameters.values == {"kappa": 3.0, "mine": [1]}
    assert parameters.config == TrainConfig(kappa=3)


def test_a_name_that_is_declared_is_validated():
    with pytest.raises(ParameterError, match="kappas = 'ten'"):
        notebook_parameters({"kappas": "ten"}, extra=["kappas"])


def test_a_field_that_a_notebook_does_not_read_is_refused():
    """Where nothing is trained, `epochs` would change nothing."""
    cells = ["", "# Parameters\nseed = 0", "# Parameters\nepochs = 3"]
    given = {"In": cells, "seed": "1", "epochs": 3}
    assert notebook_parameters(given).config == TrainConfig(seed=1, epochs=3)
    with pytest.raises(ParameterError, match="There is no parameter 'epochs'"):
        notebook_parameters(given, extra=["images"], fields=["seed"])
    assert notebook_parameters({**given, "In": cells[:2]}, fields=["seed"]).values == {"seed": 1}
