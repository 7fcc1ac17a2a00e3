"""The device and the precision of a computation: requested, resolved when it starts, recorded.

Every objective, every measurement and the views' pixels are computed in IEEE float32 on every
device (see `exact`). Networks are trained under bfloat16 autocast where `precision` says so.
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

# glibc's `mallopt`: options and values. Take nothing from outside the heap, never give its end
# back, and let it grow by 256 MB at a time.
_M_MMAP_MAX = (-4, 0)
_M_TRIM_THRESHOLD = (-1, 2**31 - 1)
_M_TOP_PAD = (-2, 2**28)

_TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # if set, NVIDIA's libraries ignore the program

_WITHOUT_FLOAT64 = {"mps"}  # Apple's GPUs

# How torch's message begins where there is no GPU, which is no fault and not reported.
_NO_DRIVER = ("Found no NVIDIA driver", "Torch not compiled with CUDA")
_NO_GPU = (*_NO_DRIVER, "No CUDA GPUs are available", "No HIP GPUs")


def expected(device: str, precision: str) -> tuple[str, str]:
    """The device (`cpu`, `cuda`) and precision (`32`, `bf16`) of a run that starts here.

    Replaces `auto` and refuses nothing.
    """
    if device == "auto":
        device = "cpu" if obstacle() else "cuda"
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "32"
    return device, precision


def resolve(device: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """The same as `expected`, with the checks that are due when a computation starts.

    A message on stderr says once that `auto` cannot use the GPU that there is, or that the CPU has
    to emulate `bf16`.

    Raises:
        ParameterError: `cuda` is asked for, and torch cannot compute on CUDA, or float32 products
            are TF32 whatever a program sets.
    """
    reason = obstacle() if device != "cpu" else None
    if device == "cuda" and reason:
        hint = f"use auto or cpu: torch says: {reason}"
        raise ParameterError(f"device = 'cuda' is not allowed here, {hint}")
    if reason and not reason.startswith(_NO_GPU):
        alone = f"this machine's GPU is left alone, the CPU computes; torch says: {reason}"
        _say_once(f"device = 'auto': {alone}")
    device, precision = expected(device, precision)
    if device == "cpu" and precision == "bf16" and not has_bfloat16():
        own = "this CPU has no instructions for it (AVX512-BF16, AMX)"
        _say_once(f"precision = 'bf16': {own}, it is emulated, which is slower than '32'.")
    if device == "cuda" and not _products_are_float32():
        variable = f"The environment variable {_TF32_OVERRIDE} = {os.environ.get(_TF32_OVERRIDE)!r}"
        allowed = "it must be unset or 0, for float32 products come out as TF32"
        raise ParameterError(f"{variable} is not allowed: {allowed}.")
    return device, precision


@cache
def obstacle() -> str | None:
    """Why torch cannot compute on CUDA here, in one sentence; None where it can."""
    if not torch.cuda.is_initialized() and os.environ.get(_TF32_OVERRIDE, "0") != "0":
        os.environ[_TF32_OVERRIDE] = "0"  # in time: a library reads it when it starts
    try:
        with warnings.catch_warnings(action="ignore"):  # the reason also comes as a warning
            torch.cuda.init()
            # The GPU may be too old for the kernels that torch was built with.
            torch.ones(2, device=own_gpu()).sum().item()
    except torch.OutOfMemoryError:
        return None  # a run reports that itself
    except (RuntimeError, AssertionError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return re.split(r"(?<=\.) ", first_line)[0].rstrip(".") + "."
    return None


def own_gpu() -> torch.device:
    """The GPU of this process, one of those that train together on this machine."""
    number = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device("cuda", number % max(1, torch.cuda.device_count()))


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; True if torch is too old to say."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    able = ask() if ask else {"bf16": True}
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def keep_memory() -> None:
    """Let this process keep the memory that it frees, for the next step (glibc on Linux only).

    By default glibc gives large buffers back to the system. Each of their pages is then cleared
    when it is used again, which takes a few percent of a training step. The price of keeping them:
    the process never shrinks, and its peak is some 6% higher (1,320 MB instead of 1,240 MB for the
    small ResNet).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for option, value in (_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_TOP_PAD):
            mallopt(option, value)


