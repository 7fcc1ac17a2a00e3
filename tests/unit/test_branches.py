"""Runs that begin where another one was, what a run keeps, and what it predicts of test images."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from checkout import ROOT
from lightly.models import utils
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import best_within
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.files import file_digest
from infomax_nb.train.__main__ import main
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.run import Run, collect
from pipeline.sweep import runs_of

SMALL = {"n_classes": 12, "n_train": 64, "batch_size": 32, "proj_dim": 8, "device": "cpu"}
METHODS = ("infomax", "simclr", "byol")


def weights(run: Run) -> dict:
    return {name: torch.as_tensor(value) for name, value in run.weights.items()}


def assert_same(run: Run, other: Run) -> None:
    """Metrics, predictions and weights are the same, bit for bit."""
    for file in ("metrics.csv", "predictions.npz"):
        assert (run.path / file).read_bytes() == (other.path / file).read_bytes(), file
    theirs = weights(other)
    assert theirs.keys() == weights(run).keys()
    for name, value in weights(run).items():
        assert torch.equal(value, theirs[name]), name


@pytest.fixture(scope="module", params=METHODS)
def trunk(request, tmp_path_factory):
    """A finished run of six epochs that has kept the third and the last."""
    runs_dir = str(tmp_path_factory.mktemp(request.param))
    config = TrainConfig(**SMALL, method=request.param, epochs=6, runs_dir=runs_dir)
    return fit(config.replace(keep_epochs=[6, 3]))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A finished run of ours that has kept its first epoch."""
    folder = tmp_path_factory.mktemp("ours")
    return fit(TrainConfig(**SMALL, epochs=2, keep_epochs=1, runs_dir=str(folder)))


def branch(run: Run, epoch: int, **changes) -> TrainConfig:
    start = {"keep_epochs": None, "start_from": run.path.name, "start_epoch": epoch}
    return run.config.replace(**{**start, **changes})


def copy_of(run: Run, folder: Path) -> Run:
    """The run in another folder of runs."""
    copy = Run(folder / run.path.name)
    shutil.copytree(run.path, copy.path)
    return copy


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forget(run: Run, name: str) -> None:
    """Make it a run from before that entry of the record was written."""
    record = {key: value for key, value in run.record.items() if key != name}
    run.write("record.json", json.dumps({**record, "seal": run.seal(record)}))


def one_sentence(refused) -> str:
    """What an error says, of which it is sure that it has one line."""
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


# --- A branch is the run that it would have been --------------------------------------------------


def test_a_branch_with_its_trunks_values_is_its_trunk(trunk):
    same = fit(branch(trunk, 3))
    assert same.path != trunk.path
    assert_same(same, trunk)


# BYOL's momentum knows where a run ends.
@pytest.mark.parametrize("trunk", ["infomax", "simclr"], indirect=True)
def test_six_epochs_and_six_more_are_twelve(trunk):
    whole = fit(trunk.config.replace(epochs=12, keep_epochs=None))
    assert_same(fit(branch(trunk, 6, epochs=12)), whole)
    assert whole.metrics.epoch.tolist() == list(range(1, 13))


def test_a_branch_of_a_branch(ours):
    first = fit(branch(ours, 1, epochs=3, keep_epochs=[2]))
    second = fit(branch(first, 2, epochs=3))
    assert_same(second, first)
    assert second.record["trunk"]["name"] == first.path.name


def test_a_branch_goes_its_own_way_after_the_start(ours):
    other = fit(branch(ours, 1, beta=0.2, lr=1e-4))
    pd.testing.assert_frame_equal(other.metrics[:1], ours.metrics[:1])
    assert other.metrics.loss[1] != ours.metrics.loss[1]
    assert other.record["trunk"] == {
        "name": ours.path.name,
        "epoch": 1,
        "sha256": file_digest(ours.path / "epoch_1.ckpt"),
        "commit": ours.record["commit"],
    }


