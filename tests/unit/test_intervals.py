"""Intervals over runs, equivalence, correlations within groups, equal compute; and the numbers that
the texts quote."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from infomax_nb.analysis import coarse
from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.compute import at_equal_compute, training_flops
from infomax_nb.evaluation.intervals import (
    by_seed,
    equivalence_power,
    equivalent,
    interval_text,
    paired_differences,
    paired_interval,
    seeds_to_decide,
)
from infomax_nb.evaluation.stalls import (
    condition_correlation,
    epochs_to_stall,
    spearman_within,
    stall_prediction,
    stalls,
    still_to_gain,
)
from infomax_nb.losses import InfoMaxLoss, global_entropy, log_vmf_normalizer, mutual_information
from infomax_nb.methods import METHODS, build
from infomax_nb.methods.base import initial_share
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.report import committed

ROOT = Path(__file__).parents[2]


# --- The functions --------------------------------------------------------------------------------


def test_the_paired_interval_is_that_of_scipys_paired_t_test():
    ours = np.array([42.4, 42.3, 41.0, 43.1])
    theirs = np.array([36.3, 37.2, 35.9, 35.1])
    found = paired_interval(ours - theirs)
    for level in (0.9, 0.95):
        expected = stats.ttest_rel(ours, theirs).confidence_interval(level)
        found = paired_interval(ours - theirs, level)
        assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["mean"] == pytest.approx(ours.mean() - theirs.mean())
    assert found["seeds"] == 4


def test_one_seed_has_no_interval():
    found = paired_interval([np.nan, 1.25])
    assert found["mean"] == 1.25
    assert found["seeds"] == 1
    assert math.isnan(found["low"])
    assert math.isnan(found["high"])
    assert interval_text([-1.25]) == "−1.2 (one seed, no interval)"
    assert interval_text([-1.25], count=False) == "−1.2"
    assert equivalent([0.0]).startswith("undecided: one seed")
    # mean 2, standard deviation 1: t(0.975, 2) / √3 = 2.4841 on either side
    assert interval_text([1, 2, 3]) == "+2.0 [−0.5, +4.5] (3 seeds)"
    assert interval_text([1, 2, 3], digits=2, count=False) == "+2.00 [−0.48, +4.48]"


PAIRS = ([0.1, -0.2, 0.3], [0.5, -1.0, 0.9], [3.0, 3.2, 2.9], [-3, -3.4, -3.1], [1.1, 0.9])


@pytest.mark.parametrize("differences", PAIRS)
@pytest.mark.parametrize("margin", [0.5, 1.0])
def test_equivalence_is_two_one_sided_t_tests(differences, margin):
    tests = [stats.ttest_1samp(differences, -margin, alternative="greater")]
    tests += [stats.ttest_1samp(differences, margin, alternative="less")]
    outside = [stats.ttest_1samp(differences, margin, alternative="greater")]
    outside += [stats.ttest_1samp(differences, -margin, alternative="less")]
    expected = "undecided"
    if max(test.pvalue for test in tests) < 0.05:
        expected = "equivalent"
    if min(test.pvalue for test in outside) < 0.05:
        expected = "not equivalent"
    assert equivalent(differences, margin) == expected


@pytest.mark.parametrize("margin", [-1.0, 0.0, float("nan")])
def test_a_margin_that_decides_nothing_is_refused(margin):
    with pytest.raises(ParameterError, match="^margin = .* is not allowed: it must be a number"):
        equivalent([0.1, 0.0, -0.1], margin)


def test_a_correlation_between_groups_is_none_within_them():
    """Two groups, far apart along a rising line, in each of which one falls as the other rises."""
    x = [1, 2, 3, 11, 12, 13]
    y = [3, 2, 1, 13, 12, 11]
    groups = list("aaabbb")
    assert stats.spearmanr(x, y).statistic > 0.5
    assert spearman_within(x, y, groups) == pytest.approx(-1)
    assert spearman_within(x, y, ["a"] * 6) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert math.isnan(spearman_within(x, y, range(6)))


def test_what_is_equal_but_for_rounding_shares_a_rank():
    """In each of three groups x rises with y: 1, 2, 3 once the group's mean is gone."""
    x = np.arange(1, 10) / 10
    groups = np.repeat(["a", "b", "c"], 3)
    assert spearman_within(x, np.tile([1, 2, 3], 3), groups) == pytest.approx(1)
    assert math.isnan(spearman_within(np.repeat([0.1, 0.7, 0.3], 3), x, groups))


