"""`python -m pipeline.contraction NAME` tests which runs contract, as docs/contraction.md says.

NAME is a result, `contraction_glyphs` or `contraction_cifar10`, and `reports/NAME/` is where it is
kept. CIFAR-10 is read from the folder that INFOMAX_DATA names, else from `data`. Interrupted, the
same command goes on where it was.
"""

import argparse
import os
import sys
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.contraction import outcome, right
from infomax_nb.evaluation.probe import initial
from infomax_nb.methods import Method
from infomax_nb.objective.contraction import contraction_threshold, drawn_together, spread
from infomax_nb.plots import shades
from infomax_nb.report import export_tables, run_label
from infomax_nb.seeds import Use, stream
from infomax_nb.train import fit_all
from infomax_nb.train.fitting import datasets
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from pipeline.embedding import after

BATCH = 128  # images
COLLAPSED = 0.01  # of a batch's distances to its mean, where it counts as collapsed
KAPPAS = (1.0, 10.0)
BETAS = (0.5, 0.8, 1.0, 1.1, 1.25, 2.0)
COMMON = TrainConfig(n_train=2400, epochs=6, runs_dir="runs/contraction")
RESULTS = {
    "contraction_glyphs": COMMON,
    "contraction_cifar10": COMMON.replace(dataset="cifar10"),
}


def keep(name: str, config: TrainConfig, reports: Path | None = None) -> str:
    """Train what is not yet trained, and write `reports/<name>/`.

    Args:
        name: the result.
        config: what all runs have in common.
        reports: the folder of all results; None means the project's.

    Returns:
        What was written where, as a sentence.
    """
    kept = range(1, config.epochs + 1)
    every = config.replace(keep_epochs=kept)
    configs = [every.replace(kappa=k, beta=b) for k, b in product(KAPPAS, BETAS)]
    runs = fit_all(configs)
    train, test = datasets(config)
    rows = pd.DataFrame([watched(run, train, test) for run in runs])
    predicted = outcome(rows)
    tables = {"runs": predicted.set_index(["kappa", "beta"]), "table": right(predicted)}
    label = run_label(config, f"{len(train):,} training images", seeds=[config.seed])
    caption = f"Which runs contract, predicted from a batch before training: {label}"
    return export_tables(name, tables, draw(predicted), caption, runs, reports)


def watched(run: Run, train: ImageSet, test: ImageSet) -> dict[str, float]:
    """Both thresholds before training, and the spread of the batch before and after epochs."""
    config = run.config
    images = test.images[stratified(test.labels, min(BATCH, len(test)), 1)]
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    start = initial(config, len(train.classes))
    views = MultiView(start.view_specs(images.shape[-1]))(images, generator)
    before = projections(start, views)
    small = drawn_together(before, COLLAPSED)
    row = {
        "kappa": config.kappa,
        "beta": config.beta,
        "threshold_start": contraction_threshold(before, config.kappa),
        "threshold_collapsed": contraction_threshold(small, config.kappa),
        "spread_0": spread(before),
    }
    for epoch in range(1, config.epochs + 1):
        method = after(run, epoch, len(train.classes))
        row[f"spread_{epoch}"] = spread(projections(method, views))
    last = run.metrics.iloc[-1]
    return row | {name: float(last[name]) for name in ("mi_density", "linear_top1", "knn_top1")}


@torch.no_grad()
def projections(method: Method, views: list[Tensor]) -> list[Tensor]:
    """The projections of the views as a training step has them: by the batch's own statistics."""
    method.train()
    return method.project(views)


def draw(predicted: pd.DataFrame) -> Figure:
    """The spread after each epoch over that before training, a panel for each kappa."""
    kappas = sorted(predicted.kappa.unique())
    figure, (axes,) = plt.subplots(
        1, len(kappas), figsize=(9.5, 4), sharey=True, squeeze=False, layout="constrained"
    )
    colours = shades(sorted(predicted.beta.unique()))
    epochs = [column for column in predicted if column.startswith("spread_")]
    for axis, kappa in zip(axes, kappas, strict=True):
        of_kappa = predicted[predicted.kappa == kappa]
        for _, row in of_kappa.iterrows():
            style = "--" if row.contracts_predicted else "-"
            relative = (row[epochs].astype(float) / row.spread_0).to_numpy()
            colour = colours[row.beta]
            axis.plot(range(len(epochs)), relative, style, color=colour, label=f"β = {row.beta:g}")
        threshold = of_kappa.threshold_start.iloc[0]
        axis.set(title=f"κ = {kappa:g}: threshold {threshold:.2f}", xlabel="epoch")
        axis.set_yscale("log")
    axes[0].set_ylabel("spread / spread before training")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def main() -> None:
    """Make one result."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.contraction", description=__doc__)
    parser.add_argument("name", choices=RESULTS, metavar="NAME", help=" or ".join(RESULTS))
    name = parser.parse_args().name
    data_root = os.environ.get("INFOMAX_DATA", "data")
    try:
        print(keep(name, RESULTS[name].replace(data_root=data_root)))
    except (ParameterError, RunError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
