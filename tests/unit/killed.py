"""Trains a run of InfoMax and kills it in one of its epochs: `killed.py CONFIG EPOCH [beside]`.

CONFIG is JSON. With `beside`, checkpoints are written beside the training, as on CUDA.
"""

import json
import os
import signal
import sys

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS, InfoMax
from infomax_nb.train.checkpoints import CHECKPOINTS
from infomax_nb.train.fitting import fit


class Killed(InfoMax):
    """InfoMax, until the first step of the epoch."""

    def forward(self, *given):
        if self.epoch + 1 == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(*given)


if __name__ == "__main__":
    METHODS["infomax"] = Killed
    if sys.argv[3:] == ["beside"]:
        CHECKPOINTS["cpu"] = CHECKPOINTS["cuda"]
    fit(TrainConfig(**json.loads(sys.argv[1])))
