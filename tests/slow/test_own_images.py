"""Images of one's own without labels, as a user has them.

The notebooks read them, several processes train on them, and a run is interrupted.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch
import yaml
from test_folder import WRITERS, cut, rubbish, write

from infomax_nb.config import TrainConfig
from infomax_nb.files import load_weights
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run

ROOT = Path(__file__).parents[2]
OWN = {"dataset": "folder", "image_size": 32, "epochs": 1, "batch_size": 16, "proj_dim": 16}
OWN |= {"device": "cpu"}
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONWARNINGS": "ignore",
}
RUN_TO_THE_END = ("01", "02", "03", "04", "05", "06")
NEED_LABELS = ("07", "08", "09")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the photographs, and one for the runs."""
    folder = tmp_path_factory.mktemp("own")
    assert len(write(folder / "my photos", 80)) == 80 > len(WRITERS)
    rubbish(folder / "my photos")
    return folder


def papermill(place, number, **more):
    """The notebook's process and the notebook that it wrote."""
    (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    folders = {"data_root": str(place / "my photos"), "runs_dir": str(place / "runs")}
    given = place / "given.yaml"
    given.write_text(yaml.safe_dump({**OWN, **folders, "n_train": None, **more}))
    out = place / f"{number}.ipynb"
    files = [str(notebook), str(out), "-f", str(given)]
    options = {"capture_output": True, "text": True, "timeout": 1200}
    command = ["papermill", "--no-progress-bar", *files]
    done = subprocess.run(command, cwd=place, env=ENVIRONMENT, **options)
    return done, nbformat.read(out, 4)


def shown(notebook) -> list[str]:
    """For each code cell, which kinds of output it has."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(kind for o in cell.outputs for kind in o.get("data", {})) for cell in code]


@pytest.mark.parametrize("number", RUN_TO_THE_END)
def test_a_notebook_shows_what_there_is_without_labels(place, number):
    """06 draws saliency on the same photographs, of all kinds and with other files beside them."""
    more = {"photos": str(place / "my photos")} if number == "06" else {}
    done, notebook = papermill(place, number, **more)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr
    pictures = sum("image/png" in kinds for kinds in shown(notebook))
    assert pictures >= {"01": 5, "02": 1, "03": 3, "04": 4, "05": 2, "06": 2}[number]
    text = json.dumps(notebook.cells)
    assert "Traceback" not in text
    if number == "02":  # twelve queries and their nine neighbours
        assert "neighbours" in text and "effective_rank" in text


@pytest.mark.parametrize("number", NEED_LABELS)
def test_a_notebook_that_needs_labels_says_so_before_any_work(place, number):
    before = sorted((place / "runs").glob("*"))
    done, _ = papermill(place, number)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ParameterError: data_root = ")
    assert "labels are needed" in last
    assert sorted((place / "runs").glob("*")) == before


@pytest.fixture
def damaged_photograph(tmp_path) -> str:
    """One of sixty photographs in `tmp_path`, cut off."""
    written = write(tmp_path / "my photos", 60)
    path = next(path for path in written if path.endswith(".webp"))
    cut(path)
    return path


def test_a_damaged_photograph_is_refused_by_name(damaged_photograph, tmp_path):
    done, _ = papermill(tmp_path, "01")
    assert done.returncode == 1
    assert damaged_photograph in done.stderr.strip().splitlines()[-1]


def test_a_damaged_photograph_is_left_out_where_that_is_asked_for(damaged_photograph, tmp_path):
    done, notebook = papermill(tmp_path, "01", damaged="skip")
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert damaged_photograph in text
    counts = "(47 training and 12|48 training and 11)"
    assert re.search(f"no classes, {counts} test images", text)


def test_photographs_in_an_empty_folder(place, tmp_path):
    done, _ = papermill(place, "06", photos=str(tmp_path))
    assert "it must be a folder that holds pictures" in done.stderr.strip().splitlines()[-1]


# --- Several processes, an interruption -----------------------------------------------------------


def test_two_processes_take_the_path_of_one(place, tmp_path):
    own = {**OWN, "data_root": str(place / "my photos"), "backbone": "vit_mini", "epochs": 2}
    runs = {}
    for devices in (1, 2):
        config = {**own, "runs_dir": str(tmp_path / str(devices))}
        script = str(ROOT / "tests" / "unit" / "parallel.py")
        command = [sys.executable, script, json.dumps([config]), str(devices)]
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=one_thread, check=True, timeout=600)
        runs[devices] = Run(TrainConfig(**config).run_dir)
    assert (runs[1].record["devices"], runs[2].record["devices"]) == (1, 2)
    assert "knn_top1" not in runs[1].metrics and runs[1].metrics.notna().all(axis=None)
    pd.testing.assert_frame_equal(runs[1].metrics, runs[2].metrics, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("older", [False, True])
def test_a_killed_run_goes_on_and_ends_with_the_same_metrics(place, tmp_path, older):
    """Also from a checkpoint that was written before the field `damaged` was there."""
    own = {**OWN, "data_root": str(place / "my photos"), "epochs": 4}
    whole = fit(TrainConfig(**own, runs_dir=str(tmp_path / "whole")))
    config = TrainConfig(**own, runs_dir=str(tmp_path / "killed"))
    fields = dict(config)
    code = f"from infomax_nb import TrainConfig, fit; fit(TrainConfig(**{fields!r}))"
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 300
    while not (config.run_dir / "checkpoint.ckpt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Run(config.run_dir).finished
    if older:
        saved = load_weights(config.run_dir / "checkpoint.ckpt")
        del saved["loop"]["identity"]["damaged"]
        torch.save(saved, config.run_dir / "checkpoint.ckpt")
    run = fit(config)
    pd.testing.assert_frame_equal(run.metrics, whole.metrics, check_exact=True)
