"""Numbers that stand beside the plan's verdicts in texts, recomputed from the predictions."""

import re

import pandas as pd
import pytest
from checkout import ROOT
from fabricated import MEASURES, arms_of
from scipy import stats
from test_plan_table import kept_numbers, prose_of

from infomax_nb.evaluation.curves import compare, shared_variance
from infomax_nb.evaluation.intervals import paired_interval
from infomax_nb.late import evaluations
from pipeline.evidence.finding import interval_in_words
from pipeline.evidence.other_claims import coarser
from pipeline.evidence.rules import offset

RESULTS = ROOT / "reports/README.md"


@pytest.fixture(scope="module")
def arms():
    return arms_of(ROOT / "reports")


def over(first: int, last: int):
    """The statistic of a curve: its mean over the evaluations in these epochs."""
    return lambda table: table.loc[first:last].dropna(how="all").mean(skipna=False)


def of_both(arms, ours: str, theirs: str, statistic) -> list[str]:
    """The differences of two conditions by the linear head and by k-NN, with their intervals."""
    first = arms(ours)
    second = arms(theirs)
    pairs = ((first.hits(measure), second.hits(measure)) for measure in MEASURES)
    return [interval_in_words(compare(*pair, statistic)) for pair in pairs]


def test_a_mild_beta_leads_early(arms):
    linear, knn = of_both(arms, "beta0.75", "kappa10", over(1, 5))
    points = linear.replace(" ", " points ", 1)
    assert f"1 to 5 by {points} (linear head) and {knn} (k-NN)" in prose_of("04", "late-04-k")
    assert f"β = 0.75 is, by {points}" in prose_of("04", "cell-31")
    assert f"by {linear} and {knn} (epochs 1 to 5; no verdict)" in RESULTS.read_text("utf-8")


def test_its_lead_over_epochs_12_to_20_and_what_became_of_it(arms):
    prose = prose_of("04", "late-04-e")
    linear, knn = of_both(arms, "beta0.75", "kappa10", over(12, 20))
    assert f"{linear.replace(' ', ' points ', 1)} by the linear head and {knn} by k-NN" in prose

    def change(table):
        return over(52, 60)(table) - over(12, 20)(table)

    linear, knn = of_both(arms, "beta0.75", "kappa10", change)
    assert f"(a change of {linear} and {knn})" in prose


def test_no_branch_is_on_its_way_up(arms):
    prose = prose_of("04", "late-04-e")

    def change(table):
        return over(36, 40)(table) - over(24, 28)(table)

    branches = [of_both(arms, f"beta{beta}_from20", "kappa10", change) for beta in (1.25, 1.5, 2)]
    linear, knn = zip(*branches, strict=True)
    first = linear[0].replace(" ", " points ", 1)
    assert f"{first}, {linear[1]} and {linear[2]} by the linear head" in prose
    assert f"{knn[0]}, {knn[1]} and {knn[2]} by k-NN" in prose


def test_a_small_beta_leads_at_no_evaluation(arms):
    """Its distance by k-NN is least at epoch 8, and about twice that at the end."""
    small = arms("beta0.1")
    whole = arms("kappa10")
    for measure in MEASURES:
        apart = (small.accuracies(measure) - whole.accuracies(measure)).dropna()
        assert (apart < 0).all(axis=None)
    means = apart.mean(axis=1)  # by k-NN
    assert f"{-means.max():.1f} points at epoch {means.idxmax()}" in prose_of("04", "late-04-k")
    assert 1.8 < means[60] / means.max() < 2.2


def test_the_p_values_of_claim_4c():
    """From the kept interval, by Student's t with two degrees of freedom."""
    rows = kept_numbers().loc["4c"]
    p = {}
    for measure in MEASURES:
        row = rows.loc[f"β = 0.75 less 1, {measure}, difference"]
        error = (row.high - row["mean"]) / stats.t.ppf(0.95, row.seeds - 1)
        p[measure] = stats.t.sf(row["mean"] / error, row.seeds - 1)
    words = f"{p['linear']:.3f} by the linear head and {p['knn']:.3f} by k-NN"
    assert f"one-sided p is {words}" in prose_of("04", "late-04-e")
    assert 2 * p["linear"] > 0.05 > 2 * p["knn"]


def test_the_gain_of_beta_one_tenth_by_knn():
    row = kept_numbers().loc["3", "β = 0.1 less 1, knn, gain"]
    less = f"{-row['mean']:.1f} points [{-row.high:.1f}, {-row.low:.1f}] less by k-NN"
    assert less in prose_of("04", "late-04-k")


