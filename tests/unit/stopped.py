"""Trains a run in two processes, one of which gets SIGTERM: `stopped.py CONFIG RANK STEP`.

CONFIG is JSON. Each process writes the last step that it began to `RANK.txt`, beside the run.
Checkpoints are written beside the training, as on CUDA.
"""

import json
import os
import signal
import sys
from pathlib import Path

from lightly.utils.dist import rank

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS, InfoMax
from infomax_nb.train.checkpoints import CHECKPOINTS
from infomax_nb.train.fitting import fit


class Stopped(InfoMax):
    """InfoMax, until the process of this rank gets the signal at this step, and a little longer."""

    def forward(self, *given):
        if [rank(), self.step] == [int(sys.argv[2]), int(sys.argv[3])]:
            os.kill(os.getpid(), signal.SIGTERM)
        (Path(self.config.runs_dir) / f"{rank()}.txt").write_text(str(self.step))
        return super().forward(*given)


if __name__ == "__main__":
    METHODS["infomax"] = Stopped
    CHECKPOINTS["cpu"] = CHECKPOINTS["cuda"]
    fit(TrainConfig(**json.loads(sys.argv[1])), devices=2)
