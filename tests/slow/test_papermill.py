"""Papermill's flags, each with a notebook that computes for a while."""

import yaml
from test_notebooks import DERIVATION, ESTIMATOR, KAPPA, ROOT, TINY, papermill

LISTS_OF_ONE = "{samples: 64, pairs: '32', views: 2}"
TABLES = "{concentrations: {3: 10}, channels: {3: 5, 16: [5, 10]}}"
NUMBERS = "{replicates: '2', repeats: 2, views_dim: 4, views_kappa0: 1e1, images: 8, batches: 2}"


def test_papermill_hands_over_a_list(tmp_path):
    small = {**TINY, "n_train": 64, "batch_size": 32, "kappas": "[1, 10]"}
    runs = tmp_path / "runs"
    done = papermill(ROOT, KAPPA, tmp_path / "out.ipynb", **small, runs_dir=runs)
    assert done.returncode == 0, done.stderr[-2000:]
    configs = [yaml.safe_load(path.read_text()) for path in runs.glob("*/config.yaml")]
    assert sorted(config["kappa"] for config in configs) == [1, 10]


def test_papermill_hands_over_values_of_every_kind(tmp_path):
    """As YAML, as text and as a value of its own."""
    values = ["-y", "kappa: 1e1", "-r", "seed", "1", "-r", "alpha", "2", "-p", "proj_dim", "16"]
    done = papermill(ROOT, DERIVATION, tmp_path / "out.ipynb", *values)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr  # each can be seen in the cell


def test_papermill_hands_over_tables_and_lists_of_one(tmp_path):
    values = ["-y", LISTS_OF_ONE, "-y", TABLES, "-y", NUMBERS, "-r", "samples", "64"]
    done = papermill(ROOT, ESTIMATOR, tmp_path / "out.ipynb", *values)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr  # each can be seen in the cell
