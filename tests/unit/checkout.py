"""A copy of what a sweep needs, in which tests start, kill and damage sweeps.

The checkout itself stays untouched.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SMALL = {"n_classes": 10, "n_train": 256, "batch_size": 64, "proj_dim": 16, "epochs": 3}


def checkout(folder: Path) -> Path:
    """Copy the package and the pipeline, without results, into `folder`."""
    no_caches = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("infomax_nb", "pipeline", "profiles", "params", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=no_caches)
    (folder / "reports").mkdir()
    shutil.copy(ROOT / "reports" / "paper_table1.csv", folder / "reports")
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def tracked(folder: Path) -> Path:
    """A copy of the checkout in `folder`: the files that git tracks, and those that it would."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def sweep_file(folder: Path, name: str, **values) -> Path:
    """A parameter file of small runs, one thread and seconds each."""
    path = folder / name
    path.write_text(yaml.safe_dump({**SMALL, **values}, sort_keys=False))
    return path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """One thread, this Python's tools, and the copy's package first."""
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    return {**os.environ, **own, **more}


def snakemake(
    target: str, *flags: str, profile: str = "local", config: dict | None = None
) -> list[str]:
    """The command that a person types in a checkout."""
    values = {"threads": 1, **(config or {})}
    given = [f"{name}={value}" for name, value in values.items()]
    cores = ["--cores", "2"] if profile == "local" else []
    settings = ["--profile", f"profiles/{profile}", *cores]
    return ["snakemake", target, *settings, *flags, "--config", *given]


def run(folder: Path, command: list[str], **more: str) -> subprocess.CompletedProcess:
    """The command's result, in `folder`."""
    own = environment(folder, **more)
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
