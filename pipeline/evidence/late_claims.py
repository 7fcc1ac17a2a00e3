"""The plan's claims 1 to 5 about training curves, each with its contrast and its rule."""

import numpy as np
import pandas as pd

from infomax_nb.evaluation.curves import early, final, gain, late
from infomax_nb.names import in_words
from pipeline.evidence.arms import MEASURES, Arm, Arms, affordable, common_seeds, stopped_at
from pipeline.evidence.finding import (
    IMAGES,
    LATE_STEPS,
    Finding,
    by_both_measures,
    either,
    numbers_in_words,
    together,
    with_failures,
)
from pipeline.evidence.rules import (
    HOLDS,
    UNFINISHED,
    Verdict,
    agreed,
    ahead,
    catches_up,
    collapsed,
    helps,
    keeps_up,
    stalls_late,
)

LATE = "epochs 52 to 60"
EARLY = "epochs 1 to 5"
EARLY_EPOCHS = 5
PARTS = "early: epochs 1 to 5; late: 52 to 60; gain: late less 32 to 40"
BRANCHES = (1.25, 1.5, 2.0)
BRANCHED_AT = 20
BRANCHES_END = 40


# --- Claims 1 and 2: the kernel's concentration -------------------------------------------------


def kappa(arms: Arms) -> list[Finding]:
    """Claims 1 and 2 (the paper's Figure 4)."""
    one, ten, twenty = arms("kappa1"), arms("kappa10"), arms("kappa20")
    steps = {
        "κ = 10 less 1": by_both_measures(ahead, ten, one, probe=False, statistic=early),
        "κ = 20 less 10": by_both_measures(ahead, twenty, ten, probe=False, statistic=early),
    }
    caught = by_both_measures(catches_up, one, ten)
    gaining = by_both_measures(ahead, one, ten, probe=False, statistic=gain)
    late_words = at_a_constant_rate(arms)
    return [
        Finding(
            "1",
            f"Too large a κ hinders learning later{late_words}",
            "κ = 20 less κ = 10",
            PARTS,
            by_both_measures(stalls_late, twenty, ten),
            (twenty, ten),
            "a,c",
            "a lag that appears only after epoch 60; at κ between 10 and 20; on STL-10",
        ),
        Finding(
            "1b",
            "A larger κ is faster early",
            "κ = 10 less 1, κ = 20 less 10",
            EARLY,
            together(steps),
            (one, ten, twenty),
            "a,c,d",
            early=True,
            until=EARLY_EPOCHS,
        ),
        Finding(
            "2",
            f"A smaller κ catches up{late_words}",
            "κ = 1 less κ = 10",
            LATE,
            caught,
            (one, ten),
            "a,c,d",
            "κ = 1 still gains on κ = 10 at epoch 60: then this says “not yet”",
            note=not_yet(gaining),
        ),
        Finding(
            "2b",
            "A smaller κ is slower at first",
            "κ = 1 less κ = 10",
            EARLY,
            by_both_measures(ahead, one, ten, probe=False, statistic=early, sign=-1),
            (one, ten),
            "a,c,d",
            early=True,
            until=EARLY_EPOCHS,
        ),
        Finding(
            "2c",
            "A smaller κ still gains on a larger one",
            "the gain of κ = 1 less that of κ = 10",
            f"{LATE} less 32 to 40",
            gaining,
            (one, ten),
            "a,c,d",
        ),
    ]


def not_yet(gaining: Verdict) -> str:
    """What claim 2 says besides, where a smaller κ still gains on a larger one at the end."""
    if gaining.answer != HOLDS:
        return ""
    return f"not yet: it still gains, {numbers_in_words(gaining.numbers)}"


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
            final(by_seed(arm, measure)) for arm in (*usual, *falling)
        )
        signs = np.sign(pd.DataFrame([twenty - ten, twenty_falling - ten_falling]).dropna(axis=1))
        turned.append(signs.nunique().gt(1).any())
    return ", at a constant rate" if all(turned) else ""


# --- Claims 3 and 4: the weight of the local entropy ---------------------------------------------


def beta(arms: Arms) -> list[Finding]:
    """Claims 3 and 4 (the abstract's headline; the paper's Figure 5)."""
    tenth, three_quarters = arms("beta0.1"), arms("beta0.75")
    whole = arms("kappa10")
    stalls = {
        "β = 0.1 less 0.75": by_both_measures(stalls_late, tenth, three_quarters),
        "β = 0.1 less 1": by_both_measures(stalls_late, tenth, whole),
    }
    higher = {
        "β = 1 less 0.75": by_both_measures(ahead, whole, three_quarters),
        "β = 0.75 less 0.1": by_both_measures(ahead, three_quarters, tenth),
    }
    constant = (tenth, three_quarters, whole)
    return [
        Finding(
            "3",
            "A smaller β leads early and gets stuck",
            "β = 0.1 less 0.75 and less 1",
            PARTS,
            together(stalls),
            constant,
            "a,c",
            "a learning rate at which β = 0.1 leads early; a lag that begins after epoch 60",
        ),
        Finding(
            "3b",
            "A higher β ends higher",
            "β = 1 less 0.75, β = 0.75 less 0.1",
            LATE,
            together(higher),
            constant,
            "a,c",
        ),
        *weaker_global_term(arms),
    ]


