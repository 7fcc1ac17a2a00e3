"""Empty environments: environment.yml's pip section, the wheel, the Actions file, no CUDA."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
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
WITHOUT_CUDA = "make setup TORCH=cpu"
# What `make test` and the slow tests of the site run anyway, and what takes most of an hour.
ELSEWHERE = ("make unit", "make notebooks", "make report", "make lowest", WITHOUT_CUDA)


def steps(job: str | None = None) -> list[str]:
    """The shell lines of the Actions file, or of one job, each once, in their order."""
    jobs = [ACTIONS["jobs"][job]] if job else ACTIONS["jobs"].values()
    lines = [step["run"] for each in jobs for step in each["steps"] if "run" in step]
    return list(dict.fromkeys(lines))


def test_the_actions_file_takes_the_pythons_that_the_project_works_on():
    pythons = ACTIONS["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]  # as text: 3.10 would be 3.1


def test_the_actions_file_does_what_make_test_does():
    """The steps of its first job contain all that `make test` consists of."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    parts = next(line for line in lines if line.startswith("test:")).split()[1:]
    assert [f"make {target}" for target in ["setup", *parts]] == steps("tests")[: 1 + len(parts)]


def test_the_actions_file_tries_the_lowest_python_with_the_lowest_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = ACTIONS["jobs"]["lowest"]["steps"][1]["with"]["python-version"]
    assert project["requires-python"] == f">={python}"
    assert steps("lowest") == ["make lowest"]


def test_the_actions_file_keeps_the_site():
    names = [step.get("uses", "").partition("@")[0] for step in ACTIONS["jobs"]["site"]["steps"]]
    assert names[-1] == "actions/upload-artifact"
    assert ACTIONS["jobs"]["site"]["steps"][-1]["with"]["path"] == "reports/html"
    assert steps("site") == ["make report"]


@pytest.mark.parametrize("step", [step for step in steps() if step not in ELSEWHERE])
def test_each_step_runs_as_written(step, tmp_path):
    """With the environment at hand."""
    copy = tracked(tmp_path / "checkout")
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (copy / name).symlink_to(ROOT / name)
    ready = ROOT / ".venv" / ".ready"
    before = ready.stat().st_mtime if ready.exists() else None
    run(["bash", "-e", "-c", step], copy, PYTHONPATH=str(copy))
    if before:
        assert ready.stat().st_mtime == before  # nothing was set up again


# --- Without CUDA -----------------------------------------------------------------------------

CUDA = re.compile(r"cuda|nvidia|triton|cudnn|nccl", re.IGNORECASE)


def set_up_without_cuda(copy: Path) -> dict[str, list[str]]:
    """What `make setup TORCH=cpu` would call: the filter of the lock, and uv with two lists."""
    (copy / ".tools").symlink_to(ROOT / ".tools")
    lines = run(["make", "-n", *WITHOUT_CUDA.split()[1:]], copy).splitlines()
    (filtered,) = [line for line in lines if line.startswith("awk ")]
    (copy / ".venv").mkdir()
    run(["bash", "-e", "-c", filtered], copy)
    (others,) = [line for line in lines if " pip sync " in line]
    (torch,) = [line for line in lines if " pip install " in line and "--torch-backend" in line]
    return {"others": shlex.split(others), "torch": shlex.split(torch)}


def resolved(command: list[str], copy: Path, python: Path) -> subprocess.CompletedProcess:
    """What the command would install into an empty environment; nothing is installed."""
    place = command.index("--python") + 1
    words = [python if k == place else word for k, word in enumerate(command)]
    words.remove("--quiet")
    options = {"cwd": copy, "capture_output": True, "text": True}
    return subprocess.run([*words, "--dry-run"], **options)


@pytest.mark.skipif(not UV.exists(), reason="uv is not at hand: make setup")
@pytest.mark.parametrize("part", ["others", "torch"])
def test_a_set_up_without_cuda_asks_for_nothing_of_cuda(part, tmp_path):
    """By a resolution of what it asks for, in two parts: the lock's, and torch with its needs."""
    copy = tracked(tmp_path / "checkout")
    command = set_up_without_cuda(copy)[part]
    python, _ = empty(tmp_path / "venv")
    done = resolved(command, copy, python)
    if done.returncode and "Failed to fetch" in done.stderr:
        pytest.skip("what uv takes torch without CUDA from cannot be reached from here")
    assert done.returncode == 0, done.stderr
    wanted = [line.split()[1] for line in done.stderr.splitlines() if line.startswith(" + ")]
    assert len(wanted) > (100 if part == "others" else 1)
    assert not [name for name in wanted if CUDA.search(name)]
    torches = {name.partition("==")[0] for name in wanted} & {"torch", "torchvision"}
    assert torches == (set() if part == "others" else {"torch", "torchvision"})
