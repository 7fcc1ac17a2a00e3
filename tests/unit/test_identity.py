"""A run's images, weights, folder and processes are those that its record names."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from checkout import ROOT
from PIL import Image

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import CACHE, fingerprint, pixels_digest
from infomax_nb.data.loading import load
from infomax_nb.distributed import processes
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.train import trainer
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run, siblings

SMALL = {"n_classes": 4, "n_train": 64, "batch_size": 16, "proj_dim": 8, "epochs": 2}
SMALL |= {"device": "cpu"}
OWN = {"dataset": "folder", "image_size": 16, "batch_size": 8, "proj_dim": 8, "epochs": 1}
OWN |= {"device": "cpu"}
VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR",
    "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES", "SLURM_JOB_ID", "SLURM_JOB_NAME",
    "SLURM_NODEID",
)  # fmt: skip
# What sbatch gives to a script, for which nobody has called srun.
ALLOCATION = {"SLURM_JOB_ID": "17", "SLURM_JOB_NAME": "train"}
ALLOCATION |= {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher's variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def write_images(folder: Path, n: int, seed: int) -> None:
    """`n` images of noise in each of two classes."""
    noise = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k in range(n):
            pixels = noise.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:03}.png")


def environment(**variables) -> dict[str, str]:
    """This process' environment without any launcher's variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def train_command(*arguments, **changes) -> list[str]:
    """The command line with these parameters changed."""
    options = [word for name, value in changes.items() for word in ("-p", name, str(value))]
    return [sys.executable, "-m", "infomax_nb.train", *map(str, arguments), *options]


def train(*arguments, folder: Path | None = None, variables=None, **changes) -> Run:
    """The run that the command line trains, in that working folder and environment."""
    command = train_command(*arguments, **changes)
    variables = variables or environment()
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Run(Path(done.stdout.strip()))


def refused(*arguments, **changes) -> str:
    """The one sentence with which the command line refuses to train."""
    command = train_command(*arguments, **changes)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr.strip()


# --- The images -----------------------------------------------------------------------------------


@pytest.fixture
def own_run(tmp_path):
    """A finished run on a folder of images; its folder and its configuration."""
    folder = tmp_path / "images"
    write_images(folder, 12, seed=0)
    config = TrainConfig(**OWN, data_root=str(folder), runs_dir=str(tmp_path / "runs"))
    return folder, config, fit(config)


def test_the_record_names_the_images(own_run):
    folder, _, run = own_run
    recorded = run.record["data"]
    sizes = [path.stat().st_size for path in folder.rglob("*.png")]
    assert (recorded["files"], recorded["bytes"]) == (24, sum(sizes))
    assert len(recorded["digest"]) == 32
    assert recorded["name"] == "not known"


def add(folder: Path) -> None:
    shutil.copy(folder / "cat" / "000.png", folder / "cat" / "new.png")


def remove(folder: Path) -> None:
    (folder / "cat" / "003.png").unlink()


def rename(folder: Path) -> None:
    (folder / "cat" / "003.png").rename(folder / "cat" / "x.png")


def move_to_another_class(folder: Path) -> None:
    (folder / "cat" / "003.png").rename(folder / "dog" / "x.png")


def change_a_pixel_but_neither_size_nor_time(folder: Path) -> None:
    path = folder / "dog" / "005.png"
    before = path.stat()
    raw = bytearray(path.read_bytes())
    raw[-20] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    add: "had 24 files, now there are 25",
    remove: "had 24 files, now there are 23",
    rename: "other names or contents",
    move_to_another_class: "other names or contents",
    change_a_pixel_but_neither_size_nor_time: "other names or contents",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_run_is_refused_when_its_images_have_changed(own_run, change):
    folder, config, run = own_run
    assert fit(config).path == run.path
    change(folder)
    with pytest.raises(ParameterError) as error:
        fit(config)
    sentence = str(error.value)
    for words in (CHANGES[change], str(folder), str(run.path), "runs_dir"):
        assert words in sentence
    assert len(sentence.splitlines()) == 1


def test_files_that_were_only_touched_are_the_same(own_run):
    folder, config, run = own_run
    for path in folder.rglob("*.png"):
        os.utime(path)
    assert fit(config).path == run.path


def test_a_copy_elsewhere_has_the_same_fingerprint(own_run, tmp_path):
    folder, config, run = own_run
    shutil.copytree(folder, tmp_path / "copy")
    copied = fingerprint(config.replace(data_root=str(tmp_path / "copy")))
    assert copied["digest"] == run.data_digest


