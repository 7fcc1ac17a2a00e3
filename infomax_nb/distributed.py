"""The processes that train one run together, and what they gather from each other."""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor

from infomax_nb.errors import ParameterError, not_allowed

STARTED_BY_LIGHTNING = {"LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Processes:
    """The processes of one run.

    Args:
        launcher: who starts them: `torchrun`, `srun`, or `own` (Lightning, on this machine).
        devices: processes on each node, one for each device.
        num_nodes: number of nodes.
        rank: this process's number, from 0.
    """

    launcher: Literal["torchrun", "srun", "own"]
    devices: int
    num_nodes: int
    rank: int

    @property
    def world(self) -> int:
        """The number of all processes."""
        return self.devices * self.num_nodes

    def check_devices(self, available: int) -> None:
        """Raise ParameterError if the machine has fewer devices than processes."""
        if self.devices > available:
            here = f"here: this machine has {available}"
            if self.launcher == "srun":
                here = f"here: this process sees {available}, srun must give each task all GPUs"
            raise ParameterError(f"devices = {self.devices} is not allowed {here}.")

    def recorded(self) -> dict[str, int]:
        """The entries about them in a run's record."""
        return {"devices": self.devices, "num_nodes": self.num_nodes}


def processes(devices: int | None = None) -> Processes:
    """The processes that torchrun or srun started, or that are to be started on this machine.

    A single SLURM task, or an allocation without srun, is treated like any other machine: the
    step's number of tasks counts, not the allocation's.

    Args:
        devices: the number that was asked for; None takes those that were started, or one.

    Raises:
        ParameterError: the number is not allowed, or not what torchrun or srun started.
    """
    _check_number(devices)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        there = _by_torchrun()
    elif _number("SLURM_STEP_NUM_TASKS") > 1 and "SLURM_PROCID" in os.environ:
        there = _by_srun()
    else:
        there = _by_lightning(devices)
    if devices is not None and devices != there.devices:
        started = f"{there.launcher} has started {there.devices} on this machine"
        if there.launcher == "own":
            started = f"this process is one of {there.devices} already"
        raise ParameterError(f"devices = {devices} is not allowed here: {started}; leave it out.")
    return there


def check_startable(there: Processes, batch_size: int) -> None:
    """Refuse a batch without equal shares, and a session that cannot start copies of itself."""
    if batch_size % there.world:
        allowed = f"a multiple of {there.world}, the number of devices"
        raise not_allowed("batch_size", batch_size, allowed)
    if there.launcher != "own" or there.world == 1 or os.environ.keys() >= STARTED_BY_LIGHTNING:
        return
    in_notebook = "ipykernel" in sys.modules or hasattr(sys, "ps1")
    is_script = getattr(sys.modules["__main__"], "__file__", None)
    if in_notebook or not is_script:
        where = "in a notebook or an interactive session, which cannot start processes like itself"
        command = f"python -m infomax_nb.train FILE --devices {there.devices}"
        cure = f"train with `{command}`, then `fit(config)` returns the finished run"
        raise ParameterError(f"devices = {there.devices} is not allowed {where}: {cure}.")


def _check_number(devices: Any) -> None:
    whole = isinstance(devices, int) and not isinstance(devices, bool)
    if devices is not None and not (whole and devices >= 1):
        raise not_allowed("devices", devices, "a whole number >= 1")


def _by_torchrun() -> Processes:
    each = _number("LOCAL_WORLD_SIZE", 1)
    nodes = _even("torchrun", _number("WORLD_SIZE", 1), per=each)
    return Processes("torchrun", each, nodes, _number("RANK"))


def _by_srun() -> Processes:
    nodes = max(1, _number("SLURM_STEP_NUM_NODES", 1))
    each = _even("srun", _number("SLURM_STEP_NUM_TASKS"), per=nodes)
    return Processes("srun", each, nodes, _number("SLURM_PROCID"))


def _by_lightning(devices: int | None) -> Processes:
    """The processes that Lightning starts on this machine.

    Lightning sets its variables in the processes that it starts, and in the one that starts them.
    """
    if not os.environ.keys() >= STARTED_BY_LIGHTNING:
        return Processes("own", devices or 1, 1, rank=0)
    world = _number("WORLD_SIZE", devices or 1)
    return Processes("own", world, 1, rank=_number("LOCAL_RANK") if world > 1 else 0)


def _even(launcher: str, tasks: int, per: int) -> int:
    """tasks / per, which must be a whole number."""
    if tasks % per:
        started = f"has started {tasks} processes, which are not equally many on each node"
        cure = "start the same number on every node"
        raise ParameterError(f"devices: {launcher} {started}; {cure}.")
    return tasks // per


def _number(name: str, default: int = 0) -> int:
    """The value of an environment variable, which must be a whole number."""
    text = os.environ.get(name) or str(default)
    if not text.isdigit():
        allowed = "in the environment is not allowed: it must be a whole number"
        raise ParameterError(f"{name} = {text!r} {allowed}.")
    return int(text)


def all_rows(rows: Tensor, equal: bool = False) -> tuple[Tensor, int, int]:
    """The rows of all processes, with gradient, in the order of ranks.

    Args:
        rows: (n, D), of this process; others may have another n.
        equal: whether all are known to have the same n. Else they are asked, which takes a wait.

    Returns:
        All rows (N, D), the index of this process's first one, and N.
    """
    if equal:
        return gathered(rows), rank() * len(rows), world_size() * len(rows)
    counts = [int(n) for n in gather(torch.tensor(len(rows), device=rows.device))]
    padded = gather(torch.nn.functional.pad(rows, (0, 0, 0, max(counts) - len(rows))))
    whole = torch.cat([part[:n] for part, n in zip(padded, counts, strict=True)])
    return whole, sum(counts[: rank()]), sum(counts)


def gathered(rows: Tensor) -> Tensor:
    """The rows (B, D) of all processes, the same number of each, with gradient."""
    return rows if world_size() == 1 else torch.cat(gather(rows))


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        torch.distributed.barrier()


def share_buffers(module: torch.nn.Module) -> None:
    """Give all processes the first one's buffers, such as BatchNorm's running statistics."""
    if world_size() > 1:
        for buffer in filter(torch.numel, module.buffers()):  # lightly has empty ones
            torch.distributed.broadcast(buffer, src=0)
