"""The pictures of notebook 08, against the tables that they are drawn from."""

import numpy as np
import pandas as pd
import pytest

from infomax_nb.evaluation.compute import at_equal_epochs_and_compute
from infomax_nb.figures import methods as figures
from infomax_nb.files import project_root

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
    assert lines["VICReg"].round(1).tolist() == [4.3, 7.7, 3.5]


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
