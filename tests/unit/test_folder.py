"""Images of one's own: any formats and sizes, with labels or without, some of them damaged."""

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.model_selection import train_test_split

from infomax_nb import plots
from infomax_nb.config import TrainConfig
from infomax_nb.data.decoding import decode_image
from infomax_nb.data.fingerprints import fingerprint
from infomax_nb.data.image_set import ImageFiles, ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.readers.class_folders import read_folder
from infomax_nb.data.sampling import stratified
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.neighbours import nearest
from infomax_nb.evaluation.probe import held_out_information
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.seeds import Use, stream
from infomax_nb.train.__main__ import main
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

SMALL = {"dataset": "folder", "image_size": 32, "batch_size": 16, "proj_dim": 16, "epochs": 1}
SMALL["device"] = "cpu"
ORIENTATION = 0x0112


def pixels(wide: int, high: int, seed: int) -> np.ndarray:
    """A smooth picture (high, wide, 3), uint8: unlike noise, it survives a JPEG's
    compression."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
    return np.array(coarse.resize((wide, high), Image.Resampling.BICUBIC))


def square(rgb: np.ndarray, size: int) -> np.ndarray:
    """The reference: the central square of (H, W, 3), scaled to (3, size, size) in one step."""
    image = Image.fromarray(rgb)
    short = min(image.size)
    left, top = ((side - short) / 2 for side in image.size)
    box = (left, top, left + short, top + short)
    scaled = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(scaled).transpose(2, 0, 1)


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colour (H, W, 3) with opacity (H, W), before white."""
    share = alpha[..., None] / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def decoded(path) -> np.ndarray:
    """What Pillow makes of a file without transparency or orientation, as RGB."""
    return np.asarray(Image.open(path).convert("RGB"))


# Each writer saves a file and returns what a person sees in it, (H, W, 3), known without `picture`.
# Lossless formats give back what was written; a JPEG, what Pillow decodes of it.


def jpeg(path, rgb, seed, **options):
    Image.fromarray(rgb).save(path, "JPEG", quality=90, **options)
    return decoded(path)


def rotated_jpeg(path, rgb, seed):
    """A camera's: the sensor's picture as it lies, and a number that says how to hold it."""
    turn = seed % 8 + 1
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    Image.fromarray(rgb).save(path, "JPEG", quality=90, exif=exif)
    raw = decoded(path)
    upright = {
        1: raw,
        2: raw[:, ::-1],
        3: raw[::-1, ::-1],
        4: raw[::-1],
        5: raw.transpose(1, 0, 2),
        6: np.rot90(raw, -1),
        7: raw.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(raw, 1),
    }
    return np.ascontiguousarray(upright[turn])


def cmyk_jpeg(path, rgb, seed):
    Image.fromarray(rgb).convert("CMYK").save(path, "JPEG", quality=95)
    return decoded(path)


def png(path, rgb, seed):
    Image.fromarray(rgb).save(path, "PNG")
    return rgb


