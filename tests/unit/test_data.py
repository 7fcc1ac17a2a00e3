"""Data sets in their publishers' formats, written here byte by byte; subsets and batches."""

import gzip
import hashlib
import os
import pickle
import struct
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images
from torchvision.datasets import CIFAR10, STL10, FashionMNIST

from infomax_nb.data import glyphs
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.readers.packed import read_fashion_mnist
from infomax_nb.data.sampling import batches, stratified
from infomax_nb.errors import ParameterError
from infomax_nb.files import project_root
from infomax_nb.seeds import stream


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def sentence(error: pytest.ExceptionInfo) -> str:
    """The message, which must be one line."""
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Subsets and batches --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [7, 100, 501])
def test_stratified_counts(n):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.permutation(np.repeat(np.arange(7), 100)))
    rows = stratified(labels, n, seed=3)
    assert len(rows) == len(rows.unique()) == n
    counts = labels[rows].bincount(minlength=7)
    assert counts.max() - counts.min() == (n % 7 > 0)
    assert torch.equal(rows, stratified(labels, n, seed=3))
    assert not torch.equal(rows, stratified(labels, n, seed=4))


def test_stratified_takes_all_of_a_class_that_is_too_small():
    labels = torch.tensor([2] * 90 + [0] * 3 + [1] * 50)
    counts = labels[stratified(labels, 43, seed=0)].bincount()
    assert counts.tolist() == [3, 20, 20]
    every = stratified(labels, len(labels), seed=0)
    assert every.sort().values.equal(torch.arange(len(labels)))


def test_stratified_order_is_random():
    """Neither by class nor by place in the file, and each image has the same chance."""
    labels = torch.arange(10).repeat_interleave(200)
    rows = stratified(labels, 1000, seed=1)
    for column in (rows, labels[rows]):
        assert abs(stats.spearmanr(np.arange(1000), column).statistic) < 0.1
    # Nor each class in turn: that happens once in 2,756 times.
    assert len(labels[rows][:10].unique()) < 10
    chosen = torch.zeros(2000)
    for seed in range(100):
        chosen[stratified(labels, 500, seed)] += 1
    # Each is chosen by Binomial(100, 1/4).
    expected = stats.binom(100, 0.25).cdf(np.arange(10, 41))
    share = (chosen[:, None] <= torch.arange(10, 41)).float().mean(0).numpy()
    assert np.abs(share - expected).max() < 0.05


def numbered(n: int) -> ImageSet:
    """Image k holds the number k, so that a batch shows which images it has."""
    images = torch.arange(n).to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return ImageSet(images, torch.arange(n) % 3, ["a", "b", "c"])


def order(*args, **kwargs) -> list[list[int]]:
    out = []
    for images, labels in batches(*args, **kwargs):
        numbers = images[:, 0, 0, 0].long()
        assert torch.equal(labels, numbers % 3)
        out.append(numbers.tolist())
    return out


def test_an_incomplete_batch_is_dropped():
    every = order(numbered(103), 10, seed=1, epoch=2)
    assert [len(batch) for batch in every] == [10] * 10
    assert len(set(sum(every, []))) == 100


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    first = order(numbered(103), 10, seed=1, epoch=2)
    torch.manual_seed(99)  # the global generator plays no part
    assert order(numbered(103), 10, seed=1, epoch=2) == first
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        other = order(numbered(103), 10, seed=seed, epoch=epoch)
        assert other != first
        assert set(sum(other, [])) != set(sum(first, []))  # other images are dropped, too


def test_the_order_is_random():
    numbers = sum(order(numbered(103), 10, seed=1, epoch=2), [])
    assert abs(stats.spearmanr(np.argsort(numbers), range(100)).statistic) < 0.35