@cache
def _say_once(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@cache
def _products_are_float32() -> bool:
    """Whether a large float32 product on CUDA keeps a bit that TF32 has no room for."""
    try:
        with exact():
            x = torch.full((512, 512), 1 + 2**-12, device=own_gpu())
            return torch.equal(x @ torch.eye(512, device=x.device), x)
    except torch.OutOfMemoryError:
        return True


def host_may_look(x: torch.Tensor) -> bool:
    """Whether the numbers in x (...) may decide what is computed next.

    On a GPU the host would have to wait for them, and where torch compiles, there are none yet.
    """
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def float64(x: torch.Tensor) -> torch.Tensor:
    """The same numbers (...) in float64, on the CPU where their device has none."""
    return (x.cpu() if x.device.type in _WITHOUT_FLOAT64 else x).double()


class DeviceConstant:
    """A tensor that stays on each device where it was used, as an upload makes the host wait."""

    def __init__(self, value: torch.Tensor):
        self.copies = {value.device: value}

    def on(self, device: torch.device) -> torch.Tensor:
        """The tensor (...) on this device."""
        if device not in self.copies:
            self.copies[device] = next(iter(self.copies.values())).to(device)
        return self.copies[device]


@contextmanager
def exact() -> Iterator[None]:
    """Compute products and convolutions in IEEE float32: no autocast, TF32 or bfloat16.

    This holds whatever torch's flags and `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE` say; afterwards they
    are as before. `NVIDIA_TF32_OVERRIDE` acts below torch: `resolve` turns it off or refuses it. A
    backward pass runs when it is called, so it needs its own `exact`, wherever its forward pass
    was. So does a function that torch compiles: flags cannot be set inside it.
    """
    if torch.compiler.is_compiling():
        with _no_autocast():
            yield
        return
    new_flags = _precision_flags()
    new_before = [flag.fp32_precision for flag in new_flags]
    products, convolutions = _old_settings()
    # The old flags are set so that code that reads them gets the same answer. They come first, as
    # setting them sets new ones.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for flag in new_flags:
        flag.fp32_precision = "ieee"
    try:
        with _no_autocast():
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
        for flag, precision in zip(new_flags, new_before, strict=True):
            flag.fp32_precision = precision


@contextmanager
def _no_autocast() -> Iterator[None]:
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def _precision_flags() -> list[Any]:
    """torch's flags for the precision of float32: CUDA's products, cuDNN's and oneDNN's kinds."""
    flags: list[Any] = [torch.backends.cuda.matmul]
    for library in (torch.backends.cudnn, torch.backends.mkldnn):
        kinds = [kind for kind in ("matmul", "conv", "rnn") if hasattr(library, kind)]
        flags += [getattr(library, kind) for kind in kinds]
    return flags


def _old_settings() -> tuple[str, bool]:
    """torch's older flags, or their defaults where the new flags contradict them and count."""
    products = "highest"
    convolutions = True
    with suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = torch.backends.cudnn.allow_tf32
    return products, convolutions


def hardware(device: str, precision: str) -> dict:
    """What a run on `device` (`cpu`, `cuda`) used, as entries of its record.

    Returns:
        `device`, `precision`, `cpu`, `cores`, `threads`, and `gpu`, `driver`, `cuda`, `cudnn`,
        which are None for a run on the CPU.
    """
    used = {"device": device, "precision": precision, "cpu": _cpu(), "cores": os.cpu_count()}
    used |= {"threads": torch.get_num_threads()}
    used |= dict.fromkeys(("gpu", "driver", "cuda", "cudnn"))
    if device == "cuda":
        used |= {"gpu": torch.cuda.get_device_name(own_gpu()), "driver": _driver()}
        used |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return used


def _cpu() -> str:
    model = re.search(r"model name\s*: (.+)", _text_of("/proc/cpuinfo"))
    return model[1] if model else platform.processor()


def _driver() -> str | None:
    """The release of NVIDIA's driver, such as 580.65.06."""
    release = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", _text_of("/proc/driver/nvidia/version"))
    # Windows' subsystem for Linux has no such file.
    return release[0] if release else get_nvidia_driver_version(run)


def _text_of(path: str) -> str:
    return Path(path).read_text("utf-8", "replace") if Path(path).exists() else ""
