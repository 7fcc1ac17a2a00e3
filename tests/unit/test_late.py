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
from infomax_nb.evaluation.intervals import equivalent, paired_interval
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
    table = pd.DataFrame(np.nan, index=range(1, 61), columns=range(len(first)))
    table.loc[EVALUATED] = 50.0
    table.loc[1:5] = first
    table.loc[MIDDLE] = middle
    table.loc[END] = end
    return table


def flat(values) -> pd.DataFrame:
    """Curves that are level from the first epoch on."""
    return curves(values, values, values)


NOTHING = flat([0.0, 0.0, 0.0])


def slack(rate: float, n: int) -> float:
    """Four binomial standard errors of a rate among n."""
    variance = rate * (1 - rate) / n
    return 4 * math.sqrt(variance)


def near(rate: float, expected: float, n: int) -> bool:
    """Is a rate among n within four binomial standard errors of the expected one?"""
    return abs(rate - expected) <= slack(expected, n) + 1e-9


def power(effect: float, seeds: int = 3, level: float = 0.05) -> float:
    """Of the one-sided t test of differences with standard deviation 1: noncentral t."""
    limit = stats.t.ppf(1 - level, seeds - 1)
    noncentrality = effect * math.sqrt(seeds)
    return float(stats.nct.sf(limit, seeds - 1, noncentrality))


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
    assert late(table)[0] == 56
    assert final(table)[0] == 60
    assert gain(table)[0] == 56 - 36
    assert late(table, 25)[0] == 20  # 16, 18, 20, 22, 24
    assert late(table, 10)[0] == np.mean([4, 5, 6, 8, 10])
    assert settled(table).index.min() == 24


def test_a_run_that_has_not_finished_has_no_late_accuracy():
    table = flat([60.0, 61.0, 62.0])
    table.loc[59:, 2] = np.nan
    assert late(table).isna().tolist() == [False, False, True]
    assert early(table).notna().all()
    assert late(table, 40).notna().all()
    assert late(table.loc[:50]).isna().all()


def test_hits_give_the_accuracies_of_the_predicted_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=200)
    shape = (len(EVALUATED), 200)
    predicted = {seed: rng.integers(10, size=shape) for seed in (0, 1)}
    predicted[1] = predicted[1][:-1]  # killed before its last evaluation
    table = hits(predicted, labels, EVALUATED)
    right = predicted[0][-5:] == labels
    assert late(table)[0].mean() == pytest.approx(100 * right.mean())
    assert late(table)[1].isna().all()
    right = predicted[1][:5] == labels
    assert early(table)[1].mean() == pytest.approx(100 * right.mean())


# --- The test images' variance --------------------------------------------------------------------


def test_the_images_variance_is_the_component_of_a_two_way_analysis_of_variance():
    of_both = np.random.default_rng(1).normal(size=(3, 50))
    table = of_both + np.random.default_rng(2).normal(size=50)
    n, images = table.shape
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    deviations = table.mean(0) - table.mean()
    of_images = n * (deviations**2).sum() / (images - 1)
    freedom = (images - 1) * (n - 1)
    of_rest = (rest**2).sum() / freedom
    assert shared_variance(table) == pytest.approx((of_images - of_rest) / n / images)
    assert shared_variance(table[:1]) == 0
    contradicting = [[1, -1], [-1, 1]]
    assert shared_variance(contradicting) == 0


def by_image(values: np.ndarray) -> pd.DataFrame:
    """Seeds' images (seeds, images) as a table that is level over epochs."""
    seeds, images = values.shape
    columns = pd.MultiIndex.from_product([range(seeds), range(images)])
    level = np.tile(values.reshape(1, -1), (len(EVALUATED), 1))
    return pd.DataFrame(level, index=EVALUATED, columns=columns)


def test_the_interval_covers_the_truth_over_seeds_and_images():
    """Seeds alone give too narrow an interval where what differs is which images are drawn."""
    rng = np.random.default_rng(3)
    n = 3
    images = 40
    tries = 600
    alone = 0
    added = 0
    for _ in range(tries):
        image = rng.normal(0, 30, size=images)
        of_seeds = rng.normal(0, 2, size=(n, 1))
        values = of_seeds + image + rng.normal(0, 10, size=(n, images))
        seeds = paired_interval(values.mean(1), 0.90)
        both = compare(by_image(values), by_image(np.zeros_like(values)))
        assert both["mean"] == pytest.approx(values.mean())
        alone += seeds["low"] <= 0 <= seeds["high"]
        added += both["low"] <= 0 <= both["high"]
    assert alone / tries < 0.75
    assert added / tries > 0.90 - slack(0.90, tries)