def test_a_missing_number_takes_its_pair_alone():
    x, y, groups = [1.0, 2, 3, 4, 5], [2.0, 1, math.nan, 8, 7], list("aaabb")
    left = spearman_within([1, 2, 4, 5], [2, 1, 8, 7], list("aabb"))
    assert spearman_within(x, y, groups) == left == pytest.approx(-1)


def test_a_stall_does_not_depend_on_scale():
    """1 − 2^(1 − e) from e = 1 has half of its gain left at 2, a quarter at 3, an eighth at 4, a
    sixteenth at 5."""
    curve = 1 - 0.5 ** np.arange(40)
    for scaled in (curve, 10 + 80 * curve, curve / 100):
        assert epochs_to_stall(scaled) == 5
    assert epochs_to_stall(curve, share=0.3) == 3
    assert epochs_to_stall([30, 25, 20]) == 1  # nothing was gained


def three_epochs(**ends: float) -> pd.DataFrame:
    """Runs of two κ and two seeds: 10, 20 and what is given at the end, in percent."""
    rows = []
    for run, end in ends.items():
        kappa, seed = run.split("_")[1:]
        for epoch, top1 in enumerate((10.0, 20.0, end), 1):
            row = {"kappa": float(kappa), "seed": int(seed), "epoch": epoch, "linear_top1": top1}
            rows.append(row)
    return pd.DataFrame(rows)


FOUR_RUNS = {"of_1_0": 21.0, "of_1_1": 23.0, "of_9_0": 40.0, "of_9_1": 60.0}


def test_what_is_still_gained_is_counted_from_each_runs_own_end():
    rows = three_epochs(**FOUR_RUNS)
    still = still_to_gain(rows)
    assert still[rows.epoch == 3].tolist() == [0, 0, 0, 0]
    assert still[rows.epoch == 1].tolist() == [11, 13, 30, 50]


def test_a_kappa_stalls_where_the_mean_over_seeds_does():
    rows = three_epochs(**FOUR_RUNS).assign(grad_over_kappa=0.5)
    rows["nn_positive"] = rows.epoch / 10
    table = stalls(rows)  # of κ = 1 less than a tenth of 12 points is never left before the end
    assert table.epoch.tolist() == [3, 3]
    assert table.linear_top1.tolist() == [22, 50]
    assert table.nn_positive.tolist() == [0.3, 0.3]


def test_a_stall_is_told_by_its_epoch_where_some_have_no_row():
    """As the plan evaluates: at epochs 1 to 6, then at every other one."""
    epochs = [1, 2, 3, 4, 5, 6, 8, 10, 12]
    tops = [10.0, 20, 30, 40, 50, 60, 70, 99, 100]
    rows = pd.DataFrame({"kappa": 10.0, "seed": 0, "epoch": epochs, "linear_top1": tops})
    table = stalls(rows.assign(nn_positive=0.5, grad_over_kappa=0.1))
    assert table.epoch.tolist() == [10]
    assert table.linear_top1.tolist() == [99]
    predicted = stall_prediction(rows.assign(nn_positive=0.5, still=1.0))
    assert list(predicted) == epochs[:-2]


def test_a_curve_that_was_never_evaluated_has_no_stall():
    with pytest.raises(ValueError, match="no epoch was evaluated"):
        epochs_to_stall([math.nan, math.nan])


def test_a_prediction_is_correlated_at_each_epoch_but_the_last_two():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"kappa": [1, 1, 1, 9, 9, 9] * 5})
    rows["epoch"] = np.repeat(np.arange(1, 6), 6)
    rows["nn_positive"] = rng.normal(size=30)
    rows["still"] = rng.normal(size=30) + rows.kappa
    table = stall_prediction(rows)
    assert table.columns.tolist() == [1, 2, 3]
    second = rows[rows.epoch == 2]
    pooled = stats.spearmanr(second.nn_positive, second.still).statistic
    assert table.loc["over all runs", 2] == pytest.approx(pooled)
    within = spearman_within(second.nn_positive, second.still, second.kappa)
    assert table.loc["within κ", 2] == within


