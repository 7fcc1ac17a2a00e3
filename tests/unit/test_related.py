"""Measures of related work: their values by other ways, and the numbers of docs/related.md."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from test_intervals import ROOT, interval, metrics, text
from torch.nn.functional import normalize

from infomax_nb.analysis import coarse
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.evaluation.compute import at_equal_compute, training_flops
from infomax_nb.evaluation.intervals import by_seed
from infomax_nb.late import evaluations, late_means
from infomax_nb.report import committed
from infomax_nb.train.budget import steps
from infomax_nb.train.run import Run
from pipeline import related
from pipeline.evidence.finding import interval_in_words

PAGE = "docs/related.md"


# --- The measures -----------------------------------------------------------------------------


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(30) % 3


@pytest.fixture
def points() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(30, 4, generator=generator), dim=1)


def test_uniformity_is_that_of_wang_and_isolas_code(points, labels, monkeypatch):
    monkeypatch.setattr(related, "AT_ONCE", 7)  # in parts of unequal size
    expected = torch.pdist(points).pow(2).mul(-2).exp().mean().log()
    found = related.pairs(points, labels)["uniformity"]
    assert found == pytest.approx(float(expected), abs=1e-5)


def test_cosines_of_a_class_and_of_two_are_those_of_all_pairs(points, labels):
    cosines: dict[bool, list[float]] = {True: [], False: []}
    for i in range(30):
        for j in range(i):
            cosines[bool(labels[i] == labels[j])].append(float(points[i] @ points[j]))
    found = related.pairs(points, labels)
    assert found["same class"] == pytest.approx(sum(cosines[True]) / len(cosines[True]), abs=1e-6)
    others = sum(cosines[False]) / len(cosines[False])
    assert found["other class"] == pytest.approx(others, abs=1e-6)


def test_one_place_is_perfectly_tolerant_and_not_uniform_at_all(labels):
    place = torch.zeros(30, 4)
    place[:, 0] = 1
    found = related.pairs(place, labels)
    assert found["same class"] == found["other class"] == pytest.approx(1)
    assert found["uniformity"] == pytest.approx(0, abs=1e-6)
    assert related.alignment(place, place) == 0
    assert related.alignment(place, -place) == 4


class Colours(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def test_alignment_is_of_two_views_of_each_image(labels):
    """Of a grey image all views have the same colours; of one that is half dark they differ."""
    grey = torch.full((30, 3, 32, 32), 200, dtype=torch.uint8)
    halved = grey.clone()
    halved[:, :, :16] = 0
    found = [
        related.measures(Colours(), ImageSet(images, labels, ["a", "b", "c"]))["alignment"]
        for images in (grey, halved)
    ]
    assert found[1] > found[0]


def test_alignment_is_the_mean_squared_distance_of_an_images_two_views(labels):
    """Views of other images are more than twice as far."""
    images = torch.zeros(30, 3, 32, 32, dtype=torch.uint8)
    for k in range(30):
        images[k, k % 3] = 200
        images[k, (k + 1) % 3, :k] = 150
    both = related.features_of_views(Colours(), images)
    first, second = (normalize(views, dim=1) for views in both)
    by_hand = [2 - 2 * float(one @ other) for one, other in zip(first, second, strict=True)]
    found = related.measures(Colours(), ImageSet(images, labels, ["a", "b", "c"]))["alignment"]
    assert found == pytest.approx(np.mean(by_hand), abs=1e-6)
    of_others = (first - second.roll(1, 0)).square().sum(1).mean()
    assert of_others > 2 * found


@pytest.mark.parametrize("arm", related.LATE_ARMS.values())
def test_three_seeds_of_an_arm_are_found_in_their_order(arm):
    runs = [Run(folder).config for folder in related.late_runs(arm)]
    assert [config.seed for config in runs] == [0, 1, 2]
    assert len({(config.method, config.kappa, config.epochs) for config in runs}) == 1


@pytest.mark.parametrize("folder", related.late_runs("kappa10") + related.late_runs("simclr"))
def test_the_late_network_is_the_one_that_its_run_kept(folder):
    late = related.late_network(folder)
    state = torch.load(folder / "backbone.pt", weights_only=True)
    for name, value in late.network.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name
    assert not late.network.training
    assert late.steps == 23_400 == 60 * math.floor(50_000 / 128)
    assert late.record == Run(folder).record


# --- The page's numbers -----------------------------------------------------------------------


def signed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


MEASURES = ["alignment", "uniformity", "same class", "other class", "difference"]


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    """The committed table, with the difference of its two columns of cosines."""
    table = committed(related.NAME)
    return table.assign(difference=table["same class"] - table["other class"])


def test_the_table_has_the_means_of_the_committed_one(measured):
    assert measured.index.unique().tolist()[1:3] == ["ours, early", "SimCLR, early"]
    for name, rows in measured.groupby(level=0, sort=False):
        mean = rows[["steps", *MEASURES]].mean()
        digits = (2, 2, 3, 3, 3)
        cells = [signed(mean[column], n) for column, n in zip(MEASURES, digits, strict=True)]
        line = [name, str(len(rows)), f"{mean.steps:,.0f}", *cells]
        assert f"| {' | '.join(line)} |" in text(PAGE)


def late_difference(measured: pd.DataFrame, column: str) -> pd.Series:
    """Ours less SimCLR, late, by seed."""
    late = measured.set_index("seed", append=True)[column]
    return late["ours, late"] - late["SimCLR, late"]


def test_ours_is_more_uniform_and_less_tolerant_than_simclr_in_the_words_of_the_page(measured):
    for column, digits in (("uniformity", 2), ("same class", 3), ("difference", 3)):
        less = late_difference(measured, column)
        assert len(less) == 3
        assert f"{signed(less.mean(), digits)} {interval(less, digits)}" in text(PAGE), column


def test_training_makes_features_less_even_and_classes_more_apart(measured):
    late = measured.loc["ours, late"]
    untrained = measured.loc["untrained (late)"]
    assert late.uniformity.min() > untrained.uniformity.max()
    ends = late_means(evaluations("kappa10", "simclr", lines="ac"), ["knn_top1"]).knn_top1
    assert round((ends["kappa10"] - ends["simclr"]).mean()) == 8
    tolerance = measured["same class"]
    said = f"({tolerance['untrained (early)']:.3f} against {tolerance['ours, early']:.3f})"
    assert said in text(PAGE)
    apart = [untrained.difference.mean(), late.difference.mean()]
    said = "{:.3f} above that of two of different classes before training, and {:.3f} after"
    assert said.format(*apart) in text("02")
    assert set(measured.loc["ours, early"].reindex(["images", "stem"])) == {5000, "small"}
    assert {*late.images, *late.stem} == {50_000, "imagenet"}


def test_every_network_was_measured_on_the_published_images():
    records = json.loads((ROOT / "reports" / related.NAME / "records.json").read_text())
    assert {record["measured_on"] for record in records} == {"CIFAR-10, lossless"}
    seeds = [record["config"]["seed"] for record in records]
    assert seeds == [0, 0, 0, *(0, 1, 2) * 3] == committed(related.NAME).seed.tolist()
    assert all(record["measured"]["commit"] for record in records)


def test_spread_rises_with_kappa_and_with_a_small_beta():
    rows = metrics("kappa_cifar10")
    ranks = by_seed(rows, "kappa", "effective_rank")
    more = ranks[10] - ranks[1]
    means = ranks.mean()
    said = f"is {means[10]:.0f} at κ = 10 and {means[1]:.0f} at κ = 1, by {more.mean():.1f}"
    assert f"{said} {interval(more)}" in text(PAGE)
    assert f"{more.mean():.1f} {interval(more)}" in text("03")
    accuracy = by_seed(rows, "kappa")
    ahead = accuracy[10] - accuracy[1]
    assert f"by {ahead.mean():.1f} points {interval(ahead)}" in text(PAGE)
    sharp = accuracy[20] - accuracy[10]
    assert f"{signed(sharp.mean(), 1)} points {interval(sharp)}" in text(PAGE)
    betas = metrics("beta_cifar10")
    ranks = by_seed(betas, "beta", "effective_rank").mean()
    ends = by_seed(betas, "beta").mean()
    assert ranks.idxmax() == 0.1
    said = f"{ranks[0.1]:.0f}, and accuracy {ends[0.1]:.1f}% where β = 1 has {ends[1]:.1f}%"
    assert said in text(PAGE)


def draws(name: str) -> pd.DataFrame:
    rows = pd.read_csv(ROOT / "reports" / name / "draws.csv")
    return rows[rows.probe == "k-NN"]


def gap(name: str, other: str, value: str = "accuracy", digits: int = 1) -> tuple[str, str]:
    found = coarse.gap(draws(name), "infomax", other, "subtree", value)
    low, high = (signed(found[end], digits) for end in ("low", "high"))
    return f"{found['gap']:.{digits}f}", f"[{low}, {high}]"


def test_coarse_or_fine():
    tiny = " points ".join(gap("coarse_tiny_imagenet", "simclr"))
    assert f"by {tiny} on Tiny-ImageNet" in text(PAGE)
    glyphs = " ".join(gap("coarse_glyphs", "simclr"))
    assert f"and {glyphs} on glyphs" in text(PAGE)
    odds = " ".join(gap("coarse_tiny_imagenet", "simclr", "log_odds", 2))
    assert f"with {odds}" in text(PAGE)
    wider = " points ".join(gap("coarse_glyphs", "untrained"))
    assert f"wider by {wider}" in text(PAGE)
    by, ends = gap("coarse_glyphs", "supervised")
    assert f"{by} points wider than its {ends}" in text(PAGE)
    assert f"by {' points '.join(gap('coarse_tiny_imagenet', 'supervised'))}" in text(PAGE)
    table = committed("coarse_glyphs")
    far, near = (table[f"k-NN, {kind}"] for kind in ("far", "near"))
    assert f"({far.infomax} and {far.untrained}%)" in text(PAGE)
    assert f"({near.infomax} and {near.untrained}%)" in text(PAGE)


def test_kappa_and_coarseness_late_in_training():
    found = pd.read_csv(ROOT / "reports/verdicts/numbers.csv", dtype={"claim": str})
    numbers = found.set_index(["claim", "what"])
    for claim in ("7", "7b", "7c"):
        for measure in ("linear", "knn"):
            words = interval_in_words(numbers.loc[claim, f"{measure}, difference"])
            assert words in text("reports/README.md")
            assert claim == "7b" or words in text(PAGE)
    square = interval_in_words(numbers.loc["9", "difference"], 3)
    assert f"ours less untrained is {square}" in text("reports/README.md")
    assert f"ours less untrained {square} in cosine" in text("07")


@pytest.mark.parametrize("method", ["l_out", "dcl", "pvc_geometric"])
def test_the_family_of_losses_on_glyphs(method):
    runs = by_seed(metrics("family_glyphs"), "method")
    less = runs[method] - runs.infomax
    assert f"{signed(less.mean(), 1)} points {interval(less)}" in text(PAGE)


def test_segmentation_by_frozen_features():
    column = committed("objects_voc")["linear segmentation, mIoU (%)"]
    ours, untrained, place = (
        column[name].split(" ")[0] for name in ("infomax", "untrained", "centre prior")
    )
    said = f"mean intersection over union of {ours}%, untrained {untrained}%"
    assert f"{said}, a cell's place alone {place}%" in text(PAGE)


def test_width_views_and_equal_compute():
    widths = by_seed(metrics("projector_cifar10"), "proj_dim")
    wide = widths[4096] - widths[128]
    assert f"{signed(wide.mean(), 1)} points {interval(wide)} by the linear head" in text(PAGE)
    rows = metrics("methods_cifar10")
    ends = by_seed(rows, "method")
    lead = ends.infomax - ends.simclr
    costs = {method: training_flops(TrainConfig(method=method)) for method in ("infomax", "simclr")}
    _, equal = at_equal_compute(rows, costs, "infomax", "simclr")
    page = " ".join(text(PAGE).split())
    said = f"by {lead.mean():.1f} points {interval(lead)} at equal epochs and by {equal.mean():.1f}"
    assert f"{said} {interval(equal)} at equal compute" in page


def test_the_lead_over_simclr_late_in_training_is_the_verdicts():
    found = pd.read_csv(ROOT / "reports/verdicts/numbers.csv", dtype={"claim": str})
    numbers = found.set_index(["claim", "what"])
    epochs, compute = (
        interval_in_words(numbers.loc["5", f"equal {by}, linear, difference"]).removeprefix("+")
        for by in ("epochs", "compute")
    )
    page = " ".join(text(PAGE).split())
    assert f"it leads by {epochs}, and by {compute} at equal compute" in page


def test_information_and_accuracy():
    rows = metrics("beta_cifar10")
    conditions = rows[rows.epoch == 10].groupby("beta")[["mi_held_out", "linear_top1"]].mean()
    assert f"ρ {conditions.corr('spearman').iloc[0, 1]:.2f}," in text(PAGE)
    information, linear, knn = (
        by_seed(rows, "beta", name) for name in ("mi_held_out", "linear_top1", "knn_top1")
    )
    nats, points, votes = (runs[1] - runs[0.5] for runs in (information, linear, knn))
    assert f"{nats.mean():.2f} nats less than β = 1 {interval(nats, 2)}" in text(PAGE)
    assert f"{points.mean():.1f} points less by the linear head {interval(points)}" in text(PAGE)
    assert f"{-votes.mean():.1f} more by k-NN {interval(-votes)}" in text(PAGE)
    last = metrics("beta_glyphs_long").query("epoch == 24").set_index("beta")
    nats = last.mi_held_out
    ends = last.linear_top1
    said = (
        f"β = 0.75 has {nats[0.75]:.2f} nats and {ends[0.75]:.1f}%, β = 1 has {nats[1.0]:.2f} and"
    )
    assert f"{said} {ends[1.0]:.1f}%" in text(PAGE)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("8.8 nats too high with 8,192 points", "8,192 points at the best κ, at D = 128"),
        ("0.51 with two, 1.00 with eight, 1.30 with thirty-two", "two views show 0.51 ± 0.02"),
        ("of 2.145 nats", "eight 1.00 (1.41), thirty-two 1.30 (1.91)"),
    ],
)
def test_simulated_numbers_are_notebook_10s(here, there):
    assert here in text(PAGE)
    assert there in text("10")
    assert "I(X;Y) = 2.145 nats" in text("10")
    assert "8.8 nats, with a noise" in text("10")


def test_contraction():
    table = pd.read_csv(ROOT / "reports" / "contraction_glyphs" / "table.csv", index_col=0)
    first, end = (row for _, row in table.iterrows())
    guess = "best constant guess"
    said = f"for {first.right} of {first.runs} runs whether they begin by contracting, where the"
    assert f"{said} {guess} gets {first[guess]}, and for {end.right} of" in text(PAGE)
    assert f"whether they end collapsed, where it gets {end[guess]} (" in text(PAGE)


def test_the_sequels_findings_beside_untrained_networks():
    saliency = committed("saliency_tiny_imagenet").ratio
    assert f"| {saliency.infomax} | {saliency.untrained} | images |" in text(PAGE)
    rho = committed("centroids_tiny_imagenet")["ρ (95% over classes)"]
    assert f"| {rho.ours} | {rho.untrained} | classes |" in text(PAGE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kappa_cifar10", "390 steps"),
        ("coarse_tiny_imagenet", "780 steps"),
        ("coarse_glyphs", "156 steps"),
        ("beta_glyphs_long", "432 steps"),
        ("contraction_glyphs", "108 steps"),
    ],
)
def test_steps_are_those_of_the_records(name, said):
    for record in json.loads((ROOT / "reports" / name / "records.json").read_text()):
        config = TrainConfig(**record["config"])
        assert f"{steps(config, record['images'])} steps" == said
    assert said in text(PAGE)
