"""The Snakefile as a person starts it: what it plans, and what it makes of a sweep file.

Odd names do no harm.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import ROOT, SMALL, checkout, run, snakemake, sweep_file
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from pipeline import targets
from pipeline.sweep import FIGURES, name_of, notebooks_own, paper, runs_of, table1_rows, write_run

TABLE = pd.read_csv(ROOT / "reports" / "paper_table1.csv")
ODD = 'a "b" $(touch pwned) `touch pwned` c\'s; touch pwned'
ODD_FOLDER = f"{ODD} {{x}} {{{{y}}}}"  # Snakemake has a meaning of its own for braces


def name(stem: str) -> str:
    """The name of the run of a file in params/paper."""
    return TrainConfig.from_yaml(ROOT / "params" / "paper" / f"{stem}.yaml").name


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("workflow") / "copy")


# --- The paper's runs -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper_jobs(copy) -> list[tuple[str, str]]:
    """The jobs that the target `paper` would start: each one's rule, and its description."""
    done = run(copy, ["snakemake", "--cores", "2", "-n", "paper"])
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"(?m)^(?:local)?rule (\w+):\n((?:    .*\n)+)", done.stdout)


def test_paper_lists_each_run_once(paper_jobs):
    """Evaluation-only rows included."""
    texts = [text for rule, text in paper_jobs if rule == "run"]
    names = [re.search(r"wildcards: name=(\S+)", text)[1] for text in texts]
    stems = [path.stem for path in (ROOT / "params" / "paper").glob("*.yaml")]
    assert Counter(names) == {name(stem): 1 for stem in stems}
    assert len(names) == 40


def test_each_row_of_table_1_is_a_run_of_its_own():
    stems = {path.stem for path in (ROOT / "params" / "paper").glob("*.yaml")}
    assert set(TABLE.params) <= stems
    assert TABLE.params.map(name).is_unique


def test_imagenet100_is_evaluated_after_the_training_on_imagenet(paper_jobs):
    evaluated = name("imagenet100_infomax_resnet50")
    (text,) = [text for rule, text in paper_jobs if rule == "run" and evaluated in text]
    trained = name("imagenet_infomax_resnet50")
    assert f"{trained}/.done" in re.search(r"input: (.*)", text)[1]


def test_paper_writes_each_part_of_table_1(paper_jobs):
    tables = [rule for rule, _ in paper_jobs if rule.startswith("table1_")]
    assert sorted(tables) == sorted(f"table1_{data}" for data in table1_rows())


def executed_again(folder: Path) -> int:
    """How many notebooks the target `report` would execute."""
    done = run(folder, ["snakemake", "--cores", "2", "--rerun-triggers", "mtime", "-n", "report"])
    assert done.returncode == 0, done.stdout + done.stderr
    return len(re.findall(r"(?m)^rule execute:$", done.stdout))


def test_notebooks_are_executed_again_when_what_they_show_has_changed(copy):
    """Labels of figures, and results, as well as code."""
    notebooks = list((copy / "notebooks").glob("*.ipynb"))
    made = [copy / "reports" / "notebooks" / path.name for path in notebooks]
    made[0].parent.mkdir(exist_ok=True)
    for changed in ("infomax_nb/labels.json", "reports/paper_table1.csv"):
        now = time.time()
        for path in made:  # at one time: some are made from others
            path.write_text("{}")
            os.utime(path, (now, now))
        assert executed_again(copy) == 0
        (copy / changed).touch()
        assert executed_again(copy) == len(notebooks) == 11


PARAMETERS_README = (ROOT / "params" / "README.md").read_text()
ROW_OF_TABLE_1 = r"(?m)^\| ([A-Z]\S+) \|[^|]+\|[^|]+\| `paper/([^`]+)\.yaml` \| (.*)\|$"
ROW_OF_A_FIGURE = r"(?m)^\| (\d), [^|]+\|[^|]+\| `paper/([^`]+)\.yaml` \|$"


def readme_curves() -> dict[str, list[str]]:
    """The files of each figure, by the tables of params/README.md."""
    curves: dict[str, list[str]] = {}
    for figure, stem in re.findall(ROW_OF_A_FIGURE, PARAMETERS_README):
        curves.setdefault(f"figure{figure}", []).append(stem)
    shown = re.findall(ROW_OF_TABLE_1, PARAMETERS_README)
    assert len(shown) == 25
    curves["figure6"] = [stem for dataset, stem, _ in shown if dataset in ("CIFAR-10", "STL-10")]
    curves["figure7"] = [stem for _, stem, where in shown if "7" in where]
    return curves


