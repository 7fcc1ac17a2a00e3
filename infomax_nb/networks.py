"""Trained networks at hand: `reports/networks/<name>.pt`, backbones in half precision, each with
its run's record.

They show real features in seconds, without a data set or a training run:
`pretrained("cifar10-infomax-resnet_small")`. `pipeline/networks.py` keeps them there.
"""

import json
from dataclasses import dataclass

from torch import Tensor, nn

from infomax_nb import models
from infomax_nb.config import UNSAID, TrainConfig
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.files import file_digest, load_weights, project_root

NETWORKS = project_root() / "reports" / "networks"


@dataclass(frozen=True)
class Network:
    """A trained backbone in float32, evaluation mode, on the CPU; its configuration, its data set's
    class names.

    `centroids`: (classes, D), mean of the training images' unit features for each class. `record`:
    the run's record, and `knn_top1` in percent, k-NN (k = 200) of this half-precision network on
    the whole test split; `trained_on` and `measured_on` say on which images.
    """

    backbone: nn.Module
    centroids: Tensor
    classes: list[str]
    config: TrainConfig
    record: dict


def available(**fixed) -> list[str]:
    """Names of the networks whose configuration has these values, for example
    `dataset="cifar10"`."""
    configs = {
        path.stem: json.loads(path.read_text())["config"]
        for path in sorted(NETWORKS.glob("*.json"))
    }
    return [
        name for name, config in configs.items() if all(config[k] == v for k, v in fixed.items())
    ]


def pretrained(name: str) -> Network:
    """The network of that name; ParameterError if there is none, RunError if its weights are
    another's."""
    if name not in available():
        raise ParameterError(
            f"network = {name!r} is not allowed: it must be one of {', '.join(available())}."
        )
    record = json.loads((NETWORKS / f"{name}.json").read_text())
    config = TrainConfig(**UNSAID | record["config"])
    path = NETWORKS / f"{name}.pt"
    if record["network"] != file_digest(path):
        raise RunError(
            f"network: {path} is not the file that {name}.json describes; fetch both anew."
        )
    weights = load_weights(path)
    centroids = weights.pop("centroids").float()
    backbone = models.backbone(config.backbone, config.stem, config.size)
    backbone.load_state_dict(weights)
    return Network(backbone.eval(), centroids, record["classes"], config, record)
