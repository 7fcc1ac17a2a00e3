"""Training with PyTorch Lightning.

This module is imported only when something is trained, because the import takes seconds.
"""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import environments
from pytorch_lightning.utilities.exceptions import SIGTERMException

from infomax_nb.data.decoded import FOLDER, decoded_once, place
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact, keep_memory, own_gpu
from infomax_nb.errors import memory_errors
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import data_folder
from infomax_nb.methods import initial
from infomax_nb.notebook import kernel, shows_bars
from infomax_nb.train.branches import Start, find_start, new_header
from infomax_nb.train.checkpoints import CHECKPOINTS
from infomax_nb.train.job import Job
from infomax_nb.train.module import PretrainModule
from infomax_nb.train.recorder import Recorder
from infomax_nb.train.together import StepsTogether, gradients_alone


def pretrain(job: Job, session: dict) -> dict:
    """Train to the last epoch, in this process and its peers; the first one writes `model.pt`.

    It goes on from the run's own checkpoint if there is one, else from its trunk's. Each process
    has an equal share of every batch. Losses, BatchNorm (on CUDA) and views are those of the whole
    batch.

    Args:
        job: the run to train.
        session: when and where this happens (`record.session`).

    Returns:
        Entries of the record: the processes, the trunk, the seconds of all epochs; of a run that
        goes on, when it was first `started`, when it was `resumed` here, and `earlier_sessions`.

    Raises:
        RunError: a checkpoint is damaged or belongs to another run, or memory runs out.
    """
    config = job.config
    start = find_start(job)
    device = _prepare_device(job)
    cure = "take fewer images (n_train), a smaller image_size or a smaller backbone"
    with memory_errors("images and network were loaded", cure):
        train, test = _on_device(job, device)
        method = initial(config, len(train.classes)).to(device)

    width: int = method.backbone.num_features  # type: ignore[assignment]  # timm's networks have it
    evaluation = OnlineEvaluation(train.labelled(), test, width, config.seed, device)
    title = "" if shows_bars() else job.title
    recorder = Recorder(job.run, evaluation, job.save_interval, title)
    module = PretrainModule(config, method, train, new_header(job, start, session))

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), _stopped_as_terminated():
        trainer = _lightning_trainer(job, recorder)
        try:
            # Exact wherever there is no autocast. Backward passes run here, too.
            with exact(), memory_errors("training", f"use a batch_size below {config.batch_size}"):
                trainer.fit(module, ckpt_path=start.checkpoint, weights_only=True)
        except SIGTERMException:
            # 128 + SIGTERM; Lightning itself would exit as if all were well. It kills the process
            # that has started others where one of these fails.
            sys.exit(0 if job.peers.launcher == "own" and job.peers.rank else 143)

    if trainer.is_global_zero:
        job.run.write_weights({**method.cpu().state_dict(), "n_classes": len(train.classes)})
    return recorder.total_seconds() | job.peers.recorded() | _origin(start, session)


def _origin(start: Start, session: dict) -> dict:
    """What the record says of how the run had come so far: its trunk, and earlier starts."""
    origin: dict = {"trunk": start.trunk} if start.trunk else {}
    if start.sessions:
        earlier = list(start.sessions)
        origin |= {"started": earlier[0]["started"], "resumed": session["started"]}
        origin |= {"earlier_sessions": earlier}
    return origin


def _prepare_device(job: Job) -> torch.device:
    """The device of this process; on CUDA each process has its own GPU."""
    if job.config.device == "cuda":
        torch.cuda.set_device(own_gpu())
    else:
        keep_memory()
    return torch.device(job.config.device)


def _on_device(job: Job, device: torch.device) -> list[ImageSet]:
    """Training and test images: on the GPU if they fill less than half of it, or near it."""
    sets = [job.train, job.test]
    if device.type != "cuda":
        return sets
    folder = job.run.path.parent / FOLDER
    data = (data_folder(job.config.data_root), job.fingerprint["digest"])
    room = torch.cuda.mem_get_info()[0] / 2
    return place(sets, device, room, lambda files: decoded_once(files, folder, *data))


def _lightning_trainer(job: Job, recorder: Recorder) -> pl.Trainer:
    """Lightning's trainer, with every setting given that it would otherwise look up itself."""
    cuda = job.config.device == "cuda"
    several = job.peers.world > 1
    options: dict = {"accelerator": job.config.device, "sync_batchnorm": cuda and several}
    options |= {"strategy": gradients_alone() if several else "auto", **job.peers.recorded()}
    options |= dict.fromkeys(("logger", "enable_model_summary", "use_distributed_sampler"), False)
    trainer = pl.Trainer(
        max_epochs=job.config.epochs,
        precision="bf16-mixed" if job.config.precision == "bf16" else "32-true",
        callbacks=[recorder],
        plugins=[LAUNCHERS[job.peers.launcher](), CHECKPOINTS[job.config.device]()],
        # A folder that doesn't exist: under SLURM Lightning resumes from any hpc_ckpt_*.ckpt in it.
        default_root_dir=job.run.path / "nothing",
        enable_progress_bar=shows_bars(),
        **options,
    )
    if several:
        trainer.fit_loop.epoch_loop = StepsTogether(trainer)
    return trainer


class _SrunEnvironment(environments.SLURMEnvironment):
    """The tasks of one srun, without Lightning's assumptions about what a job looks like.

    The number of tasks is the step's, from SLURM's variables. Lightning looks at the allocation,
    which may have more.
    """

    def __init__(self):
        # Requeuing would write checkpoints to the working folder, and read any that lie there.
        self.auto_requeue = False
        self.requeue_signal = signal.SIGUSR1

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check nothing: `distributed.processes` has done it."""


LAUNCHERS: dict[str, Callable] = {
    "own": environments.LightningEnvironment,
    "torchrun": environments.TorchElasticEnvironment,
    "srun": _SrunEnvironment,
}


@contextmanager
def _stopped_as_terminated():
    """Make other requests to stop act like SIGTERM: the run saves between two steps.

    They are SIGUSR1, which SLURM may send some time before it ends a job, and Ctrl-C on a command
    line, if it is the first one. In a notebook Ctrl-C stays an interruption of the cell.

    Only a process's main thread can do this; in any other thread nothing is changed, nor on
    Windows, which has no SIGUSR1.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "SIGUSR1"):
        yield
        return
    signals = [signal.SIGUSR1] if kernel() else [signal.SIGUSR1, signal.SIGINT]
    before = {number: signal.getsignal(number) for number in signals}

    def terminate(number: int, _) -> None:
        if number == signal.SIGINT:
            signal.signal(number, before[number])  # a second one ends it at once
        signal.raise_signal(signal.SIGTERM)

    for number in signals:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, before[number])
