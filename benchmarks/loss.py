"""The objective, forward and backward, against lightly's `NTXentLoss`, `SupConLoss` and KeOps.

`SupConLoss` is pytorch-metric-learning's. KeOps (pykeops) makes a tiled kernel of the formula, as
we do by hand; it is timed on the CPU, up to 2,048 views of 128 dimensions, beyond which it takes
minutes. Two views, alpha = beta = 1, kappa = 10 (temperature 0.1), where all are the same function;
what is timed has been compared with ours before, value and gradient. Extra memory is the growth of
a fresh process' peak resident size (on CUDA: the allocator's peak, in this process). The scaling
runs are ours alone.

On CUDA Inf-CL is timed, too, if `inf_cl` can be imported. Its loss is another function: it compares
the first views with the second ones alone, so its difference to ours says nothing and is left out.
"""

import atexit
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from common import BENCHMARKS, TRIAL, device, publish, timed

from infomax_nb.losses import InfoMaxLoss
from infomax_nb.plots import label

KAPPA = 10.0
KEOPS = "KeOps"
CANDIDATES = ["ours", "lightly NTXentLoss", "SupConLoss", KEOPS]
KEOPS_LIMIT = (2048, 128)  # N and D up to which KeOps is timed
KEOPS_ROUNDS = 5
FAR = 1e6  # subtracted from a view's similarity to itself: its exponential is then zero
TOLERANCE = 1e-4  # share of the value or the largest gradient from which a peer is another function
# N views, D dimensions, rounds
SIZES = [
    *[(256, 128, 100), (1024, 128, 100), (4096, 128, 6), (8192, 128, 5)],
    *[(2048, 32, 20), (2048, 512, 10), (2048, 2048, 5), (2048, 128, 20)],
]
SCALING = (2048, 4096, 8192, 16384, 32768, 65536)
if TRIAL:
    SIZES = [(256, 128, 2)]
    SCALING = SCALING[:1]
INF_CL = "Inf-CL, first views against second"


def candidate(name: str):
    """The named loss as a function of (2, N/2, D)."""
    if name == "ours":
        ours = InfoMaxLoss(KAPPA)
        return lambda x: ours(list(x))
    if name == "lightly NTXentLoss":
        from lightly.loss import NTXentLoss

        peer = NTXentLoss(temperature=1 / KAPPA)
        return lambda x: peer(x[0], x[1])
    if name == INF_CL:
        from inf_cl import cal_flash_loss
        from torch.nn.functional import normalize

        scale = torch.tensor(KAPPA, device=device())
        return lambda x: cal_flash_loss(normalize(x[0], dim=1), normalize(x[1], dim=1), scale=scale)
    if name == KEOPS:
        return keops_loss
    from pytorch_metric_learning.losses import SupConLoss

    peer = SupConLoss(temperature=1 / KAPPA)
    return lambda x: peer(x.flatten(0, 1), torch.arange(x.shape[1], device=x.device).repeat(2))


