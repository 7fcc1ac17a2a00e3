"""A training step as a Lightning module: views, method, loss and optimiser."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from infomax_nb.captured import RECORDERS, Captured
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import batches
from infomax_nb.device import exact
from infomax_nb.methods import Method
from infomax_nb.seeds import Use, stream
from infomax_nb.views.batch import MultiView
from infomax_nb.views.drawing import pack, unpack


class PretrainModule(pl.LightningModule):
    """What Lightning calls at each step; nothing in it waits for the device.

    On one GPU a whole step, its optimiser's included, is a CUDA graph. Elsewhere Lightning calls
    its parts.

    Args:
        config: the run's configuration, `resolved`.
        method: the networks and their loss.
        train_set: the training images, on the method's device or in files.
        header: what checkpoints say about themselves (`branches.new_header`).
    """

    def __init__(self, config: TrainConfig, method: Method, train_set: ImageSet, header: dict):
        super().__init__()
        self.config = config
        self.method = method
        self.train_set = train_set
        self.header = header
        self.steps_per_epoch = len(train_set) // config.batch_size
        self.views = MultiView(method.view_specs(train_set.images.shape[-1]))
        self.numbers = torch.empty(0)  # of the epoch's views, packed, on the method's device
        self.numbers_epoch = -1
        self.recorded_step = Captured(self._whole_step)

    def train_dataloader(self):
        return EpochBatches(self)

    @property
    def in_one(self) -> bool:
        """Whether a step is one call of `recorded_step`."""
        return self.device.type in RECORDERS and self.trainer.world_size == 1

    def configure_optimizers(self):
        options: dict = {"lr": self.config.lr, "weight_decay": self.config.weight_decay}
        weights = list(self.method.parameters())
        if weights[0].device.type in RECORDERS:
            self.lr = torch.full((), self.config.lr, device=weights[0].device)
            options |= {"lr": self.lr, "capturable": True}
        return torch.optim.AdamW(weights, fused=True, **options)

    def on_train_epoch_start(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def on_train_batch_start(self, *_) -> None:
        self.method.epoch = self.current_epoch
        self.method.step = self.trainer.global_step
        self.method.steps = self.config.epochs * self.steps_per_epoch
        self.method.begin_step()
        steps_left = self.method.steps - self.method.step
        decaying = max(1, self.config.decay_epochs * self.steps_per_epoch)
        lr = self.config.lr * min(1.0, steps_left / decaying)
        for group in self.trainer.optimizers[0].param_groups:
            if group["capturable"]:
                group["lr"] = self.lr.fill_(lr)  # a checkpoint has another tensor
            else:
                group["lr"] = lr
            group["weight_decay"] = self.config.weight_decay  # a trunk's checkpoint has its own

    def training_step(self, batch, step):
        images, labels = batch
        numbers = self.share_of_numbers(step, len(images))
        if self.in_one:
            out = dict(self.recorded_step(images, labels, numbers, key=self.method.phase))
            loss = None  # nothing is left to do for Lightning
        else:
            out = self._forward(images, labels, numbers)
            loss = out["loss"]
        self.projections = [rows.detach() for rows in out.pop("projections", [])]
        self.sums = {name: self.sums.get(name, 0) + value.detach() for name, value in out.items()}
        return loss

    def _forward(self, images: Tensor, labels: Tensor, numbers: Tensor) -> dict:
        return self.method(self.views.make(images, unpack(numbers)), labels)

    def _whole_step(self, images: Tensor, labels: Tensor, numbers: Tensor) -> dict:
        """Views, networks, losses, gradients, and the weights' change."""
        optimizer = self.trainer.optimizers[0]
        optimizer.zero_grad()
        out = self._forward(images, labels, numbers)
        with exact():  # Lightning has set autocast
            out["loss"].backward()
            self.method.after_backward()
            optimizer.step()
        projections = [rows.detach() for rows in out.pop("projections", [])]
        return {name: x.detach() for name, x in out.items()} | {"projections": projections}

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        if self.in_one:
            optimizer_closure()  # the optimiser has its step in `recorded_step`
        else:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def share_of_numbers(self, step: int, images: int) -> Tensor:
        """The random numbers for the views of this process's share of a step: (names, V, images).

        They are drawn and uploaded once an epoch. The check of the epoch is here because Lightning
        does not announce an epoch that it resumes in the middle.
        """
        config = self.config
        if self.numbers_epoch != self.current_epoch:
            self.numbers_epoch = self.current_epoch
            seed = stream(config.seed, self.current_epoch, Use.VIEWS)
            generator = torch.Generator().manual_seed(seed)
            count = self.steps_per_epoch * config.batch_size
            height, width = self.train_set.images.shape[-2:]
            drawn = self.views.draw(count, height, width, generator)
            self.numbers = pack(drawn).to(self.device)
        first = step * config.batch_size + self.global_rank * images
        return self.numbers[:, :, first : first + images].contiguous()

    def on_after_backward(self) -> None:
        self.method.after_backward()

    def totals(self) -> dict[str, torch.Tensor]:
        """Sums over this epoch's steps: scalars, the mean of all processes, in the loss's unit."""
        return {name: self.trainer.strategy.reduce(value) for name, value in self.sums.items()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["loop"] = {"sums": self.totals(), **self.header}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.sums = checkpoint["loop"]["sums"]


class EpochBatches:
    """What Lightning iterates over: the batches of the module's epoch.

    Images in memory are on the device already, images in files are pinned for it.
    """

    def __init__(self, module: PretrainModule):
        self.module = module

    def __len__(self) -> int:
        return self.module.steps_per_epoch

    def __iter__(self):
        # A generator, so that the epoch is looked up at the first batch: Lightning asks for the
        # iterator of a resumed run before it has restored the epoch's number.
        config = self.module.config
        trainer = self.module.trainer
        first = trainer.fit_loop.epoch_loop.batch_progress.current.ready  # after an interruption
        place = (trainer.current_epoch, trainer.global_rank, trainer.world_size, first)
        yield from batches(self.module.train_set, config.batch_size, config.seed, *place)