def test_runs_are_compared_pair_by_pair_at_each_epoch():
    """Two seeds of κ = 1 and 10; κ = 20 has no run of the second seed, κ = 5 none at all."""
    rows = pd.DataFrame({"kappa": [1.0, 1, 10, 10, 20], "seed": [0, 1, 0, 1, 0]})
    early = rows.assign(epoch=1, linear_top1=[10.0, 14.0, 10.0, 20.0, 7.0])
    late = rows.assign(epoch=2, linear_top1=[40.0, 44.0, 41.0, 47.0, 30.0])
    pairs = iter([(10, 1), (20, 10), (5, 1)])
    table = paired_differences(pd.concat([early, late]), "kappa", pairs, epochs=[2, 1])
    assert table.index.tolist() == ["10 less 1", "20 less 10"] * 2
    assert table.series.tolist() == ["after epoch 2"] * 2 + ["after epoch 1"] * 2
    assert table["mean"].tolist() == [2, -11, 3, -3]
    expected = stats.ttest_rel([41, 47], [40, 44]).confidence_interval()
    assert table.low.iloc[0] == pytest.approx(expected.low)
    assert table.high.iloc[0] == pytest.approx(expected.high)
    assert table.low.isna().tolist() == [False, True, False, True]


def test_without_another_value_there_is_nothing_to_compare():
    rows = pd.DataFrame({"beta": [1.0], "epoch": [1], "linear_top1": [5.0]})
    assert paired_differences(rows, "beta", [(2, 1)], [1]).empty


@pytest.mark.parametrize(("seeds", "deviation"), [(2, 0.3), (3, 0.67), (6, 0.67), (12, 2.0)])
def test_the_power_of_equivalence_is_that_of_drawn_runs(seeds, deviation):
    """4,000 draws of the differences, each judged by `equivalent`."""
    draws = np.random.default_rng(0).normal(0, deviation, (4000, seeds))
    share = np.mean([equivalent(differences) == "equivalent" for differences in draws])
    assert equivalence_power(seeds, deviation) == pytest.approx(share, abs=0.025)


def test_the_seeds_to_decide_are_the_fewest_that_suffice():
    needed = seeds_to_decide(0.67)
    assert equivalence_power(needed, 0.67) >= 0.8 > equivalence_power(needed - 1, 0.67)
    assert seeds_to_decide(0.67 * 5, margin=5) == needed  # in another unit
    assert seeds_to_decide(0.001) == 2
    # many seeds: the t and the normal distribution agree, (z(0.95) + z(0.9))² σ²
    assert seeds_to_decide(5.0) == pytest.approx(25 * (1.6449 + 1.2816) ** 2, rel=0.02)


@pytest.mark.parametrize("power, margin", [(0.0, 1.0), (1.0, 1.0), (0.8, 0.0), (0.8, math.nan)])
def test_what_no_number_of_seeds_can_decide_is_refused(power, margin):
    name, value = ("power", power) if margin == 1 else ("margin", margin)
    with pytest.raises(ParameterError, match=f"^{name} = {value} is not allowed"):
        seeds_to_decide(0.5, margin, power)


def test_a_margin_that_needs_too_many_seeds_is_refused(monkeypatch):
    """As if 10,000 were too few, without counting to them."""
    monkeypatch.setattr("infomax_nb.evaluation.intervals.equivalence_power", lambda *_: 0.0)
    with pytest.raises(ParameterError, match="margin = 1.0 .* 10,000 seeds are not enough"):
        seeds_to_decide(1e6)


def test_a_correlation_over_conditions_is_of_their_means():
    rows = pd.DataFrame({"beta": [0.1, 0.5, 1, 2, 4] * 2}).assign(kappa=10.0)
    rows["mi_held_out"] = [1, 2, 3, 4, 5, 3, 4, 5, 6, 7]
    rows["linear_top1"] = [1, 2, 3, 5, 4, 1, 2, 3, 5, 4]
    words = condition_correlation(rows, "linear_top1")
    assert words == "Spearman's ρ over 5 conditions: 0.90"
    few = condition_correlation(rows[rows.beta < 4], "linear_top1")
    assert few.startswith("A correlation needs more values: -y")


