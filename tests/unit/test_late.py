"""The rules of docs/plan.md, on simulated curves: rates against closed forms, and what is not
there.

Rates are compared within four binomial standard errors of the number of simulations.
"""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from infomax_nb.evaluation.curves import (
    compare,
    early,
    final,
    gain,
    hits,
    late,
    scheduled,
    shared_variance,
)
from infomax_nb.evaluation.verdicts import equivalent, paired_interval
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    agreed,
    ahead,
    catches_up,
    collapsed,
    effects,
    helps,
    holm,
    keeps_up,
    offset,
    p_value,
    settled,
    stalls_late,
)

EVALUATED = [1, 2, 3, 4, 5, 6, *range(8, 61, 2)]
MIDDLE = [32, 34, 36, 38, 40]  # what the last 20 epochs' gain is counted from
END = [52, 54, 56, 58, 60]


def curves(first, middle, end) -> pd.DataFrame:
    """Curves (epochs, seeds) that are level in the three windows; NaN where nothing is
    evaluated."""
    values = np.full((60, len(first)), np.nan)
    values[np.array(EVALUATED) - 1] = 50.0
    values[:5] = first
    values[np.array(MIDDLE) - 1] = middle
    values[np.array(END) - 1] = end
    return pd.DataFrame(values, index=range(1, 61))


def flat(values) -> pd.DataFrame:
    """Curves that are level from the first epoch on."""
    return curves(values, values, values)


NOTHING = flat([0.0, 0.0, 0.0])


def near(rate: float, expected: float, n: int) -> bool:
    """Is a rate among n within four binomial standard errors of the expected one?"""
    return abs(rate - expected) <= 4 * math.sqrt(expected * (1 - expected) / n) + 1e-9


def power(effect: float, seeds: int = 3, level: float = 0.05) -> float:
    """Of the one-sided t test of differences with standard deviation 1: noncentral t."""
    limit = stats.t.ppf(1 - level, seeds - 1)
    return float(stats.nct.sf(limit, seeds - 1, effect * math.sqrt(seeds)))


def equivalence_power(deviation: float, margin: float, seeds: int) -> float:
    """Of two one-sided t tests where there is no difference: over the distribution of s."""
    limit = stats.t.ppf(0.95, seeds - 1)
    error = deviation / math.sqrt(seeds)

    def density(ratio: float) -> float:
        half = max(margin - limit * ratio * error, 0.0)
        scale = math.sqrt(seeds - 1)
        inside = 2 * stats.norm.cdf(half / error) - 1
        return inside * stats.chi.pdf(ratio * scale, seeds - 1) * scale

    return integrate.quad(density, 0, 8, limit=200)[0]


# --- Statistics ---------------------------------------------------------------------------------


def test_early_late_and_gain_are_means_over_the_plans_epochs():
    assert scheduled(60) == EVALUATED
    table = pd.DataFrame({0: np.nan}, index=range(1, 61))
    table.loc[EVALUATED, 0] = [float(epoch) for epoch in EVALUATED]
    assert early(table)[0] == 3
    assert late(table)[0] == 56 and final(table)[0] == 60
    assert gain(table)[0] == 56 - 36
    assert late(table, 25)[0] == 20  # 16, 18, 20, 22, 24
    assert late(table, 10)[0] == np.mean([4, 5, 6, 8, 10])
    assert settled(table).index.min() == 24


def test_a_run_that_has_not_finished_has_no_late_accuracy():
    table = flat([60.0, 61.0, 62.0])
    table.loc[59:, 2] = np.nan
    assert late(table).isna().tolist() == [False, False, True]
    assert early(table).notna().all() and late(table, 40).notna().all()
    assert late(table.loc[:50]).isna().all()


def test_hits_give_the_accuracies_of_the_predicted_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=200)
    predicted = {seed: rng.integers(10, size=(len(EVALUATED), 200)) for seed in (0, 1)}
    predicted[1] = predicted[1][:-1]  # killed before its last evaluation
    table = hits(predicted, labels, EVALUATED)
    accuracy = 100 * (predicted[0][-5:] == labels).mean()
    assert late(table)[0].mean() == pytest.approx(accuracy)
    assert late(table)[1].isna().all()
    assert early(table)[1].mean() == pytest.approx(100 * (predicted[1][:5] == labels).mean())


