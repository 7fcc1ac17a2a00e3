"""Trained networks at hand: `reports/networks/<name>.pt`, backbones in half precision, each with its run's record.

They show real features in seconds, without a data set or a training run: `pretrained("cifar10-infomax-resnet_small")`.
"""

import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from . import models
from .config import ParameterError, TrainConfig, project_root
from .evaluation import features, knn, topk_accuracy
from .train import Run, datasets, write_whole

NETWORKS = project_root() / "reports" / "networks"


@dataclass(frozen=True)
class Network:
    """A trained backbone in float32, evaluation mode, on the CPU; its configuration, its data set's class names.

    `centroids`: (classes, D), mean of the training images' unit features for each class. `record`: the run's record,
    and `knn_top1` in percent, k-NN (k = 200) of this half-precision network on the whole test split.
    """

    backbone: nn.Module
    centroids: Tensor
    classes: list[str]
    config: TrainConfig
    record: dict


def available(**fixed) -> list[str]:
    """Names of the networks whose configuration has these values, for example `dataset="cifar10"`."""
    configs = {path.stem: json.loads(path.read_text())["config"] for path in sorted(NETWORKS.glob("*.json"))}
    return [name for name, config in configs.items() if all(config[k] == v for k, v in fixed.items())]


def pretrained(name: str) -> Network:
    """The network of that name; ParameterError if there is none."""
    if name not in available():
        raise ParameterError(f"network = {name!r} is not allowed: it must be one of {', '.join(available())}.")
    record = json.loads((NETWORKS / f"{name}.json").read_text())
    config = TrainConfig(**record["config"])
    weights = torch.load(NETWORKS / f"{name}.pt", map_location="cpu", weights_only=True)
    centroids = weights.pop("centroids").float()
    backbone = models.backbone(config.backbone, config.stem, config.size)
    backbone.load_state_dict(weights)
    return Network(backbone.eval(), centroids, record["classes"], config, record)


def store(run: Run) -> str:
    """Keep a finished run's backbone under `reports/networks/`; returns its name."""
    config, (train, test) = run.config, datasets(run.config)
    backbone = run.method().backbone.half().float()
    x, queries = features(backbone, train.images), features(backbone, test.images)
    top1 = topk_accuracy(knn(x, train.labels, queries, len(train.classes)), test.labels, 1)
    centroids = torch.stack([normalize(x[train.labels == k]).mean(0) for k in range(len(train.classes))])
    weights = {k: v.half() if v.is_floating_point() else v for k, v in backbone.state_dict().items()}
    name = f"{config.dataset}-{config.method}-{config.backbone}"
    record = {"config": config.identity(), "classes": train.classes, "knn_top1": round(top1, 2), **run.record}
    NETWORKS.mkdir(parents=True, exist_ok=True)
    write_whole(NETWORKS / f"{name}.pt", lambda p: torch.save(weights | {"centroids": centroids.half()}, p))
    write_whole(NETWORKS / f"{name}.json", lambda p: p.write_text(json.dumps(record, indent=1) + "\n"))
    return name
