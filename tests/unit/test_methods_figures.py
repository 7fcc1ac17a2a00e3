"""The pictures of notebook 08, against the tables that they are drawn from."""

import json

import nbformat
import numpy as np
import pandas as pd
import pytest

from infomax_nb.evaluation.compute import at_equal_epochs_and_compute
from infomax_nb.evaluation.intervals import paired_interval
from infomax_nb.figures import factorial
from infomax_nb.figures import methods as figures
from infomax_nb.files import project_root
from infomax_nb.names import in_words
from pipeline.evidence.rules import effects

REPORTS = project_root() / "reports"


def runs() -> pd.DataFrame:
    """Two methods, two seeds, two epochs; ours gains twenty points an epoch, SimCLR ten."""
    rows = [
        {"method": name, "seed": seed, "epoch": epoch, "linear_top1": gain * epoch + seed}
        for name, gain in (("infomax", 20.0), ("simclr", 10.0))
        for seed in (0, 1)
        for epoch in (1, 2)
    ]
    return pd.DataFrame(rows).assign(knn_top1=lambda table: table.linear_top1 / 2, lr=1e-3)


def untrained() -> pd.DataFrame:
    rows = {
        "untrained": [12.0, 11.0],
        "raw pixels": [7.0, 6.0],
        figures.LOOK_UP: [np.nan, 5.0],
    }
    return pd.DataFrame(rows, ["linear_top1", "knn_top1"]).T


def test_what_was_not_trained_is_a_line():
    figure = figures.accuracy(runs(), untrained())
    heights = [
        {"untrained": 12, "raw pixels": 7},
        {"untrained": 11, "raw pixels": 6},
    ]
    for axis, expected in zip(figure.axes, heights, strict=True):
        drawn = {line.get_label(): line for line in axis.lines}
        for name, height in expected.items():
            assert set(drawn[name].get_ydata()) == {height}
    legend = figure.axes[-1].get_legend()
    texts = {text.get_text() for text in legend.get_texts()}
    assert {"ours", "SimCLR", "untrained", "raw pixels"} <= texts


def test_results_are_means_with_their_spread():
    panel = figures.results(runs(), untrained())
    linear = panel[panel.series == "linear head"]
    assert linear.index.tolist() == ["ours", "SimCLR", "untrained", "raw pixels"]
    assert linear["mean"].tolist() == [40.5, 20.5, 12, 7]
    assert np.allclose(linear.high[:2] - linear["mean"][:2], 0.5**0.5)  # of 0 and 1
    assert linear.low[2:].isna().all()
    assert figures.LOOK_UP in panel[panel.series == "k-NN"].index


def test_one_line_for_each_method_over_the_rate():
    metrics = pd.read_csv(REPORTS / "methods_lr" / "metrics.csv")
    figure = figures.by_rate(metrics)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert len(lines) == 7
    ends = metrics.sort_values("epoch").groupby(["method", "lr"]).tail(1).sort_values("lr")
    for method, rows in ends.groupby("method"):
        assert lines[in_words(method)].tolist() == rows.linear_top1.tolist()


def test_eleven_methods_over_the_rate_are_told_apart():
    rates = pd.DataFrame({"lr": [0.001, 0.003], "epoch": 1, "linear_top1": 1.0})
    every = pd.concat([rates.assign(method=f"method {k}") for k in range(11)])
    lines = figures.by_rate(every).axes[0].lines
    seen = {(line.get_color(), line.get_marker(), line.get_markerfacecolor()) for line in lines}
    assert len(seen) == 11


def test_methods_keep_their_order():
    ordered = figures.in_order(runs(), {"simclr": 0, "infomax": 0})
    assert list(dict.fromkeys(ordered.method)) == ["simclr", "infomax"]


@pytest.mark.parametrize(("cost", "epoch", "mean"), [(1.0, 2, 20.0), (2.0, 1, 0.0)])
def test_equal_epochs_and_equal_compute(cost, epoch, mean):
    """If an epoch of ours costs twice as much, one epoch of ours stands against two of SimCLR."""
    costs = {"infomax": cost, "simclr": 1.0}
    found = at_equal_epochs_and_compute(runs(), costs, "infomax", ["simclr"])
    both = found.set_index("series")
    at_epochs = both.loc["equal epochs"]
    assert at_epochs.epoch == 2
    assert at_epochs["mean"] == 20
    at_compute = both.loc["equal compute"]
    assert at_compute.epoch == epoch
    assert at_compute["mean"] == at_compute.low == at_compute.high == mean


