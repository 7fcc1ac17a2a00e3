"""The command `infomax-nb`: its help says of every field what the configuration says."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, Field

import infomax_nb
from infomax_nb.config import TrainConfig
from infomax_nb.fields import in_words

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND = "import sys; from infomax_nb.__main__ import main; sys.argv[0] = 'infomax-nb'; main()"


def run(*arguments: str, folder: Path, code: str = COMMAND) -> subprocess.CompletedProcess:
    """The command with these arguments, in a folder."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def paragraphs(tmp_path_factory) -> dict[str, str]:
    """The paragraph on each parameter in the help, on one line."""
    done = run("--help", folder=tmp_path_factory.mktemp("empty"))
    assert done.returncode == 0
    _, below = done.stdout.split("parameters, in a file and for -p:\n\n")
    heads = [paragraph.strip().partition("\n") for paragraph in below.split("\n\n")]
    return {name: " ".join(text.split()) for name, _, text in heads}


def test_the_help_lists_all_fields_in_their_order(paragraphs):
    assert list(paragraphs) == list(TrainConfig.model_fields)


@pytest.mark.parametrize("name", TrainConfig.model_fields)
def test_the_help_says_of_a_field_its_meaning_values_and_default(paragraphs, name):
    """By the docstring's text, and by the schema that pydantic makes of the model."""
    meaning, _, brackets = paragraphs[name].removesuffix("]").rpartition(" [")
    docstring = " ".join(TrainConfig.__doc__.split())
    assert f" {name}: {meaning}" in docstring
    assert meaning.endswith(".")
    allowed, default = brackets.split("; default: ")
    value = getattr(TrainConfig(), name)
    assert default == ("none" if value is None else str(value))

    schema = TrainConfig.model_json_schema()["properties"][name]
    kinds = schema.get("anyOf", [schema])
    assert ("; or none" in allowed) == ({"type": "null"} in kinds)
    for choice in kinds[0].get("enum", []):
        assert str(choice) in allowed.split("; or")[0].split(", ")
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for key in limits.keys() & kinds[0].keys():
        (number,) = [x.split()[1] for x in allowed.split(", ") if x.split()[0] == limits[key]]
        assert float(number.rstrip(";")) == kinds[0][key]


def test_words_of_a_model_of_ones_own():
    class Model(BaseModel):
        """A model.

        Args:
            size: pixels of a side,
                or of both.
            kind: what it is.

        Raises:
            Nothing: ever.
        """

        size: int | None = Field(None, gt=1, multiple_of=4)
        kind: Literal["a", "b"] = "b"

    size = "whole number, > 1, a multiple of 4; or none"
    assert in_words(Model) == {
        "size": ("pixels of a side, or of both.", size, "none"),
        "kind": ("what it is.", "a, b", "b"),
    }


def test_the_version_is_the_projects(tmp_path):
    done = run("--version", folder=tmp_path)
    assert done.stdout == f"infomax-nb {PROJECT['version']}\n"
    assert infomax_nb.__version__ == PROJECT["version"]


def test_the_help_does_not_import_torch(tmp_path):
    """Which takes seconds."""
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))\n"
    done = run("--help", folder=tmp_path, code=code + COMMAND)
    assert done.stdout.splitlines()[-1] == "False"


def test_without_a_file_it_says_what_it_needs(tmp_path):
    done = run(folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("one of the arguments FILE --from is required")


def test_it_trains_what_a_file_describes(tmp_path):
    tiny = {"n_classes": 4, "n_train": 64, "batch_size": 32, "epochs": 1, "proj_dim": 16}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    runs = tmp_path / "runs"
    done = run("tiny.yaml", "-p", "kappa", "3", "-p", "runs_dir", str(runs), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = runs.iterdir()
    assert str(path) in done.stdout
    assert yaml.safe_load((path / "config.yaml").read_text())["kappa"] == 3


def test_the_front_door_is_what_it_says():
    names = ["InfoMaxLoss", "Run", "TrainConfig", "fit", "pretrained"]
    assert sorted(infomax_nb.__all__) == names
    assert all(getattr(infomax_nb, name).__name__ == name for name in names)
    assert (Path(infomax_nb.__file__).parent / "py.typed").exists()
