"""One file for each method, all of one shape, so that what differs is the method.

The baselines' losses, heads, momentum updates and transforms are lightly's, with the settings of the evaluation code
that the paper builds on (Kalapos and Gyires-Tóth 2024).
"""

from ..config import TrainConfig
from .barlow_twins import BarlowTwins
from .base import Method
from .byol import BYOL
from .dino import DINO
from .infomax import InfoMax
from .simclr import SimCLR
from .supervised import Supervised
from .vicreg import VICReg

_ALL = (InfoMax, SimCLR, VICReg, BarlowTwins, BYOL, DINO, Supervised)
METHODS: dict[str, type[Method]] = {kind.__module__.rpartition(".")[2]: kind for kind in _ALL}  # by their files' names


def build(config: TrainConfig, n_classes: int) -> Method:
    """The method that the configuration names, randomly initialised from torch's current seed."""
    return METHODS[config.method](config, n_classes)
