"""Contrasts of `docs/plan.md` that only it has: the factorial of runs f, near and far classes of runs e, branches b, c.

The other rules are in `infomax_nb/late.py`.
"""

from collections.abc import Mapping
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from infomax_nb.late import LEVEL, Verdict, answered, below, compare, late


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
    found = {}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            sign = np.prod([signs[name] for name in chosen], axis=0)
            found[" × ".join(chosen)] = 2 * (cells * sign).mean(axis=1, skipna=False)
    return pd.DataFrame(found)


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


def _branch(found: dict, collapse: bool, probe: float | None, margin: float, count: int) -> dict:
    """What `helps` asks of one of `count` branches: its p-value, and whether it is refuted."""
    if collapse:
        return {"p": 1.0, "refuted": True, "refutes_all": True}
    agrees = found["seeds"] > 1 and (probe is None or probe > 0)
    small = probe is None or probe < margin
    return {
        "p": p_value(found) if agrees else 1.0,
        "refuted": small and below(found, 1, margin),
        "refutes_all": small and below(found, 1, margin, tests=count),
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
        found = compare(settled(branch), settled(trunk), partial(late, epochs=epochs))
        collapse = beta in collapses
        asked = _branch(found, collapse, probes.get(beta), margin, len(branches))
        rows[beta] = found | asked | {"finished": collapse or found["seeds"] >= seeds}
    numbers = pd.DataFrame.from_dict(rows, orient="index")
    numbers["p_holm"] = pd.Series(holm(numbers.p.to_dict()))
    helped = numbers.p_holm < LEVEL
    finished = numbers.finished.all()
    answers = {}
    for beta, row in numbers.iterrows():
        answers[beta] = answered(row.finished, helped[beta], row.refuted)
    all_help = (numbers.p < LEVEL).all()
    answers["consistently"] = answered(finished, all_help, numbers.refutes_all.any())
    answers["somewhere"] = answered(finished, helped.any(), numbers.refuted.all())
    table = numbers.drop(columns=["refuted", "refutes_all", "finished"])
    return {name: Verdict(answer, table) for name, answer in answers.items()}


def p_value(found: Mapping, sign: int = 1) -> float:
    """That of the one-sided test whether a difference as of `compare` has this sign."""
    return float(stats.t.sf(sign * found["mean"] / found["error"], found["seeds"] - 1))


def holm(p_values: Mapping) -> dict:
    """Adjusted p-values by their names (Holm 1979): the k-th smallest of m, times m − k + 1."""
    adjusted = {}
    largest = 0.0
    for k, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - k) * p_values[name]))
        adjusted[name] = largest
    return adjusted
