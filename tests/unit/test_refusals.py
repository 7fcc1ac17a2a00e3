"""Command lines of `pipeline` that cannot be meant: refused in a sentence, before any work."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from infomax_nb import device
from pipeline.evidence import queue

NO_GPU = "There is no GPU."
BELOW = "{folder}/file/out"  # there can be no folder below a file
PLACES = "--out {folder}/out --scratch {folder}/scratch"
TO_BELOW = f"--device cpu --out {BELOW} --scratch {{folder}}/scratch"
TRIAL_TO_FOLDER = "--device cpu --minutes 0.001 --reports {folder}"  # which is not empty
# A module, the words on its command line, and what is said.
REFUSED = [
    ("table1", "CIFAR-10 {folder}/o.csv -p kapa 1", "There is no parameter 'kapa'"),
    ("table1", "CIFAR-10 {folder}/o.csv -p epochs [", "epochs = '[' is not allowed"),
    ("table1", "CIFAR-10 {folder}/no/o.csv", "OUT.csv = '{folder}/no/o.csv' is not allowed"),
    ("plan", "--csv {folder}/no/o.csv", "CSV = '{folder}/no/o.csv' is not allowed"),
    ("evidence.status", "--csv {folder}/no/o.csv", "CSV = '{folder}/no/o.csv' is not allowed"),
    ("networks", "{folder} -p data_root {folder}", "-p data_root is for --measure alone"),
    ("evidence.status", "--lines ,", "ONLY = , is not allowed: the lines are 0, a, b"),
    ("evidence.status", "--params params", "params/beta.yaml' is not allowed"),
    ("evidence.queue", "--cores -3", "CORES = -3 is not allowed: it must be at least 1."),
    ("evidence.queue", f"--lines a --runs-dir {BELOW}", f"runs_dir = '{BELOW}' is not allowed"),
    ("sweep", "params/sweep.yaml X {folder}/o -p epochs [", "epochs = '[' is not allowed"),
    ("sweep", "params/sweep.yaml X {folder}/o -p seed 2024-13-45", "seed = '2024-13-45' is not"),
    ("sweep", "nofile.yaml X {folder}/o", "nofile.yaml: There is no parameter file nofile.yaml."),
    ("sweep", "params/sweep.yaml X {folder}/o", "params/sweep.yaml has changed: it no longer"),
    ("targets", "check sweep", "SWEEP is missing: name parameter files"),
    ("targets", "made sweep --sweep ,", "SWEEP is missing: name parameter files"),
    ("targets", "check sweep --sweep no.yaml", "SWEEP: there is no parameter file no.yaml."),
    ("track", "{folder}", "{folder} holds no run that has finished an epoch."),
    ("gpu.__main__", "--minutes 0", "MINUTES = 0.0 is not allowed: it must be a number of minutes"),
    ("gpu.__main__", "", "device = 'cuda' is not allowed here"),
    ("gpu.__main__", TRIAL_TO_FOLDER, "--reports = '{folder}' is not allowed: it must be empty"),
    ("gpu.pack", "{folder}/out --only data --megabytes nan", "--megabytes = nan is not allowed"),
    ("gpu.pack", "{folder}/out --only data --megabytes inf", "--megabytes = inf is not allowed"),
    ("gpu.pack", "{folder}/out --only site --python x", "--python = 'x' is not allowed"),
    ("gpu.pack", "{folder}/out --only site --glibc foo", "--glibc = 'foo' is not allowed"),
    ("gpu.pack", BELOW, f"OUT = '{BELOW}' is not allowed"),
    ("gpu.checks", PLACES, "device = 'cuda' is not allowed here"),
    ("gpu.checks", TO_BELOW, f"--out = '{BELOW}' is not allowed"),
    ("gpu.speeds", f"throughput {PLACES}", "device = 'cuda' is not allowed here"),
    ("gpu.speeds", f"side_by_side {TO_BELOW}", f"--out = '{BELOW}' is not allowed"),
]


@pytest.fixture(autouse=True)
def harmless(monkeypatch):
    """No GPU, a clean checkout, and this process keeps its priority."""
    monkeypatch.setattr(device, "obstacle", lambda: NO_GPU)
    monkeypatch.setattr(queue, "check_commit", lambda: None)
    monkeypatch.setattr(os, "nice", lambda _: 0)


def ended(monkeypatch, module: str, words: list[str]) -> int | str | None:
    """How a command ends: with a status, or with a sentence and status 1."""
    command = importlib.import_module(f"pipeline.{module}")
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code


@pytest.mark.parametrize(
    ("module", "words", "sentence"), REFUSED, ids=[f"{case[0]}: {case[2][:24]}" for case in REFUSED]
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    module, words, sentence, tmp_path, monkeypatch
):
    monkeypatch.chdir(Path(__file__).parents[2])
    (tmp_path / "file").touch()
    said = ended(monkeypatch, module, [word.format(folder=tmp_path) for word in words.split()])
    assert sentence.format(folder=tmp_path) in str(said)
    assert len(str(said).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_unknown_data_set_has_no_table(tmp_path, monkeypatch, capsys):
    assert ended(monkeypatch, "table1", ["FOO", str(tmp_path / "o.csv")]) == 2
    assert "invalid choice: 'FOO' (choose from" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


WRITERS = dict.fromkeys(["architecture", "readme", "related"], "atomic_write")


@pytest.mark.parametrize(("module", "writer"), [*WRITERS.items(), ("overview", "save")])
@pytest.mark.parametrize(("word", "status"), [("--help", 0), ("--bogus", 2)])
def test_a_command_without_options_explains_itself_and_does_nothing(
    module, writer, word, status, monkeypatch, capsys
):
    def write(*_) -> None:
        raise AssertionError("it has written something")

    monkeypatch.setattr(importlib.import_module(f"pipeline.{module}"), writer, write)
    assert ended(monkeypatch, module, [word]) == status
    assert f"usage: python -m pipeline.{module} [-h]" in "".join(capsys.readouterr())