# --- The test images' variance --------------------------------------------------------------------


def test_the_images_variance_is_the_component_of_a_two_way_analysis_of_variance():
    table = np.random.default_rng(1).normal(size=(3, 50)) + np.random.default_rng(2).normal(size=50)
    n, images = table.shape
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    of_images = n * ((table.mean(0) - table.mean()) ** 2).sum() / (images - 1)
    of_rest = (rest**2).sum() / ((images - 1) * (n - 1))
    assert shared_variance(table) == pytest.approx((of_images - of_rest) / n / images)
    assert shared_variance(table[:1]) == 0
    assert (
        shared_variance([[1, -1], [-1, 1]]) == 0
    )  # seeds that contradict each other share nothing


def by_image(values: np.ndarray) -> pd.DataFrame:
    """Seeds' images (seeds, images) as a table that is level over epochs."""
    columns = pd.MultiIndex.from_product([range(len(values)), range(values.shape[1])])
    level = np.tile(values.reshape(1, -1), (len(EVALUATED), 1))
    return pd.DataFrame(level, index=EVALUATED, columns=columns)


def test_the_interval_covers_the_truth_over_seeds_and_images():
    """Seeds alone give too narrow an interval where what differs is which images are drawn."""
    rng = np.random.default_rng(3)
    n, images, tries = 3, 40, 600
    alone, added = 0, 0
    for _ in range(tries):
        image = rng.normal(0, 30, size=images)
        values = rng.normal(0, 2, size=(n, 1)) + image + rng.normal(0, 10, size=(n, images))
        seeds = paired_interval(values.mean(1), 0.90)
        both = compare(by_image(values), by_image(np.zeros_like(values)))
        assert both["mean"] == pytest.approx(values.mean())
        alone += seeds["low"] <= 0 <= seeds["high"]
        added += both["low"] <= 0 <= both["high"]
    assert alone / tries < 0.75
    assert added / tries > 0.90 - 4 * math.sqrt(0.09 / tries)


def test_the_variance_widens_interval_and_equivalence():
    differences = [0.1, -0.2, 0.3]
    own = stats.sem(differences) ** 2
    found = paired_interval(differences, 0.90, shared=0.04)
    assert found["high"] - found["mean"] == pytest.approx(
        stats.t.ppf(0.95, 2) * math.sqrt(own + 0.04)
    )
    assert equivalent(differences) == "equivalent"
    assert equivalent(differences, shared=0.2) == "undecided"


# --- Rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.3])
def test_a_difference_is_found_at_the_stated_rate(effect):
    """2.3 standard deviations are found in 80%, none in 5%: noncentral t with two degrees of
    freedom."""
    rng = np.random.default_rng(4)
    tries = 800
    found = [ahead(flat(rng.normal(effect, 1, 3)), NOTHING, margin=0).answer for _ in range(tries)]
    assert near(found.count(HOLDS) / tries, power(effect), tries)
    # No effect is refuted as often as an effect of that size and the other sign would be found.
    assert near(found.count(FAILS) / tries, power(-effect), tries)


def test_the_plans_numbers_for_three_and_twelve_seeds():
    assert power(2.297) == pytest.approx(0.80, abs=0.001) and power(2.8) == pytest.approx(
        0.90, abs=0.006
    )
    assert power(4.0, level=0.05 / 3) == pytest.approx(0.80, abs=0.005)
    assert equivalence_power(0.38, 1, 3) == pytest.approx(0.80, abs=0.01)
    plan = (Path(__file__).parents[2] / "docs" / "plan.md").read_text("utf-8")
    for deviation in (0.3, 0.5, 0.7, 1.0):
        shown = f"{2.297 * deviation:.1f} | {100 * equivalence_power(deviation, 1, 3):.0f}% |"
        assert re.search(rf"\| {deviation} \| [0-9.]+ \| {re.escape(shown)}", plan), shown
    assert equivalence_power(0.55, 0.5, 12) == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize("deviation, margin, seeds", [(0.38, 1.0, 3), (0.55, 0.5, 12)])