def test_every_figure_is_in_the_readme():
    assert {*FIGURES} == {*readme_curves()}


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figures_runs_are_the_readmes_curves(figure):
    stems = readme_curves()[figure]
    assert sorted(paper()[figure]) == sorted(stems)
    assert len({name(stem) for stem in stems}) == len(stems)


def test_table_1_has_the_papers_rows():
    assert paper()["table1"] == TABLE.params.tolist()
    data = [stem.split("_")[0] for stem in TABLE.params]
    assert table1_rows() == dict(zip(data, TABLE.dataset, strict=True))


# --- Parameter files --------------------------------------------------------------------------


def test_the_lists_of_a_sweep_file_are_runs(tmp_path):
    """One for each combination; what only a notebook reads is left out."""
    lists = {"betas": [0.5, 1], "seeds": [0, 1, 2], "kappas": None}
    runs = runs_of(sweep_file(tmp_path, "sweep.yaml", **lists, export="x", images=3))
    values = [(run["beta"], run["seed"]) for run in runs.values()]
    assert sorted(values) == sorted(product([0.5, 1], [0, 1, 2]))
    assert all({*run} == {*SMALL, "beta", "seed"} for run in runs.values())


def test_a_run_is_called_by_its_parameters(tmp_path):
    file = sweep_file(tmp_path, "sweep.yaml", betas=[0.5, 1])
    runs = runs_of(file)
    assert all(TrainConfig(**values).name == name for name, values in runs.items())
    assert runs_of(file, epochs=1).keys().isdisjoint(runs)


def test_values_that_mean_the_same_are_one_run(tmp_path):
    same = {"kappas": [10, 10.0], "methods": ["infomax"], "runs_dir": "../../x"}
    runs = runs_of(sweep_file(tmp_path, "again.yaml", **same))
    assert list(runs) == [TrainConfig(**SMALL).name]


def test_what_only_notebooks_read_is_found_in_them():
    lists = {"class_counts", "kappas", "seeds"}
    assert {"export", "images", "level", "subset", *lists} <= notebooks_own()


@pytest.mark.parametrize(
    "given, kappas",
    [(15, [15]), ("15", [15]), ("[1, 10]", [1, 10]), ("1e1", [10]), ([10], [10])],
)
def test_a_single_value_and_a_text_are_lists(tmp_path, given, kappas):
    """As a notebook takes them."""
    file = sweep_file(tmp_path, "sweep.yaml", kappa=7, kappas=given, seeds="0")
    expected = [TrainConfig(**{**SMALL, "kappa": kappa}).name for kappa in kappas]
    assert list(runs_of(file)) == expected


@pytest.mark.parametrize("given", ["none", None])
def test_without_a_list_the_files_one_value_counts(tmp_path, given):
    file = sweep_file(tmp_path, "sweep.yaml", kappa=7, kappas=given)
    assert list(runs_of(file)) == [TrainConfig(**{**SMALL, "kappa": 7}).name]


def test_a_word_may_stand_for_none(tmp_path):
    (values,) = runs_of(sweep_file(tmp_path, "a.yaml", n_train="none", image_size="~")).values()
    assert TrainConfig(**values).n_train is None
    assert TrainConfig(**values).image_size is None


def test_a_folder_may_be_called_2024(tmp_path):
    (values,) = runs_of(sweep_file(tmp_path, "sweep.yaml", data_root=2024)).values()
    assert TrainConfig(**values).data_root == "2024"


PARAMETER_FILES = sorted((ROOT / "params").rglob("*.yaml"))
SWEEPS = [path for path in PARAMETER_FILES if path.parent.name != "evidence"]


@pytest.mark.parametrize("file", SWEEPS, ids=lambda p: p.stem)
def test_every_parameter_file_is_a_sweep(file):
    """Of valid runs, as many as its lists say."""
    values = yaml.safe_load(file.read_text())
    values.pop("class_counts", None)  # a notebook's own list
    numbers = [len(value) for value in values.values() if isinstance(value, list)]
    runs = runs_of(file)
    assert len(runs) == math.prod(numbers)
    assert not [name for name in runs if name.startswith("refused-")]


