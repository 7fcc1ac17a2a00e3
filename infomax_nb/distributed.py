"""The processes that train one run together: how many there are, who started them, and which one
this is."""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor

from infomax_nb.errors import ParameterError

STARTED_BY_LIGHTNING = {"LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Processes:
    """The processes of one run.

    launcher: `torchrun`, `srun`, or `own` (Lightning starts them, on this machine).
    devices: processes on each node, one for each device. num_nodes: nodes. rank: this process'
    number, from 0.
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
        """ParameterError if the machine has fewer devices than processes."""
        if self.devices > available:
            raise ParameterError(
                f"devices = {self.devices} is not allowed here: this machine has {available}."
            )

    def recorded(self) -> dict[str, int]:
        """What a run's record says of them."""
        return {"devices": self.devices, "num_nodes": self.num_nodes}


def processes(devices: int | None = None) -> Processes:
    """The processes that torchrun or srun started, or `devices` that are to be started on this
    machine.

    One task of SLURM, or an allocation without srun, is a machine like any other: what counts is
    the step's number of tasks, not the allocation's.

    Args:
        devices: how many were asked for; None takes what there is, or one.

    Raises ParameterError for a number that is not allowed, or that is not what torchrun or srun
    started.
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
    """ParameterError where a batch has no equal shares, or what is to be started again cannot
    be."""
    if batch_size % there.world:
        allowed = f"a multiple of {there.world}, the number of devices"
        raise ParameterError(f"batch_size = {batch_size} is not allowed: it must be {allowed}.")
    if there.launcher != "own" or there.world == 1 or os.environ.keys() >= STARTED_BY_LIGHTNING:
        return
    main = sys.modules["__main__"]
    in_notebook = "ipykernel" in sys.modules or hasattr(sys, "ps1")
    if in_notebook or not getattr(main, "__file__", None):
        raise ParameterError(
            f"devices = {there.devices} is not allowed in a notebook or an interactive session, which cannot start "
            f"processes like itself: train with `python -m infomax_nb.train FILE --devices {there.devices}`, "
            "then `fit(config)` returns the finished run."
        )


def _check_number(devices: Any) -> None:
    whole = isinstance(devices, int) and not isinstance(devices, bool)
    if devices is not None and not (whole and devices >= 1):
        raise ParameterError(
            f"devices = {devices!r} is not allowed: it must be a whole number >= 1."
        )


def _by_torchrun() -> Processes:
    each = _number("LOCAL_WORLD_SIZE", 1)
    nodes = _even("torchrun", _number("WORLD_SIZE", 1), per=each)
    return Processes("torchrun", each, nodes, _number("RANK"))


def _by_srun() -> Processes:
    tasks = _number("SLURM_STEP_NUM_TASKS")
    nodes = max(1, _number("SLURM_STEP_NUM_NODES", 1))
    each = _even("srun", tasks, per=nodes)
    return Processes("srun", each, nodes, _number("SLURM_PROCID"))


def _by_lightning(devices: int | None) -> Processes:
    """On this machine; Lightning leaves its variables to the processes that it starts, and to the
    one that did."""
    started = os.environ.keys() >= STARTED_BY_LIGHTNING
    world = _number("WORLD_SIZE", devices or 1) if started else devices or 1
    rank = _number("LOCAL_RANK") if started and world > 1 else 0
    return Processes("own", world, 1, rank)


def _even(launcher: str, tasks: int, per: int) -> int:
    """tasks / per; ParameterError if that is no whole number."""
    if tasks % per:
        said = f"{launcher} has started {tasks} processes, which are not equally many on each node"
        raise ParameterError(f"devices: {said}; start the same number on every node.")
    return tasks // per


def _number(name: str, default: int = 0) -> int:
    """An environment variable as a whole number; ParameterError if it is something else."""
    text = os.environ.get(name) or str(default)
    if not text.isdigit():
        raise ParameterError(
            f"{name} = {text!r} in the environment is not allowed: it must be a whole number."
        )
    return int(text)


def all_rows(rows: Tensor) -> tuple[Tensor, int, int]:
    """The rows (n, D) of all processes, with gradient, in the order of ranks; where one's own
    begin; how many.

    Processes may have unequal numbers of rows.
    """
    counts = [int(n) for n in gather(torch.tensor(len(rows), device=rows.device))]
    padded = gather(torch.nn.functional.pad(rows, (0, 0, 0, max(counts) - len(rows))))
    whole = torch.cat([part[:n] for part, n in zip(padded, counts, strict=True)])
    return whole, sum(counts[: rank()]), sum(counts)


def gathered(rows: Tensor) -> Tensor:
    """The rows (B, D) of all processes that train together, with gradient; they have equally
    many."""
    return rows if world_size() == 1 else torch.cat(gather(rows))