def test_equivalence_is_found_at_the_stated_rate(deviation, margin, seeds):
    rng = np.random.default_rng(5)
    tries = 600
    zero = flat([0.0] * seeds)
    answers = [
        catches_up(flat(rng.normal(0, deviation, seeds)), zero, margin=margin, seeds=seeds).answer
        for _ in range(tries)
    ]
    assert near(answers.count(HOLDS) / tries, equivalence_power(deviation, margin, seeds), tries)


def test_a_difference_at_the_margin_passes_for_none_in_at_most_one_of_twenty():
    rng = np.random.default_rng(6)
    answers = [catches_up(flat(rng.normal(1.0, 0.2, 3)), NOTHING).answer for _ in range(600)]
    assert answers.count(HOLDS) / 600 < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 600)


def stall(rng, lead: float, lag: float) -> str:
    """Verdict on a lead early and a lag late, standard deviation 1; before the last 20 epochs far
    ahead."""
    first, end = rng.normal(lead, 1, 3), rng.normal(-lag, 1, 3)
    return stalls_late(curves(first, end + 50 + rng.normal(0, 1, 3), end), NOTHING).answer


def test_a_stall_is_found_at_the_stated_rate():
    """All three at once: early and late are independent here, the smaller gain is beyond doubt."""
    rng = np.random.default_rng(7)
    tries = 400
    rate = sum(stall(rng, 2.8, 2.3) == HOLDS for _ in range(tries)) / tries
    assert near(rate, power(2.8) * power(2.3), tries)


@pytest.mark.parametrize("lead, lag", [(0.0, 100.0), (100.0, 0.0)])
def test_half_a_stall_passes_for_one_in_one_of_twenty(lead, lag):
    """Where two of the three parts are there beyond doubt and one is not: the worst case."""
    rng = np.random.default_rng(8)
    tries = 400
    rate = sum(stall(rng, lead, lag) == HOLDS for _ in range(tries)) / tries
    assert near(rate, 0.05, tries)


def test_a_stall_at_the_margin_is_refuted_in_at_most_one_of_twenty():
    rng = np.random.default_rng(9)
    tries = 400
    rate = sum(stall(rng, 1.0, 1.0) == FAILS for _ in range(tries)) / tries
    assert rate < 0.05 + 4 * math.sqrt(0.05 * 0.95 / tries)


def branched(rng, effects_of) -> dict:
    """`helps` of independent branches with these mean gains, standard deviation 1."""
    return helps(
        {beta: flat(rng.normal(effect, 1, 3)) for beta, effect in effects_of.items()}, NOTHING
    )


def test_branches_that_do_nothing_help_somewhere_in_one_of_twenty():
    """Three independent tests at Holm's first step, 5%/3."""
    rng = np.random.default_rng(10)
    tries = 500
    found = [branched(rng, {1.25: 0, 1.5: 0, 2: 0}) for _ in range(tries)]
    assert near(
        sum(f["somewhere"].answer == HOLDS for f in found) / tries, 1 - (1 - 0.05 / 3) ** 3, tries
    )
    assert sum(f["consistently"].answer == HOLDS for f in found) <= 2  # 0.05³


def test_branches_that_help_do_so_at_the_stated_rate():
    rng = np.random.default_rng(11)
    tries = 400
    found = [branched(rng, {1.25: 2.8, 1.5: 2.8, 2: 2.8}) for _ in range(tries)]
    assert near(
        sum(f["consistently"].answer == HOLDS for f in found) / tries, power(2.8) ** 3, tries
    )
    found = [branched(rng, {1.25: 4.0, 1.5: -50, 2: -50}) for _ in range(tries)]
    assert near(
        sum(f["somewhere"].answer == HOLDS for f in found) / tries,
        power(4.0, level=0.05 / 3),
        tries,
    )
    assert all(f["consistently"].answer == FAILS for f in found)


# --- Answers --------------------------------------------------------------------------------------

UP = flat([2.0, 2.1, 1.9])


