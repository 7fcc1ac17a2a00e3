"""InfoMax representation learning on the hypersphere: the objective, its training and its
measurements."""

from importlib.metadata import version

import lazy_loader

from infomax_nb.threads import wait_asleep

wait_asleep()  # before anything here imports torch

__version__ = version("infomax-nb")
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["TrainConfig"],
        "losses": ["InfoMaxLoss"],
        "networks": ["pretrained"],
        "train": ["Run", "fit"],
    },
)