def test_the_lead_over_simclr_shrinks(arms):
    def change(table):
        return over(52, 60)(table) - over(32, 40)(table)

    first, second = (arms(name).hits("linear") for name in ("simclr", "kappa10"))
    grown = interval_in_words(compare(first, second, change))
    assert f"(by {grown[1:]})" in prose_of("08", "late-08-i")


def test_near_accuracy_beside_kappa_one(arms):
    """SimCLR's and supervised training's, less ours at κ = 1, at equal far accuracy."""
    one = arms("kappa1", "e")
    places = {"simclr": ("late-09-k", "SimCLR less κ = 1"), "supervised": ("late-09-g", "at κ = 1")}
    for name, (cell, words) in places.items():
        verdict = coarser(one, arms(name, "e"))
        linear, knn = (interval_in_words(row) for _, row in verdict.numbers.iterrows())
        points = linear.replace(" ", " points ", 1)
        told = f"{words} is {points} by the linear head and {knn} by k-NN"
        assert told in prose_of("09", cell)
        assert verdict.numbers.low.lt(0).all() and verdict.numbers.high.gt(0).all()


def test_maps_lean_more_to_the_animal_than_a_uniform_one():
    """The mean share of three networks, less the animals' share of the pixels."""
    rows = pd.read_csv(ROOT / "reports/objects_voc/photographs.csv")
    share = rows.pivot(index=["kind", "seed"], columns="photograph", values="share")
    less = share.loc["infomax"] - share.loc["uniform"].iloc[0]
    assert less.shape == (3, 304)
    options = {"level": 0.9, "shared": shared_variance(less)}
    low_to_high = interval_in_words(paired_interval(less.mean(axis=1), **options))
    points = low_to_high.replace(" ", " points ", 1)
    assert f"on the animal, {points}, as" in prose_of("06", "d06-pixel-doubt")


def test_what_is_said_of_kappa_one_is_what_its_seed_has():
    """Without intervals: there is one seed."""
    numbers = kept_numbers()
    means = {}
    for measure in MEASURES:
        for claim, when in {"2": "late", "2b": "early", "2c": "gain"}.items():
            row = numbers.loc[claim, f"{measure}, difference"]
            assert row.seeds == 1
            means[measure, when] = f"{row['mean']:+.1f}".replace("-", "−")
    prose = prose_of("03", "late-03-e")
    claims = prose_of("03", "cell-25")
    linear = {when: means["linear", when] for when in ("early", "late", "gain")}
    knn = {when: means["knn", when] for when in ("early", "late", "gain")}
    assert f"is {linear['early']} points by the linear head over epochs 1 to 5" in prose
    assert (
        f"(k-NN {knn['early']}) and {linear['late']} over epochs 52 to 60 ({knn['late']})" in prose
    )
    assert f"gains {linear['gain'][1:]} points more" in prose
    assert f"does (k-NN {knn['gain'][1:]})" in prose
    assert f"from {linear['early']} points over epochs 1 to 5 to {linear['late']} over" in claims
    assert f"ahead of κ = 1 by {linear['early'][1:]} points (one seed)" in claims


def test_the_share_of_positives_at_kappa_one():
    rows = evaluations("kappa1", "kappa10", "kappa20")
    last = rows[rows.epoch >= 52].groupby("run").nn_positive.mean()
    assert last.round(1).to_dict() == {"kappa1": 0.4, "kappa10": 0.8, "kappa20": 0.8}
    assert "at κ = 1 it ends at 0.4." in prose_of("03", "late-03-g")


