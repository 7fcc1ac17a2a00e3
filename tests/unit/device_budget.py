"""Print what a training step and an evaluation cost on a GPU: `make device-budget`.

Needs no GPU: launches, waits and uploads are counted on a pretended one (see `pretend`). A step is
the third one of a run, launched kernel by kernel, with the method's own views; the last column is
a step that is replayed as one graph. A batch of four launches what one of 128 does, as a test
checks, and takes minutes instead of half an hour. The evaluation has 50,000 training and 10,000
test images.
"""

import argparse

import pandas as pd
import timm
from device_steps import evaluation, pictures, steps
from pretended_costs import Tally
from tqdm import tqdm

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS

PARTS = ["views", "forward", "loss", "backward", "optimiser", "other", "evaluation"]
KINDS = {"launches": "", "waits": "waits", "uploads": "uploads", "pageable": "unpinned"}
EAGER = 2  # index of a step that is launched kernel by kernel
STEPS = 6  # the first of these that is replayed is the fifth


def row(tally: Tally) -> dict[str, str]:
    """Each part's costs as text, launches first; and the whole's."""
    cells = {}
    for part in [*PARTS, "all"]:
        words = []
        for kind, word in KINDS.items():
            counts = getattr(tally, kind)
            count = counts.total() if part == "all" else counts[part]
            if count or not word:
                words.append(f"{count:,} {word}".strip())
        cells[part] = ", ".join(words)
    return cells


def step_rows(batch: int, network: str) -> list[dict[str, str]]:
    """A row for each method, size of images and precision."""
    rows = []
    cases = [(m, size, p) for p in ("32", "bf16") for m in METHODS for size in (32, 96)]
    for method, size, precision in tqdm(cases, disable=None):
        config = TrainConfig(method=method, backbone=network, image_size=size, precision=precision)
        tallies = steps(config.replace(dataset="cifar10", batch_size=batch), STEPS)
        names = {"method": method, "pixels": size, "precision": precision}
        replayed = tallies[-1].launches.total()
        rows.append({**names, **row(tallies[EAGER]), "replayed": f"{replayed:,}"})
    return rows


def evaluation_tally(train: int, test: int) -> Tally:
    """ResNet-18's launches, by one with few channels: the numbers of chunks are the true ones."""
    network = timm.create_model("resnet18", channels=(8, 8, 8, 8), num_classes=0)
    return evaluation(network, network.num_features, pictures(train, 32), pictures(test, 32, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Costs of a step on a GPU, counted without one.")
    parser.add_argument("--batch", type=int, default=4, help="images in a batch")
    parser.add_argument("--backbone", default="resnet18")
    arguments = parser.parse_args()
    table = pd.DataFrame(step_rows(arguments.batch, arguments.backbone))
    print(f"A training step, {arguments.backbone}, batch {arguments.batch}:")
    print(table.drop(columns="evaluation").to_string(index=False))
    tally = evaluation_tally(50_000, 10_000)
    print("\nAn evaluation of 10,000 test images with 50,000 training images:")
    print(f"{row(tally)['all']}\n{tally.said('waits')}")


if __name__ == "__main__":
    main()