def test_batches_begin_where_they_are_told_to():
    every = order(numbered(103), 10, seed=1, epoch=2)
    assert order(numbered(103), 10, seed=1, epoch=2, first=7) == every[7:]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_global_batch(world):
    whole = order(numbered(64), 11, seed=0, epoch=0)
    shares = []
    for rank in range(world):
        shares.append(order(numbered(64), 11, seed=0, epoch=0, rank=rank, world=world))
    assert len(whole) == 5
    for k, batch in enumerate(whole):
        parts = [share[k] for share in shares]
        assert sum(parts, []) == batch
        assert {len(p) for p in parts} == {11 // world, -(-11 // world)}


def test_streams_are_distinct_and_reproducible():
    uses = list(product(range(5), range(20), range(5)))
    seeds = [stream(*each) for each in uses]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [stream(*each) for each in uses]
    assert all(0 <= s < 2**63 for s in seeds)


# --- CIFAR-10 -------------------------------------------------------------------------------------


def write_tree(folder, names=("cat", "airplane", "dog"), per_class=4) -> dict[str, np.ndarray]:
    written = {name: noise(per_class, 32, 32, 3, seed=k) for k, name in enumerate(names)}
    for name, images in written.items():
        (folder / name).mkdir(parents=True)
        for k, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{k}.png")
    return written


@pytest.mark.parametrize("layout", ["cifar10/{}", "{}"])
def test_cifar10_as_a_folder_of_images(somewhere, layout):
    train = write_tree(somewhere / "root" / layout.format("train"))
    test = write_tree(somewhere / "root" / layout.format("test"), per_class=2)
    for split, written in (("train", train), ("test", test)):
        got = load("cifar10", somewhere / "root", split)
        assert got.classes == ["airplane", "cat", "dog"]
        assert (got.images.dtype, got.labels.dtype) == (torch.uint8, torch.int64)
        expected = np.concatenate([written[name] for name in got.classes]).transpose(0, 3, 1, 2)
        assert torch.equal(got.images, torch.from_numpy(expected.copy()))
        assert got.labels.tolist() == [k for k in range(3) for _ in written["cat"]]

    part = load("cifar10", somewhere / "root", "train", n=6, seed=5)
    assert sorted(part.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    for image, label in zip(part.images, part.labels, strict=True):
        of_class = train[part.classes[label]].transpose(0, 3, 1, 2)
        assert (of_class == image.numpy()).all((1, 2, 3)).sum() == 1


def test_images_of_a_folder_are_read_as_rgb_and_a_broken_one_is_named(somewhere):
    folder = somewhere / "cifar10" / "train"
    write_tree(folder)
    grey = noise(32, 32, seed=9)
    Image.fromarray(grey).save(folder / "cat" / "0.png")
    got = load("cifar10", somewhere)
    assert torch.equal(got.images[4], torch.from_numpy(grey).expand(3, -1, -1))
    broken = folder / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:300])
    said = refused("cifar10", somewhere)
    assert said.startswith("data_root:") and str(broken) in said


def refused(*arguments, **options) -> str:
    """The sentence that `load` raises."""
    with pytest.raises(ParameterError) as error:
        load(*arguments, **options)
    return sentence(error)


def test_a_folder_without_images_is_refused(somewhere):
    folder = somewhere / "cifar10" / "train"
    folder.mkdir(parents=True)
    said = refused("cifar10", somewhere)
    assert said.startswith("data_root:") and str(folder) in said


def test_an_empty_class_is_refused(somewhere):
    folder = somewhere / "cifar10" / "train"
    write_tree(folder)
    (folder / "bird").mkdir()
    said = refused("cifar10", somewhere)
    assert said.startswith("data_root:") and str(folder / "bird") in said


def test_an_image_of_another_size_is_refused(somewhere):
    folder = somewhere / "cifar10" / "train"
    write_tree(folder)
    odd = folder / "dog" / "odd.png"
    Image.fromarray(noise(20, 32, 3)).save(odd)
    said = refused("cifar10", somewhere)
    assert said.startswith("data_root:") and str(odd) in said


def write_pickle(path, content: dict) -> list[str]:
    """The file's name and MD5, as torchvision knows them."""
    path.write_bytes(pickle.dumps(content, protocol=2))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


TRAIN_BATCHES = [f"data_batch_{k}" for k in range(1, 6)]


@pytest.fixture
def pickles(somewhere, monkeypatch):
    """CIFAR-10's Python version with three images a batch; torchvision knows these files' MD5
    sums."""
    folder = somewhere / CIFAR10.base_folder
    folder.mkdir()
    written = {}
    sums = []
    for k, name in enumerate([*TRAIN_BATCHES, "test_batch"]):
        rows = noise(3, 3072, seed=k)
        labels = [(k + j) % 3 for j in range(3)]
        batch = {"batch_label": name, "labels": labels, "data": rows}
        batch["filenames"] = [f"{k}_{j}.png" for j in range(3)]
        sums.append(write_pickle(folder / name, batch))
        written[name] = (rows, labels)
    meta = {"num_cases_per_batch": 3, "label_names": ["airplane", "automobile", "bird"]}
    name, md5 = write_pickle(folder / "batches.meta", meta | {"num_vis": 3072})
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    known = {"filename": name, "key": "label_names", "md5": md5}
    monkeypatch.setattr(CIFAR10, "meta", known)
    return somewhere, folder, written


