"""Which images results and networks at hand are of: the published ones or a copy, and that every
text says so."""

import json
import re
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import checkout, run
from PIL import Image

from infomax_nb.evaluation.representation import features
from infomax_nb.networks import NETWORKS, available, pretrained
from pipeline import index, networks, site
from pipeline.copies import data_note

ROOT = Path(__file__).parents[2]


KINDS = {
    "cifar10": "CIFAR-10, JPEG-compressed copy",
    "tiny_imagenet": "Tiny-ImageNet scaled to 32×32 pixels, JPEG",
}


@pytest.mark.parametrize("name", available())
def test_a_network_at_hand_says_on_which_images(name):
    record = pretrained(name).record
    n_train = record["config"]["n_train"]
    assert record["trained_on"].startswith(KINDS[record["config"]["dataset"]])
    assert record["trained_on"].endswith(f", {n_train:,} images")
    bank = f"bank: {n_train:,} training images, 10,000 test images"
    assert bank in record["measured_on"]
    assert record["measured_commit"] and "modified" not in record["measured_commit"]
    assert record["measured_date"]
    assert 0 < record["knn_top1_on_training_copy"] < 100


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


GREYS = np.arange(0, 250, 25, dtype=np.uint8)


def write_greys(root) -> None:
    """CIFAR-10's folders with one grey for each class, four images a class, in both parts.

    An image of the test part is its class's, whatever the network.
    """
    for part, name in product(("train", "test"), CLASSES):
        folder = root / "cifar10" / part / name
        folder.mkdir(parents=True)
        grey = int(GREYS[CLASSES.index(name)])
        for k in range(4):
            Image.new("RGB", (32, 32), (grey, grey, grey)).save(folder / f"{k}.png")


NAME = "cifar10-infomax-resnet_small"


@pytest.fixture
def measured_anew(tmp_path):
    """What was said, the record before and the record after, measured in a copy of the project."""
    copy = checkout(tmp_path / "copy")
    kept = copy / "reports" / "networks"
    kept.mkdir()
    shutil.copy(NETWORKS / f"{NAME}.pt", kept)
    shutil.copy(ROOT / "reports" / "data_notes.csv", kept.parent)
    before = json.loads((NETWORKS / f"{NAME}.json").read_text())
    for new in ("measured_on", "trained_on", "knn_top1_on_training_copy"):
        before.pop(new, None)
    before["config"] |= {"n_train": 30, "batch_size": 8}
    record = kept / f"{NAME}.json"
    record.write_text(json.dumps(before))
    write_greys(tmp_path / "images")
    place = ["-p", "data_root", str(tmp_path / "images")]
    command = [sys.executable, "-m", "pipeline.networks", "--measure", NAME, *place]
    said = run(copy, command)
    assert said.returncode == 0, said.stderr
    first = json.loads(record.read_text())
    assert run(copy, command).returncode == 0
    return said.stdout, before, first, json.loads(record.read_text())


def test_a_network_is_measured_anew(measured_anew):
    said, before, record, _ = measured_anew
    assert record["knn_top1"] == pytest.approx(accuracy_on_greys()) == 100
    assert record["knn_top1_on_training_copy"] == before["knn_top1"]
    images = "CIFAR-10, not the published images"
    assert record["measured_on"] == f"{images}; bank: 30 training images, 40 test images"
    assert record["trained_on"].startswith("CIFAR-10, JPEG-compressed copy")
    assert record["images"] == before["images"]
    assert said.startswith(f"{NAME}: 100.00% on {images}")


def test_the_first_accuracy_of_a_network_stays(measured_anew):
    _, before, record, again = measured_anew
    assert again["knn_top1_on_training_copy"] == before["knn_top1"]
    assert again["trained_on"] == record["trained_on"]


