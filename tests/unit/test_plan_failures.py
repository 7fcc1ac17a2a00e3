"""Verdicts of docs/plan.md where runs are missing, collapsed, or lost to a loss that became NaN."""

import pytest
from fabricated import CURVES, arms_of, by_number, fill, keep, level

from pipeline.evidence import late_claims, weight_claims
from pipeline.evidence.rules import FAILS, HOLDS, UNDECIDED, UNFINISHED
from pipeline.evidence.verdicts import findings_of

CURVE_CLAIMS = ("1", "1b", "2", "2b", "2c", "3", "3b", "4", "4b", "4c", "5", "5b", "5c")


@pytest.fixture
def empty(tmp_path):
    """The plan's arms, without results so far."""
    return arms_of(tmp_path)


@pytest.mark.parametrize("seeds", [(), (0,), (0, 2)])
def test_claims_are_unfinished_without_all_seeds(empty, seeds):
    fill(empty, "kappa10", "supervised", "beta0.75")
    fill(empty, "kappa20", "kappa1", "simclr", "beta1.5_from20", "beta2_from20", seeds=seeds)
    fill(empty, "beta1.25_from20")
    found = by_number(findings_of(list(CURVE_CLAIMS), empty))
    assert {finding.verdict.answer for finding in found.values()} == {UNFINISHED}
    assert found["1"].row["seeds"] == f"{len(seeds)} of 3"
    if seeds:
        assert found["1"].verdict.numbers.loc[("knn", "late"), "seeds"] == len(seeds)
        assert "+10" in found["4"].row["difference"]


def test_a_collapse_decides_nothing_before_all_seeds_are_there(empty):
    fill(empty, "kappa10", "beta1.25_from20", "beta1.5_from20")
    fill(empty, "beta2_from20", seeds=(0,), linear=level(50, 55, 40, 40))
    assert weight_claims.has_collapsed(empty("beta2_from20"), empty("kappa10"))
    found = by_number(weight_claims.weaker_global_term(empty))
    assert found["4"].verdict.answer == found["4b"].verdict.answer == UNFINISHED


# --- Branches, and losses that became NaN ---------------------------------------------------------


def test_a_branch_that_is_not_there_leaves_the_numbers_of_the_others(empty):
    fill(empty, "kappa10", "beta1.25_from20", seeds=(0,))
    found = by_number(weight_claims.weaker_global_term(empty))
    assert found["4"].verdict.answer == found["4b"].verdict.answer == UNFINISHED
    assert found["4b"].row["difference"] == "linear head β = 1.25 +10.0; k-NN β = 1.25 +10.0"
    assert found["4b"].row["seeds"] == "0 of 3"


def branches(arms, **of_two) -> dict:
    """The findings of claim 4, with results of β = 2 as given, the others above the trunk."""
    fill(arms, "kappa10", "beta0.75", "beta1.25_from20", "beta1.5_from20", "beta2_from20")
    [run] = [each for each in arms("beta2_from20").every if each.config.seed == 1]
    keep(run, **{"linear": level(*CURVES["beta2_from20"]), **of_two})
    return by_number(weight_claims.weaker_global_term(arms))


@pytest.mark.parametrize(
    "of_two, details",
    [
        # below the trunk's 55 before the branch, and 0.25 more in seed 1
        ({"linear": level(50, 55, 54, 54), "knn": level(50, 55, 70, 70)}, "linear head, seed 1"),
        ({"knn": level(50, 55, 54, 54)}, "k-NN, seed 1"),
        ({"rank": 3.9}, ""),
        ({"nan_in": 30}, ""),
        ({"nan_in": 21}, ""),
    ],
    ids=["linear", "knn", "rank", "NaN", "NaN at once"],
)
def test_one_seeds_collapse_is_no_help(empty, of_two, details):
    found = branches(empty, **of_two)
    fallen = f" ({details}: −1.2 points since epoch 20)" if details else ""
    for claim in ("4", "4b"):
        said = found[claim].row["difference"].split("; ")
        assert f"β = 2 has collapsed by the plan's rule{fallen}" in said
    assert found["4c"].note == "by 4b"
    answers = {claim: finding.verdict.answer for claim, finding in found.items()}
    assert answers == {"4": FAILS, "4b": HOLDS, "4c": HOLDS}
    assert ("NaN: beta2_from20 seed 1" in found["4"].row["difference"]) == ("nan_in" in of_two)


def test_a_branch_that_stays_above_its_start_has_not_collapsed(empty):
    """Its first three epochs do not count, however low."""
    low = level(50, 55, 56, 56) | {22: 10.0}
    found = branches(empty, linear=low, rank=4.1)
    assert not weight_claims.has_collapsed(empty("beta2_from20"), empty("kappa10"))
    assert "collapsed" not in found["4"].row["difference"]
    assert found["4"].verdict.answer == UNDECIDED


def test_two_weights_that_help_by_one_measure_each_do_not_agree(empty):
    high = level(50, 55, 70, 70)
    same = level(50, 55, 60, 60)
    fill(empty, "kappa10")
    fill(empty, "beta1.25_from20", linear=high, knn=same)
    fill(empty, "beta1.5_from20", linear=same, knn=high)
    fill(empty, "beta2_from20", linear=same, knn=same)
    found = by_number(weight_claims.weaker_global_term(empty))
    assert found["4b"].verdict.answer == UNDECIDED
    fill(empty, "beta2_from20", linear=high, knn=high)
    again = arms_of(empty.places.reports)  # arms read their runs once
    assert by_number(weight_claims.weaker_global_term(again))["4b"].verdict.answer == HOLDS


@pytest.mark.parametrize("epoch, answer", [(10, UNDECIDED), (30, UNFINISHED)])
def test_a_branch_is_not_waited_for_if_its_trunk_was_lost_before_it(empty, epoch, answer):
    """A trunk that was lost after it could still be branched from."""
    [lost] = [run for run in empty("kappa10").every if run.config.seed == 2]
    fill(empty, "kappa10", seeds=(0, 1))
    keep(lost, level(*CURVES["kappa10"]), nan_in=epoch)
    fill(empty, "beta1.25_from20", "beta1.5_from20", "beta2_from20", seeds=(0, 1))
    assert by_number(weight_claims.weaker_global_term(empty))["4"].verdict.answer == answer


def test_no_gain_at_all_refutes_both(empty):
    fill(empty, "kappa10")
    for name in ("beta1.25_from20", "beta1.5_from20", "beta2_from20"):
        fill(empty, name, linear=level(50, 55, 57, 57))
    found = by_number(weight_claims.weaker_global_term(empty))
    assert found["4"].verdict.answer == found["4b"].verdict.answer == FAILS
    assert found["4c"].verdict.answer == UNFINISHED  # β = 0.75 is not there


@pytest.mark.parametrize("epoch", [1, 2, 30])
def test_a_run_whose_loss_became_nan_counts_and_leaves_it_undecided(empty, epoch):
    fill(empty, "kappa10", "kappa20", "kappa1")
    [run] = [each for each in empty("kappa20").every if each.config.seed == 1]
    for file in run.results.iterdir():
        file.unlink()
    keep(run, level(*CURVES["kappa20"]), nan_in=epoch)
    found = by_number(late_claims.large_kappa(empty))["1"]
    assert found.verdict.answer == UNDECIDED
    assert found.row["seeds"] == "3 of 3"
    assert "NaN: kappa20 seed 1" in found.row["difference"]
    late = found.verdict.numbers.loc[("knn", "late")]
    assert late.seeds == 2
    assert late["mean"] == pytest.approx(-9.75)  # seeds 0 and 2: 0.5 and 0 points up
