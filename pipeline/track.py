"""`python -m pipeline.track RUNS`: send the metrics of runs to TensorBoard, W&B or MLflow.

RUNS is the folder of runs. Each epoch of a run, finished or not, becomes one step, and a run has
its own name there. Called again, it sends only what is new; `--follow` goes on until it is
interrupted. What was sent is noted in `RUNS/TRACKER/sent.json`: without that folder all is sent
anew.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from infomax_nb.errors import ParameterError, RunError, file_errors, one_line
from infomax_nb.files import atomic_write, runs_folder
from infomax_nb.train.run import Run
from pipeline.command import in_a_sentence

PROJECT = "infomax-nb"
SECONDS = 5.0  # between two looks at the runs
# Makes a run's logger from the tracker's folder, the run's name, and the tracker's id of the run
# if it has had one before.
Make = Callable[[Path, str, str | None], Logger]


def tensorboard(folder: Path, name: str, known_as: str | None) -> Logger:
    """Event files in a folder of the run's name."""
    return TensorBoardLogger(folder, name="", version=name, default_hp_metric=False)


def wandb(folder: Path, name: str, known_as: str | None) -> Logger:
    """A run of Weights & Biases, open beside others; WANDB_MODE=offline keeps it here."""
    options: dict = {"resume": "allow", "reinit": "create_new"}
    return WandbLogger(name, folder, id=name, project=PROJECT, **options)


def mlflow(folder: Path, name: str, known_as: str | None) -> Logger:
    """A run of MLflow, at MLFLOW_TRACKING_URI or in a database in the folder."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve()}/mlflow.db"
    return MLFlowLogger(PROJECT, run_name=name, run_id=known_as, tracking_uri=uri)


TRACKERS: dict[str, Make] = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}


class Sender:
    """Sends each epoch of each run once.

    Args:
        folder: the tracker's own folder, which holds the note of what was sent.
        make: makes the logger of a run.

    Raises:
        RunError: the note cannot be read.
    """

    def __init__(self, folder: Path, make: Make):
        self.folder = folder
        self.make = make
        self.loggers: dict[str, Logger] = {}  # of runs that go on
        self.note = folder / "sent.json"
        self.sent: dict[str, dict[str, Any]] = {}
        if self.note.exists():
            cure = f" Without the folder {folder} all is sent anew."
            with file_errors(self.note, "runs", RunError, cure):
                self.sent = dict(json.loads(self.note.read_bytes()))

    def send(self, run: Run) -> int:
        """Send the epochs that the run has and that were not sent; return their number.

        Raises:
            RunError: a file of the run is not what the run wrote.
        """
        name = run.path.name
        last = self.sent.get(name, {}).get("epoch", 0)
        metrics = run.metrics
        new = metrics[metrics.epoch > last]
        if new.empty:
            return 0
        logger = self._logger(run)
        for row in new.to_dict("records"):
            epoch = int(row.pop("epoch"))
            measured = {key: value for key, value in row.items() if value == value}  # no NaN
            logger.log_metrics(measured, epoch)
            last = epoch
        logger.save()
        self.sent[name] = {"epoch": last, "id": logger.version}
        text = json.dumps(self.sent, indent=1)
        atomic_write(self.note, lambda part: part.write_text(text, encoding="utf-8"))
        if run.finished:
            self._close(name)
        return len(new)

    def _logger(self, run: Run) -> Logger:
        """The run's logger, which knows its configuration."""
        name = run.path.name
        if name not in self.loggers:
            self.folder.mkdir(parents=True, exist_ok=True)
            known_as = self.sent.get(name, {}).get("id")
            self.loggers[name] = self.make(self.folder, name, known_as)
            if known_as is None:
                self.loggers[name].log_hyperparams(run.config.identity())
        return self.loggers[name]

    def _close(self, name: str) -> None:
        logger = self.loggers.pop(name)
        logger.finalize("success")
        finish = getattr(getattr(logger, "experiment", None), "finish", None)
        if finish:  # W&B's runs stay open otherwise
            finish()


def runs_in(folder: Path) -> list[Run]:
    """The runs in a folder that have at least one epoch."""
    return [Run(path.parent) for path in sorted(folder.glob("*/metrics.csv"))]


def send_all(sender: Sender, runs_dir: Path) -> int:
    """Send what is new in all runs; damaged ones are named on stderr."""
    epochs = 0
    for run in runs_in(runs_dir):
        try:
            epochs += sender.send(run)
        except (RunError, ParameterError) as error:
            print(f"left out: {one_line(error)}", file=sys.stderr)
    return epochs


def track(runs_dir: Path, tracker: str, follow: bool) -> str:
    """Send the runs' metrics; return what was sent where, in a sentence.

    Raises:
        ParameterError: there are no runs, or the tracker is not installed.
    """
    if not runs_in(runs_dir):
        raise ParameterError(f"{runs_dir} holds no run that has finished an epoch.")
    folder = runs_dir / tracker
    sender = Sender(folder, TRACKERS[tracker])
    try:
        epochs = send_all(sender, runs_dir)
        while follow:
            time.sleep(SECONDS)
            epochs += send_all(sender, runs_dir)
    except KeyboardInterrupt:
        pass
    except ModuleNotFoundError:
        install = f".tools/bin/uv pip install --python .venv/bin/python {tracker}"
        raise ParameterError(f"{tracker} is not installed: {install}") from None
    look = f"; .venv/bin/tensorboard --logdir {folder}" if tracker == "tensorboard" else ""
    return f"{epochs} new epochs sent, of {len(sender.sent)} runs: {folder}{look}"


def main() -> None:
    """Send what is new."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.track", description=__doc__)
    parser.add_argument("runs", nargs="?", default="runs", help="the folder of runs")
    parser.add_argument("--to", choices=TRACKERS, default="tensorboard")
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    given = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with in_a_sentence():
        print(track(runs_folder(given.runs), given.to, given.follow))


if __name__ == "__main__":
    main()
