"""The plan's claims 6, 7, 9 and 10: stability, far and near classes, centroids, the factorial."""

from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LEVEL, late, shared_variance
from infomax_nb.evaluation.verdicts import equivalent, paired_interval
from pipeline.evidence import reference
from pipeline.evidence.arms import MEASURES, Arm, Arms, affordable
from pipeline.evidence.class_sets import coarser
from pipeline.evidence.finding import Finding, with_failures
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    effects,
    holm,
    judged,
)

TRAJECTORY = "all evaluations, at equal far accuracy"
REFERENCE = ".venv/bin/python -m pipeline.evidence.reference --data-root DIR"
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
            "6",
            "It trains stably",
            "failures among runs of ours with a constant β of at most 1",
            "whole runs",
            Verdict(answer, numbers),
            tuple(counted),
            "a,c,d,e",
            unit="run",
            seeds=runs,
            planned=planned,
            words=f"{failures} failures in {runs} runs; 95% limit of the rate: {limit:.0f}%",
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
    """The upper 95% limit of a rate, in percent (Clopper and Pearson 1934)."""
    if failures >= runs:
        return 100.0
    return float(100 * stats.beta.ppf(0.95, failures + 1, runs - failures))


def failed(arm: Arm, arms: Arms) -> list[int]:
    """The seeds that failed: NaN, a rank below 4 at the end, or less than raw pixels have."""
    pixels = pixels_of(arm, arms)
    bad = set(arm.failed)
    for seed in set(arm.runs) - bad:
        rank = arm.metric("effective_rank")[seed].dropna().iloc[-1]
        accuracy = late(arm.hits("knn")[seed], arm.epochs).mean()
        if rank < LEAST_RANK or accuracy < pixels:
            bad.add(seed)
    return sorted(bad)


# --- Claim 7: coarse or fine? --------------------------------------------------------------------


def coarseness(arms: Arms) -> list[Finding]:
    """Claim 7, on Imagenette's far classes and Imagewoof's near ones."""
    ten, one = arms("kappa10", "e"), arms("kappa1", "e")
    pairs = {
        "7": ("Ours is coarser than SimCLR", "κ = 10", ten, arms("simclr", "e")),
        "7b": ("Ours is coarser than supervised", "κ = 10", ten, arms("supervised", "e")),
        "7c": ("A smaller κ is coarser", "κ = 1 against κ = 10", one, ten),
    }
    findings = []
    for claim, (says, contrast, ours, theirs) in pairs.items():
        verdict = coarser(ours, theirs)
        findings.append(
            Finding(
                claim,
                says,
                f"near accuracy of the other less ours; {contrast}",
                TRAJECTORY,
                verdict,
                (ours, theirs),
                "e",
                "curves that share no far accuracy; the opposite in subtrees of Tiny-ImageNet",
                note=apart(verdict, ours, theirs),
            )
        )
    return findings


def apart(verdict: Verdict, ours: Arm, theirs: Arm) -> str:
    """How many seeds' curves share no far accuracy, as text; empty if all do."""
    if verdict.numbers.empty:
        return ""
    seeds = set(ours.evaluated) & set(theirs.evaluated)
    none = int(len(seeds) - verdict.numbers.seeds.min())
    return f"curves of {none} of {len(seeds)} seeds share no far accuracy" if none else ""


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
            "9",
            "The most intense square of centroids is the dogs'",
            "mean cosine among breeds less that among far classes; ours less untrained",
            "epoch 70",
            judged(interval, margin=0.0),
            (ours,),
            "e",
            seeds=len(differences),
            digits=3,
            measured=(REFERENCE,),
        )
    ]


# --- Claim 10: where does the lead come from? ----------------------------------------------------

FACTORS = ("views", "kappa", "recipe")
CELLS = list(product((2, 8), (2, 10), ("simclr", "dino")))  # all levels of these
MARGIN = 1.0  # points