def test_a_run_from_before_the_recipes_keeps_its_name_and_is_read(tmp_path):
    """Its config.yaml names no recipe; its name digests what differs from the defaults of then."""
    fields = {"dataset": "cifar10", "method": "simclr", "device": "cpu", "recipe": 1}
    config = TrainConfig(**fields, runs_dir=str(tmp_path))
    digest = hashlib.sha256(b'{"dataset": "cifar10", "method": "simclr"}').hexdigest()[:10]
    assert config.name == f"cifar10-simclr-resnet_small-{digest}"
    assert config.replace(recipe=2).name != config.name
    config.run_dir.mkdir()
    values = config.model_dump(exclude={"recipe"})
    (config.run_dir / "config.yaml").write_text(yaml.safe_dump(values))
    assert Run(config.run_dir).config.recipe == 1
    assert Run(config.run_dir).config.name == config.name
    with pytest.raises(ParameterError, match=r"^recipe = 1 is not allowed: it is 2 for new runs"):
        fit(config)


def test_a_damaged_cache_is_made_anew(own_run, tmp_path):
    _, config, run = own_run
    cache = tmp_path / "runs" / CACHE
    (key,) = json.loads(cache.read_text())
    entries = (1, None, {}, {"digest": run.data_digest})
    for damage in ("{", "[]", "", *(json.dumps({key: entry}) for entry in entries)):
        cache.write_text(damage)
        assert fingerprint(config)["digest"] == run.data_digest


@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_does_not_go_on_with_other_images(own_run, request_to_stop):
    """What is left: the configuration and a checkpoint, of a step within an epoch."""
    folder, config, _ = own_run
    longer = config.replace(epochs=40)
    file = folder.parent / "longer.yaml"
    file.write_text(yaml.safe_dump(longer.model_dump()))
    process = subprocess.Popen(train_command(file), env=environment())
    checkpoint = longer.run_dir / "checkpoint.ckpt"
    wait_for(checkpoint, process)
    process.send_signal(request_to_stop)
    assert process.wait(60) == 143
    add(folder)
    with pytest.raises(ParameterError, match="had 24 files, now there are 25"):
        fit(longer)


def test_only_ctrl_c_ends_a_run_at_once_when_it_comes_again():
    asked = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, lambda *_: asked.append("stop"))
    try:
        with trainer._stopped_as_terminated():
            for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGINT):
                signal.raise_signal(number)
            assert asked == ["stop"] * 3
            assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])


def forget(run: Run, *names: str) -> None:
    """Make it a run from before these entries of the record were written."""
    record = {name: value for name, value in run.record.items() if name not in names}
    record["seal"] = run.seal(record)
    run.write("record.json", json.dumps(record))


def test_a_folders_run_from_before_fingerprints_is_refused(own_run):
    _, config, run = own_run
    forget(run, "data")
    with pytest.raises(ParameterError, match="before data were recorded"):
        fit(config)


@pytest.fixture
def public(tmp_path):
    """The configuration of a run on CIFAR-10, which lies in folders here."""
    for split in ("train", "test"):
        write_images(tmp_path / "data" / "cifar10" / split, 12, seed=len(split))
    places = {"data_root": str(tmp_path / "data"), "runs_dir": str(tmp_path / "runs")}
    return TrainConfig(**{**OWN, "dataset": "cifar10"}, **places)


def test_a_public_sets_run_is_reused_where_its_images_are_not(public, tmp_path):
    run = fit(public)
    shutil.move(tmp_path / "data", tmp_path / "away")
    assert fit(public).path == run.path  # there is nothing to compare with


def test_a_public_sets_run_is_refused_where_its_images_have_changed(public, tmp_path):
    run = fit(public)
    assert run.data_digest == fingerprint(public)["digest"]
    assert run.record["data"]["files"] == 48
    add(tmp_path / "data" / "cifar10" / "test")
    with pytest.raises(ParameterError, match="had 48 files, now there are 49"):
        fit(public)


def test_a_public_sets_run_from_before_fingerprints_is_reused(public, tmp_path):
    run = fit(public)
    forget(run, "data")
    add(tmp_path / "data" / "cifar10" / "test")
    assert fit(public).data_digest == "unknown"