def transparent_png(path, rgb, seed):
    alpha = np.random.default_rng(seed).integers(0, 256, rgb.shape[:2], np.uint8)
    alpha[: len(alpha) // 3] = 0
    alpha[-1:] = 255
    Image.fromarray(np.dstack([rgb, alpha])).save(path, "PNG")
    return on_white(rgb, alpha)


def palette_png(path, rgb, seed):
    """Four colours, of which the third is see-through."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 3), np.uint8)
    index = (rgb[..., 0] // 64).astype(np.uint8)
    image = Image.frombytes("P", index.shape[::-1], index.tobytes())
    image.putpalette(colours.tobytes())
    image.save(path, "PNG", transparency=2)
    return np.where((index == 2)[..., None], 255, colours[index]).astype(np.uint8)


def bilevel_png(path, rgb, seed):
    on = rgb[..., 0] > 127
    Image.fromarray(on).save(path, "PNG")
    return np.repeat(np.where(on, 255, 0).astype(np.uint8)[..., None], 3, 2)


def grey_png(path, rgb, seed):
    Image.fromarray(rgb[..., 0]).save(path, "PNG")
    return np.repeat(rgb[..., :1], 3, 2)


def grey_alpha_png(path, rgb, seed):
    alpha = rgb[..., 1].copy()
    Image.fromarray(np.dstack([rgb[..., 0], alpha])).save(path, "PNG")
    return on_white(np.repeat(rgb[..., :1], 3, 2), alpha)


def sixteen(rgb, seed) -> tuple[np.ndarray, np.ndarray]:
    """Grey values over all of 0..65535, and what they are in 0..255: 257 = 65535 / 255."""
    off = np.random.default_rng(seed).integers(-128, 129, rgb.shape[:2])
    fine = (rgb[..., 0].astype(np.uint32) * 257 + off).clip(0, 65535)
    grey = ((fine + 128) // 257).astype(np.uint8)
    return fine.astype(np.uint16), np.repeat(grey[..., None], 3, 2)


def sixteen_png(path, rgb, seed):
    fine, seen = sixteen(rgb, seed)
    Image.fromarray(fine).save(path, "PNG")
    return seen


def sixteen_tiff(path, rgb, seed):
    fine, seen = sixteen(rgb, seed)
    Image.fromarray(fine).save(path, "TIFF")
    return seen


def sixteen_pgm(path, rgb, seed):
    fine, seen = sixteen(rgb, seed)
    header = f"P5\n{fine.shape[1]} {fine.shape[0]}\n65535\n".encode()
    path.write_bytes(header + fine.astype(">u2").tobytes())
    return seen


def webp(path, rgb, seed):
    Image.fromarray(rgb).save(path, "WEBP", lossless=True)
    return rgb


def transparent_webp(path, rgb, seed):
    alpha = np.where(rgb[..., 1] > 100, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([rgb, alpha])).save(path, "WEBP", lossless=True)
    return on_white(rgb, alpha)


def gif(path, rgb, seed):
    """Two frames; the first one is the picture."""
    first, second = (Image.fromarray(part).quantize(256) for part in (rgb, 255 - rgb))
    first.save(path, "GIF", save_all=True, append_images=[second])
    return np.asarray(first.convert("RGB"))


def bmp(path, rgb, seed):
    Image.fromarray(rgb).save(path, "BMP")
    return rgb


WRITERS = {
    "jpg": jpeg,
    "progressive.jpeg": lambda *a: jpeg(*a, progressive=True),
    "exif.JPG": rotated_jpeg,
    "cmyk.jpg": cmyk_jpeg,
    "PNG": png,
    "rgba.png": transparent_png,
    "palette.png": palette_png,
    "1.png": bilevel_png,
    "grey.Png": grey_png,
    "la.png": grey_alpha_png,
    "16.png": sixteen_png,
    "16.TIFF": sixteen_tiff,
    "16.pgm": sixteen_pgm,
    "webp": webp,
    "rgba.WebP": transparent_webp,
    "gif": gif,
    "bmp": bmp,
}
SIZES = [(40, 30), (31, 57), (64, 64), (7, 9), (150, 20), (12, 200), (100, 75), (1, 1), (3, 90)]
NAMES = ["plain", "two words", 'it\'s "quoted"', "später %20", "写真", "a.b,c;d", "-p", "$HOME"]


def write(folder, n: int, first: int = 0) -> dict[str, np.ndarray]:
    """n images of all kinds, path -> what a person sees."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    kinds = list(WRITERS.items())
    for k in range(first, first + n):
        end, save = kinds[k % len(kinds)]
        wide, high = SIZES[k // 3 % len(SIZES)]
        path = folder / f"{NAMES[k % len(NAMES)]} {k}.{end}"
        written[str(path)] = save(path, pixels(wide, high, k), k)
    return written


def rubbish(folder) -> None:
    """What lies in people's folders beside images."""
    hidden_files = [".DS_Store", "._1.jpg", ".hidden.png"]
    for name in (*hidden_files, "Thumbs.db", "notes.txt", "film.mp4", "jpg"):
        (folder / name).write_bytes(b"no image")
    for hidden in (".thumbnails", ".ipynb_checkpoints"):
        (folder / hidden).mkdir()
        (folder / hidden / "small.png").write_bytes(b"no image")


def as_seen(got: ImageSet, written: dict[str, np.ndarray], paths: list[str], size: int) -> None:
    """Each image is the reference of its path; what is blended with white may be rounded another
    way."""
    assert len(got) == len(paths)
    assert got.images.dtype == torch.uint8
    for image, path in zip(got.images, paths, strict=True):
        error = np.abs(image.numpy().astype(int) - square(written[path], size)).max()
        assert error <= (1 if "rgba" in path or "la.png" in path else 0), (path, error)


def cut(path: str | Path) -> None:
    raw = Path(path).read_bytes()
    Path(path).unlink()  # it may be a link to another test's
    Path(path).write_bytes(raw[: len(raw) // 2])


def refusal(*arguments, **options) -> str:
    """The one sentence that `load` raises."""
    with pytest.raises(ParameterError) as error:
        load(*arguments, **options)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith("data_root")
    return str(error.value)


# --- Formats, sizes, names ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_a_picture_is_what_a_person_sees(tmp_path, kind):
    for seed, (wide, high) in enumerate(SIZES):
        path = tmp_path / f"{seed}.{kind}"
        seen = WRITERS[kind](path, pixels(wide, high, seed), seed)
        got = np.asarray(decode_image(path)).astype(int)
        assert got.shape == seen.shape == (*seen.shape[:2], 3)
        assert np.abs(got - seen).max() <= (1 if "rgba" in kind or "la.png" in kind else 0)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == len(SIZES)


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    """Every value there is: white is white, one 257th of it one step, a half is rounded to the
    nearest."""
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for name in ("all.png", "all.tif"):
        Image.fromarray(values).save(tmp_path / name)
        got = np.asarray(decode_image(tmp_path / name))
        assert (got == got[..., :1]).all() and (got[-1, -1] == 255).all()
        assert (got[..., 0].ravel() == np.rint(np.arange(65536) * 255 / 65535)).all()


def test_a_tiff_is_turned_once(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    raw = pixels(30, 20, 0)
    Image.fromarray(raw).save(tmp_path / "a.tif", exif=exif)
    assert (np.asarray(decode_image(tmp_path / "a.tif")) == np.rot90(raw, -1)).all()


def test_a_large_photograph_is_turned_too(tmp_path):
    """A camera's JPEG, decoded at a fraction of its size, with the orientation of a telephone held
    upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels(1600, 1200, 3)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (got,) = ImageFiles(np.array([str(tmp_path / "a.jpg")], object), 64)[:]
    error = got.numpy().astype(int) - square(np.rot90(pixels(1600, 1200, 3), -1).copy(), 64)
    assert np.abs(error).mean() < 1.5


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_whose_white_is_unknown_are_refused(tmp_path, mode):
    path = tmp_path / "depth.tif"
    Image.fromarray(pixels(20, 20, 0)[..., 0].astype(np.float32)).convert(mode).save(path)
    with pytest.raises(ParameterError, match=f"depth.tif cannot be used.* mode {mode}"):
        decode_image(path)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """300 images of 17 kinds and nine sizes without labels, and what lies beside images: the
    folder, path -> pixels."""
    folder = tmp_path_factory.mktemp("my photos") / 'a "folder", ä'
    written = write(folder, 300)
    rubbish(folder)
    return folder, written


def parts(paths: list[str]) -> dict[str, list[str]]:
    """The 80/20 division, with scikit-learn's other function for it."""
    one_class = [0] * len(paths)
    rows = range(len(paths))
    train, test = train_test_split(rows, test_size=0.2, stratify=one_class, random_state=0)
    divided = {"train": sorted(train), "test": sorted(test)}
    return {split: [paths[k] for k in numbers] for split, numbers in divided.items()}


IN_MEMORY_AND_IN_FILES = [2**30, 0]  # bytes that the images may take


@pytest.mark.parametrize("memory", IN_MEMORY_AND_IN_FILES)
def test_300_mixed_images(mixed, memory):
    folder, written = mixed
    for split, paths in parts(sorted(written)).items():
        got = load("folder", folder, split, image_size=32, memory=memory)
        assert isinstance(got.images, ImageFiles) == (memory == 0)
        assert (got.classes, set(got.labels.tolist())) == ([], {-1})
        as_seen(got[torch.arange(len(got))], written, paths, 32)


def both_splits(root, **options) -> tuple[ImageSet, ImageSet]:
    train = load("folder", root, "train", **options)
    return train, load("folder", root, "test", **options)


def test_a_folder_of_class_folders_of_mixed_images(tmp_path):
    names = sorted(["dogs & cats", "Ärger", "z"])
    written = {}
    for c, name in enumerate(names):
        written |= write(tmp_path / name / "deeper", 20, 20 * c)
        rubbish(tmp_path / name)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.txt").write_text("three classes")
    train, test = both_splits(tmp_path, image_size=24)
    assert train.classes == test.classes == names
    assert train.labels.bincount().tolist() == [16] * 3
    assert test.labels.bincount().tolist() == [4] * 3
    opaque = [path for path in written if "rgba" not in path]
    by_pixels = {square(written[path], 24).tobytes(): path for path in opaque}
    known = 0
    for part in (train, test):
        for image, label in zip(part.images, part.labels, strict=True):
            path = by_pixels.get(image.numpy().tobytes())
            known += path is not None
            assert path is None or f"/{train.classes[label]}/" in path
    assert known > 40


TREES = ["01", "NA", "oak", "pine"]
SUPERCLASSES = "class,superclass\nNA,1\noak,tree\npine,tree\n01,tree\n"


def write_trees(root, parts: tuple[str, ...]) -> TrainConfig:
    """Four classes of ten images in each part; the configuration that reads them."""
    for part in parts:
        for c, name in enumerate(TREES):
            write(root / part / name, 10, 10 * c)
    places = {"data_root": str(root), "runs_dir": str(root.with_name("runs"))}
    return TrainConfig(**SMALL, **places)


@pytest.mark.parametrize("parts", [("train", "val"), ("",)])
def test_a_table_groups_the_classes(tmp_path, parts):
    """Names that pandas would read as numbers or as missing are names."""
    write_trees(tmp_path, parts)
    plain = load("folder", tmp_path, "train", image_size=24)
    assert plain.coarse is None
    (tmp_path / "superclasses.csv").write_text(SUPERCLASSES)
    train, test = both_splits(tmp_path, image_size=24)
    for part in (train, test):
        assert part.classes == TREES
        assert part.coarse_names == ["1", "tree"]
        assert [part.coarse_names[k] for k in part.coarse] == ["tree", "1", "tree", "tree"]
    assert torch.equal(train.images, plain.images) and torch.equal(train.labels, plain.labels)


def test_another_table_is_another_data_set(tmp_path):
    config = write_trees(tmp_path, ("",))
    digests = {fingerprint(config)["digest"]}
    for table in (SUPERCLASSES, SUPERCLASSES.replace("pine,tree", "pine,1")):
        (tmp_path / "superclasses.csv").write_text(table)
        digests.add(fingerprint(config)["digest"])
    assert len(digests) == 3


WRONG_TABLES = {
    "a class is missing": "class,superclass\n01,a\nNA,b\noak,c\n",
    "a superclass is missing": "class,superclass\n01,\nNA,b\noak,c\npine,d\n",
    "other columns": "a,b\n1,2\n",
    "a class twice": SUPERCLASSES + SUPERCLASSES.splitlines()[1] + "\n",
}


@pytest.mark.parametrize("table", WRONG_TABLES.values(), ids=WRONG_TABLES.keys())
def test_a_table_of_superclasses_that_cannot_be_used_is_named(tmp_path, table):
    write_trees(tmp_path, ("",))
    (tmp_path / "superclasses.csv").write_text(table)
    assert "superclasses.csv" in refusal("folder", tmp_path, image_size=24)


# --- Layouts --------------------------------------------------------------------------------------


def by_depth(path: str) -> tuple[int, str]:
    return len(path.split("/")), path


def assert_unlabelled(root, split: str, written: dict[str, np.ndarray]) -> None:
    """The split has the written images and no labels."""
    got = load("folder", root, split, image_size=32)
    assert (got.classes, set(got.labels.tolist())) == ([], {-1})
    as_seen(got, written, sorted(written, key=by_depth), 32)


@pytest.mark.parametrize("inner", ["", "cats"])
def test_parts_without_two_class_folders_have_no_labels(tmp_path, inner):
    train = write(tmp_path / "train" / inner, 10)
    test = write(tmp_path / "test" / inner, 10, 10)
    assert_unlabelled(tmp_path, "train", train)
    assert_unlabelled(tmp_path, "test", test)


FOLDERS = {"straight": [""], "one class": ["cats"], "albums and an image": ["", "2021"]}


@pytest.mark.parametrize("folders", FOLDERS.values(), ids=FOLDERS.keys())
def test_without_two_class_folders_there_are_no_labels(tmp_path, folders):
    written = {}
    for k, folder in enumerate(folders):
        written |= write(tmp_path / folder, 10, 10 * k)
    for split, paths in parts(sorted(written, key=by_depth)).items():
        assert_unlabelled(tmp_path, split, {path: written[path] for path in paths})
    some = load("folder", tmp_path, n=5, seed=1, image_size=32)
    assert len(some) == 5
    assert some.classes == []


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_a_few_images_without_labels(tmp_path, n):
    """A part of one image is a part: NumPy takes a tensor of one row for a number, so its path came
    in its place."""
    paths = tinted(tmp_path, n)
    parts = [load("folder", tmp_path, split, image_size=8) for split in ("train", "test")]
    assert [len(part) for part in parts] == [n - -(-n // 5), -(-n // 5)]
    tints = torch.cat([part.images[:, 0, 0, 0] for part in parts])
    assert sorted(tints.tolist()) == list(range(n))
    assert len(both(tmp_path)[1]) == len(paths)


def test_val_is_the_test_split_where_there_is_no_other(tmp_path):
    written = {}
    for k, part in enumerate(("train", "val", "test")):
        for name in "ab":
            written[part] = write(tmp_path / part / name, 4, k)
    for part in ("test", "val"):
        got = load("folder", tmp_path, "test", image_size=32)
        assert got.classes == ["a", "b"]
        assert got.labels.tolist() == [0] * 4 + [1] * 4
        as_seen(got[got.labels == 1], written[part], sorted(written[part]), 32)
        shutil.rmtree(tmp_path / part)
    assert f"{tmp_path}/test" in refusal("folder", tmp_path, "test")


def test_a_folder_without_an_image_is_refused(tmp_path):
    said = refusal("folder", tmp_path)
    assert str(tmp_path) in said
    assert ".webp" in said
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".a.png").write_bytes(b"no image")
    assert "no image" in refusal("folder", tmp_path)


def test_a_folder_of_one_image_is_refused(tmp_path):
    write(tmp_path, 1)
    said = refusal("folder", tmp_path)
    assert "n_samples=1" in said
    assert "It takes more images" in said


def test_an_image_beside_class_folders_is_refused(tmp_path):
    write(tmp_path, 1)
    write(tmp_path / "cats", 4)
    write(tmp_path / "dogs", 4)
    assert "plain 0.jpg lies beside class folders" in refusal("folder", tmp_path)
    (tmp_path / "plain 0.jpg").unlink()
    assert load("folder", tmp_path).classes == ["cats", "dogs"]


def test_a_file_is_no_folder(tmp_path):
    write(tmp_path, 1)
    assert "plain 0.jpg" in refusal("folder", tmp_path / "plain 0.jpg")
    assert "not found" in refusal("folder", tmp_path / "plain 0.jpg" / "deeper")


# --- Links, companions, parts ---------------------------------------------------------------------


def tinted(folder, n: int = 5, first: int = 0) -> list[str]:
    """n small images, each of a colour of its own: their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(first, first + n):
        paths.append(str(folder / f"{k:03d}.png"))
        Image.new("RGB", (8, 8), (k % 256, k // 256, 7)).save(paths[-1])
    return paths


def listed(root, split: str) -> tuple[list[str], list[str], list[str]]:
    """Classes, paths and the class of each path, as the reader gives them."""
    got = read_folder(root, split)
    return got.classes, list(got.paths), [got.classes[k] if k >= 0 else "" for k in got.labels]


def both(root) -> tuple[list[str], dict[str, str]]:
    """The classes, and real path -> class, of both splits; no file is in both, none is there
    twice."""
    classes, train, train_labels = listed(root, "train")
    again, test, test_labels = listed(root, "test")
    real = [os.path.realpath(path) for path in train + test]
    assert classes == again
    assert len({os.stat(path).st_ino for path in real}) == len(real)
    assert train
    assert test
    return classes, dict(zip(real, train_labels + test_labels, strict=True))


def expected(*folders: tuple[str, list[str]]) -> dict[str, str]:
    return {os.path.realpath(path): name for name, paths in folders for path in paths}


def test_links_that_lead_back_add_nothing(tmp_path):
    root = tmp_path / "set"
    cats = tinted(root / "cat", 10)
    dogs = tinted(root / "dog", 10, 50)
    tinted(tmp_path / "other", 5, 100)
    truth = expected(("cat", cats), ("dog", dogs))
    assert both(root) == (["cat", "dog"], truth)
    (root / "cat" / "all").symlink_to("..")
    assert both(root) == (["cat", "dog"], truth)
    (root / "dog" / "all").symlink_to("..")
    (root / "dog" / "up").symlink_to("../..")
    (root / "dog" / "root").symlink_to("/")
    (root / "self").symlink_to(".")
    (root / "above").symlink_to("..")
    (root / "cat" / "deep").mkdir()
    (root / "cat" / "deep" / "cat").symlink_to("..")
    assert both(root) == (["cat", "dog"], truth)


def test_each_folder_is_looked_into_a_few_times_however_many_links_lead(tmp_path, monkeypatch):
    """Folders without an image, each with links to all the others: the search for one must not go
    in circles."""
    n = 15
    outside = tmp_path / "outside"
    for k in range(n):
        (outside / str(k)).mkdir(parents=True)
        for other in range(n):
            (outside / str(k) / f"to {other}").symlink_to(outside / str(other))
    for part in ("train", "test"):
        tinted(tmp_path / "set" / part / "cat")
        tinted(tmp_path / "set" / part / "dog", 5, 50)
    (tmp_path / "set" / "extra").symlink_to(outside / "0")
    looked: list[str] = []
    for name in ("scandir", "listdir"):
        really = getattr(os, name)

        def note_and_look(folder, really=really):
            looked.append(os.fspath(folder))
            return really(folder)

        monkeypatch.setattr(os, name, note_and_look)
    assert listed(tmp_path / "set", "train")[0] == ["cat", "dog"]
    times = Counter(os.path.realpath(path) for path in looked if "/extra" in path)
    assert len(times) == n
    assert max(times.values()) <= 4


def test_links_across_classes_label_nothing_anew(tmp_path):
    """A file is of the class that it lies in, whatever links to it; a second name of a class is no
    class."""
    cats = tinted(tmp_path / "cat", 10)
    dogs = tinted(tmp_path / "dog", 10, 50)
    (tmp_path / "cat" / "more").symlink_to("../dog")
    (tmp_path / "dog" / "more").symlink_to("../cat")
    (tmp_path / "cat" / "1.png").symlink_to("../dog/050.png")
    (tmp_path / "cat" / "2.png").symlink_to("000.png")
    (tmp_path / "kitty").symlink_to("cat")
    os.link(tmp_path / "dog" / "051.png", tmp_path / "dog" / "twice.png")
    assert both(tmp_path) == (["cat", "dog"], expected(("cat", cats), ("dog", dogs)))


def test_linked_classes_and_files_keep_working(tmp_path):
    cats = tinted(tmp_path / "pool" / "c", 10)
    dogs = tinted(tmp_path / "pool" / "d", 10, 50)
    (tmp_path / "pool" / "c" / "back").symlink_to("..")
    folders = tmp_path / "folders"
    files = tmp_path / "files"
    for name, source, paths in (("cat", "c", cats), ("dog", "d", dogs)):
        (files / name).mkdir(parents=True)
        folders.mkdir(exist_ok=True)
        (folders / name).symlink_to(tmp_path / "pool" / source)
        for path in paths:
            (files / name / f"link {os.path.basename(path)}").symlink_to(path)
    for root in (folders, files):
        assert both(root) == (["cat", "dog"], expected(("cat", cats), ("dog", dogs)))
        assert all(path.startswith(f"{root}/") for path in listed(root, "train")[1])
    (tmp_path / "alias").symlink_to(folders)
    assert both(tmp_path / "alias") == (["cat", "dog"], expected(("cat", cats), ("dog", dogs)))


def test_no_link_brings_a_training_image_into_the_test_split(tmp_path):
    for k, part in enumerate(("train", "test")):
        for c, name in enumerate("ab"):
            tinted(tmp_path / part / name, 5, 20 * k + 10 * c)
    (tmp_path / "train" / "a" / "more").symlink_to("../../test/a")
    (tmp_path / "test" / "b" / "more").symlink_to("../../train/b")
    os.link(tmp_path / "train" / "a" / "000.png", tmp_path / "test" / "a" / "hard.png")
    classes, labels = both(tmp_path)
    assert classes == ["a", "b"]
    assert len(labels) == 20
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").symlink_to("train")
    assert "another name (link)" in refusal("folder", tmp_path, "test")


def test_what_is_no_file_is_not_opened(tmp_path):
    """A pipe would be waited for for ever."""
    tinted(tmp_path / "cat")
    tinted(tmp_path / "dog")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "folder.png").mkdir()
    assert len(load("folder", tmp_path, image_size=8)) == 8


@pytest.mark.parametrize(("name", "target"), [("lost.png", "nothing"), ("ring.png", "ring.png")])
def test_a_link_to_nothing_is_an_image_that_is_missing(tmp_path, name, target):
    tinted(tmp_path / "train" / "cat")
    tinted(tmp_path / "train" / "dog")
    (tmp_path / "train" / "dog" / name).symlink_to(target)
    assert str(tmp_path / "train" / "dog" / name) in listed(tmp_path, "train")[1]
    assert f"dog/{name} cannot be used" in refusal("folder", tmp_path, image_size=8)


LEFT_BEHIND = ["@eaDir", "__MACOSX", ".thumbnails", ".AppleDouble", ".ipynb_checkpoints", "Thumbs"]
LEFT_BEHIND += ["thumbnails", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "lost+found", "CVS"]
LEFT_BEHIND += ["System Volume Information", "_thumbs", "~snapshot", "FOUND.000", "LOST.DIR"]
LEFT_BEHIND += ["@SynoResource", "CANONMSC", ".Trash-1000", "@Recycle", "Network Trash Folder"]
LEFT_BEHIND += ["RECYCLER", "_vti_cnf", "THMBNL"]


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_servers_macs_and_cameras_leave_is_left_out(tmp_path, name):
    cats = tinted(tmp_path / "cat" / "2021" / "may", 8)
    dogs = tinted(tmp_path / "dog", 8, 50)
    for place in ("", "cat", "dog", "cat/2021", "cat/2021/may"):
        tinted(tmp_path / place / name, 3, 100)
        tinted(tmp_path / place / name / "deeper", 3, 100)
    for path in cats + dogs:
        Path(path).with_name("._" + os.path.basename(path)).write_bytes(b"resource fork")
    assert both(tmp_path) == (["cat", "dog"], expected(("cat", cats), ("dog", dogs)))
    shutil.rmtree(tmp_path / "dog")
    assert both(tmp_path)[0] == []  # one class, and no second one by its companions


PARTS = [("Training", "Testing"), ("TRAIN", "VAL"), ("seg_train", "seg_test")]
PARTS += [("train_set", "test_set"), ("train", "validation"), ("train", "valid"), ("Train", "Dev")]
PARTS += [("images/train", "images/val"), ("train/images", "valid/images")]
PARTS += [("archive/seg_train/seg_train", "archive/seg_test/seg_test")]
PARTS += [("trainset", "testset"), ("mnist_train", "mnist_test")]
PARTS += [("Training Images", "Test-Images"), ("trainA", "testA"), ("catsTrain", "catsTest")]
PARTS += [("TrainData", "TestData"), ("train2017", "val2017"), ("training_data", "evaluation")]
PARTS += [("a/b/c/Train", "a/b/c/Test")]


@pytest.mark.parametrize(("train", "test"), PARTS)
def test_parts_under_other_names(tmp_path, train, test):
    expected_paths = {}
    for k, (split, part) in enumerate((("train", train), ("test", test))):
        a = tinted(tmp_path / part / "a", 5, 20 * k)
        b = tinted(tmp_path / part / "b", 5, 20 * k + 10)
        expected_paths[split] = a + b
    for split, paths in expected_paths.items():
        assert listed(tmp_path, split) == (["a", "b"], paths, ["a"] * 5 + ["b"] * 5)
    both(tmp_path)


def test_what_lies_beside_parts_with_the_same_classes(tmp_path):
    for part in ("seg_train/seg_train", "seg_test/seg_test"):
        tinted(tmp_path / part / "a")
        tinted(tmp_path / part / "b")
    tinted(tmp_path / "seg_pred" / "seg_pred")
    tinted(tmp_path / "masks" / "a")
    (tmp_path / "labels").mkdir()
    assert listed(tmp_path, "train")[0] == ["a", "b"] and len(listed(tmp_path, "test")[1]) == 10


MIXED = [("train", "bus"), ("test", "control"), ("valid", "invalid"), ("Dev", "prod")]
MIXED += [("train", "test", "control"), ("trainA", "trainB", "testA", "testB")]
MIXED += [("train1", "train2"), ("Training", "training")]
MIXED += [("cats_train", "cats_test", "dogs_train", "dogs_test")]


@pytest.mark.parametrize("names", MIXED, ids=str)
def test_parts_or_classes_is_asked(tmp_path, names):
    for k, name in enumerate(names):
        tinted(tmp_path / name, 5, 10 * k)
    for split in ("train", "test"):
        said = refusal("folder", tmp_path, split)
        assert names[0] in said and f"{tmp_path}/train" in said and f"{tmp_path}/test" in said


@pytest.mark.parametrize("names", MIXED, ids=str)
def test_what_the_question_proposes_works(tmp_path, names):
    for k, name in enumerate(names):
        tinted(tmp_path / "train" / name, 5, 10 * k)
        tinted(tmp_path / "test" / name, 3, 10 * k + 5)
    assert listed(tmp_path, "train")[0] == listed(tmp_path, "test")[0] == sorted(names)
    assert len(both(tmp_path)[1]) == 8 * len(names)


def test_parts_whose_names_go_on_differently_are_asked_about(tmp_path):
    """With the same classes in both they are no two classes, and which part of which set they are
    is not sure."""
    for k, part in enumerate(("train_augmented", "test_clean")):
        tinted(tmp_path / part / "a", 5, 20 * k)
        tinted(tmp_path / part / "b", 5, 20 * k + 10)
    for split in ("train", "test"):
        said = refusal("folder", tmp_path, split)
        assert "(train_augmented, test_clean)" in said
        assert "parts must be called train and test" in said


def test_names_that_only_sound_like_parts(tmp_path):
    names = ["beaker", "bullet train", "dev kit", "test tube", "train station", "trainer", "valley"]
    for k, name in enumerate(names):
        tinted(tmp_path / name, 5, 10 * k)
    assert both(tmp_path)[0] == names


# --- Names ----------------------------------------------------------------------------------------


NAMES_IN_BYTES = {
    b"$100": "$100",
    b"a\nb": "a\\nb",
    b"b\xe2\x80\xaec": "bc",  # a mark that turns the direction of writing
    b"caf\xc3\xa9": "café",
    b"caf\xe9": "café (2)",
    b"x" * 255: "x" * 255,
    "หมา".encode(): "หมา",
    "狗".encode(): "狗",
}


def test_names_of_classes_can_be_printed_and_saved(tmp_path):
    for k, name in enumerate(NAMES_IN_BYTES):
        tinted(Path(os.fsdecode(bytes(tmp_path) + b"/" + name)), 5, 10 * k)
    classes, labels = both(tmp_path)
    assert set(classes) == set(NAMES_IN_BYTES.values()) and listed(tmp_path, "train")[0] == classes
    assert all(name.encode() and json.loads(json.dumps(name)) == name for name in classes)
    for path, name in labels.items():
        assert name == NAMES_IN_BYTES[os.fsencode(path).split(b"/")[-2]]


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_half_a_file_is_noticed(tmp_path, kind):
    path = tmp_path / f"half.{kind}"
    WRITERS[kind](path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), 1)
    cut(path)
    with pytest.raises(ParameterError, match="damaged: skip"):
        decode_image(path)


@pytest.fixture
def one_damaged(mixed, tmp_path):
    """The 300 images, the path of one of them that is cut in half, and the split that it is in."""
    folder = tmp_path / "photos"
    folder.mkdir()
    written = {}
    for path, seen in mixed[1].items():
        copy = folder / os.path.basename(path)
        os.link(path, copy)
        written[str(copy)] = seen
    bad = next(path for path in written if path.endswith("exif.JPG") and "two words" in path)
    cut(bad)
    split = next(split for split, paths in parts(sorted(written)).items() if bad in paths)
    return folder, written, bad, split


def test_a_damaged_image_is_refused_by_its_name(one_damaged):
    folder, _, bad, split = one_damaged
    said = refusal("folder", folder, split, image_size=32)
    assert bad in said and "truncated" in said and "`damaged: skip` leaves it out" in said
    other = {"train": "test", "test": "train"}[split]
    assert len(load("folder", folder, other, image_size=32)) > 0


@pytest.mark.parametrize("memory", IN_MEMORY_AND_IN_FILES)
def test_a_damaged_image_is_skipped_by_choice(one_damaged, capfd, memory):
    """The other 299 are there, in the split that they are in without the damage, and the one is
    named once."""
    folder, written, bad, split = one_damaged
    options = {"image_size": 32, "damaged": "skip", "memory": memory}
    total = 0
    for name, paths in parts(sorted(written)).items():
        got = load("folder", folder, name, **options)
        as_seen(got[torch.arange(len(got))], written, [path for path in paths if path != bad], 32)
        total += len(got)
        line = f"1 of {len(paths)} images are damaged and skipped:\n  {bad}\n"
        assert capfd.readouterr().err == (line if name == split else "")
    assert total == 299


def test_a_class_must_keep_an_image(tmp_path):
    write(tmp_path / "cats", 10)
    for path in write(tmp_path / "dogs", 10, 10):
        Path(path).write_bytes(b"")
    assert "dogs" in refusal("folder", tmp_path, image_size=32)
    assert "dogs are damaged" in refusal("folder", tmp_path, damaged="skip", image_size=32)


def test_a_set_without_labels_must_keep_an_image(tmp_path):
    *most, last = write(tmp_path, 10)
    for path in most:
        Path(path).write_bytes(b"")
    splits = {split: last in paths for split, paths in parts(sorted([*most, last])).items()}
    for split, is_left in splits.items():
        if is_left:
            got = load("folder", tmp_path, split, damaged="skip", image_size=32)
            assert (len(got), got.classes) == (1, [])
        else:
            said = refusal("folder", tmp_path, split, damaged="skip", image_size=32)
            assert f"all {split} images of the set are damaged" in said


def test_other_sets_of_files_skip_too(tmp_path, capfd):
    """CIFAR-10 as folders keeps its own size, which the first image tells: here, the first that can
    be read."""
    for part in ("train", "test"):
        for c, name in enumerate(("cat", "dog")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for k in range(3):
                Image.fromarray(pixels(20, 20, 10 * c + k)).save(folder / f"{k}.png")
    cut(tmp_path / "train" / "cat" / "0.png")
    assert "0.png" in refusal("cifar10", tmp_path)
    got = load("cifar10", tmp_path, damaged="skip")
    assert got.images.shape == (5, 3, 20, 20) and got.labels.tolist() == [0, 0, 1, 1, 1]
    assert str(tmp_path / "train" / "cat" / "0.png") in capfd.readouterr().err


# --- Without labels -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(mixed, tmp_path_factory):
    """A run on 64 of the 300 images, which have no labels."""
    runs = str(tmp_path_factory.mktemp("runs"))
    return fit(TrainConfig(**SMALL, data_root=str(mixed[0]), n_train=64, runs_dir=runs))


def test_a_run_without_labels_has_entropies_and_no_accuracies(trained):
    assert trained.finished and trained.record["images"] == 64
    expected = {"epoch", "loss", "h_global", "h_local", "mi_written", "mi_density", "nn_positive"}
    assert set(trained.metrics) == expected | {"grad_over_kappa", "effective_rank"}
    assert np.isfinite(trained.metrics.to_numpy()).all()
    row = trained.metrics.iloc[-1]
    assert row.loss == pytest.approx(row.h_local - row.h_global, abs=1e-3)
    assert 1 <= row.effective_rank <= 59
    assert sum(p.numel() for p in trained.method().backbone.parameters()) > 1e6
    assert Run(trained.path).config == trained.config


def test_two_folders_are_two_runs(trained, mixed, tmp_path):
    """A finished run on other photographs must not be taken for one on these."""
    write(tmp_path / "other", 80, 1000)
    other = fit(trained.config.replace(data_root=str(tmp_path / "other")))
    assert other.path != trained.path and other.metrics.loss[0] != trained.metrics.loss[0]
    assert fit(trained.config).path == trained.path


def test_labels_that_are_not_there_are_asked_for_in_one_sentence(trained):
    config = trained.config
    supervised = config.replace(method="supervised")
    for ask in (lambda: fit(supervised), lambda: datasets(config, labelled=True)):
        with pytest.raises(ParameterError) as error:
            ask()
        said = str(error.value)
        assert "labels are needed" in said and config.data_root in said
        assert len(said.splitlines()) == 1
    assert not supervised.run_dir.exists()


@pytest.mark.parametrize("method", ["simclr", "vicreg", "barlow_twins", "byol", "dino"])
def test_every_other_method_trains_without_labels(trained, method):
    metrics = fit(trained.config.replace(method=method, n_train=32)).metrics
    assert set(metrics) == {"epoch", "loss", "effective_rank"}
    assert np.isfinite(metrics.to_numpy()).all()


def test_a_command_line_skips_and_says_so(one_damaged, tmp_path, monkeypatch, capfd):
    folder, _, bad, split = one_damaged
    file = tmp_path / "own.yaml"
    file.write_text("".join(f"{name}: {value}\n" for name, value in SMALL.items()))
    places = ["-p", "data_root", str(folder), "-p", "runs_dir", str(tmp_path / "runs")]
    command = ["train", str(file), *places]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert bad in str(stopped.value) and len(str(stopped.value).splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    monkeypatch.setattr(sys, "argv", [*command, "-p", "damaged", "skip"])
    main()
    said = capfd.readouterr()
    run = Run(tmp_path / "runs" / said.out.strip().split("/")[-1])
    assert said.err.count(bad) == 1 and "1 of " in said.err
    assert run.config.damaged == "skip" and run.record["images"] == 240 - (split == "train")


def shown_columns(metrics) -> list[str]:
    """The labels of the axes that are drawn for accuracies, or in their place."""
    figure = plots.curves(metrics, ["linear_top1", "knn_top1"])
    plots.plt.close(figure)
    return [axis.get_ylabel() for axis in figure.axes]


def test_figures_show_what_there_is(trained):
    without = [plots.LABELS[name] for name in ("mi_density", "effective_rank")]
    assert shown_columns(trained.metrics) == without
    labelled = trained.metrics.assign(linear_top1=1.0, knn_top1=2.0)
    accuracies = [plots.LABELS[name] for name in ("linear_top1", "knn_top1")]
    assert shown_columns(labelled) == accuracies


def test_neighbours_of_a_small_folder():
    bank = torch.randn(4, 6)
    neighbours = nearest(bank, bank, 9)
    assert neighbours.shape == (4, 4)
    assert neighbours[:, 0].tolist() == [0, 1, 2, 3]


def test_information_on_few_images(trained):
    """60 images: one batch of 480 views, whose ceiling is log(479 / 7), not that of 1,024."""
    test = load("folder", trained.config.data_root, "test", image_size=32)
    method = trained.method()
    got = held_out_information(method, test)
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    rows = stratified(test.labels, 60, 0)
    with torch.no_grad():
        views = method.project(MultiView(dino_views(32))(test.images[rows], generator))
        h_global, h_local = map(float, InfoMaxLoss(10.0).entropies(views))
    assert got["h_global"] == pytest.approx(h_global)
    assert got["h_local"] == pytest.approx(h_local)
    assert got["mi_density"] == pytest.approx(h_global - h_local + np.log(479 / 7))


def test_information_on_one_image(trained):
    test = load("folder", trained.config.data_root, "test", image_size=32)
    with pytest.raises(ParameterError, match="the test split has 1 image"):
        held_out_information(trained.method(), test[:1])