def test_runs_are_paired_by_seed():
    rows = pd.DataFrame(
        {"epoch": [1, 1, 1, 2, 2, 2], "method": ["a", "b", "a"] * 2, "seed": [0, 0, 1] * 2}
    )
    rows["linear_top1"] = [1.0, 2, 3, 10, 20, 30]
    table = by_seed(rows, "method")
    assert table["a"].tolist() == [10, 30]
    assert table["b"].iloc[0] == 20
    assert math.isnan(table["b"].iloc[1])
    assert by_seed(rows, "method", epoch=1)["a"].tolist() == [1, 3]
    assert paired_interval(table["b"] - table["a"])["seeds"] == 1
    assert by_seed(rows[rows.seed == 0].drop(columns="seed"), "method").index.tolist() == [0]


def test_equal_compute():
    rows = [
        {"method": m, "seed": s, "epoch": e}
        for m in ("dear", "cheap")
        for s in (0, 1)
        for e in range(1, 11)
    ]
    rows = pd.DataFrame(rows)
    rows["linear_top1"] = np.where(rows.method == "dear", 10 * rows.epoch, rows.epoch) + rows.seed
    epoch, less = at_equal_compute(rows, {"dear": 2.6, "cheap": 1.0}, "dear", "cheap")
    assert epoch == 3  # 3 epochs cost 7.8 of 10; 30 less 10
    assert less.tolist() == [20, 20]
    assert at_equal_compute(rows, {"dear": 26, "cheap": 1.0}, "dear", "cheap")[0] == 0
    assert at_equal_compute(rows, {"dear": 0.1, "cheap": 1.0}, "dear", "cheap")[0] == 10


@pytest.mark.parametrize("method", ["supervised", "simclr", "infomax"])
def test_the_cost_of_a_step_is_that_of_its_layers(method):
    """Counted by hooks on convolutions and linear layers; backward is twice that, less the gradient
    of the pixels."""
    config = TrainConfig(method=method, batch_size=4)
    seen = []
    net = build(config, 10)
    first = next(layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d))

    def count(layer, inputs, out):
        width = layer.weight[0].numel()  # multiplications for each number that comes out
        seen.append((layer is first, 2 * width * out.numel()))

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    views = [torch.randn(4, 3, view.size, view.size) for view in net.view_specs(32)]
    net(views, torch.zeros(4, dtype=torch.long))
    expected = sum(3 * flops - stem * flops for stem, flops in seen) / 4
    assert training_flops(config) == pytest.approx(expected, rel=1e-9)


def test_a_teachers_share_of_its_start_is_what_is_left_of_it():
    """The teacher starts at one, all students are zero: what it holds after each step is its weight
    on the start."""
    epochs = 3
    steps = 4
    method = METHODS["byol"](TrainConfig(method="byol", epochs=epochs), 10).eval()
    with torch.no_grad():
        for p in method.teacher.parameters():
            p.fill_(1.0)
        for part in (method.backbone, method.projector):
            for p in part.parameters():
                p.zero_()
    views = [torch.zeros(2, 3, 32, 32)] * 2
    for method.epoch in range(epochs):
        for _ in range(steps):
            method.teach(views)
    held = {round(float(p.mean()), 6) for p in method.teacher.parameters()}
    assert held == {round(initial_share(epochs, steps), 6)}
    kept = 1 - 0.004 * (1 + np.cos(np.pi * np.arange(10) / 9)) / 2  # half a cosine to 1
    assert initial_share(10, 39) == pytest.approx(np.prod(kept) ** 39, rel=1e-9)


@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_the_global_entropy_reaches_both_ends_of_its_window(kappa):
    """A regular simplex, every cosine −1/(N − 1), reaches the upper end; one point the lower."""
    n = 9
    simplex = unit_rows(torch.eye(n, dtype=torch.float64) - 1 / n)
    constant = -log_vmf_normalizer(n, kappa)
    assert float(global_entropy(simplex, kappa)) == pytest.approx(constant + kappa / (n - 1))
    assert float(global_entropy(simplex[:1].expand(n, -1), kappa)) == pytest.approx(
        constant - kappa
    )


