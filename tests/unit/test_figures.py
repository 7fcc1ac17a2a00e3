"""Films, sliders with recorded states, forest plots, and colours that all eyes tell apart."""

import base64
import io
from itertools import combinations

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from nbclient import NotebookClient
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from infomax_nb import plots
from infomax_nb.errors import ParameterError
from infomax_nb.figures import sliders
from infomax_nb.figures.axes import log_ticks, look
from infomax_nb.figures.intervals import forest
from infomax_nb.figures.motion import film
from infomax_nb.figures.sliders import choice, record
from pipeline.site.moving import FOLDER, give_films, give_sliders

GREYS = [0, 60, 120, 180, 240]


def fill_with_grey(figure, number):
    figure.set_facecolor([GREYS[number] / 255] * 3)


def test_a_film_has_the_frames_that_were_drawn():
    made = film(fill_with_grey, 5, "five greys", seconds=0.1, hold=2, size=(2, 1))
    with Image.open(io.BytesIO(made.webp)) as opened:
        assert opened.format == "WEBP"
        assert opened.n_frames == 5
        assert opened.info["loop"] == 0  # for ever
        for number, grey in enumerate(GREYS):
            opened.seek(number)
            assert opened.size == (200, 100)
            assert abs(np.asarray(opened.convert("RGB"), float).mean() - grey) < 2
        assert opened.info["duration"] == 2000


def test_a_films_still_is_its_last_frame():
    made = film(fill_with_grey, 5, "five greys", size=(2, 1))
    still = np.asarray(Image.open(io.BytesIO(made.still)))
    assert still.shape == (100, 200, 3)
    assert (still == 240).all()


def test_a_film_is_shown_without_scripts():
    made = film(fill_with_grey, 2, 'a "quoted" <text>', size=(2, 1))
    shown = made._repr_mimebundle_()
    assert set(shown) == {"text/html", "image/png", "text/plain"}
    assert 'alt="a &quot;quoted&quot; &lt;text&gt;"' in shown["text/html"]
    assert "<script" not in shown["text/html"]
    data = shown["text/html"].partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(data) == made.webp
    assert base64.b64decode(shown["image/png"]) == made.still


def noise(figure, number):
    pixels = np.random.default_rng(number).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    figure.figimage(pixels)


@pytest.mark.parametrize(
    ("draw", "frames", "alt", "words"),
    [
        (fill_with_grey, 1, "x", "frames = 1 is not allowed: it must be at least 2"),
        (fill_with_grey, 3, " ", "alt = ' ' is not allowed: it must be a text that says"),
        (noise, 4, "noise", "at most 1.5 MB are allowed"),
    ],
    ids=["one frame", "no text", "too large"],
)
def test_a_film_that_is_not_allowed(draw, frames, alt, words):
    with pytest.raises(ParameterError, match=words):
        film(draw, frames, alt, size=(9, 9))


def bars(height, width):
    """Bars of a height, and a table that says it."""
    figure, axis = plt.subplots(figsize=(2, 2))
    axis.bar([0], [height], width)
    axis.set(xlim=(-1, 1), ylim=(0, 10))
    return figure, pd.DataFrame({"height": [height]})


CHOICES = {
    "height": choice("height of the bar", [1, 5, 9], 5),
    "width": choice("width", [0.5, 1.5], 1.5),
}


def pixels_of(figure) -> np.ndarray:
    """A figure's pixels, as a notebook shows them."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight")
    plt.close(figure)
    return np.asarray(Image.open(picture).convert("RGB"))


def test_each_state_is_the_picture_that_is_drawn():
    states = record(bars, CHOICES)
    assert [slider["start"] for slider in states["sliders"]] == [1, 1]
    assert states["sliders"][0]["texts"] == ["1", "5", "9"]
    assert list(states["pictures"]) == ["0,0", "0,1", "1,0", "1,1", "2,0", "2,1"]
    picture = Image.open(io.BytesIO(base64.b64decode(states["pictures"]["2,0"])))
    assert (np.asarray(picture) == pixels_of(bars(9, 0.5)[0])).all()
    assert "<td>9</td>" in states["tables"]["2,0"]


EXPLORES = """
import matplotlib.pyplot as plt
from infomax_nb.figures.sliders import choice, explore

def draw(height):
    figure, axis = plt.subplots(figsize=(2, 2))
    axis.bar([0], [height])
    return figure

