"""The paper's claims, and what this project found: the one source for README and site.

Each of our numbers is computed from `reports/` when the claim is shown, but for what notebook 10
simulates and what `make plan` estimates; the paper's come from `reports/paper_table1.csv`.
`python -m pipeline.readme` writes the table into the README.
"""

from collections import Counter

import pandas as pd
import torch

from infomax_nb.analysis import coarse as far_and_near
from infomax_nb.config import TrainConfig
from infomax_nb.evaluation.compute import at_equal_compute, training_flops
from infomax_nb.evaluation.intervals import by_seed, paired_interval
from pipeline.ablation_claims import (
    large_kappa_early,
    large_kappa_late,
    most_information,
    small_weight,
    weak_global_term,
    width,
)
from pipeline.claim import REPORTS, Claim, early_evidence, links_to, metrics_of, with_late
from pipeline.evidence.finding import interval_in_words


def claims() -> list[Claim]:
    """The claims in the order of the paper, the central one first."""
    return [
        with_late(
            coarse(),
            "7",
            says="It is coarse",
            compared="breeds, SimCLR less ours",
        ),
        imagenet100(),
        information(),
        with_late(stability(), "6"),
        with_late(
            competitive(),
            "5",
            says="Competitive",
            compared="",
            called={"linear head equal epochs": "linear head, over SimCLR"},
        ),
        lung(),
        with_late(objects(), "8", says="Focus on objects", compared=""),
        width(),
        with_late(large_kappa_early(), "1b"),
        with_late(
            large_kappa_late(), "1", says="Large κ leads, then lags", compared="κ = 20 less 10"
        ),
        with_late(weak_global_term(), "4", compared=""),
        with_late(small_weight(), "3", compared=""),
        with_late(most_information(), "4c", compared=""),
        with_late(
            centroids(),
            "9",
            says="Dogs are the most intense square",
            compared="by training? ours less untrained",
        ),
        imagenet(),
    ]


def summary(found: list[Claim]) -> str:
    """One sentence that counts how the claims stand."""
    count = Counter(claim.standing for claim in found)
    hold = "holds" if count["holds"] == 1 else "hold"
    do = "does" if count["does not hold"] == 1 else "do"
    are = "is" if count["open"] == 1 else "are"
    return (
        f"Of {len(found)} claims {count['holds']} {hold} in what was run, "
        f"{count['does not hold']} {do} not, and {count['open']} {are} open: undecided, mixed, or "
        "not tested yet."
    )


# --- The claims -------------------------------------------------------------------------------


def coarse() -> Claim:
    points = interval_in_words(_gap_over_simclr("accuracy"), 1)
    odds = interval_in_words(_gap_over_simclr("log_odds"), 2)
    return Claim(
        "It is coarse",
        "title, Section 4",
        "open",
        "Mixed",
        f"gap {points} over SimCLR's, in log-odds {odds}",
        "early, 1 seed",
        links_to("coarse_tiny_imagenet", "coarse_glyphs"),
    )


def _gap_over_simclr(value: str) -> dict[str, float]:
    """By how much our gap between far and near classes exceeds SimCLR's, over subtrees."""
    draws = pd.read_csv(REPORTS / "coarse_tiny_imagenet" / "draws.csv")
    of_knn = draws[draws.probe == "k-NN"]
    gap = far_and_near.gap(of_knn, "infomax", "simclr", "subtree", value)
    return {"mean": gap["gap"], "low": gap["low"], "high": gap["high"]}


def imagenet100() -> Claim:
    linear = _paper("IM-100", "Ours").linear_top1
    return Claim(
        "ImageNet-100's gain confirms it",
        "Section 4",
        "does not hold",
        "No",
        f"100 random classes give ≥ {_of_a_random_hundred():.1f}%, the paper has {linear:.1f}%",
        "arithmetic",
        {"notebook 09": "notebooks/09_coarse_vs_fine.ipynb"},
    )


def _of_a_random_hundred() -> float:
    """The least top-1 in percent of ImageNet-1000's network on a hundred random classes.

    A class that is among a network's first five is taken to be its fifth, any other its last.
    """
    row = _paper("IM-1000", "Ours")
    ranks = [torch.tensor([rank]) for rank in (5, 1000)]
    fifth, last = (far_and_near.expected_accuracy(rank, 1000, 100) / 100 for rank in ranks)
    right = row.linear_top1
    among_five = row.linear_top5 - right
    return right + among_five * fifth + (100 - row.linear_top5) * last


