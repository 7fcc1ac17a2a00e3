"""Trains runs in as many processes as it is told: `parallel.py [CONFIG, ...] DEVICES`, in JSON.

Synchronised BatchNorm does not run on the CPU, and statistics of half a batch are not those of the
whole one. So the methods are registered anew, with a projector that has none.
"""

import json
import sys

from torch import nn

from infomax_nb.config import TrainConfig
from infomax_nb.methods import FAMILY, METHODS, Method
from infomax_nb.train.fitting import fit


def without_batchnorm(kind: type[Method]) -> type[Method]:
    """The method with another projector, for a backbone that has no BatchNorm either."""

    class Plain(kind):
        def build(self, config, features, n_classes):
            super().build(config, features, n_classes)
            self.projector = nn.Sequential(nn.Linear(features, 64), nn.GELU(), nn.Linear(64, 16))

    return Plain


if __name__ == "__main__":
    configs = json.loads(sys.argv[1])
    for name in {config["method"] for config in configs}:
        registry = FAMILY if name in FAMILY else METHODS
        registry[name] = without_batchnorm(registry[name])
    for config in configs:
        fit(TrainConfig(**config), int(sys.argv[2]))
