"""What a step on a GPU is made of: torch compiles each part as one graph, with the same results,
and a step is recorded once and replayed.

There may be no GPU. torch's own interpreter stands in for its compilers; on the CPU a recorder
stands in for CUDA's graphs that only calls the step again.
"""

from copy import deepcopy

import pytest
import torch
from torch import nn

from infomax_nb import captured
from infomax_nb.captured import WARM_UP, Captured
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.evaluation.online import OnlineEvaluation
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods import METHODS, build
from infomax_nb.views.batch import MultiView
from infomax_nb.views.drawing import pack, unpack
from infomax_nb.views.recipes import recipe_views, with_local

IMAGES = 16


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(height: int, width: int) -> torch.Tensor:
    """Noise, and every second image smooth, as colours and blur do more to it."""
    shape = (IMAGES, 3, height, width)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(0))
    coarse = noise[::2, :, :6, :6].float()
    noise[::2] = nn.functional.interpolate(coarse, (height, width), mode="bilinear").byte()
    return noise


@pytest.fixture(autouse=True)
def forget_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# --- Compiled whole -------------------------------------------------------------------------------

RECIPES = [("dino", 32), ("dino", 96), ("simclr", 32), ("vicreg", 48), ("byol", 32)]
RECIPES.append(("supervised", 32))


@pytest.mark.parametrize(("recipe", "size"), RECIPES)
def test_views_compile_whole_and_to_the_same_pixels(recipe, size):
    """What is compiled chooses with masks, as a GPU does; on the CPU samples are picked."""
    views = MultiView(recipe_views(recipe, size))
    images = pictures(size, size)
    numbers = views.draw(IMAGES, size, size, seeded(1))
    compiled = torch.compile(views.make, fullgraph=True, backend="eager")
    for masked, picked in zip(compiled(images, numbers), views.make(images, numbers), strict=True):
        assert torch.equal(masked, picked)


def test_views_of_long_images_compile_to_the_same_pixels():
    specs = with_local(recipe_views("simclr", 32), 32, 3)
    views = MultiView(specs)
    images = pictures(40, 90)
    numbers = views.draw(IMAGES, 40, 90, seeded(1))
    compiled = torch.compile(views.make, fullgraph=True, backend="eager")
    for masked, picked in zip(compiled(images, numbers), views.make(images, numbers), strict=True):
        assert torch.equal(masked, picked)


def test_packed_numbers_make_the_same_views():
    views = MultiView(recipe_views("dino", 96))
    images = pictures(96, 96)
    numbers = views.draw(IMAGES, 96, 96, seeded(2))
    of_packed = views.make(images, unpack(pack(numbers)))
    for view, expected in zip(of_packed, views.make(images, numbers), strict=True):
        assert torch.equal(view, expected)


def trained(method: nn.Module, step, views: list, labels: torch.Tensor) -> dict:
    """The loss and the gradients of a step."""
    with exact():
        loss = step(views, labels)["loss"]
        loss.backward()
    method.after_backward()
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **gradients}


def compare(found: dict, expected: dict) -> None:
    """To 1e-5 of a tensor's largest number, and 1e-6 of the largest of all, for those that vanish
    but for rounding (a bias in front of BatchNorm)."""
    assert found.keys() == expected.keys()
    largest = max(x.abs().max().item() for x in expected.values())
    for name, x in expected.items():
        allowed = 1e-5 * x.abs().max().item() + 1e-6 * largest
        assert (found[name] - x).abs().max().item() <= allowed, name


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_networks_and_loss_compile_whole(name):
    torch.manual_seed(0)
    method = build(TrainConfig(method=name, epochs=4, proj_dim=32), 10)
    method.epoch = 2
    peer = deepcopy(method)
    draw_views = MultiView(method.view_specs(32))
    views = draw_views(pictures(32, 32), seeded(3))
    labels = torch.arange(IMAGES) % 10
    compiled = torch.compile(method, fullgraph=True, backend="aot_eager")
    compare(trained(method, compiled, views, labels), trained(peer, peer, views, labels))
    states = zip(method.state_dict().values(), peer.state_dict().values(), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in states)


@pytest.mark.parametrize("kappa", [10.0, 200.0])
@pytest.mark.parametrize(("count", "images"), [(2, 8), (8, 70)])  # one tile, and more than one
def test_the_objective_compiles_whole(kappa, count, images):
    z = [torch.randn(images, 16, generator=seeded(v), requires_grad=True) for v in range(count)]
    loss = InfoMaxLoss(kappa)
    compiled = torch.compile(loss, fullgraph=True)  # by torch's real compiler
    with exact():
        value = compiled(z)
        gradients = torch.autograd.grad(value, z)
        expected = loss([x.double() for x in z])
        of_expected = torch.autograd.grad(expected, z)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    largest = max(g.abs().max().item() for g in of_expected)
    for gradient, g in zip(gradients, of_expected, strict=True):
        assert (gradient - g).abs().max().item() <= 1e-5 * largest


