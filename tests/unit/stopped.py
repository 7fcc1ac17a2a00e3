"""Trains a run in two processes, one of which gets SIGTERM: `stopped.py CONFIG RANK STEP`.

CONFIG is JSON. Each process prints its rank and the last step that it began.
"""

import json
import os
import signal
import sys

from lightly.utils.dist import rank

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS, InfoMax
from infomax_nb.train.checkpoints import CHECKPOINTS
from infomax_nb.train.fitting import fit


class Stopped(InfoMax):
    """InfoMax; at the step the process of the rank gets the signal."""

    def forward(self, *given):
        if [rank(), self.step] == [int(sys.argv[2]), int(sys.argv[3])]:
            os.kill(os.getpid(), signal.SIGTERM)
        LAST_STEP.update({rank(): self.step})
        return super().forward(*given)


if __name__ == "__main__":
    METHODS["infomax"] = Stopped
    CHECKPOINTS["cpu"] = CHECKPOINTS["cuda"]  # what CUDA has can run here, too
    LAST_STEP: dict[int, int] = {}
    try:
        fit(TrainConfig(**json.loads(sys.argv[1])), devices=2)
    finally:
        print(json.dumps([*LAST_STEP.items()][0]), flush=True)
