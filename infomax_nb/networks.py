"""Trained networks to load: `reports/networks/<name>.pt`, each with its run's record.

They are backbones in half precision. They give real features in seconds, without a data set or a
training run: `pretrained("cifar10-infomax-resnet_small")`. `pipeline/networks.py` writes them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from infomax_nb import models
from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.errors import ParameterError, RunError, not_allowed
from infomax_nb.files import file_digest, load_weights, project_root

NETWORKS = project_root() / "reports" / "networks"


@dataclass(frozen=True)
class Network:
    """A trained network and what is known about it.

    Args:
        backbone: in float32 and evaluation mode, on the CPU.
        centroids: (classes, D), mean of the training images' unit features for each class.
        classes: names of the data set's classes.
        config: the run's configuration.
        record: the run's record, with `knn_top1` in percent: the accuracy of k-NN (k = 200) on the
            whole test split, with this half-precision network. `trained_on` and `measured_on` name
            the images.
    """

    backbone: nn.Module
    centroids: Tensor
    classes: list[str]
    config: TrainConfig
    record: dict


def available(folder: Path | None = None, **fixed) -> list[str]:
    """Names of the networks whose configuration has these values, such as `dataset="cifar10"`."""
    names = []
    for path in sorted((folder or NETWORKS).glob("*.json")):
        config = json.loads(path.read_text())["config"]
        if all(config[name] == value for name, value in fixed.items()):
            names.append(path.stem)
    return names


def pretrained(name: str, folder: Path | None = None) -> Network:
    """The network of that name.

    Args:
        name: one of `available()`.
        folder: where networks are; None means the project's `reports/networks`.

    Raises:
        ParameterError: there is no network of that name.
        RunError: the weights are not those that its record describes.
    """
    folder = folder or NETWORKS
    names = available(folder)
    if not names:
        reason = f"there are no trained networks in {folder}; they come with the repository"
        raise ParameterError(f"network = {name!r} is not allowed: {reason}.")
    if name not in names:
        raise not_allowed("network", name, f"one of {', '.join(names)}")
    record = json.loads((folder / f"{name}.json").read_text())
    path = folder / f"{name}.pt"
    if record["network"] != file_digest(path):
        problem = f"is not the file that {name}.json describes; fetch both anew"
        raise RunError(f"network: {path} {problem}.")
    config = TrainConfig(**UNSAID | record["config"])
    weights = load_weights(path)
    centroids = weights.pop("centroids").float()
    backbone = models.backbone(config.backbone, config.stem, config.size)
    backbone.load_state_dict(weights)
    return Network(backbone.eval(), centroids, record["classes"], config, record)
