"""train.record."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

from infomax_nb.config import TrainConfig
from infomax_nb.device import hardware
from infomax_nb.files import project_root


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(config: TrainConfig | None = None) -> dict:
    """What a result depends on beside the configuration: commit, versions, threads, and the
    hardware that was used.

    `config`: the run's, `resolved`; None for what is computed on the CPU in float32.
    """
    versions = {
        p: version(p)
        for p in ("torch", "torchvision", "pytorch-lightning", "timm", "lightly", "numpy")
    }
    used = hardware(config.device, config.precision) if config else hardware("cpu", "32")
    return {"commit": commit(), "python": platform.python_version(), "versions": versions, **used}


def commit() -> str:
    """The checkout's commit, `-modified` where it has changes; an empty text without git."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-modified"]
    try:
        return subprocess.run(
            describe, cwd=project_root(), capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:  # no git on the PATH
        return ""
