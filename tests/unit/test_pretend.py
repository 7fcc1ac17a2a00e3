"""The pretended device itself: it computes what the CPU computes and behaves as CUDA is documented.

"Waits" are torch's own list of synchronising operations (its notes on CUDA semantics, and what
`torch.cuda.set_sync_debug_mode` warns about).
"""

import io
from functools import partial

import pytest
import torch
from pretend import OnDevice
from pretended_costs import LARGE
from pretended_cuda import pretending, record
from torch import nn
from torch.nn import functional

from infomax_nb.models import backbone
from infomax_nb.objective.unit_rows import unit_rows


@pytest.fixture
def device():
    with pretending() as device:
        yield device


def row(n: int = 6) -> torch.Tensor:
    return torch.arange(float(n))


def on_device(n: int = 6) -> torch.Tensor:
    return row(n).to("cuda")


def counts(device, act) -> tuple[int, int, int, int]:
    """Launches, waits, uploads and those from pageable memory."""
    with device.tallied() as tally:
        act()
    kinds = (tally.launches, tally.waits, tally.uploads, tally.pageable)
    launches, waits, uploads, pageable = [kind.total() for kind in kinds]
    return launches, waits, uploads, pageable


# --- Placement --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: y + x,
        lambda x, y: x.sum() + y,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.stack([x[0], y[0]]),
        lambda x, y: x.gather(0, y.long()),
        lambda x, y: x.index_select(0, y.long()),
        lambda x, y: x[:, None] @ y[None],
        lambda x, y: torch.where(y > 0, x, 0.0),
        lambda x, y: x.masked_fill(y > 0, 0.0),
        lambda x, y: functional.linear(x[None], y[None]),
        lambda x, y: x.add_(y),
        lambda x, y: torch.add(x, x, out=y),
    ],
)
def test_tensors_of_two_devices_cannot_be_mixed(device, mix):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        mix(on_device(), row())


def test_a_tensor_of_the_cpu_takes_no_index_from_the_device(device):
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same"):
        row()[on_device().long()]


def test_a_number_of_the_cpu_mixes_with_the_device(device):
    two = torch.tensor(2.0)
    x = on_device()
    assert counts(device, lambda: x * two) == (1, 0, 0, 0)
    assert (x * two).cpu().equal(row() * 2)


def test_numpy_refuses_as_on_cuda(device):
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        on_device().numpy()


def test_a_tensor_says_that_it_is_on_cuda(device):
    x = on_device()
    assert (x.device.type, x.is_cuda, x.is_cpu) == ("cuda", True, False)
    assert torch.zeros(2, device=x.device).is_cuda
    assert x.new_zeros(2).is_cuda
    assert not x.cpu().is_cuda
    assert nn.Linear(2, 2).to("cuda").weight.is_cuda


def test_nothing_is_computed_outside():
    with pretending():
        x = on_device()
    with pytest.raises(RuntimeError, match="outside of `pretending"):
        x + 1


def test_the_machine_has_no_gpu_afterwards():
    before = torch.cuda.is_available()
    with pretending():
        assert torch.cuda.is_available()
    assert torch.cuda.is_available() == before


# --- Waits ------------------------------------------------------------------------------------

MASK = torch.tensor([True, False, True, False, True, False])
WAITING = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool(x.any()),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to the CPU": lambda x: x.to("cpu", non_blocking=True),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 2],
    "assigned by a mask": lambda x: x.index_put_((x > 2,), x[:3] * 2),
    "masked_select": lambda x: x.masked_select(x > 2),
    "unique": lambda x: x.unique(),
    "repeated": lambda x: x.repeat_interleave(x.long()),
    "bincount": lambda x: x.long().bincount(),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "copied to the CPU": lambda x: torch.empty(6).copy_(x),
    "eigenvalues": lambda x: torch.linalg.eigvalsh(x.outer(x)),
    "synchronize": lambda x: torch.cuda.synchronize(),
    "print": lambda x: f"{x[0]:.1f}",
}


