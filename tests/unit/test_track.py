"""What trackers get of runs: each epoch once, under the run's own name."""

import re
from pathlib import Path

import pandas as pd
import pytest
from checkout import SMALL
from lightning_fabric import loggers as fabric_loggers
from pytorch_lightning import loggers
from pytorch_lightning.loggers import Logger

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from pipeline.track import Sender, runs_in, send_all, track


class Recorded(Logger):
    """A tracker that keeps what it is told."""

    def __init__(self, folder: Path, name: str, known_as: str | None):
        self.told: list[tuple[int, dict]] = []
        self.settings: list[dict] = []
        self.ended: list[str] = []
        self.known_as = known_as
        self._name = name

    @property
    def name(self):
        return self._name

    @property
    def version(self):
        return f"id of {self._name}"

    def log_hyperparams(self, params):
        self.settings.append(params)

    def log_metrics(self, metrics, step):
        self.told.append((step, metrics))

    def finalize(self, status):
        self.ended.append(status)


class Tracker:
    """Makes loggers, and keeps them by the run's name."""

    def __init__(self):
        self.made: dict[str, list[Recorded]] = {}

    def __call__(self, *told) -> Recorded:
        logger = Recorded(*told)
        self.made.setdefault(logger.name, []).append(logger)
        return logger


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    runs_dir = str(tmp_path_factory.mktemp("runs"))
    return fit(TrainConfig(**{**SMALL, "epochs": 4, "eval_every": 4}, runs_dir=runs_dir))


def after(finished: Run, epochs: int, runs_dir: Path) -> Run:
    """The run as it was after some epochs."""
    run = Run(runs_dir / finished.path.name)
    run.path.mkdir(parents=True, exist_ok=True)
    run.write("config.yaml", (finished.path / "config.yaml").read_text())
    run.write("metrics.csv", finished.metrics.head(epochs).to_csv(index=False))
    return run


def test_each_epoch_is_sent_once(finished, tmp_path):
    tracker = Tracker()
    sender = Sender(tmp_path / "tracker", tracker)
    assert sender.send(finished) == 4
    assert sender.send(finished) == 0
    assert Sender(tmp_path / "tracker", tracker).send(finished) == 0  # as if called again
    ((logger,),) = tracker.made.values()
    assert [step for step, _ in logger.told] == [1, 2, 3, 4]
    assert logger.name == finished.path.name
    assert logger.settings == [finished.config.identity()]
    assert logger.ended == ["success"]


def test_what_was_not_measured_is_not_sent(finished, tmp_path):
    """The accuracies of the first three epochs."""
    tracker = Tracker()
    Sender(tmp_path, tracker).send(finished)
    ((logger,),) = tracker.made.values()
    for (_, told), (_, row) in zip(logger.told, finished.metrics.iterrows(), strict=True):
        assert pd.Series(told).equals(row.drop("epoch").dropna())
    assert ["knn_top1" in told for _, told in logger.told] == [False, False, False, True]


def test_a_run_that_goes_on_is_followed(finished, tmp_path):
    tracker = Tracker()
    sender = Sender(tmp_path / "tracker", tracker)
    run = after(finished, 1, tmp_path / "runs")
    assert sender.send(run) == 1
    after(finished, 3, tmp_path / "runs")
    assert sender.send(run) == 2
    ((logger,),) = tracker.made.values()
    assert [step for step, _ in logger.told] == [1, 2, 3]
    assert not logger.ended


def test_a_tracker_that_is_called_again_goes_on_with_its_own_id(finished, tmp_path):
    tracker = Tracker()
    run = after(finished, 2, tmp_path / "runs")
    Sender(tmp_path / "tracker", tracker).send(run)
    after(finished, 3, tmp_path / "runs")
    Sender(tmp_path / "tracker", tracker).send(run)
    ((first, second),) = tracker.made.values()
    assert first.known_as is None
    assert second.known_as == first.version
    assert [step for step, _ in second.told] == [3]
    assert not second.settings  # known already


def test_a_damaged_run_is_left_out_and_named(finished, tmp_path, capsys):
    after(finished, 2, tmp_path)
    other = tmp_path / "damaged"
    other.mkdir()
    (other / "metrics.csv").write_text("epoch,loss\n1,0.5\n")
    (other / "record.json").write_text("[]")
    assert len(runs_in(tmp_path)) == 2
    assert send_all(Sender(tmp_path / "tracker", Tracker()), tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("left out: ")
    assert str(other) in line


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_note_of_what_was_sent_is_named(tmp_path, text):
    (tmp_path / "sent.json").write_text(text)
    with pytest.raises(RunError, match=f"runs: {tmp_path}/sent.json cannot be used") as error:
        Sender(tmp_path, Tracker())
    assert str(error.value).endswith(f"Without the folder {tmp_path} all is sent anew.")


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_refused_in_a_sentence(finished, tracker, monkeypatch):
    monkeypatch.setattr(loggers.mlflow, "_MLFLOW_AVAILABLE", False)
    monkeypatch.setattr(loggers.wandb, "_WANDB_AVAILABLE", False)
    monkeypatch.setattr(fabric_loggers.tensorboard, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(fabric_loggers.tensorboard, "_TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(ParameterError) as error:
        track(finished.path.parent, tracker, follow=False)
    install = f"pip install --python .venv/bin/python {tracker}"
    assert re.fullmatch(f"{tracker} is not installed: .* ?{install}", str(error.value))


def test_tensorboards_files_hold_each_epoch_once(finished, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = after(finished, 2, tmp_path)
    track(tmp_path, "tensorboard", follow=False)
    after(finished, 4, tmp_path)
    for _ in range(2):
        track(tmp_path, "tensorboard", follow=False)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard" / run.path.name)).Reload()
    told = [(each.step, each.value) for each in events.Scalars("loss")]
    metrics = finished.metrics
    assert [step for step, _ in told] == metrics.epoch.tolist()
    assert [value for _, value in told] == pytest.approx(metrics.loss.tolist(), rel=1e-6)
