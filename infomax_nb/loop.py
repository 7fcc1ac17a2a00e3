"""The training loop on PyTorch Lightning, imported only when something is trained: that takes seconds."""

import logging
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.utilities.exceptions import SIGTERMException

from . import branches
from .config import ParameterError, TrainConfig, live, save_interval, write_whole
from .data import ImageSet, batches, stream
from .device import exact, keep_memory, memory, own_gpu
from .evaluation import OnlineEvaluation
from .fingerprint import check_data
from .kernels.log_sum_exp import gathered
from .launch import Processes
from .losses import diagnostics, mutual_information
from .methods import Method, build
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
        first = trainer.fit_loop.epoch_loop.batch_progress.current.ready  # not 0 after an interruption
        place = (loop.config.seed, loop.current_epoch, trainer.global_rank, trainer.world_size, first)
        yield from batches(loop.train_set, loop.config.batch_size, *place)


class Loop(pl.LightningModule):
    """Views, method, loss and optimiser of one step; nothing in it waits for the device."""

    def __init__(self, config: TrainConfig, method: Method, train_set: ImageSet, seen: dict):
        super().__init__()
        self.config, self.method, self.train_set = config, method, train_set
        self.seen = seen  # the data set's fingerprint
        self.trunk: dict | None = None  # of a run with `start_from`, as its record names it
        self.commit = branches.commit() if config.keep_epochs else ""
        self.views = Views(method.views(train_set.images.shape[-1]))
        self.drawn: dict[str, torch.Tensor] = {}
        self.drawn_epoch = -1

    def configure_optimizers(self):
        config = self.config
        return torch.optim.AdamW(self.method.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)

    def on_train_start(self) -> None:
        for group in self.trainer.optimizers[0].param_groups:  # a trunk's checkpoint has the trunk's
            group["weight_decay"] = self.config.weight_decay

    def on_train_batch_start(self, *_) -> None:
        steps = len(_Batches(self))
        self.method.step = self.trainer.global_step
        self.method.steps = self.config.epochs * steps
        to_go = self.method.steps - self.method.step
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * min(1.0, to_go / max(1, self.config.decay_epochs * steps))

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
        """What is random about the views of this process' share of a step's images, tensors (V, images); drawn once an
        epoch."""
        epoch, whole = self.current_epoch, self.config.batch_size
        if self.drawn_epoch != epoch:  # Lightning announces no epoch that it resumes in its midst
            generator = torch.Generator().manual_seed(stream(self.config.seed, epoch, 1))
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


