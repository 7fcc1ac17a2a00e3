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

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageFiles, ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.sampling import batches
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.representation import features, inputs
from infomax_nb.train.fitting import datasets

PHOTOGRAPHS = [Image.fromarray(image) for image in load_sample_images().images]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(wide: int, high: int, seed: int = 0) -> Image.Image:
    """Part of a photograph: unlike noise, it survives a JPEG's compression."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 300)
    y = rng.integers(0, 150)
    part = PHOTOGRAPHS[seed % 2].crop((x, y, x + 320, y + 270))
    return part.resize((wide, high), Image.Resampling.LANCZOS)


def save(path, image: Image.Image | np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
    return str(path)


def pillow(path, size: int | None = None) -> torch.Tensor:
    """The reference: the central square, scaled in one step."""
    image = Image.open(path).convert("RGB")
    if size is not None:
        short = min(image.size)
        left, top = ((side - short) / 2 for side in image.size)
        box = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
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
    """An empty folder in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


# --- Few files with published sums ----------------------------------------------------------------


def write_pickle(path, content: dict) -> list[str]:
    """The file's name and MD5, as torchvision knows them."""
    path.write_bytes(pickle.dumps(content, protocol=2))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


FINE = [f"f{k}" for k in range(100)]
COARSE = [f"c{k}" for k in range(20)]


