"""The training loop on PyTorch Lightning, imported only when something is trained: that takes
seconds."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.utilities.exceptions import SIGTERMException

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import check_data
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact, keep_memory, own_gpu
from infomax_nb.distributed import Processes
from infomax_nb.errors import ParameterError, memory_errors
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.methods import build
from infomax_nb.notebook import is_interactive
from infomax_nb.seeds import Use, stream
from infomax_nb.train import branches
from infomax_nb.train.module import PretrainModule, _Batches
from infomax_nb.train.recorder import Recorder, save_interval


class _SrunEnvironment(SLURMEnvironment):
    """The tasks of one srun, without Lightning's own ideas of what a job should look like.

    SLURM's variables say how many tasks a step has; the allocation that Lightning looks at may have
    more.
    """

    def __init__(self):
        self.auto_requeue = (
            False  # it would write checkpoints into the working folder, and read any that lie there
        )
        self.requeue_signal = signal.SIGUSR1

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """`launch.processes` has done it."""


def _trainer(
    config: TrainConfig, there: Processes, folder: Path, callback: pl.Callback, **options
) -> pl.Trainer:
    """Lightning's trainer with everything said that it would else look for in the environment."""
    for name in [name for name in os.environ if name.startswith("PL_TRAINER_")]:
        raise ParameterError(
            f"{name} = {os.environ[name]!r} in the environment changes what is trained; unset it."
        )
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
        # There is no such folder: under SLURM Lightning resumes from any hpc_ckpt_*.ckpt that it
        # finds there.
        default_root_dir=folder / "nothing",
        enable_progress_bar=is_interactive() or sys.stderr.isatty(),  # a log stays quiet
        **options,
    )

    # Lightning writes to the system's temporary folder first, where a killed process' file would
    # stay.
    trainer.strategy.checkpoint_io.save_checkpoint = lambda checkpoint, path, **_: torch.save(
        checkpoint, path
    )  # type: ignore[method-assign]
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
    """The checkpoint to go on from, the run's own or its trunk's, and the trunk; None where there
    is none.

    Raises RunError if it is another run's; ParameterError if the data set has changed since it was
    written.
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
    """Train to the last epoch, from `folder`'s checkpoint if there is one, in this process and its
    peers.

    Each process has an equal share of every batch; losses, BatchNorm (on CUDA) and views are those
    of the whole one. `seen`: the data set's fingerprint.

    Returns the method's state with `n_classes`, and what the record holds beside: processes, the
    trunk, and the seconds of all epochs, those of a trunk among them.
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
    with memory_errors("images and network were loaded", cure), torch.random.fork_rng(devices=[]):
        if cuda and train.images.nbytes + test.images.nbytes < torch.cuda.mem_get_info()[0] / 2:
            train, test = train.to(device), test.to(device)  # else Lightning moves each batch
        torch.default_generator.manual_seed(stream(config.seed, 0, Use.WEIGHTS))
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
        loop = PretrainModule(config, method, train, seen)
        loop.trunk = trunk
        try:
            # Exact where there is no autocast, and in backward passes, which run here.
            with exact(), memory_errors("training", f"use a batch_size below {config.batch_size}"):
                trainer.fit(loop, _Batches(loop), ckpt_path=saved, weights_only=True)
        except SIGTERMException:
            sys.exit(143)  # 128 + SIGTERM; Lightning's own exit would say that all is well
    weights = {k: v.detach().cpu() for k, v in method.state_dict().items()} | {
        "n_classes": len(train.classes)
    }
    seconds = (
        pd.DataFrame(recorder.seconds, columns=["train_seconds", "evaluation_seconds"])
        .sum()
        .round(1)
    )
    return weights, seconds.to_dict() | there.recorded() | ({"trunk": trunk} if trunk else {})
