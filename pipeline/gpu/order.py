"""What is done, in which order: correctness first, then speeds, rows, contrasts and tables."""

from dataclasses import dataclass

METHODS = ("infomax", "simclr", "supervised", "vicreg", "barlow_twins", "byol", "dino")
# Of the whole time, what a kind of parts may take together; those that are not named: all of it.
SHARES = {"checks": 0.25, "speed": 0.15}
TRIAL_SHARES = {"checks": 0.5, "speed": 0.5}


@dataclass(frozen=True)
class Part:
    """Something to do.

    Args:
        name: how sentences call it.
        kind: checks, speed, row, contrasts or table.
        what: the measurement, the parameter file's stem, or the table's data set.
        least: seconds; with less left it is not begun, as nothing would come of it.
        dataset: the images that it needs; empty if none.
    """

    name: str
    kind: str
    what: str
    least: float = 0.0
    dataset: str = ""


def row(data: str, dataset: str, method: str, network: str = "resnet18") -> Part:
    """A row of Table 1."""
    name = f"{data}, {method}" if network == "resnet18" else f"{data}, {method}, {network}"
    return Part(name, "row", f"{dataset}_{method}_{network}", 45, dataset)


ORDER = [
    Part("checks against the CPU", "checks", "checks", 30),
    Part("two runs side by side", "speed", "side_by_side", 30),
    Part("throughput", "speed", "throughput", 30),
    Part("parts of a step", "speed", "step", 15),
    Part("loss beside peers", "speed", "loss", 30),
    Part("views beside peers", "speed", "views", 30),
    Part("an epoch beside lightly's stock loop", "speed", "epoch", 30),
    *(row("CIFAR-10", "cifar10", method) for method in METHODS),
    *(row("STL-10", "stl10", method) for method in METHODS),
    row("STL-10", "stl10", "infomax", "vit_tiny"),
    Part("contrasts of docs/plan.md", "contrasts", "contrasts", 60),
    Part("Table 1, CIFAR-10", "table", "CIFAR-10"),
    Part("Table 1, STL-10", "table", "STL-10"),
]


def parts(kind: str) -> list[Part]:
    """The parts of a kind, in order."""
    return [part for part in ORDER if part.kind == kind]