@pytest.fixture
def cifar100(root, monkeypatch):
    """CIFAR-100's Python version; torchvision knows these files' MD5 sums."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    superclass = rng.permutation(np.repeat(np.arange(20), 5))
    written = {}
    for seed, (name, n) in enumerate((("train", 300), ("test", 100))):
        fine = rng.permutation(np.arange(n) % 100)
        rows = noise(n, 3072, seed=seed)
        batch = {"batch_label": f"{name}ing batch 1 of 1", "data": rows}
        batch["filenames"] = [f"{j}.png" for j in range(n)]
        batch["fine_labels"] = fine.tolist()
        batch["coarse_labels"] = superclass[fine].tolist()
        monkeypatch.setattr(CIFAR100, f"{name}_list", [write_pickle(folder / name, batch)])
        written[name] = (rows, fine)
    names = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    name, md5 = write_pickle(folder / "meta", names)
    known = {"filename": name, "key": "fine_label_names", "md5": md5}
    monkeypatch.setattr(CIFAR100, "meta", known)
    return folder, written, superclass


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar100(root, cifar100, split):
    _, written, superclass = cifar100
    rows, fine = written[split]
    got = load("cifar100", root, split)
    assert got.images.dtype == torch.uint8 and got.images.is_contiguous()
    assert torch.equal(got.images, torch.from_numpy(rows).reshape(-1, 3, 32, 32))
    assert got.labels.tolist() == fine.tolist()
    assert got.classes == FINE
    assert got.coarse.dtype == torch.int64
    assert got.coarse.tolist() == superclass.tolist()
    assert got.coarse_names == COARSE


def test_a_subset_of_cifar100_keeps_its_superclasses(root, cifar100):
    part = load("cifar100", root, "train", n=100, image_size=16)
    assert sorted(part.labels.tolist()) == list(range(100))
    assert part.images.shape == (100, 3, 16, 16)
    assert part.coarse.tolist() == cifar100[2].tolist()


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def assert_refused_for_its_md5(root, path) -> None:
    said = refusal("cifar100", root)
    assert str(path) in said and "MD5" in said and "CIFAR100(" in said


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_truncated_cifar100_is_named(root, cifar100, name):
    truncate(cifar100[0] / name)
    assert_refused_for_its_md5(root, cifar100[0] / name)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_missing_cifar100_is_named(root, cifar100, name):
    (cifar100[0] / name).unlink()
    assert_refused_for_its_md5(root, cifar100[0] / name)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_hostile_cifar100_is_named_and_not_unpickled(root, cifar100, name):
    trap = root / "touched"
    (cifar100[0] / name).write_bytes(pickle.dumps(_Touch(trap)))
    assert_refused_for_its_md5(root, cifar100[0] / name)
    assert not trap.exists()


@pytest.fixture
def stl10(root, monkeypatch):
    """STL-10's binaries by their paths; torchvision knows these files' MD5 sums."""
    content = {"train_X.bin": noise(4, 3, 96, 96).tobytes(), "train_y.bin": bytes([1, 2, 3, 4])}
    content["unlabeled_X.bin"] = noise(2, 3, 96, 96, seed=1).tobytes()
    content["test_X.bin"] = noise(3, 3, 96, 96, seed=2).tobytes()
    content["test_y.bin"] = bytes([1, 2, 3])
    sums = [[name, hashlib.md5(raw).hexdigest()] for name, raw in content.items()]
    monkeypatch.setattr(STL10, "train_list", sums[:3])
    monkeypatch.setattr(STL10, "test_list", sums[3:])
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, raw in content.items():
        (folder / name).write_bytes(raw)
    return [folder / name for name in content]


def test_damaged_stl10_is_named(root, stl10):
    assert load("stl10", root, "unlabeled").labels.tolist() == [0, 1, 2, 3, -1, -1]
    for path in stl10:
        whole = path.read_bytes()
        truncate(path)
        assert str(path) in refusal("stl10", root)
        path.unlink()
        assert str(path) in refusal("stl10", root)
        path.write_bytes(whole)


# --- LC25000 --------------------------------------------------------------------------------------

CLASSES = ["colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc"]
LAYOUTS = ["lung_colon_image_set/{half}_image_sets/{name}", "lc25000/{name}", "{name}"]


def write_lc25000(
    root, layout=LAYOUTS[0], classes=CLASSES, per_class=20, size=96
) -> dict[str, str]:
    """`<class>/<file>` -> path, in order; four copies of each of five tiles a class, listed in
    groups.csv."""
    written = {}
    groups = [("lung_n/elsewhere.jpeg", "lung_n-999")]  # it may know of more images
    for c, name in enumerate(classes):
        folder = root / layout.format(half=name.split("_")[0], name=name)
        for k in range(per_class):
            file = f"{name.replace('_', '')}{k + 1}.jpeg"
            written[f"{name}/{file}"] = save(folder / file, photo(size, size, 100 * c + k))
            groups.append((f"{name}/{file}", f"{name}-{k % 5:03}"))
    table = pd.DataFrame(groups, columns=["image", "group"])
    table.sample(frac=1, random_state=0).to_csv(root / "groups.csv", index=False)
    return dict(sorted(written.items()))


def rows_of(got: ImageSet, written: dict[str, str]) -> list[int]:
    """Which of the written images these are, found by their pixels; all are different."""
    where = {pillow(path).numpy().tobytes(): k for k, path in enumerate(written.values())}
    assert len(where) == len(written)
    rows = [where[image.numpy().tobytes()] for image in got.images]
    names = list(written)
    classes = [names[k].split("/")[0] for k in rows]
    assert [got.classes[label] for label in got.labels] == classes
    return rows


def both_splits(name: str, root, **options) -> tuple[ImageSet, ImageSet]:
    return load(name, root, "train", **options), load(name, root, "test", **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lc25000_is_divided_80_to_20(root, layout):
    written = write_lc25000(root, layout)
    train, test = both_splits("lc25000", root)
    assert train.classes == test.classes == CLASSES
    assert train.images.shape == (80, 3, 96, 96)
    assert train.labels.bincount().tolist() == [16] * 5
    assert test.labels.bincount().tolist() == [4] * 5
    labels = np.repeat(np.arange(5), 20)
    parts = train_test_split(np.arange(100), test_size=0.2, stratify=labels, random_state=0)
    assert [rows_of(part, written) for part in (train, test)] == [sorted(part) for part in parts]


@pytest.mark.parametrize("name", ["lc25000", "lc25000_groups"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lung_half_of_lc25000_has_three_classes(root, layout, name):
    written = write_lc25000(root, layout, CLASSES[2:], per_class=10)
    train, test = both_splits(name, root)
    assert train.classes == CLASSES[2:]
    assert test.labels.bincount().tolist() == [2, 2, 2]
    assert sorted(rows_of(train, written) + rows_of(test, written)) == list(range(30))


GROUP_TABLES = ["lc25000/groups.csv", "groups.csv", "lc25000_groups.csv"]
GROUP_TABLES += ["lung_colon_image_set/groups.csv"]


@pytest.mark.parametrize("place", GROUP_TABLES)
def test_lc25000_groups_hold_out_whole_groups(root, place):
    written = write_lc25000(root)
    group = pd.read_csv(root / "groups.csv", index_col="image")["group"].reindex(list(written))
    (root / place).parent.mkdir(exist_ok=True)
    (root / "groups.csv").rename(root / place)
    train, test = (rows_of(part, written) for part in both_splits("lc25000_groups", root))
    labels = np.repeat(np.arange(5), 20)
    fold = next(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, group))
    assert [train, test] == [part.tolist() for part in fold]
    assert not set(group.iloc[train]) & set(group.iloc[test])


def test_a_class_of_one_group_cannot_be_in_both_parts(root):
    write_lc25000(root, per_class=10, size=8)
    table = pd.read_csv(root / "groups.csv")
    of_one = table.image.str.startswith("colon_n/")
    table.loc[of_one, "group"] = "one"
    table.to_csv(root / "groups.csv", index=False)
    assert "the class colon_n has too few groups to be in both parts" in refusal(
        "lc25000_groups", root
    )


def test_a_group_may_be_called_na(root):
    written = write_lc25000(root)
    table = pd.read_csv(root / "groups.csv")
    table["group"] = table.group.replace({"lung_n-000": "NA", "lung_n-001": "null"})
    table.to_csv(root / "groups.csv", index=False)
    train, test = (rows_of(part, written) for part in both_splits("lc25000_groups", root))
    assert len(train) + len(test) == 100


def test_lc25000_divides_groups(root):
    written = write_lc25000(root)
    group = pd.read_csv(root / "groups.csv", index_col="image")["group"].reindex(list(written))
    train, test = (rows_of(part, written) for part in both_splits("lc25000", root))
    assert len(set(group.iloc[train]) & set(group.iloc[test])) > 5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gone", CLASSES)
def test_lc25000_names_the_class_that_is_missing(root, layout, gone):
    write_lc25000(root, layout, [name for name in CLASSES if name != gone], per_class=5, size=8)
    folder = root / layout.format(half=gone.split("_")[0], name=gone)
    for name in ("lc25000", "lc25000_groups"):
        assert str(folder) in refusal(name, root)


LINE = "lung_n/lungn3.jpeg,lung_n-002"
DAMAGED_TABLES = {
    "a line is missing": (lambda text: text.replace(f"{LINE}\n", ""), "lung_n/lungn3.jpeg"),
    "a group is missing": (lambda text: text.replace(LINE, "lung_n/lungn3.jpeg,"), "lungn3.jpeg"),
    "a column is missing": (lambda text: text.replace("image,", "file,"), "image"),
    "a line comes twice": (lambda text: f"{text}{LINE}\n", ""),
    "a quote is open": (lambda text: f'{text}"', ""),
    "it is empty": (lambda text: "", ""),
    "it is no text": (lambda text: "\0\1\2\3", ""),
    "it is no Unicode": (lambda text: "image,group\n\udcff\udcfe,\udcff\n", ""),
}


@pytest.mark.parametrize("damage", DAMAGED_TABLES)
def test_a_table_of_groups_that_cannot_be_used_is_named(root, damage):
    write_lc25000(root, per_class=5, size=8)
    path = root / "groups.csv"
    change, words = DAMAGED_TABLES[damage]
    assert LINE in path.read_text()
    path.write_text(change(path.read_text()), errors="surrogateescape")
    said = refusal("lc25000_groups", root)
    assert str(path) in said and words in said


def test_a_table_of_groups_that_is_missing_is_asked_for(root):
    write_lc25000(root, per_class=5, size=8)
    (root / "groups.csv").unlink()
    said = refusal("lc25000_groups", root)
    assert all(str(root / place) in said for place in GROUP_TABLES)
    assert "image" in said and "group" in said
    assert len(load("lc25000", root)) == 20  # needs none


# --- ImageNet -------------------------------------------------------------------------------------

WNIDS = ["n01440764", "n02105855", "n02356798", "n03000134"]


def write_imagenet(root, classes=WNIDS) -> None:
    sizes = [(60, 50), (50, 75), (53, 53)]
    for k, wnid in enumerate(classes):
        for j, (wide, high) in enumerate(sizes):
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


def test_imagenets_own_size_is_224_pixels(root):
    write_imagenet(root)
    got = load("imagenet", root, "test")
    assert got.images.shape == (4, 3, 224, 224)
    last = sorted((root / "val").glob("*/*.JPEG"))[-1]
    assert torch.equal(got.images[3], pillow(last, 224))


@pytest.mark.parametrize("part", ["train", "val"])
def test_imagenet_needs_the_same_classes_in_both_parts(root, part):
    write_imagenet(root / "imagenet")
    gone = root / "imagenet" / part / WNIDS[1]
    gone.rename(root / "elsewhere")
    for split in ("train", "test"):
        assert str(gone) in refusal("imagenet", root, split)


@pytest.mark.parametrize("place", [".", "imagenet"])
def test_imagenet100_has_the_classes_of_its_list(root, place):
    write_imagenet(root / "imagenet")
    (root / place / "imagenet100.txt").write_text(f"{WNIDS[3]}\n{WNIDS[1]}\n")
    train, test = both_splits("imagenet100", root, image_size=32)
    assert train.classes == test.classes == [WNIDS[1], WNIDS[3]]
    assert train.labels.bincount().tolist() == [3, 3]
    assert test.labels.bincount().tolist() == [1, 1]
    whole = load("imagenet", root, "train", image_size=32)
    rows = torch.isin(whole.labels, torch.tensor([1, 3]))
    assert torch.equal(train.images, whole.images[rows])


def test_a_list_of_imagenet100_that_is_missing_is_asked_for(root):
    write_imagenet(root / "imagenet")
    said = refusal("imagenet100", root)
    for path in (root / "imagenet100.txt", root / "imagenet" / "imagenet100.txt"):
        assert str(path) in said
    assert "WordNet ids" in said and "line" in said


def test_a_list_of_imagenet100_that_cannot_be_used_is_refused(root):
    write_imagenet(root / "imagenet")
    path = root / "imagenet100.txt"
    path.write_text(f"{WNIDS[3]}\nn09999999\n")
    assert str(root / "imagenet" / "train" / "n09999999") in refusal("imagenet100", root)
    path.write_bytes(b"\xff\xfe\x00n0 n1")
    assert "class folder" in refusal("imagenet100", root)
    for text, number in (("\n", 0), (f"{WNIDS[3]}\n", 1)):
        path.write_text(text)
        said = refusal("imagenet100", root)
        assert str(path) in said and f"it names {number} classes" in said


# --- Tiny-ImageNet --------------------------------------------------------------------------------

# Not in alphabetical order, as in the published wnids.txt.
TINY = ["n02124075", "n01443537", "n04067472"]


def write_tiny(folder, size=64, per_class=5) -> dict[str, tuple[str, str, list[int]]]:
    """file -> (path, wnid, box in the 64-pixel frame)."""
    rng = np.random.default_rng(0)
    written = {}
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in TINY))

    def write(place, file: str, wnid: str, seed: int) -> list[int]:
        low = rng.integers(0, 31, 2)
        high = low + rng.integers(1, 32, 2)
        box = [*low.tolist(), *high.tolist()]
        path = save(place / "images" / file, photo(size, size, seed))
        written[file] = (path, wnid, box)
        return box

    for c, wnid in enumerate(TINY):
        place = folder / "train" / wnid
        lines = []
        for k in range(per_class):
            file = f"{wnid}_{k}.JPEG"
            lines.append(tabbed(file, *write(place, file, wnid, 100 * c + k)))
        (place / f"{wnid}_boxes.txt").write_text("".join(rng.permutation(lines)))
    lines = []
    for k in range(12):
        file = f"val_{k}.JPEG"
        wnid = TINY[k * 7 % 3]
        lines.append(tabbed(file, wnid, *write(folder / "val", file, wnid, 1000 + k)))
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return written


def tabbed(*columns) -> str:
    return "\t".join(map(str, columns)) + "\n"


@pytest.mark.parametrize("wanted", [None, 48])
@pytest.mark.parametrize(("split", "start"), [("train", "n"), ("test", "val")])
@pytest.mark.parametrize(("place", "size"), [("tiny-imagenet-200", 64), ("tiny_imagenet", 32)])
def test_tiny_imagenet(root, place, size, split, start, wanted):
    written = write_tiny(root / place, size)
    expected = [written[file] for file in sorted(written) if file.startswith(start)]
    got = load("tiny_imagenet", root, split, image_size=wanted)
    side = wanted or size
    assert got.classes == TINY
    assert got.boxes.dtype == torch.float32
    assert got.images.shape == (len(expected), 3, side, side)
    for k, (path, wnid, box) in enumerate(expected):
        assert torch.equal(got.images[k], pillow(path, wanted))
        assert got.classes[got.labels[k]] == wnid
        assert got.boxes[k].tolist() == [side / 64 * x for x in box]


def test_images_of_another_size_than_networks_are_made_for_are_refused(root):
    """The published images have 64 pixels, a copy may have 32."""
    write_tiny(root / "tiny-imagenet-200", 64)
    config = TrainConfig(dataset="tiny_imagenet", data_root=str(root), batch_size=4)
    with pytest.raises(ParameterError, match=r"^image_size = None .* have 64 pixels a side; give"):
        datasets(config)
    for side in (32, 64):
        train, test = datasets(config.replace(image_size=side))
        assert train.images.shape[-1] == test.images.shape[-1] == side


def test_boxes_stay_with_their_images(root):
    written = write_tiny(root / "tiny_imagenet", 32)
    part = load("tiny_imagenet", root, "train", n=6, seed=2)
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    boxes = {pillow(path).numpy().tobytes(): box for path, _, box in written.values()}
    for image, box in zip(part.images, part.boxes, strict=True):
        assert (box * 64 / 32).tolist() == boxes[image.numpy().tobytes()]
    assert part[torch.tensor([3, 1])].boxes.equal(part.boxes[[3, 1]])


@pytest.fixture
def tiny(root):
    """Tiny-ImageNet's folder, the table of boxes of one class, and the table of the test part."""
    folder = root / "tiny-imagenet-200"
    write_tiny(folder, 8)
    boxes = folder / "train" / TINY[1] / f"{TINY[1]}_boxes.txt"
    return folder, boxes, folder / "val" / "val_annotations.txt"