@pytest.mark.parametrize("n", [9, 30])
def test_a_flat_kernel_reaches_jensens_ceiling_of_information(n):
    """Where the views of an image coincide, and images are a regular simplex."""
    simplex = unit_rows(torch.eye(n, dtype=torch.float64) - 1 / n)
    kappa = 0.01
    entropies = InfoMaxLoss(kappa).entropies([simplex] * 3)
    found = float(mutual_information(*entropies, 3, 3 * n)["mi_density"])
    ceiling = kappa * 3 * n / (3 * n - 1)
    assert 0.99 * ceiling < found <= ceiling


# --- The texts' numbers, from the committed tables ------------------------------------------------


def metrics(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "reports" / name / "metrics.csv")


@cache
def text(name: str) -> str:
    """README, reports/README, or the prose of a notebook by its number."""
    if name.isdigit():
        (path,) = (ROOT / "notebooks").glob(f"{name}_*.ipynb")
        cells = json.loads(path.read_text("utf-8"))["cells"]
        return "\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
    return " ".join((ROOT / name).read_text("utf-8").split())


def interval(differences, digits: int = 1, mark: str = "[{}, {}]") -> str:
    """As the texts write it: `5.9 points [4.2, 7.6]` has `[4.2, 7.6]`, or `4.2 to 7.6`."""
    found = paired_interval(differences)
    return mark.format(*(f"{found[end]:.{digits}f}".replace("-", "−") for end in ("low", "high")))


def test_kappa_early():
    rows = metrics("kappa_cifar10")
    after = {epoch: by_seed(rows, "kappa", epoch=epoch) for epoch in (2, 5, 10)}
    early = {epoch: table[10] - table[1] for epoch, table in after.items()}
    sharp = {epoch: table[20] - table[10] for epoch, table in after.items()}
    assert f"+{early[10].mean():.1f} {interval(early[10])} over κ = 1" in text("README.md")
    long = f"{early[10].mean():.1f} points (95% interval {interval(early[10], mark='{} to {}')})"
    assert long in text("reports/README.md")
    assert f"by {early[5].mean():.1f} points {interval(early[5])} after five" in text("03")
    assert f"by {early[10].mean():.1f} {interval(early[10])} after ten" in text("03")
    for epoch in (5, 10):
        words = f"{sharp[epoch].mean():.1f} {interval(sharp[epoch])} after"
        assert words.replace("-", "−") in text("03")
    assert paired_interval(sharp[10])["high"] > 0 > paired_interval(sharp[5])["high"]


def test_no_kappa_stalls_before_another_and_none_is_predicted():
    rows = metrics("kappa_cifar10")
    assert stalls(rows).epoch.tolist() == [7, 8, 8, 8, 8]
    of_glyphs = stalls(metrics("kappa_glyphs_long")).epoch
    assert of_glyphs.min() == 17
    assert of_glyphs.max() == 20
    assert "it is 7 for κ = 0.1 and 8 for all others, on glyphs 17 to 20." in text("03")
    rho = stall_prediction(rows.assign(still=still_to_gain(rows)))
    first, *others = rho.loc["within κ"]
    ends = f"{first:.2f}, then {min(others):.2f} to {max(others):.2f}".replace("-", "−")
    assert f"({ends})" in text("03")
    assert [first < 0, *(each < 0 for each in others)].count(True) == 6
    assert "negative after six of eight epochs" in text("03")
    pooled = rho.loc["over all runs"]
    assert f"ρ of {pooled.min():.2f} to {pooled.max():.2f} up to epoch 8" in text("03")


