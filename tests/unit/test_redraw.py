"""Kept figures, drawn anew from the numbers beside them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from infomax_nb.files import project_root
from pipeline import redraw

REPORTS = project_root() / "reports"


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


STEM = "small ResNet, imagenet stem"
TITLES = {
    "kappa_cifar10": f"CIFAR-10, 5000 training images, 10 epochs, {STEM}; seeds 0, 1, 2",
    "beta_glyphs": f"κ = 10: glyphs, 2400 training images, 6 epochs, {STEM}; seed 0",
    "projector_glyphs": f"glyphs, 2400 training images, 6 epochs, {STEM}; seed 0",
    "methods_glyphs": "glyphs, 4800 training images, 8 epochs, small ResNet; seeds 0, 1, 2",
    "family_glyphs": (
        "glyphs, 48 classes, 4800 training images, 8 epochs, small ResNet; seeds 0, 1, 2"
    ),
    "coarse_tiny_imagenet": (
        "Tiny-ImageNet, 200 classes, 20,000 images, 5 epochs, small ResNet (small stem); seed 0; "
        "subsets of 20"
    ),
}


@pytest.mark.parametrize("name", TITLES)
def test_the_setting_of_the_caption_stands_above_the_figure(name):
    figure = redraw.redrawn(REPORTS / name)
    assert figure.get_suptitle() == TITLES[name]


def test_a_sweeps_lines_are_the_means_over_its_seeds():
    figure = redraw.redrawn(REPORTS / "kappa_cifar10")
    linear, knn = figure.axes
    with (REPORTS / "kappa_cifar10" / "metrics.csv").open() as file:
        names, *rows = (line.rstrip().split(",") for line in file)
    for axis, column in ((linear, "linear_top1"), (knn, "knn_top1")):
        drawn = [line for line in axis.lines if len(line.get_ydata())]  # others: the legend's
        for line, kappa in zip(drawn, ("0.1", "0.6931", "1", "10", "20"), strict=True):
            last = [
                float(row[names.index(column)])
                for row in rows
                if row[names.index("kappa")] == kappa and row[names.index("epoch")] == "10"
            ]
            assert len(last) == 3
            assert line.get_ydata()[-1] == pytest.approx(sum(last) / 3)


def test_a_table_of_intervals_is_read_as_it_is_written():
    texts = pd.Series({"ours": "1.25 (1.22 to 1.27)", "uniform": "1.00 (1.00 to 1.00)"})
    read = redraw.intervals(texts)
    assert read.loc["ours"].to_dict() == {"mean": 1.25, "low": 1.22, "high": 1.27}


def test_saliency_shows_the_networks_and_the_prior_but_no_uniform_map():
    figure = redraw.redrawn(REPORTS / "saliency_tiny_imagenet_vit")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["ours", "SimCLR", "untrained", "centre prior"]


def test_what_keeps_too_few_numbers_is_left_as_it_is():
    assert redraw.redrawn(REPORTS / "centroids_glyphs") is None


def test_an_unknown_name_is_refused_before_anything_is_drawn(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["redraw", "kappa_cifar10", "kappa_mars"])
    monkeypatch.setattr(redraw, "save", lambda *_: pytest.fail("something was drawn"))
    with pytest.raises(SystemExit, match="kappa_mars.*centroids_glyphs"):
        redraw.main()


def test_figure_and_caption_are_written(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "kappa_glyphs"
    folder.mkdir()
    (folder / "caption.txt").write_text("… here: 6 epochs, resnet_small, imagenet stem; seeds 0\n")
    (folder / "metrics.csv").write_bytes((REPORTS / "kappa_glyphs" / "metrics.csv").read_bytes())
    monkeypatch.setattr(redraw, "REPORTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["redraw"])
    redraw.main()
    assert capsys.readouterr().out == "kappa_glyphs: drawn\n"
    said = (folder / "caption.txt").read_text("utf-8")
    assert said.endswith("small ResNet, imagenet stem; seed 0\n")
    assert {path.name for path in folder.iterdir()} == {"caption.txt", "metrics.csv", "figure.png"}
    assert np.asarray(plt.imread(folder / "figure.png")).std() > 0.01  # not blank
