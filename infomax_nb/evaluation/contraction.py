"""Whether runs did what a threshold said of them before they began (docs/contraction.md)."""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import stratified
from infomax_nb.evaluation.probe import initial
from infomax_nb.methods import Method
from infomax_nb.seeds import Use, stream
from infomax_nb.views.batch import MultiView

BATCH = 128  # images
SMALL = 0.1  # of the spread before training, below which a run counts as collapsed

# --- Before a run begins ----------------------------------------------------------------------


def views_of_batch(method: Method, images: ImageSet, draw: int = 1) -> list[Tensor]:
    """The method's views of 128 of the images, the same for all methods with such views.

    Args:
        method: says which views are made.
        images: from which a batch is drawn, with equal numbers of each class.
        draw: seed of the draw.
    """
    batch = images.images[stratified(images.labels, min(BATCH, len(images)), draw)]
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    return MultiView(method.view_specs(batch.shape[-1]))(batch, generator)


@torch.no_grad()
def projections(method: Method, views: list[Tensor]) -> list[Tensor]:
    """The projections of the views as a training step has them: by the batch's own statistics."""
    method.train()
    return method.project(views)


def first_projections(config: TrainConfig, images: ImageSet, draw: int = 1) -> list[Tensor]:
    """V tensors (128, D): what a run's network makes of a batch before its first step.

    Args:
        config: of the run; its seed sets the weights.
        images: see `views_of_batch`, as for `draw`.
        draw: seed of the batch's draw.
    """
    start = initial(config, len(images.classes))
    return projections(start, views_of_batch(start, images, draw))


# --- After it has ended -----------------------------------------------------------------------


def outcome(rows: pd.DataFrame, small: float = SMALL) -> pd.DataFrame:
    """The rows with what was predicted and what happened, true or false.

    Args:
        rows: a row for each run with `beta` (alpha is 1), `threshold_start`, `threshold_collapsed`
            and the batch's spread before training and after each epoch, `spread_0`, `spread_1`, ...
        small: the share of the spread before training below which a run counts as collapsed.

    Returns:
        The same with `contracts_predicted`, `contracts`, `collapses_predicted` and `collapses`.
    """
    last = max(int(name.removeprefix("spread_")) for name in rows if name.startswith("spread_"))
    above_start = rows.beta > rows.threshold_start
    return rows.assign(
        contracts_predicted=above_start,
        contracts=rows.spread_1 < rows.spread_0,
        collapses_predicted=above_start & (rows.beta > rows.threshold_collapsed),
        collapses=rows[f"spread_{last}"] < small * rows.spread_0,
    )


def right(predicted: pd.DataFrame) -> pd.DataFrame:
    """How many predictions came true, beside the best constant guess, for both predictions."""
    questions = {
        "contracts": "contracts in the first epoch",
        "collapses": "is collapsed at the end",
    }
    table = {}
    for name, words in questions.items():
        happened = predicted[name]
        table[words] = {
            "runs": len(predicted),
            "predicted": int(predicted[f"{name}_predicted"].sum()),
            "happened": int(happened.sum()),
            "right": int((predicted[f"{name}_predicted"] == happened).sum()),
            "best constant guess": int(max(happened.sum(), (~happened).sum())),
        }
    return pd.DataFrame(table).T.rename_axis("a run …")


def by_criterion(rows: pd.DataFrame, smalls: Iterable[float]) -> pd.DataFrame:
    """`right`'s last row for other shares below which a run counts as collapsed.

    Args:
        rows: as for `outcome`.
        smalls: the shares.
    """
    found = {small: right(outcome(rows, small)).iloc[-1] for small in smalls}
    return pd.DataFrame(found).T.rename_axis("collapsed: spread below … of the first")
