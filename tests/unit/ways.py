"""How each command of README and docs is tried: with which data, and what makes it short.

What stands in the text stays; more is added to its end. A command that is not run here has a
reason.
"""

import re
from typing import NamedTuple

from texts import Command

SHORT = "-p n_train 64 -p epochs 1 -p batch_size 32"
TRIAL = "EPOCHS=1 N_TRAIN=64 BATCH_SIZE=32"


class Way(NamedTuple):
    """How commands that hold a pattern are tried.

    `more` is added to the line; `data` is the kind of folder that stands for DIR; `says` is what
    its output must hold, by a pattern; `fails` means that it must end with an error. `reason` says
    why the commands are not run.
    """

    pattern: str
    more: str = ""
    data: str = ""
    says: str = ""
    fails: bool = False
    reason: str = ""


WAYS = [
    # What would start these tests again, or takes days, a GPU, a cluster or another machine.
    Way(r"^make (test|test-all)\b|^\.venv/bin/(pytest|ruff)", reason="runs these very tests"),
    Way(r"^make bench", reason="hours; tests/unit/test_benchmarks.py times little of each"),
    Way(r"^make setup TORCH=", reason="needs uv's back-ends: tests/slow/test_install.py"),
    Way(r"^make gpu|pipeline\.gpu|pipeline/gpu", reason="needs a GPU: tests/unit/test_gpu.py"),
    Way(r"\bmake evidence|\.\./evidence|^git tag", reason="days: tests/unit/test_evidence.py"),
    Way(r"imagenette", reason="copies downloaded sets: tests/unit/test_evidence.py reads one"),
    Way(r"profiles/slurm|^srun", reason="needs SLURM: tests/slow/test_slurm.py"),
    Way(
        r"masked_photos|pipeline\.objects --data-root",
        reason="photographs with masks do not come along: tests/unit/test_objects.py makes some",
    ),
    Way(r"\b(NAME|NN_name)\b", reason="for a method, data set or notebook yet to be written"),
    # What is run.
    Way(r"^make report", says="reports/html/index.html"),
    Way(r"^make setup$"),
    Way(r"^make plan", says=r"κ = "),
    Way(
        r"^make paper|^make sweep .*DATA_ROOT=DIR", data="empty", fails=True, says=r"cifar10|CIFAR"
    ),
    Way(r"^make table1-cifar10", f"{TRIAL} RUNS_DIR=trial", "cifar10", r"table1_cifar10\S*\.csv"),
    Way(r"^make sweep", f"{TRIAL} RUNS_DIR=trial", says="5 runs"),
    Way(r"03_ablate_kappa.*fashion_mnist", SHORT, "fashion_mnist"),
    Way(r"03_ablate_kappa", SHORT),
    Way(r"pipeline\.objects --recompute", says="Focus on main objects"),
    Way(
        r"evidence\.verdicts( +#|$)|evidence\.reference",
        reason="writes reports/, or needs the plan's data: tests/unit/test_plan_table.py",
    ),
    Way(r"evidence\.verdicts", says="Too large a κ"),
    Way(r"photos DIR", data="photographs"),
    Way(r"dataset folder", "-p epochs 1 -p batch_size 16", "images"),
    Way(r"01_train.*params/paper", reason="the paper's scale: tests/unit/test_paper.py"),
    Way(r"01_train", SHORT),
    Way(r"-m infomax_nb\.train", SHORT, says=r"/runs/"),
    Way(r"^grep epoch out\.log", says="epoch 1 of 1"),
    Way(r"pipeline\.track", says="tensorboard"),
    Way(r"infomax-nb --help", says="--?p"),
]


def way_of(command: Command) -> Way:
    """The first way whose pattern the command holds.

    Raises:
        LookupError: there is none; a command that is new in the texts needs one.
    """
    for way in WAYS:
        if re.search(way.pattern, command.line):
            return way
    raise LookupError(f"{command.page} has a command that nothing tries: {command.line}")
