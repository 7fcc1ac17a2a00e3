"""The rules of `docs/plan.md`, fixed before its runs: what makes a claim hold, and the contrasts
that only it has.

Tables, and what is measured on them, are those of `infomax_nb/evaluation/curves.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LEVEL, compare, differences, early, gain, late
from infomax_nb.evaluation.verdicts import equivalent, paired_interval

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Verdict:
    """`answer`: holds, does not hold, undecided or unfinished. `numbers`: a row for each test.

    The rows' columns are `paired_interval`'s, in points: a 90% interval, whose ends are the limits
    of one-sided tests at 5%.
    """

    answer: str
    numbers: pd.DataFrame


def _above(interval: Mapping, sign: int, floor: float = 0.0) -> bool:
    """Is sign · difference above `floor`, at 5%?"""
    t = stats.t.ppf(1 - LEVEL, interval["seeds"] - 1)
    return bool(sign * interval["mean"] - t * interval["error"] > floor)


def _below(interval: Mapping, sign: int, ceiling: float, tests: int = 1) -> bool:
    """Is sign · difference below `ceiling`, at 5% divided by the number of `tests`?"""
    t = stats.t.ppf(1 - LEVEL / tests, interval["seeds"] - 1)
    return bool(sign * interval["mean"] + t * interval["error"] < ceiling)


def _answer(finished: bool, shown: bool, refuted: bool) -> str:
    if not finished:
        return UNFINISHED
    if shown:
        return HOLDS
    return FAILS if refuted else UNDECIDED


# --- Claims -----------------------------------------------------------------------------------
# In all of them: margin, in points; probe, the mean difference of the converged probes after the
# last epoch, in points, None where the claim is not about that; seeds, how many are planned.


def ahead(ours, theirs, statistic=late, sign=1, margin=1.0, probe=None, seeds=3, floor=0.0):
    """Is ours above theirs (`sign` −1: below) by more than `floor` points? Returns a Verdict.

    Holds: one-sided t test at 5%, and the probe's difference agrees. Does not hold: the difference
    is shown to be less than `margin`, and the probe's is.
    """
    interval = compare(ours, theirs, statistic)
    shown = _above(interval, sign, floor) and (probe is None or sign * probe > floor)
    refuted = _below(interval, sign, margin) and (probe is None or sign * probe < margin)
    answer = _answer(interval["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": interval}).T)


def keeps_up(ours, theirs, statistic=late, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Is ours less than `margin` points below theirs? Does not hold: it is shown to be more."""
    return ahead(ours, theirs, statistic, 1, -margin, probe, seeds, floor=-margin)


