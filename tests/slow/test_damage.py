"""200 small inputs, damaged at random from a fixed seed: each is refused or read correctly.

A refusal is one clear sentence. A result is correct if it is what the undamaged input gives. Not
all files can tell that they are damaged:

- What the project writes carries check sums (the run's seal; CRC in checkpoints), and so do PNG and
  gzip: no damage may change a result.
- A parameter file and the tables that come with data sets are text without a check sum. A flipped
  digit makes another valid file of them. Correct is, then, exactly what the damaged text says to a
  reader that is not the project's: YAML's plain strings, `csv` and `str.split`. A table that lacks
  a line it needs must be refused.
- A JPEG has no check sum: a flipped byte that still decodes cannot be noticed, so JPEGs are not
  among the inputs.

A hang ends the whole session after 25 minutes, a crash of the interpreter does at once.
"""

import csv
import faulthandler
import gzip
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from infomax_nb.analysis.centroids import hierarchy
from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.loading import load
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.train.fitting import fit
from infomax_nb.train.run import Run

SMALL = {"n_classes": 4, "n_train": 32, "batch_size": 8, "proj_dim": 8}
SMALL |= {"epochs": 2, "device": "cpu"}
INPUTS = {  # kind: how many of the 200
    "parameters": 30,
    "checkpoint": 20,
    "model": 20,
    "record": 20,
    "metrics": 15,
    "configuration": 10,
    "interrupted": 10,
    "png": 25,
    "idx": 15,
    "wordnet": 10,
    "groups": 13,
    "boxes": 12,
}
OUTCOMES: Counter = Counter()


def flip(raw: bytes, rng: random.Random) -> bytes:
    """One bit. Half of them near an end, where formats keep their headers and lists."""
    if rng.random() < 0.5:
        k = rng.randrange(len(raw))
    else:
        k = rng.choice([1, -1]) * rng.randrange(min(len(raw), 200))
    k %= len(raw)
    return raw[:k] + bytes([raw[k] ^ 1 << rng.randrange(8)]) + raw[k + 1 :]


def truncate(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(1, len(raw))]


def empty(raw: bytes, rng: random.Random) -> bytes:
    return b""


def swap(raw: bytes, rng: random.Random) -> bytes:
    """Two neighbouring blocks."""
    a, b, c = sorted(rng.sample(range(len(raw) + 1), 3))
    return raw[:a] + raw[b:c] + raw[a:b] + raw[c:]


def insert(raw: bytes, rng: random.Random) -> bytes:
    k = rng.randrange(len(raw) + 1)
    return raw[:k] + rng.randbytes(rng.randrange(1, 9)) + raw[k:]


def duplicate(raw: bytes, rng: random.Random) -> bytes:
    """A line; of a binary file, what lies between two of its bytes 10."""
    lines = raw.splitlines(keepends=True)
    k = rng.randrange(len(lines))
    return b"".join([*lines[: k + 1], *lines[k:]])


DAMAGES = [flip, truncate, swap, insert, duplicate, flip, truncate, swap, insert, empty]


def damage(path: Path, kind: str, number: int) -> None:
    """Damage the file."""
    raw = path.read_bytes()
    rng = random.Random(f"{kind} {number}")
    way = DAMAGES[number % len(DAMAGES)]
    worse = raw
    while worse == raw:
        worse = way(raw, rng)
    path.write_bytes(worse)


def outcome(make, kind: str, *names: str):
    """What `make` returns, or None where it stops with a sentence that names one of the files."""
    try:
        result = make()
    except (ParameterError, RunError) as error:
        sentence = str(error)
        assert len(sentence.splitlines()) == 1, sentence
        assert len(sentence) < 1000, sentence
        assert any(name in sentence for name in names), sentence
        OUTCOMES[kind, "refused"] += 1
        return None
    OUTCOMES[kind, "correct"] += 1
    return result