def test_a_missing_line_of_tiny_imagenet_is_named(root, tiny):
    _, boxes, marks = tiny
    first, _, rest = boxes.read_text().partition("\n")
    boxes.write_text(rest)
    assert first.split("\t")[0] in refusal("tiny_imagenet", root, "train")
    marks.write_text(marks.read_text().rsplit("\t", 2)[0])
    assert "val_11.JPEG" in refusal("tiny_imagenet", root, "test")


def test_a_line_too_many_of_tiny_imagenet_is_named(root, tiny):
    marks = tiny[2]
    text = marks.read_text()
    marks.write_text(text + text.splitlines()[11] + "\n")
    assert str(marks) in refusal("tiny_imagenet", root, "test")
    marks.write_text(text + "elsewhere.JPEG\tn01443537\t0\t0\t1\t1\n")
    assert "elsewhere.JPEG" in refusal("tiny_imagenet", root, "test")


def test_an_unknown_class_of_tiny_imagenet_is_named(root, tiny):
    marks = tiny[2]
    marks.write_text(marks.read_text().replace(TINY[2], "n09999999"))
    said = refusal("tiny_imagenet", root, "test")
    assert str(marks) in said and "n09999999" in said


@pytest.mark.parametrize(("split", "number"), [("train", 1), ("test", 2)])
def test_a_table_of_tiny_imagenet_that_cannot_be_read_is_named(root, tiny, split, number):
    path = tiny[number]
    text = path.read_text()
    damaged = ["", "\0\1\2", text.replace("\t", " "), text.replace("\t1", "\tone")]
    for each in damaged:
        path.write_text(each)
        assert str(path) in refusal("tiny_imagenet", root, split)
    path.unlink()
    assert str(path) in refusal("tiny_imagenet", root, split)


