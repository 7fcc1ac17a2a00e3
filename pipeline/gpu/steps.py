"""A training step and a short run of each method, on a device against the CPU."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from infomax_nb.config import TrainConfig
from infomax_nb.device import exact
from infomax_nb.methods import build
from infomax_nb.train.fitting import fit

CLASSES = 10
TIMES_THE_CPUS = 30.0
LEAST = 1e-6  # a distance below it, as a single number may have by luck, counts as this
POINTS = 3.0
STEPS = 8  # of a run: the first ones are not recorded
ALLOWED = {1e-6: 1e-4, 1e-3: 1e-2}  # of the loss, relative, by learning rate


def step_difference(method: str, device: str, batch: int) -> tuple[float, float]:
    """How far a step is from float64, in units of the CPU's own distance in float32.

    Loss, gradients and buffers (BatchNorm's statistics, centres, the teacher's) are compared, each
    by its norm; the worst counts. What float32 does to them depends on the method, by a thousand
    times, and the CPU in float32 shows how much that is. A GPU sums in another order, and its
    convolutions may take algorithms with some ten times the rounding: thirty times is allowed. TF32
    would be off by hundreds.
    """
    config = TrainConfig(method=method, dataset="cifar10", backbone="resnet18", batch_size=batch)
    reference = _step(config, "cpu", torch.float64)
    cpu = _step(config, "cpu", torch.float32)
    made = _step(config, device, torch.float32)
    times = []
    for name, expected in reference.items():
        own = _distance(cpu[name], expected)
        times.append(_distance(made[name], expected) / max(own, LEAST))
    return _worst(times), TIMES_THE_CPUS


def _worst(differences: list[float]) -> float:
    """The largest; NaN if one of them is."""
    return float(np.max(differences))


def _distance(made: Tensor, expected: Tensor) -> float:
    return ((made - expected).norm() / expected.norm().clamp(min=1e-12)).item()


def _step(config: TrainConfig, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Loss, gradients and buffers after a step from the same weights and views, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = build(config, CLASSES).train().to(device, dtype)
        sizes = [view.size for view in method.view_specs(32)]
        shapes = [(config.batch_size, 3, size, size) for size in sizes]
        views = [torch.randn(shape).to(device, dtype) for shape in shapes]
    labels = torch.arange(config.batch_size, device=device) % CLASSES
    with exact():
        loss = method(views, labels)["loss"]
        loss.backward()
    method.after_backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    buffers = [b for b in method.buffers() if b.is_floating_point()]
    parts = {"loss": [loss.detach()], "gradients": gradients, "buffers": buffers}
    return {name: _as_one(each) for name, each in parts.items() if each}


def _as_one(tensors: list[Tensor]) -> Tensor:
    return torch.cat([each.detach().cpu().double().flatten() for each in tensors])


def run_difference(method: str, device: str, batch: int, scratch: Path) -> tuple[float, float]:
    """How far runs of eight steps are from the CPU's, in units of what is allowed.

    They are trained as any run is, in float32, with their evaluation; on CUDA a recorded step is
    replayed in the later steps. Where the learning rate is tiny, the weights stay where they were,
    and the mean loss is that of eight batches and their views: rounding changes it by less than a
    millionth, another seed by a hundredth, and a ten-thousandth is allowed. At a usual rate AdamW's
    first steps are as large for a gradient that is all rounding as for any other, so that runs
    part: one thread and two, on the CPU, by up to 0.2% in the loss. There a hundredth is allowed,
    and three points of 500 images. This finds weights that are not moved.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    differences = []
    for rate, allowed in ALLOWED.items():
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            made, expected = (_last_row(method, at, batch, rate, folder) for at in (device, "cpu"))
        differences.append(abs(made["loss"] / expected["loss"] - 1) / allowed)
        for name in ("linear_top1", "knn_top1"):
            differences.append(abs(made[name] - expected[name]) / POINTS)
    return _worst(differences), 1.0


def _last_row(method: str, device: str, batch: int, rate: float, folder: str) -> pd.Series:
    """The last row of the metrics of a run."""
    fields: dict = {
        "n_classes": CLASSES,
        "n_train": STEPS * batch,
        "batch_size": batch,
        "epochs": 1,
    }
    fields |= {"device": device, "precision": "32", "lr": rate, "runs_dir": folder}
    return fit(TrainConfig(method=method, **fields)).metrics.iloc[-1]
