"""Empty environments: environment.yml's pip section, the wheel, and the steps of the Actions file
as written."""

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
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def empty(folder: Path) -> tuple[Path, list]:
    """The Python of an empty virtual environment, and the command that installs into it: uv's, or
    pip's."""
    run(
        [sys.executable, "-m", "venv", *(["--without-pip"] if UV.exists() else []), folder],
        folder.parent,
    )
    python = folder / "bin" / "python"
    assert (
        run(
            [python, "-c", "import importlib.util as u; print(u.find_spec('numpy'))"], folder.parent
        )
        == "None\n"
    )
    pip = (
        [UV, "pip", "install", "--quiet", "--python", python]
        if UV.exists()
        else [python, "-m", "pip", "install"]
    )
    return python, pip


def test_environment_yml_makes_an_environment_in_which_notebook_00_runs(tmp_path):
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    requirements = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    copy = tracked(tmp_path / "checkout")
    python, pip = empty(tmp_path / "venv")
    run([*pip, *(word for line in requirements for word in shlex.split(line))], copy)
    second = [
        line
        for line in (copy / "postBuild").read_text().splitlines()
        if line.startswith("pip install")
    ]
    assert len(second) == 1
    run([*pip, *shlex.split(second[0])[2:]], copy)
    assert str(copy) in run(
        [python, "-c", "import infomax_nb; print(infomax_nb.__file__)"], tmp_path
    )
    execute = [
        python,
        "-m",
        "jupyter",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--output",
        "out.ipynb",
    ]
    run(
        [*execute, "00_loss_derivation.ipynb"],
        copy / "notebooks",
        PATH=f"{python.parent}:{os.environ['PATH']}",
    )
    assert (copy / "notebooks" / "out.ipynb").stat().st_size > 100_000  # with its figures


def test_the_wheel_works_in_an_empty_environment(tmp_path):
    copy = tracked(tmp_path / "checkout")
    python, pip = empty(tmp_path / "venv")
    dist = tmp_path / "dist"
    build = [UV, "build", "--wheel", "--out-dir", dist]
    run(
        build
        if UV.exists()
        else [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", dist, "."],
        copy,
    )
    (wheel,) = dist.glob("*.whl")
    # Its own ranges, met by the versions that are locked: names and numbers without the hashes.
    pinned = [
        line.rstrip(" \\")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    ]
    (tmp_path / "versions.txt").write_text("\n".join(pinned))
    run([*pip, wheel, "-c", tmp_path / "versions.txt"], tmp_path)
    shutil.rmtree(copy)
    modules = sorted(
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in (ROOT / "infomax_nb").rglob("*.py")
        if p.name != "__init__.py"
    )
    assert len(modules) > 25
    place = run(
        [python, "-c", f"import infomax_nb, {', '.join(modules)}; print(infomax_nb.__file__)"],
        tmp_path,
    )
    assert "site-packages" in place
    (tmp_path / "tiny.yaml").write_text(
        "n_classes: 4\nn_train: 64\nbatch_size: 32\nepochs: 1\nproj_dim: 16\n"
    )
    trained = run([python, "-m", "infomax_nb.train", "tiny.yaml"], tmp_path).strip()
    assert Path(trained).is_relative_to(tmp_path / "runs") and (Path(trained) / "model.pt").exists()


def steps() -> list[str]:
    """The shell lines of the Actions file, in their order."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    return [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]


def test_the_actions_file_does_what_make_test_does():
    """Its Pythons are those that the project says it works on; its steps contain all that `make
    test` consists of."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    pythons = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"] and all(isinstance(p, str) for p in pythons)
    makefile = (ROOT / "Makefile").read_text()
    whole = next(line for line in makefile.splitlines() if line.startswith("test:")).split()[1:]
    assert [f"make {target}" for target in ["setup", *whole]] == steps()[: 1 + len(whole)]


@pytest.mark.parametrize("step", [s for s in steps() if s not in ("make unit", "make notebooks")])
def test_each_step_runs_as_written(step, tmp_path):
    """In a copy with the environment at hand; unit tests and notebooks are what `make test` runs
    anyway."""
    copy = tracked(tmp_path / "checkout")
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (copy / name).symlink_to(ROOT / name)
    before = (
        (ROOT / ".venv" / ".ready").stat().st_mtime
        if (ROOT / ".venv" / ".ready").exists()
        else None
    )
    run(["bash", "-e", "-c", step], copy, PYTHONPATH=str(copy))
    if before:
        assert (ROOT / ".venv" / ".ready").stat().st_mtime == before  # nothing was set up again