def test_missing_images_and_classes_of_tiny_imagenet_are_named(root, tiny):
    folder = tiny[0]
    gone = f"{TINY[0]}_2.JPEG"
    (folder / "train" / TINY[0] / "images" / gone).unlink()
    assert gone in refusal("tiny_imagenet", root)
    (folder / "train" / TINY[0]).rename(root / "class")
    assert str(folder / "train" / TINY[0]) in refusal("tiny_imagenet", root)


def test_a_list_of_tiny_imagenets_classes_that_is_empty_or_missing_is_named(root, tiny):
    folder = tiny[0]
    (folder / "wnids.txt").write_text("")
    assert str(folder / "train") in refusal("tiny_imagenet", root)
    (folder / "wnids.txt").unlink()
    said = refusal("tiny_imagenet", root)
    for place in ("tiny-imagenet-200", "tiny_imagenet"):
        assert str(root / place / "wnids.txt") in said
    assert "CS231n" in said


# --- Any folder -----------------------------------------------------------------------------------


MODES = {"png": "RGB", "JPG": "RGB", "bmp": "RGB", "tif": "RGBA", "webp": "RGB", "ppm": "RGB"}


@pytest.mark.parametrize(("part", "per_class"), [("train", 6), ("test", 3)])
def test_folder_with_parts(root, part, per_class):
    for name, count in (("train", 6), ("test", 3)):
        write_parts(root / name, count)
    (root / "train" / ".ipynb_checkpoints").mkdir()
    paths = []
    for name in ("blue", "red"):
        paths += sorted((root / part / name / "deeper").iterdir())
    got = load("folder", root, part, image_size=20)
    assert got.classes == ["blue", "red"]
    assert got.labels.tolist() == [0] * per_class + [1] * per_class
    assert torch.equal(got.images, torch.stack([pillow(path, 20) for path in paths]))
    assert load("folder", root, part).images.shape == (2 * per_class, 3, 96, 96)