def test_the_variance_widens_interval_and_equivalence():
    differences = [0.1, -0.2, 0.3]
    own = stats.sem(differences) ** 2
    found = paired_interval(differences, 0.90, shared=0.04)
    half = stats.t.ppf(0.95, 2) * math.sqrt(own + 0.04)
    assert found["high"] - found["mean"] == pytest.approx(half)
    assert equivalent(differences) == "equivalent"
    assert equivalent(differences, shared=0.2) == "undecided"


# --- Rates ----------------------------------------------------------------------------------------


def normal(rng, mean: float, deviation: float = 1.0, seeds: int = 3) -> pd.DataFrame:
    """Level curves whose heights are drawn."""
    return flat(rng.normal(mean, deviation, seeds))


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.3])
def test_a_difference_is_found_at_the_stated_rate(effect):
    """2.3 standard deviations are found in 80%, none in 5%: noncentral t with two degrees of
    freedom."""
    rng = np.random.default_rng(4)
    tries = 800
    found = [ahead(normal(rng, effect), NOTHING, margin=0).answer for _ in range(tries)]
    assert near(found.count(HOLDS) / tries, power(effect), tries)
    # No effect is refuted as often as an effect of that size and the other sign would be found.
    assert near(found.count(FAILS) / tries, power(-effect), tries)


def test_the_plans_numbers_for_three_and_twelve_seeds():
    assert power(2.297) == pytest.approx(0.80, abs=0.001)
    assert power(2.8) == pytest.approx(0.90, abs=0.006)
    assert power(4.0, level=0.05 / 3) == pytest.approx(0.80, abs=0.005)
    assert equivalence_power(0.38, 1, 3) == pytest.approx(0.80, abs=0.01)
    root = Path(__file__).parents[2]
    plan = (root / "docs" / "plan.md").read_text("utf-8")
    for deviation in (0.3, 0.5, 0.7, 1.0):
        shown = f"{2.297 * deviation:.1f} | {100 * equivalence_power(deviation, 1, 3):.0f}% |"
        assert re.search(rf"\| {deviation} \| [0-9.]+ \| {re.escape(shown)}", plan), shown
    assert equivalence_power(0.55, 0.5, 12) == pytest.approx(0.80, abs=0.01)


@pytest.mark.parametrize("deviation, margin, seeds", [(0.38, 1.0, 3), (0.55, 0.5, 12)])
def test_equivalence_is_found_at_the_stated_rate(deviation, margin, seeds):
    rng = np.random.default_rng(5)
    tries = 600
    zero = flat([0.0] * seeds)
    found = 0
    for _ in range(tries):
        ours = normal(rng, 0, deviation, seeds)
        found += catches_up(ours, zero, margin=margin, seeds=seeds).answer == HOLDS
    expected = equivalence_power(deviation, margin, seeds)
    assert near(found / tries, expected, tries)


def test_a_difference_at_the_margin_passes_for_none_in_at_most_one_of_twenty():
    rng = np.random.default_rng(6)
    tries = 600
    answers = [catches_up(normal(rng, 1.0, 0.2), NOTHING).answer for _ in range(tries)]
    assert answers.count(HOLDS) / tries < 0.05 + slack(0.05, tries)


def stall(rng, lead: float, lag: float) -> str:
    """Verdict on a lead early and a lag late, standard deviation 1; before the last 20 epochs far
    ahead."""
    first = rng.normal(lead, 1, 3)
    end = rng.normal(-lag, 1, 3)
    middle = end + 50 + rng.normal(0, 1, 3)
    return stalls_late(curves(first, middle, end), NOTHING).answer


def stall_rate(seed: int, lead: float, lag: float, tries: int, answer: str = HOLDS) -> float:
    """How often that is the verdict."""
    rng = np.random.default_rng(seed)
    answers = [stall(rng, lead, lag) for _ in range(tries)]
    return answers.count(answer) / tries


def test_a_stall_is_found_at_the_stated_rate():
    """All three at once: early and late are independent here, the smaller gain is beyond doubt."""
    found = stall_rate(7, 2.8, 2.3, tries=400)
    assert near(found, power(2.8) * power(2.3), 400)


@pytest.mark.parametrize("lead, lag", [(0.0, 100.0), (100.0, 0.0)])
def test_half_a_stall_passes_for_one_in_one_of_twenty(lead, lag):
    """Where two of the three parts are there beyond doubt and one is not: the worst case."""
    found = stall_rate(8, lead, lag, tries=400)
    assert near(found, 0.05, 400)