# --- The factorial --------------------------------------------------------------------------------


def simulated(seeds: int) -> pd.DataFrame:
    """Effects of runs whose accuracy is 40 + 3 views + 0.5 views κ, levels ±1, and noise."""
    rng = np.random.default_rng(0)
    parts = []
    for series, gain in (("equal epochs", 3.0), ("equal compute", 0.0)):
        columns = pd.MultiIndex.from_product(
            [[2, 8], [2, 10], [0, 1]], names=["views", "kappa", "recipe"]
        )
        views = np.where(columns.get_level_values("views") == 8, 1, -1)
        kappa = np.where(columns.get_level_values("kappa") == 10, 1, -1)
        means = 40 + gain * views + 0.5 * views * kappa
        cells = pd.DataFrame(means + rng.normal(0, 0.2, (seeds, 8)), columns=columns)
        by_effect = effects(cells)
        rows = {name: paired_interval(by_effect[name]) for name in by_effect}
        parts.append(pd.DataFrame(rows).T.assign(series=series))
    return pd.concat(parts)


def test_effects_stand_where_the_simulation_put_them():
    """An effect is twice its coefficient: six points of views at equal epochs, none at equal
    compute."""
    axis = factorial.effects(simulated(3)).axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == [
        *["views", "κ", "recipe", "views × κ", "views × recipe", "κ × recipe"],
        "views × κ × recipe",
    ]
    marks = {line.get_label(): line for line in axis.lines}
    assert set(marks["_interactions below"].get_ydata()) == {2.5}
    at_epochs = dict(zip(names, marks["equal epochs"].get_xdata(), strict=True))
    at_compute = dict(zip(names, marks["equal compute"].get_xdata(), strict=True))
    assert at_epochs["views"] == pytest.approx(6, abs=0.4)
    assert at_compute["views"] == pytest.approx(0, abs=0.4)
    assert at_epochs["views × κ"] == pytest.approx(1, abs=0.4)
    assert axis.get_xlabel() == "effect, points (3 seeds)"
    ends = [line for collection in axis.collections for line in collection.get_segments()]
    first = simulated(3).iloc[0]
    assert ends[0][:, 0].tolist() == pytest.approx([first.low, first.high])


def test_one_seed_has_hollow_marks_and_an_effect_that_is_missing_is_left_out():
    table = simulated(1)
    table.loc["recipe", "mean"] = np.nan
    axis = factorial.effects(table).axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert "recipe" not in names and "views × recipe" in names
    assert not any(len(bars.get_segments()) for bars in axis.collections)
    assert axis.get_xlabel() == "effect, points (one seed, no interval)"
    filled = [line.get_markerfacecolor() for line in axis.lines if line.get_marker() != "None"]
    assert set(filled) == {"white"}


def test_without_runs_the_figure_says_so():
    for empty in (pd.DataFrame(), simulated(1).assign(mean=np.nan)):
        (axis,) = factorial.effects(empty).axes
        assert axis.texts[0].get_text().startswith("nothing to show yet")


# --- Ours' family, as notebook 08 tells it -------------------------------------------------------


def test_notebook_08_quotes_the_familys_differences_as_they_were_measured():
    """Both measures of each loss less ours, paired by seed, computed anew."""
    metrics = pd.read_csv(REPORTS / "family_glyphs" / "metrics.csv")
    notebook = nbformat.read(project_root() / "notebooks" / "08_compare_methods.ipynb", 4)
    (text,) = [cell.source for cell in notebook.cells if cell.id == "d08-family-caption"]
    last = metrics[metrics.epoch == 8].set_index(["method", "seed"])
    for name in ("l_out", "dcl", "pvc_geometric"):
        for column in ("linear_top1", "knn_top1"):
            less = (last.loc[name, column] - last.loc["infomax", column]).sort_index()
            half = 4.303 * less.std() / 3**0.5  # Student's t at 97.5%, two degrees of freedom
            ends = f"[{less.mean() - half:+.1f}, {less.mean() + half:+.1f}]"
            assert f"{less.mean():+.1f} {ends}".replace("-", "−") in text


def test_the_familys_runs_differ_in_loss_and_seed_alone():
    records = json.loads((REPORTS / "family_glyphs" / "records.json").read_text())
    assert len(records) == 4 * 3
    for name in {"epochs", "n_train", "lr", "batch_size", "kappa", "proj_dim", "local_views"}:
        assert len({record["config"][name] for record in records}) == 1, name
    assert all(record["commit"] for record in records)
