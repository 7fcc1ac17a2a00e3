"""Which images results and networks at hand are of: the published ones or a copy, and that every
text says so."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infomax_nb import networks as at_hand
from infomax_nb.evaluation.representation import features
from infomax_nb.networks import NETWORKS, available, pretrained
from pipeline import index, networks, site
from pipeline.copies import data_note

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", available())
def test_a_network_at_hand_says_on_which_images(name):
    record = pretrained(name).record
    kind = {
        "cifar10": "CIFAR-10, JPEG-compressed copy",
        "tiny_imagenet": "Tiny-ImageNet scaled to 32×32 pixels, JPEG",
    }
    assert record["trained_on"].startswith(kind[record["config"]["dataset"]])
    assert record["trained_on"].endswith(f", {record['config']['n_train']:,} images")
    assert (
        f"bank: {record['config']['n_train']:,} training images, 10,000 test images"
        in record["measured_on"]
    )
    assert (
        record["measured_commit"]
        and "modified" not in record["measured_commit"]
        and record["measured_date"]
    )
    assert 0 < record["knn_top1_on_training_copy"] < 100


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def tree(root, images, ending, **options):
    """CIFAR-10's folders with the same images (40, 3, 32, 32), uint8, four a class, in both
    parts."""
    for part in ("train", "test"):
        for k, image in enumerate(images):
            folder = root / "cifar10" / part / CLASSES[k % 10]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{k:02}{ending}", **options)
    return str(root)


def test_a_network_is_measured_anew(tmp_path, monkeypatch):
    name = "cifar10-infomax-resnet_small"
    record = json.loads((NETWORKS / f"{name}.json").read_text())
    for new in ("measured_on", "trained_on", "knn_top1_on_training_copy"):
        record.pop(new, None)
    record["config"] |= {"n_train": 30, "batch_size": 8}
    (tmp_path / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / f"{name}.pt").write_bytes((NETWORKS / f"{name}.pt").read_bytes())
    for module in (networks, at_hand):
        monkeypatch.setattr(module, "NETWORKS", tmp_path)
    # One grey for each class: an image of the test part is its class's, whatever the network.
    grey = np.broadcast_to(25 * (np.arange(40) % 10)[:, None, None, None], (40, 3, 32, 32)).astype(
        np.uint8
    )
    root = tree(tmp_path / "images", grey, ".png")
    said = networks.measure(name, root)
    found = json.loads((tmp_path / f"{name}.json").read_text())
    x = features(pretrained(name).backbone, torch.from_numpy(np.ascontiguousarray(grey[:10])))
    x = torch.nn.functional.normalize(x.double(), dim=1)
    votes = 3 * torch.exp(
        x @ x.T / 0.1
    )  # three of each class in the bank, all of which are neighbours
    expected = 100 * (votes.argmax(1) == torch.arange(10)).double().mean().item()
    assert found["knn_top1"] == pytest.approx(expected) and expected == 100
    assert found["knn_top1_on_training_copy"] == record["knn_top1"]
    assert (
        found["measured_on"]
        == "CIFAR-10, not the published images; bank: 30 training images, 40 test images"
    )
    assert (
        found["trained_on"].startswith("CIFAR-10, JPEG-compressed copy")
        and found["images"] == record["images"]
    )
    assert said.startswith(f"{name}: 100.00% on CIFAR-10, not the published images")
    networks.measure(name, root)  # the first accuracy stays
    again = json.loads((tmp_path / f"{name}.json").read_text())
    assert (
        again["knn_top1_on_training_copy"] == record["knn_top1"]
        and again["trained_on"] == found["trained_on"]
    )


@pytest.mark.parametrize(
    "given, said",
    [
        (["--measure", "nobody"], "network = 'nobody' is not allowed: it must be one of"),
        (
            ["--measure", "cifar10-infomax-resnet_small", "-p", "data_root", "/nowhere"],
            "CIFAR-10 was not found",
        ),
        (
            ["--measure", "cifar10-infomax-resnet_small", "-p", "n_train", "10"],
            "-p n_train is not allowed",
        ),
        ([], "Nothing to do"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(given, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["networks", *given])
    with pytest.raises(SystemExit, match=said):
        networks.main()


def test_a_result_says_which_copy_of_the_images_it_read():
    def note(dataset, started):
        return data_note(
            [
                {"config": {"dataset": "glyphs"}},
                {"config": {"dataset": dataset}, "started": started},
            ]
        )

    assert "JPEG-compressed copy (quality about 75, chroma at half" in note(
        "cifar10", "2026-11-23T21:00:00+00:00"
    )
    assert note("cifar10", "2026-11-24T00:00:01+00:00") == ""  # from there on without loss
    assert (
        note("glyphs", "2026-11-23") == note("fashion_mnist", "2026-11-23") == data_note([{}]) == ""
    )
    assert "32×32" in note("tiny_imagenet", "2026-11-23") and "lung half" in note(
        "lc25000_groups", "2026-11-23"
    )


def noted() -> list[str]:
    """The committed results that read a copy of their images."""
    records = {
        path.parent.name: path.read_text()
        for path in sorted((ROOT / "reports").glob("*/records.json"))
    }
    return [name for name, text in records.items() if data_note(json.loads(text))]


def test_the_page_and_the_site_show_which_copy_of_the_images_a_result_read():
    assert {
        "kappa_cifar10",
        "beta_cifar10",
        "methods_cifar10",
        "projector_cifar10",
        "methods_lc25000",
    } <= set(noted())
    page = index.page()
    for name in noted():
        section = page.split(f'<img src="{name}/figure.png"')[1].split("</section>")[0]
        assert re.search("<strong>Images: .*JPEG.*</strong>", section), name
        assert re.search(r"\*\*Images: .*JPEG.*\*\*", site.report(name)), name
    assert page.count("<strong>Images: ") == len(noted())
    assert "Images: " not in site.report("methods_glyphs")


@pytest.mark.parametrize("name", noted())
def test_the_notebook_of_a_result_says_which_copy_of_the_images_it_read(name):
    _, notebook = site.WORK[name.partition("_")[0]]
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    text = "".join(
        line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]
    )
    copy = {
        "cifar10": "JPEG-compressed copy",
        "lc25000": "scaled to 96×96",
        "tiny_imagenet": "scaled to 32×32 pixels",
    }
    assert any(words in text for data, words in copy.items() if data in name)


def test_the_readmes_say_which_copies_of_the_images_were_read():
    for path in (ROOT / "README.md", ROOT / "reports" / "README.md"):
        text = path.read_text()
        assert "JPEG-compressed copy" in text and "32×32" in text and "96×96" in text


@pytest.mark.parametrize("name", available(dataset="cifar10"))
def test_the_readmes_table_of_networks_is_their_records(name):
    record = pretrained(name).record
    row = f"| {name} | {record['knn_top1']:.1f} | {record['knn_top1_on_training_copy']:.1f} |"
    assert row in (ROOT / "reports" / "README.md").read_text()
