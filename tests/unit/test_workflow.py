"""The workflow as a person starts it: what it plans, what it makes of a sweep file, and that odd
names do no harm."""

import json
import os
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import ROOT, SMALL, checkout, run, snakemake, sweep_file

from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.train.run import Run
from pipeline.sweep import FIGURES, name_of, notebooks_own, paper, runs_of, table1_rows, write_run

TABLE = pd.read_csv(ROOT / "reports" / "paper_table1.csv")
ODD = 'a "b" $(touch pwned) `touch pwned` c\'s; touch pwned'


def name(stem: str) -> str:
    return TrainConfig.from_yaml(ROOT / "params" / "paper" / f"{stem}.yaml").name


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("workflow") / "copy")


def test_paper_lists_each_run_once(copy):
    """Every row of Table 1 and every curve of params/README.md has one job, evaluation-only rows
    included."""
    done = run(copy, ["snakemake", "--cores", "2", "-n", "paper"])
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"(?m)^(?:local)?rule (\w+):\n((?:    .*\n)+)", done.stdout)
    listed = [re.search(r"wildcards: name=(\S+)", text)[1] for rule, text in jobs if rule == "run"]
    files = sorted(path.stem for path in (ROOT / "params" / "paper").glob("*.yaml"))
    assert Counter(listed) == {name(stem): 1 for stem in files} and len(listed) == 40
    assert {name(stem) for stem in TABLE.params} <= {*listed} and TABLE.params.map(name).is_unique
    evaluation = next(
        text
        for rule, text in jobs
        if rule == "run" and name("imagenet100_infomax_resnet50") in text
    )
    assert f"{name('imagenet_infomax_resnet50')}/.done" in re.search(r"input: (.*)", evaluation)[1]
    tables = [rule for rule, _ in jobs if rule.startswith("table1_")]
    assert sorted(tables) == sorted(f"table1_{data}" for data in table1_rows())


def test_figures_are_the_readmes_curves():
    """The table 'Figures 3 to 5' of params/README.md, line by line, and Table 1's column 'shown
    in'."""
    readme, wanted = (ROOT / "params" / "README.md").read_text(), paper()
    curves: dict[str, list[str]] = {}
    for figure, stem in re.findall(
        r"(?m)^\| (\d), [^|]+\|[^|]+\| `paper/([^`]+)\.yaml` \|$", readme
    ):
        curves.setdefault(f"figure{figure}", []).append(stem)
    shown = re.findall(
        r"(?m)^\| ([A-Z]\S+) \|[^|]+\|[^|]+\| `paper/([^`]+)\.yaml` \| (.*)\|$", readme
    )
    curves["figure6"] = [stem for dataset, stem, _ in shown if dataset in ("CIFAR-10", "STL-10")]
    curves["figure7"] = [stem for _, stem, where in shown if "7" in where]
    assert len(shown) == 25 and {*FIGURES} == {*curves}
    for figure, stems in curves.items():
        assert sorted(wanted[figure]) == sorted(stems) and len({*map(name, stems)}) == len(stems), (
            figure
        )
    assert wanted["table1"] == TABLE.params.tolist()
    assert table1_rows() == dict(
        zip([s.split("_")[0] for s in TABLE.params], TABLE.dataset, strict=True)
    )


def test_the_lists_of_a_sweep_file_are_runs(tmp_path):
    file = sweep_file(
        tmp_path, "sweep.yaml", betas=[0.5, 1], seeds=[0, 1, 2], kappas=None, export="x", images=3
    )
    runs = runs_of(file)
    assert len(runs) == 6 and {(r["beta"], r["seed"]) for r in runs.values()} == {
        (b, s) for b in (0.5, 1) for s in (0, 1, 2)
    }
    assert all({*r} == {*SMALL, "beta", "seed"} for r in runs.values())
    assert all(TrainConfig(**r).name == n for n, r in runs.items())
    assert runs_of(file, epochs=1).keys().isdisjoint(runs)
    again = sweep_file(
        tmp_path, "again.yaml", kappas=[10, 10.0], methods=["infomax"], runs_dir="../../x"
    )
    assert list(runs_of(again)) == [TrainConfig(**SMALL).name]
    assert {
        "export",
        "images",
        "level",
        "subset",
        "class_counts",
        "kappas",
        "seeds",
    } <= notebooks_own()


