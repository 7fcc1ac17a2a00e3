"""Trained networks to load: `reports/networks/<name>.safetensors`, each with its run's record.

They are backbones in half precision. They give real features in seconds, without a data set or a
training run: `pretrained()`. An installed package carries one of them. `pipeline/networks.py`
writes them.
"""

import json
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from infomax_nb import models
from infomax_nb.config import UNSAID, TrainConfig, refuse_unknown
from infomax_nb.errors import ParameterError, RunError, not_allowed
from infomax_nb.files import file_digest, project_root

SHIPPED = "cifar10-infomax-resnet_small"  # the one that an installed package carries
FILES = {"network": ".safetensors", "centroids": ".centroids.safetensors"}  # by name in the record
_PLACES = (project_root() / "reports" / "networks", Path(__file__).with_name("shipped"))
NETWORKS = next((place for place in _PLACES if (place / f"{SHIPPED}.json").exists()), _PLACES[0])


@dataclass(frozen=True, repr=False)
class Network:
    """A trained network and what is known about it.

    Args:
        backbone: in float32 and evaluation mode, on the CPU.
        centroids: (classes, D), mean of the training images' unit features for each class.
        classes: names of the data set's classes.
        config: the run's configuration.
        record: the run's record, with `knn_top1` in percent: the accuracy of k-NN (k = 200, or a
            fifth of fewer than 1,000 images) on the whole test split, with this half-precision
            network. `trained_on` and `measured_on` name the images.
    """

    backbone: nn.Module
    centroids: Tensor
    classes: list[str]
    config: TrainConfig
    record: dict

    def __repr__(self) -> str:
        config = self.config
        name = f"{config.dataset}-{config.method}-{config.backbone}"
        return f"<Network {name}: {len(self.classes)} classes, k-NN {self.record['knn_top1']}%>"


def available(folder: Path | None = None, **fixed) -> list[str]:
    """Names of the networks whose configuration has these values, such as `dataset="cifar10"`.

    A field that a network's method ignores, as SimCLR ignores `kappa`, has no value.

    Raises:
        ParameterError: a name is no field of `TrainConfig`.
    """
    refuse_unknown(fixed, TrainConfig.model_fields)
    names = []
    for path in sorted((folder or NETWORKS).glob("*.json"), key=lambda path: path.stem):
        recorded = UNSAID | json.loads(path.read_bytes())["config"]
        config = UNSAID | TrainConfig(**recorded).identity()
        if all(config.get(name) == value for name, value in fixed.items()):
            names.append(path.stem)
    return names


def pretrained(name: str = SHIPPED, folder: Path | None = None) -> Network:
    """The network of that name.

    Args:
        name: one of `available()`; an installed package has one, the repository all.
        folder: where networks are; None means the project's `reports/networks`, or what an
            installed package carries.

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
        (near,) = get_close_matches(str(name), names, 1, cutoff=0)
        raise not_allowed("network", name, f"one of networks.available(), such as {near!r}")
    record = json.loads((folder / f"{name}.json").read_bytes())
    parts = {part: folder / f"{name}{suffix}" for part, suffix in FILES.items()}
    for part, path in parts.items():
        if record.get(part) != file_digest(path):
            problem = f"is not the file that {name}.json describes; fetch both anew"
            raise RunError(f"network: {path} {problem}.")
    config = TrainConfig(**UNSAID | record["config"])
    backbone = models.backbone(config.backbone, config.stem, config.size)
    backbone.load_state_dict(load_file(parts["network"]))
    centroids = load_file(parts["centroids"])["centroids"].float()
    return Network(backbone.eval(), centroids, record["classes"], config, record)
