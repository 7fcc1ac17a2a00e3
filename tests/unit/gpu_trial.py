"""A trial of `make gpu` on the CPU, in a copy of the checkout."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from checkout import environment

METHODS = {"infomax", "simclr", "vicreg", "barlow_twins", "byol", "dino", "supervised"}


def digests(folder: Path) -> dict[str, str]:
    """The content of each file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trial(copy: Path, minutes: float, *more: str) -> subprocess.CompletedProcess:
    """What `make gpu DEVICE=cpu` starts, where there are no data."""
    command = [sys.executable, "-m", "pipeline.gpu", "--device", "cpu", "--minutes", str(minutes)]
    own = environment(copy, CUDA_VISIBLE_DEVICES="")
    nothing = ["--data-root", "nowhere", *more]
    return subprocess.run([*command, *nothing], cwd=copy, env=own, capture_output=True, text=True)


def said(copy: Path) -> dict:
    """What a trial in this copy has kept of itself."""
    path = copy / "build/gpu/trial/reports/benchmarks/cpu_session.json"
    return json.loads(path.read_text(encoding="utf-8"))
