"""The verdicts on claims 1 to 5 of docs/plan.md, from results with known accuracies."""

import numpy as np
import pandas as pd
import pytest
from fabricated import (
    CURVES,
    MEASURES,
    arms_of,
    by_number,
    differences,
    fill,
    keep,
    keep_all,
    level,
)
from scipy import stats

from pipeline.evidence import late_claims
from pipeline.evidence.arms import probe_difference
from pipeline.evidence.finding import by_both_measures, decided_already, either, together
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    ahead,
    catches_up,
    joint_answer,
)
from pipeline.evidence.verdicts import findings_of

ANSWERS = {
    **dict.fromkeys(("1", "1b", "2", "2b", "2c", "3", "3b", "4", "4b", "4c"), HOLDS),
    "5": FAILS,  # by equal compute
    "5b": HOLDS,
    "5c": HOLDS,
}
EARLY = [1, 2, 3, 4, 5]
MIDDLE = [32, 34, 36, 38, 40]
LATE = [52, 54, 56, 58, 60]


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Lines a to d, finished."""
    found = arms_of(tmp_path_factory.mktemp("reports"))
    fill(found, *CURVES)
    return found


@pytest.fixture(scope="module")
def findings(arms) -> dict:
    return by_number(findings_of(list(ANSWERS), arms))


@pytest.fixture
def empty(tmp_path):
    """The plan's arms, without results so far."""
    return arms_of(tmp_path)


def test_each_verdict_is_the_one_that_the_accuracies_were_chosen_for(findings):
    assert {claim: finding.verdict.answer for claim, finding in findings.items()} == ANSWERS
    assert {finding.row["seeds"] for finding in findings.values()} == {"3 of 3"}


def interval_by_hand(table: np.ndarray) -> tuple[float, float, float]:
    """Mean and 90% interval of differences (seeds, images), with an analysis of variance.

    The image component is that of a two-way layout with one observation in each cell.
    """
    n, images = table.shape
    of_seeds = table.mean(1)
    of_images = table.mean(0)
    rest = table - of_images - of_seeds[:, None] + table.mean()
    between = n * ((of_images - table.mean()) ** 2).sum() / (images - 1)
    residual = (rest**2).sum() / ((n - 1) * (images - 1))
    component = max(0.0, (between - residual) / n) / images
    error = np.sqrt(of_seeds.var(ddof=1) / n + component)
    return (table.mean(), *stats.t.interval(0.9, n - 1, table.mean(), error))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("part", ["early", "late", "gain"])
def test_intervals_have_the_spread_of_seeds_and_the_variance_of_images(
    arms, findings, measure, part
):
    ours = arms("kappa20")
    theirs = arms("kappa10")
    first, last = (
        differences(ours, theirs, measure, EARLY),
        differences(ours, theirs, measure, LATE),
    )
    before = differences(ours, theirs, measure, MIDDLE)
    table = {"early": first, "late": last, "gain": last - before}[part]
    row = findings["1"].verdict.numbers.loc[(measure, part)]
    assert (row["mean"], row.low, row.high) == pytest.approx(interval_by_hand(table))
    alone = stats.ttest_1samp(table.mean(1), 0).confidence_interval(0.9)
    assert row.low < alone.low and alone.high < row.high


def test_numbers_are_given_with_the_probe(findings):
    row = findings["2"].row
    assert "linear head +0.1 [" in row["difference"]
    assert "probe" in row["difference"]
    assert "; it still gains, linear head +10.0 [" in row["difference"]


def test_the_brief_form_names_each_part_once_by_the_linear_head(findings):
    brief = {claim: finding.brief for claim, finding in findings.items()}
    assert brief["1"] == "linear head early +10.2; late −9.8; gain −10.0"
    assert brief["2"].startswith("linear head +0.1 [")
    equal, compute = brief["5"].removeprefix("linear head ").split("; ")
    assert equal.startswith("equal epochs +10.0 [") and compute.startswith("equal compute −5.0 [")


def test_a_smaller_kappa_that_is_behind_and_still_gains_has_not_caught_up_yet(empty):
    fill(empty, "kappa10")
    fill(empty, "kappa1", linear=level(40, 50, 50, 65), probe=65.0)
    found = by_number(late_claims.small_kappa(empty))["2"]
    assert found.verdict.answer == FAILS
    assert "not yet: it still gains, linear head +5.0 [" in found.row["difference"]


def test_a_smaller_kappa_that_ends_above_overtakes(empty):
    """What it still gains is then no “not yet”."""
    fill(empty, "kappa10")
    fill(empty, "kappa1", linear=level(50, 50, 60, 80), probe=80.0)
    found = by_number(late_claims.small_kappa(empty))["2"]
    assert found.verdict.answer == FAILS
    beside = found.note.split("; ")
    assert beside[:2] == [
        "it overtakes",
        "it was not slower at first, so there is nothing to catch up",
    ]
    assert beside[2].startswith("it still gains, linear head +10.0 [")


def test_a_refuted_claim_of_three_parts_says_which_part(empty):
    """κ = 20 is behind late and gains less, but has no lead early."""
    fill(empty, "kappa10")
    fill(empty, "kappa20", linear=level(50, 55, 60, 60), spread=(0.0, 0.25, 0.5))
    [found] = findings_of(["1"], empty)
    assert found.verdict.answer == FAILS
    assert found.note == "refuted by linear head: the lead early, by k-NN: the lead early"
    assert findings_of(["3"], empty)[0].note == ""  # its runs are not there


