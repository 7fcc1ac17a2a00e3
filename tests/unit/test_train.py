"""Runs: reuse, resume after SIGKILL, two processes at once, records, errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from checkout import ROOT
from filelock import FileLock
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data import glyphs
from infomax_nb.data.sampling import batches
from infomax_nb.distributed import Processes
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.evaluation.representation import features
from infomax_nb.files import atomic_write
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import build
from infomax_nb.seeds import Use, stream
from infomax_nb.train import record
from infomax_nb.train.__main__ import main
from infomax_nb.train.fitting import _lock, datasets, fit
from infomax_nb.train.recorder import Recorder
from infomax_nb.train.run import Run, collect, siblings
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views
from pipeline.table1 import table1

SMALL = {"n_classes": 10, "n_train": 256, "batch_size": 64, "proj_dim": 16, "epochs": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fit(TrainConfig(**SMALL, runs_dir=str(tmp_path_factory.mktemp("runs"))))


TRAIN = """if True:
    import json, sys
    from infomax_nb.config import TrainConfig
    from infomax_nb.train import fit
    fit(TrainConfig(**json.loads(sys.argv[1])))
"""


def start(runs_dir, **changes):
    """A process that trains."""
    config = json.dumps({**SMALL, **changes, "runs_dir": str(runs_dir)})
    command = [sys.executable, "-c", TRAIN, config]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def assert_same_weights(run, other):
    theirs = other.weights
    for name, value in run.weights.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name


def test_a_run_directory_holds_what_it_says(finished):
    assert finished.finished
    assert not (finished.path / "checkpoint.ckpt").exists()
    assert finished.path.name == finished.config.name
    assert finished.metrics.epoch.tolist() == [1, 2, 3]
    assert finished.metrics.notna().all(axis=None)
    record = finished.record
    assert record["threads"] == torch.get_num_threads()
    assert record["images"] == 256
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert "earlier_sessions" not in record
    assert not list(finished.path.glob("*.part"))


def test_the_first_epoch_equals_a_plain_loop(finished):
    """The same seeds, without Lightning: views, forward, loss, AdamW, written out."""
    train, _ = datasets(finished.config)
    torch.manual_seed(stream(0, 0, Use.WEIGHTS))
    method = build(finished.config, 10)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, weight_decay=1e-6)
    multiview = MultiView(dino_views(32))
    generator = torch.Generator().manual_seed(stream(0, 0, Use.VIEWS))
    numbers = multiview.draw(len(train) // 64 * 64, 32, 32, generator)
    losses = []
    for step, (images, _) in enumerate(batches(train, 64, 0, 0)):
        rows = slice(64 * step, 64 * step + 64)
        views = multiview.make(images, {name: each[:, rows] for name, each in numbers.items()})
        large = method.backbone(torch.cat(views[:2]))
        small = method.backbone(torch.cat(views[2:]))
        projections = method.projector(torch.cat([large, small])).view(8, 64, -1)
        loss = InfoMaxLoss(10.0)(list(projections))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert finished.metrics.loss[0] == pytest.approx(np.mean(losses), abs=2e-4)


def test_reloaded_weights_give_the_recorded_knn(finished):
    train, test = datasets(finished.config)
    backbone = finished.method().backbone
    x = features(backbone, train.images)
    queries = features(backbone, test.images)
    accuracy = topk_accuracy(knn(x, train.labels, queries, 10), test.labels, 1)
    assert accuracy == pytest.approx(finished.metrics.knn_top1.iloc[-1], abs=1e-9)


def test_a_finished_run_is_reused(finished):
    weights = finished.path / "model.pt"
    before = weights.stat().st_mtime_ns
    assert fit(finished.config.replace(kappa="10", data_root="elsewhere")) == finished
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("file", ["metrics.csv", "checkpoint.ckpt"])
def test_a_killed_run_goes_on_and_ends_with_the_same_metrics(finished, tmp_path, monkeypatch, file):
    """Killed as soon as the first epoch's file is there.

    That is before its checkpoint, and in the middle of the next epoch. Its record tells of both
    sessions, whose commits differ here.
    """
    path = tmp_path / finished.path.name
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while not (path / file).exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Run(path).finished
    has_begun = (path / "checkpoint.ckpt").exists()
    monkeypatch.setattr(record, "commit", lambda: "another commit")
    run = fit(finished.config.replace(runs_dir=str(tmp_path)))
    assert (run.path / "metrics.csv").read_bytes() == (finished.path / "metrics.csv").read_bytes()
    assert_same_weights(run, finished)
    told = run.record
    assert told["commit"] == "another commit"
    earlier = told.get("earlier_sessions", [])
    assert [each["commit"] for each in earlier] == [finished.record["commit"]] * has_begun
    if has_begun:
        assert told["started"] == earlier[0]["started"]
        assert told["started"] < told["resumed"] < told["finished"]


def test_two_processes_train_one_run_once(finished, tmp_path):
    both = [start(tmp_path, epochs=2), start(tmp_path, epochs=2)]
    messages = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], messages
    (folder,) = tmp_path.iterdir()
    pd.testing.assert_frame_equal(Run(folder).metrics, finished.metrics.iloc[:2])


def test_a_process_waits_for_another_one_that_trains_its_run(finished, tmp_path):
    """This process has the run's lock, and leaves the finished run when it gives it back."""
    path = tmp_path / finished.path.name
    path.mkdir()
    with FileLock(path / ".lock"):
        process = start(tmp_path)
        assert any("is being trained by another process" in line for line in process.stderr)
        unlocked = shutil.ignore_patterns(".lock")
        shutil.copytree(finished.path, path, ignore=unlocked, dirs_exist_ok=True)
    process.communicate(timeout=240)
    assert process.returncode == 0
    assert Run(path).record == finished.record


