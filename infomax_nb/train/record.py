"""The entries of a run's record that say when and where it was trained."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

from infomax_nb.config import TrainConfig
from infomax_nb.device import hardware
from infomax_nb.files import project_root

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "lightly", "numpy")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def session(config: TrainConfig) -> dict:
    """When and where a run begins or goes on: `started`, and its `environment`."""
    return {"started": now(), **environment(config)}


def environment(config: TrainConfig | None = None) -> dict:
    """What a result depends on besides its configuration: commit, versions, threads, hardware.

    Args:
        config: the run's, `resolved`; None for a computation on the CPU in float32.
    """
    used = hardware(config.device, config.precision) if config else hardware("cpu", "32")
    versions = {name: version(name) for name in LIBRARIES}
    return {"commit": commit(), "python": platform.python_version(), "versions": versions, **used}


def commit() -> str:
    """The checkout's commit, with `-modified` if there are changes.

    Without git or its history it is what INFOMAX_COMMIT says: of a checkout that was copied. A
    repository around it is not its own.
    """
    said = os.environ.get("INFOMAX_COMMIT", "")
    root = project_root()
    if not (root / ".git").exists() or not (root / "infomax_nb").is_dir():
        return said
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-modified"]
    try:
        done = subprocess.run(describe, cwd=root, capture_output=True, text=True)
    except OSError:  # no git on the PATH
        return said
    return done.stdout.strip() or said