class Recorder(pl.callbacks.Checkpoint):
    """After each epoch: evaluate, then write the metrics and, by the clock, a checkpoint, each whole or not at all.

    A checkpoint is written after the first epoch, after each that ends `interval` seconds or more after the last one
    was written, and after the last epoch: a kill costs the epoch that it falls into, and whole ones before it only as
    far as all of them took less than the interval. The history is part of the checkpoint: `metrics.csv` may be ahead
    of it, but is cut to it when the run goes on, and ends the same.
    """

    def __init__(self, folder: Path, evaluation: OnlineEvaluation, interval: float = 60.0):
        self.folder, self.evaluation, self.interval = folder, evaluation, interval
        self.last_save = -math.inf
        self.history, self.seconds, self.started = list[dict](), list[list[float]](), time.perf_counter()

    def state_dict(self) -> dict:
        spent, evaluation = time.perf_counter() - self.started, self.evaluation.state_dict()
        return {"history": self.history, "seconds": self.seconds, "spent": spent, "evaluation": evaluation}

    def load_state_dict(self, state: dict) -> None:
        self.history, self.seconds = state["history"], state["seconds"]
        self.started = time.perf_counter() - state["spent"]  # of the epoch that was interrupted
        self.evaluation.load_state_dict(state["evaluation"])

    def on_train_start(self, trainer, loop) -> None:
        self.write_metrics(trainer)
        if self.history:  # read from a checkpoint just now
            self.last_save = time.monotonic()

    def on_train_epoch_start(self, trainer, loop) -> None:
        self.started = time.perf_counter()

    def on_exception(self, trainer, loop, exception) -> None:
        if isinstance(exception, SIGTERMException):  # raised between two steps
            self.save(trainer)

    def save(self, trainer, keep: int | None = None) -> None:
        """Write the checkpoint, or one that is kept; all processes take part, the first one writes."""
        path = branches.kept(self.folder, keep) if keep else self.folder / "checkpoint.ckpt"
        write_whole(path, trainer.save_checkpoint) if trainer.is_global_zero else trainer.save_checkpoint(path)
        self.last_save = time.monotonic()

    def write_metrics(self, trainer) -> None:
        """Write the history as `metrics.csv` and `predictions.npz`; there is none without a whole epoch."""
        path = self.folder / "metrics.csv"
        if not trainer.is_global_zero:
            return
        self.evaluation.write(self.folder / "predictions.npz")
        if self.history:
            write_whole(path, lambda p: pd.DataFrame(self.history).to_csv(p, index=False))
        else:
            path.unlink(missing_ok=True)

    def on_train_epoch_end(self, trainer, loop) -> None:
        config, steps = loop.config, trainer.num_training_batches
        row = {"epoch": trainer.current_epoch + 1} | {k: float(v) / steps for k, v in loop.totals().items()}
        for name, value in row.items():
            if not math.isfinite(value):
                _refuse_numbers(name, value, row["epoch"], config)
        if not all(v.isfinite().all() for v in loop.method.state_dict().values()):  # the last step's, not in a loss yet
            _refuse_numbers("weights", math.nan, row["epoch"], config)
        trained = time.perf_counter()
        if "h_global" in row:
            views = [gathered(p) for p in loop.projections]
            row |= mutual_information(row["h_global"], row["h_local"], len(views), config.batch_size * len(views))
            row |= diagnostics(views, loop.method.objective)
        usual = row["epoch"] % config.eval_every == 0 or row["epoch"] <= config.eval_first
        if usual or row["epoch"] == config.epochs:
            row |= self.evaluation(loop.method.backbone, row["epoch"])
        self.history.append(row)
        self.seconds.append([round(trained - self.started, 3), round(time.perf_counter() - trained, 3)])
        self.write_metrics(trainer)
        keep = row["epoch"] in (config.keep_epochs or ())
        due = keep or row["epoch"] == config.epochs or time.monotonic() - self.last_save >= self.interval
        if keep:  # first, or a run that is killed in between would go on after this epoch
            self.save(trainer, keep=row["epoch"])
        if trainer.strategy.broadcast(due):  # all processes save, or none
            self.save(trainer)


def _refuse_numbers(what: str, value: float, epoch: int, config: TrainConfig) -> NoReturn:
    became = "NaN" if math.isnan(value) else "infinite"
    raise FloatingPointError(f"the {what} became {became} in epoch {epoch} of {config.name} (lr {config.lr:g})")


class _SrunEnvironment(SLURMEnvironment):
    """The tasks of one srun, without Lightning's own ideas of what a job should look like.

    SLURM's variables say how many tasks a step has; the allocation that Lightning looks at may have more.
    """

    def __init__(self):
        self.auto_requeue = False  # it would write checkpoints into the working folder, and read any that lie there
        self.requeue_signal = signal.SIGUSR1

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """`launch.processes` has done it."""


def _trainer(config: TrainConfig, there: Processes, folder: Path, callback: pl.Callback, **options) -> pl.Trainer:
    """Lightning's trainer with everything said that it would else look for in the environment."""
    for name in [name for name in os.environ if name.startswith("PL_TRAINER_")]:
        raise ParameterError(f"{name} = {os.environ[name]!r} in the environment changes what is trained; unset it.")
    environments: dict[str, Callable] = {
        "own": LightningEnvironment,
        "torchrun": TorchElasticEnvironment,
        "srun": _SrunEnvironment,
    }
    options |= {"strategy": "ddp" if there.world > 1 else "auto", **there.recorded()}
    options |= dict.fromkeys(("logger", "enable_model_summary", "use_distributed_sampler"), False)
    trainer = pl.Trainer(
        max_epochs=config.epochs,
        callbacks=[callback],
        plugins=[environments[there.launcher]()],
        # There is no such folder: under SLURM Lightning resumes from any hpc_ckpt_*.ckpt that it finds there.
        default_root_dir=folder / "nothing",
        enable_progress_bar=live() or sys.stderr.isatty(),  # a log stays quiet
        **options,
    )

    # Lightning writes to the system's temporary folder first, where a killed process' file would stay.
    trainer.strategy.checkpoint_io.save_checkpoint = lambda checkpoint, path, **_: torch.save(checkpoint, path)  # type: ignore[method-assign]
    return trainer


