"""CIFAR-10 itself, where it is: known, packed and unpacked, by the networks at hand; minutes."""

import os
from pathlib import Path

import pytest
from test_reports import IN_UNIT_TESTS, ON_CIFAR10, assert_recorded_accuracy

from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.data.loading import load
from pipeline.gpu import pack, unpack

pytestmark = pytest.mark.skipif(
    "INFOMAX_DATA" not in os.environ, reason="INFOMAX_DATA names no folder with CIFAR-10"
)


@pytest.mark.parametrize("name", [name for name in ON_CIFAR10 if name != IN_UNIT_TESTS])
def test_a_network_at_hand_has_its_recorded_accuracy(name):
    assert_recorded_accuracy(name)


def test_the_lossless_cifar10_is_known():
    """By its channels' means and deviations in 0..1, as torchvision's users know them."""
    root = os.environ["INFOMAX_DATA"]
    assert KNOWN[pixels_digest(load("cifar10", root, "test"))] == "CIFAR-10, lossless"
    pixels = load("cifar10", root, "train").images.transpose(0, 1).flatten(1).double() / 255
    assert pixels.mean(1).tolist() == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-7)
    assert pixels.std(1).tolist() == pytest.approx([0.24703223, 0.24348513, 0.26158784], abs=1e-7)


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