explore(draw, height=choice("height", [1, 2, 3], 2))
"""


@pytest.mark.parametrize("recorded", [False, True])
def test_states_are_recorded_if_the_environment_asks_for_it(recorded, monkeypatch):
    monkeypatch.setenv(sliders.RECORDING, "1" if recorded else "")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(EXPLORES)])
    NotebookClient(notebook, timeout=120).execute()
    kinds = [kind for output in notebook.cells[0].outputs for kind in output.data]
    assert kinds.count("image/png") == 1  # the picture at the start, once
    assert kinds.count(sliders.STATES) == recorded


def test_a_start_that_is_none_of_the_values():
    with pytest.raises(ParameterError, match="start = 3 is not allowed: it must be one of 1, 2"):
        choice("κ", [1, 2], 3)


def test_the_site_gives_recorded_states_their_sliders(tmp_path):
    states = record(bars, CHOICES)
    data = {sliders.STATES: states, "text/plain": ""}
    output = nbformat.v4.new_output("display_data", data)
    cell = nbformat.v4.new_code_cell("explore()", id="abc", outputs=[output])
    cell.metadata["mystnb"] = {"image": {"alt": 'Figure 1. A "bar"'}}
    give_sliders(nbformat.v4.new_notebook(cells=[cell]), "00_x", tmp_path)
    (shown,) = cell.outputs
    html = shown.data["text/html"]
    assert html.count('type="range"') == 2
    assert 'src="../_moving/00_x-abc/1-1.webp"' in html
    assert "Figure 1. A &quot;bar&quot;" in html
    assert html.count(" hidden>") == 5
    files = {path.name for path in (tmp_path / FOLDER / "00_x-abc").iterdir()}
    assert files == {"0-0.webp", "0-1.webp", "1-0.webp", "1-1.webp", "2-0.webp", "2-1.webp"}


def test_the_site_shows_a_film_or_its_still(tmp_path):
    made = film(fill_with_grey, 2, 'a "bar"', size=(2, 1))
    output = nbformat.v4.new_output("execute_result", made._repr_mimebundle_(), execution_count=1)
    cell = nbformat.v4.new_code_cell("film()", id="abc", outputs=[output])
    give_films(nbformat.v4.new_notebook(cells=[cell]), "00_x", tmp_path)
    (shown,) = cell.outputs
    assert set(shown.data) == {"text/html", "text/plain"}
    html = shown.data["text/html"]
    still = 'media="(prefers-reduced-motion: reduce)" srcset="../_moving/00_x-abc-0.png"'
    assert still in html
    assert 'alt="a &quot;bar&quot;" src="../_moving/00_x-abc-0.webp"' in html
    assert (tmp_path / FOLDER / "00_x-abc-0.webp").read_bytes() == made.webp
    assert (tmp_path / FOLDER / "00_x-abc-0.png").read_bytes() == made.still


POINTS = pd.DataFrame(
    {
        "mean": [1.0, 2.0, 3.0],
        "low": [0.5, 1.5, np.nan],
        "high": [1.5, 2.5, np.nan],
        "series": ["by eye", "by ear", "by ear"],
    },
    index=["ours", "ours", "SimCLR"],
)


def test_a_forest_plot_has_its_means_intervals_and_references():
    figure = forest({"points": POINTS}, {"points": {"no difference": 0.0}})
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["ours", "SimCLR"]
    bars_drawn = [segment for each in axis.collections for segment in each.get_segments()]
    assert sorted(bar[:, 0].tolist() for bar in bars_drawn) == [[0.5, 1.5], [1.5, 2.5]]
    on_top = {x: line.get_markerfacecolor() for line in axis.lines for x in places(line)}
    assert {x for x, face in on_top.items() if face == "white"} == {3.0}  # no interval
    assert set(on_top) == {1.0, 2.0, 3.0}
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["by eye", "by ear", "no difference"]
    plt.close(figure)


def places(line) -> list[float]:
    """The x coordinates of a line with markers."""
    return [] if line.get_marker() in ("None", None) else np.asarray(line.get_xdata()).tolist()


def test_sixteen_series_look_different():
    looks = [tuple(look(number).values()) for number in range(16)]
    assert len(set(looks)) == 16
    assert look(16) == look(0)


def test_zero_has_no_place_on_a_logarithmic_axis():
    with pytest.raises(ParameterError, match=r"values = \[0, 1\] is not allowed: .* above 0"):
        log_ticks(plt.figure().add_subplot(), [0, 1])


def test_a_forest_plot_of_nothing():
    with pytest.raises(ParameterError, match="tables with at least one row each"):
        forest({"points": POINTS.iloc[:0]})


# Machado, Oliveira and Fernandes 2009, Table 1, full severity: linear RGB as others see it.
EYES = {
    "all cones": np.eye(3),
    "no long cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no middle cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SHADES = [list(plots.shades(range(number)).values()) for number in range(2, 7)]
PALETTES = {"methods": plots.COLOURS, **{f"{len(shades)} numbers": shades for shades in SHADES}}


def linear(colours) -> np.ndarray:
    """sRGB, 0 to 1, as linear light."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def as_srgb(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("eyes", EYES)
def test_colours_are_told_apart(palette, eyes):
    """By 7 in CIEDE2000 at least, where 1 is just noticeable."""
    seen = as_srgb(linear(PALETTES[palette]) @ np.transpose(EYES[eyes]))
    lab = rgb2lab(seen[None])[0]
    near = min(deltaE_ciede2000(a, b) for a, b in combinations(lab, 2))
    assert near >= 7


@pytest.mark.parametrize("palette", PALETTES)
def test_colours_stand_out_from_white(palette):
    """Contrast after WCAG: 3 for methods; 2 for numbers, whose lines have a dash each, too."""
    luminance = linear(PALETTES[palette]) @ [0.2126, 0.7152, 0.0722]
    assert (1.05 / (luminance + 0.05)).min() >= (3 if palette == "methods" else 2)
