"""One run in two processes (gloo) is the run in one: same views, same losses, same path."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from checkout import ROOT

from infomax_nb.config import TrainConfig
from infomax_nb.distributed import share_buffers
from infomax_nb.errors import ParameterError
from infomax_nb.files import load_weights
from infomax_nb.methods import FAMILY, build
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from infomax_nb.train.together import ExitSignal
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

SCRIPT = str(Path(__file__).with_name("parallel.py"))
SHAPE = {"n_classes": 10, "n_train": 128, "batch_size": 32, "proj_dim": 16}
SHAPE |= {"backbone": "vit_mini", "eval_every": 3}
# Their losses compare the images of a batch.
METHODS = ("infomax", "simclr", "vicreg", "barlow_twins", *FAMILY)
SINGLE = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def run(command):
    """The command's status, each process with one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, timeout=600).returncode


def trained(folder, command, devices, methods=METHODS):
    """The finished runs by their methods, of three epochs of four steps each."""
    shape = {**SHAPE, "epochs": 3, "runs_dir": str(folder)}
    configs = [{**shape, "method": method} for method in methods]
    assert run([*command, SCRIPT, json.dumps(configs), str(devices)]) == 0
    return {config["method"]: Run(TrainConfig(**config).run_dir) for config in configs}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), SINGLE, 1)


def backbone_weights(run):
    """All weights of the backbone, in a row."""
    weights = run.weights
    return torch.cat([weights[name].flatten() for name in weights if name.startswith("backbone")])


def assert_same_path(run, reference):
    """Twelve steps: every number that was logged, and the backbone, up to the rounding of sums in
    another order.

    Of the 500 test images rounding may tip two, between classes that have as many votes; of the 256
    views of a batch one, between two neighbours as near.
    """
    assert run.record["devices"] == 2
    assert reference.record["devices"] == 1
    same = pd.testing.assert_frame_equal
    ours = run.metrics
    theirs = reference.metrics
    accuracies = [column for column in ours if "_top" in column]
    counts = [column for column in ours if column == "nn_positive"]
    others = ours.columns.difference(accuracies + counts)
    same(ours[others], theirs[others], rtol=1e-4, atol=1e-4)
    same(ours[counts], theirs[counts], rtol=0, atol=1.1 / 256)
    same(ours[accuracies], theirs[accuracies], rtol=0, atol=0.41)
    apart = (backbone_weights(run) - backbone_weights(reference)).abs()
    # A step of Adam is as long as the rate, 1e-3, however small the gradient: where it is zero but
    # for rounding, as of the keys' biases, weights go their own ways.
    assert (apart > 1e-4).float().mean() < 0.01


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("torchrun"), TORCHRUN, 2)


@pytest.mark.parametrize("method", METHODS)
def test_torchruns_two_processes_take_the_path_of_one(by_torchrun, alone, method):
    assert_same_path(by_torchrun[method], alone[method])


def test_lightnings_two_processes_take_the_path_of_one(tmp_path, alone):
    both = trained(tmp_path, SINGLE, 2, ["infomax"])
    assert_same_path(both["infomax"], alone["infomax"])


@pytest.mark.parametrize("size", [96, 150, 7])
def test_shares_get_the_views_of_the_whole_batch(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=generator)
    views = MultiView(dino_views(32)[:3])
    numbers = views.draw(size, 32, 32, torch.Generator().manual_seed(1))
    whole = views.make(images, numbers)
    for rows in torch.arange(size).tensor_split(3):
        share = views.make(images[rows], {name: each[:, rows] for name, each in numbers.items()})
        for ours, all_of_them in zip(share, whole, strict=True):
            torch.testing.assert_close(ours, all_of_them[rows], rtol=0, atol=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="batch_size = 33 .* multiple of 2"):
        fit(TrainConfig(**{**SHAPE, "batch_size": 33}, runs_dir=str(tmp_path)), devices=2)


# --- What processes send each other ---------------------------------------------------------------

COUNTED = str(Path(__file__).with_name("counted.py"))
STEPS = 3  # that it counts
IMAGES = 8  # of each process at each step
SMALL = {"n_classes": 10, "n_train": 128, "batch_size": 2 * IMAGES, "proj_dim": 16}


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """The runs' folder and their configurations; the small ResNet has BatchNorm, so buffers."""
    folder = tmp_path_factory.mktemp("counted")
    shape = {**SMALL, "epochs": 1, "runs_dir": str(folder)}
    configs = [{**shape, "method": method} for method in ("infomax", "simclr")]
    assert run([*TORCHRUN, COUNTED, json.dumps(configs)]) == 0
    return folder, {config["method"]: TrainConfig(**config) for config in configs}


# The rows that a loss gathers from each process, V views of eight images; ours also two means.
GATHERED = {"infomax": [[[8 * IMAGES, 16]], [[2]]], "simclr": [[[IMAGES, 128]], [[IMAGES, 128]]]}


