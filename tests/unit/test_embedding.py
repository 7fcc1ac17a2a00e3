"""Maps over epochs: their alignment, the similarities of views, and what the runner keeps."""

import base64
import io
import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.spatial import procrustes
from scipy.stats import ortho_group

from infomax_nb.analysis.embedding import (
    aligned,
    between,
    groups_of,
    moving_map,
    view_similarities,
)
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError
from infomax_nb.figures.confusion import confusion
from infomax_nb.figures.embedding import map_stills, recorded
from infomax_nb.figures.schematic import schematic
from infomax_nb.figures.thumbnails import hover_map
from infomax_nb.train.run import Run
from pipeline import embedding


@pytest.fixture
def frames() -> list[np.ndarray]:
    """Five maps of thirty points that move a little from one to the next."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(5, 30, 2)) * np.array([1, *[0.3] * 4])[:, None, None]
    return list(steps.cumsum(0) + rng.normal(size=(5, 1, 2)))


def test_neighbouring_maps_lie_as_near_as_scipy_can_bring_them(frames):
    """scipy's disparity also scales: with unit squares it is 1 - s^2, ours is 2 (1 - s)."""
    turned = aligned(frames)
    for k in range(4):
        apart = np.square(turned[k] - turned[k + 1]).sum() / len(turned[k])
        *_, disparity = procrustes(frames[k + 1], frames[k])
        assert apart == pytest.approx(2 * (1 - np.sqrt(1 - disparity)))


def test_alignment_does_not_depend_on_how_maps_were_turned(frames):
    """Turned and mirrored at random, the maps are the same up to the turn of the last one."""
    turns = ortho_group.rvs(2, size=5, random_state=1)
    expected = aligned(frames)
    found = aligned([5 * frame @ turn for frame, turn in zip(frames, turns, strict=True)])
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one @ turns[-1], atol=1e-9)
        assert np.square(one).sum(1).mean() == pytest.approx(1)
        np.testing.assert_allclose(one.mean(0), 0, atol=1e-12)


def test_frames_between_lie_on_straight_lines(frames):
    film = between(frames, 4)
    assert len(film) == 17
    np.testing.assert_allclose(film[0], frames[0])
    np.testing.assert_allclose(film[6], (frames[1] + frames[2]) / 2)
    np.testing.assert_allclose(film[-1], frames[-1])


def test_a_map_keeps_neighbours_together():
    """Three bundles of directions: the nearest point in the map is of the same bundle."""
    generator = torch.Generator().manual_seed(0)
    bundle = torch.arange(60) % 3
    features = 10 * torch.eye(16)[bundle] + torch.randn(60, 16, generator=generator)
    length = torch.rand(60, 1, generator=generator) + 0.1  # which cosines ignore
    places = moving_map([features * length, features], perplexity=10)
    for map_ in places:
        apart = np.linalg.norm(map_[:, None] - map_, axis=-1)
        np.fill_diagonal(apart, np.inf)
        nearest = bundle.numpy()[apart.argmin(1)]
        assert (nearest == bundle.numpy()).all()


class Colours(torch.nn.Module):
    """A method that projects a view to the means of its colours."""

    def project(self, views):
        return [view.mean((2, 3)) for view in views]


