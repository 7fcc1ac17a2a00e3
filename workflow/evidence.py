"""What two contrasts of `docs/plan.md` are computed from: the factorial of runs f, near and far classes of runs e."""

from itertools import combinations

import numpy as np
import pandas as pd


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