def catches_up(ours, theirs, statistic=late, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Are ours and theirs equal within ± `margin` points, by `verdicts.equivalent`?

    Does not hold: the 90% interval lies outside, below or above. The probe's difference must lie
    within the margin, or on the same side.
    """
    by_seed, shared = differences(ours, theirs, statistic)
    interval = paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)
    equal = equivalent(by_seed, margin, shared)
    shown = equal == "equivalent" and (probe is None or abs(probe) < margin)
    refuted = equal == "not equivalent" and (probe is None or probe * interval["mean"] > 0)
    answer = _answer(interval["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": interval}).T)


def stalls_late(ours, theirs, epochs=60, margin=1.0, probe=None, seeds=3) -> Verdict:
    """Is ours ahead early, behind late, and gaining less over the last 20 epochs?

    Holds: all three one-sided t tests at 5% (intersection-union), and the probe has ours behind.
    Does not hold: one of the three is refuted at 5%/3: an early lead or a late lag less than
    `margin`, or a gain that is not smaller.
    """
    parts = {
        "early": compare(ours, theirs, early),
        "late": compare(ours, theirs, partial(late, epochs=epochs)),
        "gain": compare(ours, theirs, partial(gain, epochs=epochs)),
    }
    signs = {"early": 1, "late": -1, "gain": -1}
    shown = all(_above(parts[part], sign) for part, sign in signs.items())
    no_lead = _below(parts["early"], 1, margin, tests=3)
    no_lag = _below(parts["late"], -1, margin, tests=3) and (probe is None or probe > -margin)
    no_stall = _below(parts["gain"], -1, 0.0, tests=3)
    finished = min(part["seeds"] for part in parts.values()) >= seeds
    behind = probe is None or probe < 0
    answer = _answer(finished, shown and behind, no_lead or no_lag or no_stall)
    return Verdict(answer, pd.DataFrame(parts).T)


# --- Two measures -----------------------------------------------------------------------------


def agreed(linear: Verdict, knn: Verdict) -> Verdict:
    """The verdict that both measures give, the linear head's and k-NN's; else undecided."""
    numbers = pd.concat({"linear": linear.numbers, "knn": knn.numbers})
    answers = {linear.answer, knn.answer}
    if UNFINISHED in answers:
        return Verdict(UNFINISHED, numbers)
    return Verdict(answers.pop() if len(answers) == 1 else UNDECIDED, numbers)


# --- Branches ---------------------------------------------------------------------------------


def settled(branch: pd.DataFrame, start: int = 20, skip: int = 3) -> pd.DataFrame:
    """A branch's table without the `skip` epochs after its start, in which AdamW's state adapts."""
    return branch[branch.index > start + skip]


def collapsed(branch, trunk, rank, start=20, epochs=40, least=4.0) -> pd.Series:
    """Which seeds' branches collapsed? True or False for each; False while one has not finished.

    The accuracy (tables by seed) is below what the trunk had when the branch began, or the mean
    effective rank (`rank`, a table by seed, in dimensions) of the last five evaluations is below
    `least`. A run whose loss became NaN has collapsed, too; that is for the caller to say.
    """
    risen = late(branch, epochs) - late(trunk, start)
    return (risen < 0) | (late(rank, epochs) < least)


def _branch(interval: dict, collapse: bool, probe: float | None, margin: float, count: int) -> dict:
    """What `helps` asks of one of `count` branches: its p-value, and whether it is refuted."""
    if collapse:
        return {"p": 1.0, "refuted": True, "refutes_all": True}
    agrees = interval["seeds"] > 1 and (probe is None or probe > 0)
    small = probe is None or probe < margin
    return {
        "p": p_value(interval) if agrees else 1.0,
        "refuted": small and _below(interval, 1, margin),
        "refutes_all": small and _below(interval, 1, margin, tests=count),
    }


def helps(branches, trunk, collapses=(), probes=None, epochs=40, margin=1.0, seeds=3) -> dict:
    """Does weakening the global term in branches, by their β, end above the trunk's β = 1?

    branches: tables by their β. `collapses`: the β of which a seed's branch collapsed; they don't
    help. `probes`: by β.

    Returns a Verdict for each β, at 5% after Holm's correction; for `consistently`, which needs
    all of them, each at 5% (intersection-union); and for `somewhere`, which needs one after Holm.
    A β is refuted where its gain is shown to be less than `margin`; `consistently` is by one such
    β, at 5% by their number, `somewhere` by all.
    """
    probes = probes or {}
    rows = {}
    for beta, branch in branches.items():
        interval = compare(settled(branch), settled(trunk), partial(late, epochs=epochs))
        collapse = beta in collapses
        asked = _branch(interval, collapse, probes.get(beta), margin, len(branches))
        rows[beta] = interval | asked | {"finished": collapse or interval["seeds"] >= seeds}
    numbers = pd.DataFrame.from_dict(rows, orient="index")
    numbers["p_holm"] = pd.Series(holm(numbers.p.to_dict()))
    helped = numbers.p_holm < LEVEL
    finished = numbers.finished.all()
    answers = {}
    for beta, row in numbers.iterrows():
        answers[beta] = _answer(row.finished, helped[beta], row.refuted)
    all_help = (numbers.p < LEVEL).all()
    answers["consistently"] = _answer(finished, all_help, numbers.refutes_all.any())
    answers["somewhere"] = _answer(finished, helped.any(), numbers.refuted.all())
    table = numbers.drop(columns=["refuted", "refutes_all", "finished"])
    return {name: Verdict(answer, table) for name, answer in answers.items()}


def p_value(interval: Mapping, sign: int = 1) -> float:
    """That of the one-sided test whether a difference as of `compare` has this sign."""
    return float(stats.t.sf(sign * interval["mean"] / interval["error"], interval["seeds"] - 1))


def holm(p_values: Mapping) -> dict:
    """Adjusted p-values by their names (Holm 1979): the k-th smallest of m, times m − k + 1."""
    adjusted = {}
    largest = 0.0
    for k, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - k) * p_values[name]))
        adjusted[name] = largest
    return adjusted


# --- The factorial, far and near classes ------------------------------------------------------


def effects(cells: pd.DataFrame) -> pd.DataFrame:
    """Main effects and interactions of factors with two levels, a column each, a row a seed.

    cells: a statistic, rows seeds, columns a MultiIndex of every combination of levels. A main
    effect is the mean at the higher level less that at the lower; an interaction half the
    difference of two such differences, and so on (Box, Hunter, Hunter 2005). In the cells' unit.
    """
    names = cells.columns.names
    signs = {}
    for name in names:
        levels = cells.columns.get_level_values(name)
        signs[name] = np.where(levels == levels.max(), 1, -1)
    results = {}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            sign = np.prod([signs[name] for name in chosen], axis=0)
            results[" × ".join(chosen)] = 2 * (cells * sign).mean(axis=1, skipna=False)
    return pd.DataFrame(results)


def offset(ours: tuple, theirs: tuple, points: int = 50) -> pd.Series:
    """How much larger is ours' gap, far less near, at equal far accuracy? For each seed, in points.

    ours, theirs: tables by seed of the far and of the near classes' accuracies, percent. Each
    run's near accuracy is read, by linear interpolation, at far accuracies that both runs pass,
    from the epochs at which the far one was higher than ever before. NaN where no far accuracy is
    common to both. So a network that is less trained cannot pass as one that is coarser.
    """
    seeds = ours[0].columns.intersection(theirs[0].columns)
    return pd.Series({seed: _offset(ours, theirs, seed, points) for seed in seeds})


def _offset(ours: tuple, theirs: tuple, seed: int, points: int) -> float:
    paths = []
    for far, near in (ours, theirs):
        path = pd.DataFrame({"far": far[seed], "near": near[seed]}).dropna()
        paths.append(path[path.far > path.far.cummax().shift(fill_value=-1)])
    lowest = max(path.far.min() for path in paths)
    highest = min(path.far.max() for path in paths)
    if not lowest < highest:
        return np.nan
    common = np.linspace(lowest, highest, points)
    own, other = (np.interp(common, path.far, path.near) for path in paths)
    return float((other - own).mean())