def test_a_stall_at_the_margin_is_refuted_in_at_most_one_of_twenty():
    refuted = stall_rate(9, 1.0, 1.0, tries=400, answer=FAILS)
    assert refuted < 0.05 + slack(0.05, 400)


BETAS = (1.25, 1.5, 2)


def branched(rng, *gains: float) -> dict:
    """`helps` of independent branches with these mean gains, standard deviation 1."""
    tables = [normal(rng, gain) for gain in gains]
    return helps(dict(zip(BETAS, tables, strict=True)), NOTHING)


def rate(found: list[dict], claim: str) -> float:
    """How often a claim of `helps` holds."""
    return sum(each[claim].answer == HOLDS for each in found) / len(found)


def test_branches_that_do_nothing_help_somewhere_in_one_of_twenty():
    """Three independent tests at Holm's first step, 5%/3."""
    rng = np.random.default_rng(10)
    tries = 500
    found = [branched(rng, 0, 0, 0) for _ in range(tries)]
    expected = 1 - (1 - 0.05 / 3) ** 3
    assert near(rate(found, "somewhere"), expected, tries)
    assert rate(found, "consistently") <= 2 / tries  # 0.05³


def test_branches_that_help_do_so_at_the_stated_rate():
    rng = np.random.default_rng(11)
    tries = 400
    found = [branched(rng, 2.8, 2.8, 2.8) for _ in range(tries)]
    assert near(rate(found, "consistently"), power(2.8) ** 3, tries)
    found = [branched(rng, 4.0, -50, -50) for _ in range(tries)]
    expected = power(4.0, level=0.05 / 3)
    assert near(rate(found, "somewhere"), expected, tries)
    assert all(f["consistently"].answer == FAILS for f in found)


# --- Answers --------------------------------------------------------------------------------------

UP = flat([2.0, 2.1, 1.9])


def test_answers_follow_from_the_interval():
    """[1.83, 2.17] in two verdicts; and [−1.7, 2.0]."""
    assert ahead(UP, NOTHING).answer == HOLDS
    assert ahead(UP, NOTHING, sign=-1).answer == FAILS
    assert catches_up(UP, NOTHING).answer == FAILS
    assert keeps_up(UP, NOTHING).answer == HOLDS
    assert keeps_up(NOTHING, UP).answer == FAILS
    assert keeps_up(NOTHING, flat([0.5, 0.6, 0.4])).answer == HOLDS
    wide = flat([1.2, 0.2, -0.9])
    for claim in (ahead, catches_up, keeps_up):
        assert claim(wide, NOTHING).answer == UNDECIDED
    numbers = ahead(UP, NOTHING).numbers
    assert numbers.loc["difference", "mean"] == pytest.approx(2)


def test_a_probe_that_contradicts_takes_the_answer_away():
    assert ahead(UP, NOTHING, probe=0.3).answer == HOLDS
    assert ahead(UP, NOTHING, probe=-0.3).answer == UNDECIDED
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
        ours = curves(first + shape, middle + shape[::-1], end + shape)
        return stalls_late(ours, NOTHING).answer

    assert answer(3, 1, -2) == HOLDS
    assert answer(-3, 1, -2) == FAILS  # never ahead
    assert answer(3, 3, 2) == FAILS  # still ahead
    assert answer(3, -4, -2) == FAILS  # behind, and catching up


@pytest.mark.parametrize("spread, answer", [(0.3, FAILS), (0.4, UNDECIDED), (0.6, UNDECIDED)])
def test_one_of_three_parts_is_refuted_at_a_third_of_the_level(spread, answer):
    """No early lead: the limit is t · spread / √3, where t is 2.92 at 5% and 5.34 at 5%/3."""
    error = spread / math.sqrt(3)
    limits = [stats.t.ppf(1 - level, 2) * error for level in (0.05, 0.05 / 3)]
    assert (limits[1] < 1) == (answer == FAILS)
    first = np.array([-spread, 0, spread])
    shape = np.array([-0.1, 0.0, 0.1])
    ours = curves(first, 1 - shape, -2 + shape)
    assert stalls_late(ours, NOTHING).answer == answer
    expected = FAILS if limits[0] < 1 else UNDECIDED
    assert ahead(flat(first), NOTHING).answer == expected


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
    of_cut = claim(cut, NOTHING).numbers["mean"]
    of_missing = claim(missing, NOTHING).numbers["mean"]
    assert of_cut.iloc[-1] == pytest.approx(of_missing.iloc[-1], nan_ok=True)


