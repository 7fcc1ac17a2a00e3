"""`python -m pipeline.networks RUN_DIR ...`: keep the backbones of finished runs under
`reports/networks/`.

`python -m pipeline.networks --measure NAME ... -p data_root DIR` measures networks that are kept
there anew, on the images in DIR, and writes into their records what was found and on which images.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from infomax_nb.analysis.centroids import centroids
from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.representation import features
from infomax_nb.files import atomic_write, file_digest
from infomax_nb.networks import NETWORKS, pretrained
from infomax_nb.train.fitting import datasets
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from pipeline.copies import data_note


def store(run: Run) -> str:
    """Keep a finished run's backbone under `reports/networks/`; returns its name."""
    config = run.config
    train, test = datasets(config)
    backbone: Any = run.method().backbone
    backbone = backbone.half().float()
    of_classes = centroids(features(backbone, train.images), train.labels).half()
    weights = {
        k: v.half() if v.is_floating_point() else v for k, v in backbone.state_dict().items()
    }
    name = f"{config.dataset}-{config.method}-{config.backbone}"
    record = {
        "config": config.identity(),
        "classes": train.classes,
        **measured(backbone, config, train, test),
        **run.record,
    }
    record["trained_on"] = trained_on(record) or record["measured_on"]
    NETWORKS.mkdir(parents=True, exist_ok=True)
    atomic_write(
        NETWORKS / f"{name}.pt", lambda p: torch.save(weights | {"centroids": of_classes}, p)
    )
    _write(name, record)
    return name


def measure(name: str, data_root: str) -> str:
    """Measure a network at hand on the images in `data_root` and write its record anew; returns a
    line about it.

    The accuracy on the images that it was trained on stays in the record, as
    `knn_top1_on_training_copy`.

    Raises ParameterError for an unknown name, and where there are no such images.
    """
    network = pretrained(name)
    config = network.config.replace(data_root=data_root)
    train, test = datasets(config, labelled=True)
    record = dict(network.record)
    before = record["knn_top1"]
    record.setdefault("knn_top1_on_training_copy", before)
    record.update(measured(network.backbone, config, train, test))
    record.setdefault("trained_on", trained_on(record))
    _write(name, record)
    return f"{name}: {record['knn_top1']:.2f}% on {record['measured_on']}; {before:.2f}% before"


def measured(
    backbone: torch.nn.Module, config: TrainConfig, train: ImageSet, test: ImageSet
) -> dict[str, Any]:
    """k-NN (k = 200) top-1 in percent, the training images as the bank; on which images, when, by
    which commit."""
    bank = features(backbone, train.images)
    queries = features(backbone, test.images)
    ranked = knn(bank, train.labels, queries, len(train.classes))
    return {
        "knn_top1": round(topk_accuracy(ranked, test.labels, 1), 2),
        "measured_on": f"{in_words(config, test)}; bank: {len(train):,} training images, {len(test):,} test images",
        "measured_date": datetime.now(UTC).date().isoformat(),
        "measured_commit": _commit(),
    }


def trained_on(record: dict[str, Any]) -> str:
    """The images that a network was trained on, in words, where they are noted; else an empty
    text."""
    note = data_note([record])
    return f"{note}, {record['images']:,} images" if note else ""


def in_words(config: TrainConfig, test: ImageSet) -> str:
    """Which copy of its data set a configuration reads, by the pixels of its test split where they
    are known."""
    height, width = test.images.shape[-2:]
    name = KNOWN.get(pixels_digest(test) or "")
    if config.dataset == "cifar10":
        return name or "CIFAR-10, not the published images"
    return name or f"{config.dataset}, {width}×{height} pixels"


@cache
def _commit() -> str:
    """The commit as it is before this process changes a record, which would count as a
    modification."""
    return environment()["commit"]


def _write(name: str, record: dict[str, Any]) -> None:
    """The record of the network whose weights are there already, sealed by their check sum."""
    record["network"] = file_digest(NETWORKS / f"{name}.pt")
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    atomic_write(NETWORKS / f"{name}.json", lambda p: p.write_text(text, encoding="utf-8"))


def main() -> None:
    """Keep the runs that are named, or measure the networks that are."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.networks", description=__doc__)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN_DIR", type=Path, help="a finished run whose network is kept"
    )
    parser.add_argument(
        "--measure", nargs="+", default=[], metavar="NAME", help="a network to be measured anew"
    )
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="data_root DIR"
    )
    given = parser.parse_args()
    places = dict(given.p)
    try:
        if set(places) - {"data_root"}:
            raise ParameterError(
                f"-p {min(set(places) - {'data_root'})} is not allowed: only data_root can be given."
            )
        if not given.runs and not given.measure:
            raise ParameterError("Nothing to do: name run directories, or --measure and networks.")
        for folder in given.runs:
            print(store(Run(folder)))
        for name in given.measure:
            print(measure(name, places.get("data_root", "data")))
    except (ParameterError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
