"""The fast profile's training run, what evaluation adds to an epoch for every method, and what
imports cost."""

import subprocess
import sys
import tempfile
import time

from common import publish

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS
from infomax_nb.train.fitting import fit

IMPORTS = "import infomax_nb.plots; from infomax_nb.config import TrainConfig; from infomax_nb.train import fit"


def main() -> None:
    """Seconds, warm."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            config = TrainConfig(
                method=method, runs_dir=folder, epochs=8 if method == "infomax" else 2
            )
            start = time.perf_counter()
            record = fit(config).record
            whole = time.perf_counter() - start
            share = record["evaluation_seconds"] / record["train_seconds"]
            row = {"what": f"{method}, fast profile", "epochs": config.epochs, "seconds": whole}
            row |= {
                "train_s": record["train_seconds"],
                "evaluation_s": record["evaluation_seconds"],
            }
            rows.append(row | {"evaluation_over_train": share})
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        warm = time.perf_counter() - start
    publish("report", [*rows, {"what": "what a notebook imports, warm", "seconds": warm}])


if __name__ == "__main__":
    main()