def write_parts(folder, per_class: int) -> None:
    """Two classes of images of many formats and sizes."""
    for c, name in enumerate(("red", "blue")):
        for k, (end, mode) in enumerate(list(MODES.items())[:per_class]):
            image = photo(30 + 7 * k, 50 - 3 * k, 10 * c + k)
            save(folder / name / "deeper" / f"{k}.{end}", image.convert(mode))


def test_a_class_that_is_missing_in_one_part_is_named(root):
    for part in ("train", "test"):
        write_parts(root / part, 2)
    (root / "test" / "green").mkdir()
    for split in ("train", "test"):
        assert str(root / "train" / "green") in refusal("folder", root, split)


def test_folder_is_divided_at_random(root):
    for c, name in enumerate("abc"):
        for k in range(10):
            save(root / name / f"{k}.png", noise(12, 12, 3, seed=100 * c + k))
    paths = sorted(root.glob("*/*.png"))
    labels = np.repeat(np.arange(3), 10)
    parts = train_test_split(np.arange(30), test_size=0.2, stratify=labels, random_state=0)
    for split, rows in zip(("train", "test"), parts, strict=True):
        got = load("folder", root, split, image_size=12)
        expected = [pillow(paths[k]) for k in sorted(rows)]
        assert torch.equal(got.images, torch.stack(expected))
        assert got.labels.tolist() == [k // 10 for k in sorted(rows)]


def test_a_class_of_one_image_is_named(root):
    for name, count in {"cat": 9, "dog": 9, "owl": 1}.items():
        for k in range(count):
            save(root / name / f"{k}.png", noise(8, 8, 3))
    said = refusal("folder", root)
    assert str(root) in said and "the class owl has one image" in said
    save(root / "owl" / "1.png", noise(8, 8, 3))
    train, test = both_splits("folder", root, image_size=16)
    owls = [(part.labels == 2).sum().item() for part in (train, test)]
    assert sum(owls) == 2 and owls[0] > 0


def test_fewer_images_to_test_on_than_classes_are_refused(root):
    for name in ("cat", "dog", "owl"):
        for k in range(2):
            save(root / name / f"{k}.png", noise(8, 8, 3))
    said = refusal("folder", root)  # a fifth of six images are two
    assert "number of classes = 3" in said and "It takes more images" in said


def test_a_folder_that_is_not_there_is_asked_for(root):
    said = refusal("folder", "nowhere")
    assert "nowhere" in said and "folder of images for each class" in said
    save(root / "train" / "0.png", noise(8, 8, 3))
    assert str(root / "test") in refusal("folder", root, "test")


def test_a_folder_with_too_few_images_is_refused(root):
    assert str(root) in refusal("folder", root)
    (root / "a").mkdir()
    (root / "b").mkdir()
    said = refusal("folder", root)
    assert str(root / "a") in said and "no image" in said
    (root / "b").rmdir()
    save(root / "a" / "0.png", noise(8, 8, 3))
    assert str(root) in refusal("folder", root)  # one image can't be divided


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
    error = got.int() - pillow(path, 64).int()
    assert error.abs().float().mean() < 1.5


def write_text(path) -> None:
    path.write_text("not an image")


def write_32_bits(path) -> None:
    Image.fromarray(noise(60, 60).astype(np.int32) * 2**22).save(path, "TIFF")


def write_floats(path) -> None:
    Image.fromarray(noise(60, 60).astype(np.float32)).save(path, "TIFF")


def link_to_nothing(path) -> None:
    path.unlink()
    path.symlink_to("away")


def write_damaged_png(path) -> None:
    Image.fromarray(noise(60, 60, 3)).save(path, "PNG")
    raw = bytearray(path.read_bytes())
    raw[200:240] = bytes(40)
    path.write_bytes(raw)


DAMAGES = [truncate, lambda path: path.write_bytes(b""), write_text, write_32_bits, write_floats]
DAMAGES += [link_to_nothing, write_damaged_png]
USES = {
    "all": lambda data: data.images[:],
    "some": lambda data: data[torch.arange(12)],
    "chunks": lambda data: list(data.images.split(5)),
    "batches": lambda data: list(batches(data, 4, 0, 0)),
    "inputs": lambda data: list(inputs(data.images)),
}
IN_FILES = 0  # bytes of memory: no image fits


@pytest.fixture
def damaged_path(root):
    """An image of ImageNet's training part."""
    write_imagenet(root)
    return root / "train" / WNIDS[2] / f"{WNIDS[2]}_1.JPEG"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_named(root, damaged_path, damage):
    damage(damaged_path)
    assert str(damaged_path) in refusal("imagenet", root, image_size=32)


def test_a_damaged_image_in_a_folder_with_an_images_name_is_named(root, damaged_path):
    damaged_path.unlink()
    deeper = damaged_path / "deeper.png"
    save(deeper, noise(50, 50, 3))
    truncate(deeper)
    assert str(deeper) in refusal("imagenet", root, image_size=32)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_named_when_it_is_used(root, damaged_path, damage, use):
    damage(damaged_path)
    got = load("imagenet", root, image_size=32, memory=IN_FILES)
    with pytest.raises(ParameterError) as error:
        USES[use](got)
    assert str(damaged_path) in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("memory", [IN_FILES, 2**30])
def test_images_of_different_sizes_without_a_size(root, memory):
    write_tiny(root / "tiny_imagenet", 16)
    odd = root / "tiny_imagenet" / "train" / TINY[0] / "images" / f"{TINY[0]}_3.JPEG"
    photo(64, 64).save(odd)
    with pytest.raises(ParameterError) as error:
        load("tiny_imagenet", root, memory=memory).images[:]
    assert all(words in str(error.value) for words in (str(odd), "(64, 64)", "(16, 16)"))
    scaled = load("tiny_imagenet", root, image_size=16, memory=memory)
    assert scaled.images[:].shape == (15, 3, 16, 16)


# --- Sets that stay in their files ----------------------------------------------------------------


@pytest.fixture
def both(root):
    """The same set, in memory and in its files."""
    write_tiny(root / "tiny_imagenet", 16, per_class=13)
    return load("tiny_imagenet", root), load("tiny_imagenet", root, memory=IN_FILES)


def test_a_large_set_stays_in_its_files(root, both):
    whole, files = both
    assert isinstance(files.images, ImageFiles) and isinstance(whole.images, torch.Tensor)
    assert len(files) == len(files.images) == 39
    assert (files.images.shape, files.images.nbytes) == (whole.images.shape, whole.images.nbytes)
    assert files.images.shape[-1] == 16
    assert files.labels.equal(whole.labels) and files.boxes.equal(whole.boxes)


def test_a_set_stays_in_its_files_if_it_needs_more_than_the_memory(root, both):
    size = both[0].images.nbytes
    assert isinstance(load("tiny_imagenet", root, memory=size).images, torch.Tensor)
    assert isinstance(load("tiny_imagenet", root, memory=size - 1).images, ImageFiles)


ROWS = {
    "numbers": torch.tensor([5, 2, 2, 38]),
    "mask": torch.arange(39) % 3 == 1,
    "nothing": torch.tensor([], dtype=torch.long),
    "slice": slice(3, 30, 4),
    "everything": slice(None),
    "end": slice(-16, None),
    "number": 7,
    "tensor of one number": torch.tensor(7),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS.keys())
def test_images_in_files_are_those_in_memory(both, rows):
    whole, files = both
    assert torch.equal(files.images[rows], whole.images[rows])


def test_there_is_no_image_after_the_last(both):
    with pytest.raises(IndexError):
        both[1].images[39]


def test_part_of_a_set_in_files_is_that_in_memory(both):
    rows = torch.tensor([30, 1, 4])
    expected, part = (each[rows] for each in both)
    for name in ("images", "labels", "boxes"):
        assert torch.equal(getattr(part, name), getattr(expected, name))


@pytest.mark.parametrize("n", [1, 10, 13, 39, 100])
def test_chunks_of_files_are_those_in_memory(both, n):
    whole, files = both
    chunks = list(files.images.split(n))
    assert list(map(len, chunks)) == list(map(len, whole.images.split(n)))
    assert torch.equal(torch.cat(chunks), whole.images)


def test_files_that_are_moved_to_a_device_are_decoded(both):
    whole, files = both
    assert torch.equal(files.images.to("cpu"), whole.images)
    moved = files.to("cpu")
    assert torch.equal(moved.images, whole.images) and moved.labels.equal(whole.labels)


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_batches_of_files_are_those_in_memory(both, rank, world):
    for size in (4, 13, 39, 40):
        expected, got = (list(batches(s, size, 3, 5, rank, world)) for s in both)
        assert len(got) == len(expected) == 39 // size
        for (x, y), (images, labels) in zip(expected, got, strict=True):
            assert torch.equal(x, images) and torch.equal(y, labels)


def test_features_of_files_are_those_in_memory(both):
    whole, files = both
    pixels = nn.Flatten()
    assert torch.equal(features(pixels, whole.images), features(pixels, files.images))
    pooled = [nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), *pooled)
    assert torch.allclose(features(backbone, whole.images), features(backbone, files.images))


