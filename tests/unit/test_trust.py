"""What comes from elsewhere is data: nothing in it is executed, and no name leads out of its
folder."""

import os
import pickle
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from infomax_nb.config import TrainConfig, read_yaml
from infomax_nb.data.loading import load
from infomax_nb.data.readers import packed as readers
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.files import load_weights, project_root
from infomax_nb.report import export_tables
from infomax_nb.train.__main__ import main
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run

TINY = {"n_classes": 2, "n_train": 16, "batch_size": 8, "proj_dim": 8, "epochs": 1, "device": "cpu"}
SHELL = "$(touch pwned); `touch pwned` | touch pwned"
APPLY = "!!python/object/apply:os.system ['touch pwned']"
FORMS = {
    "zip": lambda value, path: torch.save(value, path),
    "legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "pickle": lambda value, path: path.write_bytes(pickle.dumps(value)),
}


class Payload:
    """Touches `pwned` in the working folder when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder, where nothing may be touched."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.rglob("pwned"))


@pytest.fixture
def command(monkeypatch, capsys):
    """What the command line prints: a run's directory, or the one sentence with which it stops."""

    def call(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            assert isinstance(stop.code, str)
            assert len(stop.code.splitlines()) == 1
            return stop.code
        return capsys.readouterr().out.strip()

    return call


def test_the_payload_is_a_real_one(here):
    (here / "x").write_bytes(pickle.dumps(Payload()))
    pickle.loads((here / "x").read_bytes())
    (here / "pwned").unlink()
    torch.save({"x": Payload()}, here / "x")
    torch.load(here / "x", weights_only=False)
    (here / "pwned").unlink()
    yaml.unsafe_load(APPLY)
    (here / "pwned").unlink()


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_with_a_payload_is_refused(here, command, form):
    config = TrainConfig(**TINY, runs_dir=str(here / "runs"))
    config.run_dir.mkdir(parents=True)
    checkpoint = {"loop": {"identity": config.identity()}, "x": Payload()}
    FORMS[form](checkpoint, config.run_dir / "checkpoint.ckpt")
    with pytest.raises(RunError, match=r"checkpoint\.ckpt cannot be used"):
        fit(config)
    (here / "run.yaml").write_text(yaml.safe_dump(config.model_dump()))
    assert "checkpoint.ckpt cannot be used" in command(here / "run.yaml")


@pytest.mark.parametrize("form", FORMS)
def test_a_model_with_a_payload_is_refused(here, form):
    config = TrainConfig(**TINY, runs_dir=str(here / "runs"))
    config.run_dir.mkdir(parents=True)
    run = Run(config.run_dir)
    run.write("config.yaml", yaml.safe_dump(config.model_dump()))
    FORMS[form]({"n_classes": 2, "x": Payload()}, run.path / "model.pt")
    for read in (lambda: run.weights, run.method, lambda: load_weights(run.path / "model.pt")):
        with pytest.raises(RunError, match=r"model\.pt cannot be used"):
            read()


@pytest.mark.parametrize(
    "name",
    ["../../x", "..", ".", "", "/x", "a/b", "a\\b", "x\n", "~", "$(touch pwned)", "a b", "x\0"],
)
def test_an_export_stays_in_its_folder(name):
    """A name that could lead out of it is refused, and nothing is written there or around it."""
    reports = project_root() / "reports"
    before = sorted(reports.iterdir())
    figure = plt.figure()
    with pytest.raises(ParameterError, match="^export = "):
        export_tables(name, {"table": pd.DataFrame({"a": [1]})}, figure, "caption", [])
    plt.close(figure)
    assert sorted(reports.iterdir()) == before
    for place in (reports, reports.parent, reports.parents[1]):
        assert not (place / "table.csv").exists()
    assert not (reports.parents[1] / "x").exists()


@pytest.mark.parametrize(
    "name", ["../../x", "$(touch pwned)", "x; touch pwned", "`touch pwned`", "a/../../../x"]
)
def test_no_value_reaches_the_name_of_a_run_directory(here, name):
    """Words that name a choice are refused; the free one, where the data are, is no part of it."""
    for field in ("method", "dataset", "backbone", "stem", "device"):
        with pytest.raises(ParameterError, match=f"^{field} = "):
            TrainConfig(**{field: name})
    config = TrainConfig(data_root=name, runs_dir=str(here))
    assert config.run_dir.parent == here and config.name == TrainConfig().name
    assert set(config.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize("name", ["kappa", "data_root", "method"])
def test_a_shell_command_as_a_parameter_is_refused(here, command, name):
    """On the command line and in the file."""
    file = here / "run.yaml"
    small = {**TINY, "dataset": "folder", "n_train": None}
    file.write_text(yaml.safe_dump(small))
    sentence = command(file, "-p", name, SHELL)
    assert "touch pwned" in sentence
    assert name in sentence
    file.write_text(yaml.safe_dump({**small, name: SHELL}))
    assert "touch pwned" in command(file)


def test_a_shell_command_as_the_folder_of_runs_is_a_folder_of_that_name(here, command):
    (here / "run.yaml").write_text(yaml.safe_dump(TINY))
    folder = command(here / "run.yaml", "-p", "runs_dir", here / SHELL)
    assert Run(Path(folder)).finished
    assert Path(folder).parent == here / SHELL


@pytest.mark.parametrize(
    "name", ['it\'s a "root"', "two spaces #1", "a: b", "$HOME & co; x", "[1", "'quoted'", "2024"]
)
def test_a_data_root_of_any_name_works(here, command, name):
    """By the file and by the command line, where it is taken as it stands.

    One image cannot be read: the sentence shows that this folder was found, and nothing is trained.
    """
    noise = np.random.default_rng(0)
    for part in ("one", "two"):
        (here / name / part).mkdir(parents=True)
        for k in range(10):
            image = Image.fromarray(noise.integers(0, 256, (16, 16, 3), np.uint8))
            image.save(here / name / part / f"{k}.png")
    assert len(load("folder", here / name, "train", image_size=16)) == 16
    damaged = os.path.join(name, "two", "9.png")
    (here / damaged).write_bytes(b"no image")
    small = {**TINY, "dataset": "folder", "n_train": None, "image_size": 16}
    small["runs_dir"] = str(here / "runs")
    file = here / "run.yaml"
    file.write_text(yaml.safe_dump({**small, "data_root": name}))
    assert TrainConfig.from_yaml(file).data_root == name
    assert damaged in command(file)
    file.write_text(yaml.safe_dump(small))
    assert damaged in command(file, "-p", "data_root", name)


@pytest.mark.parametrize(
    "text", [APPLY, f"kappa: {APPLY}", f"runs_dir: {APPLY}", f"? {APPLY}\n: 1"]
)
def test_a_parameter_file_that_calls_something_is_refused(here, command, text):
    (here / "run.yaml").write_text(text)
    with pytest.raises(ParameterError, match="run.yaml"):
        read_yaml(here / "run.yaml")
    assert "run.yaml" in command(here / "run.yaml")


def test_a_value_that_calls_something_is_refused(here, command):
    (here / "run.yaml").write_text(yaml.safe_dump(TINY))
    assert "kappa" in command(here / "run.yaml", "-p", "kappa", APPLY)


def test_a_runs_configuration_that_calls_something_is_refused(here):
    config = TrainConfig(**TINY, runs_dir=str(here / "runs"))
    config.run_dir.mkdir(parents=True)
    (config.run_dir / "config.yaml").write_text(f"kappa: {APPLY}")
    with pytest.raises((ParameterError, RunError), match=r"config\.yaml"):
        fit(config)


@pytest.mark.parametrize(
    "kind, files",
    [
        ("cifar10", [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"]),
        ("cifar100", ["train", "test", "meta"]),
    ],
)
def test_a_foreign_pickle_is_refused_before_it_is_read(here, command, kind, files):
    kinds = {"cifar10": readers.CIFAR10, "cifar100": readers.CIFAR100}
    folder = here / kinds[kind].base_folder
    folder.mkdir()
    for name in files:
        (folder / name).write_bytes(pickle.dumps(Payload()))
    for split in ("train", "test"):
        with pytest.raises(ParameterError, match=f"{files[0]}.*MD5 is not the published one"):
            load(kind, here, split)
    places = {"data_root": str(here), "runs_dir": str(here / "runs")}
    (here / "run.yaml").write_text(yaml.safe_dump({"dataset": kind, **places}))
    assert "MD5" in command(here / "run.yaml")
