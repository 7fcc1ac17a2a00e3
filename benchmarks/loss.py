"""The objective, forward and backward: ours against lightly's `NTXentLoss` and
pytorch-metric-learning's `SupConLoss`.

Two views, alpha = beta = 1, kappa = 10 (temperature 0.1), where all three are the same function.
Extra memory is the growth of a fresh process' peak resident size (on CUDA: the allocator's peak).
The scaling runs are ours alone.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from common import device, publish, timed

from infomax_nb.files import project_root
from infomax_nb.losses import InfoMaxLoss

KAPPA = 10.0
SIZES = [
    (256, 128, 100),
    (1024, 128, 100),
    (4096, 128, 6),
    (8192, 128, 5),
    (2048, 32, 20),
    (2048, 512, 10),
    (2048, 2048, 5),
]
SIZES += [(2048, 128, 20)]


def candidate(name: str):
    """The named loss as a function of (2, N/2, D)."""
    if name == "ours":
        return InfoMaxLoss(KAPPA)
    if name == "lightly NTXentLoss":
        from lightly.loss import NTXentLoss

        peer = NTXentLoss(temperature=1 / KAPPA)
        return lambda x: peer(x[0], x[1])
    from pytorch_metric_learning.losses import SupConLoss

    peer = SupConLoss(temperature=1 / KAPPA)
    return lambda x: peer(x.flatten(0, 1), torch.arange(x.shape[1], device=x.device).repeat(2))


def gradient(loss, x):
    """Forward and backward."""
    return torch.autograd.grad(loss(x), x)[0]


def memory(name: str, n: int, dim: int) -> float:
    """Extra memory in MB of one forward and backward, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, name, str(n), str(dim)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Time and memory against N and D; the values and gradients of the three compared."""
    rows, names = [], ["ours", "lightly NTXentLoss", "SupConLoss"]
    for n, dim, rounds in SIZES:
        x = torch.randn(2, n // 2, dim, device=device()).requires_grad_()
        who = names if n <= 4096 else names[:2]
        losses = {name: candidate(name) for name in who}
        reference = gradient(losses["ours"], x)
        for row in timed(
            {name: (lambda f=f: gradient(f, x)) for name, f in losses.items()}, rounds
        ):
            mine, peer = losses["ours"](x).item(), losses[row["candidate"]](x).item()
            off = max(
                abs(mine - peer),
                (gradient(losses[row["candidate"]], x) - reference).abs().max().item(),
            )
            mb = memory(row["candidate"], n, dim) if n >= 1024 else float("nan")
            rows.append({"N": n, "D": dim, **row, "largest_difference": off, "extra_MB": mb})
    publish("loss", rows)
    scaling = []
    for n in (2048, 4096, 8192, 16384, 32768, 65536):
        scaling.append({"N": n, "D": 128, "extra_MB": memory("ours", n, 128)})
        if n <= 16384:
            x = torch.randn(2, n // 2, 128, device=device()).requires_grad_()
            scaling[-1]["seconds"] = timed({"ours": lambda x=x: gradient(candidate("ours"), x)}, 2)[
                0
            ]["seconds"]
    table = publish("loss_scaling", scaling)
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="tight")
    for name in names:
        over_n = sorted(
            (r for r in rows if r["candidate"] == name and r["D"] == 128), key=lambda r: r["N"]
        )
        over_d = sorted(
            (r for r in rows if r["candidate"] == name and r["N"] == 2048), key=lambda r: r["D"]
        )
        for k, (part, x) in enumerate(((over_n, "N"), (over_d, "D"))):
            for axis, y in zip(axes[2 * k : 2 * k + 2], ("seconds", "extra_MB"), strict=True):
                axis.loglog([r[x] for r in part], [r[y] for r in part], marker="o", label=name)
    axes[1].loglog(
        table["N"], table.extra_MB, marker=".", ls="--", color="C0", label="ours, to N = 65,536"
    )
    titles = ("time, D = 128", "memory, D = 128", "time, N = 2,048", "memory, N = 2,048")
    labels = ("forward + backward (s)", "extra memory (MB)") * 2
    for k, (axis, title, label) in enumerate(zip(axes, titles, labels, strict=True)):
        axis.set_xscale("log", base=2)
        axis.set(
            title=title,
            ylabel=label,
            xlabel="N, views in the batch" if k < 2 else "D, width of the projections",
        )
    axes[1].legend()
    figure.savefig(project_root() / "reports" / "benchmarks" / f"{device()}_loss.png", dpi=110)


def peak() -> float:
    """This process' peak resident size in MB (Linux). `getrusage` would start from the parent's."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e3


def child(name: str, n: int, dim: int) -> None:
    """Print the extra MB of one forward and backward."""
    loss = candidate(name)
    gradient(loss, torch.randn(2, 32, dim, device=device()).requires_grad_())
    x = torch.randn(2, n // 2, dim, device=device()).requires_grad_()
    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        gradient(loss, x)
        print(json.dumps((torch.cuda.max_memory_allocated() - before) / 1e6))
    else:
        before = peak()
        gradient(loss, x)
        print(json.dumps(peak() - before))


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 1 else main()
