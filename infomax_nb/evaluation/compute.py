"""evaluation.compute."""

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from infomax_nb.config import TrainConfig
from infomax_nb.evaluation.verdicts import by_seed
from infomax_nb.methods import build


def training_flops(config: TrainConfig, n_classes: int = 10) -> float:
    """Floating-point operations of the networks for each image of a training step, forward and
    backward.

    torch counts matrix products and convolutions of one batch, a multiplication and an addition as
    two, on its device without data: as layers are defined, however a CPU computes them. Views,
    loss, optimiser and evaluation are not in it.
    """
    with torch.random.fork_rng():
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
    """`method` at the last epoch by which it has spent no more than `other` has in all epochs.

    metrics: rows with method, seed, epoch, linear_top1 (percent). costs: an epoch's, in any unit.

    Returns that epoch, 0 if there is none, and the accuracies' differences there (seeds,), points.
    """
    last = int(metrics.epoch.max())
    epoch = min(last, int(last * costs[other] / costs[method]))
    if epoch == 0:
        return 0, np.array([np.nan])
    spent = by_seed(metrics, "method", epoch=epoch)[method]
    return epoch, (spent - by_seed(metrics, "method")[other]).to_numpy()
