"""Which images results and networks at hand are of, and that every text says so.

They are the published ones, or a copy.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import checkout, run
from PIL import Image

from infomax_nb.evaluation.representation import features
from infomax_nb.networks import NETWORKS, available, pretrained
from pipeline import networks
from pipeline.copies import data_note
from pipeline.site import front, results
from pipeline.site.figures import FIGURES

ROOT = Path(__file__).parents[2]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NAME = "cifar10-infomax-resnet_small"

# --- Networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", available())
def test_a_network_at_hand_says_on_which_images_it_was_trained(name):
    record = pretrained(name).record
    beginnings = {
        "cifar10": "CIFAR-10, JPEG-compressed copy",
        "tiny_imagenet": "Tiny-ImageNet scaled to 32×32 pixels, JPEG",
    }
    lossless = record.get("data", {}).get("name") == "CIFAR-10, lossless"
    beginning = beginnings[record["config"]["dataset"]]
    assert record["trained_on"].startswith("CIFAR-10, lossless" if lossless else beginning)
    assert record["trained_on"].endswith(f", {record['images']:,} images")


@pytest.mark.parametrize("name", available())
def test_a_network_at_hand_says_on_which_images_it_was_measured(name):
    record = pretrained(name).record
    bank = f"bank: {record['images']:,} training images, 10,000 test images"
    assert bank in record["measured_on"]
    assert record["measured_commit"]
    assert "modified" not in record["measured_commit"]
    assert record["measured_date"]
    for accuracy in ("knn_top1", "knn_top1_on_training_copy"):
        assert 0 < record.get(accuracy, 50) < 100


def cifar10_folders(root: Path, images: np.ndarray) -> str:
    """CIFAR-10's folders with images (40, 3, 32, 32), uint8, four a class, in both parts."""
    for part in ("train", "test"):
        for k, image in enumerate(images):
            folder = root / "cifar10" / part / CLASSES[k % 10]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{k:02}.png")
    return str(root)


def grey_images() -> np.ndarray:
    """One grey for each class, so that an image is its class's whatever the network."""
    greys = 25 * (np.arange(40) % 10)[:, None, None, None]
    return np.broadcast_to(greys, (40, 3, 32, 32)).astype(np.uint8)


def votes(images: np.ndarray) -> torch.Tensor:
    """k-NN's votes for the ten classes: three images of each are in the bank, all neighbours."""
    x = features(pretrained(NAME).backbone, torch.from_numpy(images[:10]))
    x = torch.nn.functional.normalize(x.double(), dim=1)
    return 3 * torch.exp(x @ x.T / 0.1)


def test_a_network_is_measured_anew(tmp_path):
    """In a copy of the checkout whose record knows nothing of images, twice."""
    copy = checkout(tmp_path / "copy")
    (copy / "reports" / "networks").mkdir()
    for name in (f"{NAME}.safetensors", f"{NAME}.centroids.safetensors", "data_notes.csv"):
        folder = "networks" if name.endswith(".safetensors") else ""
        shutil.copy(ROOT / "reports" / folder / name, copy / "reports" / folder / name)
    before = json.loads((NETWORKS / f"{NAME}.json").read_text())
    for key in ("measured_on", "trained_on", "knn_top1_on_training_copy"):
        before.pop(key, None)
    before["config"] |= {"n_train": 30, "batch_size": 8}
    record = copy / "reports" / "networks" / f"{NAME}.json"
    record.write_text(json.dumps(before))
    root = cifar10_folders(tmp_path / "images", grey_images())
    command = [sys.executable, "-m", "pipeline.networks", "--measure", NAME, "-p"]

    done = run(copy, [*command, "data_root", root])
    after = json.loads(record.read_text())
    right = votes(grey_images()).argmax(1) == torch.arange(10)
    assert right.all()
    assert after["knn_top1"] == 100
    assert after["knn_top1_on_training_copy"] == before["knn_top1"]
    images = "CIFAR-10, not the published images"
    assert after["measured_on"] == f"{images}; bank: 30 training images, 40 test images"
    assert after["trained_on"].startswith("CIFAR-10, JPEG-compressed copy")
    assert after["images"] == before["images"]
    assert done.stdout.startswith(f"{NAME}: 100.00% on {images}"), done.stderr
    assert f"top-1: 100.0% ({images}; " in record.with_suffix(".md").read_text()

    run(copy, [*command, "data_root", root])
    again = json.loads(record.read_text())
    assert again["knn_top1_on_training_copy"] == before["knn_top1"]  # the first accuracy stays
    assert again["trained_on"] == after["trained_on"]


