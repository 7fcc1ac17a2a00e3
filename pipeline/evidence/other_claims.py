"""The plan's claims 6 to 9: stability, far and near classes, objects, centroids."""

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LEVEL, late
from infomax_nb.evaluation.intervals import paired_interval
from pipeline import objects
from pipeline.evidence import reference
from pipeline.evidence.arms import MEASURES, Arm, Arms
from pipeline.evidence.class_sets import Shared, coarser, shared_range
from pipeline.evidence.finding import WORDS, Finding, with_failures
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    judged,
)

TRAJECTORY = "at equal far accuracy"
REFERENCE = ".venv/bin/python -m pipeline.evidence.reference --data-root DIR --reports NEW"
LEAST_RANK = 4  # dimensions, below which features have collapsed

# --- Claim 6: does it train stably? --------------------------------------------------------------


def stability(arms: Arms) -> list[Finding]:
    """Claim 6: a count of the runs of ours with a constant β of at most 1."""
    counted = [arms(name) for name in ("kappa10", "kappa20", "beta0.1", "beta0.75", "kappa1")]
    counted += [arms("kappa10", "e"), arms("kappa1", "e")]
    runs = sum(len(arm.runs) for arm in counted)
    measured = all(pixels_of(arm, arms) > 0 for arm in counted)
    planned = sum(len(arm.every) for arm in counted)
    failures = sum(len(failed(arm, arms)) for arm in counted)
    limit = upper_limit(failures, runs)
    row = {"mean": failures, "low": np.nan, "high": limit, "seeds": runs}
    numbers = pd.DataFrame({f"failures in {runs} runs": row}).T
    answer = count_answer(failures, runs, planned) if measured else UNFINISHED
    return [
        Finding(
            claim="6",
            says="It trains stably",
            contrast="failures among runs of ours with a constant β of at most 1",
            when="whole runs",
            verdict=Verdict(answer, numbers),
            arms=tuple(counted),
            lines="a,c,d,e",
            unit="run",
            seeds=runs,
            planned=planned,
            words=f"{failures} failures in {runs} runs; 95% limit of the rate: {limit:.0f}%",
            scale="runs",
            note="" if measured else "raw pixels not measured yet",
            measured=(REFERENCE,),
        )
    ]


def pixels_of(arm: Arm, arms: Arms) -> float:
    """k-NN accuracy of raw pixels on an arm's data in percent; NaN if it has not been measured."""
    return reference.raw_pixels(arms.places.reports, arm.config.dataset)


def count_answer(failures: int, runs: int, planned: int) -> str:
    """The plan's answer to a number of failures."""
    if runs < planned:
        return UNFINISHED
    return {0: HOLDS, 1: UNDECIDED}.get(failures, FAILS)


def upper_limit(failures: int, runs: int) -> float:
    """The upper 95% limit of a rate, in percent (Clopper and Pearson 1934); 100 without runs."""
    if not runs:
        return 100.0
    test = stats.binomtest(failures, runs, alternative="less")
    return float(100 * test.proportion_ci(0.95, "exact").high)


def failed(arm: Arm, arms: Arms) -> list[int]:
    """The seeds that failed: NaN, a rank below 4 at the end, or less than raw pixels have."""
    pixels = pixels_of(arm, arms)
    bad = set(arm.failed)
    ranks = arm.metric("effective_rank")
    for seed in set(arm.runs) - bad:
        rank = ranks[seed].dropna().iloc[-1]
        accuracy = late(arm.hits("knn")[seed], arm.epochs).mean()
        if rank < LEAST_RANK or accuracy < pixels:
            bad.add(seed)
    return sorted(bad)


# --- Claim 7: coarse or fine? --------------------------------------------------------------------


