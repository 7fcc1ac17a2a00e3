"""The rules of `docs/plan.md`, fixed before its runs: when a claim holds, and the plan's contrasts.

Tables and their statistics are those of `infomax_nb/evaluation/curves.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.evaluation.curves import LEVEL, compare, differences, early, gain, late
from infomax_nb.evaluation.intervals import equivalent, paired_interval

HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Verdict:
    """An `answer` (holds, does not hold, undecided or unfinished) and `numbers`, a row per test.

    The columns are those of `paired_interval`, in points. They give a 90% interval, whose ends are
    the limits of one-sided tests at 5%.
    """

    answer: str
    numbers: pd.DataFrame


def _above(interval: Mapping, sign: int, floor: float = 0.0) -> bool:
    """Whether sign · difference is above `floor`, tested at 5%."""
    t = stats.t.ppf(1 - LEVEL, interval["seeds"] - 1)
    return bool(sign * interval["mean"] - t * interval["error"] > floor)


def _below(interval: Mapping, sign: int, ceiling: float, tests: int = 1) -> bool:
    """Whether sign · difference is below `ceiling`, tested at 5% over the number of `tests`."""
    t = stats.t.ppf(1 - LEVEL / tests, interval["seeds"] - 1)
    return bool(sign * interval["mean"] + t * interval["error"] < ceiling)


def _answer(finished: bool, shown: bool, refuted: bool) -> str:
    if not finished:
        return UNFINISHED
    if shown:
        return HOLDS
    return FAILS if refuted else UNDECIDED


# --- Claims -----------------------------------------------------------------------------------
# In all of them: ours and theirs are tables of `curves.hits`, with a row for each evaluation and a
# column for each seed and image; margin is in points; probe is the mean difference of the converged
# probes after the last epoch, in points, or None if the claim is not about it; seeds is the number
# planned.


def ahead(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    statistic: Callable = late,
    sign: int = 1,
    margin: float = 1.0,
    probe: float | None = None,
    seeds: int = 3,
    floor: float = 0.0,
) -> Verdict:
    """Is ours above theirs (`sign` −1: below) by more than `floor` points? Returns a Verdict.

    It holds if a one-sided t test at 5% shows it and the probe's difference agrees. It does not
    hold if the difference is shown to be less than `margin` and the probe's is less, too.
    """
    interval = compare(ours, theirs, statistic)
    return judged(interval, sign, margin, probe, seeds, floor)


def judged(
    interval: Mapping,
    sign: int = 1,
    margin: float = 1.0,
    probe: float | None = None,
    seeds: int = 3,
    floor: float = 0.0,
) -> Verdict:
    """The verdict of `ahead` on an `interval` as `paired_interval` gives it."""
    shown = _above(interval, sign, floor) and (probe is None or sign * probe > floor)
    refuted = _below(interval, sign, margin) and (probe is None or sign * probe < margin)
    answer = _answer(interval["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": interval}).T)


def keeps_up(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    statistic: Callable = late,
    margin: float = 1.0,
    probe: float | None = None,
    seeds: int = 3,
) -> Verdict:
    """Is ours less than `margin` points below theirs? Does not hold if it is shown to be more."""
    return ahead(ours, theirs, statistic, 1, -margin, probe, seeds, floor=-margin)


def catches_up(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    statistic: Callable = late,
    margin: float = 1.0,
    probe: float | None = None,
    seeds: int = 3,
) -> Verdict:
    """Are ours and theirs equal within ± `margin` points, by `intervals.equivalent`?

    It does not hold if the 90% interval lies outside, below or above. The probe's difference must
    agree: it must lie within the margin, or on the same side.
    """
    by_seed, shared = differences(ours, theirs, statistic)
    interval = paired_interval(by_seed, level=1 - 2 * LEVEL, shared=shared)
    equal = equivalent(by_seed, margin, shared)
    shown = equal == "equivalent" and (probe is None or abs(probe) < margin)
    refuted = equal == "not equivalent" and (probe is None or probe * interval["mean"] > 0)
    answer = _answer(interval["seeds"] >= seeds, shown, refuted)
    return Verdict(answer, pd.DataFrame({"difference": interval}).T)


def stalls_late(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    epochs: int = 60,
    margin: float = 1.0,
    probe: float | None = None,
    seeds: int = 3,
) -> Verdict:
    """Is ours ahead early, behind late, and gaining less over the last 20 epochs?

    It holds if all three one-sided t tests show it at 5% (intersection-union) and the probe has
    ours behind. It does not hold if one of the three is refuted at 5%/3: the early lead or the late
    lag is less than `margin`, or the gain is not smaller.
    """
    parts = stall_parts(ours, theirs, epochs, margin, probe)
    behind = probe is None or probe < 0
    shown = parts.shown.all() and behind
    answer = _answer(parts.seeds.min() >= seeds, shown, parts.refuted.any())
    return Verdict(answer, parts.drop(columns=["shown", "refuted"]))


def stall_parts(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    epochs: int = 60,
    margin: float = 1.0,
    probe: float | None = None,
) -> pd.DataFrame:
    """The three parts of `stalls_late`: rows `early`, `late` and `gain`.

    Beside each difference with its interval stands whether the part is `shown`, at 5%, and whether
    it is `refuted`, at 5%/3.
    """
    parts = {
        "early": compare(ours, theirs, early),
        "late": compare(ours, theirs, partial(late, epochs=epochs)),
        "gain": compare(ours, theirs, partial(gain, epochs=epochs)),
    }
    signs = {"early": 1, "late": -1, "gain": -1}
    no_lag = _below(parts["late"], -1, margin, tests=3) and (probe is None or probe > -margin)
    refuted = {
        "early": _below(parts["early"], 1, margin, tests=3),
        "late": no_lag,
        "gain": _below(parts["gain"], -1, 0.0, tests=3),
    }
    shown = {part: _above(parts[part], sign) for part, sign in signs.items()}
    table = pd.DataFrame(parts).T
    return table.assign(shown=pd.Series(shown), refuted=pd.Series(refuted))


# --- Two measures -----------------------------------------------------------------------------


def agreed(linear: Verdict, knn: Verdict) -> Verdict:
    """The verdict on which both measures, the linear head and k-NN, agree; else undecided."""
    numbers = pd.concat({"linear": linear.numbers, "knn": knn.numbers})
    answers = {linear.answer, knn.answer}
    if UNFINISHED in answers:
        return Verdict(UNFINISHED, numbers)
    return Verdict(answers.pop() if len(answers) == 1 else UNDECIDED, numbers)


def joint_answer(answers: Iterable[str]) -> str:
    """The answer to several verdicts in one: holds if all do, does not hold if one does not."""
    given = set(answers)
    for decisive in (UNFINISHED, FAILS, UNDECIDED):
        if decisive in given:
            return decisive
    return HOLDS


# --- Branches ---------------------------------------------------------------------------------


def settled(branch: pd.DataFrame, start: int = 20, skip: int = 3) -> pd.DataFrame:
    """A branch's table without the first `skip` epochs, in which AdamW's state adapts."""
    return branch[branch.index > start + skip]


def risen(branch, trunk, start=20, epochs=40) -> pd.Series:
    """By how much each seed's branch ends above its trunk when the branch began, in points."""
    return late(branch, epochs) - late(trunk, start)


