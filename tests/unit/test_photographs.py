"""Photographs of one's own in notebook 06: which of how many, whole, and what a damaged one
does."""

import numpy as np
import pytest
import torch
from PIL import Image

from infomax_nb.data import photographs
from infomax_nb.errors import ParameterError


def write(folder, name: str, width: int, height: int) -> np.ndarray:
    """A picture whose left half is red and whose right half is blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 200
    pixels[:, width // 2 :, 2] = 200
    Image.fromarray(pixels).save(folder / name)
    return pixels


def test_the_first_eight_by_name_of_those_that_are_there(tmp_path):
    for k in range(11):
        write(tmp_path, f"IMG {k:02d} $x$.png", 80, 80)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".IMG 00.png").write_bytes(b"hidden")
    (tmp_path / "folder.png").mkdir()
    album = photographs.own(str(tmp_path))
    assert [each.name for each in album.shown] == [f"IMG {k:02d} $x$.png" for k in range(8)]
    said = album.in_words()
    assert said.startswith("8 of 11 pictures, the first by name: 1 IMG 00 $x$.png, 2 IMG 01 ")


def test_a_folder_may_have_the_name_of_an_image(tmp_path):
    (tmp_path / "folder.png").mkdir()
    write(tmp_path / "folder.png", "only.png", 80, 80)
    said = photographs.own(str(tmp_path / "folder.png")).in_words()
    assert said == "1 of 1 pictures, all: 1 only.png"


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((300, 200), (64, 96)),
        ((200, 300), (96, 64)),
        ((64, 64), (64, 64)),
        ((31, 40), (84, 64)),  # 82.6 is nearest to 84 among the multiples of 4
        ((4000, 30), (64, 1024)),
        ((1, 1), (64, 64)),
    ],
)
def test_a_picture_is_whole(tmp_path, size, seen):
    """Both ends of a wide picture are there, in their colours; of its central square they would not
    be."""
    write(tmp_path, "a.png", *size)
    (photograph,) = photographs.own(str(tmp_path)).shown
    assert photograph.pixels.dtype == torch.uint8 and tuple(photograph.pixels.shape) == (3, *seen)
    if size[0] > 2:
        left, right = (photograph.pixels[:, :, x].float().mean(1) for x in (2, -3))
        assert left.tolist() == pytest.approx([200, 0, 0], abs=3)
        assert right.tolist() == pytest.approx([0, 0, 200], abs=3)


def test_a_damaged_one_is_refused_by_its_name_or_left_out(tmp_path):
    for k in range(9):
        write(tmp_path, f"{k}.png", 70, 70)
    path = tmp_path / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ParameterError) as error:
        photographs.own(str(tmp_path))
    said = str(error.value)
    assert said.startswith(f"photos: {path} cannot be used")
    assert "damaged: skip" in said and "\n" not in said
    album = photographs.own(str(tmp_path), damaged="skip")
    assert [each.name for each in album.shown] == [f"{k}.png" for k in (0, 1, 2, 4, 5, 6, 7, 8)]
    assert album.in_words().endswith("; damaged and left out: 3.png")
    assert len(photographs.own(str(tmp_path), most=3).shown) == 3  # what is not shown is not read


def test_what_is_no_folder_of_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    folders = [tmp_path / name for name in ("empty", "none", "text.png")]
    for folder in (*folders, "~nobody-of-this-name", "x" * 300):
        with pytest.raises(ParameterError, match="^photos") as error:
            photographs.own(str(folder))
        assert "\n" not in str(error.value)
    with pytest.raises(ParameterError, match="all pictures in it are damaged: text.png"):
        photographs.own(str(tmp_path), damaged="skip")


def test_a_name_in_other_bytes_can_be_printed(tmp_path):
    odd = tmp_path / b"caf\xe9.png".decode("utf-8", "surrogateescape")
    write(tmp_path, "a.png", 70, 70)
    try:
        (tmp_path / "a.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert "café.png" in photographs.own(str(tmp_path)).in_words().encode().decode()


def test_a_name_of_two_lines_is_shown_in_one(tmp_path):
    write(tmp_path, "a\nb.png", 70, 70)
    assert photographs.own(str(tmp_path)).in_words() == r"1 of 1 pictures, all: 1 a\nb.png"


def test_those_that_are_shipped():
    album = photographs.shipped()
    names = [photograph.name for photograph in album.shown]
    assert names[:2] == ["chelsea.png", "astronaut.png"] and len(names) == 6
    assert album.squares.shape == (6, 3, 64, 64)
    wide = album.shown[0].pixels
    assert wide.shape == (3, 64, 96) and torch.equal(album.squares[0], wide[:, :, 16:80])
