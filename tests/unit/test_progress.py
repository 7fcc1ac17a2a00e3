"""What a run says of itself while it trains and when it ends, in a log and under papermill."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from checkout import SMALL

from infomax_nb.config import TrainConfig
from infomax_nb.train.progress import duration, title, titles

LINE = r"^(.*): epoch (\d+) of (\d+)(, .+ left)?$"
DAY = 24 * 60 * 60


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A parameter file of a run of seconds."""
    folder = tmp_path_factory.mktemp("progress")
    path = folder / "small.yaml"
    values = {**SMALL, "kappa": 0.5, "runs_dir": str(folder / "runs")}
    path.write_text(yaml.safe_dump(values))
    return path


def train(file: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "infomax_nb.train", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def twice(file) -> list[subprocess.CompletedProcess]:
    """The same command, two times."""
    return [train(file), train(file)]


def test_a_log_has_one_line_an_epoch(twice):
    lines = re.findall(f"(?m){LINE}", twice[0].stderr)
    assert len(lines) == len(twice[0].stderr.splitlines()) == SMALL["epochs"]
    assert [line[1:3] for line in lines] == [("1", "3"), ("2", "3"), ("3", "3")]
    assert {line[0] for line in lines} == {"glyphs, infomax, κ = 0.5, β = 1, seed 0"}
    assert [bool(line[3]) for line in lines] == [True, True, False]  # nothing is left at the end


def test_a_run_that_is_there_says_so_and_where(twice):
    path = twice[1].stdout.strip()
    assert path == twice[0].stdout.strip()
    assert Path(path, "record.json").is_file()
    assert twice[1].stderr == f"already finished, reused: {path}; delete it to train anew\n"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> tuple[str, str]:
    """What papermill writes to its log, and to the notebook, while two runs are trained."""
    folder = tmp_path_factory.mktemp("sweep")
    cell = f"""
import sys
from infomax_nb import TrainConfig
from infomax_nb.train import fit_all
first = TrainConfig(**{SMALL}, runs_dir={str(folder)!r})
_ = fit_all([first, first.replace(kappa=0.1)])
print("an output", file=sys.stderr)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(notebook, folder / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar"]
    # A kernel behaves otherwise where this variable is set.
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    pipes: dict = {"capture_output": True, "text": True, "check": True}
    done = subprocess.run(command, cwd=folder, env=own, **pipes)
    (cell,) = nbformat.read(folder / "out.ipynb", 4).cells
    return done.stderr, "".join(output.text for output in cell.outputs)


def test_papermills_log_says_which_run_and_which_epoch(sweep):
    lines = [line[:3] for line in re.findall(f"(?m){LINE}", sweep[0])]
    runs = ("run 1 of 2, infomax, κ = 10", "run 2 of 2, infomax, κ = 0.1")
    assert lines == [(run, str(epoch), "3") for run in runs for epoch in (1, 2, 3)]


def test_progress_is_no_output_of_the_notebook(sweep):
    assert sweep[1] == "an output\n"


# --- In words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (3 * 60, "3 min"),
        (80 * 60, "80 min"),
        (5 * 3600, "5 h"),
        (DAY + 5 * 3600, "29 h"),
        (12 * DAY + 13 * 3600, "13 days"),
        (1234 * DAY, "1,234 days"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds, said):
    assert duration(seconds) == said


def test_a_run_is_called_by_what_it_has():
    """SimCLR has neither kappa nor beta."""
    assert title(TrainConfig(method="simclr", seed=2)) == "glyphs, simclr, seed 2"


def test_several_runs_are_called_by_their_differences():
    first = TrainConfig(backbone="vit_mini")
    names = titles([first, first.replace(beta=0.25, seed=1)])
    assert names == ["run 1 of 2, infomax, seed 0, β = 1", "run 2 of 2, infomax, seed 1, β = 0.25"]
    methods = titles([first, first.replace(method="byol")])
    assert methods == ["run 1 of 2, infomax", "run 2 of 2, byol"]


def test_a_single_run_is_called_by_its_title():
    assert titles([TrainConfig(seed=3)]) == [title(TrainConfig(seed=3))]
