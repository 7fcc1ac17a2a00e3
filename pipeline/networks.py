"""`python -m pipeline.networks RUN_DIR ...` keeps finished runs' backbones in `reports/networks/`.

`python -m pipeline.networks --measure NAME ... -p data_root DIR` measures kept networks again, on
the images in DIR, and writes the accuracy and the images into their records.
"""

import argparse
import json
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from infomax_nb.analysis.centroids import centroids
from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.representation import features
from infomax_nb.files import atomic_write, file_digest
from infomax_nb.networks import FILES, NETWORKS, pretrained
from infomax_nb.train.budget import steps
from infomax_nb.train.fitting import datasets
from infomax_nb.train.record import commit
from infomax_nb.train.run import Run
from pipeline.cards import card
from pipeline.command import in_a_sentence, takes_values
from pipeline.copies import data_note
from pipeline.evidence.finding import LATE_STEPS
from pipeline.evidence.state import without_places


def half_precision(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's state in half precision; whole numbers stay. As safetensors takes it."""
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    return {name: v.half() if v.is_floating_point() else v for name, v in state.items()}


def store(run: Run) -> str:
    """Keep a finished run's backbone in `reports/networks/`; returns its name.

    Raises:
        ParameterError: a network of another configuration is kept under that name.
    """
    config = run.config
    train, test = datasets(config, labelled=True)
    backbone: Any = run.method().backbone
    backbone = backbone.half().float()  # as it will be read
    of_classes = centroids(features(backbone, train.images), train.labels).half()
    parts = {"network": half_precision(backbone), "centroids": {"centroids": of_classes}}
    accuracy = measured(backbone, config, train, test)
    about = {"config": config.identity(), "classes": train.classes}
    record = {**about, **accuracy, **run.record}
    all_images = f"{images_in_words(config, test)}, {record['images']:,} images"
    record["trained_on"] = trained_on(record) or all_images
    name = name_of(config, record["images"])
    _refuse_another_run(name, config)
    NETWORKS.mkdir(parents=True, exist_ok=True)
    for part, tensors in parts.items():
        data = save(tensors)
        atomic_write(NETWORKS / f"{name}{FILES[part]}", partial(Path.write_bytes, data=data))
    _write_record(name, record)
    return name


def _refuse_another_run(name: str, config: TrainConfig) -> None:
    """A name does not say everything, such as κ or the stem."""
    path = NETWORKS / f"{name}.json"
    if not path.exists():
        return
    there = TrainConfig(**json.loads(path.read_bytes())["config"])
    if without_places(there) != without_places(config):
        allowed = f"another one: {path} is a network of another configuration; move it away first"
        raise not_allowed("name", name, allowed)


def name_of(config: TrainConfig, images: int) -> str:
    """The name under which a run's network is kept.

    One that was trained for 10,000 steps or more is called late, one of another seed than 0 names
    it.

    Args:
        config: the run's.
        images: number of training images.
    """
    parts: list[str] = [config.dataset, config.method, config.backbone]
    if steps(config, images) >= LATE_STEPS:
        parts.append("late")
    if config.seed:
        parts.append(f"seed{config.seed}")
    return "-".join(parts)


def measure(name: str, data_root: str) -> str:
    """Measure a network on the images in `data_root` and update its record.

    The accuracy on the images that it was trained on stays in the record, as
    `knn_top1_on_training_copy`.

    Returns:
        A line with the new and the old accuracy.

    Raises:
        ParameterError: there is no such network, or no such images.
    """
    network = pretrained(name)
    config = network.config.replace(data_root=data_root)
    train, test = datasets(config, labelled=True)
    record = dict(network.record)
    before = record["knn_top1"]
    record.setdefault("knn_top1_on_training_copy", before)
    record.update(measured(network.backbone, config, train, test))
    record.setdefault("trained_on", trained_on(record))
    _write_record(name, record)
    return f"{name}: {record['knn_top1']:.2f}% on {record['measured_on']}; {before:.2f}% before"


def measured(
    backbone: torch.nn.Module, config: TrainConfig, train: ImageSet, test: ImageSet
) -> dict[str, Any]:
    """k-NN (`usual_k`) top-1 in percent, with the training images as the bank.

    Returns:
        `knn_top1`; `measured_on`, a description of the images; `measured_date` and
        `measured_commit`.
    """
    bank = features(backbone, train.images)
    queries = features(backbone, test.images)
    ranked = knn(bank, train.labels, queries, len(train.classes))
    images = f"{len(train):,} training images, {len(test):,} test images"
    return {
        "knn_top1": round(topk_accuracy(ranked, test.labels, 1), 2),
        "measured_on": f"{images_in_words(config, test)}; bank: {images}",
        "measured_date": datetime.now(UTC).date().isoformat(),
        "measured_commit": _commit(),
    }


def trained_on(record: dict[str, Any]) -> str:
    """The images that a network was trained on, in words; empty if there is no note of them."""
    note = data_note([record])
    return f"{note}, {record['images']:,} images" if note else ""


def images_in_words(config: TrainConfig, test: ImageSet) -> str:
    """Which copy of its data set a configuration reads, by the pixels of its test split."""
    height, width = test.images.shape[-2:]
    name = KNOWN.get(pixels_digest(test) or "")
    if config.dataset == "cifar10":
        return name or "CIFAR-10, not the published images"
    return name or f"{config.dataset}, {width}×{height} pixels"


@cache
def _commit() -> str:
    """The commit, read before this process changes a record: that would count as a modification."""
    return commit()


def _write_record(name: str, record: dict[str, Any]) -> None:
    """Write the record of a network whose weights are already there, with their check sums.

    The card, which people read, is made of it.
    """
    for part, suffix in FILES.items():
        record[part] = file_digest(NETWORKS / f"{name}{suffix}")
    in_words = card(name, record)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    atomic_write(NETWORKS / f"{name}.json", lambda p: p.write_text(text, encoding="utf-8"))
    atomic_write(NETWORKS / f"{name}.md", lambda p: p.write_text(in_words, encoding="utf-8"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.networks", description=__doc__)
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN_DIR", type=Path, help="a finished run to keep")
    add("--measure", nargs="+", default=[], metavar="NAME", help="a network to measure anew")
    takes_values(parser, "data_root DIR")
    return parser.parse_args()


def main() -> None:
    """Keep the named runs, or measure the named networks."""
    given = _arguments()
    places = dict(given.p)
    others = set(places) - {"data_root"}
    with in_a_sentence():
        if others:
            reason = "is not allowed: only data_root can be given"
            raise ParameterError(f"-p {min(others)} {reason}.")
        if not given.runs and not given.measure:
            raise ParameterError("Nothing to do: name run directories, or --measure and networks.")
        if places and not given.measure:
            reason = "is for --measure alone: a run has its own"
            raise ParameterError(f"-p data_root {reason}.")
        for folder in given.runs:
            print(store(Run(folder)))
        for name in given.measure:
            print(measure(name, places.get("data_root", "data")))


if __name__ == "__main__":
    main()