def keops_loss(x: torch.Tensor) -> torch.Tensor:
    """NT-Xent of two views (2, N/2, D) by KeOps, which never holds the N x N similarities."""
    from pykeops.torch import LazyTensor
    from torch.nn.functional import normalize

    z = normalize(x.flatten(0, 1), dim=1)
    n = len(z)
    place = torch.arange(n, dtype=z.dtype, device=z.device)
    apart = (LazyTensor(place.view(n, 1, 1)) - LazyTensor(place.view(1, n, 1))).square()
    is_itself = (0.5 - apart).step()
    similarity = KAPPA * (LazyTensor(z[:, None, :]) | LazyTensor(z[None, :, :]))
    spread = (similarity - FAR * is_itself).logsumexp(dim=1).flatten()
    partners = KAPPA * (z * z.roll(n // 2, 0)).sum(1)
    return (spread - partners).mean()


def candidates(n: int, dim: int) -> dict:
    """The losses that are timed with N views of D dimensions, those of peers that are installed."""
    losses = {"ours": candidate("ours"), CANDIDATES[1]: candidate(CANDIDATES[1])}
    if n <= 4096 and importlib.util.find_spec("pytorch_metric_learning"):
        losses[CANDIDATES[2]] = candidate(CANDIDATES[2])
    within = n <= KEOPS_LIMIT[0] and dim <= KEOPS_LIMIT[1]
    wanted = device() == "cpu" and within and not TRIAL  # compiling takes most of a minute
    if wanted and importlib.util.find_spec("pykeops"):
        losses[KEOPS] = candidate(KEOPS)
    if device() == "cuda" and importlib.util.find_spec("inf_cl"):
        try:
            losses[INF_CL] = candidate(INF_CL)
            gradient(losses[INF_CL], random_projections(256, 128))
        except Exception as error:  # whatever a kernel of another release raises
            print(f"{INF_CL} is left out: {error}")
            losses.pop(INF_CL, None)
    return losses


def random_projections(n: int, dim: int) -> torch.Tensor:
    """Two views (2, N/2, D) of random images."""
    return torch.randn(2, n // 2, dim, device=device()).requires_grad_()


def gradient(loss, x):
    """Forward and backward."""
    return torch.autograd.grad(loss(x), x)[0]


def memory(name: str, n: int, dim: int) -> float:
    """Extra memory in MB of one forward and backward; on the CPU in a process of its own."""
    if device() == "cuda" or TRIAL:
        return extra_memory(name, n, dim)
    command = [sys.executable, __file__, name, str(n), str(dim)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def differences(losses: dict, x: torch.Tensor) -> dict[str, float]:
    """The largest difference to ours of each loss, of its value and its gradient.

    Raises:
        SystemExit: a peer is another function than ours.
    """
    value = losses["ours"](x).item()
    reference = gradient(losses["ours"], x)
    largest = reference.abs().max().item()
    found = {}
    for name, loss in losses.items():
        if name == INF_CL:
            found[name] = float("nan")
            continue
        in_value = abs(value - loss(x).item())
        in_gradient = (gradient(loss, x) - reference).abs().max().item()
        found[name] = max(in_value, in_gradient)
        if in_value > TOLERANCE * max(1.0, abs(value)) or in_gradient > TOLERANCE * largest:
            sys.exit(f"{name} differs from ours by {found[name]:.2g}: it is another function.")
    return found


def compared(n: int, dim: int, rounds: int) -> list[dict]:
    """Time, memory and the largest difference to ours of each loss, of values and gradients."""
    x = random_projections(n, dim)
    losses = candidates(n, dim)
    apart = differences(losses, x)
    steps = {name: (lambda f=f: gradient(f, x)) for name, f in losses.items()}
    quick = {name: step for name, step in steps.items() if name != KEOPS}
    timings = timed(quick, rounds)
    if KEOPS in steps:  # seconds a round: fewer of them, in turn with ours again
        pair = {"ours": steps["ours"], KEOPS: steps[KEOPS]}
        timings.append(timed(pair, min(rounds, KEOPS_ROUNDS))[-1])
    rows = []
    for row in timings:
        name = row["candidate"]
        extra = memory(name, n, dim) if n >= 1024 else float("nan")
        shape = {"N": n, "D": dim}
        rows.append({**shape, **row, "largest_difference": apart[name], "extra_MB": extra})
    return rows


def scaled(n: int) -> dict:
    """Memory of ours, and time where that does not take too long."""
    row = {"N": n, "D": 128, "extra_MB": memory("ours", n, 128)}
    if n <= 16384:
        x = random_projections(n, 128)
        (ours,) = timed({"ours": lambda: gradient(candidate("ours"), x)}, 2)
        row["seconds"] = ours["seconds"]
    return row


def draw(table: pd.DataFrame, scaling: pd.DataFrame) -> None:
    """Time and memory against N and against D."""
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="tight")
    over_n = table[table["D"] == 128]
    over_d = table[table["N"] == 2048]
    panels = [
        (over_n, "N", "seconds", "time, D = 128"),
        (over_n, "N", "extra_MB", "memory, D = 128"),
        (over_d, "D", "seconds", "time, N = 2,048"),
        (over_d, "D", "extra_MB", "memory, N = 2,048"),
    ]
    names = {"N": "N, views in the batch", "D": "D, width of the projections"}
    names |= {"seconds": "forward + backward (s)", "extra_MB": "extra memory (MB)"}
    for axis, (rows, x, y, title) in zip(axes, panels, strict=True):
        for k, name in enumerate(CANDIDATES):
            own = rows[rows["candidate"] == name].sort_values(x)
            style = {"marker": "o^sD"[k], "color": f"C{k}", "label": label(name)}
            axis.loglog(own[x], own[y], **style)
        axis.set_xscale("log", base=2)
        axis.set(title=title, xlabel=names[x], ylabel=names[y])
    style = {"marker": ".", "ls": "--", "color": "C0", "label": "ours, to N = 65,536"}
    axes[1].loglog(scaling["N"], scaling.extra_MB, **style)
    axes[1].legend()
    figure.savefig(BENCHMARKS / f"{device()}_loss.png", dpi=110)


def keep_kernels() -> None:
    """Give KeOps a folder for what it compiles here and in child processes, gone at the end."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, True)  # after KeOps, which registers later, has written
    os.environ |= {"KEOPS_CACHE_FOLDER": folder, "KEOPS_VERBOSE": "0", "PYKEOPS_VERBOSE": "0"}


def main() -> None:
    """Time and memory against N and D; the values and gradients of all compared."""
    keep_kernels()
    table = publish("loss", [row for size in SIZES for row in compared(*size)])
    scaling = publish("loss_scaling", [scaled(n) for n in SCALING])
    draw(table, scaling)


def peak() -> float:
    """This process' peak resident size in MB (Linux). `getrusage` would start from the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e3


def extra_memory(name: str, n: int, dim: int) -> float:
    """MB that one forward and backward adds to this process' peak."""
    loss = candidate(name)
    gradient(loss, random_projections(64, dim))
    x = random_projections(n, dim)
    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        gradient(loss, x)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = peak()
    gradient(loss, x)
    return peak() - before


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(extra_memory(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
