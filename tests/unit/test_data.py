"""Data sets in their publishers' formats, written here byte by byte; subsets and batches."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images
from torchvision.datasets import CIFAR10, STL10, FashionMNIST

from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.data.readers import torchvision_sets as readers
from infomax_nb.data.sampling import batches, stratified
from infomax_nb.errors import ParameterError
from infomax_nb.seeds import stream


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def sentence(error: pytest.ExceptionInfo) -> str:
    """The message, which must be one line."""
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """An empty working folder, and no data elsewhere on this machine."""
    monkeypatch.setattr(readers, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setattr("infomax_nb.files.project_root", lambda: tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Subsets and batches --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [7, 100, 501])
def test_stratified_counts(n):
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(7), 100)))
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
    assert stratified(labels, len(labels), seed=0).sort().values.equal(torch.arange(len(labels)))


def test_stratified_order_is_random():
    """Neither by class nor by place in the file, and each image has the same chance."""
    labels = torch.arange(10).repeat_interleave(200)
    rows = stratified(labels, 1000, seed=1)
    for column in (rows, labels[rows]):
        assert abs(stats.spearmanr(np.arange(1000), column).statistic) < 0.1
    assert (
        len(labels[rows][:10].unique()) < 10
    )  # nor each class in turn: that happens once in 2,756 times
    chosen = torch.zeros(2000)
    for seed in range(100):
        chosen[stratified(labels, 500, seed)] += 1
    # Each is chosen by Binomial(100, 1/4).
    expected = stats.binom(100, 0.25).cdf(np.arange(10, 41))
    found = (chosen[:, None] <= torch.arange(10, 41)).float().mean(0).numpy()
    assert np.abs(found - expected).max() < 0.05


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


def test_batches():
    first = order(numbered(103), 10, seed=1, epoch=2)
    torch.manual_seed(99)  # the global generator plays no part
    assert order(numbered(103), 10, seed=1, epoch=2) == first
    assert [len(b) for b in first] == [10] * 10  # the incomplete one is dropped
    assert len(set(sum(first, []))) == 100
    others = [order(numbered(103), 10, seed=s, epoch=e) for s, e in ((1, 3), (2, 2), (2, 1))]
    assert all(o != first for o in others)
    assert set(sum(others[0], [])) != set(
        sum(first, [])
    )  # and it is not always the same images that are
    position = [k for k, _ in sorted(enumerate(sum(first, [])), key=lambda pair: pair[1])]
    assert abs(stats.spearmanr(position, range(100)).statistic) < 0.35


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_global_batch(world):
    whole = order(numbered(64), 11, seed=0, epoch=0)
    shares = [order(numbered(64), 11, seed=0, epoch=0, rank=r, world=world) for r in range(world)]
    assert len(whole) == 5
    for k, batch in enumerate(whole):
        parts = [share[k] for share in shares]
        assert sum(parts, []) == batch
        assert {len(p) for p in parts} == {11 // world, -(-11 // world)}


def test_streams_are_distinct_and_reproducible():
    seeds = [stream(s, e, u) for s in range(5) for e in range(20) for u in range(5)]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [stream(s, e, u) for s in range(5) for e in range(20) for u in range(5)]
    assert all(0 <= s < 2**63 for s in seeds)


# --- CIFAR-10 -------------------------------------------------------------------------------------


def write_tree(
    folder, names=("cat", "airplane", "dog"), per_class=4, size=32
) -> dict[str, np.ndarray]:
    written = {name: noise(per_class, size, size, 3, seed=k) for k, name in enumerate(names)}
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
    with pytest.raises(ParameterError) as error:
        load("cifar10", somewhere)
    assert sentence(error).startswith("data_root:")
    assert str(broken) in sentence(error)


@pytest.mark.parametrize("trouble", ["empty class", "no classes", "other size"])
def test_folders_that_cannot_be_used(somewhere, trouble):
    folder = somewhere / "cifar10" / "train"
    folder.mkdir(parents=True)
    named = folder
    if trouble != "no classes":
        write_tree(folder)
        (folder / "bird").mkdir()
        named = folder / "bird"
    if trouble == "other size":
        named = named / "0.png"
        Image.fromarray(noise(20, 32, 3)).save(named)
    with pytest.raises(ParameterError) as error:
        load("cifar10", somewhere)
    assert sentence(error).startswith("data_root:")
    assert str(named) in sentence(error) or (trouble == "empty class" and "bird" in sentence(error))


@pytest.fixture
def pickles(somewhere, monkeypatch):
    """CIFAR-10's Python version with three images a batch; torchvision knows these files' MD5
    sums."""
    folder = somewhere / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    lists, written = {"train": [], "test": []}, {}
    for k, name in enumerate([*(f"data_batch_{b}" for b in range(1, 6)), "test_batch"]):
        rows, labels = noise(3, 3072, seed=k), [(k + j) % 3 for j in range(3)]
        batch = {
            "batch_label": name,
            "labels": labels,
            "data": rows,
            "filenames": [f"{k}_{j}.png" for j in range(3)],
        }
        lists["test" if name == "test_batch" else "train"].append(write(name, batch))
        written[name] = (rows, labels)
    names = ["airplane", "automobile", "bird"]
    meta = write("batches.meta", {"num_cases_per_batch": 3, "label_names": names, "num_vis": 3072})
    monkeypatch.setattr(CIFAR10, "train_list", lists["train"])
    monkeypatch.setattr(CIFAR10, "test_list", lists["test"])
    monkeypatch.setattr(
        CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    )
    return somewhere, folder, written


def test_cifar10_pickles(pickles):
    """A row holds 1,024 red, then green, then blue values, line by line (the publisher's
    description)."""
    root, _, written = pickles
    for split, names in (
        ("train", [f"data_batch_{b}" for b in range(1, 6)]),
        ("test", ["test_batch"]),
    ):
        got = load("cifar10", root, split)
        assert got.classes == ["airplane", "automobile", "bird"]
        assert got.labels.tolist() == [label for name in names for label in written[name][1]]
        rows = [row for name in names for row in written[name][0]]
        for image, row in zip(got.images, rows, strict=True):
            for channel, y, x in ((0, 0, 0), (0, 0, 31), (1, 5, 7), (2, 31, 30)):
                assert image[channel, y, x] == row[1024 * channel + 32 * y + x]
            assert image.flatten().tolist() == row.tolist()
    assert sorted(load("cifar10", root, "train", n=6).labels.tolist()) == [0, 0, 1, 1, 2, 2]


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
    with pytest.raises(ParameterError) as error:
        load("cifar10", root)
    assert sentence(error).startswith("data_root:")
    assert str(folder) in sentence(error)
    assert "MD5" in sentence(error)
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


def write_fashion(
    folder, packed: bool, n_labels: int = 20
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for prefix, seed in (("train", 0), ("t10k", 1)):
        images, labels = noise(20, 28, 28, seed=seed), np.tile(np.arange(10, dtype=np.uint8), 2)
        for name, array in (("images-idx3", images), ("labels-idx1", labels[:n_labels])):
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
        written["train" if prefix == "train" else "test"] = images, labels
    return written


FASHION = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("where", ["FashionMNIST/raw", ".", "../debian"])
def test_fashion_mnist(somewhere, where, packed):
    root = somewhere / "root"
    root.mkdir()
    written = write_fashion(root / where, packed)
    for split, (images, labels) in written.items():
        got = load("fashion_mnist", root, split)
        assert (got.images.dtype, got.labels.dtype) == (torch.uint8, torch.int64)
        assert got.images.shape == (20, 3, 32, 32)
        assert torch.equal(
            got.images[:, :, 2:30, 2:30], torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1)
        )
        assert int(got.images.long().sum()) == 3 * int(
            images.sum(dtype=np.int64)
        )  # the border is black
        assert got.labels.tolist() == labels.tolist()
        assert got.classes == FASHION
    if where == "FashionMNIST/raw" and not packed:
        peer, got = FashionMNIST(str(root), train=True), load("fashion_mnist", root)
        assert torch.equal(got.images[:, 1, 2:30, 2:30], peer.data)
        assert torch.equal(got.labels, peer.targets)


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
    with pytest.raises(ParameterError) as error:
        load("fashion_mnist", somewhere)
    assert sentence(error).startswith("data_root:")
    assert str(path) in sentence(error)
    assert "damaged" in sentence(error)


def test_fashion_mnist_with_fewer_labels_than_images(somewhere):
    write_fashion(somewhere / "FashionMNIST" / "raw", packed=False, n_labels=13)
    with pytest.raises(ParameterError) as error:
        load("fashion_mnist", somewhere)
    assert "20" in sentence(error)
    assert "13" in sentence(error)


# --- STL-10 ---------------------------------------------------------------------------------------


def test_stl10(somewhere, monkeypatch):
    """The publisher's binaries: uint8, channel by channel, column-major; labels 1 to 10."""
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    folder = somewhere / STL10.base_folder
    folder.mkdir()
    names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    (folder / "class_names.txt").write_text("\n".join(names) + "\n")
    raw = {
        name: noise(n, 3, 96, 96, seed=k)
        for k, (name, n) in enumerate((("train", 4), ("test", 3), ("unlabeled", 5)))
    }
    for name, array in raw.items():
        (folder / f"{name}_X.bin").write_bytes(array.tobytes())
    labels = {"train": [10, 1, 4, 4], "test": [2, 3, 10]}
    for name, values in labels.items():
        (folder / f"{name}_y.bin").write_bytes(bytes(values))

    for split in ("train", "test"):
        got = load("stl10", somewhere, split)
        assert got.classes == names
        assert got.labels.tolist() == [v - 1 for v in labels[split]]
        assert torch.equal(got.images, torch.from_numpy(raw[split].transpose(0, 1, 3, 2).copy()))
    both = load("stl10", somewhere, "unlabeled")
    assert both.labels.tolist() == [9, 0, 3, 3, -1, -1, -1, -1, -1]
    assert both.labels.dtype == torch.int64
    assert torch.equal(
        both.images[4:], torch.from_numpy(raw["unlabeled"].transpose(0, 1, 3, 2).copy())
    )


