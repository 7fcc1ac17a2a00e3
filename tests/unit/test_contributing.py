"""What CONTRIBUTING.md says of a new method and a new data set, done in a copy of the package."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT, checkout, run

from infomax_nb.data.readers import READERS
from infomax_nb.methods import METHODS

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SIZES = {"n_classes": 4, "n_train": 64, "batch_size": 32, "epochs": 1, "proj_dim": 16}


def add_example(copy: Path, name: str) -> None:
    """Write the page's example of a file to where its first line says."""
    code = re.search(rf"```python\n# (\S+/{name}\.py)\n(.*?)```", PAGE, re.DOTALL)
    assert code, f"no example of {name}.py"
    (copy / code[1]).write_text(code[2], encoding="utf-8")


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Put something in front of, or behind, what is there once: a pattern and its replacement."""
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == 1, f"{pattern} is {count} times in {path}"
    path.write_text(text, encoding="utf-8")


def changed_files(copy: Path) -> set[str]:
    """Python files of the package that are not as they are here."""
    changed = set()
    for path in (copy / "infomax_nb").rglob("*.py"):
        original = ROOT / path.relative_to(copy)
        if not original.exists() or original.read_bytes() != path.read_bytes():
            changed.add(path.relative_to(copy).as_posix())
    return changed


def start(copy: Path, **values) -> subprocess.CompletedProcess:
    """One epoch, trained by the command."""
    command = [sys.executable, "-m", "infomax_nb.train", "params/fast.yaml"]
    for name, value in {**SIZES, "device": "cpu", **values}.items():
        command += ["-p", name, str(value)]
    return run(copy, command)


def train(copy: Path, **values) -> pd.DataFrame:
    """The metrics of that epoch."""
    done = start(copy, **values)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1])
    return pd.read_csv(folder / "metrics.csv")


def test_methods_and_data_sets_are_listed_where_it_says():
    for words, page, names in (
        ("the list of methods", "docs/runs.md", METHODS),
        ("a line in the first table", "docs/data.md", READERS),
    ):
        assert f"**{page}**: {words}" in PAGE
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not [name for name in names if f"`{name}`" not in text]


# --- A method -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_method(tmp_path_factory) -> Path:
    copy = checkout(tmp_path_factory.mktemp("method"))
    add_example(copy, "align_uniform")
    line = "from infomax_nb.methods.align_uniform import AlignUniform"
    edit(
        copy / "infomax_nb" / "methods" / "__init__.py",
        (r"^from infomax_nb\.methods\.barlow_twins", rf"{line}\n\g<0>"),
        (r"^METHODS.* = \{$", r'\g<0>\n    "align_uniform": AlignUniform,'),
    )
    edit(
        copy / "infomax_nb" / "config.py",
        (r"^SelfSupervised = Literal\[", r'\g<0>"align_uniform", '),
    )
    return copy


def test_a_method_needs_three_files(with_method):
    assert len(changed_files(with_method)) == 3


def test_a_new_method_is_trained_by_its_name(with_method):
    metrics = train(with_method, method="align_uniform", dataset="glyphs")
    assert metrics.epoch.tolist() == [1]
    row = metrics.iloc[0]
    assert row.loss == pytest.approx(row.alignment + row.uniformity, rel=1e-5)
    assert 0 < row.alignment < 4  # squared distances of unit vectors
    assert -8 < row.uniformity < 0
    assert 0 <= row.linear_top1 <= 100


# --- A data set -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_data_set(tmp_path_factory) -> Path:
    copy = checkout(tmp_path_factory.mktemp("data_set"))
    add_example(copy, "pathmnist")
    line = "from infomax_nb.data.readers.pathmnist import read_pathmnist"
    packed = '    if name == "pathmnist":\\n        return [root / "pathmnist.npz"]'
    edit(
        copy / "infomax_nb" / "data" / "readers" / "__init__.py",
        (r"^from infomax_nb\.data\.readers\.tiny_imagenet", rf"{line}\n\g<0>"),
        (r"^READERS.* = \{$", r'\g<0>\n    "pathmnist": read_pathmnist,'),
        (r'(?s)^def packed_files.*?""".*?"""$', rf"\g<0>\n{packed}"),
    )
    edit(
        copy / "infomax_nb" / "config.py",
        (r"^Large = Literal\[", r'\g<0>"pathmnist", '),
        (r"^SIZES = \{", r'\g<0>"pathmnist": 28, '),
    )
    return copy


def write_pathmnist(folder: Path) -> None:
    """The publisher's layout, a few images of noise."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 72), ("test", 36)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n, dtype=np.uint8)[:, None] % 9
    np.savez(folder / "pathmnist.npz", **arrays)


def test_a_data_set_needs_three_files(with_data_set):
    assert len(changed_files(with_data_set)) == 3


def test_a_finished_run_on_a_new_data_set_is_returned_without_its_images(with_data_set, tmp_path):
    """A network is trained on it by its name."""
    write_pathmnist(tmp_path)
    first = train(with_data_set, method="simclr", dataset="pathmnist", data_root=tmp_path)
    assert first.epoch.tolist() == [1]
    assert np.isfinite(first.loss[0])
    assert 0 <= first.knn_top1[0] <= 100
    (tmp_path / "pathmnist.npz").unlink()
    again = train(with_data_set, method="simclr", dataset="pathmnist", data_root=tmp_path)
    pd.testing.assert_frame_equal(again, first)


def test_a_new_data_set_that_is_missing_is_said_in_one_sentence(with_data_set, tmp_path):
    done = start(with_data_set, dataset="pathmnist", data_root=tmp_path)
    assert done.returncode == 1
    assert f"data_root: there is no {tmp_path}/pathmnist.npz." in done.stderr
    assert "Traceback" not in done.stderr