def test_the_normaliser_is_a_number_to_the_compiler():
    """Else its series would be summed anew in each step, by twenty operations more."""
    operations = []

    def keep(graph: torch.fx.GraphModule, inputs: list):
        operations.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    z = [torch.randn(8, 16, generator=seeded(v)) for v in range(2)]
    torch.compile(InfoMaxLoss(7.5), fullgraph=True, backend=keep)(*z)
    assert len(operations) > 20
    assert not [name for name in operations if "lgamma" in name]


def test_views_given_one_by_one_compile_whole():
    z = [torch.randn(8, 16, generator=seeded(v)) for v in range(2)]
    loss = InfoMaxLoss(temperature=0.1)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    assert torch.equal(compiled(*z), loss(z))


def evaluation() -> OnlineEvaluation:
    images = pictures(32, 32)
    data = ImageSet(images, torch.arange(IMAGES) % 4, list("abcd"))
    return OnlineEvaluation(data, data, 12, 0, torch.device("cpu"))


def test_the_heads_loss_and_its_gradient_compile_whole():
    """torch's optimisers do not: each of their steps ends a graph on purpose."""
    of_head = evaluation()
    x = torch.randn(IMAGES, 12, generator=seeded(4))
    labels = torch.arange(IMAGES) % 4
    weights = list(of_head.head.parameters())
    loss = torch.compile(of_head.loss, fullgraph=True, backend="aot_eager")(x, labels)
    gradients = torch.autograd.grad(loss, weights)
    # The softmax' gradient, written out.
    with torch.no_grad():
        wrong = of_head.head(x).softmax(1)
        wrong[range(IMAGES), labels] -= 1
    torch.testing.assert_close(gradients[0], wrong.T @ x / IMAGES)
    torch.testing.assert_close(gradients[1], wrong.mean(0))


# --- Recorded and replayed ------------------------------------------------------------------------


class Recorder:
    """Stands in for CUDA's graphs on the CPU; counts recordings and replays."""

    def __init__(self):
        self.recordings = 0
        self.replays = 0

    def __call__(self, step):
        self.recordings += 1
        outputs = step()

        def replay():
            self.replays += 1
            for static, new in zip(outputs, step(), strict=True):
                static.copy_(new)

        return replay, outputs


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(captured.RECORDERS, "cpu", recorder)
    return recorder


def double(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (2 * x,)


def test_a_step_is_recorded_after_the_warm_up_and_replayed_with_new_inputs(recorder):
    step = Captured(double)
    for k in range(WARM_UP + 4):
        (out,) = step(torch.full((3,), float(k)))
        assert out.tolist() == [2.0 * k] * 3
    assert recorder.recordings == 1
    assert recorder.replays == 4


def test_a_new_key_makes_a_new_recording(recorder):
    factor = [2.0]
    step = Captured(lambda x: (factor[0] * x,))
    for k in range(WARM_UP + 2):
        step(torch.full((3,), float(k)), key=0)
    factor[0] = 5.0
    for _ in range(WARM_UP):
        (out,) = step(torch.ones(3), key=1)
        assert out.tolist() == [5.0] * 3
    assert recorder.recordings == 1
    (out,) = step(torch.ones(3), key=1)
    assert out.tolist() == [5.0] * 3
    assert recorder.recordings == 2


def test_a_smaller_batch_is_not_replayed(recorder):
    step = Captured(double)
    for _ in range(WARM_UP + 1):
        step(torch.ones(4))
    (out,) = step(torch.ones(3))
    assert out.tolist() == [2.0] * 3
    (out,) = step(torch.full((4,), 3.0))
    assert out.tolist() == [6.0] * 4
    assert recorder.recordings == 1


def test_what_cannot_be_recorded_is_said_once_and_goes_on(monkeypatch, capsys):
    def refuse(step):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setitem(captured.RECORDERS, "cpu", refuse)
    step = Captured(double)
    for k in range(WARM_UP + 5):
        (out,) = step(torch.full((2,), float(k)))
        assert out.tolist() == [2.0 * k] * 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "which is slower; torch says: operation not permitted when stream" in said


def test_on_the_cpu_nothing_is_recorded():
    step = Captured(double)
    outs = [step(torch.full((2,), float(k)))[0].tolist() for k in range(WARM_UP + 3)]
    assert outs == [[2.0 * k] * 2 for k in range(WARM_UP + 3)]
    assert step.replay is None and step.calls == 0
