"""CIFAR-10 itself, where it is: packed and unpacked, and by the late networks; minutes."""

import os
from pathlib import Path

import pytest
from test_reports import ON_CIFAR10, assert_recorded_accuracy

from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.data.loading import load
from pipeline.gpu import pack, unpack

pytestmark = pytest.mark.skipif(
    "INFOMAX_DATA" not in os.environ, reason="INFOMAX_DATA names no folder with CIFAR-10"
)


@pytest.mark.parametrize("name", [name for name in ON_CIFAR10 if "-late" in name])
def test_a_late_network_at_hand_has_its_recorded_accuracy(name):
    assert_recorded_accuracy(name)


def test_packed_and_unpacked_it_has_the_same_pixels(tmp_path):
    """The test split, whose digest is known; of training an image a class, to be a data set."""
    root = Path(os.environ["INFOMAX_DATA"]).resolve()
    files = pack.files_of_data(root)
    test = [path for path in files if "test" in path.relative_to(root).parts]
    few = {path.parent: path for path in files if path not in set(test)}
    pack.pack("data", root, [*test, *few.values()], tmp_path / "packs", 60_000_000)
    unpack.unpack(tmp_path / "packs", tmp_path / "there")
    digest = pixels_digest(load("cifar10", str(tmp_path / "there" / "data"), "test"))
    assert digest is not None
    assert KNOWN[digest] == "CIFAR-10, lossless"