def test_its_rate_is_its_own(ours):
    """One step from one checkpoint at two rates: AdamW's steps without decay are as their rates."""
    start = fit(ours.config.replace(batch_size=64, epochs=1, keep_epochs=[1]))
    step = step_at_rate(start, 1e-4)
    triple = step_at_rate(start, 3e-4)
    assert (triple - 3 * step).abs().max() < 1e-6
    assert (step.abs() > 5e-5).sum() > 1000


def step_at_rate(start: Run, lr: float) -> torch.Tensor:
    """How far a step after the run's only epoch moves its weights, all in a row."""
    after = weights(fit(branch(start, 1, epochs=2, lr=lr, weight_decay=0.0)))
    before = weights(start)
    trained = [name for name in after if "running" not in name and after[name].is_floating_point()]
    return torch.cat([(after[name] - before[name]).flatten() for name in trained]).double()


def test_a_killed_branch_goes_on_from_its_own_checkpoint(ours):
    """Killed in its third epoch; its trunk is gone when it goes on."""
    config = branch(ours, 1, epochs=4, beta=0.5)
    whole = fit(config)
    place = config.run_dir.parent / "moved"
    trunk = copy_of(ours, place)
    moved = config.replace(runs_dir=str(place))
    script = Path(__file__).with_name("killed.py")
    done = python(str(script), json.dumps(moved.model_dump()), "4")
    assert done.returncode == -9, done.stderr
    run = Run(moved.run_dir)
    assert (run.path / "checkpoint.ckpt").exists()
    assert not run.finished
    assert run.predictions["epochs"].tolist() == [1, 2, 3]  # what there is can be read
    shutil.rmtree(trunk.path)
    assert_same(fit(moved), whole)
    assert run.record["trunk"] == whole.record["trunk"]


def python(*arguments: str) -> subprocess.CompletedProcess:
    """Python, on one thread; what is trained writes a checkpoint after each epoch."""
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "INFOMAX_SAVE_SECONDS": "0"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True)


# --- What is kept ---------------------------------------------------------------------------------


def test_what_a_run_keeps_is_named_in_its_record_and_no_part_of_its_name(trunk):
    files = {path.name for path in trunk.path.glob("*.ckpt")}
    assert files == {"epoch_3.ckpt", "epoch_6.ckpt"}
    kept = {epoch: file_digest(trunk.path / f"epoch_{epoch}.ckpt") for epoch in ("3", "6")}
    assert trunk.record["kept"] == kept
    assert trunk.config.keep_epochs == (3, 6)
    assert trunk.config.replace(keep_epochs=None).name == trunk.path.name
    assert collect(trunk.path.parent).run.nunique() >= 1


@pytest.mark.parametrize(
    "given", [[1, 2], (2, 1), "[1, 2]", [2, 1, 2], ["1", 2.0], np.array([1, 2])]
)
def test_epochs_to_keep_may_be_written_in_any_way(given):
    assert TrainConfig(keep_epochs=given).keep_epochs == (1, 2)


@pytest.mark.parametrize("given", [None, [], "", "[]", "none"])
def test_nothing_to_keep(given):
    assert TrainConfig(keep_epochs=given).keep_epochs is None


def test_epochs_to_keep_are_no_list_of_runs_of_a_sweep(tmp_path):
    file = tmp_path / "sweep.yaml"
    sweep = {**SMALL, "epochs": 2, "keep_epochs": [1, 2], "betas": [0.5, 1]}
    file.write_text(yaml.safe_dump(sweep))
    runs = list(runs_of(file).values())
    assert [(run["beta"], run["keep_epochs"]) for run in runs] == [(0.5, [1, 2]), (1, [1, 2])]


