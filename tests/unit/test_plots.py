"""Names as figures show them: as text, in letters that a font here has, in silence."""

import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from infomax_nb import plots
from infomax_nb.data import glyphs

NOWHERE = "\U0010fffd"  # a private letter, which no font here has
AWKWARD = ["$100", "$5 and $6", "$x_{$", "a\\b", r"\$", "%s {} #1", "caf\udce9", "a\nb"]
AWKWARD += ["x" * 255, "猫", "หมาน้อย", NOWHERE, ""]


def drawn(text: str) -> np.ndarray:
    """The pixels of a text; a warning of any kind is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plt.figure(figsize=(4, 0.5))
        figure.text(0.1, 0.3, text)
        figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., 0].copy()
    plt.close(figure)
    return pixels


@pytest.mark.parametrize(
    "name", ["$100", "$5 and $6", "$x$", "a $ b $ c $", "$x_{$", "a\\alpha", "%s {} #1"]
)
def test_a_dollar_is_a_dollar(name):
    """The pixels are those of the same letters drawn with formulas switched off."""
    figure = plt.figure(figsize=(4, 0.5))
    figure.text(0.1, 0.3, name, parse_math=False)
    figure.canvas.draw()
    expected = np.asarray(figure.canvas.buffer_rgba())[..., 0].copy()
    plt.close(figure)
    assert (expected < 200).any()
    assert (drawn(plots.label(name)) == expected).all()


@pytest.mark.parametrize("name", AWKWARD)
def test_every_name_is_drawn_in_silence(name):
    for text in (plots.label(name), plots.label(name, 7), plots.label(name, most=20)):
        drawn(text)
        assert plots.label(text) == text
        assert text.encode().decode() == text
        assert len(text.replace(r"\$", "$")) <= 24


def test_names_whose_letters_no_font_has_become_numbers():
    names = ["cat", NOWHERE, 2 * NOWHERE, "кот", f"{NOWHERE} and cat"]
    assert plots.labels(names) == ["cat", "1", "2", "кот", "4"]


def test_without_a_number_a_question_mark_stands_for_a_letter():
    assert plots.label(f"{NOWHERE} and cat") == "? and cat"


def test_numbers_that_are_names_of_others_are_told_apart():
    assert plots.labels(["1", NOWHERE]) == ["1 (0)", "1 (1)"]
    assert len(set(plots.labels(["a", "a", "a (1)"]))) == 3


def test_names_that_are_cut_stay_apart():
    names = [f"{'a' * 40}{k}{'b' * 40}" for k in range(3)] + ["short"]
    got = plots.labels(names)
    assert len(set(got)) == 4
    assert got[3] == "short"
    assert all("…" in text and len(text) < 30 for text in got[:3])


def test_names_of_glyphs_stay_as_they_are():
    names = [symbol for _, symbol in glyphs.classes(340)]
    assert [text.replace(r"\$", "$") for text in plots.labels(names)] == names


def font_with(path, letter: str) -> None:
    """A font whose only letter is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    shape = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": shape})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "One Square", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def test_a_font_of_this_machine_is_asked_first(tmp_path):
    """A font with the letter is found and used: the square that it draws is there."""
    font_with(tmp_path / "square.ttf", "猫")
    before = list(plt.rcParams["font.family"])
    font_manager.fontManager.addfont(tmp_path / "square.ttf")
    plots._fonts.cache_clear()
    try:
        assert plots.label("猫 cat", 3) == "猫 cat"
        assert plt.rcParams["font.family"] == [*before, "One Square"]
        assert plots.label("猫 หมา", 3) == "3"  # no font has all of it
        squares = drawn(plots.label("猫", 3))
        rows, columns = np.nonzero(squares < 50)
        assert (squares[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()] < 50).all()
    finally:
        plt.rcParams["font.family"] = before
        font_manager.fontManager.ttflist[:] = [
            f for f in font_manager.fontManager.ttflist if f.name != "One Square"
        ]
        plots._fonts.cache_clear()


def test_a_gallery_shows_any_name():
    images = torch.zeros(len(AWKWARD), 3, 8, 8, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plots.gallery(images, AWKWARD, wrong=[k % 2 == 0 for k in range(len(AWKWARD))])
        figure.savefig(io.BytesIO())
    boxes = [axis.title.get_window_extent() for axis in figure.axes if axis.title.get_text()]
    assert max(box.width for box in boxes) < 1.2 * figure.axes[0].get_window_extent().width
    plt.close(figure)


def test_names_in_letters_that_are_not_there_print_no_warning():
    """In a process of its own: matplotlib's complaints on stderr would be stored in a notebook."""
    code = "import torch, infomax_nb.plots as p; z = torch.zeros(2, 3, 8, 8, dtype=torch.uint8); "
    code += "p.gallery(z, ['$\u732b', '\u0e2b\u0e21\u0e32$']).savefig('/dev/null', format='png')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == ""


# --- Pictures with maps ---------------------------------------------------------------------------


def three_pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=generator)


def test_an_overlay_has_a_row_of_pictures_and_one_for_each_set_of_maps():
    pictures = three_pictures()
    rows = {"ours": torch.rand(3, 8, 8), "theirs": torch.rand(3, 8, 8)}
    figure = plots.overlay(pictures, rows)
    lines = np.array(figure.axes).reshape(3, 3)
    assert [line[0].get_ylabel() for line in lines] == ["picture", "ours", "theirs"]
    for picture, axis in zip(pictures, lines[0], strict=True):
        assert np.array_equal(axis.images[0].get_array(), picture.permute(1, 2, 0))
    for found, axis in zip(rows["theirs"], lines[2], strict=True):
        assert np.array_equal(axis.images[1].get_array(), found)
    plt.close(figure)


def test_an_overlay_draws_the_outlines_of_masks_over_maps_alone():
    masks = torch.zeros(3, 8, 8)
    masks[:, 2:5, 2:5] = 1
    figure = plots.overlay(three_pictures(), {"ours": torch.rand(3, 8, 8)}, masks)
    outlines = [len(axis.collections) for axis in figure.axes]
    assert outlines == [0, 0, 0, 1, 1, 1]
    plt.close(figure)


def test_figures_that_are_kept_have_the_projects_style():
    """Also where no notebook has set it: in a process that imports what writes them."""
    code = "import pipeline.objects.tables; import matplotlib as m; "
    code += "print(m.rcParams['axes.prop_cycle'].by_key()['color'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    written = Path(plots.__file__).with_name("figures.mplstyle").read_text("utf-8")
    first = re.search(r'axes\.prop_cycle.*?"([0-9A-F]{6})"', written)
    assert first and first[1] in done.stdout.upper()