def coarseness(arms: Arms) -> list[Finding]:
    """Claim 7, on Imagenette's far classes and Imagewoof's near ones."""
    ten = arms("kappa10", "e")
    one = arms("kappa1", "e")
    simclr = arms("simclr", "e")
    supervised = arms("supervised", "e")
    pairs = {
        "7": ("Ours is coarser than SimCLR", ("ours, κ = 10", "SimCLR"), ten, simclr),
        "7b": ("Ours is coarser than supervised", ("ours, κ = 10", "supervised"), ten, supervised),
        "7c": ("A smaller κ is coarser", ("κ = 1", "κ = 10"), one, ten),
    }
    findings = []
    for claim, (says, names, ours, theirs) in pairs.items():
        verdict = coarser(ours, theirs)
        shared = {measure: shared_range(ours, theirs, measure) for measure in MEASURES}
        findings.append(
            Finding(
                claim=claim,
                says=says,
                contrast=f"near accuracy of {names[1]} less that of {names[0]}",
                when=passed_in_words(shared, names),
                verdict=verdict,
                arms=(ours, theirs),
                lines="e",
                change="curves that share no far accuracy; the opposite in subtrees of "
                "Tiny-ImageNet",
                passed=last_passed(shared),
                note=apart(verdict, ours, theirs),
            )
        )
    return findings


def passed_in_words(shared: dict[str, Shared | None], names: tuple[str, str]) -> str:
    """Which far accuracies two arms share, and in which epochs each passes them, as text."""
    texts = []
    for measure, both in shared.items():
        if both is None:
            continue
        parts = zip(names, (both.ours, both.theirs), strict=True)
        epochs = "; ".join(f"{name}: epochs {first} to {last}" for name, (first, last) in parts)
        texts.append(f"{WORDS[measure]} {both.lowest:.0f} to {both.highest:.0f}% ({epochs})")
    return f"{TRAJECTORY}, {', '.join(texts)}" if texts else TRAJECTORY


def last_passed(shared: dict[str, Shared | None]) -> tuple[int, ...]:
    """The last epoch in which either arm passes a shared far accuracy, by either measure."""
    there = [both for both in shared.values() if both]
    if not there:
        return ()
    return max(both.ours[1] for both in there), max(both.theirs[1] for both in there)


def apart(verdict: Verdict, ours: Arm, theirs: Arm) -> str:
    """How many seeds' curves share no far accuracy, as text; empty if all do."""
    if verdict.numbers.empty:
        return ""
    seeds = set(ours.evaluated) & set(theirs.evaluated)
    none = int(len(seeds) - verdict.numbers.seeds.min())
    return f"curves of {none} of {len(seeds)} seeds share no far accuracy" if none else ""


# --- Claim 8: objects or not? --------------------------------------------------------------------


def on_objects(arms: Arms) -> list[Finding]:
    """Claim 8, on photographs with pixel masks."""
    found = objects.verdict(arms.places.reports)
    numbers = found.numbers.rename(index={"less centre prior": "less centre"})
    return [
        Finding(
            claim="8",
            says="Networks focus on the main object",
            contrast="share of Smooth Grad-CAM inside the mask; ours less an untrained network, "
            "less a centre prior",
            when="epoch 60",
            verdict=with_failures(Verdict(found.answer, numbers), arms("kappa10")),
            arms=(arms("kappa10"),),
            lines="a,c",
            change="another target, size or layer, which notebook 06 shows; photographs like those "
            "it was trained on",
            unit="network",
            seeds=int(found.numbers.seeds.min()),
            measured=(".venv/bin/python -m pipeline.objects --data-root MASKS --reports NEW",),
            note="the network is the unit, 304 photographs of animals",
        )
    ]


# --- Claim 9: the square of the dogs -------------------------------------------------------------


def dogs(arms: Arms) -> list[Finding]:
    """Claim 9: are breeds' centroids more alike than far classes', more than untrained?"""
    ours = arms("kappa10", "e")
    rows = reference.read(arms.places.reports)
    rows = rows[rows.dataset == "folder"]
    squares = rows.assign(square=rows.alike_near - rows.alike_far)
    by_network = squares.pivot_table(index="seed", columns="network", values="square")
    differences = pd.Series(dtype=float)
    if {ours.name, "untrained"} <= set(by_network):
        differences = (by_network[ours.name] - by_network.untrained).dropna()
    interval = paired_interval(differences, level=1 - 2 * LEVEL)
    return [
        Finding(
            claim="9",
            says="Training makes the dogs' square of centroids more intense",
            contrast="mean cosine among breeds less that among far classes; ours less untrained",
            when="epoch 70",
            verdict=judged(interval, margin=0.0),
            arms=(ours,),
            lines="e",
            seeds=len(differences),
            digits=3,
            scale="cosine, 90% interval",
            measured=(REFERENCE,),
        )
    ]
