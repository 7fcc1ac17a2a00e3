"""InfoMax representation learning on the hypersphere: the objective, its training and its
measurements."""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

from infomax_nb.threads import wait_asleep

wait_asleep()  # before anything here imports torch

try:
    __version__ = version("infomax-nb")
except PackageNotFoundError:  # a checkout that is not installed, as torch.hub has it
    __version__ = "0+unknown"
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["TrainConfig"],
        "losses": ["InfoMaxLoss"],
        "networks": ["pretrained"],
        "train": ["Run", "fit"],
    },
)
