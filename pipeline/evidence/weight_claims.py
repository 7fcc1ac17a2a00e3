"""The plan's claims 3 and 4 about the weight of the local entropy, β."""

import pandas as pd

from pipeline.evidence.arms import MEASURES, Arm, Arms, common_seeds
from pipeline.evidence.finding import (
    WORDS,
    Finding,
    by_both_measures,
    either,
    in_few_words,
    numbers_in_words,
    together,
    with_failures,
)
from pipeline.evidence.late_claims import WHEN_LATE, WHEN_STALLS, refuted_in_words
from pipeline.evidence.rules import (
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    agreed,
    ahead,
    collapsed,
    helps,
    risen,
    stalls_late,
)

BRANCHES = (1.25, 1.5, 2.0)
BRANCHES_END = 40
BRANCH = "epochs 32 to 40, branches from epoch 20"


def constant_beta(arms: Arms) -> list[Finding]:
    """Claim 3: runs with a smaller constant β (the paper's Figure 5)."""
    tenth = arms("beta0.1")
    three_quarters = arms("beta0.75")
    whole = arms("kappa10")
    pairs = {"β = 0.1 less 0.75": (tenth, three_quarters), "β = 0.1 less 1": (tenth, whole)}
    stalls = {name: by_both_measures(stalls_late, *pair) for name, pair in pairs.items()}
    refuted = {name: refuted_in_words(*pair) for name, pair in pairs.items()}
    higher = {
        "β = 1 less 0.75": by_both_measures(ahead, whole, three_quarters),
        "β = 0.75 less 0.1": by_both_measures(ahead, three_quarters, tenth),
    }
    constant = (tenth, three_quarters, whole)
    return [
        Finding(
            claim="3",
            says="A smaller β leads early and gets stuck",
            contrast="β = 0.1 less 0.75 and less 1",
            when=WHEN_STALLS,
            verdict=together(stalls),
            arms=constant,
            lines="a,c",
            change="a learning rate at which β = 0.1 leads early; a lag that begins after epoch 60",
            note="; ".join(f"{name} {words}" for name, words in refuted.items() if words),
            short=f"β = 0.1 less 1: {in_few_words(stalls['β = 0.1 less 1'].numbers)}",
        ),
        Finding(
            claim="3b",
            says="A higher β ends higher",
            contrast="β = 1 less 0.75, β = 0.75 less 0.1",
            when=WHEN_LATE,
            verdict=together(higher),
            arms=constant,
            lines="a,c",
        ),
    ]


def weaker_global_term(arms: Arms) -> list[Finding]:
    """Claim 4: branches with a larger β, each less its trunk's own continuation.

    That is the abstract's headline.
    """
    trunk = arms("kappa10")
    branches = {value: arms(f"beta{value:g}_from20") for value in BRANCHES}
    every = (trunk, *branches.values())
    of_measures = {measure: helped(trunk, branches, measure) for measure in MEASURES}
    says = {
        "consistently": ("4", "Weakening the global term consistently helps"),
        "somewhere": ("4b", "Weakening it helps somewhere"),
    }
    findings = []
    for name, (claim, words) in says.items():
        verdict = agreed(**{measure: found[name] for measure, found in of_measures.items()})
        if name == "somewhere" and verdict.answer == HOLDS and not helped_by_both(of_measures):
            verdict = Verdict(UNDECIDED, verdict.numbers)
        findings.append(
            Finding(
                claim=claim,
                says=words,
                contrast="β = 1.25, 1.5 and 2 less 1",
                when=BRANCH,
                verdict=verdict,
                arms=every,
                lines="a,b,c",
                change="a gain later than 20 epochs after the branch; another epoch; small steps "
                "of β",
                until=BRANCHES_END,
                note=collapses_in_words(trunk, branches),
            )
        )
    return [*findings, not_the_maximum(findings[1].verdict, arms("beta0.75"), every)]


def not_the_maximum(somewhere: Verdict, three_quarters: Arm, every: tuple[Arm, ...]) -> Finding:
    """Claim 4: "not maximal mutual information is best", by a larger β or by a smaller one."""
    above = by_both_measures(ahead, three_quarters, every[0])
    numbers = {"somewhere": somewhere.numbers, "β = 0.75 less 1": above.numbers}
    there = {name: table for name, table in numbers.items() if len(table)}
    joined = pd.concat(there) if there else pd.DataFrame()
    parts = {"4b": somewhere, "β = 0.75, a stronger global term": above}
    holding = [name for name, part in parts.items() if part.answer == HOLDS]
    answer = either(parts.values())
    accuracies = by_both_measures(ahead, three_quarters, every[0], probe=False).numbers
    return Finding(
        claim="4c",
        says="The most mutual information is not best",
        contrast="4b, or β = 0.75 less 1",
        when=f"{BRANCH}; {WHEN_LATE}",
        verdict=Verdict(answer, joined),
        arms=(*every, three_quarters),
        lines="a,b,c",
        note=f"by {' and by '.join(holding)}" if answer == HOLDS else "",
        short=f"β = 0.75 less 1: {numbers_in_words(accuracies)}",
    )


def helped_by_both(of_measures: dict[str, dict[object, Verdict]]) -> list[float]:
    """The β that help by both measures: two that do by one measure each do not agree."""
    return [
        value
        for value in BRANCHES
        if all(found[value].answer == HOLDS for found in of_measures.values())
    ]


def helped(trunk: Arm, branches: dict[float, Arm], measure: str) -> dict[object, Verdict]:
    """The verdicts of `helps` by one measure; unfinished while a planned seed is missing.

    The trunk has no converged probe at the epoch where branches end, so that none has a say.
    """
    names = (*branches, "consistently", "somewhere")
    there = {value: arm for value, arm in branches.items() if common_seeds(trunk, arm)}
    if not there:
        return dict.fromkeys(names, Verdict(UNFINISHED, pd.DataFrame()))
    tables = {value: branch.hits(measure) for value, branch in there.items()}
    collapses = {value for value, branch in there.items() if has_collapsed(branch, trunk)}
    answers = helps(tables, trunk.hits(measure), collapses, epochs=BRANCHES_END)
    numbers = answers["somewhere"].numbers.rename(index="β = {:g}".format)
    if not all(arm.complete for arm in (trunk, *branches.values())):
        return dict.fromkeys(names, Verdict(UNFINISHED, numbers))
    return {
        name: with_failures(Verdict(found.answer, numbers), trunk, *branches.values())
        for name, found in answers.items()
    }


def collapses_in_words(trunk: Arm, branches: dict[float, Arm]) -> str:
    """Which branches have collapsed by the plan's rule, with the seeds that fell, as text."""
    texts = []
    for value, branch in branches.items():
        if not common_seeds(trunk, branch) or not has_collapsed(branch, trunk):
            continue
        fallen = []
        for measure in MEASURES:
            change = risen(branch.accuracies(measure), trunk.accuracies(measure))
            fallen += [
                f"{WORDS[measure]}, seed {seed}: −{-points:.1f} points since epoch 20"
                for seed, points in change[change < 0].items()
            ]
        details = f" ({'; '.join(fallen)})" if fallen else ""
        texts.append(f"β = {value:g} has collapsed by the plan's rule{details}")
    return "; ".join(texts)


def has_collapsed(branch: Arm, trunk: Arm) -> bool:
    """Whether some seed's branch collapsed, by either measure, its rank, or a NaN."""
    if branch.failed:
        return True
    rank = branch.metric("effective_rank")
    found = [
        collapsed(branch.accuracies(measure), trunk.accuracies(measure), rank).any()
        for measure in MEASURES
    ]
    return any(found)
