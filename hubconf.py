"""The trained networks for torch.hub, as plain modules that map images to features.

`torch.hub.load(".", "cifar10_infomax_resnet_small", source="local")` from a checkout. The names are
those of `infomax_nb.networks.available()`, with `_` for `-`.
"""

from functools import partial, update_wrapper

from infomax_nb.networks import available, pretrained

# What has to be there; the package itself may, but need not, be installed.
dependencies = ["torch", "torchvision", "timm", "safetensors", "pydantic", "numpy", "yaml"]
dependencies += ["lazy_loader"]


def _backbone(name):
    """The backbone of this trained network: images (B, 3, H, W) to features (B, D).

    Images are RGB, in 0..1, standardised by ImageNet's mean and deviation.
    """
    return pretrained(name).backbone


for _name in available():
    globals()[_name.replace("-", "_")] = update_wrapper(partial(_backbone, _name), _backbone)