def test_what_is_said_of_methods_with_one_seed_is_what_it_has():
    """Beside their distances to ours in the paper's table."""
    paper = pd.read_csv(ROOT / "reports/paper_table1.csv").set_index(["dataset", "method"])
    tops = paper.loc["CIFAR-10", ["linear_top1", "knn_top1"]]
    results = RESULTS.read_text("utf-8").replace("\n", " ")
    numbers = kept_numbers()
    contrasts = {
        "VICReg": ("VICReg less ours", 1),
        "Barlow Twins": ("Barlow Twins less ours", 1),
        "BYOL": ("ours less BYOL", -1),
        "DINO": ("DINO less ours, no verdict:", 1),
    }
    above = []
    for name, (words, sign) in contrasts.items():
        apart = []
        for measure in MEASURES:
            row = numbers.loc["5b", f"{words}, {measure}, difference"]
            assert row.seeds == 1
            apart.append(f"{sign * row['mean']:+.1f}".replace("-", "−"))
        of_paper = tops.loc[name] - tops.loc["Ours"]
        sides = ["above" if points > 0 else "below" for points in of_paper]
        linear, knn = (f"{points:.1f}" for points in of_paper.abs())
        if len(set(sides)) == 1:
            papers = f"{linear} and {knn} {sides[0]}"
        else:
            papers = f"{linear} {sides[0]} and {knn} {sides[1]}"
        told = f"{name} {' and '.join(apart)} (the paper: {papers})"
        assert told in prose_of("08", "late-08-e") and told in results
        supervised = numbers.loc["5c", f"less {name}, linear, difference"]
        above.append(f"{supervised['mean']:.1f}")
    told = f"and {', '.join(above[:3])} and {above[3]} above"
    assert told in prose_of("08", "d08-paper")


def test_what_is_said_of_the_factorial_is_what_its_finished_seeds_have():
    table = pd.read_csv(ROOT / "reports/verdicts/effects.csv")
    mean = table.set_index(["series", "measure", "effect"])["mean"]
    seeds = ["", "one seed", "two seeds", "three seeds"][table.seeds.min()]
    prose = prose_of("08", "late-08-j")
    results = RESULTS.read_text("utf-8").replace("\n", " ")
    assert f"With {seeds} of three nothing" in prose and f"with {seeds} of three" in results
    assert f"With {seeds}" in prose_of("08", "late-08-i").replace("with", "With")

    def signed(points: float) -> str:
        return f"{points:+.1f}".replace("-", "−")

    def both(series: str, effect: str) -> str:
        return " and ".join(signed(mean[series, measure, effect]) for measure in MEASURES)

    assert f"κ = 10 adds {both('equal epochs', 'kappa')} points" in prose
    assert f"DINO's recipe {both('equal epochs', 'recipe')}" in prose
    assert f"six more views {both('equal epochs', 'views')}." in prose
    assert f"they change it by {both('equal compute', 'views')}." in prose
    largest = mean[mean.index.get_level_values("effect").str.contains("×")].abs().max()
    (within,) = re.findall(r"differences\) are within ([\d.]+) points", prose)
    assert float(within) - 0.1 < largest <= float(within)
    linear = [signed(mean["equal epochs", "linear", factor]) for factor in ("kappa", "recipe")]
    assert f"κ = 10 adds {linear[0]} points, DINO's recipe {linear[1]}" in results
    views = [signed(mean[kind, "linear", "views"]) for kind in ("equal epochs", "equal compute")]
    assert f"six more views {views[0]} at equal epochs, {views[1]} at equal compute" in results
    half = mean["equal epochs", "linear", "views × recipe"]  # the recipe's coded 0 and 1
    simclr, dino = (signed(mean["equal epochs", "linear", "views"] + k * half) for k in (-1, 1))
    told = f"six more views add {simclr} points with SimCLR's recipe and {dino} with DINO's"
    assert told in prose


def test_animals_and_vehicles_at_equal_accuracy_of_telling_them_apart():
    """Offsets as in claim 7; each seed's difference by the rule's own function."""
    prose = prose_of("09", "late-09-j")
    claims = prose_of("09", "cell-59")
    rows = evaluations("kappa1", "kappa10", "simclr", lines="acd")

    def paths(run: str, measure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        of_run = rows[rows.run == run]
        columns = (f"{measure}_group", f"{measure}_top1")
        return tuple(of_run.pivot(index="epoch", columns="seed", values=name) for name in columns)

    more = {}
    less = {}
    for measure in MEASURES:
        ours = paths("kappa10", measure)
        seeds = offset(ours, paths("simclr", measure))
        assert len(seeds) == 3
        more[measure] = interval_in_words(paired_interval(seeds, level=0.9))
        (apart,) = offset(paths("kappa1", measure), ours)
        less[measure] = f"{apart:.1f}"
    linear = more["linear"].replace(" ", " points ", 1)
    assert f"gets {linear} more of the ten classes" in prose
    assert f"by k-NN it is {more['knn']}, not told from zero" in prose
    assert f"{less['linear']} points less than κ = 10 by the linear head" in prose
    assert f"and {less['knn']} by k-NN." in prose
    assert f"by {linear}, and k-NN does not ({more['knn']})" in claims
