"""How checkpoints are written: whole or not at all, on CUDA beside the training."""

from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_lightning.plugins import TorchCheckpointIO
from pytorch_lightning.plugins.io import AsyncCheckpointIO
from pytorch_lightning.utilities import move_data_to_device

from infomax_nb.files import atomic_write


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written beside their place, then moved there.

    Lightning itself writes to the system's temporary folder first, where a killed process would
    leave its file.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Write it, or raise RunError where the disk is full."""
        atomic_write(Path(path), lambda part: torch.save(checkpoint, part))


class CheckpointsBeside(AsyncCheckpointIO):
    """Checkpoints that a thread writes, as another kind would, while training goes on.

    What training goes on to change is copied first. One checkpoint is whole before the next one is
    copied. An error is raised at the next one, or when training ends.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Let the thread write it, once it has written the one before."""
        self.teardown()
        # To the CPU, so that no other thread than the training's uses the GPU.
        super().save_checkpoint(move_data_to_device(checkpoint, torch.device("cpu")), path)


CHECKPOINTS: dict[str, Callable] = {
    "cpu": WholeCheckpoints,
    "cuda": lambda: CheckpointsBeside(WholeCheckpoints()),
}