def accuracy_on_greys() -> float:
    """Percent of ten greys for which their own class has most votes.

    Three of each class are in the bank, and all of them are neighbours.
    """
    greys = np.broadcast_to(GREYS[:, None, None, None], (10, 3, 32, 32))
    x = features(pretrained(NAME).backbone, torch.from_numpy(greys.copy()))
    x = torch.nn.functional.normalize(x.double(), dim=1)
    votes = 3 * torch.exp(x @ x.T / 0.1)
    return 100 * (votes.argmax(1) == torch.arange(10)).double().mean().item()


IMPOSSIBLE = {
    "network = 'nobody' is not allowed: it must be one of": ["--measure", "nobody"],
    "CIFAR-10 was not found": ["--measure", NAME, "-p", "data_root", "/nowhere"],
    "-p n_train is not allowed": ["--measure", NAME, "-p", "n_train", "10"],
    "Nothing to do": [],
}


@pytest.mark.parametrize("sentence", IMPOSSIBLE)
def test_what_cannot_be_measured_is_one_sentence(sentence, monkeypatch):
    monkeypatch.setattr("sys.argv", ["networks", *IMPOSSIBLE[sentence]])
    with pytest.raises(SystemExit, match=sentence):
        networks.main()


def note(dataset: str, started: str) -> str:
    """What is said of a result that came from glyphs and from this data set."""
    glyphs = {"config": {"dataset": "glyphs"}}
    return data_note([glyphs, {"config": {"dataset": dataset}, "started": started}])


def test_a_result_says_which_copy_of_the_images_it_read():
    compressed = note("cifar10", "2026-11-23T21:00:00+00:00")
    assert "JPEG-compressed copy (quality about 75, chroma at half" in compressed
    assert note("cifar10", "2026-11-24T00:00:01+00:00") == ""  # from there on without loss
    assert "32×32" in note("tiny_imagenet", "2026-11-23")
    assert "lung half" in note("lc25000_groups", "2026-11-23")


def test_a_result_of_published_or_drawn_images_says_nothing_about_copies():
    assert note("glyphs", "2026-11-23") == ""
    assert note("fashion_mnist", "2026-11-23") == ""
    assert data_note([{}]) == ""


def noted() -> list[str]:
    """The committed results that read a copy of their images."""
    paths = sorted((ROOT / "reports").glob("*/records.json"))
    return [path.parent.name for path in paths if data_note(json.loads(path.read_text()))]


def test_the_page_and_the_site_show_which_copy_of_the_images_a_result_read():
    on_cifar10 = {"kappa_cifar10", "beta_cifar10", "methods_cifar10", "projector_cifar10"}
    assert on_cifar10 | {"methods_lc25000"} <= set(noted())
    page = index.page()
    for name in noted():
        section = page.split(f'<img src="{name}/figure.png"')[1].split("</section>")[0]
        assert re.search("<strong>Images: .*JPEG.*</strong>", section), name
        assert re.search(r"\*\*Images: .*JPEG.*\*\*", site.report(name)), name
    assert page.count("<strong>Images: ") == len(noted())
    assert "Images: " not in site.report("methods_glyphs")


COPIES = {
    "cifar10": "JPEG-compressed copy",
    "lc25000": "scaled to 96×96",
    "tiny_imagenet": "scaled to 32×32 pixels",
}


@pytest.mark.parametrize("name", noted())
def test_the_notebook_of_a_result_says_which_copy_of_the_images_it_read(name):
    _, notebook = site.WORK[name.partition("_")[0]]
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    markdown = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    text = "".join(line for source in markdown for line in source)
    (words,) = [words for dataset, words in COPIES.items() if dataset in name]
    assert words in text


def test_the_readmes_say_which_copies_of_the_images_were_read():
    for path in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        text = path.read_text()
        assert "JPEG-compressed copy" in text and "32×32" in text and "96×96" in text


@pytest.mark.parametrize("name", available(dataset="cifar10"))
def test_the_readmes_table_of_networks_is_their_records(name):
    record = pretrained(name).record
    row = f"| {name} | {record['knn_top1']:.1f} | {record['knn_top1_on_training_copy']:.1f} |"
    assert row in (ROOT / "reports" / "README.md").read_text()
