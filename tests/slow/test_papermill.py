"""Papermill's flags, each with a notebook that computes for a while."""

from test_notebooks import DERIVATION, ROOT, papermill


def test_papermill_hands_over_values_of_every_kind(tmp_path):
    """As YAML, as text and as a value of its own."""
    values = ["-y", "kappa: 1e1", "-r", "seed", "1", "-r", "alpha", "2", "-p", "proj_dim", "16"]
    done = papermill(ROOT, DERIVATION, tmp_path / "out.ipynb", *values)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr  # each can be seen in the cell