@pytest.mark.parametrize(
    "values, words",
    [
        ({"kappas": [-1]}, "kappa = -1 is not allowed"),
        ({"kappas": "ten"}, "kappa = 'ten' is not allowed"),
        ({"kappas": "[1, 10"}, "kappa = '[1, 10' is not allowed"),
        ({"kappas": True}, "kappa = True is not allowed"),
        ({"kappas": {"a": 1}}, "kappa = {'a': 1} is not allowed"),
        ({"kappas": "[]"}, "kappas = [] is not allowed"),
        ({"kappas": []}, "kappas = [] is not allowed"),
        ({"kapas": [1, 2]}, "no parameter 'kapas': did you mean 'kappa'"),
        ({"dataset": "../../x"}, "dataset = '../../x' is not allowed"),
        ({"method": "$(touch pwned)"}, "method = '$(touch pwned)' is not allowed"),
        ({"epochs": [1, 2]}, "epochs = [1, 2] is not allowed"),
    ],
    ids=[
        *["value", "word", "no YAML", "boolean", "mapping", "empty text", "empty"],
        *["misspelt", "outside", "command", "field"],
    ],
)
def test_what_is_refused_has_a_harmless_name_and_says_why(tmp_path, values, words):
    file = sweep_file(tmp_path, "sweep.yaml", **values)
    (refused,) = runs_of(file)
    assert re.fullmatch(r"refused-[0-9a-f]{10}", refused)
    with pytest.raises(ParameterError) as error:
        write_run(file, refused, tmp_path / "params" / "out.yaml")
    assert words in str(error.value)
    assert not (tmp_path / "params").exists()


# --- Sweeps -----------------------------------------------------------------------------------


def test_a_bad_value_fails_alone(copy):
    """One sweep of two runs, one refused, and a file that is none, in folders with odd names."""
    sweep_file(copy, f"{ODD}.yaml", kappas=[10, -1], epochs=1)
    (copy / "broken.yaml").write_text("kappas: [")
    folders = {"data_root": ODD_FOLDER, "runs_dir": f"runs {ODD_FOLDER}"}
    config = {"sweep": f"{ODD}.yaml,broken.yaml", **folders}
    done = run(copy, snakemake("sweep", config=config))
    assert done.returncode == 1
    summary = done.stderr.split("Failed, the last line of each log:\n")[1].splitlines()[:2]
    assert "kappa = -1 is not allowed: it must be greater than 0." in "".join(summary)
    assert "broken.yaml cannot be read as a parameter file" in "".join(summary)
    assert all(re.match(r"  refused-[0-9a-f]{10}: ", line) for line in summary)
    (marker,) = (copy / f"runs {ODD_FOLDER}").glob("*/.done")
    trained = Run(marker.parent)
    assert trained.finished
    assert trained.path.name == name_of({**SMALL, "epochs": 1})
    assert trained.config.data_root == ODD_FOLDER
    assert trained.record["threads"] == 1
    assert not list(copy.parent.rglob("pwned"))
    assert not (copy / "runs").exists()


def test_a_finished_run_without_its_marker_is_not_trained_again(copy):
    """As after a kill: the run and its parameter file are there."""
    file = sweep_file(copy, "marker.yaml", epochs=1)
    trained = fit(TrainConfig.from_yaml(file, runs_dir=str(copy / "marked")))
    name = trained.path.name
    write_run(file, name, copy / "marked" / "params" / f"{name}.yaml")
    record = trained.path / "record.json"
    written = record.stat().st_mtime_ns
    config = {"sweep": "marker.yaml", "runs_dir": "marked"}
    done = run(copy, snakemake("sweep", config=config))
    assert done.returncode == 0, done.stderr
    assert (trained.path / ".done").exists()
    assert record.stat().st_mtime_ns == written


def planned_jobs(copy: Path, config: dict) -> set[str]:
    """The runs that a sweep would start."""
    given = [f"{name}={value}" for name, value in {"runs_dir": "kinds", **config}.items()]
    command = ["snakemake", "--cores", "2", "-n", "sweep", "--config", "sweep=devices.yaml"]
    done = run(copy, [*command, *given])
    assert done.returncode == 0, done.stdout + done.stderr
    return {*re.findall(r"wildcards: name=(\S+)", done.stdout)}


def mark_as_done(runs_dir: Path, job: str) -> None:
    """Leave what a finished job leaves."""
    (runs_dir / "params").mkdir(parents=True, exist_ok=True)
    (runs_dir / "params" / f"{job}.yaml").touch()
    (runs_dir / job).mkdir()
    (runs_dir / job / ".done").touch()


