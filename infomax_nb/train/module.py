"""A training step as a Lightning module: views, method, loss and optimiser."""

import pytorch_lightning as pl
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import batches
from infomax_nb.methods import Method
from infomax_nb.seeds import Use, stream
from infomax_nb.views.batch import MultiView


class PretrainModule(pl.LightningModule):
    """What Lightning calls at each step; nothing in it waits for the device.

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
        self.numbers: dict[str, torch.Tensor] = {}
        self.numbers_epoch = -1

    def train_dataloader(self):
        return EpochBatches(self)

    def configure_optimizers(self):
        lr = self.config.lr
        decay = self.config.weight_decay
        return torch.optim.AdamW(self.method.parameters(), lr=lr, weight_decay=decay, fused=True)

    def on_train_epoch_start(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, *_) -> None:
        self.method.epoch = self.current_epoch
        self.method.step = self.trainer.global_step
        self.method.steps = self.config.epochs * self.steps_per_epoch
        steps_left = self.method.steps - self.method.step
        decaying = max(1, self.config.decay_epochs * self.steps_per_epoch)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * min(1.0, steps_left / decaying)
            group["weight_decay"] = self.config.weight_decay  # a trunk's checkpoint has its own

    def training_step(self, batch, step):
        images, labels = batch
        views = self.views.make(images, self.share_of_numbers(step, len(images)))
        out = self.method(views, labels)
        self.projections = [rows.detach() for rows in out.pop("projections", [])]
        self.sums = {name: self.sums.get(name, 0) + value.detach() for name, value in out.items()}
        return out["loss"]

    def share_of_numbers(self, step: int, images: int) -> dict[str, torch.Tensor]:
        """The random numbers for the views of this process's share of a step: (V, images).

        They are drawn once an epoch. The check of the epoch is here because Lightning does not
        announce an epoch that it resumes in the middle.
        """
        config = self.config
        if self.numbers_epoch != self.current_epoch:
            self.numbers_epoch = self.current_epoch
            seed = stream(config.seed, self.current_epoch, Use.VIEWS)
            generator = torch.Generator().manual_seed(seed)
            count = self.steps_per_epoch * config.batch_size
            height, width = self.train_set.images.shape[-2:]
            self.numbers = self.views.draw(count, height, width, generator)
        first = step * config.batch_size + self.global_rank * images
        return {name: each[:, first : first + images] for name, each in self.numbers.items()}

    def on_after_backward(self) -> None:
        self.method.after_backward()

    def totals(self) -> dict[str, torch.Tensor]:
        """Sums over this epoch's steps: scalars, the mean of all processes, nats."""
        return {name: self.trainer.strategy.reduce(value) for name, value in self.sums.items()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["loop"] = {"sums": self.totals(), **self.header}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.sums = checkpoint["loop"]["sums"]


class EpochBatches:
    """What Lightning iterates over: the batches of the module's epoch, already on the device."""

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
