"""The training loop on PyTorch Lightning, imported only when something is trained: that takes seconds."""

import logging
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch

from .config import TrainConfig, live, write_whole
from .data import ImageSet, batches, stream
from .evaluation import OnlineEvaluation
from .losses import diagnostics, mutual_information
from .methods import Method
from .views import Views


class _Batches:
    """What Lightning iterates over: an epoch's batches, already on the device."""

    def __init__(self, loop: "Loop"):
        self.loop = loop

    def __len__(self) -> int:
        return len(self.loop.train_set) // self.loop.config.batch_size

    def __iter__(self):
        # A generator, so that the epoch is looked up at the first batch: Lightning asks for the iterator of a
        # resumed run before it has restored the epoch's number.
        loop, trainer = self.loop, self.loop.trainer
        seed, size = loop.config.seed, loop.config.batch_size
        yield from batches(loop.train_set, size, seed, loop.current_epoch, trainer.global_rank, trainer.world_size)


class Loop(pl.LightningModule):
    """Views, method, loss and optimiser of one step; nothing in it waits for the device."""

    def __init__(self, config: TrainConfig, method: Method, train_set: ImageSet):
        super().__init__()
        self.config, self.method, self.train_set = config, method, train_set
        self.views = Views(method.views(train_set.images.shape[-1]))
        self.generator = torch.Generator()

    def train_dataloader(self) -> _Batches:
        return _Batches(self)

    def configure_optimizers(self):
        config = self.config
        return torch.optim.AdamW(self.method.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

    def on_train_epoch_start(self) -> None:
        self.method.epoch = self.current_epoch
        self.generator.manual_seed(stream(self.config.seed, self.current_epoch, 1 + 10 * self.global_rank))
        self.sums: dict[str, torch.Tensor] = {}

    def training_step(self, batch, _):
        images, labels = batch
        out = self.method(self.views(images, self.generator), labels)
        self.projections = [p.detach() for p in out.pop("projections", [])]
        self.sums = {name: self.sums.get(name, 0) + value.detach() for name, value in out.items()}
        return out["loss"]

    def on_after_backward(self) -> None:
        self.method.after_backward()


class Recorder(pl.callbacks.Checkpoint):
    """After each epoch: evaluate, then write checkpoint and metrics, each whole or not at all.

    The history is part of the checkpoint; a killed run that goes on writes the same `metrics.csv`.
    """

    def __init__(self, folder: Path, evaluation: OnlineEvaluation):
        self.folder, self.evaluation = folder, evaluation
        self.history: list[dict[str, float]] = []
        self.seconds: list[list[float]] = []

    def state_dict(self) -> dict:
        return {"history": self.history, "seconds": self.seconds, "evaluation": self.evaluation.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.history, self.seconds = state["history"], state["seconds"]
        self.evaluation.load_state_dict(state["evaluation"])

    def on_train_epoch_start(self, trainer, loop) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer, loop) -> None:
        config, steps = loop.config, len(loop.train_dataloader())
        row = {"epoch": trainer.current_epoch + 1} | {k: float(v) / steps for k, v in loop.sums.items()}
        if row["loss"] != row["loss"]:
            where = f"epoch {row['epoch']} of {config.name} (lr = {config.lr:g})"
            raise FloatingPointError(f"the loss became NaN in {where}; its last good epoch is kept in {self.folder}.")
        trained = time.perf_counter()
        if "h_global" in row:
            views = len(loop.projections)
            row |= mutual_information(row["h_global"], row["h_local"], views, config.batch_size * views)
            row |= diagnostics(loop.projections, loop.method.objective)
        if row["epoch"] % config.eval_every == 0 or row["epoch"] == config.epochs:
            row |= self.evaluation(loop.method.backbone, row["epoch"])
        self.history.append(row)
        self.seconds.append([round(trained - self.started, 3), round(time.perf_counter() - trained, 3)])
        if trainer.is_global_zero:
            write_whole(self.folder / "metrics.csv", lambda p: pd.DataFrame(self.history).to_csv(p, index=False))
        write_whole(self.folder / "checkpoint.ckpt", trainer.save_checkpoint)


def run(config: TrainConfig, method: Method, train: ImageSet, test: ImageSet, folder: Path) -> Recorder:
    """Train `method` for `config.epochs`, from `folder`'s checkpoint if there is one."""
    cuda = config.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    if cuda and train.images.nbytes < torch.cuda.mem_get_info()[0] / 2:
        train, test = train.to(device), test.to(device)  # else Lightning moves each batch
    method.to(device)
    labelled = train if train.labels.min() >= 0 else train[train.labels >= 0]
    evaluation = OnlineEvaluation(labelled, test, method.backbone.num_features, config.seed, device)
    recorder, checkpoint = Recorder(folder, evaluation), folder / "checkpoint.ckpt"
    options = {"accelerator": device.type, "devices": 1, "precision": "bf16-mixed" if cuda else "32-true"}
    options |= dict.fromkeys(("logger", "enable_model_summary", "use_distributed_sampler"), False)
    options["enable_progress_bar"] = live() or sys.stderr.isatty()  # a log stays quiet
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        trainer = pl.Trainer(max_epochs=config.epochs, callbacks=[recorder], **options)
        loop = Loop(config, method, train)
        trainer.fit(loop, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)
    return recorder
