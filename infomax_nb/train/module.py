"""train.module."""

import pytorch_lightning as pl
import torch

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import batches
from infomax_nb.methods import Method
from infomax_nb.seeds import Use, stream
from infomax_nb.train.record import commit
from infomax_nb.views.batch import MultiView


class _Batches:
    """What Lightning iterates over: an epoch's batches, already on the device."""

    def __init__(self, loop: "PretrainModule"):
        self.loop = loop

    def __len__(self) -> int:
        return len(self.loop.train_set) // self.loop.config.batch_size

    def __iter__(self):
        # A generator, so that the epoch is looked up at the first batch: Lightning asks for the
        # iterator of a resumed run before it has restored the epoch's number.
        loop, trainer = self.loop, self.loop.trainer
        first = (
            trainer.fit_loop.epoch_loop.batch_progress.current.ready
        )  # not 0 after an interruption
        place = (
            loop.config.seed,
            loop.current_epoch,
            trainer.global_rank,
            trainer.world_size,
            first,
        )
        yield from batches(loop.train_set, loop.config.batch_size, *place)


class PretrainModule(pl.LightningModule):
    """Views, method, loss and optimiser of one step; nothing in it waits for the device."""

    def __init__(self, config: TrainConfig, method: Method, train_set: ImageSet, seen: dict):
        super().__init__()
        self.config, self.method, self.train_set = config, method, train_set
        self.seen = seen  # the data set's fingerprint
        self.trunk: dict | None = None  # of a run with `start_from`, as its record names it
        self.commit = commit() if config.keep_epochs else ""
        self.views = MultiView(method.view_specs(train_set.images.shape[-1]))
        self.drawn: dict[str, torch.Tensor] = {}
        self.drawn_epoch = -1

    def configure_optimizers(self):
        config = self.config
        return torch.optim.AdamW(
            self.method.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def on_train_start(self) -> None:
        for group in self.trainer.optimizers[
            0
        ].param_groups:  # a trunk's checkpoint has the trunk's
            group["weight_decay"] = self.config.weight_decay

    def on_train_batch_start(self, *_) -> None:
        steps = len(_Batches(self))
        self.method.step = self.trainer.global_step
        self.method.steps = self.config.epochs * steps
        to_go = self.method.steps - self.method.step
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * min(
                1.0, to_go / max(1, self.config.decay_epochs * steps)
            )

    def on_train_epoch_start(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}

    def training_step(self, batch, step):
        images, labels = batch
        self.method.epoch = self.current_epoch
        out = self.method(self.views.make(images, self.numbers(step, len(images))), labels)
        self.projections = [p.detach() for p in out.pop("projections", [])]
        self.sums = {name: self.sums.get(name, 0) + value.detach() for name, value in out.items()}
        return out["loss"]

    def numbers(self, step: int, images: int) -> dict[str, torch.Tensor]:
        """What is random about the views of this process' share of a step's images, tensors (V,
        images); drawn once an epoch."""
        epoch, whole = self.current_epoch, self.config.batch_size
        if self.drawn_epoch != epoch:  # Lightning announces no epoch that it resumes in its midst
            generator = torch.Generator().manual_seed(stream(self.config.seed, epoch, Use.VIEWS))
            seen = len(self.train_set) // whole * whole
            height, width = self.train_set.images.shape[-2:]
            self.drawn = self.views.draw(seen, height, width, generator)
            self.drawn_epoch = epoch
        first = step * whole + self.global_rank * images
        return {name: numbers[:, first : first + images] for name, numbers in self.drawn.items()}

    def on_after_backward(self) -> None:
        self.method.after_backward()

    def totals(self) -> dict[str, torch.Tensor]:
        """What was summed over this epoch's steps: scalars, the mean of all processes, nats."""
        return {name: self.trainer.strategy.reduce(value) for name, value in self.sums.items()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        own = {"sums": self.totals(), "identity": self.config.identity(), "data": self.seen}
        checkpoint["loop"] = own | {"trunk": self.trunk, "commit": self.commit}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.sums = checkpoint["loop"]["sums"]