def test_an_unfinished_or_collapsed_branch():
    up = flat([3.0, 3.1, 2.9])
    short = flat([3.0, 3.1, 2.9]).loc[:30]
    branches = {1.25: up, 1.5: up, 2: short}
    found = helps(branches, NOTHING)
    assert found[1.25].answer == HOLDS
    assert found[2].answer == UNFINISHED
    assert found["consistently"].answer == found["somewhere"].answer == UNFINISHED
    found = helps(branches, NOTHING, collapses={2})
    assert found[2].answer == FAILS
    assert found["consistently"].answer == FAILS
    assert found["somewhere"].answer == HOLDS
    probes = {1.25: 1.0, 1.5: 1.0, 2: -1.0}
    found = helps(dict.fromkeys(probes, up), NOTHING, probes=probes)
    assert found[2].answer == found["consistently"].answer == UNDECIDED


def test_the_first_epochs_after_a_branch_do_not_count():
    shaken = flat([3.0, 3.1, 2.9])
    shaken.loc[21:23] = -50.0
    assert helps({1.25: shaken}, NOTHING)["somewhere"].answer == HOLDS


def test_collapse_is_an_accuracy_below_the_branchs_start_or_a_small_rank():
    trunk = flat([50.0, 50.0, 50.0])
    rank = flat([100.0, 3.9, 100.0])
    branch = flat([51.0, 51.0, 49.0]).loc[21:]
    assert collapsed(branch, trunk, rank).tolist() == [False, True, True]
    unfinished = collapsed(branch.loc[:30], trunk, rank.loc[:30])
    assert not unfinished.any()


def test_both_measures_must_agree():
    answers = (HOLDS, FAILS, UNDECIDED, UNFINISHED)
    yes, no, open_, later = (Verdict(answer, pd.DataFrame()) for answer in answers)
    assert agreed(yes, yes).answer == HOLDS
    assert agreed(no, no).answer == FAILS
    for pair in ((yes, no), (yes, open_), (open_, no)):
        assert agreed(*pair).answer == UNDECIDED
    for pair in ((yes, later), (later, no)):
        assert agreed(*pair).answer == UNFINISHED
    both = agreed(ahead(UP, NOTHING), ahead(UP, NOTHING)).numbers
    assert both.loc[("knn", "difference"), "mean"] == pytest.approx(2)


def test_holm_and_p_values():
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.03})
    assert adjusted == pytest.approx({"b": 0.03, "c": 0.06, "a": 0.06})
    expected = stats.ttest_1samp([2.0, 2.1, 1.9], 0, alternative="greater")
    assert p_value(compare(UP, NOTHING)) == pytest.approx(expected.pvalue)


# --- Factors and trajectories ---------------------------------------------------------------------


def test_effects_are_the_coefficients_of_a_linear_model():
    """Accuracy = 40 + 3·views + 1·κ + 0.5·views·κ with levels ±1: effects are twice these."""
    levels = {"views": [2, 8], "kappa": [2.0, 10.0], "recipe": [0, 1]}
    columns = pd.MultiIndex.from_product(levels.values(), names=levels)
    views = np.where(columns.get_level_values("views") == 2, -1, 1)
    kappa = np.where(columns.get_level_values("kappa") == 2, -1, 1)
    means = 40 + 3 * views + kappa + 0.5 * views * kappa
    cells = pd.DataFrame([means, means + 7], columns=columns)  # a seed that is better everywhere
    found = effects(cells)
    assert len(found.columns) == 7
    assert found["views"].tolist() == [6, 6]
    assert found["kappa"].tolist() == [2, 2]
    assert found["views × kappa"].tolist() == [1, 1]
    assert found["views × kappa × recipe"].tolist() == [0, 0]


def test_an_untrained_network_does_not_pass_for_a_coarse_one():
    """Two runs on one path, near = 0.6 far, at different speeds: the gaps at the end differ, the
    offset is 0."""
    epochs = np.array(scheduled(60))
    fast = 80 * (1 - np.exp(-epochs / 10))
    slow = 80 * (1 - np.exp(-epochs / 40))
    pairs = [np.stack([curve, curve], 1) for curve in (fast, slow)]
    far = [pd.DataFrame(pair, index=epochs) for pair in pairs]
    near_classes = [0.6 * table for table in far]
    gaps = [0.4 * table.iloc[-1, 0] for table in far]
    assert gaps[0] - gaps[1] > 5
    theirs = (far[1], near_classes[1])
    same = offset((far[0], near_classes[0]), theirs)
    assert same.tolist() == pytest.approx([0, 0], abs=1e-9)
    coarser = offset((far[0], near_classes[0] - 3), theirs)
    assert coarser.tolist() == pytest.approx([3, 3])
    apart = offset((far[0] + 100, near_classes[0]), theirs)
    assert apart.isna().all()
