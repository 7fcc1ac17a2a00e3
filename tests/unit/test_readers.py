"""Publishers' layouts, written here file by file; sets that stay in their files; what damage is
called."""

import hashlib
import pickle
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from torch import nn
from torchvision.datasets import CIFAR100, STL10

from infomax_nb.data import loading as data
from infomax_nb.data.image_set import ImageFiles, ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.readers import torchvision_sets as readers
from infomax_nb.data.sampling import batches
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation import online as evaluation

PHOTOGRAPHS = [Image.fromarray(image) for image in load_sample_images().images]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(wide: int, high: int, seed: int = 0) -> Image.Image:
    """Part of a photograph: unlike noise, it survives a JPEG's compression."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 300), rng.integers(0, 150)
    return (
        PHOTOGRAPHS[seed % 2]
        .crop((x, y, x + 320, y + 270))
        .resize((wide, high), Image.Resampling.LANCZOS)
    )


def save(path, image: Image.Image | np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
    return str(path)


def pillow(path, size: int | None = None) -> torch.Tensor:
    """The reference: the central square, scaled in one step."""
    image = Image.open(path).convert("RGB")
    if size is not None:
        short, (wide, high) = min(image.size), image.size
        left, top = (wide - short) / 2, (high - short) / 2
        image = image.resize(
            (size, size), Image.Resampling.BICUBIC, box=(left, top, left + short, top + short)
        )
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def truncate(path, keep: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def refusal(*arguments, **options) -> str:
    """The one sentence that `load` raises."""
    with pytest.raises(ParameterError) as error:
        load(*arguments, **options)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith("data_root:")
    return str(error.value)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder, and no data elsewhere on this machine."""
    monkeypatch.setattr(readers, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setattr("infomax_nb.files.project_root", lambda: tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


# --- Few files with published sums ----------------------------------------------------------------


@pytest.fixture
def cifar100(root, monkeypatch):
    """CIFAR-100's Python version; torchvision knows these files' MD5 sums."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    superclass = rng.permutation(np.repeat(np.arange(20), 5))

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    written = {}
    for k, (name, n) in enumerate((("train", 300), ("test", 100))):
        fine, rows = rng.permutation(np.arange(n) % 100), noise(n, 3072, seed=k)
        batch = {
            "filenames": [f"{j}.png" for j in range(n)],
            "batch_label": f"{name}ing batch 1 of 1",
            "fine_labels": fine.tolist(),
            "coarse_labels": superclass[fine].tolist(),
            "data": rows,
        }
        monkeypatch.setattr(CIFAR100, f"{name}_list", [write(name, batch)])
        written[name] = rows, fine
    names = {
        "fine_label_names": [f"f{k}" for k in range(100)],
        "coarse_label_names": [f"c{k}" for k in range(20)],
    }
    meta = write("meta", names)
    monkeypatch.setattr(
        CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": meta[1]}
    )
    return folder, written, superclass


def test_cifar100(root, cifar100):
    _, written, superclass = cifar100
    for split, (rows, fine) in written.items():
        got = load("cifar100", root, split)
        assert got.images.dtype == torch.uint8 and got.images.is_contiguous()
        assert torch.equal(got.images, torch.from_numpy(rows).reshape(-1, 3, 32, 32))
        assert got.labels.tolist() == fine.tolist()
        assert got.classes == [f"f{k}" for k in range(100)]
        assert got.coarse.dtype == torch.int64
        assert got.coarse.tolist() == superclass.tolist()
        assert got.coarse_names == [f"c{k}" for k in range(20)]
    part = load("cifar100", root, "train", n=100, image_size=16)
    assert sorted(part.labels.tolist()) == list(range(100))
    assert (part.images.shape, part.coarse.tolist()) == ((100, 3, 16, 16), superclass.tolist())


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
@pytest.mark.parametrize("damage", ["truncated", "hostile", "missing"])
def test_damaged_cifar100_is_named_and_not_unpickled(root, cifar100, name, damage):
    path, trap = cifar100[0] / name, root / "touched"
    if damage == "truncated":
        truncate(path)
    elif damage == "hostile":
        path.write_bytes(pickle.dumps(_Touch(trap)))
    else:
        path.unlink()
    said = refusal("cifar100", root)
    assert str(path) in said and "MD5" in said and "CIFAR100(" in said
    assert not trap.exists()


def test_damaged_stl10_is_named(root, monkeypatch):
    folder = root / "stl10_binary"
    folder.mkdir()
    files = {"train_X.bin": noise(4, 3, 96, 96), "train_y.bin": np.arange(1, 5, dtype=np.uint8)}
    files |= {"unlabeled_X.bin": noise(2, 3, 96, 96, seed=1)}
    files |= {
        "test_X.bin": noise(3, 3, 96, 96, seed=2),
        "test_y.bin": np.arange(1, 4, dtype=np.uint8),
    }
    sums = [[name, hashlib.md5(array.tobytes()).hexdigest()] for name, array in files.items()]
    monkeypatch.setattr(STL10, "train_list", sums[:3])
    monkeypatch.setattr(STL10, "test_list", sums[3:])
    for name, array in files.items():
        (folder / name).write_bytes(array.tobytes())
    assert load("stl10", root, "unlabeled").labels.tolist() == [0, 1, 2, 3, -1, -1]
    for name, array in files.items():
        truncate(folder / name)
        assert str(folder / name) in refusal("stl10", root)
        (folder / name).unlink()
        assert str(folder / name) in refusal("stl10", root)
        (folder / name).write_bytes(array.tobytes())


# --- LC25000 --------------------------------------------------------------------------------------

CLASSES = ["colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"]
LAYOUTS = ["lung_colon_image_set/{half}_image_sets/{name}", "lc25000/{name}", "{name}"]


def write_lc25000(
    root, layout=LAYOUTS[0], classes=CLASSES, per_class=20, size=96
) -> dict[str, str]:
    """`<class>/<file>` -> path, in order; four copies of each of five tiles a class, listed in
    groups.csv."""
    written, groups = {}, []
    for c, name in enumerate(classes):
        for k in range(per_class):
            file = f"{name.replace('_', '')}{k + 1}.jpeg"
            path = root / layout.format(half=name.split("_")[0], name=name) / file
            written[f"{name}/{file}"] = save(path, photo(size, size, 100 * c + k))
            groups.append((f"{name}/{file}", f"{name}-{k % 5:03}"))
    table = pd.DataFrame(groups, columns=["image", "group"])
    extra = pd.DataFrame(
        [("lung_n/elsewhere.jpeg", "lung_n-999")], columns=table.columns
    )  # it may know of more
    pd.concat([table, extra]).sample(frac=1, random_state=0).to_csv(
        root / "groups.csv", index=False
    )
    return dict(sorted(written.items()))


def rows_of(got: ImageSet, written: dict[str, str]) -> list[int]:
    """Which of the written images these are, found by their pixels; all are different."""
    where = {pillow(path).numpy().tobytes(): k for k, path in enumerate(written.values())}
    assert len(where) == len(written)
    rows = [where[image.numpy().tobytes()] for image in got.images]
    names = list(written)
    assert [got.classes[label] for label in got.labels] == [names[k].split("/")[0] for k in rows]
    return rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lc25000(root, layout):
    written = write_lc25000(root, layout)
    train, test = (load("lc25000", root, split) for split in ("train", "test"))
    assert train.classes == test.classes == CLASSES
    assert train.images.shape == (80, 3, 96, 96)
    assert (train.labels.bincount().tolist(), test.labels.bincount().tolist()) == (
        [16] * 5,
        [4] * 5,
    )
    parts = train_test_split(
        np.arange(100),
        test_size=0.2,
        stratify=np.repeat(np.arange(5), 20),
        random_state=0,
        shuffle=True,
    )
    assert [rows_of(part, written) for part in (train, test)] == [sorted(part) for part in parts]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lc25000_lung_half(root, layout):
    written = write_lc25000(root, layout, CLASSES[2:], per_class=10)
    for name in ("lc25000", "lc25000_groups"):
        train, test = (load(name, root, split) for split in ("train", "test"))
        assert train.classes == CLASSES[2:]
        assert test.labels.bincount().tolist() == [2, 2, 2]
        assert sorted(rows_of(train, written) + rows_of(test, written)) == list(range(30))


@pytest.mark.parametrize("place", ["lc25000", ".", "as lc25000_groups.csv", "lung_colon_image_set"])
def test_lc25000_groups_hold_out_whole_groups(root, place):
    written = write_lc25000(root)
    group = pd.read_csv(root / "groups.csv", index_col="image")["group"].reindex(list(written))
    target = root / "lc25000_groups.csv" if place.startswith("as") else root / place / "groups.csv"
    target.parent.mkdir(exist_ok=True)
    (root / "groups.csv").rename(target)
    rows = {
        name: [rows_of(load(name, root, split), written) for split in ("train", "test")]
        for name in ("lc25000", "lc25000_groups")
    }
    labels = np.repeat(np.arange(5), 20)
    fold = next(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, group))
    assert rows["lc25000_groups"] == [part.tolist() for part in fold]
    shared = {
        name: set(group.iloc[train]) & set(group.iloc[test]) for name, (train, test) in rows.items()
    }
    assert not shared["lc25000_groups"]
    assert len(shared["lc25000"]) > 5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gone", CLASSES)
def test_lc25000_names_the_class_that_is_missing(root, layout, gone):
    write_lc25000(root, layout, [name for name in CLASSES if name != gone], per_class=5, size=8)
    for name in ("lc25000", "lc25000_groups"):
        assert str(root / layout.format(half=gone.split("_")[0], name=gone)) in refusal(name, root)


def test_lc25000_groups_that_cannot_be_used(root):
    write_lc25000(root, per_class=5, size=8)
    path = root / "groups.csv"
    whole = path.read_text()
    line = next(line for line in whole.splitlines() if line.startswith("lung_n/lungn3.jpeg"))
    for damaged, words in (
        (whole.replace(line + "\n", ""), "lung_n/lungn3.jpeg"),
        (whole.replace(line, "lung_n/lungn3.jpeg,"), "lung_n/lungn3.jpeg"),
        (whole.replace("image,", "file,"), "image"),
        (whole + line + "\n", ""),
        (whole + '"', ""),
        ("", ""),
        ("\0\1\2\3", ""),
    ):
        path.write_text(damaged)
        said = refusal("lc25000_groups", root)
        assert str(path) in said and words in said
    path.write_bytes(b"image,group\n\xff\xfe,\xff\n")
    assert str(path) in refusal("lc25000_groups", root)
    path.unlink()
    said = refusal("lc25000_groups", root)
    for place in (
        "lc25000/groups.csv",
        "groups.csv",
        "lc25000_groups.csv",
        "lung_colon_image_set/groups.csv",
    ):
        assert str(root / place) in said
    assert "image" in said and "group" in said
    assert len(load("lc25000", root)) == 20  # needs none


# --- ImageNet -------------------------------------------------------------------------------------

WNIDS = ["n01440764", "n02105855", "n02356798", "n03000134"]


def write_imagenet(root, classes=WNIDS) -> None:
    for k, wnid in enumerate(classes):
        for j, (wide, high) in enumerate(((60, 50), (50, 75), (53, 53))):
            save(root / "train" / wnid / f"{wnid}_{j}.JPEG", photo(wide, high, 10 * k + j))
        save(root / "val" / wnid / f"ILSVRC2012_val_{k:08}.JPEG", photo(64, 48, 100 + k))


@pytest.mark.parametrize("place", ["imagenet", "."])
def test_imagenet(root, place):
    folder = root / place
    write_imagenet(folder)
    # The published set has grey images, CMYK images, and a PNG, too, all with the same ending.
    save(folder / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG", photo(70, 60).convert("L"))
    save(folder / "train" / WNIDS[1] / f"{WNIDS[1]}_1.JPEG", photo(70, 60).convert("CMYK"))
    photo(55, 66).save(folder / "train" / WNIDS[2] / f"{WNIDS[2]}_2.JPEG", "PNG")
    for split, part in (("train", "train"), ("test", "val")):
        paths = sorted((folder / part).glob("*/*.JPEG"))
        got = load("imagenet", root, split, image_size=40)
        assert got.classes == WNIDS
        assert got.labels.tolist() == [WNIDS.index(path.parent.name) for path in paths]
        assert torch.equal(got.images, torch.stack([pillow(path, 40) for path in paths]))
    usual = load("imagenet", root, "test")
    assert usual.images.shape == (4, 3, 224, 224)
    assert torch.equal(usual.images[3], pillow(paths[3], 224))


@pytest.mark.parametrize("part", ["train", "val"])
def test_imagenet_needs_the_same_classes_in_both_parts(root, part):
    write_imagenet(root / "imagenet")
    gone = root / "imagenet" / part / WNIDS[1]
    gone.rename(root / "elsewhere")
    for split in ("train", "test"):
        assert str(gone) in refusal("imagenet", root, split)


@pytest.mark.parametrize("place", [".", "imagenet"])
def test_imagenet100(root, place):
    write_imagenet(root / "imagenet")
    said = refusal("imagenet100", root)
    for path in (root / "imagenet100.txt", root / "imagenet" / "imagenet100.txt"):
        assert str(path) in said
    assert "WordNet ids" in said and "line" in said
    path = root / place / "imagenet100.txt"
    path.write_text(f"{WNIDS[3]}\n{WNIDS[1]}\n")
    whole = load("imagenet", root, "train", image_size=32)
    for split, counts in (("train", [3, 3]), ("test", [1, 1])):
        got = load("imagenet100", root, split, image_size=32)
        assert (got.classes, got.labels.bincount().tolist()) == ([WNIDS[1], WNIDS[3]], counts)
    part = load("imagenet100", root, "train", image_size=32)
    assert torch.equal(part.images, whole.images[(whole.labels == 1) | (whole.labels == 3)])
    path.write_text(f"{WNIDS[3]}\nn09999999\n")
    assert str(root / "imagenet" / "train" / "n09999999") in refusal("imagenet100", root)
    path.write_bytes(b"\xff\xfe\x00n0")
    assert "class folder" in refusal("imagenet100", root)
    path.write_text("\n")
    assert str(root / "imagenet" / "train") in refusal("imagenet100", root)


# --- Tiny-ImageNet --------------------------------------------------------------------------------

TINY = [
    "n02124075",
    "n01443537",
    "n04067472",
]  # not in alphabetical order, as in the published wnids.txt


def write_tiny(folder, size=64, per_class=5) -> dict[str, tuple[str, str, list[int]]]:
    """file -> (path, wnid, box in the 64-pixel frame)."""
    rng, written = np.random.default_rng(0), {}
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in TINY))
    (folder / "words.txt").write_text(
        "".join(f"{wnid}\tsome, words\n" for wnid in [*TINY, "n00001740"])
    )

    def box() -> list[int]:
        low = rng.integers(0, 31, 2)
        return [*low.tolist(), *(low + rng.integers(1, 32, 2)).tolist()]

    for c, wnid in enumerate(TINY):
        lines = []
        for k in range(per_class):
            file, place = f"{wnid}_{k}.JPEG", folder / "train" / wnid
            written[file] = (
                save(place / "images" / file, photo(size, size, 100 * c + k)),
                wnid,
                box(),
            )
            lines.append("\t".join(map(str, [file, *written[file][2]])) + "\n")
        (place / f"{wnid}_boxes.txt").write_text("".join(rng.permutation(lines)))
    lines = []
    for k in range(12):
        file, wnid = f"val_{k}.JPEG", TINY[k * 7 % 3]
        written[file] = (
            save(folder / "val" / "images" / file, photo(size, size, 1000 + k)),
            wnid,
            box(),
        )
        lines.append("\t".join(map(str, [file, wnid, *written[file][2]])) + "\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return written


@pytest.mark.parametrize(("place", "size"), [("tiny-imagenet-200", 64), ("tiny_imagenet", 32)])
def test_tiny_imagenet(root, place, size):
    written = write_tiny(root / place, size)
    for split, start in (("train", "n"), ("test", "val")):
        expected = dict(sorted(item for item in written.items() if item[0].startswith(start)))
        for wanted in (None, 48):
            got = load("tiny_imagenet", root, split, image_size=wanted)
            assert got.classes == TINY
            assert got.boxes.dtype == torch.float32
            assert got.images.shape == (len(expected), 3, wanted or size, wanted or size)
            scale = (wanted or size) / 64
            for k, (path, wnid, box) in enumerate(expected.values()):
                assert torch.equal(got.images[k], pillow(path, wanted))
                assert got.classes[got.labels[k]] == wnid
                assert got.boxes[k].tolist() == [scale * x for x in box]
    part = load("tiny_imagenet", root, "train", n=6, seed=2)
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    places = {pillow(path).numpy().tobytes(): box for path, _, box in written.values()}
    for image, box in zip(part.images, part.boxes, strict=True):
        assert (box * 64 / size).tolist() == places[image.numpy().tobytes()]
    assert part[torch.tensor([3, 1])].boxes.equal(part.boxes[[3, 1]])


def test_tiny_imagenet_that_cannot_be_used(root):
    folder = root / "tiny-imagenet-200"
    write_tiny(folder, 8)
    boxes, marks = (
        folder / "train" / TINY[1] / f"{TINY[1]}_boxes.txt",
        folder / "val" / "val_annotations.txt",
    )
    first = boxes.read_text().split("\t")[0]

    def damaged(path, text: str, split: str) -> str:
        before = path.read_text()
        path.write_text(text)
        said = refusal("tiny_imagenet", root, split)
        path.write_text(before)
        return said

    assert first in damaged(boxes, boxes.read_text().split("\n", 1)[1], "train")
    assert "val_11.JPEG" in damaged(marks, marks.read_text().rsplit("\t", 2)[0], "test")
    assert str(marks) in damaged(
        marks, marks.read_text() + marks.read_text().splitlines()[11] + "\n", "test"
    )
    assert "elsewhere.JPEG" in damaged(
        marks, marks.read_text() + "elsewhere.JPEG\tn01443537\t0\t0\t1\t1\n", "test"
    )
    said = damaged(marks, marks.read_text().replace(TINY[2], "n09999999"), "test")
    assert str(marks) in said and "n09999999" in said
    for path, split in ((boxes, "train"), (marks, "test")):
        for text in (
            "",
            "\0\1\2",
            path.read_text().replace("\t", " "),
            path.read_text().replace("\t1", "\tone"),
        ):
            assert str(path) in damaged(path, text, split)
        path.rename(root / "away")
        assert str(path) in refusal("tiny_imagenet", root, split)
        (root / "away").rename(path)
    (folder / "train" / TINY[0] / "images" / f"{TINY[0]}_2.JPEG").rename(root / "away")
    assert f"{TINY[0]}_2.JPEG" in refusal("tiny_imagenet", root)
    (folder / "train" / TINY[0]).rename(root / "class")
    assert str(folder / "train" / TINY[0]) in refusal("tiny_imagenet", root)
    (folder / "wnids.txt").write_text("")
    assert str(folder / "train") in refusal("tiny_imagenet", root)
    (folder / "wnids.txt").unlink()
    said = refusal("tiny_imagenet", root)
    assert all(
        str(root / place / "wnids.txt") in said for place in ("tiny-imagenet-200", "tiny_imagenet")
    )
    assert "CS231n" in said


# --- Any folder -----------------------------------------------------------------------------------


def test_folder_with_parts(root):
    ends, modes = (
        ["png", "JPG", "bmp", "tif", "webp", "ppm"],
        ["RGB", "L", "P", "RGBA", "1", "CMYK"],
    )
    for part, per_class in (("train", 6), ("test", 3)):
        for c, name in enumerate(("red", "blue")):
            for k in range(per_class):
                image = photo(30 + 7 * k, 50 - 3 * k, 10 * c + k)
                image = (
                    image.convert(modes[k])
                    if ends[k] in ("png", "tif") and modes[k] != "CMYK"
                    else image
                )
                save(root / part / name / "deeper" / f"{k}.{ends[k]}", image)
    (root / "train" / ".ipynb_checkpoints").mkdir()
    for part, n in (("train", 12), ("test", 6)):
        paths = [
            path
            for name in ("blue", "red")
            for path in sorted((root / part / name / "deeper").iterdir())
        ]
        got = load("folder", root, part, image_size=20)
        assert (got.classes, got.labels.tolist()) == (
            ["blue", "red"],
            [0] * (n // 2) + [1] * (n // 2),
        )
        assert torch.equal(got.images, torch.stack([pillow(path, 20) for path in paths]))
        assert load("folder", root, part).images.shape == (n, 3, 96, 96)
    (root / "test" / "green").mkdir()
    assert str(root / "train" / "green") in refusal("folder", root)
    assert str(root / "train" / "green") in refusal("folder", root, "test")


def test_folder_is_divided_at_random(root):
    for c, name in enumerate("abc"):
        for k in range(10):
            save(root / name / f"{k}.png", noise(12, 12, 3, seed=100 * c + k))
    paths = sorted(root.glob("*/*.png"))
    parts = train_test_split(
        np.arange(30), test_size=0.2, stratify=np.repeat(np.arange(3), 10), random_state=0
    )
    for split, rows in zip(("train", "test"), parts, strict=True):
        got = load("folder", root, split, image_size=12)
        assert torch.equal(got.images, torch.stack([pillow(paths[k]) for k in sorted(rows)]))
        assert got.labels.tolist() == [k // 10 for k in sorted(rows)]


def test_a_class_of_one_image_is_named(root):
    for name, count in {"cat": 9, "dog": 9, "owl": 1}.items():
        (root / name).mkdir()
        for k in range(count):
            save(root / name / f"{k}.png", noise(8, 8, 3))
    said = refusal("folder", root)
    assert str(root) in said and "the class owl has one image" in said
    save(root / "owl" / "1.png", noise(8, 8, 3))
    train, test = (load("folder", root, split, image_size=16) for split in ("train", "test"))
    assert (train.labels == 2).sum() + (test.labels == 2).sum() == 2 and (train.labels == 2).any()
    for name in ("cat", "dog"):
        for k in range(2, 9):
            (root / name / f"{k}.png").unlink()
    said = refusal("folder", root)
    assert (
        "number of classes = 3" in said and "It takes more images" in said
    )  # six images: a fifth are two


def test_folder_that_cannot_be_used(root):
    said = refusal("folder", "nowhere")
    assert "nowhere" in said and "folder of images for each class" in said
    assert str(root) in refusal("folder", root)
    (root / "a").mkdir()
    (root / "b").mkdir()
    assert str(root / "a") in refusal("folder", root) and "no image" in refusal("folder", root)
    (root / "b").rmdir()
    save(root / "a" / "0.png", noise(8, 8, 3))
    assert str(root) in refusal("folder", root)  # one image can't be divided
    (root / "a").rename(root / "train")
    assert str(root / "test") in refusal("folder", root, "test")


# --- Decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (1280, 1280)])
def test_a_large_jpeg_is_decoded_at_less_than_its_size(root, size):
    path = root / "large.JPEG"
    PHOTOGRAPHS[1].resize(size).save(path, quality=92)
    got = ImageFiles(np.array([str(path)], object), 64)[:][0]
    smaller = Image.open(path)
    smaller.draft(None, (128, 128))
    assert 128 <= min(smaller.size) < 0.6 * min(size)
    save(root / "smaller.png", smaller)
    assert torch.equal(got, pillow(root / "smaller.png", 64))
    assert (got.int() - pillow(path, 64).int()).abs().float().mean() < 1.5


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "text", "folder", "32 bits", "float", "gone", "png"]
)
def test_a_damaged_image_is_named(root, monkeypatch, damage, streams):
    write_imagenet(root)
    path = root / "train" / WNIDS[2] / f"{WNIDS[2]}_1.JPEG"
    monkeypatch.setattr(data, "MEMORY", 0 if streams else data.MEMORY)
    if damage == "truncated":
        truncate(path)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not an image")
    elif damage == "32 bits":
        Image.fromarray(noise(60, 60).astype(np.int32) * 2**22).save(path, "TIFF")
    elif damage == "float":
        Image.fromarray(noise(60, 60).astype(np.float32)).save(path, "TIFF")
    elif damage == "gone":
        path.unlink()
        path.symlink_to(root / "away")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
        save(path / "deeper.png", noise(50, 50, 3))
        path = path / "deeper.png"
        truncate(path)
    else:
        Image.fromarray(noise(60, 60, 3)).save(path, "PNG")
        raw = bytearray(path.read_bytes())
        raw[200:240] = bytes(40)
        path.write_bytes(raw)
    if not streams:
        assert str(path) in refusal("imagenet", root, image_size=32)
        return
    got = load("imagenet", root, image_size=32)
    for use in (
        lambda: got.images[:],
        lambda: got[torch.arange(12)],
        lambda: list(got.images.split(5)),
        lambda: list(batches(got, 4, 0, 0)),
        lambda: list(evaluation.inputs(got.images)),
    ):
        with pytest.raises(ParameterError) as error:
            use()
        assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("streams", [False, True])
def test_images_of_different_sizes_without_a_size(root, monkeypatch, streams):
    write_tiny(root / "tiny_imagenet", 16)
    odd = root / "tiny_imagenet" / "train" / TINY[0] / "images" / f"{TINY[0]}_3.JPEG"
    photo(64, 64).save(odd)
    monkeypatch.setattr(data, "MEMORY", 0 if streams else data.MEMORY)
    with pytest.raises(ParameterError) as error:
        load("tiny_imagenet", root).images[:]
    assert all(words in str(error.value) for words in (str(odd), "(64, 64)", "(16, 16)"))
    assert load("tiny_imagenet", root, image_size=16).images[:].shape == (15, 3, 16, 16)


# --- Sets that stay in their files ----------------------------------------------------------------


@pytest.fixture
def both(root, monkeypatch):
    """The same set, in memory and in its files."""
    write_tiny(root / "tiny_imagenet", 16, per_class=13)
    whole = load("tiny_imagenet", root)
    monkeypatch.setattr(data, "MEMORY", whole.images.nbytes - 1)
    return whole, load("tiny_imagenet", root)


def test_a_large_set_stays_in_its_files(root, both, monkeypatch):
    whole, files = both
    assert isinstance(files.images, ImageFiles) and isinstance(whole.images, torch.Tensor)
    assert len(files) == len(files.images) == 39
    assert (files.images.shape, files.images.nbytes) == (whole.images.shape, whole.images.nbytes)
    assert files.images.shape[-1] == 16
    assert files.labels.equal(whole.labels) and files.boxes.equal(whole.boxes)
    monkeypatch.setattr(data, "MEMORY", whole.images.nbytes)
    assert isinstance(load("tiny_imagenet", root).images, torch.Tensor)


def test_images_in_files_are_those_in_memory(both):
    whole, files = both
    for rows in (
        torch.tensor([5, 2, 2, 38]),
        torch.arange(39) % 3 == 1,
        torch.tensor([], dtype=torch.long),
        slice(3, 30, 4),
        slice(None),
        slice(-16, None),
        7,
        torch.tensor(7),
    ):
        assert torch.equal(files.images[rows], whole.images[rows])
    rows = torch.tensor([30, 1, 4])
    part = files[rows]
    for name in ("images", "labels", "boxes"):
        assert torch.equal(getattr(part, name), getattr(whole[rows], name))
    for n in (1, 10, 13, 39, 100):
        chunks = list(files.images.split(n))
        assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in whole.images.split(n)]
        assert torch.equal(torch.cat(chunks), whole.images)
    assert files.images.to("cpu") is files.images
    moved = files.to("cpu")
    assert moved.images is files.images and moved.labels.equal(whole.labels)
    with pytest.raises(IndexError):
        files.images[39]


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_batches_of_files_are_those_in_memory(both, rank, world):
    for size in (4, 13, 39, 40):
        expected, got = (list(batches(s, size, 3, 5, rank, world)) for s in both)
        assert len(got) == len(expected) == 39 // size
        for (x, y), (images, labels) in zip(expected, got, strict=True):
            assert torch.equal(x, images) and torch.equal(y, labels)


def test_evaluation_of_files_is_that_in_memory(both):
    whole, files = both
    assert torch.equal(*(evaluation.features(torch.nn.Flatten(), s.images) for s in both))
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert torch.allclose(
        evaluation.features(backbone, whole.images), evaluation.features(backbone, files.images)
    )


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in order."""
    log, original = [], ImageFiles._decode

    def decode(self, paths, out):
        log.extend(paths)
        original(self, paths, out)

    monkeypatch.setattr(ImageFiles, "_decode", decode)
    return log


def test_only_chosen_images_are_decoded(root, decoded, monkeypatch):
    write_tiny(root / "tiny_imagenet", 16, per_class=13)
    assert len(load("tiny_imagenet", root, n=6)) == len(decoded) == 6
    decoded.clear()
    monkeypatch.setattr(data, "MEMORY", 0)
    part, again = load("tiny_imagenet", root, n=6), load("tiny_imagenet", root, image_size=8)
    assert not decoded
    assert (len(part.images[:]), len(decoded)) == (6, 6)
    assert again.images[torch.tensor([3])].shape == (1, 3, 8, 8)
    assert len(decoded) == 7


@pytest.mark.parametrize("use", [lambda s: batches(s, 5, 0, 0), lambda s: s.images.split(5)])
def test_one_batch_is_decoded_ahead_by_a_thread(both, decoded, use):
    before = threading.active_count()
    parts = use(both[1])
    assert not decoded
    next(parts)
    stop = time.monotonic() + 30
    while len(decoded) < 10 and time.monotonic() < stop:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(decoded) == 10  # the first batch and the second, not yet asked for; no third
    parts.close()
    assert threading.active_count() == before
