"""Images of one's own without labels, as a user has them: the notebooks, several processes, an
interruption."""

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
OWN = {
    "dataset": "folder",
    "image_size": 32,
    "epochs": 1,
    "batch_size": 16,
    "proj_dim": 16,
    "device": "cpu",
}
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
    given = {
        **OWN,
        "data_root": str(place / "my photos"),
        "runs_dir": str(place / "runs"),
        "n_train": None,
        **more,
    }
    (place / "given.yaml").write_text(yaml.safe_dump(given))
    out = place / f"{number}.ipynb"
    command = [
        "papermill",
        "--no-progress-bar",
        str(notebook),
        str(out),
        "-f",
        str(place / "given.yaml"),
    ]
    done = subprocess.run(
        command, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200
    )
    return done, nbformat.read(out, 4)


def shown(notebook) -> list[str]:
    """For each code cell, which kinds of output it has."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(kind for o in cell.outputs for kind in o.get("data", {})) for cell in code]


@pytest.mark.parametrize("number", RUN_TO_THE_END)
def test_a_notebook_shows_what_there_is_without_labels(place, number):
    """06 draws saliency on the same photographs, of all kinds and with other files beside them."""
    done, notebook = papermill(
        place, number, **({"photos": str(place / "my photos")} if number == "06" else {})
    )
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
    before = sorted((place / "runs").glob("*")) if (place / "runs").exists() else []
    done, _ = papermill(place, number)
    last = done.stderr.strip().splitlines()[-1]
    assert (
        done.returncode == 1
        and last.startswith("ParameterError: data_root = ")
        and "labels are needed" in last
    )
    assert (sorted((place / "runs").glob("*")) if (place / "runs").exists() else []) == before


def test_a_damaged_photograph_in_a_notebook(place, tmp_path):
    written = write(tmp_path / "my photos", 60)
    bad = next(path for path in written if path.endswith(".webp"))
    cut(bad)
    done, _ = papermill(tmp_path, "01")
    assert done.returncode == 1 and bad in done.stderr.strip().splitlines()[-1]
    done, notebook = papermill(tmp_path, "01", damaged="skip")
    assert done.returncode == 0, done.stderr[-2000:]
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert bad in said and re.search(
        r"no classes, (47 training and 12|48 training and 11) test images", said
    )


def test_photographs_in_an_empty_folder(place, tmp_path):
    done, _ = papermill(place, "06", photos=str(tmp_path))
    assert "it must be a folder that holds pictures" in done.stderr.strip().splitlines()[-1]


# --- Several processes, an interruption -----------------------------------------------------------


def test_two_processes_take_the_path_of_one(place, tmp_path):
    own = {**OWN, "data_root": str(place / "my photos"), "backbone": "vit_mini", "epochs": 2}
    runs = {}
    for devices in (1, 2):
        config = {**own, "runs_dir": str(tmp_path / str(devices))}
        command = [
            sys.executable,
            str(ROOT / "tests" / "parallel.py"),
            json.dumps([config]),
            str(devices),
        ]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=600)
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
    given = (
        f"from infomax_nb import config, train; train.fit(config.TrainConfig(**{dict(config)!r}))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process, deadline = (
        subprocess.Popen([sys.executable, "-c", given], env=environment),
        time.monotonic() + 300,
    )
    while not (config.run_dir / "checkpoint.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline
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
