"""`python -m pipeline.contraction NAME` tests which runs contract, as docs/contraction.md says.

NAME is a result, `contraction_glyphs` or `contraction_cifar10`, and `reports/NAME/` is where it is
kept. CIFAR-10 is read from the folder that INFOMAX_DATA names, else from `data`. Interrupted, the
same command goes on where it was. With `--recompute` nothing is trained: predictions and outcomes
are computed anew from the numbers in `reports/NAME/runs.csv`.
"""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.evaluation.contraction import (
    SMALL,
    outcome,
    right,
)
from infomax_nb.files import project_root
from infomax_nb.methods import Method, initial
from infomax_nb.objective.contraction import contraction_threshold, drawn_together, spread
from infomax_nb.plots import shades
from infomax_nb.report import export_tables, run_label
from infomax_nb.train import fit_all
from infomax_nb.train.fitting import datasets
from infomax_nb.train.run import Run
from pipeline.command import finish, parser, with_data
from pipeline.embedding import after, views_of_batch

OTHERS = (0.01, 0.05, SMALL, 0.2, 0.5)  # shares of the spread below which a run is collapsed
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
    before = first_projections(config, test)
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
        views = views_of_batch(method, test)
        row[f"spread_{epoch}"] = spread(projections(method, views))
    last = run.metrics.iloc[-1]
    return row | {name: float(last[name]) for name in ("mi_density", "linear_top1", "knn_top1")}


@torch.no_grad()
def projections(method: Method, views: list[Tensor]) -> list[Tensor]:
    """The projections of the views as a training step has them: by the batch's own statistics."""
    method.train()
    return method.project(views)


def first_projections(config: TrainConfig, images: ImageSet) -> list[Tensor]:
    """V tensors (128, D): what a run's network makes of a batch before its first step.

    Args:
        config: of the run; its seed sets the weights.
        images: see `views_of_batch`.
    """
    start = initial(config, len(images.classes))
    return projections(start, views_of_batch(start, images))


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


def recompute(name: str, reports: Path | None = None) -> str:
    """How many predictions came true, from the numbers that are kept; nothing is trained.

    Args:
        name: the result.
        reports: the folder of all results; None means the project's.

    Returns:
        The table of both predictions, whether it is the kept one, and the table of the second
        prediction for other shares of the spread below which a run counts as collapsed.
    """
    folder = (reports or project_root() / "reports") / name
    kept = pd.read_csv(folder / "runs.csv")
    numbers = kept[[column for column in kept if kept[column].dtype != bool]]
    table = right(outcome(numbers))
    same = table.equals(pd.read_csv(folder / "table.csv", index_col=0))
    found = f"the same as in reports/{name}/table.csv: {'yes' if same else 'no'}"
    others = by_criterion(numbers, OTHERS)
    return f"{table.to_string()}\n{found}\n\n{others.to_string()}"


def by_criterion(rows: pd.DataFrame, smalls: Iterable[float]) -> pd.DataFrame:
    """`right`'s last row for other shares below which a run counts as collapsed.

    Args:
        rows: as for `outcome`.
        smalls: the shares.
    """
    found = {small: right(outcome(rows, small)).iloc[-1] for small in smalls}
    return pd.DataFrame(found).T.rename_axis("collapsed: spread below … of the first")


def main() -> None:
    """Make one result, or recompute what was concluded from it."""
    asking = parser("contraction", __doc__, RESULTS)
    asking.add_argument(
        "--recompute", action="store_true", help="from the kept numbers, in seconds"
    )
    asked = asking.parse_args()
    if asked.recompute:
        finish(lambda: recompute(asked.name))
    else:
        finish(lambda: keep(asked.name, with_data(RESULTS[asked.name])))


if __name__ == "__main__":
    main()