def information() -> Claim:
    return Claim(
        "Eq. 4 approximates I(X; Y)",
        "Section 3",
        "does not hold",
        "Not as written",
        r"never positive; with 1/\|P\|, of pairs, up to about 4 nats",
        "simulation",
        {"notebook 10": "notebooks/10_estimator.ipynb"},
    )


def stability() -> Claim:
    glyphs = _ends("methods_glyphs").infomax
    cifar = _ends("methods_cifar10").infomax
    return Claim(
        "It trains stably",
        "abstract",
        "open",
        "So far",
        f"seeds end at {cifar.min():.1f} to {cifar.max():.1f}% (CIFAR-10), "
        f"{glyphs.min():.0f} to {glyphs.max():.0f}% (glyphs)",
        early_evidence(len(cifar)),
        links_to("methods_cifar10", "methods_glyphs"),
    )


def competitive() -> Claim:
    metrics = metrics_of("methods_cifar10")
    costs = {name: training_flops(TrainConfig(method=name)) for name in ("infomax", "simclr")}
    _, less = at_equal_compute(metrics, costs, "infomax", "simclr")
    ends = by_seed(metrics, "method")
    ours = ends.infomax.mean()
    theirs = ends.simclr.mean()
    at_equal = interval_in_words(paired_interval(less), 1)
    return Claim(
        "Competitive on CIFAR-10",
        "Table 1",
        "open",
        "Open",
        f"{ours:.1f}%, SimCLR {theirs:.1f}%; at equal compute {at_equal}",
        early_evidence(len(less)),
        links_to("methods_cifar10"),
    )


def lung() -> Claim:
    baselines = pd.read_csv(REPORTS / "methods_lc25000" / "baselines.csv", index_col=0)
    colours = baselines.knn_top1["colour statistics, 5 neighbours"]
    return Claim(
        "98 to 100% on LC25000",
        "Table 1",
        "open",
        "Says little",
        f"colour statistics alone get {colours:.1f}%",
        "random split",
        links_to("methods_lc25000", "methods_lc25000_groups"),
    )


def objects() -> Claim:
    ratio = pd.read_csv(REPORTS / "saliency_tiny_imagenet" / "table.csv", index_col=0).ratio
    ours, untrained, centre = (
        ratio[name].split(" ")[0] for name in ("infomax", "untrained", "centre prior")
    )
    return Claim(
        "Networks focus on objects",
        "Figures 1 and 2",
        "open",
        "Not shown",
        f"{ours} × chance; untrained {untrained}, a central blob {centre}",
        "early, 1 seed",
        links_to("saliency_tiny_imagenet", "saliency_tiny_imagenet_vit"),
    )


def centroids() -> Claim:
    scores = pd.read_csv(REPORTS / "centroids_tiny_imagenet" / "scores.csv")
    rho = scores.set_index("features").rho
    return Claim(
        "Class centroids follow meaning",
        "Figure 7",
        "open",
        "Weakly",
        f"ρ with WordNet {rho.ours:.2f}, untrained {rho.untrained:.2f}",
        "early, 1 seed",
        links_to("centroids_tiny_imagenet"),
    )


def imagenet() -> Claim:
    linear = _paper("IM-1000", "Ours").linear_top1
    return Claim(
        "Lags behind on ImageNet-1000",
        "Table 1",
        "open",
        "Not run",
        f"the paper has {linear:.1f}%; about a day on one GPU, by estimate",
        "none",
        {"make plan": "docs/speed.md"},
    )


# --- Numbers ----------------------------------------------------------------------------------


def _ends(result: str) -> pd.DataFrame:
    """Linear top-1 after the last epoch, a row for each seed and a column for each method."""
    return by_seed(metrics_of(result), "method")


def _paper(dataset: str, method: str) -> pd.Series:
    """A row of the paper's Table 1."""
    table = pd.read_csv(REPORTS / "paper_table1.csv")
    rows = table[(table.dataset == dataset) & (table.method == method)]
    return rows.iloc[0]