@pytest.mark.parametrize(
    ("split", "names"), [("train", TRAIN_BATCHES), ("test", ["test_batch"])], ids=["train", "test"]
)
def test_cifar10_pickles(pickles, split, names):
    """A row holds 1,024 red, then green, then blue values, line by line (the publisher's
    description)."""
    root, _, written = pickles
    got = load("cifar10", root, split)
    assert got.classes == ["airplane", "automobile", "bird"]
    assert got.labels.tolist() == [label for name in names for label in written[name][1]]
    rows = [row for name in names for row in written[name][0]]
    for image, row in zip(got.images, rows, strict=True):
        assert image[0, 0, 31] == row[31]
        assert image[1, 5, 7] == row[1024 + 32 * 5 + 7]
        assert image.flatten().tolist() == row.tolist()


def test_a_subset_of_cifar10_has_as_many_of_each_class(pickles):
    labels = load("cifar10", pickles[0], "train", n=6).labels
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2]


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_changed_pickle_is_refused_unread(pickles):
    root, folder, _ = pickles
    trap = root / "was-executed"
    pickle.loads(pickle.dumps(_Touch(trap)))
    assert trap.exists()  # the trap works
    trap.unlink()
    (folder / "data_batch_3").write_bytes(pickle.dumps(_Touch(trap)))
    said = refused("cifar10", root)
    assert said.startswith("data_root:")
    assert str(folder) in said and "MD5" in said
    assert not trap.exists()


# --- Fashion-MNIST --------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """MNIST's format: two zero bytes, 8 for uint8, the number of dimensions, their sizes as
    big-endian int32."""
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}i", *array.shape)
        + array.tobytes()
    )


def write_fashion(folder, packed: bool, n_labels: int = 20) -> dict[str, tuple]:
    """Split -> its images (20, 28, 28) and labels (20,)."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.tile(np.arange(10, dtype=np.uint8), 2)
    written = {}
    for seed, (split, prefix) in enumerate((("train", "train"), ("test", "t10k"))):
        images = noise(20, 28, 28, seed=seed)
        for name, array in (("images-idx3", images), ("labels-idx1", labels[:n_labels])):
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
        written[split] = (images, labels)
    return written


FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def assert_fashion(got: ImageSet, images: np.ndarray, labels: np.ndarray) -> None:
    """The images lie in the middle of 32 pixels, the border is black."""
    assert (got.images.dtype, got.labels.dtype) == (torch.uint8, torch.int64)
    assert got.images.shape == (20, 3, 32, 32)
    middle = torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(got.images[:, :, 2:30, 2:30], middle)
    assert int(got.images.long().sum()) == int(middle.long().sum())
    assert got.labels.tolist() == labels.tolist()
    assert got.classes == FASHION


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("where", ["FashionMNIST/raw", "."])
def test_fashion_mnist(somewhere, where, packed):
    for split, written in write_fashion(somewhere / where, packed).items():
        assert_fashion(load("fashion_mnist", somewhere, split), *written)


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_of_debians_package(somewhere, packed):
    for split, written in write_fashion(somewhere / "debian", packed).items():
        got = read_fashion_mnist(somewhere / "root", split, debian=somewhere / "debian")
        assert_fashion(got, *written)


def test_fashion_mnist_is_that_of_torchvision(somewhere):
    write_fashion(somewhere / "FashionMNIST" / "raw", packed=False)
    peer = FashionMNIST(str(somewhere), train=True)
    got = load("fashion_mnist", somewhere)
    assert torch.equal(got.images[:, 1, 2:30, 2:30], peer.data)
    assert torch.equal(got.labels, peer.targets)


def test_missing_fashion_mnist_is_looked_for_in_three_places(somewhere):
    with pytest.raises(ParameterError) as error:
        read_fashion_mnist(somewhere / "root", "train", debian=somewhere / "debian")
    said = sentence(error)
    assert said.startswith("data_root:") and "dataset-fashion-mnist" in said
    for place in ("root/FashionMNIST/raw", "root", "debian"):
        assert str(somewhere / place / "train-images-idx3-ubyte") in said
    assert f"FashionMNIST('{somewhere / 'root'}', download=True)" in said


