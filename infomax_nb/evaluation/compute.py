"""The cost of training in floating-point operations, and methods compared at equal cost."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from infomax_nb.config import TrainConfig
from infomax_nb.evaluation.intervals import by_seed, paired_interval
from infomax_nb.methods import build

ROUNDING = 1e-9  # an epoch that is affordable but for this is


def training_flops(config: TrainConfig, n_classes: int = 10) -> float:
    """Floating-point operations of the networks for each image of a training step.

    They include the backward pass; a multiplication and an addition are two. torch counts the
    matrix products and convolutions of one batch on its device without data. These are the layers
    as defined, however a CPU computes them. Views, loss, optimiser and evaluation are not counted.

    Args:
        config: names the method, the network, the views and the batch.
        n_classes: number of classes of a supervised head.
    """
    with torch.random.fork_rng(devices=[]):
        method = build(config, n_classes).train().to("meta")
    sizes = [view.size for view in method.view_specs(config.size)]
    views = [torch.empty(config.batch_size, 3, size, size, device="meta") for size in sizes]
    with FlopCounterMode(display=False) as counter:
        outputs = [x for each in method.outputs(views) for x in each if x.requires_grad]
        torch.stack([x.sum() for x in outputs]).sum().backward()
    return counter.get_total_flops() / config.batch_size


def at_equal_compute(
    metrics: pd.DataFrame, costs: dict[str, float], method: str, other: str
) -> tuple[int, np.ndarray]:
    """A method, stopped when it has cost what another costs in all epochs, or a little less.

    Args:
        metrics: rows with method, seed, epoch and linear_top1 (percent).
        costs: of an epoch, for each method, in any unit.
        method: the method that is stopped.
        other: the method that is trained to the end.

    Returns:
        The epoch at which the method is stopped, an evaluated one (0 if there is none, the last
        if all cost less), and its accuracy there less the other's at the end (seeds,), in points.
    """
    metrics = metrics.dropna(subset="linear_top1")
    last = int(metrics.epoch.max())
    affordable = last * costs[other] / costs[method] * (1 + ROUNDING)
    evaluated = metrics.epoch[(metrics.method == method) & (metrics.epoch <= affordable)]
    if evaluated.empty:
        return 0, np.array([np.nan])
    epoch = int(evaluated.max())
    stopped = by_seed(metrics, "method", epoch=epoch)[method]
    finished = by_seed(metrics, "method")[other]
    return epoch, (stopped - finished).to_numpy()


def at_equal_epochs_and_compute(
    metrics: pd.DataFrame, costs: dict[str, float], method: str, others: Iterable[str]
) -> pd.DataFrame:
    """How much a method exceeds others in both comparisons, in points.

    Args:
        metrics: as in `at_equal_compute`.
        costs: as in `at_equal_compute`.
        method: the method that is compared with each of the others.
        others: the others.

    Returns:
        Two rows for each of the others, indexed by it: `series` names the comparison, `epoch` is
        when the method is stopped, and `mean`, `low`, `high` are the mean difference over seeds
        with its 95% t interval.
    """
    ends = by_seed(metrics, "method")
    rows = []
    for other in others:
        epoch, less = at_equal_compute(metrics, costs, method, other)
        both = {
            "equal epochs": (int(metrics.epoch.max()), ends[method] - ends[other]),
            "equal compute": (epoch, less),
        }
        for kind, (stopped, differences) in both.items():
            row = {"other": other, "series": kind, "epoch": stopped}
            rows.append(row | paired_interval(differences))
    return pd.DataFrame(rows).set_index("other")
