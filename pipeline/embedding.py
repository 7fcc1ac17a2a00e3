"""`python -m pipeline.embedding NAME` trains runs and keeps how their maps change over the epochs.

NAME is a result, `embedding_glyphs` or `embedding_cifar10`, and `reports/NAME/` is where it is
kept. CIFAR-10 is read from the folder that INFOMAX_DATA names, else from `data`. Interrupted, the
same command goes on where it was.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import squareform
from torch import Tensor

from infomax_nb.analysis.embedding import PERPLEXITY, groups_of, moving_map, view_similarities
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import stratified
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.probe import untrained
from infomax_nb.evaluation.representation import features
from infomax_nb.figures.embedding import Movement, map_stills
from infomax_nb.files import load_weights
from infomax_nb.methods import Method, build, initial
from infomax_nb.report import TOP1_COLUMNS, export_tables, run_label
from infomax_nb.seeds import Use, stream
from infomax_nb.train import fit_all
from infomax_nb.train.fitting import datasets
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from pipeline.command import finish, parser, with_data

IMAGES = 480  # of the map
BATCH = 128  # images whose views go through a network together
SHOWN = 8  # of them, in the matrix of similarities
FOLDER = "runs/embedding"

GLYPHS = TrainConfig(runs_dir=FOLDER)
CIFAR10 = TrainConfig(dataset="cifar10", n_train=10_000, epochs=10, runs_dir=FOLDER)
RESULTS = {
    "embedding_glyphs": [GLYPHS.replace(beta=beta) for beta in (0.5, 1.0, 2.0)],
    "embedding_cifar10": [CIFAR10],
}


def keep(
    name: str, configs: list[TrainConfig], images: int = IMAGES, reports: Path | None = None
) -> str:
    """Train what is not yet trained, and write `reports/<name>/`.

    Args:
        name: the result.
        configs: runs that differ in beta alone.
        images: number of test images in the maps.
        reports: the folder of all results; None means the project's.

    Returns:
        What was written where, as a sentence.
    """
    every = [config.replace(keep_epochs=range(1, config.epochs + 1)) for config in configs]
    runs = fit_all(every)
    train, test = datasets(configs[0])
    chosen = stratified(test.labels, images, 0)
    moving = [watched(run, train, test, chosen) for run in runs]
    tables = {
        "coordinates": _each(moving, _coordinates),
        "images": pd.DataFrame({"row": chosen, "group": moving[0].groups}).rename_axis("image"),
        "accuracy": _each(moving, _accuracy),
        "similarities": _each(moving, _similarities),
        "table": summary(runs),
    }
    words = caption(configs[0], len(train), len(chosen))
    return export_tables(name, tables, map_stills(moving), words, runs, reports)


# --- What is watched --------------------------------------------------------------------------


def watched(run: Run, train: ImageSet, test: ImageSet, chosen: Tensor) -> Movement:
    """The run before training and after each epoch: its map of the chosen test images.

    Raises:
        RunError: a checkpoint is not the one that the run wrote.
    """
    config = run.config
    first = untrained(config, train)
    frames = [features(first, test.images[chosen])]
    start = initial(config, len(train.classes))
    similarities = [of_batch(start, test)]
    accuracy = run.metrics.set_index("epoch")[list(TOP1_COLUMNS)]
    accuracy.loc[0] = {"knn_top1": knn_of(first, train, test)}
    for epoch in range(1, config.epochs + 1):
        method = after(run, epoch, len(train.classes))
        frames.append(features(method.backbone, test.images[chosen]))
        similarities.append(of_batch(method, test))
    groups = groups_of(test[chosen])
    matrices = np.stack(similarities)
    places = np.stack(moving_map(frames))
    return Movement(config.beta, places, groups, accuracy.sort_index(), matrices)


def after(run: Run, epoch: int, n_classes: int) -> Method:
    """The method after an epoch, from the checkpoint that the run has kept."""
    path = run.kept_checkpoint(epoch)
    run.check_file(path, run.record["kept"][str(epoch)])
    state = load_weights(path)["state_dict"]
    method = build(run.config, n_classes)
    method.load_state_dict({name.removeprefix("method."): x for name, x in state.items()})
    return method.eval()


def views_of_batch(method: Method, images: ImageSet) -> list[Tensor]:
    """The method's views of 128 of the images, the same for all methods with such views.

    Args:
        method: says which views are made.
        images: from which a batch is drawn, with equal numbers of each class.
    """
    batch = images.images[stratified(images.labels, min(BATCH, len(images)), seed=1)]
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    return MultiView(method.view_specs(batch.shape[-1]))(batch, generator)


def of_batch(method: Method, test: ImageSet) -> np.ndarray:
    """The similarities of the same views of the same test images, whatever the method."""
    return view_similarities(method, views_of_batch(method, test), SHOWN)


def knn_of(backbone: torch.nn.Module, train: ImageSet, test: ImageSet) -> float:
    """k-NN top-1 in percent, as after each epoch of training."""
    bank = features(backbone, train.images)
    ranked = knn(bank, train.labels, features(backbone, test.images), len(train.classes))
    return topk_accuracy(ranked, test.labels, 1)


# --- What is written --------------------------------------------------------------------------


def _each(moving: list[Movement], table: Callable[[Movement], pd.DataFrame]) -> pd.DataFrame:
    """A table of each run, one below the other, with beta in front."""
    parts = {movement.beta: table(movement) for movement in moving}
    return pd.concat(parts, names=["beta"])


def _coordinates(movement: Movement) -> pd.DataFrame:
    epochs = [pd.DataFrame(frame, columns=["x", "y"]) for frame in movement.places.round(3)]
    return pd.concat(dict(enumerate(epochs)), names=["epoch", "image"])


def _accuracy(movement: Movement) -> pd.DataFrame:
    return movement.accuracy.round(2)


def _similarities(movement: Movement) -> pd.DataFrame:
    """Each pair of views once, in hundredths."""
    pairs = [squareform(matrix, checks=False) for matrix in movement.similarities]
    hundredths = np.rint(100 * np.stack(pairs)).astype(int)
    return pd.DataFrame(hundredths).rename_axis("epoch")


def summary(runs: list[Run]) -> pd.DataFrame:
    """What the runs reached in the end, in percent."""
    last = {f"β = {run.config.beta:g}": run.metrics.iloc[-1] for run in runs}
    return pd.DataFrame(last).T[["epoch", *TOP1_COLUMNS]].rename(columns={"epoch": "epochs"})


def caption(config: TrainConfig, images: int, shown: int) -> str:
    """What was trained, and how the maps were made."""
    label = run_label(config, f"{images:,} training images", seeds=[config.seed])
    made = f"t-SNE (perplexity {PERPLEXITY:g}, cosine) of the backbone's features"
    turned = "each map turned onto that of the next epoch"
    return (
        f"Maps of {shown} test images before, during and after training: {label}; {made}, {turned}"
    )


def main() -> None:
    """Make one result."""
    name = parser("embedding", __doc__, RESULTS).parse_args().name
    configs = [with_data(config) for config in RESULTS[name]]
    finish(lambda: keep(name, configs))


if __name__ == "__main__":
    main()