def test_answers_follow_from_the_interval():
    """[1.83, 2.17] in two verdicts; and [−1.7, 2.0]."""
    assert ahead(UP, NOTHING).answer == HOLDS and ahead(UP, NOTHING, sign=-1).answer == FAILS
    assert catches_up(UP, NOTHING).answer == FAILS and keeps_up(UP, NOTHING).answer == HOLDS
    assert (
        keeps_up(NOTHING, UP).answer == FAILS
        and keeps_up(NOTHING, flat([0.5, 0.6, 0.4])).answer == HOLDS
    )
    wide = flat([1.2, 0.2, -0.9])
    for claim in (ahead, catches_up, keeps_up):
        assert claim(wide, NOTHING).answer == UNDECIDED
    assert ahead(UP, NOTHING).numbers.loc["difference", "mean"] == pytest.approx(2)


def test_a_probe_that_contradicts_takes_the_answer_away():
    assert (
        ahead(UP, NOTHING, probe=0.3).answer == HOLDS
        and ahead(UP, NOTHING, probe=-0.3).answer == UNDECIDED
    )
    assert ahead(NOTHING, UP, probe=1.2).answer == UNDECIDED
    assert ahead(UP, NOTHING, probe=math.nan).answer == UNDECIDED  # planned, and not there
    level = flat([0.1, 0.0, -0.1])
    assert catches_up(level, NOTHING, probe=0.9).answer == HOLDS
    assert catches_up(level, NOTHING, probe=1.1).answer == UNDECIDED
    fades = curves([3.0, 3.1, 2.9], [1.0, 1.1, 0.9], [-2.0, -2.1, -1.9])
    assert stalls_late(fades, NOTHING, probe=-1.0).answer == HOLDS
    assert stalls_late(fades, NOTHING, probe=1.0).answer == UNDECIDED


def test_a_stall_needs_all_three():
    def answer(first, middle, end):
        shape = np.array([-0.1, 0.0, 0.1])
        return stalls_late(curves(first + shape, middle + shape[::-1], end + shape), NOTHING).answer

    assert answer(3, 1, -2) == HOLDS
    assert answer(-3, 1, -2) == FAILS  # never ahead
    assert answer(3, 3, 2) == FAILS  # still ahead
    assert answer(3, -4, -2) == FAILS  # behind, and catching up


@pytest.mark.parametrize("spread, answer", [(0.3, FAILS), (0.4, UNDECIDED), (0.6, UNDECIDED)])
def test_one_of_three_parts_is_refuted_at_a_third_of_the_level(spread, answer):
    """No early lead: the limit is t · spread / √3, where t is 2.92 at 5% and 5.34 at 5%/3."""
    limits = [stats.t.ppf(1 - level, 2) * spread / math.sqrt(3) for level in (0.05, 0.05 / 3)]
    assert (limits[1] < 1) == (answer == FAILS)
    first, shape = np.array([-spread, 0, spread]), np.array([-0.1, 0.0, 0.1])
    assert stalls_late(curves(first, 1 - shape, -2 + shape), NOTHING).answer == answer
    assert ahead(flat(first), NOTHING).answer == (FAILS if limits[0] < 1 else UNDECIDED)


@pytest.mark.parametrize("claim", [ahead, catches_up, keeps_up, stalls_late])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_unfinished_and_missing_seeds_are_a_result(claim, left):
    missing = UP[list(range(left))]
    cut = UP.copy()
    cut.loc[55:, left:] = np.nan
    for table in (missing, cut):
        found = claim(table, NOTHING)
        assert found.answer == UNFINISHED
        assert found.numbers.seeds.min() == left
    # What is there is shown, of the early epochs, too.
    numbers = [claim(table, NOTHING).numbers["mean"].iloc[-1] for table in (cut, missing)]
    assert numbers[0] == pytest.approx(numbers[1], nan_ok=True)


def test_an_unfinished_or_collapsed_branch():
    up, short = flat([3.0, 3.1, 2.9]), flat([3.0, 3.1, 2.9]).loc[:30]
    found = helps({1.25: up, 1.5: up, 2: short}, NOTHING)
    assert found[1.25].answer == HOLDS and found[2].answer == UNFINISHED
    assert found["consistently"].answer == found["somewhere"].answer == UNFINISHED
    found = helps({1.25: up, 1.5: up, 2: short}, NOTHING, collapses={2})
    assert found[2].answer == FAILS and found["consistently"].answer == FAILS
    assert found["somewhere"].answer == HOLDS
    found = helps({1.25: up, 1.5: up, 2: up}, NOTHING, probes={1.25: 1.0, 1.5: 1.0, 2: -1.0})
    assert found[2].answer == found["consistently"].answer == UNDECIDED