def test_beta():
    rows = metrics("beta_cifar10")
    prose = text("04")
    after = {epoch: by_seed(rows, "beta", epoch=epoch) for epoch in range(1, 11)}
    behind = {beta: after[2][1] - after[2][beta] for beta in (0.1, 0.75)}
    assert f"{behind[0.75].mean():.1f} points {interval(behind[0.75])}" in prose
    assert f"{behind[0.1].mean():.1f} {interval(behind[0.1])}" in prose
    level = after[10][0.75] - after[10][1]
    assert f"(+{level.mean():.1f} points {interval(level)})" in prose
    # who leads, by either accuracy
    for column, first in {"linear_top1": 7, "knn_top1": 5}.items():
        means = rows.groupby(["epoch", "beta"])[column].mean().unstack()
        best = means[[0.1, 0.75, 1]].idxmax(axis=1)
        assert best.tolist() == [1] * (first - 1) + [0.75] * (11 - first)
    end = rows[rows.epoch == 10]
    conditions = end.groupby("beta")[["mi_held_out", "linear_top1"]].mean()
    assert f"ρ over the six β is {conditions.corr('spearman').iloc[0, 1]:.2f}" in prose
    information = by_seed(rows, "beta", "mi_held_out")
    less = information[1] - information[0.5]
    assert f"{less.mean():.2f} nats less than β = 1 {interval(less, 2)}" in prose
    glyphs = metrics("beta_glyphs_long").pivot(index="epoch", columns="beta", values="linear_top1")
    assert (glyphs[1] > glyphs[[0.1, 0.75]].max(axis=1)).loc[:3].all()
    assert (glyphs[0.75] > glyphs[1]).loc[4:14].all()
    assert not (glyphs[0.75] > glyphs[1]).loc[15:].any()
    last = metrics("beta_glyphs_long").query("epoch == 24").set_index("beta")
    sentences = {"mi_held_out": "({:.2f} against {:.2f} nats", "mi_density": "{:.2f} and {:.2f})"}
    for column, words in sentences.items():
        values = last[column]
        assert words.format(values[0.75], values[1.0]) in prose


def test_the_projectors_width():
    rows = metrics("projector_cifar10")
    for column in ("linear_top1", "knn_top1"):
        runs = by_seed(rows, "proj_dim", column)
        difference = runs[4096] - runs[128]
        assert paired_interval(difference)["seeds"] == 3
        assert equivalent(difference) == "undecided"
        words = f"{difference.mean():.1f}".replace("-", "−")
        assert interval(difference) in text("05")
        assert words in text("05")
        assert interval(difference, mark="{} to {}") in text("reports/README.md")
    glyphs = metrics("projector_glyphs")
    ends = glyphs[glyphs.epoch == glyphs.epoch.max()].set_index("proj_dim").linear_top1
    assert f"{ends[128]:.1f}% at 128, {ends[4096]:.1f}% at 4096" in text("05")
    scatter = by_seed(rows, "proj_dim")[[128, 4096]].diff(axis=1)[4096].std()
    assert seeds_to_decide(scatter) == 6
    assert "Six seeds of both widths would decide it" in text("05")
    used = glyphs.groupby("proj_dim").projection_rank.last().round()
    assert used.tolist() == [15, 23, 23]
    assert "fill 15 directions at D = 128 and 23 at D = 512 and 4096" in text("05")
    spread = glyphs.kernel_spread.round(1)
    assert set(spread) == {4.1, 4.2}
    assert "to 4.1 or 4.2 at *every* width" in text("05")
    linear = by_seed(rows, "proj_dim")
    assert f"{interval(linear[4096] - linear[128])} from 128 to 4096" in text("README.md")


def test_methods_at_equal_epochs_and_equal_compute():
    rows = metrics("methods_cifar10")
    costs = {m: training_flops(TrainConfig(method=m)) for m in ("infomax", "simclr", "vicreg")}
    ends = by_seed(rows, "method")
    epoch, less = at_equal_compute(rows, costs, "infomax", "simclr")
    ours = by_seed(rows, "method", epoch=epoch).infomax.mean()
    assert (epoch, f"{ours:.1f}", f"{ends.simclr.mean():.1f}") == (4, "34.4", "33.7")
    assert f"{costs['infomax'] / costs['simclr']:.1f}" == "2.4"
    assert f"(34.4 and 33.7%, +{less.mean():.1f} points {interval(less)}, 95%)" in text("08")
    assert f"34.4% after 4 epochs and SimCLR 33.7% after 10, +{less.mean():.1f}" in text(
        "reports/README.md"
    )
    both = ends.infomax - ends.simclr
    ends_of_both = interval(both, mark="{} to {}")
    words = f"{both.mean():.1f} points (95% interval, paired by seed: {ends_of_both})"
    assert words in text("reports/README.md")
    epoch, less = at_equal_compute(rows, costs, "infomax", "vicreg")
    ours = by_seed(rows, "method", epoch=epoch).infomax.mean()
    words = f"{ours:.1f}% after {epoch} epochs and {ends.vicreg.mean():.1f}% after 10"
    assert f"{words} ({interval(less, mark='{} to {}')})" in text("reports/README.md")
    held = f"{initial_share(10, 5000 // 128):.0%}"
    assert all(held in text(name) for name in ("reports/README.md", "08"))
    assert (
        f"hold {initial_share(5, 4000 // 128):.0%} of their random start after these 155 steps"
        in text("08")
    )