def test_epochs_to_keep_are_text_on_the_command_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "epochs": 1, "runs_dir": str(tmp_path / "runs")}))
    monkeypatch.setattr(sys, "argv", ["train", str(file), "-p", "keep_epochs", "[1]"])
    main()
    run = Run(Path(capsys.readouterr().out.strip()))
    assert list(run.record["kept"]) == ["1"]


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start_from": "x"}, "start_from = 'x' is not allowed without start_epoch"),
        ({"start_epoch": 1}, "start_epoch = 1 is not allowed without start_from"),
        (
            {"start_from": "x", "start_epoch": 0},
            "start_epoch = 0 is not allowed: it must be greater than or equal to 1",
        ),
        (
            {"start_from": "x", "start_epoch": 8},
            "start_epoch = 8 is not allowed: it must be less than epochs = 8",
        ),
        (
            {"start_from": "x/y", "start_epoch": 1},
            "start_from = 'x/y' is not allowed: it must be the name of a run",
        ),
        ({"start_from": "..", "start_epoch": 1}, "start_from = '..' is not allowed"),
        (
            {"keep_epochs": [4, 9]},
            "keep_epochs = [4, 9] is not allowed: 9 in it must be at most epochs = 8",
        ),
        (
            {"keep_epochs": [0, 3]},
            "keep_epochs = [0, 3] is not allowed: 0 in it must be greater than or equal to 1",
        ),
        (
            {"keep_epochs": "some"},
            "keep_epochs = 'some' is not allowed: it must be a valid integer",
        ),
        (
            {"keep_epochs": "1, 2"},
            "keep_epochs = '1, 2' is not allowed: it must be a valid integer",
        ),
        ({"keep_epochs": True}, "keep_epochs = True is not allowed"),
        ({"keep_epochs": [1, True]}, "keep_epochs = [1, True] is not allowed"),
        ({"keep_epochs": {"a": 1}}, "keep_epochs = {'a': 1} is not allowed"),
        (
            {"start_from": "x", "start_epoch": 4, "keep_epochs": [4]},
            "keep_epochs = [4] is not allowed: 4 in it must be above start_epoch = 4",
        ),
    ],
)
def test_epochs_that_cannot_be(changes, words):
    with pytest.raises(ParameterError) as refused:
        TrainConfig(**changes)
    assert words in one_sentence(refused)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"start_from": "nobody"},
            "start_from = 'nobody' is not allowed: there is no run of this name in ",
        ),
        ({"start_from": "x" * 300}, "there is no run of this name in "),
        (
            {"start_epoch": 2, "epochs": 3},
            "start_epoch = 2 is not allowed: NAME has kept 1 (keep_epochs)",
        ),
        (
            {"seed": 3},
            "start_from = 'NAME' is not allowed: a branch has its trunk's seed (0, here 3).",
        ),
        ({"n_train": 65, "n_classes": 11}, "n_train (64, here 65), n_classes (12, here 11)."),
        ({"image_size": 16}, "image_size (None, here 16)."),
        ({"dataset": "glyphs_textured"}, "dataset (glyphs, here glyphs_textured)."),
        ({"method": "simclr"}, "method (infomax, here simclr)."),
        ({"backbone": "vit_mini"}, "backbone (resnet_small, here vit_mini)."),
        ({"stem": "small"}, "stem (imagenet, here small)."),
        ({"proj_dim": 4}, "proj_dim (8, here 4)."),
        ({"batch_size": 16}, "batch_size (32, here 16)."),
        ({"precision": "bf16"}, "precision (32, here bf16)."),
        ({"augmentation": "simclr"}, "augmentation (None, here simclr)."),
        ({"local_views": 2}, "local_views (None, here 2)."),
    ],
)
def test_a_branch_that_cannot_be_is_refused_before_anything_is_written(ours, changes, words):
    before = set(ours.path.parent.iterdir())
    config = branch(ours, 1).replace(**changes)
    with pytest.raises(ParameterError) as refused:
        fit(config)
    assert words.replace("NAME", ours.path.name) in one_sentence(refused)
    assert set(ours.path.parent.iterdir()) == before


def test_a_run_that_has_kept_nothing(tmp_path):
    run = fit(TrainConfig(**SMALL, epochs=1, runs_dir=str(tmp_path)))
    words = "has kept no epoch .* finished run is not trained anew for keep_epochs"
    with pytest.raises(ParameterError, match=words):
        fit(branch(run, 1, epochs=2))