def test_runs_on_other_images_are_no_siblings(public, tmp_path, capsys):
    """Seeds of a public set; between them somebody replaced the images."""
    fit(public)
    fit(public.replace(seed=1))
    assert sorted(siblings(public, "seed").seed) == [0, 1]
    write_images(tmp_path / "data" / "cifar10" / "train", 12, seed=9)
    other = fit(public.replace(seed=2))
    assert sorted(siblings(public, "seed").seed) == [0, 1]
    assert other.path.name in capsys.readouterr().err


def test_pixels_do_not_depend_on_order_and_do_on_labels(tmp_path):
    write_images(tmp_path, 12, seed=0)
    data = load("folder", tmp_path, "train", image_size=16)
    mixed = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))]
    assert pixels_digest(mixed) == pixels_digest(data)
    assert pixels_digest(data[:-1]) != pixels_digest(data)
    data.labels[0] = 1 - data.labels[0]
    assert pixels_digest(mixed) != pixels_digest(data)


@pytest.mark.parametrize("text", ["[]", '"finished"', "3", "null"])
def test_a_record_that_is_no_table_is_one_sentence(own_run, text):
    _, config, run = own_run
    run.write("record.json", text)
    with pytest.raises(RunError, match="record.json cannot be used"):
        fit(config)


def test_a_record_without_its_seal_is_no_run_from_before(own_run):
    _, config, run = own_run
    record = {name: value for name, value in run.record.items() if name not in ("seal", "devices")}
    run.write("record.json", json.dumps(record))
    with pytest.raises(RunError, match="check sum"):
        fit(config)


# --- The weights ----------------------------------------------------------------------------------


def test_another_runs_weights_are_noticed(tmp_path):
    """Two seeds: same names, same shapes."""
    config = TrainConfig(**{**SMALL, "epochs": 1}, runs_dir=str(tmp_path))
    run = fit(config)
    other = fit(config.replace(seed=1))
    shutil.copy(other.path / "model.pt", run.path / "model.pt")
    for use in (run.method, lambda: fit(config)):
        with pytest.raises(RunError, match="model.pt is not the file that this run wrote"):
            use()
    assert other.method() is not None
    forget(run, "weights")
    assert run.method() is not None  # of runs of old nobody can tell


# --- Preemption -----------------------------------------------------------------------------------


