"""What operations on the pretended device cost: counted, with the part and place of each."""

import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import infomax_nb

LARGE = 64 * 1024  # bytes of a CPU operation's output that a step should not have
_PACKAGE = str(Path(infomax_nb.__file__).parent) + "/"


@dataclass
class Tally:
    """What was counted between two points in time.

    Args:
        launches: of kernels and copies, by part (see `part_of`).
        waits: of the host for the device, by part.
        uploads: copies of the CPU's tensors to the device, by part.
        pageable: those among them that are not blocking, but from memory that is not pinned, where
            CUDA may wait all the same.
        places: how often a line of the package caused one of these: keys (kind, operation, place).
        sequence: each launch, (operation, shapes of its inputs and outputs).
        cpu: operations of the CPU with an output over `LARGE`: (operation, bytes, place).
    """

    launches: Counter = field(default_factory=Counter)
    waits: Counter = field(default_factory=Counter)
    uploads: Counter = field(default_factory=Counter)
    pageable: Counter = field(default_factory=Counter)
    places: Counter = field(default_factory=Counter)
    sequence: list[tuple] = field(default_factory=list)
    cpu: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, kind: str, what: str, times: int = 1) -> None:
        """Count something at the place that the interpreter is at."""
        if times:
            part, place = where()
            getattr(self, kind)[part] += times
            self.places[kind, what, place] += times

    def said(self, kind: str, most: int = 12) -> str:
        """The places with the most of a kind, a line each."""
        rows = [(n, *key[1:]) for key, n in self.places.most_common() if key[0] == kind]
        return "\n".join(f"{n:5} {what} at {place}" for n, what, place in rows[:most])


def where() -> tuple[str, str]:
    """The part of a step, and the line of the package (or else of lightly) that is computing.

    The innermost function that belongs to a part decides, but losses and an evaluation are theirs
    as a whole.
    """
    part = None
    place = None
    of_lightly = None
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        function = frame.f_code.co_name
        if file.startswith(_PACKAGE):
            file = file.removeprefix(_PACKAGE)
            place = place or f"{file}:{frame.f_lineno}"
            own = part_of(file, function)
            part = own if own in ("loss", "evaluation") else part or own
        elif "/lightly/" in file:
            of_lightly = of_lightly or f"lightly/{file.rpartition('/lightly/')[2]}:{frame.f_lineno}"
        else:
            part = part or part_of_libraries(file, function)
        frame = frame.f_back
    if threading.current_thread() is not threading.main_thread():
        part = "backward"  # autograd has a thread for each device
    return part or "other", place or of_lightly or "elsewhere"


def part_of_libraries(file: str, function: str) -> str | None:
    """The part of a step that a function of a library begins, if it does."""
    if function == "_engine_run_backward":
        return "backward"
    if "/torch/optim/" in file:
        return "optimiser"
    return "other" if "lightning" in file else None


def part_of(file: str, function: str) -> str:
    """The part of a step that a function of the package belongs to."""
    if file.startswith("views/"):
        return "views"
    if file.startswith("evaluation/"):
        return "evaluation"
    if file.startswith("objective/") or file == "losses.py" or function == "losses":
        return "loss"
    if file.startswith("methods/") or file in ("models.py", "small_maps.py"):
        return "forward"
    return "other"