def test_another_runs_kept_checkpoint_is_refused(ours, tmp_path):
    """By the record's check sum, and by the run that it names itself."""
    run = copy_of(ours, tmp_path)
    other = fit(ours.config.replace(beta=0.3, epochs=1, runs_dir=str(tmp_path / "other")))
    shutil.copy(other.path / "epoch_1.ckpt", run.path)
    config = branch(run, 1, beta=2, runs_dir=str(tmp_path))
    with pytest.raises(RunError, match="epoch_1.ckpt is not the file that this run wrote"):
        fit(config)
    forget(run, "kept")
    with pytest.raises(RunError, match="epoch_1.ckpt is another run's"):
        fit(config)


def test_a_damaged_kept_checkpoint_is_refused(ours, tmp_path):
    """By the record's check sum, and by its own."""
    run = copy_of(ours, tmp_path)
    flip_a_bit(run.path / "epoch_1.ckpt")
    config = branch(run, 1, beta=2, runs_dir=str(tmp_path))
    with pytest.raises(RunError, match="epoch_1.ckpt is not the file that this run wrote"):
        fit(config)
    forget(run, "kept")
    with pytest.raises(RunError, match="epoch_1.ckpt .*damaged"):
        fit(config)


def test_a_kept_checkpoint_that_an_older_record_does_not_name_is_taken(ours, tmp_path):
    run = copy_of(ours, tmp_path)
    forget(run, "kept")
    assert fit(branch(run, 1, beta=2, runs_dir=str(tmp_path))).finished


def test_what_an_earlier_training_kept_goes_when_a_run_begins_anew(ours, tmp_path):
    """Its weights are gone, so it is trained again, and this time keeps no epoch."""
    run = copy_of(ours, tmp_path)
    flip_a_bit(run.path / "epoch_1.ckpt")
    (run.path / "model.pt").unlink()
    again = fit(run.config.replace(keep_epochs=None, runs_dir=str(tmp_path)))
    assert again.path == run.path
    assert again.record["kept"] == {}
    assert not list(again.path.glob("epoch_*.ckpt"))


def test_a_branch_does_not_begin_on_other_images(tmp_path):
    """Of a folder, whose images changed after the trunk was trained."""
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for k in range(12):
            pixels = noise.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{k}.png")
    own = {"dataset": "folder", "image_size": 16, "batch_size": 8, "proj_dim": 8, "epochs": 2}
    own |= {
        "device": "cpu",
        "data_root": str(tmp_path / "images"),
        "runs_dir": str(tmp_path / "runs"),
    }
    run = fit(TrainConfig(**own, keep_epochs=1))
    (tmp_path / "images" / "cat" / "1.png").unlink()
    before = set(run.path.parent.iterdir())
    with pytest.raises(ParameterError, match="had 24 files, now there are 23"):
        fit(branch(run, 1, beta=2))
    assert set(run.path.parent.iterdir()) == before


# --- When it is evaluated -------------------------------------------------------------------------


def test_the_first_epochs_are_evaluated_beside(tmp_path):
    """After each of the first two, then each third and the last."""
    run = fit(TrainConfig(**SMALL, epochs=7, eval_first=2, eval_every=3, runs_dir=str(tmp_path)))
    evaluated = run.metrics.epoch[run.metrics.knn_top1.notna()]
    assert evaluated.tolist() == [1, 2, 3, 6, 7] == run.predictions["epochs"].tolist()


# --- A teacher's momentum -------------------------------------------------------------------------


@pytest.fixture
def momenta(monkeypatch) -> list[float]:
    """Each momentum that reaches lightly, which moves the teacher; SIGTERM comes at the second."""
    seen: list[float] = []
    move = utils.update_momentum

    def note_and_move(model, model_ema, m):
        seen.append(m)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)
        move(model, model_ema, m)

    monkeypatch.setattr(utils, "update_momentum", note_and_move)
    return seen


def test_a_momentum_by_steps_rises_at_each_step_whatever_stops_the_run(tmp_path, momenta):
    """Stopped in the second of six steps, amid an epoch; the half cosine written out."""
    small = {**SMALL, "n_train": 48, "batch_size": 16, "epochs": 2}
    small |= {"method": "byol", "momentum_schedule": "steps", "runs_dir": str(tmp_path / "stopped")}
    config = TrainConfig(**small)
    with pytest.raises(SystemExit) as stopped:
        fit(config)
    assert stopped.value.code == 143
    assert len(momenta) == 2
    run = fit(config)
    cosines = [math.cos(math.pi * step / 5) for step in range(6)]
    assert momenta == pytest.approx([1 - 0.004 * (1 + c) / 2 for c in cosines], abs=1e-12)
    assert_same(run, fit(config.replace(runs_dir=str(tmp_path / "whole"))))


