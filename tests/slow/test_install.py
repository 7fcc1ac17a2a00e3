"""Empty environments: environment.yml's pip section, the wheel, the steps of the Actions file."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import tracked

ROOT = Path(__file__).parents[2]
UV = ROOT / ".tools" / "bin" / "uv"


def run(command: list, cwd: Path, **environment: str) -> str:
    """What the command prints; fails with its output."""
    own = ("PYTHON", "VIRTUAL_ENV")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    options = {"env": inherited | environment, "capture_output": True, "text": True}
    done = subprocess.run(command, cwd=cwd, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def empty(folder: Path) -> tuple[Path, list]:
    """The Python of an empty virtual environment, and the command that installs into it."""
    without_pip = ["--without-pip"] if UV.exists() else []
    run([sys.executable, "-m", "venv", *without_pip, folder], folder.parent)
    python = folder / "bin" / "python"
    find_numpy = "import importlib.util as u; print(u.find_spec('numpy'))"
    assert run([python, "-c", find_numpy], folder.parent) == "None\n"
    if UV.exists():
        return python, [UV, "pip", "install", "--quiet", "--python", python]
    return python, [python, "-m", "pip", "install"]


def test_environment_yml_makes_an_environment_in_which_notebook_00_runs(tmp_path):
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    requirements = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    copy = tracked(tmp_path / "checkout")
    python, pip = empty(tmp_path / "venv")
    run([*pip, *(word for line in requirements for word in shlex.split(line))], copy)
    lines = (copy / "postBuild").read_text().splitlines()
    (second,) = [line for line in lines if line.startswith("pip install")]
    run([*pip, *shlex.split(second)[2:]], copy)
    place = run([python, "-c", "import infomax_nb; print(infomax_nb.__file__)"], tmp_path)
    assert str(copy) in place
    execute = [python, "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute"]
    command = [*execute, "--output", "out.ipynb", "00_loss_derivation.ipynb"]
    run(command, copy / "notebooks", PATH=f"{python.parent}:{os.environ['PATH']}")
    assert (copy / "notebooks" / "out.ipynb").stat().st_size > 100_000  # with its figures


def built_wheel(copy: Path, dist: Path) -> Path:
    """The wheel of a copy of the checkout."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", dist, "."]
    if UV.exists():
        build = [UV, "build", "--wheel", "--out-dir", dist]
    run(build, copy)
    (wheel,) = dist.glob("*.whl")
    return wheel


def locked_versions() -> str:
    """Names and numbers of the lock, without the hashes."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return "\n".join(line.rstrip(" \\") for line in lines if "==" in line)


def test_the_wheel_works_in_an_empty_environment(tmp_path):
    """Its own ranges of versions are met by those that are locked."""
    copy = tracked(tmp_path / "checkout")
    python, pip = empty(tmp_path / "venv")
    wheel = built_wheel(copy, tmp_path / "dist")
    (tmp_path / "versions.txt").write_text(locked_versions())
    run([*pip, wheel, "-c", tmp_path / "versions.txt"], tmp_path)
    shutil.rmtree(copy)
    files = [path for path in (ROOT / "infomax_nb").rglob("*.py") if path.name != "__init__.py"]
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    assert len(modules) > 25
    imports = f"import infomax_nb, {', '.join(modules)}; print(infomax_nb.__file__)"
    assert "site-packages" in run([python, "-c", imports], tmp_path)
    tiny = {"n_classes": 4, "n_train": 64, "batch_size": 32, "epochs": 1, "proj_dim": 16}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    trained = Path(run([python, "-m", "infomax_nb.train", "tiny.yaml"], tmp_path).strip())
    assert trained.is_relative_to(tmp_path / "runs")
    assert (trained / "model.pt").exists()


ACTIONS = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())


def steps() -> list[str]:
    """The shell lines of the Actions file, in their order."""
    every = [step for job in ACTIONS["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in every if "run" in step]


def test_the_actions_file_takes_the_pythons_that_the_project_works_on():
    pythons = ACTIONS["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]  # as text: 3.10 would be 3.1


def test_the_actions_file_does_what_make_test_does():
    """Its steps contain all that `make test` consists of."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    parts = next(line for line in lines if line.startswith("test:")).split()[1:]
    assert [f"make {target}" for target in ["setup", *parts]] == steps()[: 1 + len(parts)]


@pytest.mark.parametrize("step", [s for s in steps() if s not in ("make unit", "make notebooks")])
def test_each_step_runs_as_written(step, tmp_path):
    """With the environment at hand; unit tests and notebooks are what `make test` runs anyway."""
    copy = tracked(tmp_path / "checkout")
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (copy / name).symlink_to(ROOT / name)
    ready = ROOT / ".venv" / ".ready"
    before = ready.stat().st_mtime if ready.exists() else None
    run(["bash", "-e", "-c", step], copy, PYTHONPATH=str(copy))
    if before:
        assert ready.stat().st_mtime == before  # nothing was set up again