def lead(arms: Arms) -> list[Finding]:
    """Claim 10: the factorial of line f, at equal epochs and at equal compute."""
    every = tuple(cell(arms, *levels) for levels in CELLS)
    stopped = affordable(every[-1], every[0])
    when = {"epochs": "epochs 4 to 10 of 10"}
    when["compute"] = f"{when['epochs']}; of eight views the last five evaluations up to {stopped}"
    findings = []
    for letter, kind in {"": "epochs", "b": "compute"}.items():
        table = factorial(arms, kind)
        seeds = int(table.seeds.min()) if len(table) else 0
        answer = in_one_word(factor_answers(table), seeds)
        findings.append(
            Finding(
                f"10{letter}",
                "Views, κ or recipe make the difference",
                f"main effects and interactions at equal {kind}, 95% intervals",
                when[kind],
                with_failures(Verdict(answer, table), *every),
                every,
                "f",
                early=True,
                seeds=seeds,
            )
        )
    return findings


def cell(arms: Arms, views: int, kappa: int, recipe: str) -> Arm:
    """A cell of the factorial."""
    return arms(f"views{views}_kappa{kappa}_{recipe}", "f")


def cells(arms: Arms, measure: str, kind: str) -> pd.DataFrame:
    """Late accuracy, percent, by (seed, image) in each cell; empty if a cell has no run.

    At equal compute, eight views are stopped where they have cost what two have in all epochs.
    """
    values = {}
    for levels in CELLS:
        arm = cell(arms, *levels)
        if not arm.runs:
            return pd.DataFrame()
        two = cell(arms, 2, *levels[1:])
        epochs = affordable(arm, two) if kind == "compute" else arm.epochs
        values[levels] = late(arm.hits(measure), epochs)
    found = pd.DataFrame(values).dropna()
    found.columns = pd.MultiIndex.from_tuples(found.columns, names=FACTORS)
    return found


def factorial(arms: Arms, kind: str) -> pd.DataFrame:
    """Effects with 95% intervals over seeds and adjusted p-values: a row per measure and effect.

    Holm's correction is over the three main effects, and over the four interactions (docs/plan.md).
    """
    tables = {}
    for measure in MEASURES:
        found = cells(arms, measure, kind)
        if found.empty:
            return pd.DataFrame()
        by_image = effects(found.rename(columns={"simclr": 0, "dino": 1}, level="recipe"))
        rows = pd.DataFrame({name: effect(by_image[name]) for name in by_image}).T
        single = ~rows.index.str.contains("×")
        adjusted: dict[str, float] = {}
        for chosen in (single, ~single):
            adjusted |= holm(rows.p[chosen].fillna(1.0).to_dict())
        tables[measure] = rows.assign(p_holm=pd.Series(adjusted))
    return pd.concat(tables, names=["measure", "effect"])


def effect(by_image: pd.Series) -> dict[str, float]:
    """An effect's 95% interval, its two-sided p-value, and whether it is shown to be none.

    Args:
        by_image: its share of each (seed, image), in points.
    """
    of_images = by_image.unstack()
    shared = shared_variance(of_images)
    by_seed = of_images.mean(axis=1)
    interval = paired_interval(by_seed, shared=shared)
    t = abs(interval["mean"]) / interval["error"]
    none = equivalent(by_seed, MARGIN, shared) == "equivalent"
    return interval | {"p": 2 * stats.t.sf(t, interval["seeds"] - 1), "none": none}


def factor_answers(table: pd.DataFrame) -> dict[str, str]:
    """For each main effect: told from zero, shown to be none, or undecided, by both measures."""
    answers = {}
    for name in FACTORS if len(table) else ():
        rows = table.xs(name, level="effect")
        if (rows.p_holm < LEVEL).all() and rows["mean"].map(np.sign).nunique() == 1:
            answers[name] = HOLDS
        elif rows.none.astype(bool).all():
            answers[name] = FAILS
        else:
            answers[name] = UNDECIDED
    return answers


def in_one_word(answers: dict[str, str], seeds: int, planned: int = 3) -> str:
    """The answers of all factors in a line, such as `views holds, kappa undecided`."""
    if seeds < planned:
        return UNFINISHED
    return "; ".join(f"{name}: {answer}" for name, answer in answers.items())
