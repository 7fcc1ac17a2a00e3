"""A pretended CUDA device on the CPU's memory, for tests on machines without a GPU.

Inside `pretending()` the word `cuda` means this device. What is computed is what the CPU computes.
Placement is checked as CUDA checks it. Kernel launches are counted, and so is each time that the
host waits for the device or sends data to it. For torch's C++ the device is a PrivateUse1 backend;
for Python code it is `cuda:0`.

A launch is one operation that computes or copies something. Views and uninitialised memory cost
none, a list of tensors (`_foreach`, `_fused`) one for every 30 of them. What a real kernel does
besides, such as the two passes of a BatchNorm, is not counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pretended_costs import LARGE, Tally, where
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"
CUDA = torch.device("cuda", 0)
AT_ONCE = 30  # tensors that one launch of a `_foreach` or `_fused` operation takes

# Operations that only describe memory, but do not say so in their schema.
METADATA = {"_unsafe_view", "_reshape_alias", "unsafe_split", "unsafe_chunk", "resize_", "set_"}
METADATA |= {"as_strided_"}
METADATA |= {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
METADATA |= {"is_same_size", "lift", "lift_fresh", "record_stream"}
# Operations that read something back before they return; the shapes of most depend on it.
READING = {"_local_scalar_dense", "is_nonzero", "equal", "allclose", "nonzero", "bincount"}
READING |= {"masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
READING |= {"histc", "repeat_interleave"}
READING |= {"_linalg_eigh", "_linalg_svd", "_linalg_solve_ex", "linalg_eig", "linalg_lstsq"}
CONVOLUTIONS = {"convolution", "convolution_backward"}
INDEXING = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"}
# These refuse even a number (a tensor without dimensions) that is elsewhere.
JOINING = {"cat", "stack"}


class _Backend(_DummyBackendModule):
    """What torch asks a backend's Python module."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """There are no random numbers on the device."""

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        """Nothing to set, see above."""


_setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
PLACE = torch.device(NAME, 0)


class OnDevice(Tensor):
    """A tensor that says that it is on `cuda:0`; `memory` is the CPU tensor with its values."""

    memory: Tensor

    @staticmethod
    def __new__(cls, memory: Tensor):
        options: dict = {"dtype": memory.dtype, "layout": memory.layout, "device": PLACE}
        options |= {"strides": memory.stride(), "storage_offset": memory.storage_offset()}
        self = Tensor._make_wrapper_subclass(cls, memory.size(), **options)
        self.memory = memory
        return self

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @property
    def data(self) -> Tensor:
        """The same memory without gradient."""
        return self.detach()

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, OnDevice) or (new.shape, new.dtype) != (self.shape, self.dtype):
            raise RuntimeError("the pretended device takes only `data` of the same kind")
        self.memory = new.memory

    def __repr__(self, **_) -> str:
        return f"OnDevice({tuple(self.shape)}, {self.dtype})"

    def __format__(self, specification: str) -> str:
        return format(repr(self) if self.ndim else self.item(), specification)

    def numpy(self, **_):
        problem = "can't convert cuda:0 device type tensor to numpy"
        raise TypeError(f"{problem}. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, *_, **__):
        return self.numpy()

    def tolist(self):
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol):
        return restored, (self.detach().cpu(), self.requires_grad)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on the pretended device, outside of `pretending()`.")


def restored(memory: Tensor, requires_grad: bool) -> Tensor:
    """A tensor from a file: on the device, unless `torch.load` was told another place."""
    place = torch.serialization._serialization_tls.map_location
    tensor = memory.to("cuda" if place is None else "cpu")
    return tensor.requires_grad_(requires_grad)


torch.serialization.add_safe_globals([restored])


