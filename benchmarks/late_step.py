"""A training step of ours against one of SimCLR, as late training takes them: claim 5's equal time.

Each is trained by the command that trains any run, with the network, precision and batch size of
`params/evidence/a.yaml`, on one thread; drawn glyphs of 32 pixels stand in for CIFAR-10's images.
"""

import argparse

from common import publish
from engine import measured

from infomax_nb.config import TrainConfig
from infomax_nb.files import project_root
from pipeline.evidence.places import Places
from pipeline.evidence.runs import planned

RUNS = {"ours": "kappa10_seed0", "SimCLR": "simclr_seed0"}  # of the plan's line a
SHARED = ("method", "backbone", "stem", "batch_size", "precision")


def parameters_of(config: TrainConfig) -> dict[str, str]:
    """What a step's time depends on, for a command line."""
    return {name: str(getattr(config, name)) for name in SHARED}


def main() -> None:
    """Seconds of a step of both, and SimCLR's as a share of ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    configs = {run.label: run.config for run in planned(Places()) if run.line == "a"}
    ways = {name: (project_root(), parameters_of(configs[label])) for name, label in RUNS.items()}
    precision = configs[RUNS["ours"]].precision
    rows = measured(ways, given.rounds)
    publish("late_step", [{**row, "precision": precision} for row in rows])


if __name__ == "__main__":
    main()
