"""What training costs on a GPU, guarded on machines that have none (see `pretend`).

Each guard is a function that complains. It is shown to complain about a step that is bad on
purpose. `make device-budget` prints what is counted here.
"""

import signal
import unittest.mock
from functools import cache, partial

import pytest
import torch
from device_budget import evaluation_tally
from device_steps import pictures, steps
from pretended_costs import Tally
from pretended_cuda import pretending
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS, Method, build
from infomax_nb.methods.supervised import Supervised
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView

LAUNCHES = 900  # of a step that is launched kernel by kernel
VIEWS = 400  # of them, for the views
REPLAYED = 20  # of a step that was recorded: the graph, its inputs, the sums of the losses
EVALUATION = 4000  # launches for 50,000 training and 10,000 test images
SIZES = (32, 96)
WARM_UP = 3  # steps that are launched kernel by kernel; the next one is recorded


# --- The guards -------------------------------------------------------------------------------


def check_no_waits(tally: Tally) -> None:
    """The host never waits for the device, nor might, for memory that is not pinned."""
    assert not tally.waits, tally.said("waits")
    assert not tally.pageable, tally.said("pageable")


def check_launches(tally: Tally, most: int, views: int | None = None) -> None:
    """There are so many launches at most, and so many of them for the views."""
    assert tally.launches.total() <= most, f"{tally.launches}\n{tally.said('launches')}"
    assert views is None or tally.launches["views"] <= views, tally.said("launches", 40)


def check_same_sequence(one: Tally, other: Tally) -> None:
    """Two steps launch the same operations on the same shapes."""
    for mine, theirs in zip(one.sequence, other.sequence, strict=False):
        assert mine == theirs
    assert len(one.sequence) == len(other.sequence)


def check_little_on_the_cpu(tally: Tally) -> None:
    """Nothing large is computed on the CPU but random numbers."""
    large = [what for what in tally.cpu if not what[2].startswith("views/drawing.py")]
    assert not large


def check_equal(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    """Two lists of tensors are the same, bit for bit."""
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a.cpu(), b.cpu())


