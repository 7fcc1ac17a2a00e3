"""The plan's claims 1, 2 and 5 about training curves, each with its contrast and its rule."""

from pathlib import Path

import numpy as np
import pandas as pd

from infomax_nb.evaluation.curves import early, final, gain, late
from infomax_nb.names import in_words
from pipeline.evidence.arms import (
    MEASURES,
    Arm,
    Arms,
    affordable,
    common_seeds,
    probe_difference,
    stopped_at,
)
from pipeline.evidence.finding import (
    LATE_STEPS,
    WORDS,
    Finding,
    by_both_measures,
    decided_already,
    numbers_in_words,
    steps_an_epoch,
    together,
    with_failures,
)
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNFINISHED,
    Verdict,
    agreed,
    ahead,
    catches_up,
    keeps_up,
    stall_parts,
    stalls_late,
)

WHEN_LATE = "epochs 52 to 60"
WHEN_EARLY = "epochs 1 to 5"
EARLY_EPOCHS = 5
WHEN_STALLS = "early: epochs 1 to 5; late: 52 to 60; gain: late less 32 to 40"
STALL_PARTS = {"early": "the lead early", "late": "the lag late", "gain": "the smaller gain"}


# --- Claims 1 and 2: the kernel's concentration (the paper's Figure 4) ---------------------------


def large_kappa(arms: Arms) -> list[Finding]:
    """Claim 1: a larger κ is ahead early, too large a one behind late."""
    one = arms("kappa1")
    ten = arms("kappa10")
    twenty = arms("kappa20")
    steps = {
        "κ = 10 less 1": by_both_measures(ahead, ten, one, probe=False, statistic=early),
        "κ = 20 less 10": by_both_measures(ahead, twenty, ten, probe=False, statistic=early),
    }
    return [
        Finding(
            claim="1",
            says=f"Too large a κ hinders learning later{at_a_constant_rate(arms)}",
            contrast="κ = 20 less κ = 10",
            when=WHEN_STALLS,
            verdict=by_both_measures(stalls_late, twenty, ten),
            arms=(twenty, ten),
            lines="a,c",
            note=refuted_in_words(twenty, ten),
            change="a lag that appears only after epoch 60; at κ between 10 and 20; on STL-10",
        ),
        Finding(
            claim="1b",
            says="A larger κ is faster early",
            contrast="κ = 10 less 1, κ = 20 less 10",
            when=WHEN_EARLY,
            verdict=together(steps),
            arms=(one, ten, twenty),
            lines="a,c,d",
            early=True,
            until=EARLY_EPOCHS,
            note=decided_already(steps),
        ),
    ]


def small_kappa(arms: Arms) -> list[Finding]:
    """Claim 2: a smaller κ catches up, after a slower start, and may still gain."""
    pair = (arms("kappa1"), arms("kappa10"))
    caught_up = by_both_measures(catches_up, *pair)
    gaining = by_both_measures(ahead, *pair, probe=False, statistic=gain)
    slower = by_both_measures(ahead, *pair, probe=False, statistic=early, sign=-1)
    return [
        Finding(
            claim="2",
            says=f"A smaller κ catches up{at_a_constant_rate(arms)}",
            contrast="κ = 1 less κ = 10",
            when=WHEN_LATE,
            verdict=caught_up,
            arms=pair,
            lines="a,c,d",
            change="κ = 1 still gains on κ = 10 at epoch 60: then this says “not yet”",
            note=ending_in_words(caught_up, slower, gaining),
        ),
        Finding(
            claim="2b",
            says="A smaller κ is slower at first",
            contrast="κ = 1 less κ = 10",
            when=WHEN_EARLY,
            verdict=slower,
            arms=pair,
            lines="a,c,d",
            early=True,
            until=EARLY_EPOCHS,
        ),
        Finding(
            claim="2c",
            says="A smaller κ still gains on a larger one",
            contrast="the gain of κ = 1 less that of κ = 10",
            when=f"{WHEN_LATE} less 32 to 40",
            verdict=gaining,
            arms=pair,
            lines="a,c,d",
        ),
    ]


def ending_in_words(caught_up: Verdict, slower: Verdict, gaining: Verdict) -> str:
    """What claim 2 says besides: on which side a smaller κ ends, and whether it still gains."""
    said = []
    overtakes = caught_up.answer == FAILS and caught_up.numbers["mean"].iloc[0] > 0
    if caught_up.answer == FAILS:
        said.append("it overtakes" if overtakes else "still behind")
    if slower.answer == FAILS:
        said.append("it was not slower at first, so there is nothing to catch up")
    if gaining.answer == HOLDS:
        there = overtakes or caught_up.answer == HOLDS
        words = "it still gains" if there else "not yet: it still gains"
        said.append(f"{words}, {numbers_in_words(gaining.numbers)}")
    return "; ".join(said)


def refuted_in_words(ours: Arm, theirs: Arm) -> str:
    """Which of the three parts of "leads early, stalls late" is refuted, by which measure.

    A difference of less than a point may be both, shown and refuted. Then it counts as shown.
    """
    if len(common_seeds(ours, theirs)) < len(ours.every):
        return ""
    texts = []
    probe = probe_difference(ours, theirs)
    for measure in MEASURES:
        parts = stall_parts(ours.hits(measure), theirs.hits(measure), probe=probe)
        names = [STALL_PARTS[part] for part in parts.index[parts.refuted & ~parts.shown]]
        texts += [f"{WORDS[measure]}: {' and '.join(names)}"] if names else []
    return f"refuted by {', by '.join(texts)}" if texts else ""