@pytest.mark.parametrize(
    "given, kappas",
    [
        (15, [15]),
        ("15", [15]),
        ("[1, 10]", [1, 10]),
        ("1e1", [10]),
        ([10], [10]),
        ("none", [7]),
        (None, [7]),
    ],
)
def test_a_single_value_and_a_text_are_lists(tmp_path, given, kappas):
    """As a notebook takes them; without a list the file's one value counts."""
    file = sweep_file(tmp_path, "sweep.yaml", kappa=7, kappas=given, seeds="0")
    expected = [TrainConfig(**{**SMALL, "kappa": kappa}).name for kappa in kappas]
    assert list(runs_of(file)) == expected


def test_a_word_for_none_and_a_folder_called_2024(tmp_path):
    file = sweep_file(tmp_path, "sweep.yaml", n_train="none", image_size="~", data_root=2024)
    (run,) = runs_of(file).values()
    assert TrainConfig(**run).n_train is None and TrainConfig(**run).image_size is None
    assert TrainConfig(**run).data_root == "2024"


SWEEPS = [
    path for path in sorted((ROOT / "params").rglob("*.yaml")) if path.parent.name != "evidence"
]


@pytest.mark.parametrize("file", SWEEPS, ids=lambda p: p.stem)
def test_every_parameter_file_is_a_sweep(file):
    """Of valid runs, as many as its lists say."""
    lists = [
        v
        for k, v in yaml.safe_load(file.read_text()).items()
        if isinstance(v, list) and k != "class_counts"
    ]
    runs = runs_of(file)
    expected = 1
    for values in lists:
        expected *= len(values)
    assert len(runs) == expected and not [n for n in runs if n.startswith("refused-")]


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
        "value",
        "word",
        "no YAML",
        "boolean",
        "mapping",
        "empty text",
        "empty",
        "misspelt",
        "outside",
        "command",
        "field",
    ],
)
def test_what_is_refused_has_a_harmless_name_and_says_why(tmp_path, values, words):
    file = sweep_file(tmp_path, "sweep.yaml", **values)
    (refused,) = runs_of(file)
    assert re.fullmatch(r"refused-[0-9a-f]{10}", refused)
    with pytest.raises(ParameterError) as error:
        write_run(file, refused, tmp_path / "params" / "out.yaml")
    assert words in str(error.value) and not (tmp_path / "params").exists()


def test_a_bad_value_fails_alone_and_odd_names_do_no_harm(copy):
    """One sweep of two runs, one refused, and a file that is none, in folders whose names a shell
    would read."""
    sweep_file(copy, f"{ODD.replace('/', '')}.yaml", kappas=[10, -1], epochs=1)
    (copy / "broken.yaml").write_text("kappas: [")
    config = {"sweep": f"{ODD}.yaml,broken.yaml", "data_root": ODD, "runs_dir": f"runs {ODD}"}
    done = run(copy, snakemake("sweep", config=config))
    assert done.returncode == 1
    summary = done.stderr.split("Failed, the last line of each log:\n")[1].splitlines()[:2]
    assert "kappa = -1 is not allowed: it must be greater than 0." in "".join(summary)
    assert "broken.yaml cannot be read as a parameter file" in "".join(summary)
    assert all(re.match(r"  refused-[0-9a-f]{10}: ", line) for line in summary)
    (marker,) = (copy / f"runs {ODD}").glob("*/.done")
    trained = Run(marker.parent)
    assert trained.finished and trained.config.data_root == ODD and trained.record["threads"] == 1
    assert trained.path.name == name_of({**SMALL, "epochs": 1})
    assert not list(copy.parent.rglob("pwned")) and not (copy / "runs").exists()

    # Started again without its marker, as after a kill: the finished run is returned, not trained.
    written = (trained.path / "record.json").stat().st_mtime_ns
    marker.unlink()
    again = run(
        copy, snakemake(str(marker.relative_to(copy)), config={**config, "sweep": f"{ODD}.yaml"})
    )
    assert again.returncode == 0 and marker.exists(), again.stderr
    assert (trained.path / "record.json").stat().st_mtime_ns == written