@pytest.mark.parametrize(
    "given, words",
    [
        (["--measure", "nobody"], "network = 'nobody' is not allowed: it must be one of"),
        (["--measure", NAME, "-p", "data_root", "/nowhere"], "CIFAR-10 was not found"),
        (["--measure", NAME, "-p", "n_train", "10"], "-p n_train is not allowed"),
        ([], "Nothing to do"),
    ],
    ids=["unknown", "no data", "not a place", "nothing"],
)
def test_what_cannot_be_measured_is_one_sentence(given, words, monkeypatch):
    monkeypatch.setattr("sys.argv", ["networks", *given])
    with pytest.raises(SystemExit, match=words):
        networks.main()


# --- Results ----------------------------------------------------------------------------------


def note(dataset: str, started: str) -> str:
    """The note on a run of a data set, beside one of glyphs."""
    run_of_it = {"config": {"dataset": dataset}, "started": started}
    return data_note([{"config": {"dataset": "glyphs"}}, run_of_it])


@pytest.mark.parametrize(
    "dataset, words",
    [
        ("cifar10", "JPEG-compressed copy (quality about 75, chroma at half"),
        ("tiny_imagenet", "32×32"),
        ("lc25000_groups", "lung half"),
    ],
)
def test_a_result_says_which_copy_of_the_images_it_read(dataset, words):
    assert words in note(dataset, "2026-11-23T21:00:00+00:00")


@pytest.mark.parametrize("dataset", ["glyphs", "fashion_mnist"])
def test_a_result_of_the_published_images_has_no_note(dataset):
    assert note(dataset, "2026-11-23") == ""


def test_a_result_that_is_newer_than_the_copy_has_no_note():
    assert note("cifar10", "2026-11-24T00:00:01+00:00") == ""


def test_a_record_without_a_configuration_has_no_note():
    assert data_note([{}]) == ""


def noted() -> list[str]:
    """The committed results that read a copy of their images."""
    paths = sorted((ROOT / "reports").glob("*/records.json"))
    return [path.parent.name for path in paths if data_note(json.loads(path.read_text()))]


def test_results_of_copies_are_known():
    cifar10 = {f"{work}_cifar10" for work in ("kappa", "beta", "methods", "projector")}
    assert {*cifar10, "methods_lc25000"} <= set(noted())


def test_the_first_page_shows_which_copy_of_the_images_a_figure_read():
    page = front.front([])
    for figure in FIGURES:
        _, _, section = page.partition(f"(figure-{figure.number})=")
        caption = section.partition("Numbers and records")[0]
        assert bool(re.search("Images: .*JPEG", caption)) == (figure.result in noted())
    assert re.search(r"(?s)\(table-1\)=.*?Orange ones are of copies: .*JPEG.*JPEG", page)


def test_the_site_shows_which_copy_of_the_images_a_result_read():
    for name in noted():
        assert re.search(r"\*\*Images: .*JPEG.*\*\*", results.report(name)), name
    assert "Images: " not in results.report("methods_glyphs")


@pytest.mark.parametrize("name", noted())
def test_the_notebook_of_a_result_says_which_copy_of_the_images_it_read(name):
    _, notebook = results.WORK[name.partition("_")[0]]
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    words = {
        "cifar10": "JPEG-compressed copy",
        "lc25000": "scaled to 96×96",
        "tiny_imagenet": "scaled to 32×32 pixels",
        "voc": "JPEG-compressed copy",  # of the early networks beside
    }
    expected = [each for data, each in words.items() if data in name]
    assert any(each in text for each in expected for text in texts)


@pytest.mark.parametrize("readme", ["README.md", "reports/README.md"])
def test_the_readmes_say_which_copies_of_the_images_were_read(readme):
    text = (ROOT / readme).read_text()
    assert "JPEG-compressed copy" in text
    assert re.search(r"(?s)Tiny-ImageNet.{,40} scaled", text)
    assert re.search(r"(?s)LC25000.{,80} scaled|scaled.{,80}LC25000|LC25000 scaled", text)


@pytest.mark.parametrize("name", available(dataset="cifar10"))
def test_the_readmes_table_of_networks_is_their_records(name):
    record = pretrained(name).record
    learned_from_a_copy = not record["trained_on"].startswith("CIFAR-10, lossless")
    there = f"{record['knn_top1_on_training_copy']:.1f}" if learned_from_a_copy else "–"
    row = f"| {name} | {record['knn_top1']:.1f} | {there} |"
    assert row in (ROOT / "reports" / "README.md").read_text()