class Device(TorchDispatchMode):
    """Computes for tensors on the device, and counts into `tally`.

    Args:
        tally: what is counted; `tallied` puts another in its place.
        recording: operations of a graph that is being captured, or None.
        graphs: what is in each graph that was captured.
    """

    def __init__(self):
        super().__init__()
        self.tally = Tally()
        self.recording: Any = None
        self.graphs: list[Tally] = []
        self.pinned: dict[int, Any] = {}  # storages by address: kept, so that none is used again

    @contextmanager
    def tallied(self) -> Iterator[Tally]:
        """Count what happens inside, in a tally of its own."""
        before = self.tally
        self.tally = Tally()
        try:
            yield self.tally
        finally:
            self.tally = before

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        here = [x for x in tensors if isinstance(x, OnDevice)]
        elsewhere = [x for x in tensors if not isinstance(x, OnDevice)]
        to_device = is_device(kwargs.get("device"))
        if kwargs.pop("pin_memory", False):
            return self.pin(func(*args, **kwargs))
        if not here and not to_device:
            is_free = func.is_view or name in METADATA
            return self._on_cpu(name, is_free, func(*args, **kwargs))
        if name == "_to_copy":
            return self._converted(func, args[0], kwargs)
        if name == "copy_":
            self._copied(args)
        elif name in INDEXING:
            self._indexed(name, args, tensors)
        else:
            check_placement(name, here, elsewhere)
        if name in READING and here and kwargs.get("output_size") is None:
            self.wait(name)
        return self._computed(func, name, args, kwargs, here)

    def _computed(self, func, name, args, kwargs, here):
        """Compute in the tensors' memory; the results are on the device."""
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        plain_args, plain_kwargs = tree_map(memory_of, (args, kwargs))
        compute = partial(in_single, func) if name in CONVOLUTIONS else func
        known = {id(x.memory): x for x in here}
        if self.recording is not None:
            self.recording.keep(here)
        out = compute(*plain_args, **plain_kwargs)
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if not (func.is_view or name in METADATA):
            many = name.startswith(("_foreach", "_fused"))
            self._launched(name, here, results, -(-len(args[0]) // AT_ONCE) if many else 1)
            if self.recording is not None:
                self.recording.note(compute, plain_args, plain_kwargs, here, results)

        def wrapped(x):
            if not isinstance(x, Tensor):
                return x
            same = known.get(id(x))
            return OnDevice(x) if same is None or same.shape != x.shape else same

        return tree_map(wrapped, out)

    def _launched(self, name: str, here: list, results: list[Tensor], count: int = 1) -> None:
        if any(x.numel() for x in results or here):
            self.tally.add("launches", name, count)
            shapes = [tuple(tuple(x.shape) for x in each) for each in (here, results)]
            self.tally.sequence.append((name, *shapes))

    def _on_cpu(self, name: str, is_free: bool, out):
        """Note large results; those that are views, or only memory, are free."""
        for x in tree_leaves(out):
            size = x.numel() * x.element_size() if isinstance(x, Tensor) else 0
            if size > LARGE and not is_free:
                self.tally.cpu.append((name, size, where()[1]))
        return out

    def _converted(self, func, source: Tensor, kwargs: dict):
        """`to`, in all directions."""
        blocking = not kwargs.pop("non_blocking", False)
        device = kwargs.pop("device", None)
        leaves = isinstance(source, OnDevice) and device is not None and not is_device(device)
        if not isinstance(source, OnDevice):
            self.upload("_to_copy", source, blocking)
        out = func(memory_of(source), **kwargs)
        here = [source] if isinstance(source, OnDevice) else []
        if self.recording is not None:
            self.recording.keep(here)
            self.recording.note(func, (memory_of(source),), kwargs, here, [out])
        self._launched("_to_copy", here, [out])
        if leaves:
            self.wait("to the CPU")
        return out if leaves else OnDevice(out)

    def _copied(self, args: tuple) -> None:
        target, source = args[:2]
        blocking = not (len(args) > 2 and args[2])
        if isinstance(target, OnDevice) and not isinstance(source, OnDevice):
            self.upload("copy_", source, blocking)
        elif isinstance(source, OnDevice) and not isinstance(target, OnDevice):
            self.wait("copy_ to the CPU")

    def _indexed(self, name: str, args: tuple, tensors: list[Tensor]) -> None:
        """An index on the CPU is uploaded, a mask is searched for what is set in it."""
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], OnDevice):
            kinds = "indices should be either on cpu or on the same device as the indexed tensor"
            raise RuntimeError(f"{kinds} (cpu)")
        for index in indices:
            if not isinstance(index, OnDevice):
                self.upload("an index on the CPU", index, blocking=True)
            elif index.dtype == torch.bool:
                self.wait("a mask as an index")
        values = [x for x in tensors if x is not args[0] and all(x is not i for i in indices)]
        here = [args[0], *(x for x in values if isinstance(x, OnDevice))]
        check_placement(name, here, [x for x in values if not isinstance(x, OnDevice)])

    def wait(self, what: str) -> None:
        """Count a wait of the host."""
        if self.recording is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
        self.tally.add("waits", what)

    def upload(self, what: str, source: Tensor, blocking: bool) -> None:
        """Count a copy from the CPU's memory. A number is part of the launch that uses it."""
        pinned = self.is_pinned(source)
        if self.recording is not None and not pinned:
            problem = "Cannot copy between CPU and CUDA tensors during CUDA graph capture unless"
            raise RuntimeError(f"{problem} the CPU tensor is pinned: {what}")
        self.tally.add("uploads", what)
        if blocking:
            self.wait(f"{what}, uploaded")
        elif not pinned:
            self.tally.add("pageable", what)

    def pin(self, x: Tensor) -> Tensor:
        """Note that the memory of x is pinned from now on."""
        storage = x.untyped_storage()
        self.pinned[storage.data_ptr()] = storage
        return x

    def is_pinned(self, x: Tensor) -> bool:
        """Whether `pin_memory` made the memory of x."""
        return x.untyped_storage().data_ptr() in self.pinned


def memory_of(x: Any) -> Any:
    """The CPU tensor behind a tensor on the device; anything else as it is."""
    return x.memory if isinstance(x, OnDevice) else x


def in_single(func, *args):
    """A convolution in bfloat16, computed in float32.

    The CPU's library leaves some numbers of a gradient unwritten in bfloat16 (see `small_maps`).
    """
    if args[0].dtype != torch.bfloat16:
        return func(*args)
    wide = tree_map(lambda x: x.float() if isinstance(x, Tensor) else x, args)
    return tree_map(lambda x: x.bfloat16() if isinstance(x, Tensor) else x, func(*wide))


def is_device(place: Any) -> bool:
    """Whether this is a name of the device."""
    return place is not None and torch.device(place).type in (NAME, "cuda")


def check_placement(name: str, here: list, elsewhere: list[Tensor]) -> None:
    """Refuse tensors of two devices. Only a number may be elsewhere, on the CPU.

    Raises:
        RuntimeError: CUDA's own words.
    """
    if here and any(x.ndim or name in JOINING for x in elsewhere):
        problem = "Expected all tensors to be on the same device, but found at least two devices"
        raise RuntimeError(f"{problem}, cuda:0 and cpu! ({name} at {where()[1]})")
