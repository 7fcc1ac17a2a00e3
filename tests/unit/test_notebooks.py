"""The notebooks as a user runs them: papermill from both folders, bad parameters, parameter files,
stored outputs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from infomax_nb.config import TrainConfig
from infomax_nb.train.fitting import fit

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KAPPA = ROOT / "notebooks/03_ablate_kappa.ipynb"
DERIVATION = ROOT / "notebooks/00_loss_derivation.ipynb"
ESTIMATOR = ROOT / "notebooks/10_estimator.ipynb"
TINY = {"n_train": 256, "batch_size": 64, "proj_dim": 16, "epochs": 1}
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}


of_every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)


def run(command, folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )


def papermill(folder, notebook, out, *more, **parameters) -> subprocess.CompletedProcess:
    flags = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    return run(["papermill", "--no-progress-bar", str(notebook), str(out), *flags, *more], folder)


def tags_of(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def parameters_of(notebook):
    cells = [cell for cell in nbformat.read(notebook, 4).cells if "parameters" in tags_of(cell)]
    assert len(cells) == 1
    assert cells[0].source.startswith("# Parameters")
    values: dict = {}
    exec(cells[0].source, values)
    return {k: v for k, v in values.items() if k != "__builtins__"}


def test_a_table_holds_all_kappas_that_papermill_ran(tmp_path):
    """Beside the notebooks; another run, as the notebook leaves it, is there already."""
    out = tmp_path / "out.ipynb"
    runs = tmp_path / "runs"
    values = {**parameters_of(KAPPA), **TINY, "kappa": 1, "runs_dir": str(runs)}
    fit(TrainConfig(**{name: values[name] for name in values.keys() & TrainConfig.model_fields}))
    folder = ROOT / "notebooks"
    done = papermill(folder, KAPPA.relative_to(folder), out, **TINY, kappa=10, runs_dir=runs)
    assert done.returncode == 0, done.stderr[-2000:]
    text = out.read_text()
    assert "level0_row0" in text
    assert "level0_row1" in text
    assert len([*runs.iterdir()]) == 2


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"dataset": "cifar10", "data_root": "nowhere"}, ["data_root", "nowhere", "CIFAR10"]),
        ({"kapa": 10}, ["'kapa'", "did you mean 'kappa'"]),
        ({"export": "../x", **TINY}, ["export", "'../x'", "letters"]),
        (
            {"kappas": "[1, ten]", **TINY},
            ["kappas = '[1, ten]'", "'ten' in it must be a valid number"],
        ),
    ],
    ids=["data_root", "misspelt", "export", "list"],
)
def test_bad_parameters_end_in_one_sentence(parameters, words, tmp_path):
    """From the checkout, one of each kind; test_config.py has the values that are refused."""
    runs = tmp_path / "runs"
    done = papermill(ROOT, KAPPA, tmp_path / "out.ipynb", **parameters, runs_dir=runs)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ParameterError: "), last
    assert all(word in last for word in words), last
    assert not [*runs.glob("*")]  # before any work


@of_every_notebook
def test_parameter_cells_are_the_profiles(notebook):
    values = parameters_of(notebook)
    profile = "sweep" if "03" <= notebook.stem[:2] <= "09" else "fast"
    file = yaml.safe_load((ROOT / f"params/{profile}.yaml").read_text())
    common = set(file) & set(values)
    assert {name: values[name] for name in common} == {name: file[name] for name in common}
    if notebook.stem[:2] not in ("00", "10"):  # these train nothing
        assert set(file) | {"data_root", "device", "precision", "runs_dir"} <= set(values)


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_parameter_files_are_configurations(file):
    values = yaml.safe_load(file.read_text())
    own = set(values) - set(TrainConfig.model_fields)
    assert any(own <= set(parameters_of(notebook)) for notebook in NOTEBOOKS)
    TrainConfig(**{k: v for k, v in values.items() if k not in own})


def cells_of(notebook, kind: str) -> list:
    return [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == kind]


@of_every_notebook
def test_long_code_lives_in_the_package(notebook):
    written = [cell for cell in cells_of(notebook, "code") if "parameters" not in tags_of(cell)]
    assert all(cell.source.count("\n") < 30 for cell in written)


@of_every_notebook
def test_stored_outputs_show_pictures_and_no_errors(notebook):
    outputs = [output for cell in cells_of(notebook, "code") for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@of_every_notebook
def test_notebooks_name_no_place_of_one_machine(notebook):
    text = notebook.read_text()
    traces = ("/home/", "/root/", "/tmp/", "site-packages", "it/s]")
    assert not [trace for trace in traces if trace in text]


@of_every_notebook
def test_notebooks_say_what_was_measured_and_have_exercises(notebook):
    text = "\n".join(cell.source for cell in cells_of(notebook, "markdown"))
    headings = [line for line in text.splitlines() if line[:1] == "#"]
    assert any("we measured" in heading for heading in headings)
    assert any("Exercises" in heading for heading in headings)


def compared_text(cell, words: str):
    """The first output of a cell that holds these words and that nbval compares."""
    ignored = "nbval-ignore-output" in tags_of(cell)
    outputs = [] if ignored else cell.get("outputs", [])
    return next((output for output in outputs if words in output.get("text", "")), None)


def test_nbval_fails_when_a_stored_number_is_changed(tmp_path):
    """The cells of notebook 00 up to one with a closed form, of which one digit was changed."""
    source = nbformat.read(DERIVATION, 4)
    ceilings = [k for k, cell in enumerate(source.cells) if compared_text(cell, "4.98")]
    assert ceilings, "notebook 00 stores no compared output with the ceiling 4.98 nats"
    source.cells = source.cells[: ceilings[0] + 1]
    changed = compared_text(source.cells[-1], "4.98")
    changed.text = changed.text.replace("4.98", "4.89")
    nbformat.write(source, tmp_path / "changed.ipynb")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = run(["pytest", "--nbval", "-q", "-p", "no:cacheprovider", "changed.ipynb"], tmp_path)
    assert done.returncode == 1, done.stdout[-2000:]
    assert "FAILED changed.ipynb" in done.stdout
    assert "4.89" in done.stdout
