"""What a step and an evaluation would take on an H100, from a roofline: where none was measured.

Each kernel takes the longest of three times: its floating-point operations at the unit's rate, the
bytes of its operands and results at the memory's rate, and a floor for being launched. Kernels run
one after another, so the times add up. torch says which kernels there are when it runs networks on
its device without data (`meta`), forward and backward, at the run's own batch size.

Assumptions:

- Peaks are those of NVIDIA's data sheet of the H100 (SXM): 989 TFLOP/s of dense bfloat16, 67 of
  float32, 3.35 TB/s. Kernels achieve two fifths, nine tenths and three quarters of them. Large
  products in float32 come near their peak; small maps in bfloat16 do not.
- A kernel takes 2.5 microseconds at least. That is the rhythm of small kernels in a CUDA graph,
  which the host does not slow down. Without a graph a step of small images takes a multiple.
- Networks train in bfloat16; they are evaluated in float32, without TF32.
- Views are 400 launches, and pass over their float32 pixels 40 times. The loss and the rest of a
  step are 100 launches. AdamW reads and writes seven float32 numbers for each weight, a teacher
  three.
- In an evaluation each image goes through the network once, in batches of 2,048. The linear head
  takes 20 launches for each 256 training images, twice. k-NN multiplies all features once.
- Reading the images, starting, stopping and checkpoints take nothing.

This is a guess to a factor of two or so, and `make plan` says of each number whether it is one.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from infomax_nb.config import TrainConfig
from infomax_nb.methods import build
from infomax_nb.methods.base import MomentumMethod
from pipeline.cost import step_shape

VIEW_LAUNCHES = 400
VIEW_PASSES = 40
OTHER_LAUNCHES = 100
WEIGHT_BYTES = 7 * 4  # AdamW reads weight, gradient and two moments, and writes all but one
TEACHER_BYTES = 3 * 4
EVALUATED_AT_ONCE = 2048
HEAD_BATCH = 256
HEAD_PASSES = 2
HEAD_LAUNCHES = 20
FLOAT32_BYTES = 4

# Operations of torch that only say how memory is seen, or take it: no kernel runs.
FREE = {"_reshape_alias", "_unsafe_view", "alias", "as_strided", "detach", "empty", "empty_like"}
FREE |= {"empty_strided", "expand", "new_empty", "new_empty_strided", "permute", "select", "slice"}
FREE |= {"split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view"}
# Operations that are more kernels than one.
LAUNCHES = {"convolution_backward": 2, "native_batch_norm": 2, "native_batch_norm_backward": 2}


@dataclass(frozen=True)
class Gpu:
    """What a GPU achieves.

    Args:
        name: how it is called.
        bfloat16: floating-point operations a second in bfloat16 products.
        float32: the same in float32.
        memory: bytes a second.
        launch: seconds that a kernel takes at least.
    """

    name: str
    bfloat16: float
    float32: float
    memory: float
    launch: float

    def seconds(self, flops=0.0, moved=0.0, launches=1, dtype=torch.bfloat16) -> float:
        """Seconds of kernels that do so many operations and move so many bytes together."""
        rate = self.bfloat16 if dtype == torch.bfloat16 else self.float32
        return max(flops / rate, moved / self.memory, launches * self.launch)


H100 = Gpu("H100", 0.4 * 989e12, 0.9 * 67e12, 0.75 * 3.35e12, 2.5e-6)
ESTIMATED = f"estimated: roofline of an {H100.name}"


class KernelClock(TorchDispatchMode):
    """Adds up, as a context, what the kernels that torch would run take on a GPU."""

    def __init__(self, gpu: Gpu = H100):
        super().__init__()
        self.gpu = gpu
        self.seconds = 0.0
        self.launches = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = operation(*args, **kwargs)
        name = operation._schema.name.partition("::")[2]
        if name in FREE:
            return out
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
        count = flop_registry.get(operation._overloadpacket)
        flops = count(*args, **kwargs, out_val=out) if count else 0
        launches = LAUNCHES.get(name, 1)
        moved = sum(x.numel() * x.element_size() for x in tensors)
        dtype = tensors[0].dtype if tensors else torch.float32
        self.seconds += self.gpu.seconds(flops, moved, launches, dtype)
        self.launches += launches
        return out


def step_seconds(config: TrainConfig, gpu: Gpu = H100) -> float:
    """Seconds of a training step: views, networks forward and backward, loss, optimiser."""
    return _step_seconds(step_shape(config), config.batch_size, gpu)


@cache
def _step_seconds(shape: TrainConfig, batch: int, gpu: Gpu) -> float:
    with torch.random.fork_rng(devices=[]):
        method = build(shape, 10).train().to("meta", torch.bfloat16)
    sizes = [view.size for view in method.view_specs(shape.size)]
    views = [_images(batch, size, torch.bfloat16) for size in sizes]
    with KernelClock(gpu) as clock:
        outputs = [x for each in method.outputs(views) for x in each if x.requires_grad]
        torch.stack([x.sum() for x in outputs]).sum().backward()
    pixels = sum(view.numel() for view in views) * FLOAT32_BYTES
    of_views = gpu.seconds(moved=VIEW_PASSES * pixels, launches=VIEW_LAUNCHES)
    weights = sum(p.numel() for p in method.parameters() if p.requires_grad)
    moved = weights * (WEIGHT_BYTES + TEACHER_BYTES * isinstance(method, MomentumMethod))
    rest = gpu.seconds(launches=OTHER_LAUNCHES) + gpu.seconds(moved=moved)
    return clock.seconds + of_views + rest


def evaluation_seconds(config: TrainConfig, train: int, test: int, gpu: Gpu = H100) -> float:
    """Seconds of an evaluation that fits on `train` images and tests on `test`."""
    per_image, width = _features(step_shape(config), gpu)
    head_steps = HEAD_PASSES * train / HEAD_BATCH
    head = head_steps * gpu.seconds(launches=HEAD_LAUNCHES)
    neighbours = gpu.seconds(flops=2.0 * train * test * width, dtype=torch.float32)
    return (train + test) * per_image + head + neighbours


@cache
def _features(shape: TrainConfig, gpu: Gpu) -> tuple[float, int]:
    """Seconds in which an image goes through the backbone, and the features' width."""
    with torch.random.fork_rng(devices=[]):
        backbone = build(shape, 10).backbone.eval().to("meta")
    images = _images(EVALUATED_AT_ONCE, shape.size, torch.float32)
    with torch.no_grad(), KernelClock(gpu) as clock:
        backbone(images)
    return clock.seconds / EVALUATED_AT_ONCE, backbone.num_features


def _images(batch: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    images = torch.empty(batch, 3, size, size, device="meta", dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last)
