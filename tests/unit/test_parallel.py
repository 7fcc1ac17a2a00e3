"""One run in two processes (gloo) is the run in one: same views, same losses, same path."""

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from two_processes import (
    IMAGES,
    LONG,
    SHAPE,
    SINGLE,
    SMALL,
    TORCHRUN,
    assert_both_stop_and_go_on,
    assert_same_path,
    run,
    stopped_never,
    trained,
)

from infomax_nb.config import TrainConfig
from infomax_nb.distributed import share_buffers
from infomax_nb.errors import ParameterError
from infomax_nb.methods import build
from infomax_nb.train.fitting import fit
from infomax_nb.train.together import ExitSignal
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

# One compares views, one dimensions; tests/slow/test_more_in_two.py has every method.
TWO_METHODS = ("infomax", "vicreg")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), SINGLE, 1, TWO_METHODS)


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("torchrun"), TORCHRUN, 2, TWO_METHODS)


@pytest.mark.parametrize("method", TWO_METHODS)
def test_torchruns_two_processes_take_the_path_of_one(by_torchrun, alone, method):
    assert_same_path(by_torchrun[method], alone[method])


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


def test_sigterm_to_one_of_two_processes_stops_both_at_the_same_step(tmp_path):
    unstopped = stopped_never(tmp_path / "unstopped", SINGLE, LONG)
    assert_both_stop_and_go_on(unstopped, tmp_path / "stopped", SINGLE, LONG, rank=0, status=143)


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
