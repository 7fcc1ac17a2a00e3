"""Record a step of computation on a GPU once, as a CUDA graph, and replay it from then on.

To launch a thousand small kernels takes the host longer than the GPU needs to run them. A graph is
one launch. What is recorded must do the same each time: read its inputs from the same memory, have
the same shapes, and never wait for the device.
"""

import gc
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose kernels and take workspaces


class Captured:
    """A step that is launched kernel by kernel for a few calls, then recorded, then replayed.

    On the CPU it is always called as it is. So it is where the GPU's library cannot record it; a
    message on stderr says so once.

    Args:
        step: takes tensors, and returns tensors in whatever containers. It may change others, such
            as weights, in place.
    """

    def __init__(self, step: Callable[..., Any]):
        self.step = step
        self.calls = 0
        self.forget()

    def forget(self) -> None:
        """Record anew at the next call: something that the step reads has been exchanged."""
        self.replay: Callable[[], None] | None = None
        self.outputs: Any = None
        self.inputs: tuple[Tensor, ...] = ()
        self.key: Any = None

    def __call__(self, *inputs: Tensor, key: Any = None) -> Any:
        """The step's outputs. Those of a replay are overwritten by the next one.

        Args:
            inputs: tensors on one device.
            key: all else that the step depends on, numbers that a recording takes for constants. A
                new one makes a new recording.
        """
        record = RECORDERS.get(inputs[0].device.type)
        if record is None:
            return self.step(*inputs)
        if key != self.key:
            self.forget()
            self.key = key
            # What its first call makes, such as an optimiser's state, would be made at each replay.
            self.calls = min(self.calls, 0)
        self.calls += 1
        if self.calls <= WARM_UP:
            return _aside(self.step, inputs)
        if self.replay is None:
            self.inputs = tuple(torch.empty_like(x).copy_(x) for x in inputs)
            try:
                self.replay, self.outputs = record(lambda: self.step(*self.inputs))
            except RuntimeError as error:
                return self._give_up(error, inputs)
        elif [x.shape for x in inputs] != [x.shape for x in self.inputs]:
            return self.step(*inputs)  # a smaller last batch
        else:
            for static, x in zip(self.inputs, inputs, strict=True):
                static.copy_(x, non_blocking=True)
        self.replay()
        return self.outputs

    def _give_up(self, error: RuntimeError, inputs: tuple[Tensor, ...]) -> Any:
        reason = str(error).strip().splitlines()[0]
        sentence = f"A step is not recorded as a CUDA graph, which is slower; torch says: {reason}"
        print(sentence, file=sys.stderr, flush=True)
        self.forget()
        self.calls = -sys.maxsize  # it warms up for ever
        return self.step(*inputs)


def _aside(step: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Any:
    """Call the step on a stream of its own, as torch asks for before a recording."""
    if inputs[0].device.type != "cuda":
        return step(*inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = step(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    return outputs


def record_cuda_graph(step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Record the kernels of a step without running them.

    Returns:
        What runs them, and the step's outputs, which are valid after each run.

    Raises:
        RuntimeError: the step waits for the device, or does what a graph cannot hold.
    """
    gc.collect()
    graph = torch.cuda.CUDAGraph()
    # Under autocast a weight's cast copy would be kept from outside the graph.
    half = torch.is_autocast_enabled("cuda")
    dtype = torch.get_autocast_dtype("cuda")
    autocast = torch.autocast("cuda", dtype, enabled=half, cache_enabled=False)
    # Other threads may go on with what a recording forbids its own: pinning the next batch.
    with autocast, torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = step()
    return graph.replay, outputs


# How a step is recorded, by the type of device. Other devices call it as it is.
RECORDERS: dict[str, Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]] = {
    "cuda": record_cuda_graph
}