def weaker_global_term(arms: Arms) -> list[Finding]:
    """Claim 4: branches with a larger β, each less its trunk's own continuation."""
    trunk = arms("kappa10")
    branches = {value: arms(f"beta{value:g}_from20") for value in BRANCHES}
    every = (trunk, *branches.values())
    answers = {measure: helped(trunk, branches, measure) for measure in MEASURES}
    joint = {name: agreed(**{m: answers[m][name] for m in MEASURES}) for name in answers["knn"]}
    when = "epochs 32 to 40, branches from epoch 20"
    change = "a gain later than 20 epochs after the branch; another epoch; small steps of β"
    contrast = "β = 1.25, 1.5 and 2 less 1"
    findings = [
        Finding(
            "4",
            "Weakening the global term consistently helps",
            contrast,
            when,
            joint["consistently"],
            every,
            "a,b,c",
            change,
            until=BRANCHES_END,
        ),
        Finding(
            "4b",
            "Weakening it helps somewhere",
            contrast,
            when,
            joint["somewhere"],
            every,
            "a,b,c",
            change,
            until=BRANCHES_END,
        ),
    ]
    above = by_both_measures(ahead, arms("beta0.75"), trunk)
    numbers = {"somewhere": joint["somewhere"].numbers, "β = 0.75 less 1": above.numbers}
    there = {name: table for name, table in numbers.items() if len(table)}
    either_way = either([joint["somewhere"], above])
    not_maximal = Verdict(either_way, pd.concat(there) if there else pd.DataFrame())
    findings.append(
        Finding(
            "4c",
            "Not the maximal mutual information is best",
            "4b, or β = 0.75 less 1",
            f"{when}; {LATE}",
            not_maximal,
            (*every, arms("beta0.75")),
            "a,b,c",
        )
    )
    return findings


def helped(trunk: Arm, branches: dict[float, Arm], measure: str) -> dict[object, Verdict]:
    """The verdicts of `helps` by one measure; unfinished without numbers where no pair is there.

    The trunk has no converged probe at the epoch where branches end, so that none has a say.
    """
    names = (*branches, "consistently", "somewhere")
    if not all(common_seeds(trunk, branch) for branch in branches.values()):
        return dict.fromkeys(names, Verdict(UNFINISHED, pd.DataFrame()))
    tables = {value: branch.hits(measure) for value, branch in branches.items()}
    collapses = {value for value, branch in branches.items() if has_collapsed(branch, trunk)}
    answers = helps(tables, trunk.hits(measure), collapses, epochs=BRANCHES_END)
    verdicts = {}
    for name, found in answers.items():
        named = Verdict(found.answer, found.numbers.rename(index="β = {:g}".format))
        verdicts[name] = with_failures(named, trunk, *branches.values())
    return verdicts


def has_collapsed(branch: Arm, trunk: Arm) -> bool:
    """Whether some seed's branch collapsed, by either measure, its rank, or a NaN."""
    if branch.failed:
        return True
    rank = branch.metric("effective_rank")
    found = [
        collapsed(by_seed(branch, measure), by_seed(trunk, measure), rank).any()
        for measure in MEASURES
    ]
    return any(found)


def by_seed(arm: Arm, measure: str) -> pd.DataFrame:
    """Accuracies in percent: epochs by seed."""
    table = arm.hits(measure)
    return table.T.groupby(level=0).mean().T


# --- Claim 5: beside other methods ---------------------------------------------------------------

OTHERS = ("simclr", "vicreg", "barlow_twins", "byol", "dino")


def methods(arms: Arms) -> list[Finding]:
    """Claim 5 (the abstract, Table 1, Figure 6, Appendix A)."""
    ours, supervised = arms("kappa10"), arms("supervised")
    others = {name: arms(name) for name in OTHERS}
    simclr, vicreg, barlow, byol = (others[name] for name in OTHERS[:4])
    epochs = by_both_measures(keeps_up, ours, simclr)
    compute = at_equal_compute(ours, simclr)
    rank = {
        f"{in_words(arm.name)} less ours": by_both_measures(ahead, arm, ours)
        for arm in (vicreg, barlow, supervised)
    }
    rank["ours less BYOL"] = by_both_measures(ahead, ours, byol)
    best = {
        f"less {in_words(name)}": by_both_measures(ahead, supervised, arm)
        for name, arm in {"infomax": ours, **others}.items()
    }
    order = together(rank)
    return [
        Finding(
            "5",
            "Competitive on CIFAR-10",
            "ours less SimCLR, not more than 1 point below",
            f"{LATE}; {compute_in_words(ours, simclr)}",
            together({"equal epochs": epochs, "equal compute": compute}),
            (ours, simclr),
            "a,c",
            "200 epochs; ResNet-18; a learning rate tuned for each method",
        ),
        Finding(
            "5b",
            "Table 1's order on CIFAR-10",
            "VICReg, Barlow Twins and supervised above ours, ours above BYOL",
            LATE,
            Verdict(order.answer, pd.concat([order.numbers, dino_alone(others["dino"], ours)])),
            (ours, supervised, vicreg, barlow, byol),
            "a,c,d",
        ),
        Finding(
            "5c",
            "No method surpasses supervised training",
            "supervised less each of six methods",
            LATE,
            together(best),
            (supervised, ours, *others.values()),
            "a,c,d",
        ),
    ]


def compute_in_words(ours: Arm, theirs: Arm) -> str:
    """Where ours is stopped at equal compute, by the networks' operations and by pixels."""
    stopped = affordable(ours, theirs)
    steps = stopped * (IMAGES[ours.config.dataset] // ours.config.batch_size)
    words = f"{steps:,} steps" if steps >= LATE_STEPS else f"{steps:,} steps: early"
    by_pixels = int(theirs.epochs * theirs.pixels / ours.pixels)
    return f"at equal compute ours at epoch {stopped} ({words}; by pixels epoch {by_pixels})"


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