def test_the_first_epochs_after_a_branch_do_not_count():
    shaken = flat([3.0, 3.1, 2.9])
    shaken.loc[21:23] = -50.0
    assert helps({1.25: shaken}, NOTHING)["somewhere"].answer == HOLDS


def test_collapse_is_an_accuracy_below_the_branchs_start_or_a_small_rank():
    trunk, rank = flat([50.0, 50.0, 50.0]), flat([100.0, 3.9, 100.0])
    branch = flat([51.0, 51.0, 49.0]).loc[21:]
    assert collapsed(branch, trunk, rank).tolist() == [False, True, True]
    assert collapsed(branch.loc[:30], trunk, rank.loc[:30]).tolist() == [False] * 3


def test_both_measures_must_agree():
    yes, no, open_, later = (
        Verdict(a, pd.DataFrame()) for a in (HOLDS, FAILS, UNDECIDED, UNFINISHED)
    )
    assert agreed(yes, yes).answer == HOLDS and agreed(no, no).answer == FAILS
    assert (
        agreed(yes, no).answer == agreed(yes, open_).answer == agreed(open_, no).answer == UNDECIDED
    )
    assert agreed(yes, later).answer == agreed(later, no).answer == UNFINISHED
    both = agreed(ahead(UP, NOTHING), ahead(UP, NOTHING)).numbers
    assert both.loc[("knn", "difference"), "mean"] == pytest.approx(2)


def test_holm_and_p_values():
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.03})
    assert adjusted == pytest.approx({"b": 0.03, "c": 0.06, "a": 0.06})
    found = compare(UP, NOTHING)
    assert p_value(found) == pytest.approx(
        stats.ttest_1samp([2.0, 2.1, 1.9], 0, alternative="greater").pvalue
    )


# --- Factors and trajectories ---------------------------------------------------------------------


def test_effects_are_the_coefficients_of_a_linear_model():
    """Accuracy = 40 + 3·views + 1·κ + 0.5·views·κ with levels ±1: effects are twice these."""
    columns = pd.MultiIndex.from_product(
        [[2, 8], [2.0, 10.0], [0, 1]], names=["views", "kappa", "recipe"]
    )
    views, kappa = (
        [-1 if value == 2 else 1 for value in columns.get_level_values(name)]
        for name in ("views", "kappa")
    )
    means = 40 + 3 * np.array(views) + np.array(kappa) + 0.5 * np.array(views) * np.array(kappa)
    cells = pd.DataFrame([means, means + 7], columns=columns)  # a seed that is better everywhere
    found = effects(cells)
    assert len(found.columns) == 7
    assert found["views"].tolist() == [6, 6] and found["kappa"].tolist() == [2, 2]
    assert found["views × kappa"].tolist() == [1, 1] and found[
        "views × kappa × recipe"
    ].tolist() == [0, 0]


def test_an_untrained_network_does_not_pass_for_a_coarse_one():
    """Two runs on one path, near = 0.6 far, at different speeds: the gaps at the end differ, the
    offset is 0."""
    epochs = np.array(scheduled(60))
    fast, slow = 80 * (1 - np.exp(-epochs / 10)), 80 * (1 - np.exp(-epochs / 40))
    far = [pd.DataFrame({0: curve, 1: curve}, index=epochs) for curve in (fast, slow)]
    near_classes = [0.6 * table for table in far]
    gaps = [(f - n).iloc[-1, 0] for f, n in zip(far, near_classes, strict=True)]
    assert gaps[0] - gaps[1] > 5
    same = offset((far[0], near_classes[0]), (far[1], near_classes[1]))
    assert same.tolist() == pytest.approx([0, 0], abs=1e-9)
    coarser = offset((far[0], near_classes[0] - 3), (far[1], near_classes[1]))
    assert coarser.tolist() == pytest.approx([3, 3])
    apart = offset((far[0] + 100, near_classes[0]), (far[1], near_classes[1]))
    assert apart.isna().all()
