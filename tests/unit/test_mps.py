"""Apple's GPUs: runs are refused there, and the objective asks for no float64 on its device.

There is no such machine here. A pretended device stands in for it, on which float64 is an error.
"""

from unittest import mock

import pytest
import torch
from pretend import OnDevice
from pretended_cuda import pretending
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from infomax_nb import device as package
from infomax_nb.config import TrainConfig
from infomax_nb.errors import ParameterError
from infomax_nb.losses import InfoMaxLoss, global_entropy, local_entropy


class NoFloat64(TorchDispatchMode):
    """The device has no float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, OnDevice) and x.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return out


@pytest.fixture
def without_float64():
    """A device without float64, which the package knows."""
    with mock.patch.object(package, "_WITHOUT_FLOAT64", {"cuda"}), pretending(), NoFloat64():
        yield


def views() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(16, 8, generator=generator) for _ in range(3)]


def test_a_run_is_refused_in_a_sentence():
    with pytest.raises(ParameterError, match="device = 'mps' is not allowed: .*; use cpu, as auto"):
        TrainConfig(device="mps")


def test_the_stand_in_refuses_float64(without_float64):
    with pytest.raises(TypeError, match="float64"):
        torch.ones(2).to("cuda").double()


@pytest.mark.parametrize("kappa", [10.0, 100.0])
def test_the_loss_and_its_gradient_are_those_of_the_cpu(without_float64, kappa):
    expected = [view.requires_grad_() for view in views()]
    loss = InfoMaxLoss(kappa=kappa)
    value = loss(expected)
    value.backward()
    there = [view.to("cuda").requires_grad_() for view in views()]
    on_device = loss(there)
    on_device.backward()
    assert on_device.item() == pytest.approx(value.item(), rel=1e-6)
    for view, other in zip(there, expected, strict=True):
        assert view.grad.device.type == "cuda"
        torch.testing.assert_close(view.grad.cpu(), other.grad, rtol=1e-5, atol=1e-7)


def test_both_entropies_are_those_of_the_cpu(without_float64):
    rows = torch.nn.functional.normalize(torch.cat(views()), dim=1)
    images = torch.arange(16).repeat(3)
    there = rows.to("cuda")
    assert global_entropy(there, 5.0).item() == pytest.approx(global_entropy(rows, 5.0).item())
    local = local_entropy(there, images, 5.0).item()
    assert local == pytest.approx(local_entropy(rows, images, 5.0).item())
