"""The verdict on claim 10 of docs/plan.md, from a factorial with known effects."""

import numpy as np
import pytest
from fabricated import MEASURES, arms_of, differences, keep_all, level
from scipy import stats

from pipeline.evidence import lead_claim
from pipeline.evidence.rules import UNFINISHED

SIXTEENTHS = (0, 1, 3, 2, 5, 9, 4, 12)  # points that the second seed has more in each cell
# What the second seed and the third add to the effect of views: means of the last and first four.
SEEDS = (7.5 / 16 - 1.5 / 16 + 0.25) / 3


@pytest.fixture(scope="module")
def factorial(tmp_path_factory):
    """Eight views add 12 points, but have 40% after epochs 1 to 4.

    A larger κ adds 3 points with DINO's recipe and takes 3 with SimCLR's.
    """
    arms = arms_of(tmp_path_factory.mktemp("factorial"))
    for more, (views, kappa, recipe) in zip(SIXTEENTHS, lead_claim.CELLS, strict=True):
        end = 50 + 12 * (views == 8) + (1.5 if recipe == "dino" else -1.5) * (kappa - 6) / 4
        curve = level(end, end, end, end)
        if views == 8:
            curve |= {1: 40.0, 2: 40.0, 3: 40.0, 4: 40.0}
        spread = (0.0, more / 16, 0.5 + 0.25 * (views == 8))
        name = f"views{views}_kappa{kappa}_{recipe}"
        keep_all(arms, name, "f", spread=spread, linear=curve, images=1600)
    return arms


def test_the_factorials_effects_are_those_that_were_put_in(factorial):
    table = lead_claim.factorial(factorial, "epochs")
    # Of the last five evaluations 4, 5, 6, 8, 10 the first is low with eight views.
    low = (62 - 40) / 5
    for measure in MEASURES:
        means = table["mean"][measure]
        assert means["views"] == pytest.approx(12 - low + SEEDS, abs=1e-9)
        # 3 points, but for the fifth of the evaluations at which half the cells have 40
        assert means["kappa × recipe"] == pytest.approx(3 * 0.9, abs=0.05)
        assert means[["kappa", "recipe"]].abs().max() < 0.3
    found = {finding.claim: finding for finding in lead_claim.lead(factorial)}
    assert "views: holds" in found["10"].verdict.answer
    assert "recipe: does not hold" in found["10"].verdict.answer
    assert found["10"].row["evidence"] == "early"
    assert "linear head views +" in found["10"].row["difference"]
    assert "k-NN views +" in found["10"].row["difference"]


def test_at_equal_compute_eight_views_are_stopped_after_four_epochs(factorial):
    table = lead_claim.factorial(factorial, "compute")
    assert table["mean"]["knn"]["views"] == pytest.approx(40 - 50 + SEEDS, abs=1e-9)
    found = {finding.claim: finding for finding in lead_claim.lead(factorial)}
    assert "; of eight views 1 to 4" in found["10b"].row["when"]


def test_an_effects_interval_has_the_variance_of_images(factorial):
    total = 0
    for kappa, recipe in ((2, "simclr"), (2, "dino"), (10, "simclr"), (10, "dino")):
        pair = [factorial(f"views{views}_kappa{kappa}_{recipe}", "f") for views in (8, 2)]
        total = total + differences(*pair, "knn", [4, 5, 6, 8, 10]) / 4
    by_seed = total.mean(1)
    covariance = np.cov(total)
    shared = covariance[~np.eye(3, dtype=bool)].mean() / total.shape[1]
    error = np.sqrt(by_seed.var(ddof=1) / 3 + max(shared, 0))
    row = lead_claim.factorial(factorial, "epochs").loc[("knn", "views")]
    low, high = stats.t.interval(0.95, 2, by_seed.mean(), error)
    assert (row.low, row.high) == pytest.approx((low, high))
    assert row.p == pytest.approx(2 * stats.t.sf(by_seed.mean() / error, 2))
    assert row.p_holm == pytest.approx(3 * row.p)


def test_the_factorial_waits_for_all_cells_and_seeds(tmp_path):
    arms = arms_of(tmp_path)
    curve = level(50, 50, 50, 50)
    for levels in lead_claim.CELLS[:-1]:
        keep_all(arms, "views{}_kappa{}_{}".format(*levels), "f", linear=curve)
    found = lead_claim.lead(arms_of(tmp_path))
    assert [(each.verdict.answer, each.row["seeds"]) for each in found] == [
        (UNFINISHED, "0 of 3")
    ] * 2
    last = {"spread": (0.5, 0.5, 0.75), "linear": curve}
    keep_all(arms, "views8_kappa10_dino", "f", seeds=(0, 2), **last)
    found = lead_claim.lead(arms_of(tmp_path))
    assert [(each.verdict.answer, each.row["seeds"]) for each in found] == [
        (UNFINISHED, "2 of 3")
    ] * 2