# --- What `load` refuses, finds and resizes -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "places", "get"),
    [
        (
            "fashion_mnist",
            ["nowhere/FashionMNIST/raw", "debian"],
            ["FashionMNIST('nowhere', download=True)", "dataset-fashion-mnist"],
        ),
        ("cifar10", ["nowhere/cifar-10-batches-py", "nowhere/cifar10/train"], ["CIFAR10('nowhere', download=True)"]),
        ("stl10", ["nowhere/stl10_binary"], ["STL10('nowhere', download=True)"]),
        ("cifar100", ["nowhere/cifar-100-python"], ["CIFAR100('nowhere', download=True)"]),
        ("lc25000", ["nowhere/lung_colon_image_set", "nowhere/lc25000", "nowhere/lung_n"], ["Borkowski"]),
        ("lc25000_groups", ["nowhere/lung_colon_image_set/lung_image_sets", "nowhere/lc25000"], ["Borkowski"]),
        ("imagenet", ["nowhere/imagenet/train", "nowhere/train"], ["publishers", "class folders"]),
        ("imagenet100", ["nowhere/imagenet100.txt", "nowhere/imagenet/imagenet100.txt"], ["hundred classes", "line"]),
        ("tiny_imagenet", ["nowhere/tiny-imagenet-200", "nowhere/tiny_imagenet"], ["CS231n"]),
        ("folder", ["nowhere"], ["a folder of images for each class"]),
    ],
)  # fmt: skip
def test_missing_data(somewhere, name, places, get):
    with pytest.raises(ParameterError) as error:
        load(name, "nowhere")
    assert sentence(error).startswith("data_root:")
    assert all(str(somewhere / place) in sentence(error) for place in places)
    assert all(words in sentence(error) for words in get)