def check_same_run(one: Run, other: Run) -> None:
    """Two runs have the same metrics and weights, bit for bit."""
    assert (one.path / "metrics.csv").read_bytes() == (other.path / "metrics.csv").read_bytes()
    weights = [{k: v for k, v in run.weights.items() if k != "n_classes"} for run in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    check_equal(*(list(each.values()) for each in weights))


def check_no_waits_in_loops(few: Tally, many: Tally) -> None:
    """However many images there are, the host waits equally often."""
    assert many.waits.total() == few.waits.total(), many.said("waits")


# --- A training step --------------------------------------------------------------------------


@cache
def counted(method: str, size: int, **values) -> list[Tally]:
    """The costs of a run's first six steps; four images in a batch launch as much as any."""
    config = TrainConfig(method=method, backbone="resnet_small", image_size=size, **values)
    return steps(config.replace(dataset="cifar10", batch_size=4), WARM_UP + 3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_device(method, size):
    """The first one may: it uploads what an epoch needs."""
    for tally in counted(method, size)[1:]:
        check_no_waits(tally)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["infomax", "simclr"])
def test_a_step_keeps_to_its_budget(method, size, precision):
    config = TrainConfig(method=method, backbone="resnet18", image_size=size, precision=precision)
    first = steps(config.replace(dataset="cifar10", batch_size=4), WARM_UP + 1)
    check_launches(first[WARM_UP - 1], LAUNCHES, VIEWS)


@pytest.mark.parametrize("method", METHODS)
def test_a_recorded_step_is_a_few_launches(method):
    for tally in counted(method, 32)[WARM_UP + 1 :]:
        check_launches(tally, REPLAYED)


@pytest.mark.parametrize("method", ["infomax", "simclr"])
def test_launches_do_not_depend_on_the_batch(method):
    config = TrainConfig(method=method, dataset="cifar10", batch_size=128)
    large = steps(config, 2)[1]
    assert large.launches == counted(method, 32)[1].launches


@pytest.mark.parametrize(("method", "size"), [*((m, 32) for m in METHODS), ("infomax", 96)])
def test_steps_with_other_seeds_do_the_same(method, size):
    """What a captured graph needs."""
    one = counted(method, size)  # of seed 0
    other = counted(method, size, seed=1)
    check_same_sequence(one[1], one[2])
    check_same_sequence(one[1], other[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_cpu_only_draws(method):
    config = TrainConfig(method=method, dataset="cifar10", image_size=96, batch_size=8)
    for tally in steps(config, 2):
        check_little_on_the_cpu(tally)


# --- What is computed -------------------------------------------------------------------------


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_views_are_the_cpus(method, size):
    images = pictures(32, size).images
    make = MultiView(build(TrainConfig(method=method, image_size=size), 4).view_specs(size))
    expected = make(images, seeded(1))
    with pretending():
        check_equal(make(images.to("cuda"), seeded(1)), expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_steps_loss_and_gradients_are_the_cpus(method):
    """But for rounding: on the CPU convolutions of small maps are products of matrices."""
    data = pictures(16, 32)
    computed = []
    for place in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = build(TrainConfig(method=method, proj_dim=16), 10)
        make = MultiView(model.view_specs(32))
        with pretending():
            on_place = data.to(place)
            model.to(place)
            loss = model(make(on_place.images, seeded(1)), on_place.labels)["loss"]
            loss.backward()
            gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.requires_grad}
            computed.append((loss.item(), gradients))
    (expected, gradients), (loss, of_device) = computed
    assert loss == pytest.approx(expected, rel=1e-5)
    scale = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (of_device[name] - gradient).abs().max() <= 1e-4 * scale, name


# --- Whole runs -------------------------------------------------------------------------------

# Five steps an epoch: three that are launched, one that is recorded, one that is replayed.
TINY = {"n_classes": 4, "n_train": 40, "batch_size": 8, "proj_dim": 8, "epochs": 2, "eval_every": 2}


def trained(
    folder, method: str = "supervised", stop_at: int | None = None, graphs: bool = True, **changes
) -> Run:
    """Train on the device, which may refuse graphs; a SIGTERM may come at a step, from 1."""
    options = {**TINY, "method": method, "device": "cuda", "precision": "32", **changes}
    config = TrainConfig(**options, runs_dir=str(folder))
    advance = _TrainingEpochLoop.advance
    done = []

    def advance_or_stop(loop, *given):
        done.append(loop)
        if len(done) == stop_at:
            signal.raise_signal(signal.SIGTERM)
        return advance(loop, *given)

    stopping = unittest.mock.patch.object(_TrainingEpochLoop, "advance", advance_or_stop)
    with stopping, pretending(graphs):
        return fit(config)


def interrupted(folder, method: str = "supervised") -> Run:
    """Trained without graphs until the middle of the second epoch, then with them to its end."""
    with pytest.raises(SystemExit):
        trained(folder, method, stop_at=7, graphs=False)
    return trained(folder, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_ends_the_same_however_its_steps_are_launched(method, tmp_path, capfd):
    """Recorded, or kernel by kernel until an interruption; and near the CPU's.

    Rounding moves what the CPU computes: its convolutions of small maps are products of matrices,
    and Adam's first steps are as long for the smallest gradient as for any.
    """
    whole = trained(tmp_path / "whole", method)
    assert "not recorded" not in capfd.readouterr().err
    check_same_run(interrupted(tmp_path / "interrupted", method), whole)
    assert "A step is not recorded as a CUDA graph" in capfd.readouterr().err
    cpu = fit(whole.config.replace(device="cpu"))
    assert whole.metrics.loss.tolist() == pytest.approx(cpu.metrics.loss.tolist(), rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_in_bfloat16_is_near_the_one_in_float32(method, tmp_path):
    half = trained(tmp_path, method, precision="bf16", epochs=1)
    single = trained(tmp_path, method, epochs=1)
    assert half.metrics.loss[0] != single.metrics.loss[0]
    assert half.metrics.loss[0] == pytest.approx(single.metrics.loss[0], rel=0.05)
    assert half.metrics.notna().all(axis=None)
    kinds = {x.dtype for x in half.weights.values() if isinstance(x, torch.Tensor)}
    assert torch.bfloat16 not in kinds


# --- An evaluation ----------------------------------------------------------------------------


evaluated = cache(evaluation_tally)


def test_an_evaluation_keeps_to_its_budget():
    check_launches(evaluated(50_000, 10_000), EVALUATION)


def test_no_loop_of_an_evaluation_waits():
    check_no_waits_in_loops(evaluated(2_000, 300), evaluated(50_000, 10_000))


# --- The guards complain ----------------------------------------------------------------------


def costs(step) -> Tally:
    """Of a step that gets numbers 0 to 7 on the device."""
    with pretending() as device:
        x = torch.arange(8, device="cuda")
        with device.tallied() as tally:
            step(x)
    return tally


BAD = {
    "a number is read": lambda x: x[0].item(),
    "a branch on a number": lambda x: x + 1 if x.sum() > 0 else x,
    "an index on the CPU": lambda x: x[torch.tensor([0, 2])],
    "a mask": lambda x: x[x > 2],
    "a list": lambda x: torch.tensor([1, 2], device=x.device),
    "unpinned memory": lambda x: torch.ones(3).to(x.device, non_blocking=True),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wait_is_complained_about(name):
    check_no_waits(costs(lambda x: x * 2))
    with pytest.raises(AssertionError, match=" at "):
        check_no_waits(costs(BAD[name]))


class Reading(Supervised):
    def losses(self, labels, logits):
        losses = super().losses(labels, logits)
        return {"loss": losses["loss"] * (1 + 0 * losses["loss"].item())}


class Indexing(Supervised):
    def losses(self, labels, logits):
        rows = torch.arange(len(labels))
        return {"loss": -logits[0].log_softmax(1)[rows, labels].mean()}


class Masking(Supervised):
    def losses(self, labels, logits):
        return {"loss": logits[0][logits[0] > 0].sum()}


class Misplacing(Supervised):
    def losses(self, labels, logits):
        return {"loss": (logits[0] * torch.ones(logits[0].shape)).sum()}


class OnTheCPU(Supervised):
    def losses(self, labels, logits):
        torch.ones(LAUNCHES, LAUNCHES).exp()
        return super().losses(labels, logits)


def with_method(monkeypatch, method: type[Method]) -> list[Tally]:
    monkeypatch.setitem(METHODS, "supervised", method)
    return steps(TrainConfig(method="supervised", dataset="cifar10", batch_size=4), 5)


@pytest.mark.parametrize("method", [Reading, Indexing, Masking])
def test_a_method_that_waits_is_complained_about(method, monkeypatch):
    for tally in with_method(monkeypatch, method)[1:]:
        with pytest.raises(AssertionError, match=" at "):
            check_no_waits(tally)


def test_a_misplaced_tensor_is_complained_about(monkeypatch):
    with pytest.raises(RuntimeError, match="on the same device"):
        with_method(monkeypatch, Misplacing)


def test_work_on_the_cpu_is_complained_about(monkeypatch):
    with pytest.raises(AssertionError, match="exp"):
        check_little_on_the_cpu(with_method(monkeypatch, OnTheCPU)[1])


def test_many_launches_are_complained_about():
    def launch(times, x):
        for _ in range(times):
            x.add_(1)

    check_launches(costs(partial(launch, LAUNCHES)), LAUNCHES)
    with pytest.raises(AssertionError, match="add_ at"):
        check_launches(costs(partial(launch, LAUNCHES + 1)), LAUNCHES)
    views = Tally()
    views.launches["views"] = VIEWS + 1
    with pytest.raises(AssertionError):
        check_launches(views, LAUNCHES, VIEWS)


def test_a_sequence_that_depends_on_numbers_is_complained_about():
    def of_shape(least, x):
        return x[x >= least] + 1

    def of_branch(least, x):
        return x + 1 if x.sum() > least else x - 1

    for step in (of_shape, of_branch):
        check_same_sequence(costs(partial(step, 3)), costs(partial(step, 3)))
        with pytest.raises(AssertionError):
            check_same_sequence(costs(partial(step, 3)), costs(partial(step, 100)))


def test_another_pixel_is_complained_about():
    views = [torch.zeros(3), torch.ones(3)]
    check_equal(views, [torch.zeros(3), torch.ones(3)])
    with pytest.raises(AssertionError):
        check_equal(views, [torch.zeros(3), torch.tensor([1, 1, 1 + 2**-23])])


class Forgetful(Supervised):
    """Counts its steps where no checkpoint sees it."""

    seen = 0

    def losses(self, labels, logits):
        self.seen += 1
        return {"loss": super().losses(labels, logits)["loss"] * (1 + self.seen % 5)}


def test_what_a_checkpoint_forgets_is_complained_about(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "supervised", Forgetful)
    whole = trained(tmp_path / "whole")
    with pytest.raises(AssertionError):
        check_same_run(interrupted(tmp_path / "interrupted"), whole)


def test_a_wait_in_a_loop_is_complained_about():
    def loop(times, x):
        return [x.sum().item() for _ in range(times)]

    few = costs(partial(loop, 1))
    many = costs(partial(loop, 2))
    check_no_waits_in_loops(few, few)
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        check_no_waits_in_loops(few, many)