@pytest.fixture
def opened(monkeypatch):
    """The image files that Pillow has opened."""
    paths: set[str] = set()
    really_open = Image.open

    def note_and_open(path, *arguments):
        paths.add(str(path))
        return really_open(path, *arguments)

    monkeypatch.setattr(Image, "open", note_and_open)
    return paths


def test_only_chosen_images_are_decoded(root, opened):
    write_tiny(root / "tiny_imagenet", 16, per_class=13)
    assert len(load("tiny_imagenet", root, n=6, image_size=16)) == len(opened) == 6


def test_images_in_files_are_decoded_when_they_are_used(root, opened):
    write_tiny(root / "tiny_imagenet", 16, per_class=13)
    part = load("tiny_imagenet", root, n=6, image_size=8, memory=IN_FILES)
    assert not opened
    assert part.images[torch.tensor([3])].shape == (1, 3, 8, 8)
    assert len(opened) == 1
    assert (len(part.images[:]), len(opened)) == (6, 6)


FIVES = {
    "batches": lambda data: batches(data, 5, 0, 0),
    "chunks": lambda data: data.images.split(5),
}


@pytest.mark.parametrize("use", FIVES.values(), ids=FIVES.keys())
def test_one_batch_is_decoded_ahead_by_a_thread(both, opened, use):
    before = threading.active_count()
    parts = use(both[1])
    assert not opened
    next(parts)
    stop = time.monotonic() + 30
    while len(opened) < 10 and time.monotonic() < stop:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(opened) == 10  # the first batch and the second, not yet asked for; no third
    parts.close()
    assert threading.active_count() == before