def at_a_constant_rate(arms: Arms) -> str:
    """What claims 1 and 2 say besides, if κ = 20 and 10 change places where the rate falls.

    That is, if by both measures the last evaluation of κ = 20 less κ = 10 has another sign in the
    runs whose learning rate goes to zero in the last ten epochs.
    """
    usual = (arms("kappa20"), arms("kappa10"))
    falling = (arms("kappa20_rate_to_zero"), arms("kappa10_rate_to_zero"))
    if not common_seeds(*usual, *falling):
        return ""
    turned = []
    for measure in MEASURES:
        twenty, ten, twenty_falling, ten_falling = (
            final(arm.accuracies(measure)) for arm in (*usual, *falling)
        )
        signs = np.sign(pd.DataFrame([twenty - ten, twenty_falling - ten_falling]).dropna(axis=1))
        turned.append(signs.nunique().gt(1).any())
    return ", at a constant rate" if all(turned) else ""


# --- Claim 5: beside other methods ---------------------------------------------------------------

SIX = ("infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino")


def methods(arms: Arms) -> list[Finding]:
    """Claim 5 (the abstract, Table 1, Figure 6, Appendix A)."""
    return [competitive(arms), order(arms), unsurpassed(arms)]


def competitive(arms: Arms) -> Finding:
    """Claim 5: ours beside SimCLR, at equal epochs and at equal compute."""
    ours = arms("kappa10")
    simclr = arms("simclr")
    reckonings = {
        "equal epochs": by_both_measures(keeps_up, ours, simclr),
        "equal compute": at_equal_compute(ours, simclr),
    }
    return Finding(
        claim="5",
        says="Competitive on CIFAR-10",
        contrast="ours less SimCLR, not more than 1 point below",
        when=f"{WHEN_LATE}; {compute_in_words(ours, simclr, arms.places.reports)}",
        verdict=together(reckonings),
        arms=(ours, simclr),
        lines="a,c",
        change="200 epochs; ResNet-18; a learning rate tuned for each method",
        passed=(affordable(ours, simclr), simclr.epochs),
    )


def order(arms: Arms) -> Finding:
    """Claim 5: the table's other rows, where the paper's two measures agree on their order."""
    ours = arms("kappa10")
    byol = arms("byol")
    above = [arms(name) for name in ("vicreg", "barlow_twins", "supervised")]
    signs = {f"{in_words(arm.name)} less ours": by_both_measures(ahead, arm, ours) for arm in above}
    signs["ours less BYOL"] = by_both_measures(ahead, ours, byol)
    verdict = together(signs)
    numbers = pd.concat([verdict.numbers, dino_alone(arms("dino"), ours)])
    return Finding(
        claim="5b",
        says="Table 1's order on CIFAR-10",
        contrast="VICReg, Barlow Twins and supervised above ours, ours above BYOL",
        when=WHEN_LATE,
        verdict=Verdict(verdict.answer, numbers),
        arms=(ours, *above, byol),
        lines="a,c,d",
        note=decided_already(signs),
    )


def unsurpassed(arms: Arms) -> Finding:
    """Claim 5: supervised training above each of six methods."""
    supervised = arms("supervised")
    others = {name: arms("kappa10" if name == "infomax" else name) for name in SIX}
    best = {
        f"less {in_words(name)}": by_both_measures(ahead, supervised, arm)
        for name, arm in others.items()
    }
    return Finding(
        claim="5c",
        says="No method surpasses supervised training",
        contrast="supervised less each of six methods",
        when=WHEN_LATE,
        verdict=together(best),
        arms=(supervised, *others.values()),
        lines="a,c,d",
        note=decided_already(best),
    )


def compute_in_words(ours: Arm, theirs: Arm, reports: Path) -> str:
    """Where ours is stopped at equal compute: by the networks' operations, by pixels, by time.

    Args:
        ours: the arm that is stopped.
        theirs: the arm whose whole training it may cost.
        reports: the folder of all results, where a benchmark has times.
    """
    stopped = affordable(ours, theirs)
    steps = stopped * steps_an_epoch(ours)
    words = f"{steps:,} steps" if steps >= LATE_STEPS else f"{steps:,} steps: early"
    by_pixels = int(theirs.epochs * theirs.pixels / ours.pixels)
    otherwise = "; ".join([f"by pixels epoch {by_pixels}", *time_in_words(theirs, reports)])
    return f"at equal compute ours at epoch {stopped} ({words}; {otherwise})"


def time_in_words(theirs: Arm, reports: Path) -> list[str]:
    """The same by a step's time on one core, if `benchmarks/late_step.py` has measured it."""
    measured = reports / "benchmarks" / "cpu_late_step.csv"
    if not measured.exists():
        return []
    shares = pd.read_csv(measured).set_index("candidate").share_of_first
    epoch = int(theirs.epochs * shares[in_words(theirs.name)])
    return [f"by time on one core epoch {epoch}"]


def at_equal_compute(ours: Arm, theirs: Arm) -> Verdict:
    """Whether ours keeps up where it has cost what theirs has, in operations of the networks."""
    if not common_seeds(ours, theirs):
        return Verdict(UNFINISHED, pd.DataFrame())
    epoch = affordable(ours, theirs)
    found = {
        measure: keeps_up(
            stopped_at(ours, epoch, measure, theirs.epochs), theirs.hits(measure), late
        )
        for measure in MEASURES
    }
    return with_failures(agreed(**found), ours, theirs)


def dino_alone(dino: Arm, ours: Arm) -> pd.DataFrame:
    """DINO less ours with its interval, which the plan asks for without a verdict."""
    numbers = by_both_measures(ahead, dino, ours).numbers
    return pd.concat({"DINO less ours, no verdict:": numbers}) if len(numbers) else numbers