@pytest.mark.parametrize("shown", [True, False])
def test_a_part_that_is_shown_is_not_called_refuted(empty, monkeypatch, shown):
    """A lead of half a point may be told from zero and from a whole point."""
    fill(empty, "kappa10", "kappa20")
    parts = {"shown": [shown, True, True], "refuted": [True, True, False]}
    table = pd.DataFrame(parts, index=["early", "late", "gain"])
    monkeypatch.setattr(late_claims, "stall_parts", lambda *_, **__: table)
    words = late_claims.refuted_in_words(empty("kappa20"), empty("kappa10"))
    lead = "refuted by linear head: the lead early, by k-NN: the lead early"
    assert words == ("" if shown else lead)


def test_the_maximum_may_be_refuted_by_a_smaller_weight(empty):
    fill(empty, "kappa10")
    fill(empty, "beta0.75", linear=level(50, 55, 60, 75), probe=75.0)
    for name in ("beta1.25_from20", "beta1.5_from20", "beta2_from20"):
        fill(empty, name, linear=level(50, 55, 57, 57))
    [found] = findings_of(["4c"], empty)
    assert found.verdict.answer == HOLDS
    assert found.note == "by β = 0.75, a stronger global term"


def test_rows_say_what_they_rest_on(findings):
    rows = pd.DataFrame([finding.row for finding in findings.values()]).set_index("claim")
    assert rows.evidence.to_dict() == {
        **dict.fromkeys(rows.index, "late"),
        **dict.fromkeys(("1b", "2b"), "early"),
        "5": "early and late",  # at equal compute
    }
    assert rows.loc["1", ["epochs", "steps"]].tolist() == [60, 60 * 390]
    assert rows.loc["1b", ["epochs", "steps"]].tolist() == [5, 5 * 390]
    assert rows.loc["4", ["epochs", "steps"]].tolist() == [40, 40 * 390]
    assert "ours at epoch 24 (9,360 steps: early" in rows.when["5"]
    assert "DINO less ours, no verdict: linear head +2.0 [" in rows.difference["5b"]


def test_equal_compute_takes_ours_from_16_to_24_and_the_other_from_52_to_60(arms, findings):
    numbers = findings["5"].verdict.numbers
    for measure in MEASURES:
        row = numbers.loc[("equal compute", measure, "difference")]
        assert row["mean"] == pytest.approx(55 - 60)
        assert row.high < -1
        assert numbers.loc[("equal epochs", measure, "difference")]["mean"] == pytest.approx(10)


# --- Measures at odds ----------------------------------------------------------------------


def test_both_measures_and_the_probe_must_agree(empty):
    fill(empty, "kappa10")
    fill(empty, "kappa20", knn=level(50, 55, 60, 70))
    fill(empty, "supervised", probe=65.0)
    ours, odd, against = (empty(name) for name in ("kappa10", "kappa20", "supervised"))
    assert by_both_measures(ahead, odd, ours, sign=-1).answer == UNDECIDED
    assert probe_difference(against, ours) == pytest.approx(-5)
    assert by_both_measures(ahead, against, ours).answer == UNDECIDED
    assert by_both_measures(ahead, against, ours, probe=False).answer == HOLDS


def test_equal_accuracies_are_equivalent_and_far_ones_are_not(empty):
    fill(empty, "kappa10", "supervised")
    fill(empty, "kappa1", linear=level(*CURVES["kappa10"]), probe=70.0)
    assert by_both_measures(catches_up, empty("kappa1"), empty("kappa10")).answer == HOLDS
    assert by_both_measures(catches_up, empty("supervised"), empty("kappa10")).answer == FAILS


def test_several_verdicts_in_one():
    holds, fails, open_, later = (
        Verdict(answer, pd.DataFrame()) for answer in (HOLDS, FAILS, UNDECIDED, UNFINISHED)
    )
    for parts, all_of_them, one_of_them in (
        ((holds, holds), HOLDS, HOLDS),
        ((holds, fails), FAILS, HOLDS),
        ((holds, open_), UNDECIDED, HOLDS),
        ((fails, open_), FAILS, UNDECIDED),
        ((fails, fails), FAILS, FAILS),
        ((holds, later), UNFINISHED, UNFINISHED),
        ((fails, later), UNFINISHED, UNFINISHED),
    ):
        assert together(dict(enumerate(parts))).answer == all_of_them
        assert either(parts) == one_of_them


def test_a_rate_that_falls_to_zero_may_turn_claims_1_and_2(empty):
    fill(empty, "kappa10", "kappa20", "kappa1")
    assert late_claims.at_a_constant_rate(arms_of(empty.places.reports)) == ""
    keep_all(empty, "kappa10_rate_to_zero", "g", linear=level(50, 55, 60, 70))
    keep_all(empty, "kappa20_rate_to_zero", "g", linear=level(50, 55, 60, 65))
    assert late_claims.at_a_constant_rate(arms_of(empty.places.reports)) == ""
    [run] = empty("kappa20_rate_to_zero", "g").every
    keep(run, level(50, 55, 60, 75), knn=level(50, 55, 60, 65))
    assert late_claims.at_a_constant_rate(arms_of(empty.places.reports)) == ""
    keep(run, level(50, 55, 60, 75))
    found = by_number(findings_of(["1", "2"], empty))
    assert "at a constant rate" in found["1"].says
    assert "at a constant rate" in found["2"].says


def test_an_unfinished_claim_says_which_of_its_parts_is_refuted_already():
    """One part refuted by all its seeds decides the whole, as soon as the others are there."""
    holds, fails, unfinished = (
        Verdict(answer, pd.DataFrame()) for answer in (HOLDS, FAILS, UNFINISHED)
    )
    words = decided_already({"first": unfinished, "second": fails, "third": holds})
    assert words.startswith("second has all its seeds and does not hold")
    assert joint_answer([HOLDS, FAILS, HOLDS]) == FAILS
    for given in ({"first": unfinished, "third": holds}, {"first": holds, "second": fails}):
        assert decided_already(given) == ""
