"""The plan's claims 6, 7, 9 and 10: stability, far and near classes, centroids, the factorial."""

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LEVEL, late
from infomax_nb.evaluation.verdicts import equivalent, paired_interval
from pipeline.evidence import reference
from pipeline.evidence.arms import MEASURES, Arm, Arms, stopped_at
from pipeline.evidence.class_sets import coarser
from pipeline.evidence.finding import Finding
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
LEAST_RANK = 4  # dimensions, below which features have collapsed

# --- Claim 6: does it train stably? --------------------------------------------------------------


def stability(arms: Arms) -> list[Finding]:
    """Claim 6: a count of the runs of ours with a constant β of at most 1."""
    counted = [arms(name) for name in ("kappa10", "kappa20", "beta0.1", "beta0.75", "kappa1")]
    counted += [arms("kappa10", "e"), arms("kappa1", "e")]
    runs = sum(len(arm.runs) for arm in counted)
    planned = sum(len(arm.every) for arm in counted)
    failures = sum(len(failed(arm, arms)) for arm in counted)
    row = {"mean": failures, "low": np.nan, "high": upper_limit(failures, runs), "seeds": runs}
    numbers = pd.DataFrame({f"failures in {runs} runs": row}).T
    return [
        Finding(
            "6",
            "It trains stably",
            "failures among runs of ours with a constant β of at most 1",
            "whole runs",
            Verdict(count_answer(failures, runs, planned), numbers),
            (counted[0],),
            "a,c,d,e",
            unit="run",
            seeds=runs,
            planned=planned,
        )
    ]


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
    pixels = reference.raw_pixels(arms.places.reports, arm.config.dataset)
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
    rows = {
        "7": ("Ours is coarser than SimCLR", "κ = 10", ten, arms("simclr", "e")),
        "7b": ("Ours is coarser than supervised", "κ = 10", ten, arms("supervised", "e")),
        "7c": ("A smaller κ is coarser", "κ = 1 against κ = 10", one, ten),
    }
    return [
        Finding(
            claim,
            says,
            f"near accuracy of the other less ours; {contrast}",
            TRAJECTORY,
            coarser(ours, theirs),
            (ours, theirs),
            "e",
            "curves that share no far accuracy; the opposite in subtrees of Tiny-ImageNet",
        )
        for claim, (says, contrast, ours, theirs) in rows.items()
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
            "9",
            "The most intense square of centroids is the dogs'",
            "mean cosine among breeds less that among far classes; ours less untrained",
            "epoch 70",
            judged(interval, margin=0.0),
            (ours,),
            "e",
            seeds=len(differences),
        )
    ]


# --- Claim 10: where does the lead come from? ----------------------------------------------------

FACTORS = {"views": (2, 8), "kappa": (2, 10), "recipe": ("simclr", "dino")}
MARGIN = 1.0  # points


def lead(arms: Arms) -> list[Finding]:
    """Claim 10: the factorial of line f, at equal epochs and at equal compute."""
    findings = []
    for letter, kind in {"": "epochs", "b": "compute"}.items():
        table = factorial(arms, kind)
        answers = factor_answers(table)
        seeds = int(table.seeds.min()) if len(table) else 0
        findings.append(
            Finding(
                f"10{letter}",
                "Views, κ or recipe make the difference",
                f"main effects and interactions at equal {kind}",
                "epochs 4 to 10 of 10",
                Verdict(in_one_word(answers, seeds), table.xs("linear") if len(table) else table),
                (cell(arms, 8, 10, "dino"),),
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
    """Late accuracy by seed (rows) in each cell (columns), percent; empty if a cell has no run."""
    columns = pd.MultiIndex.from_product(FACTORS.values(), names=FACTORS)
    values = {}
    for levels in columns:
        arm = cell(arms, *levels)
        if not arm.runs:
            return pd.DataFrame()
        table = arm.hits(measure)
        two = cell(arms, 2, *levels[1:])
        if kind == "compute" and levels[0] > 2:
            epoch = int(two.flops() / arm.flops(1))
            table = stopped_at(arm, epoch, measure, arm.epochs)
        values[levels] = late(table, arm.epochs).groupby(level=0).mean()
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
        of_seeds = effects(found.rename(columns={"simclr": 0, "dino": 1}, level="recipe"))
        rows = pd.DataFrame({name: paired_interval(of_seeds[name]) for name in of_seeds}).T
        rows["p"] = [two_sided(of_seeds[name]) for name in of_seeds]
        single = ~rows.index.str.contains("×")
        adjusted: dict[str, float] = {}
        for chosen in (single, ~single):
            adjusted |= holm(rows.p[chosen].fillna(1.0).to_dict())
        rows["p_holm"] = pd.Series(adjusted)
        within = [equivalent(of_seeds[name], MARGIN) == "equivalent" for name in of_seeds]
        tables[measure] = rows.assign(none=within)
    return pd.concat(tables, names=["measure", "effect"])


def two_sided(differences: pd.Series) -> float:
    """The p-value of a t test that the mean of differences is not zero; NaN for one."""
    return float(stats.ttest_1samp(differences, 0).pvalue) if len(differences) > 1 else np.nan


def factor_answers(table: pd.DataFrame) -> dict[str, str]:
    """For each main effect: told from zero, shown to be none, or undecided, by both measures."""
    answers = {}
    for name in FACTORS if len(table) else ():
        rows = table.xs(name, level="effect")
        if (rows.p_holm < LEVEL).all() and rows["mean"].map(np.sign).nunique() == 1:
            answers[name] = HOLDS
        elif rows.none.all():
            answers[name] = FAILS
        else:
            answers[name] = UNDECIDED
    return answers


def in_one_word(answers: dict[str, str], seeds: int, planned: int = 3) -> str:
    """The answers of all factors in a line, such as `views holds, kappa undecided`."""
    if seeds < planned:
        return UNFINISHED
    return "; ".join(f"{name}: {answer}" for name, answer in answers.items())
