"""The trained networks for torch.hub, as plain modules that map images to features.

`torch.hub.load(".", "cifar10_infomax_resnet_small", source="local")` from a checkout. The names are
those of `infomax_nb.networks.available()`, with `_` for `-`.
"""

# The hub takes what is public and can be called for a network, so that all else has a `_`.
from functools import partial as _partial
from functools import update_wrapper as _update_wrapper

from infomax_nb.networks import available as _available
from infomax_nb.networks import pretrained as _pretrained

# What has to be there; the package itself may, but need not, be installed.
dependencies = ["torch", "torchvision", "timm", "safetensors", "pydantic", "numpy", "yaml"]
dependencies += ["lazy_loader"]


def _backbone(name):
    """The backbone of this trained network: images (B, 3, H, W) to features (B, D).

    Images are RGB, in 0..1, standardised by ImageNet's mean and deviation.
    """
    return _pretrained(name).backbone


for _name in _available():
    _network = _partial(_backbone, _name)
    globals()[_name.replace("-", "_")] = _update_wrapper(_network, _backbone)