@pytest.mark.parametrize(
    ("packed", "damage"),
    [
        (True, lambda raw: raw[: len(raw) // 2]),
        (True, lambda raw: raw[:-3]),
        (True, lambda raw: raw[:200] + bytes(40) + raw[240:]),
        (True, lambda raw: b"not packed at all"),
        (False, lambda raw: raw[: len(raw) // 2]),
        (False, lambda raw: raw[:10]),
        (False, lambda raw: b""),
        (False, lambda raw: raw + b"more"),
    ],
)
def test_damaged_fashion_mnist_is_named(somewhere, packed, damage):
    folder = somewhere / "FashionMNIST" / "raw"
    write_fashion(folder, packed)
    path = folder / f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    path.write_bytes(damage(path.read_bytes()))
    said = refused("fashion_mnist", somewhere)
    assert said.startswith("data_root:")
    assert str(path) in said and "damaged" in said


def test_fashion_mnist_with_fewer_labels_than_images(somewhere):
    write_fashion(somewhere / "FashionMNIST" / "raw", packed=False, n_labels=13)
    assert "20 train images but 13 labels" in refused("fashion_mnist", somewhere)


# --- STL-10 ---------------------------------------------------------------------------------------

STL10_CLASSES = [
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
]
STL10_LABELS = {"train": [10, 1, 4, 4], "test": [2, 3, 10]}


@pytest.fixture
def binaries(somewhere, monkeypatch):
    """The publisher's binaries: uint8, channel by channel, column-major; labels 1 to 10."""
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    folder = somewhere / STL10.base_folder
    folder.mkdir()
    (folder / "class_names.txt").write_text("\n".join(STL10_CLASSES) + "\n")
    written = {}
    for seed, (name, n) in enumerate((("train", 4), ("test", 3), ("unlabeled", 5))):
        raw = noise(n, 3, 96, 96, seed=seed)
        (folder / f"{name}_X.bin").write_bytes(raw.tobytes())
        written[name] = torch.from_numpy(raw.transpose(0, 1, 3, 2).copy())
    for name, values in STL10_LABELS.items():
        (folder / f"{name}_y.bin").write_bytes(bytes(values))
    return written


@pytest.mark.parametrize("split", ["train", "test"])
def test_stl10(binaries, somewhere, split):
    got = load("stl10", somewhere, split)
    assert got.classes == STL10_CLASSES
    assert got.labels.tolist() == [label - 1 for label in STL10_LABELS[split]]
    assert torch.equal(got.images, binaries[split])


def test_stl10_with_its_unlabelled_images(binaries, somewhere):
    got = load("stl10", somewhere, "unlabeled")
    assert got.labels.dtype == torch.int64
    assert got.labels.tolist() == [9, 0, 3, 3, -1, -1, -1, -1, -1]
    assert torch.equal(got.images[:4], binaries["train"])
    assert torch.equal(got.images[4:], binaries["unlabeled"])


# --- What `load` refuses, finds and resizes -------------------------------------------------------

MISSING = [
    ("cifar10", ["cifar-10-batches-py", "cifar10/train"], ["CIFAR10('nowhere', download=True)"]),
    ("stl10", ["stl10_binary"], ["STL10('nowhere', download=True)"]),
    ("cifar100", ["cifar-100-python"], ["CIFAR100('nowhere', download=True)"]),
    ("lc25000", ["lung_colon_image_set", "lc25000", "lung_n"], ["Borkowski"]),
    ("lc25000_groups", ["lung_colon_image_set/lung_image_sets", "lc25000"], ["Borkowski"]),
    ("imagenet", ["imagenet/train", "train"], ["publishers", "class folders"]),
    ("imagenet100", ["imagenet100.txt", "imagenet/imagenet100.txt"], ["hundred classes", "line"]),
    ("tiny_imagenet", ["tiny-imagenet-200", "tiny_imagenet"], ["CS231n"]),
    ("folder", [""], ["a folder of images for each class"]),
]


@pytest.mark.parametrize(("name", "places", "cure"), MISSING)
def test_missing_data_are_asked_for_with_their_places(somewhere, name, places, cure):
    said = refused(name, "nowhere")
    assert said.startswith("data_root:")
    assert all(str(somewhere / "nowhere" / place) in said for place in places)
    assert all(words in said for words in cure)


def test_a_relative_root_is_looked_for_here_and_then_in_the_project(tmp_path, monkeypatch):
    """The path leads out of the project to a temporary folder, and from here to another one."""
    root = os.path.relpath(tmp_path / "data", project_root())
    here = tmp_path.joinpath("here", *["deep"] * root.count(".."))
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    write_tree(tmp_path / "data" / "cifar10" / "train")
    assert len(load("cifar10", root)) == 12
    write_tree((here / root).resolve() / "cifar10" / "train", per_class=2)
    assert len(load("cifar10", root)) == 6


def test_more_images_than_there_are_are_refused(somewhere):
    write_tree(somewhere / "cifar10" / "train")
    write_fashion(somewhere, packed=False)
    there = "n_train = 13 is not allowed: the train split of cifar10 has 12 images."
    assert refused("cifar10", somewhere, n=13) == there
    there = "n_train = 21 is not allowed: the train split of fashion_mnist has 20 images."
    assert refused("fashion_mnist", somewhere, n=21) == there
    assert "n_train = 1000000 is not allowed" in refused("glyphs", n=10**6, n_classes=2)


@pytest.mark.parametrize(
    ("name", "split"),
    [("cifar10", "val"), ("cifar10", "unlabeled"), ("stl10", "val"), ("tiny_imagenet", "val")],
)
def test_a_split_that_there_is_not_is_refused(somewhere, name, split):
    splits = "train, test, unlabeled" if name == "stl10" else "train, test"
    said = refused(name, somewhere, split=split)
    assert said == f"split = {split!r} is not allowed: {name} has {splits}."


def test_an_unknown_data_set_is_refused(somewhere):
    said = refused("cifar11", somewhere)
    assert said.startswith("dataset = 'cifar11' is not allowed")
    assert all(name in said for name in ("glyphs", "tiny_imagenet", "cifar10", "folder"))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_image_size_resizes_as_pillow(somewhere, size):
    whole = Image.fromarray(load_sample_images().images[0])
    part = whole.crop((100, 50, 300, 250)).resize((48, 48), Image.Resampling.BICUBIC)
    for split in ("train", "test"):
        (somewhere / split / "a").mkdir(parents=True)
        part.save(somewhere / split / "a" / "0.png")
    got = load("cifar10", somewhere, image_size=size).images
    assert (got.shape, got.dtype) == ((1, 3, size, size), torch.uint8)
    reference = np.asarray(part.resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    off = np.abs(got[0].permute(1, 2, 0).numpy().astype(int) - reference)
    assert (off <= 1).mean() >= 0.999
    assert load("cifar10", somewhere, image_size=48).images.equal(load("cifar10", somewhere).images)


@pytest.mark.parametrize("size", [16, 48, 64])
def test_image_size_of_a_set_in_one_file_resizes_as_pillow(somewhere, size):
    write_fashion(somewhere, packed=False)
    whole = load("fashion_mnist", somewhere)
    got = load("fashion_mnist", somewhere, image_size=size)
    for before, after in zip(whole.images, got.images, strict=True):
        image = Image.fromarray(before.permute(1, 2, 0).numpy())
        expected = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
        off = np.abs(after.permute(1, 2, 0).numpy().astype(int) - expected)
        assert off.max() <= 1 and (off == 0).mean() > 0.99
    assert got.labels.equal(whole.labels)


def test_glyphs_have_classes_and_superclasses():
    whole = load("glyphs", split="test", n_classes=12)
    groups = [whole.coarse_names[k] for k in whole.coarse]
    assert list(zip(groups, whole.classes, strict=True)) == glyphs.classes(12)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("n", 0), ("n", -1), ("image_size", 0), ("damaged", "maybe"), ("n_classes", 1)],
)
def test_an_argument_that_is_not_allowed_is_refused(argument, value):
    with pytest.raises(ParameterError, match=f"{argument}.* = {value!r} is not allowed: it must"):
        load("glyphs", **{argument: value})


def test_masks_and_labels_of_glyphs_stay_with_their_images():
    whole = load("glyphs", split="test", n_classes=12)
    part = load("glyphs", split="test", n=30, seed=1, n_classes=12)
    counts = part.labels.bincount(minlength=12)
    assert (len(part), int(counts.max() - counts.min())) == (30, 1)
    place = {image.numpy().tobytes(): k for k, image in enumerate(whole.images)}
    rows = [place[image.numpy().tobytes()] for image in part.images]
    assert part.labels.equal(whole.labels[rows])
    assert part.masks.equal(whole.masks[rows])


def test_glyphs_of_any_size_and_with_a_texture():
    large = load("glyphs", split="test", n_classes=2, image_size=48)
    assert large.images.shape[1:] == (3, 48, 48)
    plain = load("glyphs", split="test", n_classes=2).images
    textured = load("glyphs_textured", split="test", n_classes=2).images
    assert plain.shape == textured.shape and not plain.equal(textured)