def test_collect_and_siblings(finished, tmp_path):
    other = fit(finished.config.replace(kappa=1, epochs=3))
    table = siblings(finished.config, "kappa")
    assert sorted(table.kappa.unique()) == [1, 10]
    assert len(table) == 6
    assert siblings(finished.config).kappa.unique().tolist() == [10]
    assert set(collect(other.path.parent, kappa=1.0).run) == {other.path.name}
    assert collect(tmp_path).empty


def test_fields_that_there_are_not_are_refused(finished):
    for ask in (lambda: collect(kapa=1), lambda: siblings(finished.config, "kapa")):
        with pytest.raises(ParameterError, match="'kapa': did you mean 'kappa'"):
            ask()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dataset": "cifar10", "data_root": "nowhere"}, ["data_root", "nowhere", "CIFAR-10"]),
        ({"n_train": 5000}, ["n_train", "5000", "1000"]),
        ({"n_train": None, "batch_size": 2048}, ["batch_size", "2048", "1000"]),
    ],
)
def test_bad_runs_fail_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(ParameterError) as error:
        fit(TrainConfig(**{**SMALL, **changes}, runs_dir=str(tmp_path)))
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_nan_stops_the_run_and_names_it(tmp_path):
    with pytest.raises(FloatingPointError, match="NaN in epoch 1"):
        fit(TrainConfig(**SMALL, lr=1e30, runs_dir=str(tmp_path)))
    assert not Run(next(tmp_path.iterdir())).finished


def test_the_old_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")

    def write_half(part):
        part.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        atomic_write(path, write_half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_directory_of_another_configuration_is_not_taken_for_this_one(finished, tmp_path):
    """As after a change of a default, which the directory's name does not show."""
    config = finished.config.replace(runs_dir=str(tmp_path), epochs=1)
    config.run_dir.mkdir()
    stored = (finished.path / "config.yaml").read_text()
    (config.run_dir / "config.yaml").write_text(stored)
    with pytest.raises(ParameterError, match="another configuration"):
        fit(config)
    assert (config.run_dir / "config.yaml").read_text() == stored


def test_the_command_line_trains_what_a_file_says(tmp_path, finished):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "seed": 0, "epochs": 9}))
    runs_dir = tmp_path / "runs; touch x"
    changes = ["-p", "runs_dir", str(runs_dir), "-p", "epochs", "3"]
    command = [sys.executable, "-m", "infomax_nb.train", str(file), *changes]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = Run(Path(done.stdout.strip()))
    assert run.path == runs_dir / finished.path.name
    assert run.metrics.equals(finished.metrics)