def test_a_job_that_is_done_on_one_device_is_not_done_on_another(copy):
    """Planned only: each device and precision that is asked for has a job, and so has `auto`."""
    file = sweep_file(copy, "devices.yaml", kappas=[10])
    cpu = {"device": "cpu"}
    bf16 = {"precision": "bf16"}
    *done, both = [job for config in ({}, cpu, bf16, cpu | bf16) for job in runs_of(file, **config)]
    assert len({*done, both}) == 4
    for job in done:
        mark_as_done(copy / "kinds", job)
    assert planned_jobs(copy, cpu | bf16) == {both}
    assert not planned_jobs(copy, {})


@pytest.mark.parametrize(
    "config, threads",
    [
        ({"device": "cpu"}, 1),
        ({"device": "cuda"}, 4),
        ({"device": "cpu", "devices": 2}, 4),
        ({"device": "cpu", "threads": 3}, 3),
    ],
    ids=["cpu", "cuda", "devices", "asked"],
)
def test_a_run_on_the_cpu_takes_one_core(copy, config, threads):
    """Planned only, on four cores: what a run is started with, and what Snakemake counts for it."""
    sweep_file(copy, "threads.yaml", kappas=[10, 2])
    given = {"sweep": "threads.yaml", **config}
    command = ["snakemake", "--cores", "4", "-np", "sweep", "--config"]
    done = run(copy, [*command, *(f"{name}={value}" for name, value in given.items())])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"OMP_NUM_THREADS=(\d+) python", done.stdout) == [str(threads)] * 2
    jobs = re.findall(r"(?m)^rule run:\n((?:    .*\n)+)", done.stdout)
    counted = [re.search(r"threads: (\d+)", job) for job in jobs]
    assert [int(found[1]) if found else 1 for found in counted] == [threads] * 2


@pytest.mark.parametrize("own", [None, "1"])
def test_make_takes_all_cores(own):
    """Two GB of memory for each; whatever OpenMP is told."""
    said = {"OMP_NUM_THREADS", "CORES", "MAKEFLAGS"}  # by who runs the tests
    environment = {name: value for name, value in os.environ.items() if name not in said}
    environment |= {"OMP_NUM_THREADS": own} if own else {}
    options = {"capture_output": True, "text": True, "check": True}
    done = subprocess.run(["make", "-n", "sweep"], cwd=ROOT, env=environment, **options)
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    cores = min(len(os.sched_getaffinity(0)), memory // (2 * 10**9))
    assert f"--cores {max(1, cores)} " in done.stdout


@pytest.mark.parametrize(
    "target, config, words",
    [
        ("runs/../../x/.done", {}, "No rule to produce ../x"),
        ("table1", {"epochs": "../../x"}, "--config epochs=../../x is not allowed"),
        ("sweep", {"sweep": "nowhere.yaml"}, "no parameter file nowhere.yaml"),
        ("sweep", {"sweep": "a{b}.yaml"}, "sweep = a{b}.yaml is not allowed"),
        ("table1", {"data_root": "{d}"}, "--config data_root={'d': ''} is not allowed"),
        ("table1", {"devices": "foo"}, "--config devices=foo is not allowed"),
        ("table1", {"threads": "foo"}, "--config threads=foo is not allowed"),
    ],
    ids=["outside", "number", "missing", "braces", "mapping", "devices", "threads"],
)
def test_a_command_that_cannot_be_meant_is_refused(copy, target, config, words):
    before = {*copy.iterdir()}
    done = run(copy, snakemake(target, "-n", config=config))
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert words in output
    assert {*copy.iterdir()} - before <= {copy / ".snakemake"}
    assert not (copy.parent / "x").exists()


def words_of_make(folder: Path, target: str, **given: str) -> list[list[str]]:
    """What a target's commands are given, in order: what prints its words stands in for them."""
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text())
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv/.ready").touch()
    code = "import json, sys\nprint(json.dumps(sys.argv[1:]))\n"
    for program in ("snakemake", "python"):
        printer = folder / ".venv/bin" / program
        printer.write_text(f"#!{sys.executable}\n{code}")
        printer.chmod(0o755)
    values = [f"{name}={value.replace('$', '$$')}" for name, value in given.items()]
    command = ["make", "-s", "-o", ".venv/.ready", target, *values]
    options = {"capture_output": True, "text": True, "check": True}
    output = subprocess.run(command, cwd=folder, **options).stdout
    return [json.loads(line) for line in output.splitlines()]


