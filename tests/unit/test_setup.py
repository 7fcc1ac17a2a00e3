"""What `make setup` asks the installer for: a script that notes its words stands in for uv."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("Makefile", "requirements.lock", "pyproject.toml")
# Knows two back-ends, and cannot reach what the file `unreachable` names.
STAND_IN = """#!/usr/bin/env python3
import json, pathlib, sys
words = sys.argv[1:]
with open("calls", "a") as calls:
    calls.write(json.dumps(words) + "\\n")
if "--torch-backend" in words:
    sys.exit(words[words.index("--torch-backend") + 1] not in ("cpu", "cu130"))
if words[0] == "venv":
    pathlib.Path(words[-1]).mkdir(exist_ok=True)
missing = pathlib.Path("unreachable")
sys.exit(missing.exists() and missing.read_text() in words)
"""
TORCH = re.compile(r"(?m)^(torch|torchvision)==(\S+)")
CUDA = re.compile(r"cuda|nvidia|triton|cudnn|nccl", re.IGNORECASE)
NAME = re.compile(r"(?m)^([A-Za-z0-9_.-]+)==")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A checkout of what the set-up reads, with the stand-in for uv."""
    for name in FILES:
        (tmp_path / name).write_text((ROOT / name).read_text())
    uv = tmp_path / ".tools/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(STAND_IN)
    uv.chmod(0o755)
    return tmp_path


def setup(folder: Path, *words: str, code: int = 0) -> list[list[str]]:
    """What uv is called with, without the check of the word, when `make setup` ends with `code`."""
    ours = ("TORCH", "LOWEST", "MAKE", "UV")
    variables = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    options = {"cwd": folder, "env": variables, "capture_output": True, "text": True}
    done = subprocess.run(["make", "-s", "setup", *words], **options)
    assert done.returncode == code, done.stdout + done.stderr
    (folder / "said").write_text(done.stdout)
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return [words for words in map(json.loads, lines) if "-" not in words]


def named(calls: list[list[str]], *words: str) -> list[list[str]]:
    """The calls that begin with these words."""
    return [call for call in calls if call[: len(words)] == list(words)]


def test_nothing_said_installs_the_lock_with_its_hashes(folder):
    calls = setup(folder)
    (sync,) = named(calls, "pip", "sync")
    assert "--require-hashes" in sync
    assert sync[-1] == "requirements.lock"
    assert not [call for call in calls if "--torch-backend" in call or "uninstall" in call]
    (project,) = named(calls, "pip", "install")
    assert project[-2:] == ["--editable", "."]
    assert setup(folder) == []  # it is ready


def test_without_cuda_everything_else_comes_from_the_lock(folder):
    calls = setup(folder, "TORCH=cpu")
    (sync,) = named(calls, "pip", "sync")
    assert "--require-hashes" in sync
    others = (folder / sync[-1]).read_text()
    assert not [name for name in NAME.findall(others) if CUDA.search(name)]
    lock = (ROOT / "requirements.lock").read_text()
    left_out = set(NAME.findall(lock)) - set(NAME.findall(others))
    assert {name for name in left_out if not CUDA.search(name)} == {"torch", "torchvision"}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", others)[1:]:
        assert entry in lock  # with all its hashes
        assert "--hash=sha256:" in entry


def test_without_cuda_torch_is_of_the_locks_version_from_uvs_back_end(folder):
    calls = setup(folder, "TORCH=cpu")
    (torch,) = [call for call in calls if "--torch-backend" in call]
    assert torch[torch.index("--torch-backend") + 1] == "cpu"
    versions = TORCH.findall((ROOT / "requirements.lock").read_text())
    assert torch[-2:] == [f"{name}=={version}" for name, version in versions]
    assert not [word for word in torch if CUDA.search(word)]


def test_other_back_ends_go_to_uv_as_they_are(folder):
    (torch,) = [call for call in setup(folder, "TORCH=cu130") if "--torch-backend" in call]
    assert torch[torch.index("--torch-backend") + 1] == "cu130"


def test_the_environment_keeps_the_word(folder):
    setup(folder, "TORCH=cpu")
    assert setup(folder) == []
    (folder / "requirements.lock").write_text((ROOT / "requirements.lock").read_text() + "\n")
    os.utime(folder / "requirements.lock", (2e9, 2e9))
    again = setup(folder)
    assert [call for call in again if "--torch-backend" in call]
    assert not [call for call in again if "uninstall" in call]


def test_another_word_installs_anew_and_the_old_torch_goes_first(folder):
    setup(folder, "TORCH=cpu")
    calls = setup(folder, "TORCH=lock")
    verbs = [call[1] for call in calls if call[0] == "pip"]
    assert verbs == ["uninstall", "sync", "install"]
    assert named(calls, "pip", "uninstall")[0][-2:] == ["torch", "torchvision"]
    assert named(calls, "pip", "sync")[0][-1] == "requirements.lock"
    assert setup(folder) == setup(folder, "TORCH=lock") == []


def test_a_wrong_word_is_refused_in_a_sentence_and_changes_nothing(folder):
    setup(folder)
    assert setup(folder, "TORCH=gpu", code=2) == []
    (sentence,) = (folder / "said").read_text().splitlines()
    assert sentence.startswith("TORCH=gpu is not allowed: it must be lock, ")
    assert setup(folder) == []  # still ready


def test_a_set_up_that_fails_is_not_ready_and_goes_on_with_its_word(folder):
    (folder / "unreachable").write_text(".venv/others.lock")
    setup(folder, "TORCH=cpu", code=2)
    (folder / "unreachable").unlink()
    assert [call for call in setup(folder) if "--torch-backend" in call]


def test_the_lowest_versions_have_an_environment_of_their_own(folder):
    setup(folder)
    calls = setup(folder, "LOWEST=1")
    (compiled,) = named(calls, "pip", "compile")
    assert compiled[compiled.index("--resolution") + 1] == "lowest-direct"
    assert {"--all-extras", "pyproject.toml"} < set(compiled)
    (sync,) = named(calls, "pip", "sync")
    assert sync[-1] == compiled[-1] == ".venv-lowest/lowest.txt"
    assert setup(folder) == []
