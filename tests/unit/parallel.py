"""Runs in as many processes as it is told, of networks without BatchNorm: `parallel.py [CONFIG,
...] DEVICES`, in JSON.

Synchronised BatchNorm does not run on the CPU, and statistics of half a batch are not those of the
whole one.
"""

import json
import sys

from torch import nn

from infomax_nb.config import TrainConfig
from infomax_nb.methods import build
from infomax_nb.train import trainer
from infomax_nb.train.fitting import fit


def without_batchnorm(config, n_classes):
    """The method with a ViT, whose projector is made anew; all from the seed that `trainer.run` has
    set."""
    method = build(config, n_classes)
    method.projector = nn.Sequential(
        nn.Linear(method.backbone.num_features, 64), nn.GELU(), nn.Linear(64, 16)
    )
    return method


if __name__ == "__main__":
    trainer.build = without_batchnorm
    for config in json.loads(sys.argv[1]):
        fit(TrainConfig(**config), int(sys.argv[2]))
