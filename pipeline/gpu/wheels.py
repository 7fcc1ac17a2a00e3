"""Find out which libraries a machine lacks, and get them as wheels of the locked versions."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tqdm import tqdm

from infomax_nb.errors import ParameterError, not_allowed
from infomax_nb.files import project_root

# What a machine with a GPU has. What these need is there, too.
THERE = {"torch", "torchvision", "triton", "pytorch-lightning"}
WITHOUT = {"grad-cam", "ipykernel", "ipywidgets", "scikit-image", "seaborn"}  # notebooks need them
ENTRY = re.compile(
    r"(?m)^([A-Za-z0-9_.-]+)==([^ ;\\]+)(?: ; ([^\\\n]+?))? \\\n((?:    --hash.*\n)+)"
)


@dataclass(frozen=True)
class Machine:
    """The machine that wheels are for.

    Args:
        python: version of its Python, such as `3.12`.
        kind: of its processor, such as `x86_64`.
        glibc: version of its C library, such as `2.28`.

    Raises:
        ParameterError: a version does not have this form.
    """

    python: str
    kind: str
    glibc: str

    def __post_init__(self) -> None:
        versions = {"--python": (self.python, "3.12"), "--glibc": (self.glibc, "2.28")}
        for name, (version, example) in versions.items():
            if not re.fullmatch(r"[0-9]+\.[0-9]+", version):
                raise not_allowed(name, version, f"two numbers, such as {example}")

    def markers(self) -> dict[str, str]:
        """What a requirement may depend on."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.kind,
            "os_name": "posix",
            "extra": "",
        }

    def platforms(self) -> list[str]:
        """The platforms whose wheels run there, as pip calls them, the newest first."""
        newest = int(self.glibc.partition(".")[2])
        tags = [f"manylinux_2_{minor}_{self.kind}" for minor in range(newest, 4, -1)]
        return [*tags, *(f"manylinux{year}_{self.kind}" for year in (2014, 2010, 1))]


@dataclass(frozen=True)
class Locked:
    """A library in `requirements.lock`.

    Args:
        name: as pip spells it.
        version: the locked one.
        lines: what pip reads, with the check sums.
    """

    name: str
    version: str
    lines: str


def locked(machine: Machine) -> dict[str, Locked]:
    """The libraries of the lock for a machine, by name."""
    text = (project_root() / "requirements.lock").read_text(encoding="utf-8")
    found: dict[str, Locked] = {}
    for name, version, marker, hashes in ENTRY.findall(text):
        if not marker or Marker(marker).evaluate(machine.markers()):
            key = canonicalize_name(name)
            lines = f"{name}=={version} \\\n{hashes}".rstrip().rstrip("\\")
            found[key] = Locked(name, version, lines + "\n")
    return found


def needed(machine: Machine, there: set[str], without: set[str]) -> list[Locked]:
    """The locked libraries that the package needs and the machine lacks, in order of name.

    Args:
        machine: where they are needed.
        there: names of what it has, with all that these need.
        without: names of what is left out, with what these alone need.

    Raises:
        ParameterError: the lock lacks one.
    """
    lock = locked(machine)
    skipped = {canonicalize_name(name) for name in there | without}
    waiting = [Requirement(text) for text in _project()["dependencies"]]
    names: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in names | skipped or not _applies(requirement, machine):
            continue
        if name not in lock:
            raise ParameterError(f"{name} is not in requirements.lock: run make lock.")
        names.add(name)
        waiting += _needs(name)
    return [lock[name] for name in sorted(names)]


def _applies(requirement: Requirement, machine: Machine) -> bool:
    return not requirement.marker or requirement.marker.evaluate(machine.markers())


def _needs(name: str) -> list[Requirement]:
    """What a library needs, by what is installed here; nothing of one that is not needed here."""
    try:
        texts = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Requirement(text) for text in texts]


@cache
def _project() -> dict:
    return tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def download(libraries: list[Locked], machine: Machine, folder: Path, pip: str = "") -> None:
    """Get a wheel of each library; one that is published as source alone is built here.

    Args:
        libraries: what is wanted.
        machine: where it is to run.
        folder: where the wheels come.
        pip: a Python that has pip.

    Raises:
        ParameterError: one cannot be had, or there is no pip.
    """
    command = [pip or _python_with_pip(), "-m", "pip", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={machine.python}"]
    target += [f"--platform={platform}" for platform in machine.platforms()]
    for library in tqdm(libraries, "wheels", disable=not sys.stderr.isatty(), leave=False):
        wanted = folder / "wanted.txt"
        wanted.write_text(library.lines, encoding="utf-8")
        same = ["--no-deps", "--require-hashes", "--quiet", "-r", str(wanted)]
        done = _run([*command, "download", *same, *target, "-d", str(folder)])
        if done.returncode:
            done = _run([*command, "wheel", *same, "-w", str(folder)])
        wanted.unlink()
        if done.returncode:
            said = (done.stderr.strip() or "pip says nothing").splitlines()[-1]
            raise ParameterError(f"{library.name} {library.version} cannot be had: {said}")
    compiled_here = [path.name for path in folder.glob("*-linux_*.whl")]
    if compiled_here:
        problem = "was compiled for this machine, not for the other one"
        raise ParameterError(f"{compiled_here[0]} {problem}: name it with --there or --without.")


def _run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True)


def _python_with_pip() -> str:
    if importlib.util.find_spec("pip"):
        return sys.executable
    python = project_root() / ".tools" / "bin" / "python"
    if not python.exists():
        raise ParameterError("pip is missing here: name a Python that has it with --pip.")
    return str(python)


def write_own(folder: Path) -> Path:
    """Write the project's own wheel: its name and version alone, as the code is the checkout."""
    project = _project()
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    path = folder / f"{stem}-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    kind = "Wheel-Version: 1.0\nGenerator: pipeline.gpu\nRoot-Is-Purelib: true\n"
    files = {"METADATA": about, "WHEEL": f"{kind}Tag: py3-none-any\n"}
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(f"{stem}.dist-info/{name}", text)
        record = "".join(f"{stem}.dist-info/{name},,\n" for name in (*files, "RECORD"))
        wheel.writestr(f"{stem}.dist-info/RECORD", record)
    return path