def collapsed(branch, trunk, rank, start=20, epochs=40, least=4.0) -> pd.Series:
    """Whether each seed's branch collapsed, as bool; False while a branch has not finished.

    A branch has collapsed if its accuracy (tables by seed) is below the trunk's when the branch
    began, or if the mean effective rank (`rank`, a table by seed, in dimensions) of the last five
    evaluations is below `least`. A run whose loss became NaN has collapsed, too, but the caller
    must say so.
    """
    return (risen(branch, trunk, start, epochs) < 0) | (late(rank, epochs) < least)


def _branch(interval: dict, collapse: bool, probe: float | None, margin: float, count: int) -> dict:
    """What `helps` needs from one of `count` branches: its p-value, and whether it is refuted."""
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
    """Does a weaker global term in branches, given by their β, end above the trunk's β = 1?

    `branches`: tables by β. `collapses`: each β for which some seed's branch collapsed; such a β
    does not help. `probes`: the probes' differences by β.

    Returns a Verdict for each β, at 5% after Holm's correction; for `consistently`, which needs
    all of them, each at 5% (intersection-union); and for `somewhere`, which needs one after Holm.
    A β is refuted if its gain is shown to be less than `margin`. `consistently` is refuted by one
    such β, at 5% divided by their number; `somewhere` is refuted by all of them.
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
    """The p-value of the one-sided test that a difference from `compare` has this sign."""
    if interval["error"] == 0:  # all seeds agree to the last image
        return 0.0 if sign * interval["mean"] > 0 else 1.0
    return float(stats.t.sf(sign * interval["mean"] / interval["error"], interval["seeds"] - 1))


def holm(p_values: Mapping) -> dict:
    """Adjusted p-values by name (Holm 1979): the k-th smallest of m is multiplied by m − k + 1."""
    adjusted = {}
    largest = 0.0
    for k, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - k) * p_values[name]))
        adjusted[name] = largest
    return adjusted


# --- The factorial, far and near classes ------------------------------------------------------


def effects(cells: pd.DataFrame) -> pd.DataFrame:
    """Main effects and interactions of two-level factors: one column each, one row per seed.

    cells: a statistic, with a row for each seed and a MultiIndex of all combinations of levels as
    columns. A main effect is the mean at the higher level less that at the lower. An interaction is
    half the difference of two such differences, and so on (Box, Hunter, Hunter 2005). All are in
    the cells' unit.
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
    """How much larger ours' gap, far less near, is at equal far accuracy, by seed, in points.

    ours, theirs: tables by seed of the far and of the near classes' accuracies, percent. Each run's
    near accuracy is read, by linear interpolation, at far accuracies that both runs pass, using the
    epochs at which the far one was higher than ever before. It is NaN if both have no far accuracy
    in common. So a network that is trained less cannot pass for a coarser one.
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
