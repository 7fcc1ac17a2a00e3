"""What is measured and written after each epoch of training."""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from infomax_nb.distributed import gathered, share_buffers
from infomax_nb.errors import not_allowed
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.losses import mutual_information
from infomax_nb.objective.diagnostics import diagnostics
from infomax_nb.train.progress import duration, say
from infomax_nb.train.run import Run


class Recorder(pl.callbacks.Checkpoint):
    """After each epoch: evaluate, then write the metrics and, by the clock, a checkpoint.

    A checkpoint is written after the first epoch, after each that ends `interval` seconds or more
    after the last one was written, and after the last epoch. So a kill costs the epoch that it
    falls into, and less than an interval of whole epochs before it.

    The history is part of the checkpoint, where Lightning keeps it under the name of this class.
    `metrics.csv` may be ahead of it, but is cut to it when the run goes on, and ends the same.

    Args:
        run: the directory that is written to.
        evaluation: what measures the backbone.
        interval: seconds between two checkpoints.
        title: what a line after each epoch calls the run; empty for no such lines.
    """

    def __init__(self, run: Run, evaluation: OnlineEvaluation, interval: float, title: str = ""):
        self.run = run
        self.evaluation = evaluation
        self.interval = interval
        self.title = title
        self.history: list[dict] = []
        self.seconds: list[list[float]] = []  # of training and of evaluation, for each epoch
        self.epoch_start = time.perf_counter()
        self.last_save = -math.inf  # never: a checkpoint is due

    def state_dict(self) -> dict:
        # What an epoch that SIGTERM ends in its midst has taken so far; a resumed one goes on
        # without `on_train_epoch_start`.
        spent = time.perf_counter() - self.epoch_start
        state = {"history": self.history, "seconds": self.seconds, "spent": spent}
        return {**state, "evaluation": self.evaluation.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.history = state["history"]
        self.seconds = state["seconds"]
        self.epoch_start = time.perf_counter() - state["spent"]
        self.evaluation.load_state_dict(state["evaluation"])

    def total_seconds(self) -> dict[str, float]:
        """Seconds of all epochs, those of a trunk among them."""
        table = pd.DataFrame(self.seconds, columns=["train_seconds", "evaluation_seconds"])
        return table.sum().round(1).to_dict()

    def on_train_start(self, trainer, module) -> None:
        if self.history:  # read from a checkpoint just now
            self.last_save = time.monotonic()
            self._check_epochs_to_keep(module.config.keep_epochs or ())
        self._write_metrics(trainer)

    def _check_epochs_to_keep(self, wanted: Sequence[int]) -> None:
        """Refuse what comes too late: epochs that are over, and were not kept.

        Raises:
            ParameterError: there are some.
        """
        done = self.history[-1]["epoch"]
        late = [epoch for epoch in wanted if epoch <= done and epoch not in self.run.kept_epochs]
        if late:
            allowed = f"above {done}, the last epoch that the run has trained"
            raise not_allowed("keep_epochs", late, allowed)

    def on_train_epoch_start(self, trainer, module) -> None:
        self.epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer, module) -> None:
        row = {"epoch": trainer.current_epoch + 1}
        for name, total in module.totals().items():
            row[name] = float(total) / trainer.num_training_batches
        _refuse_nan_and_infinity(row, module)
        share_buffers(module.method)
        middle = time.perf_counter()
        row |= self._measured(row, module)
        end = time.perf_counter()
        self.history.append(row)
        self.seconds.append([round(middle - self.epoch_start, 3), round(end - middle, 3)])
        self._write_metrics(trainer)
        self._save_when_due(trainer, module.config)
        if self.title and trainer.is_global_zero:
            say(self._progress(module.config.epochs))

    def on_exception(self, trainer, module, exception) -> None:
        if isinstance(exception, SIGTERMException):  # raised between two steps
            self._save(trainer, self.run.checkpoint)
            trainer.strategy.checkpoint_io.teardown()  # the file is whole
            trainer.strategy.barrier()  # before any process ends: launchers then end all others

    def _measured(self, row: dict, module) -> dict[str, float]:
        """What an epoch's row gets beside its losses.

        Where these hold the paper's entropies, mutual information and the diagnostics of the last
        batch's projections; when an evaluation is due, its measures of the backbone.
        """
        config = module.config
        epoch = row["epoch"]
        measured: dict[str, float] = {}
        if "h_global" in row:
            views = [gathered(rows) for rows in module.projections]
            n_total = config.batch_size * len(views)
            measured |= mutual_information(row["h_global"], row["h_local"], len(views), n_total)
            measured |= diagnostics(views, module.method.objective)
        is_due = epoch % config.eval_every == 0 or epoch <= config.eval_first
        if is_due or epoch == config.epochs:
            measured |= self.evaluation(module.method.backbone, epoch)
        return measured

    def _progress(self, epochs: int) -> str:
        """The run, the epoch, and the time that is left if epochs go on as the last ones did."""
        last = [sum(each) for each in self.seconds[-10:]]
        epoch = self.history[-1]["epoch"]
        left = duration((epochs - epoch) * sum(last) / len(last))
        done = f"{self.title}: epoch {epoch} of {epochs}"
        return f"{done}, {left} left" if epoch < epochs else done

    def _write_metrics(self, trainer) -> None:
        """Write the history and what was predicted; no files before the first whole epoch."""
        if not trainer.is_global_zero:
            return
        self.evaluation.write(self.run.path / "predictions.npz")
        if self.history:
            self.run.write("metrics.csv", pd.DataFrame(self.history).to_csv(index=False))
        else:
            (self.run.path / "metrics.csv").unlink(missing_ok=True)

    def _save_when_due(self, trainer, config) -> None:
        epoch = trainer.current_epoch + 1
        keep = epoch in (config.keep_epochs or ())
        is_due = time.monotonic() - self.last_save >= self.interval
        if keep:  # before the other: killed in between, the run trains this epoch again
            self._save(trainer, self.run.kept_checkpoint(epoch))
        # All processes save, or none: the first one's clock decides.
        if trainer.strategy.broadcast(keep or is_due or epoch == config.epochs):
            self._save(trainer, self.run.checkpoint)

    def _save(self, trainer, path: Path) -> None:
        """Write a checkpoint. All processes take part, the first one writes."""
        trainer.save_checkpoint(path)
        self.last_save = time.monotonic()


def _refuse_nan_and_infinity(row: dict, module) -> None:
    """Raise FloatingPointError for a loss, or a weight after the last step, that is no number."""
    weights = module.method.state_dict().values()
    are_finite = torch.stack([value.isfinite().all() for value in weights]).all()
    checked = {**row, "weights": 0.0 if are_finite else math.nan}  # one number for all of them
    for name, value in checked.items():
        if not math.isfinite(value):
            became = "NaN" if math.isnan(value) else "infinite"
            run = f"{module.config.name} (lr {module.config.lr:g})"
            raise FloatingPointError(f"the {name} became {became} in epoch {row['epoch']} of {run}")