def test_make_quotes_what_it_is_given(tmp_path):
    """Names that make or a shell would read."""
    given = {"SWEEP": ODD, "DATA_ROOT": ODD, "EPOCHS": "1"}
    before, words, after = words_of_make(tmp_path, "sweep", **given)
    told = ["sweep", "--sweep", ODD, f"--data_root={ODD}", "--epochs=1"]
    assert before == ["-m", "pipeline.targets", "check", *told]
    assert after == ["-m", "pipeline.targets", "made", *told]
    assert words[-5:] == ["sweep", "--config", f"sweep={ODD}", f"data_root={ODD}", "epochs=1"]
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("given", [{}, {"DATA_ROOT": ODD}], ids=["without", "with data"])
def test_make_quotes_the_data_of_the_benchmark_that_takes_them(tmp_path, given):
    (tmp_path / "benchmarks").mkdir()
    words = {script: more for script, *more in words_of_make(tmp_path, "bench", **given)}
    assert words.pop("epoch.py") == (["--data-root", ODD] if given else [])
    assert len(words) > 5
    assert not any(words.values())
    assert not list(tmp_path.rglob("pwned"))


# --- What make says before and after --------------------------------------------------------------


def targets_here(monkeypatch, *words: object) -> str:
    """The sentences with which the command ends, called in this process; empty if all is well."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["targets", *map(str, words)])
    try:
        targets.main()
    except SystemExit as end:
        return str(end.code)
    return ""


def two_classes(folder: Path) -> Path:
    """CIFAR-10's class folders, of which two have four images each."""
    for part, label, k in product(("train", "test"), ("cat", "dog"), range(4)):
        place = folder / "cifar10" / part / label
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (60 * k, 0, 0)).save(place / f"{k}.png")
    return folder


def test_missing_data_are_named_before_anything_starts(tmp_path, monkeypatch):
    """CIFAR-10 is there, the table's other four data sets are not."""
    places = ["--data_root", two_classes(tmp_path), "--runs_dir", tmp_path / "runs"]
    first, *others = targets_here(monkeypatch, "check", "paper", *places).splitlines()
    assert len(others) <= 2  # and one more from make
    assert f"Not in {tmp_path}" in first
    assert all(name in first for name in ("STL-10", "LC25000", "ImageNet", "ImageNet-100"))
    assert "CIFAR-10" not in first
    assert targets_here(monkeypatch, "check", "table1_cifar10", *places) == ""


def test_a_finished_run_needs_no_data(tmp_path, monkeypatch):
    small = {"dataset": "cifar10", "batch_size": 4, "proj_dim": 8, "epochs": 1, "n_train": None}
    file = sweep_file(tmp_path, "p.yaml", **small)
    places = {"runs_dir": str(tmp_path / "runs"), "data_root": str(two_classes(tmp_path))}
    given = [word for name, value in places.items() for word in (f"--{name}", value)]
    fit(TrainConfig.from_yaml(file, **places))
    shutil.rmtree(tmp_path / "cifar10")
    assert targets_here(monkeypatch, "check", "sweep", "--sweep", file, *given) == ""
    other = sweep_file(tmp_path, "q.yaml", **small, seed=1)
    both = f"{file},{other}"
    assert "CIFAR-10" in targets_here(monkeypatch, "check", "sweep", "--sweep", both, *given)


def test_a_table_lies_where_make_says(copy):
    words = ["made", "table1_cifar10", "--epochs", "1", "--n_train", "512"]
    said = run(copy, [sys.executable, "-m", "pipeline.targets", *words]).stdout
    command = ["snakemake", "--cores", "1", "-n", "table1_cifar10"]
    planned = run(copy, [*command, "--config", "epochs=1", "n_train=512"]).stdout
    (path,) = re.findall(r"output: (reports/\S+)", planned)
    assert said.splitlines()[0] == path
    assert said.splitlines()[-1].startswith("7 runs in runs; ")


def test_a_sweep_says_where_each_run_is(tmp_path, monkeypatch, capsys):
    file = sweep_file(tmp_path, "p.yaml", kappas=[0.1, 10], runs_dir="ignored")
    assert targets_here(monkeypatch, "made", "sweep", "--sweep", file) == ""
    *each, last = capsys.readouterr().out.splitlines()
    names = [TrainConfig(**{**SMALL, "kappa": kappa}).name for kappa in (0.1, 10)]
    assert each == [
        f"glyphs, resnet_small, infomax, κ = {kappa}: runs/{name}"
        for kappa, name in zip(("0.1", "10"), names, strict=True)
    ]
    assert last.startswith("2 runs in runs; ")
