"""Training runs in processes of their own, as a person starts them, and what their records tell.

A run is the one of `params/sweep.yaml` with what is given: small ResNet, 128 images a step, eight
views, 32 pixels.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infomax_nb.files import project_root

STEPS = 18  # of an epoch: 2,400 images
IMAGES = 128 * STEPS
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # the environment of a run that takes one core


class Training:
    """A run that has been started; as a context it is ended, if it has not come to its end.

    Args:
        epochs: how long it trains.
        code: the folder of the package; None for this checkout's.
        variables: of the environment, where nothing else is said about OpenMP.
        first: what Python does before it imports the package.
        parameters: fields of `TrainConfig`.
    """

    def __init__(
        self,
        epochs: int,
        code: Path | None = None,
        variables: Mapping[str, str] | None = None,
        first: str = "",
        **parameters,
    ):
        code = code or project_root()
        self.folder = tempfile.TemporaryDirectory()
        given = {"epochs": epochs, "eval_every": epochs, "runs_dir": self.folder.name, **parameters}
        words = [word for name, value in given.items() for word in ("-p", name, str(value))]
        start = ["-m", "infomax_nb.train"]
        if first:
            start = ["-c", f"{first}; from infomax_nb.train.__main__ import main; main()"]
        others = {name: value for name, value in os.environ.items() if "OMP_" not in name}
        self.process = subprocess.Popen(
            [sys.executable, *start, str(code / "params" / "sweep.yaml"), *words],
            cwd=code,
            env={**others, "PYTHONPATH": str(code), **(variables or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.folder.cleanup()

    def record(self, limit: float | None = None) -> dict:
        """What the run recorded when it ended.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `limit` seconds.
        """
        _, errors = self.process.communicate(timeout=limit)
        if self.process.returncode:
            sys.exit(f"A run ended with {self.process.returncode}: {errors.strip()}")
        (path,) = Path(self.folder.name).glob("*/record.json")
        return json.loads(path.read_bytes())