JOB = {**ALLOCATION, "SLURM_NTASKS": "1"}


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def preempted(tmp_path_factory):
    """A run that a SLURM job began in the folder `work`, beside `runs`, and that SIGUSR1 ended."""
    folder = tmp_path_factory.mktemp("preempted")
    config = TrainConfig(**{**SMALL, "epochs": 60}, runs_dir=str(folder / "runs"))
    (folder / "run.yaml").write_text(yaml.safe_dump({**SMALL, "epochs": 60}))
    (folder / "work").mkdir()
    command = train_command("../run.yaml", runs_dir=folder / "runs")
    process = subprocess.Popen(command, cwd=folder / "work", env=environment(**JOB))
    wait_for(config.run_dir / "checkpoint.ckpt", process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 143
    return Run(config.run_dir)


def test_a_preempted_run_leaves_files_in_its_directory_alone(preempted):
    assert not list((preempted.path.parents[1] / "work").iterdir())
    files = {".lock", "checkpoint.ckpt", "config.yaml", "metrics.csv", "predictions.npz"}
    assert {path.name for path in preempted.path.iterdir()} == files


def test_a_job_does_not_feel_a_foreign_checkpoint_in_its_folder(preempted, tmp_path):
    """Another configuration, beside what Lightning would read."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(preempted.checkpoint, work / "hpc_ckpt_3.ckpt")
    file = tmp_path / "next.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "kappa": 2.0, "seed": 3}))
    job = environment(**JOB, OMP_NUM_THREADS=str(torch.get_num_threads()))
    run = train(file, folder=work, variables=job, runs_dir=tmp_path / "runs")
    assert {path.name for path in work.iterdir()} == {"hpc_ckpt_3.ckpt"}
    assert (run.config.kappa, run.config.seed) == (2, 3)
    alone = fit(TrainConfig.from_yaml(file, runs_dir=str(tmp_path / "alone")))
    assert (run.path / "metrics.csv").read_bytes() == (alone.path / "metrics.csv").read_bytes()


# --- Processes ------------------------------------------------------------------------------------

STEP = {**ALLOCATION, "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}
STEP |= {"SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN |= {"RANK": "3", "LOCAL_RANK": "1"}
CHILD = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}
CHILD |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
STEP_OF_ONE = {**ALLOCATION, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}
STEP_OF_ONE |= {"SLURM_LOCALID": "0"}


@pytest.mark.parametrize(
    "variables, asked, expected",
    [
        ({}, None, ("own", 1, 1, 0)),
        ({}, 3, ("own", 3, 1, 0)),
        (ALLOCATION, None, ("own", 1, 1, 0)),
        (ALLOCATION, 2, ("own", 2, 1, 0)),
        ({**ALLOCATION, "SLURM_STEP_NUM_TASKS": "1"}, 2, ("own", 2, 1, 0)),
        (STEP, None, ("srun", 2, 2, 3)),
        (STEP, 2, ("srun", 2, 2, 3)),
        ({**STEP, **TORCHRUN}, None, ("torchrun", 2, 2, 3)),
        (CHILD, 2, ("own", 2, 1, 1)),
        ({"RANK": "5"}, None, ("own", 1, 1, 0)),
        ({"LOCAL_RANK": "1"}, None, ("own", 1, 1, 0)),
    ],
)
def test_what_was_started_and_what_was_asked_for(monkeypatch, variables, asked, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    there = processes(asked)
    assert (there.launcher, there.devices, there.num_nodes, there.rank) == expected


@pytest.mark.parametrize(
    "variables, asked, words",
    [
        ({}, 0, "devices = 0 is not allowed: it must be a whole number >= 1"),
        ({}, -1, "devices = -1 is not allowed"),
        ({}, True, "devices = True is not allowed"),
        ({}, "2", "devices = '2' is not allowed"),
        ({}, 1.5, "devices = 1.5 is not allowed"),
        (STEP, 4, "devices = 4 is not allowed here: srun has started 2"),
        (STEP, 1, "devices = 1 is not allowed here: srun has started 2"),
        (TORCHRUN, 3, "devices = 3 is not allowed here: torchrun has started 2"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "3"}, None, "not equally many on each node"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "x"}, None, "SLURM_STEP_NUM_TASKS = 'x' in the env"),
    ],
)
def test_processes_that_cannot_be_had_are_refused(monkeypatch, variables, asked, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError) as error:
        processes(asked)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_devices_of_a_notebook_are_refused_in_one_sentence(tmp_path):
    """An interactive session cannot be started a second time."""
    config = {**SMALL, "runs_dir": str(tmp_path)}
    code = f"import infomax_nb as nb; nb.fit(nb.TrainConfig(**{config}), devices=2)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "ParameterError: devices = 2 is not allowed in a notebook" in last
    assert not list(tmp_path.iterdir())


def test_the_command_line_refuses_devices_in_one_sentence(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(SMALL))
    sentence = refused(tmp_path / "run.yaml", "--devices", 0, runs_dir=tmp_path / "runs")
    assert sentence.endswith("it must be a whole number >= 1.")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "variables, devices",
    [(ALLOCATION, 1), (STEP_OF_ONE, 2)],
    ids=["allocation", "step of one task"],
)
def test_a_slurm_job_trains_on_what_was_asked_for(tmp_path, variables, devices):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SMALL, "epochs": 1}))
    command = train_command(tmp_path / "run.yaml", "--devices", devices, runs_dir=tmp_path / "runs")
    own = environment(**variables)
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Run(Path(done.stdout.strip())).record["devices"] == devices
    assert devices == 1 or "world_size" not in done.stderr


def test_lightnings_defaults_from_the_environment_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    with pytest.raises(ParameterError, match="PL_TRAINER_LIMIT_TRAIN_BATCHES = '1'"):
        fit(TrainConfig(**SMALL, runs_dir=str(tmp_path)))


# --- Where things are -----------------------------------------------------------------------------


def test_a_run_in_ones_home_and_without_git(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**SMALL, "epochs": 1}))
    bare = environment(HOME=str(tmp_path), PATH=str(tmp_path))
    run = train(tmp_path / "run.yaml", variables=bare, runs_dir="~/runs {x}")
    assert run.path.parent == tmp_path / "runs {x}"
    assert run.record["commit"] == ""


@pytest.mark.parametrize("name", ["runs_dir", "data_root"])
def test_the_home_of_nobody_is_refused_in_one_sentence(name):
    config = TrainConfig(**{"dataset": "folder", name: "~nobody-of-this-name/x"})
    with pytest.raises(ParameterError, match=f"{name} = '~nobody-of-this-name/x' is not allowed"):
        fit(config)
