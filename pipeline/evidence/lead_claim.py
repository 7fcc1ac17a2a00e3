"""The plan's claim 10: where ours' lead comes from, by the factorial of line f."""

from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LATE, LEVEL, late, scheduled, shared_variance
from infomax_nb.evaluation.intervals import equivalent, paired_interval
from pipeline.evidence.arms import MEASURES, Arm, Arms, affordable
from pipeline.evidence.finding import Finding, with_failures
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    effects,
    holm,
)

FACTORS = ("views", "kappa", "recipe")
CELLS = list(product((2, 8), (2, 10), ("simclr", "dino")))  # all levels of these
MARGIN = 1.0  # points
SEEDS = 3  # that the plan asks for


def lead(arms: Arms) -> list[Finding]:
    """Claim 10: the factorial of line f, at equal epochs and at equal compute."""
    every = tuple(cell(arms, *levels) for levels in CELLS)
    few_views = every[0]
    many_views = every[-1]
    stopped = affordable(many_views, few_views)
    when = {"epochs": "epochs 4 to 10 of 10"}
    last = scheduled(stopped)[-LATE:]
    when["compute"] = f"{when['epochs']}; of eight views {last[0]} to {last[-1]}"
    findings = []
    for letter, kind in {"": "epochs", "b": "compute"}.items():
        table = factorial(arms, kind)
        seeds = int(table.seeds.min()) if len(table) else 0
        answer = answers_in_words(factor_answers(table), seeds)
        findings.append(
            Finding(
                claim=f"10{letter}",
                says="Views, κ or recipe make the difference",
                contrast=f"main effects and interactions at equal {kind}, 95% intervals",
                when=when[kind],
                verdict=with_failures(Verdict(answer, table), *every),
                arms=every,
                lines="f",
                early=True,
                seeds=seeds,
                scale="points, 95% intervals",
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


def answers_in_words(answers: dict[str, str], seeds: int) -> str:
    """The answers of all factors in a line, such as `views: holds; kappa: undecided`."""
    if seeds < SEEDS:
        return UNFINISHED
    return "; ".join(f"{name}: {answer}" for name, answer in answers.items())
