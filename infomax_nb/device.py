"""The device and the precision of a computation: asked for, found when it starts, and recorded.

Every objective, every measurement and the views' pixels are IEEE float32 wherever they run:
`exact`. Networks are trained under bfloat16 autocast where `precision` says so.
"""

import ctypes
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.collect_env import get_nvidia_driver_version, run

from infomax_nb.errors import ParameterError

# For glibc's `mallopt`: nothing from outside the heap, its end not given back, 256 MB more at a
# time.
_KEEP = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**28)}


_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # NVIDIA's libraries read it and then heed no program


# What torch says where there is nothing to compute on: no fault of the machine, nothing to tell.
_ABSENT = (
    "Found no NVIDIA driver",
    "No CUDA GPUs are available",
    "No HIP GPUs",
    "Torch not compiled with CUDA",
)


def expected(device: str, precision: str) -> tuple[str, str]:
    """`auto` replaced by what a run that starts here would use: (`cpu` or `cuda`, `32` or `bf16`);
    refuses nothing."""
    if device == "auto":
        device = "cpu" if obstacle() else "cuda"
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "32"
    return device, precision


def resolve(device: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """As `expected`, when a computation starts.

    Raises ParameterError for `cuda` where torch can't compute on CUDA, and where float32 is TF32
    there whatever is set. With `auto`, an NVIDIA driver or GPU that torch can't use is named on
    stderr, once; the CPU computes then. So is `bf16` on a CPU without instructions for it, which
    emulates it.
    """
    reason = obstacle() if device != "cpu" else None
    if device == "cuda" and reason:
        raise ParameterError(
            f"device = 'cuda' is not allowed here, use auto or cpu: torch says: {reason}"
        )
    if reason and not reason.startswith(_ABSENT):
        _say(
            f"device = 'auto': this machine's GPU is left alone, the CPU computes; torch says: {reason}"
        )
    device, precision = expected(device, precision)
    if device == "cpu" and precision == "bf16" and not has_bfloat16():
        own = "this CPU has no instructions for it (AVX512-BF16, AMX)"
        _say(f"precision = 'bf16': {own}, it is emulated, which is slower than '32'.")
    if device == "cuda" and not _products_are_float32():
        value = os.environ.get(_OVERRIDE)
        allowed = "it must be unset or 0, for float32 products come out as TF32"
        raise ParameterError(
            f"The environment variable {_OVERRIDE} = {value!r} is not allowed: {allowed}."
        )
    return device, precision


@cache
def obstacle() -> str | None:
    """Why torch can't compute on CUDA here, one sentence; None where it can."""
    if not torch.cuda.is_initialized() and os.environ.get(_OVERRIDE, "0") != "0":
        os.environ[_OVERRIDE] = "0"  # read when a library starts: later than here
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # the reason comes as a warning, too, but only once
            torch.cuda.init()
            # A driver and a GPU do not suffice: the GPU may be too old for the kernels that torch
            # was built with.
            torch.ones(2, device=own_gpu()).sum().item()
    except torch.OutOfMemoryError:
        return None  # a run says so in its own words
    except (RuntimeError, AssertionError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return re.split(r"(?<=\.) ", lines[0])[0].rstrip(".") + "."
    return None


def own_gpu() -> torch.device:
    """The GPU of this process among those that train together on this machine, as torchrun,
    Lightning or srun says."""
    number = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device("cuda", number % max(1, torch.cuda.device_count()))


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for products of bfloat16 numbers, or nobody knows (a torch
    that can't say)."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    able = ask() if ask else {"bf16": True}
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def keep_memory() -> None:
    """Let this process keep what memory it frees, for the next training step: with glibc on Linux,
    else nothing.

    glibc gives large buffers back to the system and has each page of them cleared when it is used
    again, which costs some percent of a step. The price: until it ends, the process stays as large
    as it once was, also while others wait for memory, and its peak is some 6% higher (the small
    ResNet's training: 1,320 MB where it was 1,240).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, value in _KEEP.values():
            mallopt(option, value)


@cache
def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@cache
def _products_are_float32() -> bool:
    """Whether a float32 matrix product on CUDA keeps a bit that TF32 has no room for; large enough
    for its units."""
    try:
        with exact():
            wanted = torch.full((512, 512), 1 + 2**-12, device=own_gpu())
            return torch.equal(wanted @ torch.eye(512, device=wanted.device), wanted)
    except torch.OutOfMemoryError:
        return True


@contextmanager
def exact() -> Iterator[None]:
    """IEEE float32 in here, in products and convolutions: no autocast, no TF32, no bfloat16 in
    float32's place.

    Whatever torch's flags and `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE` say; they are as before
    afterwards. A backward pass runs when it is called, not where its forward pass stood: it needs a
    context of its own. `NVIDIA_TF32_OVERRIDE` acts below torch: `resolve` turns it off where it
    still can, and refuses where not.
    """
    backends = torch.backends
    flags: list[Any] = [backends.cuda.matmul]
    for library in (backends.cudnn, backends.mkldnn):
        flags += [
            getattr(library, kind) for kind in ("matmul", "conv", "rnn") if hasattr(library, kind)
        ]
    before = [each.fp32_precision for each in flags]
    # The defaults, for where old and new flags disagree: it is the new ones that count then.
    products, convolutions = "highest", True
    with suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = backends.cudnn.allow_tf32
    # The old flags first, so that who asks by them in here is told the same; they set some of the
    # new ones.
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    for each in flags:
        each.fp32_precision = "ieee"
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        backends.cudnn.allow_tf32 = convolutions
        for each, precision in zip(flags, before, strict=True):
            each.fp32_precision = precision


def hardware(device: str, precision: str) -> dict:
    """What a run on `device` (`cpu`, `cuda`) used: `device`, `precision`, `cpu`, and of CUDA `gpu`,
    `driver`, `cuda` and `cudnn`, which are None for a run on the CPU."""
    found = {"device": device, "precision": precision, "cpu": _cpu(), "cores": os.cpu_count()}
    found |= {
        "threads": torch.get_num_threads(),
        **dict.fromkeys(("gpu", "driver", "cuda", "cudnn")),
    }
    if device == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(own_gpu()), "driver": _driver()}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    return models[0] if models else platform.processor()


def _driver() -> str | None:
    """The release of NVIDIA's driver, such as 580.65.06."""
    loaded = Path("/proc/driver/nvidia/version")
    release = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", loaded.read_text() if loaded.exists() else "")
    return (
        release[0] if release else get_nvidia_driver_version(run)
    )  # Windows' subsystem for Linux has no such file
