"""The methods, one file each, all built alike, so that only the methods differ.

The baselines' losses, heads, momentum updates and transforms are lightly's, with the settings of
the evaluation code that the paper builds on (Kalapos and Gyires-Tóth 2024).
"""

from infomax_nb.config import TrainConfig
from infomax_nb.methods.barlow_twins import BarlowTwins
from infomax_nb.methods.base import Method
from infomax_nb.methods.byol import BYOL
from infomax_nb.methods.dino import DINO
from infomax_nb.methods.infomax import InfoMax
from infomax_nb.methods.simclr import SimCLR
from infomax_nb.methods.supervised import Supervised
from infomax_nb.methods.vicreg import VICReg

METHODS: dict[str, type[Method]] = {
    "infomax": InfoMax,
    "simclr": SimCLR,
    "vicreg": VICReg,
    "barlow_twins": BarlowTwins,
    "byol": BYOL,
    "dino": DINO,
    "supervised": Supervised,
}


def build(config: TrainConfig, n_classes: int) -> Method:
    """The method that the configuration names, randomly initialised from torch's current seed."""
    return METHODS[config.method](config, n_classes)
