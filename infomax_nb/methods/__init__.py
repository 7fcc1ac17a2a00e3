"""One file for each method, all of one shape, so that what differs is the method.

A method is a `torch.nn.Module` with `backbone`, and
`views(size)`: the views it draws of an image of `size` pixels (a list of `infomax_nb.views.View`);
`forward(views, labels)`: a dict of scalar tensors, `loss` among them; and, where it has some, `projections`.
"""

from torch import nn

from ..config import TrainConfig
from .infomax import InfoMax
from .supervised import Supervised

METHODS = {"infomax": InfoMax, "supervised": Supervised}


def build(config: TrainConfig, n_classes: int) -> nn.Module:
    """The method that the configuration names, randomly initialised from torch's current seed."""
    return METHODS[config.method](config, n_classes)
