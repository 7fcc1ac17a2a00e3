"""Runs: reuse, resume after SIGKILL, two processes at once, records, errors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data.sampling import batches
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.representation import features
from infomax_nb.files import atomic_write
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import build
from infomax_nb.seeds import stream
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.run import Run, collect, siblings
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

SMALL = {"n_classes": 10, "n_train": 256, "batch_size": 64, "proj_dim": 16, "epochs": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fit(TrainConfig(**SMALL, runs_dir=str(tmp_path_factory.mktemp("runs"))))


def start(runs_dir, **changes):
    config = {**SMALL, **changes, "runs_dir": str(runs_dir)}
    code = f"from infomax_nb.train import fit; from infomax_nb.config import TrainConfig; fit(TrainConfig(**{config!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def test_a_run_directory_holds_what_it_says(finished):
    assert finished.finished and not (finished.path / "checkpoint.ckpt").exists()
    assert finished.path.name == finished.config.name
    assert finished.metrics.epoch.tolist() == [1, 2, 3] and finished.metrics.notna().all(axis=None)
    record = finished.record
    assert record["threads"] == torch.get_num_threads() and record["images"] == 256
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert not list(finished.path.glob("*.part"))


def test_the_first_epoch_equals_a_plain_loop(finished):
    """The same seeds, without Lightning: views, forward, loss, AdamW, written out."""
    config = finished.config
    train, _ = datasets(config)
    torch.manual_seed(stream(config.seed, 0, 2))
    method = build(config, 10)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3, weight_decay=1e-6)
    views, losses = MultiView(dino_views(32)), []
    seen = len(train) // 64 * 64
    drawn = views.draw(seen, 32, 32, torch.Generator().manual_seed(stream(0, 0, 1)))
    for step, (images, _) in enumerate(batches(train, 64, 0, 0)):
        made = views.make(
            images, {name: t[:, 64 * step : 64 * step + 64] for name, t in drawn.items()}
        )
        backbone = [method.backbone(torch.cat(made[:2])), method.backbone(torch.cat(made[2:]))]
        z = method.projector(torch.cat(backbone)).view(8, 64, -1)
        loss = InfoMaxLoss(10.0)(list(z))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert finished.metrics.loss[0] == pytest.approx(np.mean(losses), abs=2e-4)


def test_reloaded_weights_give_the_recorded_knn(finished):
    train, test = datasets(finished.config)
    backbone = finished.method().backbone
    x, q = features(backbone, train.images), features(backbone, test.images)
    accuracy = topk_accuracy(knn(x, train.labels, q, 10), test.labels, 1)
    assert accuracy == pytest.approx(finished.metrics.knn_top1.iloc[-1], abs=1e-9)


def test_a_finished_run_is_reused(finished):
    before = (finished.path / "model.pt").stat().st_mtime_ns
    again = fit(finished.config.replace(kappa="10", data_root="elsewhere"))
    assert again.path == finished.path and (again.path / "model.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize("file", ["metrics.csv", "checkpoint.ckpt"])
def test_a_killed_run_goes_on_and_ends_with_the_same_metrics(finished, tmp_path, file):
    """Killed as soon as the first epoch's file is there: before its checkpoint, and in the middle
    of the next epoch."""
    path = tmp_path / finished.path.name
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while not (path / file).exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Run(path).finished
    run = fit(finished.config.replace(runs_dir=str(tmp_path)))
    assert (run.path / "metrics.csv").read_bytes() == (finished.path / "metrics.csv").read_bytes()
    theirs = torch.load(finished.path / "model.pt", weights_only=True)
    for name, value in torch.load(run.path / "model.pt", weights_only=True).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name


def test_two_processes_train_one_run_once(finished, tmp_path):
    both = [start(tmp_path, epochs=2), start(tmp_path, epochs=2)]
    said = [p.communicate(timeout=240)[1] for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert sum("is being trained by another process" in s for s in said) == 1
    assert len(list(tmp_path.iterdir())) == 1
    metrics = Run(next(tmp_path.iterdir())).metrics
    pd.testing.assert_frame_equal(metrics, finished.metrics.iloc[:2])


def test_collect_and_siblings(finished, tmp_path):
    other = fit(finished.config.replace(kappa=1, epochs=3))
    table = siblings(finished.config, "kappa")
    assert sorted(table.kappa.unique()) == [1, 10] and len(table) == 6
    assert siblings(finished.config).kappa.unique().tolist() == [10]
    assert set(collect(other.path.parent, kappa=1.0).run) == {other.path.name}
    assert collect(tmp_path).empty


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
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_nan_stops_the_run_and_names_it(tmp_path):
    with pytest.raises(FloatingPointError, match="NaN in epoch 1"):
        fit(TrainConfig(**SMALL, lr=1e30, runs_dir=str(tmp_path)))
    assert not Run(next(tmp_path.iterdir())).finished


def test_write_whole_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"old": True}))
    with pytest.raises(RuntimeError):
        atomic_write(
            path, lambda p: (p.write_text("half"), (_ for _ in ()).throw(RuntimeError("disk full")))
        )
    assert json.loads(path.read_text()) == {"old": True} and os.listdir(tmp_path) == ["record.json"]


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
    command = [
        sys.executable,
        "-m",
        "infomax_nb.train",
        str(file),
        "-p",
        "runs_dir",
        str(tmp_path / "runs; touch x"),
    ]
    done = subprocess.run(
        [*command, "-p", "epochs", "3"], capture_output=True, text=True, check=True
    )
    run = Run(Path(done.stdout.strip()))
    assert run.path.name == finished.path.name and run.metrics.equals(finished.metrics)
    for name, value, words in (
        ("kappa", "-1", "kappa = '-1'"),
        ("kapa", "1", "did you mean 'kappa'"),
    ):
        refused = subprocess.run([*command, "-p", name, value], capture_output=True, text=True)
        assert (
            refused.returncode == 1
            and len(refused.stderr.splitlines()) == 1
            and words in refused.stderr
        )


def test_imagenet100_is_an_evaluation_of_the_imagenet_run(tmp_path):
    """Four classes, two of them on the list: the second run trains nothing but a head."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("val", 4)):
        for wnid in ("n01", "n02", "n03", "n04"):
            folder = tmp_path / "imagenet" / part / wnid
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (40, 36, 3), np.uint8) // 4 + 48 * int(wnid[-1]) - 40
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{wnid}_{k}.JPEG")
    (tmp_path / "imagenet100.txt").write_text("n02\nn04\n")
    shape = {"image_size": 32, "batch_size": 16, "proj_dim": 16, "epochs": 2}
    config = TrainConfig(
        dataset="imagenet100", data_root=str(tmp_path), runs_dir=str(tmp_path / "runs"), **shape
    )
    few, whole = fit(config), Run(config.replace(dataset="imagenet").run_dir)
    assert whole.finished and few.finished and few.record["of"] == whole.path.name
    mine, theirs = few.method().state_dict(), whole.method().state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)

    train, test = datasets(config)
    assert (len(train), len(test), train.classes) == (32, 8, ["n02", "n04"])
    x, queries = (features(whole.method().backbone, s.images) for s in (train, test))
    votes = knn(x, train.labels, queries, 2)
    assert few.metrics.knn_top1.tolist() == pytest.approx([topk_accuracy(votes, test.labels, 1)])
    assert few.metrics.epoch.tolist() == [2]
    written = (few.path / "record.json").stat().st_mtime_ns
    assert fit(config) == few and (few.path / "record.json").stat().st_mtime_ns == written