def test_saliency_and_centroids_over_networks():
    each = committed("saliency_glyphs")["ratio, seed by seed"].loc[
        ["infomax", "untrained", "supervised"]
    ]
    each = each.str.split(", ", expand=True).astype(float).T
    ours, supervised = (each[name] - each.untrained for name in ("infomax", "supervised"))
    assert f"{ours.mean():.2f} above the untrained ones {interval(ours, 2)}" in text("06")
    told = f"above the untrained one, by {supervised.mean():.2f} {interval(supervised, 2)}"
    assert told in text("06")
    assert f"over networks {interval(ours, 2, '{} to {}')}" in text("reports/README.md")
    scores = pd.read_csv(ROOT / "reports" / "centroids_glyphs" / "scores.csv")
    rho = scores.pivot(index="seed", columns="features", values="rho")
    more = rho.ours - rho.untrained
    assert f"{more.mean():.2f} ({interval(more, 2, '{} to {}')} over networks" in text("07")
    assert f"{more.mean():.2f} (over three networks {interval(more, 2, '{} to {}')}" in text(
        "reports/README.md"
    )


@pytest.mark.parametrize("name", ["coarse_glyphs", "coarse_tiny_imagenet"])
def test_coarse_by_subtrees(name):
    drawn = pd.read_csv(ROOT / "reports" / name / "draws.csv")
    words = {}
    for probe, rows in drawn.groupby("probe"):
        for value, digits in {"accuracy": 1, "log_odds": 2}.items():
            found = coarse.gap(rows, "infomax", "simclr", "subtree", value)
            low, high = (f"{found[end]:.{digits}f}".replace("-", "−") for end in ("low", "high"))
            assert f"{found['gap']:.{digits}f}" in text("09")
            assert f"[{low}, {high}]" in text("09")
            if probe == "k-NN":
                assert f"({low} to {high})" in text("reports/README.md")
            words[probe, value] = coarse.verdict(found)
            assert (
                coarse.verdict(coarse.gap(rows, "infomax", "supervised", "subtree", value))
                == "not supported"
            )
    for who, row in committed(name).iterrows():
        for probe, rows in drawn.groupby("probe"):
            found = coarse.gap(rows, who, unit="subtree")
            assert row[f"{probe}, gap"] == "{gap:.1f} [{low:.1f}, {high:.1f}]".format(**found)
        if who in ("infomax", "simclr"):
            low, high = row["k-NN, gap"].split(" [")[1].strip("]").split(", ")
            assert f"{low} to {high}" in text("reports/README.md")
    assert words["k-NN", "accuracy"] == words["linear", "accuracy"] == "supported"
    expected = "supported" if name == "coarse_glyphs" else "not supported"
    assert words["k-NN", "log_odds"] == words["linear", "log_odds"] == expected


def test_a_verdict_is_where_the_interval_lies():
    assert coarse.verdict({"low": 0.1, "high": 2}) == "supported"
    assert coarse.verdict({"low": -2, "high": -0.1}) == "reversed"
    assert coarse.verdict({"low": -0.1, "high": 2}) == "not supported"


def test_what_the_papers_table_says_of_lc25000_and_cifar10():
    table = pd.read_csv(ROOT / "reports" / "paper_table1.csv")
    lung = table[table.dataset.str.startswith("LC")]
    low = lung.loc[lung.linear_top1.idxmin()]
    assert low.method == "BYOL"
    assert f"BYOL's linear head: {low.linear_top1:.1f}%" in text("08")
    rest = pd.concat([lung.linear_top1.drop(low.name), lung.knn_top1])
    assert rest.min() >= 98
    cifar = table[table.dataset == "CIFAR-10"].set_index("method").linear_top1
    assert f"({cifar['Ours']:.1f} and {cifar['SimCLR']:.1f}%, linear)" in text("reports/README.md")