# --- Predictions ----------------------------------------------------------------------------------


def test_accuracies_follow_from_the_predictions(trunk):
    predictions = trunk.predictions
    metrics = trunk.metrics
    labels = datasets(trunk.config)[1].labels
    assert predictions["labels"].tolist() == labels.tolist()
    assert predictions["epochs"].tolist() == metrics.epoch.tolist()
    for name in ("knn", "linear"):
        assert predictions[name].dtype == np.uint8
        assert predictions[name].shape == (6, len(labels))
        right = torch.from_numpy(predictions[name]) == labels
        assert (100 * right.float().mean(1).double()).tolist() == metrics[f"{name}_top1"].tolist()


def test_within_a_superclass_the_best_of_its_classes_counts(trunk):
    """Of two groups of six: never the other group's, as before where that was so, better."""
    predictions = trunk.predictions
    labels = predictions["labels"]
    coarse = datasets(trunk.config)[1].coarse.numpy()
    assert len(set(coarse)) == 2
    for name in ("knn", "linear"):
        first = predictions[name]
        within = predictions[f"{name}_within"]
        assert (coarse[within] == coarse[labels]).all()
        own = coarse[first] == coarse[labels]
        assert not own.all()
        assert (first[own] == within[own]).all()
        assert (within == labels).mean() > (first == labels).mean()


def test_the_best_within_is_the_largest_score_of_the_group():
    """Beside a loop over scores: three classes in one group, two in another, one alone."""
    scores = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    coarse = torch.tensor([0, 1, 0, 1, 0, 2])
    labels = torch.arange(200) % 6
    expected = []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        group = [k for k in range(6) if coarse[k] == coarse[label]]
        expected.append(max(group, key=row.__getitem__))
    assert best_within(scores.argsort(1, descending=True), labels, coarse).tolist() == expected


def test_more_than_256_classes_take_two_bytes(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (600, 3, 4, 4), dtype=torch.uint8, generator=generator)
    few = ImageSet(images, torch.arange(600) % 300, [str(k) for k in range(300)])
    evaluation = OnlineEvaluation(few, few, 3 * 4 * 4, 0, torch.device("cpu"))
    evaluation(torch.nn.Flatten(), 5, passes=1)
    torch.save(evaluation.state_dict(), tmp_path / "state.pt")
    again = OnlineEvaluation(few, few, 3 * 4 * 4, 0, torch.device("cpu"))
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again.write(tmp_path / "predictions.npz")
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert arrays["knn"].dtype == arrays["labels"].dtype == np.uint16
        assert arrays["labels"].max() == 299
        assert arrays["knn"].max() > 256
        assert arrays["epochs"].tolist() == [5]


def test_predictions_that_are_not_the_runs_own_are_found(ours, tmp_path):
    run = copy_of(ours, tmp_path)
    flip_a_bit(run.path / "predictions.npz")
    with pytest.raises(RunError, match=r"predictions.npz is not the file that this run wrote"):
        _ = run.predictions
    (run.path / "predictions.npz").unlink()
    with pytest.raises(RunError, match=r"there is no .*predictions.npz\."):
        _ = run.predictions


def test_a_run_from_before_has_none(ours, tmp_path):
    run = copy_of(ours, tmp_path)
    (run.path / "predictions.npz").unlink()
    forget(run, "predictions")
    with pytest.raises(RunError) as refused:
        _ = run.predictions
    assert "older" in one_sentence(refused)
    assert str(run.path) in one_sentence(refused)


def test_a_run_that_does_not_exist_has_no_predictions(tmp_path):
    with pytest.raises(RunError, match="no evaluation"):
        _ = Run(tmp_path / "nothing").predictions