def test_similarities_are_cosines_in_the_order_of_images():
    views = [torch.randn(5, 3, size, size) for size in (8, 8, 4)]
    found = view_similarities(Colours(), views, images=2)
    rows = [views[v][b].mean((1, 2)) for b in (0, 1) for v in (0, 1, 2)]
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
            assert found[i, j] == pytest.approx(float(cosine), abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_similarities_leave_a_method_in_its_mode(training):
    method = Colours().train(training)
    view_similarities(method, [torch.randn(2, 3, 4, 4)] * 2, images=2)
    assert method.training == training


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A result of two tiny runs, made twice; the folder of results."""
    folder = tmp_path_factory.mktemp("embedding")
    small = TrainConfig(n_train=32, n_classes=4, batch_size=16, epochs=2, proj_dim=8)
    small = small.replace(runs_dir=str(folder / "runs"), device="cpu")
    configs = [small.replace(beta=beta) for beta in (0.5, 1.0)]
    said = embedding.keep("embedding_tiny", configs, 40, folder)
    assert said == "reports/embedding_tiny holds 2 runs"
    before = {path.name: path.read_bytes() for path in (folder / "embedding_tiny").iterdir()}
    embedding.keep("embedding_tiny", configs, 40, folder)
    for name, content in before.items():
        assert (folder / "embedding_tiny" / name).read_bytes() == content, name
    return folder


def test_the_runner_keeps_each_epoch(kept):
    folder = kept / "embedding_tiny"
    rows = pd.read_csv(folder / "coordinates.csv")
    counts = rows.groupby(["beta", "epoch"]).size()
    assert list(counts.index) == list(product((0.5, 1.0), (0, 1, 2)))
    assert set(counts) == {40}
    images = pd.read_csv(folder / "images.csv", index_col="image")
    assert images.group.value_counts().tolist() == [20, 20]
    assert images.row.is_unique
    accuracy = pd.read_csv(folder / "accuracy.csv", index_col=["beta", "epoch"])
    runs = [Run(path.parent) for path in (kept / "runs").glob("*/metrics.csv")]
    assert len(runs) == 2
    for run in runs:
        trained = accuracy.loc[run.config.beta].knn_top1.loc[1:]
        assert trained.tolist() == run.metrics.knn_top1.round(2).tolist()
    records = json.loads((folder / "records.json").read_text())
    assert [record["config"]["beta"] for record in records] == [0.5, 1.0]
    assert "32 training images, 2 epochs" in (folder / "caption.txt").read_text()


def test_what_is_kept_is_read_and_drawn(kept):
    moving = [recorded("embedding_tiny", beta, kept) for beta in (0.5, 1.0)]
    for movement in moving:
        assert movement.places.shape == (3, 40, 2)
        matrices = movement.similarities
        assert matrices.shape == (3, 64, 64)
        np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))
        np.testing.assert_array_equal(np.diagonal(matrices, axis1=1, axis2=2), 1)
        assert abs(matrices).max() <= 1
    # Before training nothing depends on beta.
    np.testing.assert_array_equal(moving[0].similarities[0], moving[1].similarities[0])
    assert moving[0].accuracy.knn_top1[0] == moving[1].accuracy.knn_top1[0]
    figure = map_stills(moving)
    assert figure.axes[4].get_title().startswith("β = 1, epoch 1: k-NN ")


def image_set(labels: list[int], **more) -> ImageSet:
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    return ImageSet(images, torch.tensor(labels), ["a", "b", "c"], **more)


def test_a_beta_without_a_run_is_one_clear_error():
    with pytest.raises(ParameterError, match="beta = 0.75 is not allowed: it must be one of"):
        recorded("embedding_glyphs", 0.75)


def test_groups_are_superclasses_else_classes():
    above = {"coarse": torch.tensor([1, 0, 1]), "coarse_names": ["x", "y"]}
    assert groups_of(image_set([0, 1, 2, 0], **above)).tolist() == ["y", "x", "y", "y"]
    assert groups_of(image_set([2, 0])).tolist() == ["c", "a"]
    assert groups_of(image_set([2, 0]), most=2).tolist() == ["images", "images"]
    assert groups_of(image_set([-1, 0])).tolist() == ["images", "images"]


# --- Drawings -------------------------------------------------------------------------------------


def test_a_point_shows_its_own_image():
    """Each spot lies on its point's colour, and its tile in the sheet is its image."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(30, 2))
    shades = torch.arange(30, dtype=torch.uint8) * 8
    images = shades[:, None, None, None].expand(-1, 3, 20, 20)
    names = [f"<{k}>" for k in range(30)]
    shown = hover_map(places, images, names, np.array(["one"] * 30), "a map")
    assert "<script" not in shown.html
    picture = Image.open(io.BytesIO(shown.png)).convert("RGB")
    (sheet,) = re.findall(r"url\(data:image/webp;base64,([^)]+)\)", shown.html)
    tiles = Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")
    place = r"left:([\d.]+)%;top:([\d.]+)%;background-position:-(\d+)px -(\d+)px"
    spots = re.findall(rf'<span title="&lt;(\d+)&gt;" style="{place}"', shown.html)
    assert [int(name) for name, *_ in spots] == list(range(30))
    width = int(re.findall(r"background-size: (\d+)px", shown.html)[0])
    for name, left, top, x, y in spots:
        at = (round(picture.width * float(left) / 100), round(picture.height * float(top) / 100))
        red, green, blue = picture.getpixel(at)
        assert blue > red + 60, (name, red, green, blue)  # the first colour of the style
        scale = tiles.width / width
        column = int(int(x) * scale) + 16
        row = int(int(y) * scale) + 16
        found, *_ = tiles.getpixel((column, row))
        assert abs(found - 8 * int(name)) < 12


def test_the_confusion_of_groups_is_in_percent():
    truth = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 3])
    predicted = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3, 3, 0])
    coarse = torch.tensor([0, 1, 0, 1])
    figure = confusion(truth, predicted, list("abcd"), coarse, ["x", "y"])
    told = {tuple(map(int, text.get_position())): text.get_text() for text in figure.axes[1].texts}
    expected = pd.crosstab(coarse[truth].numpy(), coarse[predicted].numpy(), normalize="index")
    for row, column in product((0, 1), (0, 1)):
        assert told[column, row] == f"{100 * expected.loc[row, column]:.0f}"
    left = figure.axes[0]  # four classes have room for their names, in their groups' order
    assert [text.get_text() for text in left.get_yticklabels()] == ["a", "c", "b", "d"]
    assert len(confusion(truth, predicted, list("abcd")).axes) == 1


def test_the_schematic_shows_the_pixels_it_was_given():
    images = torch.randint(0, 255, (3, 3, 8, 8), dtype=torch.uint8)
    views = [
        torch.randint(0, 255, (3, 3, size, size), dtype=torch.uint8) for size in [8, 8] + [4] * 6
    ]
    (axis,) = schematic(images, views).axes
    shown = [image.get_array() for image in axis.get_images()]
    assert len(shown) == 3 * 9
    for row in range(3):
        given = [images[row], *(view[row] for view in views)]
        for k, pixels in enumerate(given):
            expected = pixels.permute(1, 2, 0)
            np.testing.assert_array_equal(shown[9 * row + k], expected)
