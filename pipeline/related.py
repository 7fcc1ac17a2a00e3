"""`python -m pipeline.related` measures committed networks by the measures of related work.

Alignment and uniformity are those of Wang and Isola (2020), tolerance is Wang and Liu's (2021).
They are taken from the backbones' features of CIFAR-10's test images, which are read from the
folder that INFOMAX_DATA names, else from `data`, and written to `reports/related_cifar10/`. No
network is trained.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.evaluation.probe import untrained
from infomax_nb.evaluation.representation import features
from infomax_nb.files import atomic_write, project_root
from infomax_nb.networks import pretrained
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.seeds import Use, stream
from infomax_nb.train.budget import steps
from infomax_nb.train.fitting import datasets
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views
from pipeline.command import in_a_sentence, takes_nothing
from pipeline.evidence.kept import kept_network

NAME = "related_cifar10"
EARLY_NETWORKS = {"ours": "cifar10-infomax-resnet_small", "SimCLR": "cifar10-simclr-resnet_small"}
LATE_ARMS = {"ours": "kappa10", "SimCLR": "simclr"}  # in lines a and c, which has the further seeds
LATE_RUNS = project_root() / "reports"
UNTRAINED_IMAGES = 5000  # that BatchNorm's statistics are taken from
SHARPNESS = 2.0  # t of uniformity, Wang and Isola's choice
AT_ONCE = 1000  # rows of a table of cosines


class Measured(NamedTuple):
    """A network, and what is to be known about it beside its measures."""

    config: TrainConfig
    network: nn.Module
    images: int  # it was trained on
    steps: int
    record: dict


# --- The measures -----------------------------------------------------------------------------


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of two views' unit features, (N, D) each: 0 if views are alike."""
    return float((first - second).square().sum(1).mean())


@exact()
def pairs(x: Tensor, labels: Tensor) -> dict[str, float]:
    """Uniformity and tolerance of unit features (N, D) with classes (N,).

    Returns:
        `uniformity`, log of the mean of exp(-2 d²) over pairs of images at the distance d: 0 if all
        are in one place, lower the more they are spread. `same class` is tolerance, the mean cosine
        of two images of one class; `other class` is the mean cosine of images of two classes.
    """
    total = {"uniformity": 0.0, "same class": 0.0, "other class": 0.0}
    count = dict.fromkeys(total, 0)
    for rows, of_rows in zip(x.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
        cosine = (rows @ x.T).double()
        kernel = (SHARPNESS * (2 * cosine - 2)).exp()
        same = of_rows[:, None] == labels
        parts = {"uniformity": kernel.flatten(), "same class": cosine[same]}
        parts["other class"] = cosine[~same]
        for name, values in parts.items():
            total[name] += float(values.sum())
            count[name] += len(values)
    for name in ("uniformity", "same class"):  # an image with itself: kernel and cosine are 1
        total[name] -= len(x)
        count[name] -= len(x)
    mean = {name: total[name] / count[name] for name in total}
    return mean | {"uniformity": float(torch.tensor(mean["uniformity"]).log())}


def measures(network: nn.Module, test: ImageSet) -> dict[str, float]:
    """All measures of a network on the test images."""
    first, second = (unit_rows(view) for view in features_of_views(network, test.images[:]))
    plain = unit_rows(features(network, test.images))
    return {"alignment": alignment(first, second), **pairs(plain, test.labels)}


@torch.no_grad()
def features_of_views(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Features of two global views of images (N, 3, H, W), (N, D) each, the same for all."""
    draw = MultiView(dino_views(images.shape[-1])[:2])
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    parts = [[network(view) for view in draw(chunk, generator)] for chunk in images.split(AT_ONCE)]
    return [torch.cat(views) for views in zip(*parts, strict=True)]


# --- The networks -----------------------------------------------------------------------------


def networks(data_root: str) -> dict[str, list[Measured]]:
    """The networks by name: early ones, late ones, and ours as they were before training.

    Those of one name differ in their seed.
    """
    early = {name: early_network(file) for name, file in EARLY_NETWORKS.items()}
    late = {name: [late_network(run) for run in late_runs(arm)] for name, arm in LATE_ARMS.items()}
    return {
        "untrained (early)": [before(early["ours"].config, data_root)],
        **{f"{name}, early": [measured] for name, measured in early.items()},
        "untrained (late)": [before(ours.config, data_root) for ours in late["ours"]],
        **{f"{name}, late": seeds for name, seeds in late.items()},
    }


def late_runs(arm: str) -> list[Path]:
    """The folders of an arm's finished runs of lines a and c, by seed."""
    found = [path for line in "ac" for path in LATE_RUNS.glob(f"late_{line}/{arm}_seed?")]
    return sorted(found, key=lambda path: path.name)


def early_network(name: str) -> Measured:
    """A network of `reports/networks`."""
    kept = pretrained(name)
    images = kept.record["images"]
    return Measured(kept.config, kept.backbone, images, steps(kept.config, images), kept.record)


def late_network(folder: Path) -> Measured:
    """The network that a run of the plan has kept.

    Raises:
        RunError: it is not the file that the run wrote.
    """
    run = Run(folder)
    images = run.record["images"]
    return Measured(run.config, kept_network(run), images, steps(run.config, images), run.record)


def before(config: TrainConfig, data_root: str) -> Measured:
    """The network of a configuration as it was before training."""
    few = config.replace(data_root=data_root, n_train=UNTRAINED_IMAGES)
    train, _ = datasets(few)
    return Measured(config, untrained(few, train), 0, 0, {})


# --- What is written --------------------------------------------------------------------------


def keep(data_root: str, reports: Path | None = None) -> pd.DataFrame:
    """Measure all networks, and write `related_cifar10/table.csv` and `records.json`.

    Args:
        data_root: where CIFAR-10 is.
        reports: the folder of all results; None means the project's.

    Raises:
        ParameterError: the images are not there.
    """
    every = networks(data_root)
    _, test = datasets(TrainConfig(dataset="cifar10", data_root=data_root, n_train=1000))
    rows = [
        {"network": name, **row_of(measured, test)}
        for name, seeds in every.items()
        for measured in seeds
    ]
    table = pd.DataFrame(rows).set_index("network")
    images = KNOWN.get(pixels_digest(test) or "", "unknown")
    records = [record_of(measured, images) for seeds in every.values() for measured in seeds]
    text = json.dumps(records, indent=1) + "\n"
    folder = (reports or project_root() / "reports") / NAME
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "table.csv", partial(table.to_csv, float_format="%.4f"))
    atomic_write(folder / "records.json", lambda part: part.write_text(text, encoding="utf-8"))
    return table


def row_of(measured: Measured, test: ImageSet) -> dict[str, object]:
    """A network's row in the table."""
    config = measured.config
    about = {"seed": config.seed, "stem": config.stem}
    taught = {"images": measured.images, "steps": measured.steps}
    return {**about, **taught, **measures(measured.network, test)}


def record_of(measured: Measured, images: str) -> dict[str, object]:
    """How the network was trained, and on which images and by what it was measured."""
    trained = {key: measured.record.get(key) for key in ("name", "commit", "trained_on", "data")}
    config = measured.config.identity()
    return {"config": config, "trained": trained, "measured_on": images, "measured": environment()}


def main() -> None:
    """Measure, and show the table."""
    takes_nothing("related", __doc__)
    with in_a_sentence():
        print(keep(os.environ.get("INFOMAX_DATA", "data")).to_string())


if __name__ == "__main__":
    main()
