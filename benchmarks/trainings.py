"""Training runs in processes of their own, as a person starts them, and the seconds that their
records tell.

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


class Training:
    """A run that has been started; as a context it is ended, if it has not come to its end.

    code: the folder of the package; `own`: variables of the environment, where nothing else is said
    about OpenMP.
    first: what Python does before it imports the package.
    """

    def __init__(
        self,
        epochs: int,
        code: Path | None = None,
        own: Mapping[str, str] | None = None,
        first: str = "",
        **parameters,
    ):
        code = code or project_root()
        self.folder = tempfile.TemporaryDirectory()
        given = {"epochs": epochs, "eval_every": epochs, "runs_dir": self.folder.name, **parameters}
        words = [word for name, value in given.items() for word in ("-p", name, str(value))]
        start = (
            ["-c", f"{first}; from infomax_nb.train import main; main()"]
            if first
            else ["-m", "infomax_nb.train"]
        )
        others = {name: value for name, value in os.environ.items() if "OMP_" not in name}
        self.process = subprocess.Popen(
            [sys.executable, *start, str(code / "params" / "sweep.yaml"), *words],
            cwd=code,
            env={**others, "PYTHONPATH": str(code), **(own or {})},
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
        """What the run recorded when it ended; `subprocess.TimeoutExpired` after `limit`
        seconds."""
        said = self.process.communicate(timeout=limit)[1]
        if self.process.returncode:
            sys.exit(f"A run ended with {self.process.returncode}: {said.strip()}")
        (path,) = Path(self.folder.name).glob("*/record.json")
        return json.loads(path.read_text())


def one_thread() -> dict[str, str]:
    """The environment of a run that takes one core."""
    return {"OMP_NUM_THREADS": "1"}