def test_a_job_that_is_done_on_one_device_is_not_done_on_another(copy):
    """Planned only: what is asked for with a device or a precision has a job of its own, and so has
    `auto`."""
    sweep_file(copy, "devices.yaml", kappas=[10, 2])
    asked = [
        {},
        {"device": "cpu"},
        {"device": "cuda"},
        {"device": "cuda", "precision": 32},
        {"precision": "bf16"},
    ]

    def planned(config):
        given = {"sweep": "devices.yaml", "runs_dir": "kinds", **config}
        command = [
            "snakemake",
            "--cores",
            "2",
            "-n",
            "sweep",
            "--config",
            *(f"{k}={v}" for k, v in given.items()),
        ]
        done = run(copy, command)
        assert done.returncode == 0, done.stdout + done.stderr
        return {*re.findall(r"wildcards: name=(\S+)", done.stdout)}

    seen: set[str] = set()
    for config in asked:
        jobs = planned(config)
        assert len(jobs) == 2 and not jobs & seen
        seen |= jobs
        for job in jobs:
            (copy / "kinds" / "params").mkdir(parents=True, exist_ok=True)
            (copy / "kinds" / "params" / f"{job}.yaml").touch()
            (copy / "kinds" / job).mkdir()
            (copy / "kinds" / job / ".done").touch()
        assert not planned(config)


@pytest.mark.parametrize(
    "cores, config, threads",
    [
        (4, {"device": "cpu"}, 1),
        (4, {"device": "cuda"}, 4),
        (4, {"device": "cpu", "devices": 2}, 4),
        (4, {"device": "cpu", "threads": 3}, 3),
    ],
    ids=["cpu", "cuda", "devices", "asked"],
)
def test_a_run_on_the_cpu_takes_one_core(copy, cores, config, threads):
    """Planned only: what a run is started with, and what Snakemake counts for it."""
    sweep_file(copy, "threads.yaml", kappas=[10, 2])
    given = {"sweep": "threads.yaml", **config}
    command = ["snakemake", "--cores", str(cores), "-np", "sweep", "--config"]
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
    done = subprocess.run(
        ["make", "-n", "sweep"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    cores = min(len(os.sched_getaffinity(0)), memory // (2 * 10**9))
    assert f"--cores {max(1, cores)} " in done.stdout


def test_braces_are_letters_like_others(copy):
    """In the folder of the runs and in that of the data; Snakemake has a meaning of its own for
    them."""
    sweep_file(copy, "plain.yaml", kappas=[10], epochs=1)
    config = {"sweep": "plain.yaml", "data_root": "d {x}", "runs_dir": "runs {x} {{y}}"}
    for _ in range(2):  # the second time there is nothing to do
        done = run(copy, snakemake("sweep", config=config))
        assert done.returncode == 0, done.stderr
        (marker,) = (copy / "runs {x} {{y}}").glob("*/.done")
        assert Run(marker.parent).finished and Run(marker.parent).config.data_root == "d {x}"


@pytest.mark.parametrize(
    "target, config, words",
    [
        ("runs/../../x/.done", {}, "No rule to produce ../x"),
        ("table1", {"epochs": "../../x"}, "--config epochs=../../x is not allowed"),
        ("sweep", {"sweep": "nowhere.yaml"}, "no parameter file nowhere.yaml"),
        ("sweep", {"sweep": "a{b}.yaml"}, "sweep = a{b}.yaml is not allowed"),
        ("table1", {"data_root": "{d}"}, "--config data_root={'d': ''} is not allowed"),
    ],
    ids=["outside", "number", "missing", "braces", "mapping"],
)
def test_a_command_that_cannot_be_meant_is_refused(copy, target, config, words):
    before = {*copy.iterdir()}
    done = run(copy, snakemake(target, "-n", config=config))
    assert done.returncode == 1 and words in done.stdout + done.stderr, done.stdout + done.stderr
    assert {*copy.iterdir()} - before <= {copy / ".snakemake"} and not (copy.parent / "x").exists()


def test_make_quotes_what_it_is_given(tmp_path):
    """make's own commands and names that a shell would read; what prints its words stands in for
    Snakemake."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    said = tmp_path / ".venv/bin/snakemake"
    said.write_text("#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    said.chmod(0o755)
    odd = ODD.replace("$", "$$")  # as make wants a dollar
    command = [
        "make",
        "-s",
        "-o",
        ".venv/.ready",
        "sweep",
        f"SWEEP={odd}",
        f"DATA_ROOT={odd}",
        "EPOCHS=1",
    ]
    (tmp_path / ".venv/.ready").touch()
    words = json.loads(
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    )
    assert words[-4:] == ["--config", f"sweep={ODD}", f"data_root={ODD}", "epochs=1"]
    assert (
        not list(tmp_path.rglob("pwned"))
        and shlex.split("sweep") == words[words.index("sweep") : -4]
    )