@contextmanager
def _preempted_as_terminated() -> Iterator[None]:
    """SIGUSR1, which SLURM may send some time before it ends a job, does what SIGTERM does.

    Only a process' main thread can say so; in another one the signal keeps its meaning.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _begin(folder: Path, config: TrainConfig, seen: dict) -> tuple[Path | None, dict | None]:
    """The checkpoint to go on from, the run's own or its trunk's, and the trunk; None where there is none.

    Raises RunError if it is another run's; ParameterError if the data set has changed since it was written.
    """
    own = folder / "checkpoint.ckpt"
    if own.exists():
        saved = branches.read(own, config)
        check_data(folder, config, saved.get("data"), seen)
        return own, saved.get("trunk")
    return branches.trunk_of(config, seen) if config.start_from else (None, None)


def run(
    config: TrainConfig, train: ImageSet, test: ImageSet, folder: Path, there: Processes, seen: dict
) -> tuple[dict, dict]:
    """Train to the last epoch, from `folder`'s checkpoint if there is one, in this process and its peers.

    Each process has an equal share of every batch; losses, BatchNorm (on CUDA) and views are those of the whole one.
    `seen`: the data set's fingerprint.

    Returns the method's state with `n_classes`, and what the record holds beside: processes, the trunk, and the seconds
    of all epochs, those of a trunk among them.
    Raises RunError for a checkpoint that is damaged or another run's, and when memory runs out.
    """
    config = config.resolved()
    cuda = config.device == "cuda"
    if cuda:  # before the images are moved there
        there.check_devices(torch.cuda.device_count())
        torch.cuda.set_device(own_gpu())
    else:
        keep_memory()
    device = torch.device(config.device)
    cure = "take fewer images (n_train), a smaller image_size or a smaller backbone"
    with memory("images and network were loaded", cure), torch.random.fork_rng(devices=[]):
        if cuda and train.images.nbytes + test.images.nbytes < torch.cuda.mem_get_info()[0] / 2:
            train, test = train.to(device), test.to(device)  # else Lightning moves each batch
        torch.default_generator.manual_seed(stream(config.seed, 0, 2))
        method = build(config, len(train.classes)).to(device)
    labelled = train if train.labels.min() >= 0 else train[train.labels >= 0]
    evaluation = OnlineEvaluation(labelled, test, method.backbone.num_features, config.seed, device)  # type: ignore[arg-type]
    recorder = Recorder(folder, evaluation, save_interval())
    saved, trunk = _begin(folder, config, seen)
    options: dict = {"accelerator": device.type, "sync_batchnorm": cuda and there.world > 1}
    options["precision"] = "bf16-mixed" if config.precision == "bf16" else "32-true"
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), _preempted_as_terminated():
        trainer = _trainer(config, there, folder, recorder, **options)
        loop = Loop(config, method, train, seen)
        loop.trunk = trunk
        try:
            # Exact where there is no autocast, and in backward passes, which run here.
            with exact(), memory("training", f"use a batch_size below {config.batch_size}"):
                trainer.fit(loop, _Batches(loop), ckpt_path=saved, weights_only=True)
        except SIGTERMException:
            sys.exit(143)  # 128 + SIGTERM; Lightning's own exit would say that all is well
    weights = {k: v.detach().cpu() for k, v in method.state_dict().items()} | {"n_classes": len(train.classes)}
    seconds = pd.DataFrame(recorder.seconds, columns=["train_seconds", "evaluation_seconds"]).sum().round(1)
    return weights, seconds.to_dict() | there.recorded() | ({"trunk": trunk} if trunk else {})