def test_a_relative_root_is_looked_for_here_and_then_in_the_project(somewhere):
    write_tree(somewhere / "project" / "data" / "cifar10" / "train")
    assert len(load("cifar10", "data")) == 12
    write_tree(somewhere / "data" / "cifar10" / "train", per_class=2)
    assert len(load("cifar10", "data")) == 6


def test_what_load_refuses(somewhere):
    write_tree(somewhere / "cifar10" / "train")
    write_fashion(somewhere, packed=False)
    for name, arguments, words in (
        ("cifar10", {"n": 13}, ["n_train = 13", "train", "cifar10", "12 images"]),
        ("fashion_mnist", {"n": 21}, ["n_train = 21", "20 images"]),
        ("glyphs", {"n": 10**6, "n_classes": 2}, ["n_train = 1000000", "glyphs"]),
        ("cifar10", {"split": "val"}, ["split = 'val'", "train, test"]),
        ("cifar10", {"split": "unlabeled"}, ["split = 'unlabeled'", "train, test"]),
        ("stl10", {"split": "val"}, ["split = 'val'", "train, test, unlabeled"]),
        ("tiny_imagenet", {"split": "val"}, ["split = 'val'", "train, test"]),
        ("cifar11", {}, ["dataset = 'cifar11'", "glyphs", "tiny_imagenet", "cifar10", "folder"]),
    ):
        with pytest.raises(ParameterError) as error:
            load(name, somewhere, **arguments)
        assert all(
            word in sentence(error)
            for word in [*words, "not allowed" if arguments or name == "cifar11" else ""]
        )


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
    whole, got = load("fashion_mnist", somewhere), load("fashion_mnist", somewhere, image_size=size)
    for before, after in zip(whole.images, got.images, strict=True):
        image = Image.fromarray(before.permute(1, 2, 0).numpy()).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        off = np.abs(after.permute(1, 2, 0).numpy().astype(int) - np.asarray(image))
        assert off.max() <= 1 and (off == 0).mean() > 0.99
    assert got.labels.equal(whole.labels)


def test_glyphs_load(somewhere):
    whole = load("glyphs", split="test", n_classes=12)
    part = load("glyphs", split="test", n=30, seed=1, n_classes=12)
    assert whole.classes != whole.coarse_names
    assert len(whole.classes) == len(whole.coarse) == 12
    assert int(whole.coarse.max()) + 1 == len(whole.coarse_names)
    counts = part.labels.bincount(minlength=12)
    assert (len(part), int(counts.max() - counts.min())) == (30, 1)
    # Masks and labels stay with their images.
    where = {image.numpy().tobytes(): k for k, image in enumerate(whole.images)}
    rows = [where[image.numpy().tobytes()] for image in part.images]
    assert part.labels.equal(whole.labels[rows])
    assert part.masks.equal(whole.masks[rows])
    assert load("glyphs", split="test", n_classes=2, image_size=48).images.shape[1:] == (3, 48, 48)
    assert not load("glyphs_textured", split="test", n_classes=12).images.equal(whole.images)
