"""train.recorder."""

import math
import os
import time
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from infomax_nb.config import TrainConfig
from infomax_nb.distributed import gathered
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import atomic_write
from infomax_nb.losses import mutual_information
from infomax_nb.objective.diagnostics import diagnostics
from infomax_nb.train import branches


def save_interval() -> float:
    """Seconds between two checkpoints: 60, or what the environment variable INFOMAX_SAVE_SECONDS
    says.

    Raises ParameterError for what is no number of seconds.
    """
    said = os.environ.get("INFOMAX_SAVE_SECONDS", "60")
    try:
        seconds = float(said)
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        allowed = "it must be a number of seconds, 0 for a checkpoint after each epoch"
        raise ParameterError(f"INFOMAX_SAVE_SECONDS = {said!r} is not allowed: {allowed}.")
    return seconds


class Recorder(pl.callbacks.Checkpoint):
    """After each epoch: evaluate, then write the metrics and, by the clock, a checkpoint, each
    whole or not at all.

    A checkpoint is written after the first epoch, after each that ends `interval` seconds or more
    after the last one was written, and after the last epoch: a kill costs the epoch that it falls
    into, and whole ones before it only as far as all of them took less than the interval. The
    history is part of the checkpoint: `metrics.csv` may be ahead of it, but is cut to it when the
    run goes on, and ends the same.
    """

    def __init__(self, folder: Path, evaluation: OnlineEvaluation, interval: float = 60.0):
        self.folder, self.evaluation, self.interval = folder, evaluation, interval
        self.last_save = -math.inf
        self.history, self.seconds, self.started = (
            list[dict](),
            list[list[float]](),
            time.perf_counter(),
        )

    def state_dict(self) -> dict:
        spent, evaluation = time.perf_counter() - self.started, self.evaluation.state_dict()
        return {
            "history": self.history,
            "seconds": self.seconds,
            "spent": spent,
            "evaluation": evaluation,
        }

    def load_state_dict(self, state: dict) -> None:
        self.history, self.seconds = state["history"], state["seconds"]
        self.started = time.perf_counter() - state["spent"]  # of the epoch that was interrupted
        self.evaluation.load_state_dict(state["evaluation"])

    def on_train_start(self, trainer, loop) -> None:
        self.write_metrics(trainer)
        if self.history:  # read from a checkpoint just now
            self.last_save = time.monotonic()

    def on_train_epoch_start(self, trainer, loop) -> None:
        self.started = time.perf_counter()

    def on_exception(self, trainer, loop, exception) -> None:
        if isinstance(exception, SIGTERMException):  # raised between two steps
            self.save(trainer)

    def save(self, trainer, keep: int | None = None) -> None:
        """Write the checkpoint, or one that is kept; all processes take part, the first one
        writes."""
        path = branches.kept(self.folder, keep) if keep else self.folder / "checkpoint.ckpt"
        atomic_write(
            path, trainer.save_checkpoint
        ) if trainer.is_global_zero else trainer.save_checkpoint(path)
        self.last_save = time.monotonic()

    def write_metrics(self, trainer) -> None:
        """Write the history as `metrics.csv` and `predictions.npz`; there is none without a whole
        epoch."""
        path = self.folder / "metrics.csv"
        if not trainer.is_global_zero:
            return
        self.evaluation.write(self.folder / "predictions.npz")
        if self.history:
            atomic_write(path, lambda p: pd.DataFrame(self.history).to_csv(p, index=False))
        else:
            path.unlink(missing_ok=True)

    def on_train_epoch_end(self, trainer, loop) -> None:
        config, steps = loop.config, trainer.num_training_batches
        row = {"epoch": trainer.current_epoch + 1} | {
            k: float(v) / steps for k, v in loop.totals().items()
        }
        for name, value in row.items():
            if not math.isfinite(value):
                _refuse_numbers(name, value, row["epoch"], config)
        if not all(
            v.isfinite().all() for v in loop.method.state_dict().values()
        ):  # the last step's, not in a loss yet
            _refuse_numbers("weights", math.nan, row["epoch"], config)
        trained = time.perf_counter()
        if "h_global" in row:
            views = [gathered(p) for p in loop.projections]
            row |= mutual_information(
                row["h_global"], row["h_local"], len(views), config.batch_size * len(views)
            )
            row |= diagnostics(views, loop.method.objective)
        usual = row["epoch"] % config.eval_every == 0 or row["epoch"] <= config.eval_first
        if usual or row["epoch"] == config.epochs:
            row |= self.evaluation(loop.method.backbone, row["epoch"])
        self.history.append(row)
        self.seconds.append(
            [round(trained - self.started, 3), round(time.perf_counter() - trained, 3)]
        )
        self.write_metrics(trainer)
        keep = row["epoch"] in (config.keep_epochs or ())
        due = (
            keep
            or row["epoch"] == config.epochs
            or time.monotonic() - self.last_save >= self.interval
        )
        if keep:  # first, or a run that is killed in between would go on after this epoch
            self.save(trainer, keep=row["epoch"])
        if trainer.strategy.broadcast(due):  # all processes save, or none
            self.save(trainer)


def _refuse_numbers(what: str, value: float, epoch: int, config: TrainConfig) -> NoReturn:
    became = "NaN" if math.isnan(value) else "infinite"
    raise FloatingPointError(
        f"the {what} became {became} in epoch {epoch} of {config.name} (lr {config.lr:g})"
    )
