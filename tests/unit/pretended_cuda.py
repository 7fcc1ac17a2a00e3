"""`pretending()`: torch on a machine that seems to have a GPU (see `pretend`).

A captured graph is pretended, too: `record` takes down the operations of a step, and a replay
repeats them on the same memory, as one launch, without any of the step's Python. As on CUDA,
recording computes nothing: memory is afterwards as it was before.
"""

import unittest.mock
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from pretend import NAME, PLACE, Device, OnDevice, is_device
from pretended_autocast import forget, register_autocast
from pretended_costs import Tally
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from infomax_nb import device as package
from infomax_nb.captured import RECORDERS

GIB = 2**30
# What `torch.cuda` answers on a machine with one GPU.
ANSWERS: dict[str, Any] = {"is_available": True, "is_bf16_supported": True, "device_count": 1}
ANSWERS |= {"current_device": 0, "get_device_name": "a pretended GPU", "init": None}
ANSWERS |= {"get_device_capability": (9, 0), "mem_get_info": (70 * GIB, 80 * GIB)}
ANSWERS |= {"set_device": None, "empty_cache": None, "_lazy_init": None}
ANSWERS |= {"Stream": unittest.mock.Mock(), "current_stream": unittest.mock.Mock()}
ANSWERS |= {"stream": nullcontext()}
FROM_DATA = (torch.tensor, torch.as_tensor, torch.asarray)

register_autocast()


class Calls(TorchFunctionMode):
    """Lets torch's functions, which C++ would refuse, take `cuda` for the pretended device."""

    def __init__(self, device: Device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch._C._nn._parse_to:  # a module's `to`, which only reads its arguments
            return func(*args, **kwargs)
        args = tuple(PLACE if isinstance(x, torch.device) and is_device(x) else x for x in args)
        to_device = is_device(kwargs.get("device"))
        if to_device:
            kwargs["device"] = PLACE
        if func in FROM_DATA and to_device:
            del kwargs["device"]
            return func(*args, **kwargs).to(PLACE)
        if func is Tensor.new_tensor and isinstance(args[0], OnDevice):
            kind = kwargs.pop("dtype", args[0].dtype)
            return torch.tensor(*args[1:], dtype=kind, **kwargs).to(PLACE)
        if func is Tensor.to and isinstance(args[1:2], tuple) and args[1:2] in CUDA_WORDS:
            args = (args[0], PLACE, *args[2:])
        if func is Tensor.cuda:
            return args[0].to(PLACE, *args[2:], **kwargs)
        if func is Tensor.pin_memory:
            return self.device.pin(args[0].clone())
        if func is Tensor.is_pinned:
            return self.device.is_pinned(args[0])
        return func(*args, **kwargs)


CUDA_WORDS = (("cuda",), ("cuda:0",), (NAME,))


class Recording:
    """The operations of a step, and the memory that it found."""

    def __init__(self):
        self.operations: list[tuple] = []
        self.before: dict[int, tuple] = {}
        self.made: set[int] = set()
        self.tally = Tally()

    def keep(self, here: list[OnDevice]) -> None:
        """Keep a copy of memory that is from before the recording."""
        for x in here:
            storage = x.memory.untyped_storage()
            address = storage.data_ptr()
            if address and address not in self.made | self.before.keys():
                self.before[address] = (storage, storage.clone())

    def note(self, func, args, kwargs, here: list[OnDevice], results: list[Tensor]) -> None:
        """Take down an operation and which of its results are new memory."""
        found = {x.memory.untyped_storage().data_ptr() for x in here}
        fresh = [x.untyped_storage().data_ptr() not in found for x in results]
        self.made |= {x.untyped_storage().data_ptr() for x in results} - self.before.keys()
        self.operations.append((func, args, kwargs, results, fresh))

    def undo(self) -> None:
        """Put memory back to what it was before."""
        for storage, copy in self.before.values():
            storage.copy_(copy)
        self.before = {}

    def replay(self) -> None:
        """Compute all operations anew."""
        with _disable_current_modes(), torch.no_grad():
            for func, args, kwargs, results, fresh in self.operations:
                out = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
                for new, old, is_fresh in zip(out, results, fresh, strict=True):
                    if is_fresh:
                        old.copy_(new)


def record(device: Device, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Take down a step; as `infomax_nb.captured` wants it for a kind of device.

    Returns: a function that replays the step, and its outputs, which hold NaN until then.

    Raises:
        RuntimeError: the step waits for the device, or copies from memory that is not pinned.
    """
    recording = Recording()
    device.recording = recording
    try:
        with device.tallied() as recording.tally:
            outputs = step()
    finally:
        device.recording = None
    recording.undo()
    device.graphs.append(recording.tally)
    for x in tree_leaves(outputs):
        if isinstance(x, OnDevice) and x.is_floating_point():
            x.memory.fill_(torch.nan)

    def replay() -> None:
        recording.replay()
        device.tally.add("launches", "a captured graph")
        device.tally.sequence.append(("a captured graph", (), ()))

    return replay, outputs


def refuse(step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """As a library that cannot capture graphs.

    Raises:
        RuntimeError: in any case.
    """
    raise RuntimeError("CUDA error: operation not supported")


@contextmanager
def pretending(graphs: bool = True) -> Iterator[Device]:
    """A machine that seems to have one GPU, whose library may refuse to capture graphs."""
    device = Device()
    with ExitStack() as stack:
        for name, answer in ANSWERS.items():
            reply = partial(lambda answer, *_, **__: answer, answer)
            stack.enter_context(unittest.mock.patch.object(torch.cuda, name, reply))
        synchronize = partial(lambda *_: device.wait("synchronize"))
        stack.enter_context(unittest.mock.patch.object(torch.cuda, "synchronize", synchronize))
        stack.enter_context(unittest.mock.patch.object(torch, "clear_autocast_cache", forget))
        _foreach_supported_types.append(OnDevice)
        stack.callback(_foreach_supported_types.remove, OnDevice)
        recorders = {"cuda": partial(record, device) if graphs else refuse}
        stack.enter_context(unittest.mock.patch.dict(RECORDERS, recorders))
        stack.callback(forget_answers)
        forget_answers()
        torch.set_autocast_enabled(NAME, True)
        stack.callback(torch.set_autocast_enabled, NAME, False)
        stack.enter_context(Calls(device))
        yield stack.enter_context(device)


def forget_answers() -> None:
    """Let the package ask torch about CUDA again."""
    package.obstacle.cache_clear()
    package._products_are_float32.cache_clear()
    package._say_once.cache_clear()
    forget()
