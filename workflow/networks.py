"""`python workflow/networks.py RUN_DIR ...`: keep the backbones of finished runs under `reports/networks/`."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from infomax_nb.centroids import centroids
from infomax_nb.evaluation import features, knn, topk_accuracy
from infomax_nb.pretrained import NETWORKS
from infomax_nb.train import Run, datasets, write_whole


def store(run: Run) -> str:
    """Keep a finished run's backbone under `reports/networks/`; returns its name."""
    config, (train, test) = run.config, datasets(run.config)
    backbone: Any = run.method().backbone
    backbone = backbone.half().float()
    x, queries = features(backbone, train.images), features(backbone, test.images)
    top1 = topk_accuracy(knn(x, train.labels, queries, len(train.classes)), test.labels, 1)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in backbone.state_dict().items()}
    name = f"{config.dataset}-{config.method}-{config.backbone}"
    record = {"config": config.identity(), "classes": train.classes, "knn_top1": round(top1, 2), **run.record}
    NETWORKS.mkdir(parents=True, exist_ok=True)
    write_whole(
        NETWORKS / f"{name}.pt", lambda p: torch.save(weights | {"centroids": centroids(x, train.labels).half()}, p)
    )
    write_whole(NETWORKS / f"{name}.json", lambda p: p.write_text(json.dumps(record, indent=1) + "\n"))
    return name


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        print(store(Run(Path(folder))))
