"""The fast profile's run, what evaluation adds for every method, and what imports cost."""

import subprocess
import sys
import tempfile
import time

from common import publish

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS
from infomax_nb.train.fitting import fit

IMPORTS = [
    "import infomax_nb.plots",
    "from infomax_nb.config import TrainConfig",
    "from infomax_nb.train import fit",
]


def run_seconds(method: str, folder: str) -> dict:
    """A row for a short run of a method, for the default method as long as the fast profile's."""
    epochs = 8 if method == "infomax" else 2
    start = time.perf_counter()
    record = fit(TrainConfig(method=method, runs_dir=folder, epochs=epochs)).record
    whole = time.perf_counter() - start
    training = record["train_seconds"]
    evaluation = record["evaluation_seconds"]
    what = {"what": f"{method}, fast profile", "epochs": epochs, "seconds": whole}
    parts = {"train_s": training, "evaluation_s": evaluation}
    return {**what, **parts, "evaluation_over_train": evaluation / training}


def import_seconds() -> float:
    """Seconds in which a process imports what a notebook does."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "; ".join(IMPORTS)], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Seconds, warm."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [run_seconds(method, folder) for method in METHODS]
    import_seconds()
    warm = {"what": "what a notebook imports, warm", "seconds": import_seconds()}
    publish("report", [*rows, warm])


if __name__ == "__main__":
    main()
