"""Training steps and evaluations on the pretended device, counted.

What is counted is the code that trains: Lightning's loop around `PretrainModule`.
"""

import logging
import warnings

import pytorch_lightning as pl
import torch
from pretend import Device
from pretended_costs import Tally
from pretended_cuda import pretending
from torch import nn

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.methods import build
from infomax_nb.train.module import PretrainModule

CLASSES = list("abcdefghij")


def pictures(n: int, size: int, seed: int = 0) -> ImageSet:
    """Random pictures (n, 3, size, size) of ten classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n) % 10, CLASSES)


class Steps(pl.Callback):
    """Begins a new tally after each step, so that fetching a batch counts for its step."""

    def __init__(self, device: Device):
        self.device = device
        self.tallies: list[Tally] = []

    def on_train_start(self, trainer, module) -> None:
        self.device.tally = Tally()

    def on_train_batch_end(self, trainer, module, *_) -> None:
        self.tallies.append(self.device.tally)
        self.device.tally = Tally()


def steps(config: TrainConfig, number: int) -> list[Tally]:
    """What each of the first steps of a run costs.

    Args:
        config: the run; its device is this one, whatever it says.
        number: of the steps.
    """
    torch.manual_seed(0)
    config = config.replace(device="cuda", epochs=1)
    with pretending() as device:
        train_set = pictures(number * config.batch_size, config.size, config.seed).to("cuda")
        module = PretrainModule(config, build(config, 10), train_set, {})
        counted = Steps(device)
        for library in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(library).setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"), exact():
            _trainer(config, counted).fit(module)
    return counted.tallies


def _trainer(config: TrainConfig, callback: pl.Callback) -> pl.Trainer:
    """As `train.trainer` makes it, without checkpoints and records."""
    nothing = ("logger", "enable_model_summary", "enable_checkpointing", "enable_progress_bar")
    return pl.Trainer(
        accelerator="cuda",
        devices=1,
        max_epochs=1,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        callbacks=[callback],
        **dict.fromkeys(nothing, False),
    )


def evaluation(backbone: nn.Module, width: int, train: ImageSet, test: ImageSet) -> Tally:
    """What the first evaluation of a network with `width` features costs."""
    with pretending() as device:
        on_device = [each.to("cuda") for each in (train, test)]
        backbone = backbone.to("cuda")
        measure = OnlineEvaluation(*on_device, width, 0, torch.device("cuda"))
        with device.tallied() as tally:
            measure(backbone, 1)
    return tally