@pytest.fixture(scope="module", autouse=True)
def no_hang():
    faulthandler.dump_traceback_later(1500, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def equal(one: dict, two: dict) -> bool:
    """Whether two states are the same."""
    pairs = [(torch.as_tensor(one[k]), torch.as_tensor(two[k])) for k in two.keys() & one.keys()]
    return one.keys() == two.keys() and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fit(TrainConfig(**SMALL, runs_dir=str(tmp_path_factory.mktemp("finished"))))


TRAIN = """
import json, sys
from infomax_nb import TrainConfig, fit
fit(TrainConfig(**json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, finished):
    """The same run, killed in its second epoch."""
    config = finished.config.replace(runs_dir=str(tmp_path_factory.mktemp("interrupted")))
    command = [sys.executable, "-c", TRAIN, config.model_dump_json()]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (config.run_dir / "checkpoint.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    run = Run(config.run_dir)
    assert not run.finished
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 2
    return run


def copied(run: Run, runs_dir: Path) -> Run:
    shutil.copytree(run.path, runs_dir / run.path.name)
    return Run(runs_dir / run.path.name)


def metrics_bytes(run: Run) -> bytes:
    return (run.path / "metrics.csv").read_bytes()


def cases(kind: str):
    """The numbers of a kind's inputs."""
    return pytest.mark.parametrize("number", range(INPUTS[kind]))


def test_there_are_200():
    assert sum(INPUTS.values()) == 200


# --- Parameter files ------------------------------------------------------------------------------


@cases("parameters")
def test_a_parameter_file(tmp_path, number):
    """An error, or what YAML's plain strings say; what the text does not name has its default."""
    path = tmp_path / "run.yaml"
    values = {"method": "infomax", "dataset": "glyphs", "n_train": 4800, "epochs": 12}
    values |= {"lr": 0.001, "kappa": 10.5, "seed": 3, "data_root": "some data"}
    path.write_text("# A comment\n" + yaml.safe_dump(values, sort_keys=False))
    damage(path, "parameters", number)
    named = ("run.yaml", "parameter", "=")
    config = outcome(lambda: TrainConfig.from_yaml(path), "parameters", *named)
    if config is not None:
        said = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
        for name, value in config.model_dump().items():
            if name not in said:
                assert value == TrainConfig.model_fields[name].default
            elif isinstance(value, str):
                assert value == said[name]
            else:
                assert value == float(said[name])


# --- Files of a run -------------------------------------------------------------------------------


@cases("checkpoint")
def test_a_checkpoint(tmp_path, interrupted, finished, number):
    """Refused, or trained on to the weights and metrics of the run that was not interrupted."""
    run = copied(interrupted, tmp_path)
    damage(run.path / "checkpoint.ckpt", "checkpoint", number)
    config = finished.config.replace(runs_dir=str(tmp_path))
    done = outcome(lambda: fit(config), "checkpoint", "checkpoint.ckpt")
    if done is not None:
        assert equal(done.weights, finished.weights)
        assert metrics_bytes(done) == metrics_bytes(finished)


@cases("model")
def test_a_model(tmp_path, finished, number):
    run = copied(finished, tmp_path)
    damage(run.path / "model.pt", "model", number)
    method = outcome(run.method, "model", "model.pt")
    assert method is None or equal(method.state_dict(), finished.method().state_dict())


@cases("record")
def test_a_record(tmp_path, finished, number):
    """Of a finished run: neither taken for a whole one, nor for that of a run to train anew."""
    run = copied(finished, tmp_path)
    damage(run.path / "record.json", "record", number)
    record = outcome(lambda: run.record, "record", "record.json")
    assert record is None or record == finished.record
    state = outcome(lambda: run.finished, "record", "record.json")
    assert (state is None) == (record is None)
    assert state in (None, True)


@pytest.mark.parametrize(
    "old, new", [('"seal"', '"sfal"'), ('"seal"', '"Seal"'), (',\n "seal"', ',\n "seal "')]
)
def test_a_record_whose_seal_is_not_called_so(tmp_path, finished, old, new):
    """Beside the 200: the one word without which nothing would be compared."""
    run = copied(finished, tmp_path)
    text = (run.path / "record.json").read_text()
    (run.path / "record.json").write_text(text.replace(old, new).replace('"cores": ', '"cores": 1'))
    with pytest.raises(RunError, match="check sum"):
        print(run.record)


@cases("metrics")
def test_metrics(tmp_path, finished, number):
    run = copied(finished, tmp_path)
    damage(run.path / "metrics.csv", "metrics", number)
    metrics = outcome(lambda: run.metrics, "metrics", "metrics.csv")
    assert metrics is None or metrics.equals(finished.metrics)


@cases("configuration")
def test_the_configuration_of_a_finished_run(tmp_path, finished, number):
    run = copied(finished, tmp_path)
    damage(run.path / "config.yaml", "configuration", number)
    config = outcome(lambda: run.config, "configuration", "config.yaml")
    assert config is None or config == finished.config


@cases("interrupted")
def test_the_configuration_of_an_interrupted_run(tmp_path, interrupted, finished, number):
    """It has no seal yet: refused, or written anew and trained to the same end."""
    run = copied(interrupted, tmp_path)
    damage(run.path / "config.yaml", "interrupted", number)
    config = finished.config.replace(runs_dir=str(tmp_path))
    words = ("config.yaml", "holds a run of another configuration")
    done = outcome(lambda: fit(config), "interrupted", *words)
    if done is not None:
        assert equal(done.weights, finished.weights)
        assert done.config == config
        assert metrics_bytes(done) == metrics_bytes(finished)


# --- Data -----------------------------------------------------------------------------------------


def write_image(path: Path, k: int, size: int = 32) -> None:
    """Smooth or noisy: long runs are what a decoder is most easily led astray by."""
    rng = np.random.default_rng(k)
    ramp = np.add.outer(np.arange(size), np.arange(size))
    smooth = (ramp[..., None] * [1, 2, 3] + 17 * k) % 256
    pixels = rng.integers(0, 256, (size, size, 3)) if k % 4 == 0 else smooth
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def same(one: ImageSet, two: ImageSet) -> bool:
    parts = ("images", "labels", "boxes")
    pairs = [(getattr(one, p), getattr(two, p)) for p in parts]
    return one.classes == two.classes and all(a is b is None or torch.equal(a, b) for a, b in pairs)


@cases("png")
def test_an_image(tmp_path, number):
    for k in range(10):
        write_image(tmp_path / "train" / "ab"[k % 2] / f"{k}.png", k + number)
    whole = load("folder", tmp_path, "train", image_size=32)
    damage(tmp_path / "train" / "b" / "5.png", "png", number)
    read = outcome(lambda: load("folder", tmp_path, "train", image_size=32), "png", "5.png")
    assert read is None or same(read, whole)


def test_an_image_with_a_flipped_bit_anywhere(tmp_path):
    """Beside the 200: long runs, where a decoder that compares no check sum goes on, wrongly."""
    for k in range(2):
        write_image(tmp_path / "train" / "ab"[k] / f"{k}.png", k + 1, 64)
    whole = load("folder", tmp_path, "train", image_size=64)
    path = tmp_path / "train" / "b" / "1.png"
    rng = random.Random(0)
    raw = path.read_bytes()
    for place, byte in enumerate(raw):
        flipped = bytes([byte ^ 1 << rng.randrange(8)])
        path.write_bytes(raw[:place] + flipped + raw[place + 1 :])
        try:
            read = load("folder", tmp_path, "train", image_size=64)
        except ParameterError as error:
            assert "1.png" in str(error)
        else:
            assert same(read, whole), f"byte {place} of {len(raw)}"


def write_fashion_mnist(folder: Path) -> list[str]:
    """Twenty images of the training split in the publisher's format; the names of the files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    files = {
        "images-idx3": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "labels-idx1": np.arange(20, dtype=np.uint8) % 10,
    }
    for name, values in files.items():
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
        packed = gzip.compress(head + values.tobytes(), mtime=0)
        (folder / f"train-{name}-ubyte.gz").write_bytes(packed)
    return list(files)


@cases("idx")
def test_fashion_mnist(tmp_path, number):
    """Packed by gzip, which has a check sum; unpacked files have none."""
    folder = tmp_path / "FashionMNIST" / "raw"
    names = write_fashion_mnist(folder)
    whole = load("fashion_mnist", tmp_path, "train")
    name = names[number % 3 % 2]
    damage(folder / f"train-{name}-ubyte.gz", "idx", number)
    words = (f"{name}-ubyte.gz", "raw")
    read = outcome(lambda: load("fashion_mnist", tmp_path, "train"), "idx", *words)
    assert read is None or same(read, whole)


@cases("wordnet")
def test_a_table_of_wordnet(tmp_path, number):
    """The paths are those of the text, or it is refused."""
    path = tmp_path / "wordnet.csv"
    classes = [f"n{k:02}" for k in range(4, 10)]
    lines = ["wnid,name,hypernym_wnids,hypernym_names"]
    lines += [f"{w},class {w},n01/n0{2 + k % 2},entity/kind {k % 2}" for k, w in enumerate(classes)]
    path.write_text("\n".join(lines) + "\n")
    damage(path, "wordnet", number)
    paths = outcome(lambda: hierarchy(classes, str(path)), "wordnet", "wordnet.csv")
    if paths is not None:
        with path.open(newline="") as file:
            table = {row["wnid"]: row for row in csv.DictReader(file)}
        for wnid, found in zip(classes, paths, strict=True):
            row = table[wnid]
            wnids = [*row["hypernym_wnids"].split("/"), wnid]
            names = [*row["hypernym_names"].split("/"), row["name"]]
            assert found == tuple(f"{n} ({w})" for n, w in zip(names, wnids, strict=True))


@cases("groups")
def test_a_table_of_groups(tmp_path, number):
    """The division is that of a whole table with the same groups, or it is refused."""
    keys = []
    for name in ("lung_aca", "lung_n", "lung_scc"):
        for k in range(10):
            write_image(tmp_path / name / f"{k}.png", k, 16)
            keys.append(f"{name}/{k}.png")
    path = tmp_path / "groups.csv"
    path.write_text("image,group\n" + "".join(f"{key},g{k // 2}\n" for k, key in enumerate(keys)))
    damage(path, "groups", number)

    def read():
        return load("lc25000_groups", tmp_path, "train", image_size=16)

    found = outcome(read, "groups", "groups.csv", str(tmp_path))
    if found is not None:
        with path.open(newline="") as file:
            groups = {row["image"]: row["group"] for row in csv.DictReader(file)}
        path.write_text("image,group\n" + "".join(f"{key},{groups[key]}\n" for key in keys))
        assert same(found, read())


@cases("boxes")
def test_boxes_of_tiny_imagenet(tmp_path, number):
    """The numbers are those of the text, or it is refused."""
    folder = tmp_path / "tiny-imagenet-200"
    names = ["n01", "n02"]
    for name in names:
        for k in range(4):
            write_image(folder / "train" / name / "images" / f"{name}_{k}.png", k, 64)
        lines = [f"{name}_{k}.png\t{k}\t{2 * k}\t{30 + k}\t{40 + k}\n" for k in range(4)]
        (folder / "train" / name / f"{name}_boxes.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(names))
    path = folder / "train" / "n01" / "n01_boxes.txt"
    damage(path, "boxes", number)
    words = ("boxes.txt", str(folder))
    found = outcome(lambda: load("tiny_imagenet", tmp_path, "train"), "boxes", *words)
    if found is not None:
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        said = {row[0]: [float(x) for x in row[1:]] for row in rows}
        assert found.boxes[:4].tolist() == [said[f"n01_{k}.png"] for k in range(4)]


def test_both_outcomes_occur(request):
    """Not all was refused, not all was accepted: of the whole file's run only."""
    if sum(OUTCOMES.values()) < 200:
        pytest.skip("only some of the inputs were damaged")
    print(dict(OUTCOMES))
    refused = {kind for kind, what in OUTCOMES if what == "refused"}
    assert refused == {*INPUTS}
    assert sum(n for (_, what), n in OUTCOMES.items() if what == "correct") >= 10