def test_table1_is_filled_from_the_runs(tmp_path, monkeypatch):
    """A row's run, found by its configuration; all others stay empty; seeds are averaged."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "pipeline")
    import table1 as module

    monkeypatch.setattr(module, "siblings", lambda config, *_: fake(config))

    def fake(config):
        if (config.dataset, config.method) != ("cifar10", "byol"):
            return pd.DataFrame()
        last = {"linear_top1": 60.0, "linear_top5": 90.0, "knn_top1": 50.0, "knn_top5": 80.0}
        rows = [
            {"epoch": e, "run": s, **{k: v + s - 10 * (e == 1) for k, v in last.items()}}
            for s in (0, 2)
            for e in (1, 2)
        ]
        return pd.DataFrame(rows).assign(method=config.method, backbone=config.backbone)

    table = module.table1(epochs=2)
    row = table[table.seeds > 0]
    assert len(table) == 25 and row[["dataset", "method"]].values.tolist() == [["CIFAR-10", "BYOL"]]
    measured = [
        f"measured_{name}" for name in ("linear_top1", "linear_top5", "knn_top1", "knn_top5")
    ]
    assert row[[*measured, "seeds"]].values.tolist() == [[61.0, 91.0, 51.0, 81.0, 2]]
    assert table[table.seeds == 0][measured].isna().all(axis=None)


def test_a_run_is_built_anew_from_its_directory(finished, tmp_path):
    """`--from`: the record and the configuration in the directory suffice, wherever it lies; bit
    for bit."""
    moved = tmp_path / "elsewhere" / finished.path.name
    shutil.copytree(finished.path, moved)
    command = [sys.executable, "-m", "infomax_nb.train", "--from", str(moved)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    again = Run(Path(done.stdout.strip()))
    assert again.path == moved.parent / "rebuilt" / moved.name and again.path != finished.path
    assert (again.path / "metrics.csv").read_bytes() == (finished.path / "metrics.csv").read_bytes()
    assert again.record["threads"] == finished.record["threads"]
    refused = subprocess.run([*command, "file.yaml"], capture_output=True, text=True)
    assert refused.returncode == 2 and "not allowed with argument" in refused.stderr


def test_the_order_of_a_sweep_does_not_matter(finished, tmp_path):
    """The same run after another one in the same process, whose random numbers it must not feel."""
    config = finished.config.replace(runs_dir=str(tmp_path), epochs=1)
    torch.manual_seed(123)
    first, then = fit(config.replace(kappa=1)), fit(config)
    assert first.metrics.loss[0] != then.metrics.loss[0]
    pd.testing.assert_frame_equal(then.metrics, finished.metrics.iloc[:1], check_exact=True)


@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "record.json", "model.pt"])
def test_a_flipped_byte_in_a_finished_run_is_found(finished, tmp_path, name):
    """Any byte: also one that leaves a number a number."""
    run = Run(tmp_path / finished.path.name)
    shutil.copytree(finished.path, run.path)
    assert run.finished and run.metrics.equals(finished.metrics) and run.method() and run.config
    content = bytearray((run.path / name).read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    (run.path / name).write_bytes(content)
    with pytest.raises(RunError, match=name if name == "model.pt" else "record.json"):
        _ = run.weights if name == "model.pt" else run.metrics