@pytest.mark.parametrize("method", GATHERED)
def test_a_step_exchanges_what_the_loss_gathers_and_gradients_alone(counted, method):
    """Each gathering of rows has a sum of gradients in the backward pass, from both processes."""
    folder, configs = counted
    seen = json.loads((folder / f"{method}.json").read_text())
    assert {name for name, _ in seen} == {"gloo:all_gather", "gloo:all_reduce"}
    gathered = Counter(str(shapes) for name, shapes in seen if name == "gloo:all_gather")
    assert gathered == Counter(map(str, GATHERED[method] * STEPS))
    rows = [shape for (shape,) in GATHERED[method] if len(shape) == 2]
    summed = [shapes[0] for name, shapes in seen if name == "gloo:all_reduce"]
    backward = [shape for shape in summed if len(shape) == 3]
    assert sorted(backward) == sorted([2, *shape] for shape in rows * STEPS)
    gradients = [shape[0] for shape in summed if len(shape) == 1]
    trained = [p.numel() for p in build(configs[method], 10).parameters() if p.requires_grad]
    assert sum(gradients) == STEPS * sum(trained)
    # The exit signal's question is a single number, once a second or, of slow steps, at each.
    assert len(summed) - len(backward) - len(gradients) <= STEPS


def _buffers_of_two(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.manual_seed(rank)
    network = torch.nn.BatchNorm1d(3)
    network(torch.randn(8, 3) + rank)
    share_buffers(network)
    torch.save(network.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_the_first_processs_statistics_are_everyones(tmp_path):
    """As of one batch: BatchNorm's momentum is 0.1, from mean 0 and variance 1."""
    mp.spawn(_buffers_of_two, (str(tmp_path),), nprocs=2)
    torch.manual_seed(0)
    batch = torch.randn(8, 3)
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(state["running_mean"], 0.1 * batch.mean(0))
        torch.testing.assert_close(state["running_var"], 0.9 + 0.1 * batch.var(0))
        assert state["num_batches_tracked"] == 1


# --- How they stop --------------------------------------------------------------------------------

STOPPED = str(Path(__file__).with_name("stopped.py"))
LONG = {**SMALL, "epochs": 10, "eval_every": 20}  # 80 steps


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    config = {**LONG, "runs_dir": str(tmp_path_factory.mktemp("unstopped"))}
    assert run([*TORCHRUN, STOPPED, json.dumps(config), "-1", "-1"]) == 0
    return Run(TrainConfig(**config).run_dir)


# torchrun's own status is 1 where a process's is 143.
@pytest.mark.parametrize("launcher, rank, status", [(TORCHRUN, 1, 1), (SINGLE, 0, 143)])
def test_sigterm_to_one_of_two_processes_stops_both_at_the_same_step(
    unstopped, tmp_path, launcher, rank, status
):
    """Their checkpoint is whole, and goes on to the very end of a run that was not stopped."""
    config = {**LONG, "runs_dir": str(tmp_path)}
    command = [*launcher, STOPPED, json.dumps(config)]
    assert run([*command, str(rank), "4"]) == status
    last = {int((tmp_path / f"{each}.txt").read_text()) for each in range(2)}
    assert len(last) == 1
    assert 4 <= min(last) < 79
    stopped = Run(TrainConfig(**config).run_dir)
    assert not list(stopped.path.glob("*.part"))
    assert load_weights(stopped.checkpoint)["global_step"] == min(last) + 1
    assert run([*command, "-1", "-1"]) == 0
    ours = (stopped.path / "metrics.csv").read_bytes()
    assert ours == (unstopped.path / "metrics.csv").read_bytes()


def _signalled(rank, folder, seconds):
    """Steps of so many seconds until both stop; SIGTERM to the second process at the tenth."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    questions = []
    reduce = dist.all_reduce
    dist.all_reduce = lambda *given, **options: questions.append(1) or reduce(*given, **options)
    exit_signal = ExitSignal(torch.device("cpu"))
    exit_signal.listen()
    step = 0
    while not exit_signal.agreed():
        step += 1
        time.sleep(seconds)
        if [rank, step] == [1, 10]:
            signal.raise_signal(signal.SIGTERM)
        assert step < 2000
    torch.save([step, len(questions)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("seconds", [0.002, 0.2])
def test_both_stop_at_one_step_having_asked_once_a_second(tmp_path, seconds):
    """Two seconds at most after the signal, or two steps where these are slower."""
    mp.spawn(_signalled, (str(tmp_path), seconds), nprocs=2)
    (steps, questions), other = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert [steps, questions] == other
    # Sleeping takes longer than it is told to, so there are fewer steps in a second.
    assert 10 <= steps <= 10 + 2 * min(1 / seconds, 100) + 2
    assert questions <= 4 + steps * seconds * 3