def refusal(monkeypatch, *arguments):
    """What the command line ends with, called in this process: a sentence, or a status."""
    monkeypatch.setattr(sys, "argv", ["infomax_nb.train", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize(
    "name, value, words", [("kappa", -1, "kappa = '-1'"), ("kapa", 1, "did you mean 'kappa'")]
)
def test_the_command_line_refuses_in_one_sentence(
    tmp_path, monkeypatch, capsys, name, value, words
):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    sentence = refusal(monkeypatch, file, "-p", name, value)
    assert words in sentence
    assert len(sentence.splitlines()) == 1
    assert capsys.readouterr() == ("", "")  # nothing before it


def write_imagenet(folder):
    """Four classes of ImageNet, told apart by brightness, two of them on ImageNet-100's list."""
    noise = np.random.default_rng(0)
    for number in (1, 2, 3, 4):
        for part, count in (("train", 16), ("val", 4)):
            place = folder / "imagenet" / part / f"n0{number}"
            place.mkdir(parents=True)
            for k in range(count):
                pixels = noise.integers(0, 64, (40, 36, 3), np.uint8) + 48 * number - 40
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{k}.JPEG")
    (folder / "imagenet100.txt").write_text("n02\nn04\n")


@pytest.fixture(scope="module")
def imagenet100(tmp_path_factory):
    """A finished run of ImageNet-100."""
    folder = tmp_path_factory.mktemp("imagenet")
    write_imagenet(folder)
    shape = {"image_size": 32, "batch_size": 16, "proj_dim": 16, "epochs": 2}
    places = {"data_root": str(folder), "runs_dir": str(folder / "runs")}
    return fit(TrainConfig(dataset="imagenet100", **shape, **places))


def test_imagenet100_has_the_weights_of_the_imagenet_run(imagenet100):
    whole = Run(imagenet100.config.replace(dataset="imagenet").run_dir)
    assert whole.finished
    assert imagenet100.finished
    assert imagenet100.record["of"] == whole.path.name
    assert_same_weights(imagenet100, whole)


def test_imagenet100_is_evaluated_on_its_own_classes(imagenet100):
    train, test = datasets(imagenet100.config)
    assert (len(train), len(test), train.classes) == (32, 8, ["n02", "n04"])
    backbone = imagenet100.method().backbone
    x = features(backbone, train.images)
    votes = knn(x, train.labels, features(backbone, test.images), 2)
    metrics = imagenet100.metrics
    assert metrics.epoch.tolist() == [2]
    assert metrics.knn_top1.tolist() == pytest.approx([topk_accuracy(votes, test.labels, 1)])


def test_imagenet100s_head_gets_as_many_passes_as_imagenets_has_had(imagenet100):
    """Two at each evaluation, and there is one: after the second of two epochs."""
    config = imagenet100.config.replace(eval_every=2)
    run = fit(config)
    evaluation = OnlineEvaluation(*datasets(config), 256, config.seed, torch.device("cpu"))
    evaluation(run.method().backbone, 2, passes=2)
    assert (
        run.predictions["linear"].tolist() == torch.stack(evaluation.predicted["linear"]).tolist()
    )


def test_a_finished_run_of_imagenet100_is_reused(imagenet100):
    record = imagenet100.path / "record.json"
    before = record.stat().st_mtime_ns
    assert fit(imagenet100.config) == imagenet100
    assert record.stat().st_mtime_ns == before


SCORES = ("linear_top1", "linear_top5", "knn_top1", "knn_top5")


def write_finished_run(config, scores):
    """A run's directory with its files, but no weights; `scores` are the last epoch's."""
    run = Run(config.run_dir)
    run.path.mkdir(parents=True)
    run.write("config.yaml", yaml.safe_dump(config.resolved().model_dump()))
    last = pd.Series(scores, SCORES, dtype=float)
    metrics = pd.DataFrame([last - 10, last]).assign(epoch=[1, 2])
    run.write("metrics.csv", metrics.to_csv(index=False))
    run.write("record.json", json.dumps({"finished": "2025-01-01T00:00:00+00:00"}))
    (run.path / "model.pt").touch()


def test_a_baseline_is_a_sibling_whatever_it_ignores(tmp_path):
    """SimCLR has neither kappa nor beta, and was trained where they had their defaults."""
    ours = TrainConfig(kappa=1.0, beta=0.5, runs_dir=str(tmp_path))
    write_finished_run(ours, [60, 90, 50, 80])
    write_finished_run(ours.replace(kappa=2.0), [60, 90, 50, 80])
    write_finished_run(TrainConfig(method="simclr", runs_dir=str(tmp_path)), [62, 92, 52, 82])
    found = siblings(ours, "method")
    assert found.groupby("method").kappa.unique().map(list).to_dict() == {
        "infomax": [1.0],
        "simclr": [10.0],
    }


def test_rows_say_where_a_run_lies_not_where_it_was_trained(tmp_path):
    there = tmp_path / "there"
    write_finished_run(TrainConfig(runs_dir=str(there)), [60, 90, 50, 80])
    there.rename(tmp_path / "here")
    assert collect(tmp_path / "here").runs_dir.unique().tolist() == [str(tmp_path / "here")]


def test_a_run_whose_weights_are_gone_is_begun_without_its_old_record(tmp_path, monkeypatch):
    """Its seal is of metrics that are written anew; a stop would leave both."""

    def stopped(*_):
        raise SystemExit(143)

    config = TrainConfig(**{**SMALL, "epochs": 1}, runs_dir=str(tmp_path))
    run = fit(config)
    (run.path / "model.pt").unlink()
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("infomax_nb.train.trainer.pretrain", stopped)
        fit(config)
    assert not (run.path / "record.json").exists()
    assert fit(config).finished


@pytest.mark.parametrize(("launcher", "world"), [("torchrun", 2), ("srun", 2)])
def test_several_processes_do_not_wait_for_another_job(tmp_path, launcher, world):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="start this again when that"):
        _lock(run, Processes(launcher, world, 1, 0))


def test_a_process_that_sees_too_few_devices_is_told_of_srun():
    """With --gpus-per-task each sees its own alone."""
    with pytest.raises(ParameterError, match="devices = 4 .*sees 1, srun must give each task all"):
        Processes("srun", 4, 1, 0).check_devices(1)


@pytest.mark.parametrize("name", ["data_root", "runs_dir"])
def test_a_folder_without_a_name_is_refused(name):
    with pytest.raises(ParameterError, match=f"{name} = '' is not allowed"):
        TrainConfig(**{name: ""})


def test_an_epoch_that_is_over_cannot_be_kept_any_more():
    recorder = SimpleNamespace(history=[{"epoch": 3}], run=SimpleNamespace(kept_epochs=[2]))
    Recorder._check_epochs_to_keep(recorder, [2, 4])
    with pytest.raises(ParameterError, match=r"keep_epochs = \[1\] is not allowed: .* above 3"):
        Recorder._check_epochs_to_keep(recorder, [1, 2, 4])


def test_a_repository_around_a_checkout_is_not_its_own(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    made = ["git", *who, "commit", "-q", "--allow-empty", "-m", "of another project"]
    subprocess.run(made, cwd=tmp_path, check=True)
    (tmp_path / "copy" / "infomax_nb").mkdir(parents=True)
    for root in (tmp_path, tmp_path / "copy"):
        monkeypatch.setattr(record, "project_root", lambda root=root: root)
        assert record.commit() == ""


def test_table1_is_filled_from_the_runs(tmp_path):
    """A row's run, found by its configuration; all others stay empty; seeds are averaged."""
    file = ROOT / "params" / "paper" / "cifar10_byol_resnet18.yaml"
    config = TrainConfig.from_yaml(file, epochs=2, runs_dir=str(tmp_path))
    write_finished_run(config, [60, 90, 50, 80])
    write_finished_run(config.replace(seed=2), [62, 92, 52, 82])
    table = table1(epochs=2, runs_dir=str(tmp_path))
    assert len(table) == 25
    row = table[table.seeds > 0]
    assert row[["dataset", "method"]].values.tolist() == [["CIFAR-10", "BYOL"]]
    measured = [f"measured_{name}" for name in SCORES]
    assert row[[*measured, "seeds"]].values.tolist() == [[61.0, 91.0, 51.0, 81.0, 2]]
    assert table[table.seeds == 0][measured].isna().all(axis=None)


@pytest.fixture
def more_threads(finished):
    """A thread more than the finished run had."""
    before = torch.get_num_threads()
    torch.set_num_threads(finished.record["threads"] + 1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("more_threads")
def test_a_run_is_built_anew_from_its_directory(finished, tmp_path, monkeypatch, capsys):
    """`--from`: what is in the directory suffices, wherever it lies; bit for bit."""
    moved = tmp_path / "elsewhere" / finished.path.name
    shutil.copytree(finished.path, moved)
    monkeypatch.setattr(sys, "argv", ["infomax_nb.train", "--from", str(moved)])
    main()
    again = Run(Path(capsys.readouterr().out.strip()))
    assert again.path == moved.parent / "rebuilt" / moved.name
    assert (again.path / "metrics.csv").read_bytes() == (finished.path / "metrics.csv").read_bytes()
    assert again.record["threads"] == finished.record["threads"]


def test_a_file_and_a_run_to_train_anew_are_one_too_many(tmp_path, monkeypatch, capsys):
    assert refusal(monkeypatch, "--from", tmp_path, "file.yaml") == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_the_order_of_a_sweep_does_not_matter(finished, tmp_path):
    """The same run after another one in the same process, whose random numbers it must not feel."""
    config = finished.config.replace(runs_dir=str(tmp_path), epochs=1)
    torch.manual_seed(123)
    other = fit(config.replace(kappa=1))
    run = fit(config)
    assert other.metrics.loss[0] != run.metrics.loss[0]
    pd.testing.assert_frame_equal(run.metrics, finished.metrics.iloc[:1], check_exact=True)


def with_a_flipped_bit(finished, folder, name):
    """A copy of the run, one bit of this file changed, which may leave a number a number."""
    run = Run(folder / finished.path.name)
    shutil.copytree(finished.path, run.path)
    content = bytearray((run.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run.path / name).write_bytes(content)
    return run


@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "record.json"])
def test_a_changed_file_of_a_finished_run_is_found(finished, tmp_path, name):
    run = with_a_flipped_bit(finished, tmp_path, name)
    with pytest.raises(RunError, match=r"record\.json"):
        _ = run.metrics


def test_changed_weights_of_a_finished_run_are_found(finished, tmp_path):
    run = with_a_flipped_bit(finished, tmp_path, "model.pt")
    assert run.metrics.equals(finished.metrics)
    with pytest.raises(RunError, match=r"model\.pt"):
        _ = run.weights


def test_a_copy_of_a_finished_run_is_read_like_it(finished, tmp_path):
    run = Run(tmp_path / finished.path.name)
    shutil.copytree(finished.path, run.path)
    assert run.finished
    assert run.config == finished.config
    assert run.metrics.equals(finished.metrics)
    assert_same_weights(run, finished)


def test_the_rate_falls_to_zero_over_the_last_epochs(tmp_path, monkeypatch):
    """Twelve steps, the last eight of which decay: 1, 7/8, 6/8 and so on of the rate."""
    rates = []
    step = torch.optim.AdamW.step

    def noting(optimizer, *args, **options):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        return step(optimizer, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    short = {"n_classes": 4, "n_train": 64, "batch_size": 16, "proj_dim": 8, "device": "cpu"}
    fit(TrainConfig(**short, epochs=3, decay_epochs=2, eval_every=3, runs_dir=str(tmp_path)))
    assert rates == pytest.approx([1e-3 * min(1, (12 - done) / 8) for done in range(12)])


def test_a_run_whose_symbols_this_machine_draws_otherwise_is_not_reused(tmp_path, monkeypatch):
    short = {"n_classes": 4, "n_train": 16, "batch_size": 8, "proj_dim": 8, "epochs": 1}
    config = TrainConfig(**short, device="cpu", runs_dir=str(tmp_path))
    fit(config)
    drawn = glyphs.stencils(4)
    monkeypatch.setattr(glyphs, "stencils", lambda n: [*drawn[:-1], bytes(len(drawn[-1]))])
    with pytest.raises(ParameterError, match="this machine draws the symbols otherwise"):
        fit(config)
