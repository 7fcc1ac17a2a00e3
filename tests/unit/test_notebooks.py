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

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TINY = {"n_train": 256, "batch_size": 64, "proj_dim": 16, "epochs": 1}
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}


def papermill(folder, notebook, out, *more, **parameters):
    flags = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = ["papermill", "--no-progress-bar", str(notebook), str(out), *flags, *more]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )


def parameters_of(notebook):
    cells = [
        c for c in nbformat.read(notebook, 4).cells if "parameters" in c.metadata.get("tags", [])
    ]
    assert len(cells) == 1 and cells[0].source.startswith("# Parameters")
    values: dict = {}
    exec(cells[0].source, values)
    return {k: v for k, v in values.items() if k != "__builtins__"}


@pytest.mark.parametrize("folder", [ROOT, ROOT / "notebooks"], ids=["root", "notebooks"])
def test_kappa_by_papermill(folder, tmp_path):
    notebook = ROOT.joinpath("notebooks/03_ablate_kappa.ipynb").relative_to(folder)
    for kappa in (1, 10):
        done = papermill(
            folder,
            notebook,
            tmp_path / "out.ipynb",
            **TINY,
            kappa=kappa,
            runs_dir=tmp_path / "runs",
        )
        assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "out.ipynb").read_text()
    assert "level0_row0" in text and "level0_row1" in text  # the table of recorded runs holds both
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"kappa": -1}, ["kappa", "-1", "greater than 0"]),
        ({"kappa": "ten"}, ["kappa", "'ten'", "a valid number"]),
        ({"dataset": "cifar11"}, ["dataset", "'cifar11'", "did you mean 'cifar10'"]),
        ({"dataset": "cifar10", "data_root": "nowhere"}, ["data_root", "nowhere", "CIFAR10"]),
        ({"kapa": 10}, ["'kapa'", "did you mean 'kappa'"]),
        ({"export": "../x", **TINY}, ["export", "'../x'", "letters"]),
        (
            {"kappas": "[1, ten]", **TINY},
            ["kappas = '[1, ten]'", "'ten' in it must be a valid number"],
        ),
    ],
    ids=["negative", "word", "dataset", "data_root", "misspelt", "export", "list"],
)
def test_bad_parameters_end_in_one_sentence(parameters, words, tmp_path):
    notebook = ROOT / "notebooks/03_ablate_kappa.ipynb"
    done = papermill(
        ROOT, notebook, tmp_path / "out.ipynb", **parameters, runs_dir=tmp_path / "runs"
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ParameterError: ") and all(word in last for word in words), last
    assert not list(tmp_path.glob("runs/*"))  # before any work


@pytest.mark.parametrize(
    "more, kappas",
    [(["-r", "kappas", "15"], [15]), (["-p", "kappas", "[1, 10]"], [1, 10])],
    ids=["raw", "text"],
)
def test_a_list_by_papermill(more, kappas, tmp_path):
    notebook, small = (
        ROOT / "notebooks/03_ablate_kappa.ipynb",
        {**TINY, "n_train": 64, "batch_size": 32},
    )
    done = papermill(
        ROOT, notebook, tmp_path / "out.ipynb", *more, **small, runs_dir=tmp_path / "runs"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    configs = [
        yaml.safe_load(path.read_text()) for path in (tmp_path / "runs").glob("*/config.yaml")
    ]
    assert sorted(config["kappa"] for config in configs) == kappas


def test_00_and_10_by_papermill(tmp_path):
    """Values of every kind; in 10 each list has one value."""
    values = ["-y", "kappa: 1e1", "-r", "seed", "1", "-r", "alpha", "2", "-p", "proj_dim", "16"]
    lists = "samples: 64, pairs: '32', views: 2"
    tables = "{concentrations: {3: 10}, channels: {3: 5, 16: [5, 10]}, " + lists + "}"
    numbers = (
        "{replicates: '2', repeats: 2, views_dim: 4, views_kappa0: 1e1, images: 8, batches: 2}"
    )
    for number, more in {"00": values, "10": ["-y", tables, "-y", numbers]}.items():
        (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        done = papermill(ROOT, notebook, tmp_path / "out.ipynb", *more)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "unknown parameter" not in done.stderr  # each can be seen in the cell


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameter_cells_are_the_profiles(notebook):
    values = parameters_of(notebook)
    profile = "sweep" if "03" <= notebook.stem[:2] <= "09" else "fast"
    file = yaml.safe_load((ROOT / f"params/{profile}.yaml").read_text())
    assert {k: values[k] for k in file if k in values} == {
        k: v for k, v in file.items() if k in values
    }
    if notebook.stem[:2] not in ("00", "10"):  # these train nothing
        assert set(file) | {"data_root", "device", "precision", "runs_dir"} <= set(values)


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_parameter_files_are_configurations(file):
    values = yaml.safe_load(file.read_text())
    own = set(values) - set(TrainConfig.model_fields)
    assert any(own <= set(parameters_of(notebook)) for notebook in NOTEBOOKS)
    TrainConfig(**{k: v for k, v in values.items() if k not in own})


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_outputs(notebook):
    cells = nbformat.read(notebook, 4).cells
    code = [c for c in cells if c.cell_type == "code"]
    written = [c for c in code if "parameters" not in c.metadata.get("tags", [])]
    assert all(c.source.count("\n") < 30 for c in written), "long code lives in the package"
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    text = notebook.read_text()
    assert not any(word in text for word in ("/home/", "/root/", "/tmp/", "site-packages", "it/s]"))
    headings = [
        line
        for c in cells
        if c.cell_type == "markdown"
        for line in c.source.splitlines()
        if line[:1] == "#"
    ]
    assert any("we measured" in h for h in headings) and any("Exercises" in h for h in headings)


def test_nbval_fails_when_a_stored_number_is_changed(tmp_path):
    """The closed-form cells of notebook 00, with one digit changed by hand."""
    source = nbformat.read(ROOT / "notebooks/00_loss_derivation.ipynb", 4)
    for cell in source.cells:
        texts = [o for o in cell.get("outputs", []) if "4.98" in o.get("text", "")]
        if texts and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            texts[0].text = texts[0].text.replace("4.98", "4.89")
            break
    else:
        pytest.fail("notebook 00 stores no compared output with the ceiling 4.98 nats")
    nbformat.write(source, tmp_path / "changed.ipynb")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = ["pytest", "--nbval", "-q", "-p", "no:cacheprovider", "changed.ipynb"]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert (
        done.returncode == 1 and "FAILED changed.ipynb" in done.stdout and "4.89" in done.stdout
    ), done.stdout[-2000:]