@pytest.mark.parametrize("name", WAITING)
def test_what_is_read_back_waits_once(device, name):
    x = on_device()
    assert counts(device, lambda: WAITING[name](x))[1:] == (1, 0, 0)


UPLOADING = {
    "to": lambda x: row().to("cuda"),
    "cuda": lambda x: row().cuda(),
    "tensor": lambda x: torch.tensor([1.0, 2.0], device="cuda"),
    "as_tensor": lambda x: torch.as_tensor(row(), device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "copy_": lambda x: x.copy_(row()),
    "index": lambda x: x[torch.tensor([0, 2])],
    "assigned by an index": lambda x: x.index_put_((torch.tensor([0]),), x[:1] * 2),
    "mask": lambda x: x[MASK],
}


@pytest.mark.parametrize("name", UPLOADING)
def test_what_is_sent_from_the_cpu_is_an_upload_and_waits_once(device, name):
    x = on_device()
    assert counts(device, lambda: UPLOADING[name](x))[1:] == (1, 1, 0)


def test_a_copy_that_need_not_wait_depends_on_pinned_memory(device):
    pageable = row()
    pinned = row().pin_memory()
    assert pinned.is_pinned() and pinned[2:].is_pinned() and not pageable.is_pinned()
    assert torch.empty(3, pin_memory=True).is_pinned()
    assert counts(device, lambda: pageable.to("cuda", non_blocking=True)) == (1, 0, 1, 1)
    assert counts(device, lambda: pinned.to("cuda", non_blocking=True)) == (1, 0, 1, 0)
    assert counts(device, lambda: pinned[1:].to("cuda", non_blocking=True)) == (1, 0, 1, 0)
    assert counts(device, lambda: pinned.to("cuda")) == (1, 1, 1, 0)
    x = on_device()
    assert counts(device, lambda: x.copy_(pinned, non_blocking=True)) == (1, 0, 1, 0)


# --- Launches ---------------------------------------------------------------------------------

FREE = {
    "view": lambda x: x.view(2, 3),
    "reshape": lambda x: x.reshape(3, 2),
    "permute": lambda x: x.view(2, 3).permute(1, 0),
    "expand": lambda x: x[:, None].expand(6, 4),
    "slice": lambda x: x[1:4],
    "select": lambda x: x[2],
    "chunk": lambda x: x.chunk(3),
    "detach": lambda x: x.detach(),
    "empty": lambda x: torch.empty(5, device=x.device),
    "the same device": lambda x: x.to("cuda"),
    "nothing to do": lambda x: x[:0] + 1,
}


@pytest.mark.parametrize("name", FREE)
def test_what_only_describes_memory_costs_nothing(device, name):
    x = on_device()
    assert counts(device, lambda: FREE[name](x)) == (0, 0, 0, 0)


def test_each_operation_is_a_launch(device):
    x = on_device()
    assert counts(device, lambda: x + 1) == (1, 0, 0, 0)
    assert counts(device, lambda: x[1:4].mul_(2)) == (1, 0, 0, 0)
    assert counts(device, lambda: torch.arange(5, device="cuda")) == (1, 0, 0, 0)
    assert counts(device, lambda: x.view(2, 3).T.contiguous()) == (1, 0, 0, 0)
    assert counts(device, lambda: x.repeat_interleave(x.long(), output_size=21))[1:] == (0, 0, 0)
    assert counts(device, lambda: x.half().float()) == (2, 0, 0, 0)
    assert counts(device, lambda: x[(x / 2).long()]) == (3, 0, 0, 0)


def test_a_list_is_a_launch_for_every_thirty_tensors(device):
    many = [on_device() for _ in range(31)]
    assert counts(device, lambda: torch._foreach_add_(many[:30], 1)) == (1, 0, 0, 0)
    assert counts(device, lambda: torch._foreach_add_(many, 1)) == (2, 0, 0, 0)


def test_optimisers_take_their_fast_path(device):
    """As on CUDA: two launches for a few weights, that of the step's number and AdamW's own."""
    head = nn.Linear(3, 2).to("cuda")
    optimizer = torch.optim.AdamW(head.parameters(), fused=True)
    head(on_device(3)).sum().backward()
    optimizer.step()
    assert counts(device, optimizer.step) == (2, 0, 0, 0)


# --- Values -----------------------------------------------------------------------------------


def written_in_place(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    x[:, 0] += 1
    x[0] = x[1]
    x[x > 1] = 0
    x.diagonal().fill_(7)
    x[torch.tensor([2, 3], device=x.device), 1] = x[0, :2]
    return x


COMPUTED = {
    "product": lambda x: (x @ x.T).softmax(1),
    "in place": written_in_place,
    "convolution": lambda x: functional.conv2d(x[None, None], x[None, None, :3, :3], padding=1),
    "batch norm": lambda x: functional.batch_norm(x, None, None, training=True),
    "sorted": lambda x: x.sort(0).values.cumsum(1),
    "scattered": lambda x: x.scatter_add(0, x.argsort(0), x),
    "double": lambda x: x.double().logsumexp(1),
    "unit rows": unit_rows,
}


@pytest.mark.parametrize("name", COMPUTED)
def test_values_and_gradients_are_the_cpus(device, name):
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    results = []
    for place in ("cpu", "cuda"):
        leaf = x.clone().to(place).requires_grad_()
        out = COMPUTED[name](leaf)
        out.square().sum().backward()
        results.append((out.detach().cpu(), leaf.grad.cpu()))
    (expected, gradient), (out, of_device) = results
    assert out.equal(expected)
    assert of_device.equal(gradient)


def test_a_network_trains_as_on_the_cpu(device):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    trained = []
    for place in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = backbone("vit_mini").to(place)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            net(images.to(place))[:, :5].square().sum().backward()
            optimizer.step()
        trained.append({name: x.cpu() for name, x in net.state_dict().items()})
    cpu, gpu = trained
    assert all(torch.allclose(gpu[name], cpu[name], atol=1e-5) for name in cpu)


def test_data_can_be_replaced(device):
    x = on_device()
    x.data = x + 1
    x.data.mul_(2)
    assert x.tolist() == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("weights_only", [True, False])
def test_what_is_saved_can_be_loaded(device, weights_only):
    x = on_device()
    file = io.BytesIO()
    torch.save({"x": x}, file)
    file.seek(0)
    read = torch.load(file, weights_only=weights_only)["x"]
    assert isinstance(read, OnDevice)
    assert read.tolist() == x.tolist()
    file.seek(0)
    assert not torch.load(file, map_location="cpu")["x"].is_cuda


# --- Autocast ---------------------------------------------------------------------------------

autocast = partial(torch.autocast, "cuda", torch.bfloat16)


def test_autocast_casts_what_cudas_does(device):
    """Of torch's list for CUDA: these in bfloat16, those in float32, the others as they come."""
    x = on_device(9).view(1, 1, 3, 3)
    half = x.bfloat16()
    with autocast():
        assert (
            functional.conv2d(x, x).dtype
            == functional.linear(x, x[0, 0]).dtype
            == (x @ x).dtype
            == half.dtype
        )
        assert half.softmax(-1).dtype == half.exp().dtype == half.sum().dtype == torch.float32
        assert functional.normalize(half).dtype == torch.float32
        assert half.relu().dtype == torch.bfloat16
        assert torch.cat([half, x]).dtype == torch.float32
        with torch.autocast("cuda", enabled=False):
            assert functional.linear(x, x[0, 0]).dtype == torch.float32
    assert functional.linear(x, x[0, 0]).dtype == torch.float32


def test_autocast_casts_a_weight_once(device):
    """Weight, bias and input are cast by the first call, the input by the second."""
    layer = nn.Linear(6, 2).to("cuda")
    x = on_device()[None]
    with autocast():
        assert counts(device, lambda: layer(x)) == (4, 0, 0, 0)
        assert counts(device, lambda: layer(x)) == (2, 0, 0, 0)
    with autocast():
        assert counts(device, lambda: layer(x)) == (4, 0, 0, 0)


def test_gradients_come_back_through_autocast(device):
    layer = nn.Linear(6, 2).to("cuda")
    with autocast():
        loss = layer(on_device()[None]).float().sum()
    loss.backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.tolist() == [[0, 1, 2, 3, 4, 5]] * 2


# --- What is noted ----------------------------------------------------------------------------


def test_costs_are_counted_by_part_and_place(device):
    x = on_device(8).view(2, 4).requires_grad_()
    with device.tallied() as tally:
        unit_rows(x).sum().backward()
    assert set(tally.launches) == {"loss", "backward", "other"}
    assert "1 abs at objective/unit_rows.py:" in tally.said("launches", 99)


def test_the_sequence_has_operations_and_shapes(device):
    x = on_device()
    with device.tallied() as tally:
        x[1:] * x[0]
    assert tally.sequence == [("mul", ((5,), ()), ((5,),))]


def test_large_results_of_the_cpu_are_noted(device):
    numbers = LARGE // 4
    with device.tallied() as tally:
        torch.zeros(numbers)
        large = torch.zeros(numbers + 1)
        large[1:]
        large.to("cuda")
    assert [(name, size) for name, size, _ in tally.cpu] == [("zeros", LARGE + 4)]


# --- Captured graphs --------------------------------------------------------------------------


def test_a_recorded_step_computes_when_it_is_replayed(device):
    """Weights, inputs and outputs keep their places; a replay is one launch."""
    weight = torch.ones(3, device="cuda")
    given = on_device(3)

    def step():
        loss = (weight * given).sum()
        weight.add_(given, alpha=0.5)
        return loss

    replay, loss = record(device, step)
    assert weight.tolist() == [1, 1, 1]
    assert loss.isnan().item()
    assert counts(device, replay) == (1, 0, 0, 0)
    assert (loss.item(), weight.tolist()) == (3, [1, 1.5, 2])
    given.copy_(torch.tensor([2.0, 0.0, 0.0]))
    replay()
    assert (loss.item(), weight.tolist()) == (2, [2, 1.5, 2])


def test_a_replay_keeps_what_python_knew(device):
    """A graph holds the numbers and the branches of its recording."""
    x = on_device(3)
    factor = 2
    replay, out = record(device, lambda: x * factor)
    factor = 3
    replay()
    assert out.tolist() == [0, 2, 4]


def test_a_replayed_backward_pass_is_the_cpus(device):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to("cuda")
    given = torch.zeros(5, 4, device="cuda")

    def step():
        layer.zero_grad()
        layer(given).square().sum().backward()
        return layer[0].weight.grad

    replay, gradient = record(device, step)
    x = torch.randn(5, 4)
    given.copy_(x)
    replay()
    mean = layer[1].running_mean.cpu()
    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    plain[0].load_state_dict({name: y.cpu() for name, y in layer[0].state_dict().items()})
    plain(x).square().sum().backward()
    assert gradient.cpu().equal(plain[0].weight.grad)
    assert mean.equal(plain[1].running_mean)


@pytest.mark.parametrize("name", WAITING)
def test_a_recorded_step_must_not_wait(device, name):
    x = on_device()
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        record(device, lambda: WAITING[name](x))
    assert counts(device, lambda: x + 1) == (1, 0, 0, 0)


@pytest.mark.parametrize("name", UPLOADING)
def test_a_recorded_step_must_not_upload(device, name):
    x = on_device()
    with pytest.raises(RuntimeError, match="during CUDA graph capture unless"):
        record(device, lambda: UPLOADING[name](x))
