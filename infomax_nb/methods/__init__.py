"""The methods, one file each, all built alike, so that only the methods differ.

The baselines' losses, heads, momentum updates and transforms are lightly's, with the settings of
the evaluation code that the paper builds on (Kalapos and Gyires-Tóth 2024).
"""

import torch

from infomax_nb.config import TrainConfig
from infomax_nb.methods.barlow_twins import BarlowTwins
from infomax_nb.methods.base import Method
from infomax_nb.methods.byol import BYOL
from infomax_nb.methods.dcl import DCL
from infomax_nb.methods.dino import DINO
from infomax_nb.methods.infomax import InfoMax
from infomax_nb.methods.l_out import LOut
from infomax_nb.methods.poly_view import ArithmeticPVC, GeometricPVC
from infomax_nb.methods.simclr import SimCLR
from infomax_nb.methods.supervised import Supervised
from infomax_nb.methods.vicreg import VICReg
from infomax_nb.seeds import Use, stream

METHODS: dict[str, type[Method]] = {
    "infomax": InfoMax,
    "simclr": SimCLR,
    "vicreg": VICReg,
    "barlow_twins": BarlowTwins,
    "byol": BYOL,
    "dino": DINO,
    "supervised": Supervised,
}
# Not in the paper's table: what differs from ours in the loss alone.
FAMILY: dict[str, type[Method]] = {
    "l_out": LOut,
    "dcl": DCL,
    "pvc_geometric": GeometricPVC,
    "pvc_arithmetic": ArithmeticPVC,
}


def build(config: TrainConfig, n_classes: int) -> Method:
    """The method that the configuration names, randomly initialised from torch's current seed."""
    return (METHODS | FAMILY)[config.method](config, n_classes)


def initial(config: TrainConfig, n_classes: int) -> Method:
    """The method with the weights that a run of this configuration starts from.

    They depend on the seed alone, whatever random numbers were drawn before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream(config.seed, 0, Use.WEIGHTS))
        return build(config, n_classes)
