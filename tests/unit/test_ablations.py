"""The drawings of notebooks 03 to 05: what is drawn is what was measured."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scipy import stats

from infomax_nb import plots
from infomax_nb.evaluation.intervals import equivalence_power
from infomax_nb.figures import beta, kappa, projector
from infomax_nb.figures.sweeps import over_recorded


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def runs(key: str, *values: float) -> pd.DataFrame:
    """Three epochs of one run for each value, whose accuracy is ten times the epoch plus it."""
    pairs = product(values, (1, 2, 3))
    table = pd.DataFrame(pairs, columns=[key, "epoch"])
    names = "run" + table[key].map("{:g}".format)
    accuracy = 10.0 * table.epoch + table[key]
    return table.assign(run=names, seed=0, linear_top1=accuracy)


def thick(axis) -> list:
    return [line for line in axis.lines if line.get_linewidth() >= 3]


def heights(axis) -> list[list[float]]:
    """The y of each line."""
    return [list(line.get_ydata()) for line in axis.lines]


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_what_a_reader_trained_lies_over_what_was_recorded():
    table = runs("kappa", 0.1, 1, 10)
    figure = over_recorded(table, {"run10"}, ["linear_top1"], "kappa", "a title")
    (axis,) = figure.axes
    (line,) = thick(axis)
    assert line.get_ydata().tolist() == [20, 30, 40]
    assert line.get_color() == plots.shades([0.1, 1, 10])[10]
    assert legend(axis) == ["0.1", "1", "10", "yours (10)"]


def test_where_all_is_the_readers_own_nothing_is_thick():
    table = runs("kappa", 0.1, 1)
    figure = over_recorded(table, {"run0.1", "run1"}, ["linear_top1"], "kappa")
    (axis,) = figure.axes
    assert not thick(axis)
    assert legend(axis) == ["0.1", "1"]


def test_where_none_of_the_readers_runs_is_drawn_the_legend_names_none():
    figure = over_recorded(runs("kappa", 0.1, 1), {"run2"}, ["linear_top1"], "kappa")
    assert legend(figure.axes[0]) == ["0.1", "1"]


def test_every_epoch_has_its_line_however_many_there_are():
    pairs = list(product((0.5, 1.0), range(1, 11)))
    table = pd.DataFrame(pairs, columns=["beta", "epoch"]).assign(kappa=10.0, alpha=1.0)
    table["linear_top1"] = 10.0 * table.epoch + table.beta
    (axis,) = beta.over_ratio(table, "linear_top1").axes
    drawn = [line for line in axis.lines if line.get_label().startswith("after epoch")]
    assert [line.get_ydata().tolist() for line in drawn] == [
        [10.0 * epoch + 0.5, 10.0 * epoch + 1] for epoch in range(1, 11)
    ]


def test_one_kappa_stands_in_front():
    results = {
        "few": runs("kappa", 1, 10),
        "more": runs("kappa", 1, 10, 20),
        "others": runs("kappa", 2),
    }
    figure = kappa.at_kappa(10, results)
    kernel, *panels = figure.axes
    assert len(kernel.lines) == 4
    assert [len(axis.lines) for axis in panels] == [2, 3, 1]
    assert [len(thick(axis)) for axis in figure.axes] == [1, 1, 1, 0]
    assert thick(panels[0])[0].get_ydata().tolist() == [20, 30, 40]
    assert panels[2].get_title() == "others: none at this κ"


def test_a_correlation_is_drawn_over_the_epochs():
    table = runs("kappa", 1, 10).assign(nn_positive=0.1, still=5.0)
    rho = pd.DataFrame({1: [0.8, -0.1], 2: [0.9, 0.2]})
    rho.index = pd.Index(["over all runs", "within κ"])
    left, right = kappa.groups_and_all(table, rho, epoch=2).axes
    assert len(left.collections) == 2
    assert heights(right)[:2] == [[0.8, 0.9], [-0.1, 0.2]]


def test_a_line_for_each_epoch_over_beta():
    table = runs("beta", 0.5, 1, 2).assign(kappa=10.0, alpha=1.0)
    (axis,) = beta.over_ratio(table[table.epoch != 2], "linear_top1").axes
    assert heights(axis)[:2] == [[10.5, 11, 12], [30.5, 31, 32]]


def test_the_axis_is_the_ratio_of_the_weights():
    """β = 1 and 2 with α = 2 stand at ½ and 1; β = 0 has no place, and the title says so."""
    table = runs("beta", 0, 1, 2).assign(kappa=10.0, alpha=2.0)
    figure = beta.over_ratio(table, "linear_top1", "glyphs")
    (axis,) = figure.axes
    assert axis.lines[0].get_xdata().tolist() == [0.5, 1.0]
    assert figure.get_suptitle() == "glyphs (runs with a weight of 0 are not shown)"


def test_runs_with_a_weight_of_0_alone_are_an_empty_figure_that_says_so():
    rows = {"epoch": [1, 2], "kappa": 10.0, "alpha": 1.0, "beta": 0.0, "linear_top1": 20.0}
    (axis,) = beta.over_ratio(pd.DataFrame(rows), "linear_top1").axes
    assert not axis.lines
    (words,) = axis.texts
    assert words.get_text() == "no run has both weights above 0 and linear head, top-1 (%)"


def test_epochs_without_an_evaluation_leave_no_holes():
    every_second = runs("beta", 0.5, 1).assign(kappa=10.0, alpha=1.0)
    every_second.loc[every_second.epoch != 2, "linear_top1"] = float("nan")
    (axis,) = beta.over_ratio(every_second, "linear_top1").axes
    assert heights(axis)[0] == [20.5, 21]
    names = [line.get_label() for line in axis.lines]
    assert [name for name in names if name.startswith("after")] == ["after epoch 2"]
    missing = runs("kappa", 1)
    missing.loc[missing.epoch == 2, "linear_top1"] = float("nan")
    panel = kappa.at_kappa(1, dict.fromkeys("abc", missing)).axes[1]
    assert heights(panel) == [[11, 31]]


def test_a_point_for_each_run_against_information():
    table = runs("beta", 0.5, 1).assign(kappa=10.0, mi_held_out=0.3)
    last = table[table.epoch == 3]
    (axis,) = beta.against_information(last, "linear_top1").axes
    points = [each.get_offsets().tolist() for each in axis.collections]
    assert points == [[[0.3, 30.5]], [[0.3, 31.0]]]


def test_the_projectors_drawings_show_their_numbers():
    widths = pd.Index([8, 8, 32], name="D")  # two seeds of the first
    measures = {"kernel_spread": [2.0, 4.0, 1.0], "projection_rank": [10.0, 20.0, 50.0]}
    table = pd.DataFrame(measures, widths)
    left, right = projector.over_width({"after training": table}).axes
    assert heights(left) == [[3, 1]]
    assert heights(right) == [[15, 50]]


@pytest.mark.parametrize("factor", [0.001, 1, 1000])
def test_the_projectors_axes_have_room_for_all_values(factor):
    widths = pd.Index([8, 32], name="D")
    measures = {"kernel_spread": [2.0, 1.0], "projection_rank": [10.0, 50.0]}
    table = factor * pd.DataFrame(measures, widths)
    for axis in projector.over_width({"after training": table}).axes:
        low, high = axis.get_ylim()
        assert all(low < height < high for height in heights(axis)[0])


def test_intervals_stand_before_their_band():
    """Of 90%, as two one-sided tests at 5% ask."""
    differences = pd.Series([-0.5, 0.1, 0.4])
    (axis,) = projector.in_band({"k-NN": differences}).axes
    ends = [bar[:, 0].tolist() for bars in axis.collections for bar in bars.get_segments()]
    assert ends == [pytest.approx(stats.ttest_1samp(differences, 0).confidence_interval(0.90))]
    band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-1, 1))


def test_power_is_drawn_for_each_number_of_seeds():
    (axis,) = projector.power({"k-NN": 0.5}, most=4).axes
    expected = [100 * equivalence_power(seeds, 0.5) for seeds in (2, 3, 4)]
    assert heights(axis)[0] == pytest.approx(expected)
