"""KeOps, whose kernels a C++ compiler makes for each formula: minutes on a busy machine."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPARED = """
import torch
from loss import candidate, differences, keep_kernels
keep_kernels()
x = torch.randn(2, 24, 8, requires_grad=True)
print(differences({"ours": candidate("ours"), "KeOps": candidate("KeOps")}, x)["KeOps"])
"""


def test_keops_loss_is_the_same_function():
    if not importlib.util.find_spec("pykeops"):
        pytest.skip("pykeops is not installed: make setup")
    if not shutil.which("g++"):
        pytest.skip("there is no C++ compiler, without which KeOps compiles nothing")
    command = [sys.executable, "-c", COMPARED]
    options = {"capture_output": True, "text": True, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    done = subprocess.run(command, cwd=ROOT / "benchmarks", **options)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 1e-6
    assert "Exception" not in done.stderr
