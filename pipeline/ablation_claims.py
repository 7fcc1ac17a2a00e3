"""What the paper says of the projector's width, κ and β (Figures 3 to 5), and what runs showed."""

from infomax_nb.evaluation.intervals import by_seed, paired_interval
from pipeline.claim import Claim, early_evidence, links_to, metrics_of
from pipeline.evidence.finding import interval_in_words

SECOND = 2  # the epoch at which a lead would be an early one


def width() -> Claim:
    runs = by_seed(metrics_of("projector_cifar10"), "proj_dim")
    difference = paired_interval(runs[4096] - runs[128])
    return Claim(
        "Projector width does not matter",
        "Figure 3",
        "open",
        "Undecided",
        f"{interval_in_words(difference, 1)} from 128 to 4096",
        early_evidence(difference["seeds"]),
        links_to("projector_cifar10"),
    )


def large_kappa_early() -> Claim:
    runs = by_seed(metrics_of("kappa_cifar10"), "kappa")
    faster = paired_interval(runs[10] - runs[1])
    return Claim(
        "Larger κ is faster early",
        "Figure 4",
        "open",
        "Up to 10 only",
        f"{interval_in_words(faster, 1)} over κ = 1; κ = 20 adds none",
        early_evidence(faster["seeds"]),
        links_to("kappa_cifar10", "kappa_fashion_mnist"),
    )


def large_kappa_late() -> Claim:
    metrics = metrics_of("kappa_cifar10")
    longest = metrics_of("kappa_glyphs_long").epoch.max()
    return Claim(
        "Too large a κ stalls late",
        "Figure 4",
        "open",
        "Not seen",
        f"in {metrics.epoch.max()} epochs of CIFAR-10, {longest} of glyphs; 200 not run",
        early_evidence(metrics.seed.nunique()),
        links_to("kappa_cifar10", "kappa_glyphs_long"),
    )


def weak_global_term() -> Claim:
    runs = by_seed(metrics_of("beta_cifar10"), "beta")
    ends = runs.mean()
    return Claim(
        "A weaker global term helps",
        "abstract, Figure 5",
        "open",
        "Untested late",
        f"from the start β = 2 has {ends[2]:.1f}%, β = 1 {ends[1]:.1f}%",
        early_evidence(len(runs)),
        links_to("beta_cifar10", "beta_glyphs_long"),
    )


def small_weight() -> Claim:
    metrics = metrics_of("beta_cifar10")
    start = metrics[metrics.epoch == SECOND].set_index(["beta", "seed"]).linear_top1
    behind = paired_interval(start[0.1] - start[1])
    return Claim(
        "Small β leads, then lags",
        "Section 5.3, Figure 5",
        "open",
        "No lead",
        f"β = 0.1 less 1: {interval_in_words(behind, 1)} after {SECOND} epochs",
        early_evidence(behind["seeds"]),
        links_to("beta_cifar10", "beta_glyphs_long"),
    )


def most_information() -> Claim:
    runs = by_seed(metrics_of("beta_cifar10"), "beta")
    difference = paired_interval(runs[0.75] - runs[1])
    return Claim(
        "Most information isn't best",
        "Section 5.3, conclusion",
        "open",
        "Undecided",
        f"β = 0.75 less 1: {interval_in_words(difference, 1)}",
        early_evidence(difference["seeds"]),
        links_to("beta_cifar10"),
    )
