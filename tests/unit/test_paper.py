"""The paper's Table 1 as data, one parameter file for each of its runs, and that each of them
starts.

Set INFOMAX_PAPER to a Markdown file of the paper to compare every cell of the table with it.
"""

import ast
import csv
import hashlib
import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import CIFAR10, STL10

from infomax_nb.config import TrainConfig, read_yaml
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import batches
from infomax_nb.distributed import Processes
from infomax_nb.methods import build
from infomax_nb.train import fitting
from infomax_nb.train.fitting import datasets
from infomax_nb.train.job import Job
from infomax_nb.train.run import Run
from infomax_nb.views.batch import MultiView

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params"
FILES = {path.stem: path for path in sorted((PARAMS / "paper").glob("*.yaml"))}
KEYS = ("dataset", "method", "backbone", "linear_top1", "linear_top5", "knn_top1", "knn_top5")
NUMBERS = KEYS[3:]
with open(ROOT / "reports" / "paper_table1.csv", newline="") as file:
    TABLE = list(csv.DictReader(file))

# The paper's words, and ours.
DATASETS = {
    "STL-10": "stl10",
    "CIFAR-10": "cifar10",
    "LC-25000": "lc25000",
    "IM-1000": "imagenet",
    "IM-100": "imagenet100",
}
METHODS = {
    "Supervised": "supervised",
    "Ours": "infomax",
    "VICReg": "vicreg",
    "SimCLR": "simclr",
    "Barlow Twins": "barlow_twins",
    "BYOL": "byol",
    "DINO": "dino",
}
BACKBONES = {"RN18": "resnet18", "RN50": "resnet50", "VIT-T16": "vit_tiny"}
DEFAULT = "stl10_infomax_resnet18"  # a row of the table and a point of three figures
FIGURES = {
    "proj_dim": [128, 256, 512, 1024, 2048, 4096],  # Figure 3
    "kappa": [0.1, 0.6931, 1, 10, 20],  # Figure 4
    "beta": [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2],  # Figure 5; the text names 0.1 and 0.75
}
EVALUATED_ONLY = "imagenet100_infomax_resnet50"


# --- Table 1 --------------------------------------------------------------------------------------


def test_the_tables_rows():
    assert len(TABLE) == len({tuple(row[k] for k in KEYS[:3]) for row in TABLE}) == 25
    assert list(TABLE[0]) == [*KEYS, "params"]
    assert Counter(row["dataset"] for row in TABLE) == {
        "STL-10": 8,
        "CIFAR-10": 7,
        "LC-25000": 8,
        "IM-1000": 1,
        "IM-100": 1,
    }
    baselines = dict.fromkeys(("Supervised", "VICReg", "SimCLR", "Barlow Twins", "BYOL", "DINO"), 3)
    assert Counter(row["method"] for row in TABLE) == {"Ours": 7, **baselines}
    assert Counter(row["backbone"] for row in TABLE) == {"RN18": 21, "VIT-T16": 2, "RN50": 2}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["params"])
def test_the_tables_numbers_are_percentages(row):
    for kind in ("linear", "knn"):
        top1 = row[f"{kind}_top1"]
        top5 = row[f"{kind}_top5"]
        assert re.fullmatch(r"\d{2,3}\.\d\d", top1)
        assert 10 < float(top1) <= 100
        if row["dataset"] == "LC-25000":
            assert top5 == ""  # five classes
        else:
            assert re.fullmatch(r"\d{2}\.\d\d", top5)
            assert float(top1) <= float(top5) <= 100


# Sums over the document's rows in hundredths of a percent, added up by awk from the document, not
# from the csv.
SUMS = {
    "all": (207662, 164642, 201094, 152300),
    "STL-10": (64762, 79225, 61942, 74683),
    "CIFAR-10": (52047, 68668, 50152, 63429),
    "LC-25000": (78826, 0, 79938, 0),
    "IM-1000": (5212, 7781, 3537, 6450),
    "IM-100": (6815, 8968, 5525, 7738),
    "Supervised": (25586, 19638, 25659, 18105),
    "Ours": (55906, 46437, 51577, 41950),
    "VICReg": (25571, 19728, 25115, 18444),
    "SimCLR": (25382, 19722, 24831, 18516),
    "Barlow Twins": (25491, 19695, 24999, 18485),
    "BYOL": (24659, 19709, 24222, 18413),
    "DINO": (25067, 19713, 24691, 18387),
}


@pytest.mark.parametrize("group", SUMS)
def test_the_tables_sums(group):
    rows = [row for row in TABLE if group in ("all", row["dataset"], row["method"])]
    sums = tuple(sum(int(row[k].replace(".", "") or 0) for row in rows) for k in NUMBERS)
    assert sums == SUMS[group]


def rows_of(document: str) -> list[tuple[str, ...]]:
    """Table 1's rows in a Markdown document: seven cells between bars or tabs, the third of them a
    network."""
    rows = []
    for line in document.splitlines():
        plain = re.sub(r"<[^>]*>|[*\\`]", "", line)
        cells = [cell.strip() for cell in re.split(r"[|\t]", plain)]
        cells = cells[1:-1] if "|" in line and not cells[0] and not cells[-1] else cells
        if len(cells) == len(KEYS) and cells[2] in BACKBONES:
            rows.append(tuple("" if cell in ("-", "–", "—") else cell for cell in cells))
    return rows


@pytest.mark.parametrize("separator", ["\t", " | ", "|"])
def test_the_tables_reader(separator):
    lines = [
        ["", "", "", "Linear", "", "K-NN", ""],
        ["Dataset", "Method", "Arch", "Top 1", "Top 5", "Top 1", "Top 5"],
        ["---"] * 7,
        ["LC-25000", "<b>Barlow Twins</b>", "RN18", "98.09", "-", "99.98", "–"],
        ["STL-10", "**DINO**", "VIT-T16", "**79.75**", "99.11", "*76.85*", "93.53"],
        [r"IM-100\*", "Ours*", "RN50", "68.15", "89.68", "55.25", "77.38"],
    ]
    text = "\n".join(
        separator.join(line) if separator == "\t" else f"|{separator.join(line)}|" for line in lines
    )
    assert rows_of(f"The RN18 was trained.\n\n{text}\n\nTable 1: RN50 | none") == [
        ("LC-25000", "Barlow Twins", "RN18", "98.09", "", "99.98", ""),
        ("STL-10", "DINO", "VIT-T16", "79.75", "99.11", "76.85", "93.53"),
        ("IM-100", "Ours", "RN50", "68.15", "89.68", "55.25", "77.38"),
    ]


@pytest.mark.skipif(
    "INFOMAX_PAPER" not in os.environ, reason="INFOMAX_PAPER names no Markdown file of the paper"
)
def test_the_table_is_the_documents():
    rows = rows_of(Path(os.environ["INFOMAX_PAPER"]).read_text(encoding="utf-8"))
    assert len(rows) == 25
    assert rows == [tuple(row[k] for k in KEYS) for row in TABLE]


# --- The parameter files --------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["params"])
def test_a_row_has_one_file(row):
    config = TrainConfig.from_yaml(FILES[row["params"]])
    names = DATASETS[row["dataset"]], METHODS[row["method"]], BACKBONES[row["backbone"]]
    assert (config.dataset, config.method, config.backbone) == names
    assert "_".join(names) == row["params"]
    first = FILES[row["params"]].read_text().splitlines()[0].replace("*", "")
    assert first.startswith(f"# Table 1: {row['dataset']}, {row['method']}, {row['backbone']}")
    assert [r["params"] for r in TABLE].count(row["params"]) == 1


def test_the_files_are_the_tables_rows_and_the_figures_curves():
    expected = {row["params"] for row in TABLE}
    default = read_yaml(FILES[DEFAULT])
    for name, values in FIGURES.items():
        expected |= {f"stl10_{name}_{value}" for value in values if value != default[name]}
    assert set(FILES) == expected
    assert len(FILES) == 25 + 5 + 4 + 6


def test_no_run_has_two_files():
    identities = {
        json.dumps(TrainConfig.from_yaml(path).identity(), sort_keys=True)
        for path in FILES.values()
    }
    assert len(identities) == len(FILES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figures_curves_differ_in_one_field(name):
    """The files that differ from the table's row in this field alone, and that row, are the
    figure's values."""
    configs = [TrainConfig.from_yaml(path) for path in FILES.values()]
    default = TrainConfig.from_yaml(FILES[DEFAULT])
    curve = [
        config for config in configs if config.replace(**{name: getattr(default, name)}) == default
    ]
    assert sorted(getattr(config, name) for config in curve) == FIGURES[name]


def test_each_other_stl10_run_lies_on_one_curve():
    default = TrainConfig.from_yaml(FILES[DEFAULT]).model_dump()
    figures = {"proj_dim": "Figure 3", "kappa": "Figure 4", "beta": "Figure 5"}
    for stem in set(FILES) - {row["params"] for row in TABLE}:
        config = TrainConfig.from_yaml(FILES[stem]).model_dump()
        (name,) = [k for k in config if config[k] != default[k]]
        assert stem == f"stl10_{name}_{config[name]:g}"
        first = FILES[stem].read_text().splitlines()[0]
        assert first.startswith(f"# {figures[name]}: STL-10, Ours, RN18, ")
        assert re.search(rf"\b{config[name]:g}\b", first.split("RN18,")[1])
        assert ("our value" in first) == (name == "beta" and config[name] not in (0.1, 0.75))


EPOCHS = {"stl10": 200, "cifar10": 200, "lc25000": 161, "imagenet": 100, "imagenet100": 100}
SIZES = {"stl10": None, "cifar10": None, "lc25000": 96, "imagenet": 224, "imagenet100": 224}


@pytest.mark.parametrize("stem", FILES)
def test_a_file_writes_everything_out(stem):
    """Section 3's settings, none of them left to a default, and no field that the method doesn't
    read."""
    values = read_yaml(FILES[stem])
    expected = {
        "batch_size": 128,
        "lr": 1e-3,
        "weight_decay": 1e-6,
        "seed": 0,
        "stem": "imagenet",
        "n_train": None,
        "eval_every": 10 if values["dataset"].startswith("imagenet") else 1,
        "epochs": EPOCHS[values["dataset"]],
        "image_size": SIZES[values["dataset"]],
    }
    varied = {"method", "dataset", "backbone"}
    if values["method"] == "infomax":
        expected |= {"alpha": 1, "kappa": 10, "beta": 1, "proj_dim": 128}
        varied |= {name for name in FIGURES if stem.startswith(f"stl10_{name}_")}
    assert values.keys() == expected.keys() | varied
    assert values.keys() <= TrainConfig.from_yaml(FILES[stem]).identity().keys()
    for name in expected.keys() - varied:
        assert values[name] == expected[name], name


def test_lc25000s_epochs_are_25000_steps():
    steps = int(0.8 * 25_000) // 128
    assert (steps, EPOCHS["lc25000"] * steps) == (156, 25_116)
    assert (EPOCHS["lc25000"] - 1) * steps < 25_000 <= EPOCHS["lc25000"] * steps
    for path in (path for stem, path in FILES.items() if stem.startswith("lc25000_")):
        assert "156 steps an epoch, so 161 epochs" in path.read_text()


def test_imagenets_file_says_how_many_passes_its_head_gets():
    """Two at each evaluation."""
    text = FILES["imagenet_infomax_resnet50"].read_text()
    config = TrainConfig.from_yaml(FILES["imagenet_infomax_resnet50"])
    evaluations = len([epoch for epoch in range(1, 101) if epoch % config.eval_every == 0])
    assert f"it gets {2 * evaluations} in all instead of {2 * config.epochs}" in text


class Trained:
    """Stands for ImageNet-1000's finished run."""

    path = Path("imagenet")
    metrics = pd.DataFrame({"effective_rank": [1.0, 2.0]})
    weights = {"weight": torch.zeros(1)}

    def method(self) -> torch.nn.Module:
        method = torch.nn.Module()
        method.backbone = torch.nn.Identity()
        method.backbone.num_features = 1
        return method


class Evaluated:
    """Stands for the evaluation on a hundred classes."""

    def __init__(self, *_):
        pass

    def __call__(self, backbone, epoch, passes):
        assert passes == 2 * len(Trained.metrics)
        return {"linear_top1": 1.0}

    def write(self, path: Path) -> None:
        path.write_bytes(b"")


@pytest.mark.parametrize("rank", [0, 1])
def test_imagenets_run_is_trained_in_all_processes_and_the_first_one_writes(
    monkeypatch, tmp_path, rank
):
    asked = []

    def fit(config, devices):
        asked.append((config.dataset, devices))
        return Trained()

    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(fitting, "OnlineEvaluation", Evaluated)
    config = TrainConfig(dataset="imagenet100", device="cpu", runs_dir=str(tmp_path))
    (tmp_path / config.name).mkdir()
    peers = Processes("torchrun", devices=2, num_nodes=1, rank=rank)
    images = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.arange(2), ["a", "b"])
    job = Job(config, Run(tmp_path / config.name), images, images, {}, peers, 60.0, "a run")
    fitting._probe_imagenet(job)
    assert asked == [("imagenet", 2)]
    written = {path.name for path in job.run.path.iterdir()}
    assert written == ({"predictions.npz", "metrics.csv", "model.pt"} if rank == 0 else set())


def test_imagenet100_evaluates_imagenets_run():
    text = FILES[EVALUATED_ONLY].read_text()
    values = read_yaml(FILES[EVALUATED_ONLY])
    assert values == read_yaml(FILES["imagenet_infomax_resnet50"]) | {"dataset": "imagenet100"}
    assert "Evaluation only" in text and "imagenet_infomax_resnet50.yaml" in text


def declared() -> set[str]:
    """Names that some notebook's parameters cell assigns."""
    names = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                nodes = ast.parse("".join(cell["source"])).body
                targets = [
                    t for node in nodes if isinstance(node, ast.Assign) for t in node.targets
                ]
                names |= {
                    name.id for t in targets for name in ast.walk(t) if isinstance(name, ast.Name)
                }
    return names


@pytest.mark.parametrize(
    "path", [*sorted(PARAMS.glob("*.yaml")), *FILES.values()], ids=lambda p: p.stem
)
def test_a_file_is_a_configuration(path):
    """A file of paper/ is one run; a profile may have a notebook's own parameters beside."""
    values = read_yaml(path)
    own = (
        {}
        if path.stem in FILES
        else {k: v for k, v in values.items() if k not in TrainConfig.model_fields}
    )
    assert own.keys() <= declared()
    TrainConfig(**{k: v for k, v in values.items() if k not in own})
    text = path.read_text()
    assert text.startswith("# ") and text.endswith("\n") and max(map(len, text.splitlines())) <= 120
    keys = [key.value for key, _ in yaml.compose(text).value]
    assert len(keys) == len(set(keys))  # YAML's reader takes the last of two in silence


def test_the_readme_lists_the_files():
    readme = (PARAMS / "README.md").read_text()
    mentioned = set(re.findall(r"`(?:params/)?([\w./]+\.yaml)`", readme))
    assert mentioned == {path.relative_to(PARAMS).as_posix() for path in PARAMS.rglob("*.yaml")}
    assert all((PARAMS / name).exists() for name in re.findall(r"`(\.\./[\w./]+)`", readme))
    assert all(
        (ROOT / name).exists()
        for name in re.findall(r"params/paper/[\w.]+\.yaml|notebooks/\w+\.ipynb", readme)
    )

    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in readme.splitlines()
        if line[:1] == "|"
    ]
    table = [row for row in cells if row[0].strip("*") in DATASETS]
    names = [[*(cell.strip("*") for cell in row[:3]), row[3]] for row in table]
    assert names == [
        [*(row[k] for k in KEYS[:3]), f"`paper/{row['params']}.yaml`"] for row in TABLE
    ]
    for figure, name in (("3", "proj_dim"), ("4", "kappa"), ("5", "beta")):
        curves = [row for row in cells if row[0].startswith(f"{figure},")]
        values = [float(re.search(r"[\d.]+", row[1])[0]) for row in curves]
        assert values == FIGURES[name]
        assert [read_yaml(PARAMS / row[2].strip("`"))[name] for row in curves] == values


# --- Every run starts -----------------------------------------------------------------------------


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, 256, shape, dtype=np.uint8)


def write(folder: Path, contents: dict[str, bytes]) -> list[list[str]]:
    """Files with these contents, and torchvision's kind of table of them: names and MD5 sums."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [[name, hashlib.md5(content).hexdigest()] for name, content in contents.items()]


def photographs(folder: Path, n: int, *sizes: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for k in range(n):
        high, wide = sizes[k % len(sizes)]
        coarse = Image.fromarray(pixels(high // 8, wide // 8, 3))
        coarse.resize((wide, high), Image.Resampling.BICUBIC).save(
            folder / f"{folder.name}_{k}.JPEG"
        )


def cifar10(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The Python version's pickles, two images each."""
    batches = {}
    for k, name in enumerate([*(f"data_batch_{b}" for b in range(1, 6)), "test_batch"]):
        batches[name] = pickle.dumps(
            {"labels": [k % 3, (k + 1) % 3], "data": pixels(2, 3072)}, protocol=2
        )
    names = ["airplane", "automobile", "bird"]
    *train, test = write(root / CIFAR10.base_folder, batches)
    ((meta, md5),) = write(
        root / CIFAR10.base_folder, {"batches.meta": pickle.dumps({"label_names": names})}
    )
    patch.setattr(CIFAR10, "train_list", train)
    patch.setattr(CIFAR10, "test_list", [test])
    patch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": md5})


def stl10(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The binaries: six labelled images, five without a label, three to test."""
    counts = {"train": 6, "unlabeled": 5, "test": 3}
    made = {f"{part}_X.bin": pixels(n, 3, 96, 96).tobytes() for part, n in counts.items()}
    made |= {
        f"{part}_y.bin": bytes(1 + k % 3 for k in range(counts[part])) for part in ("train", "test")
    }
    table = write(root / STL10.base_folder, made)
    write(root / STL10.base_folder, {"class_names.txt": b"airplane\nbird\ncar\n"})
    # torchvision finds images and labels by their places in these lists
    patch.setattr(STL10, "train_list", [table[0], table[3], table[1]])
    patch.setattr(STL10, "test_list", [table[2], table[4]])


def lc25000(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The publisher's two folders of class folders; five images a class, so that one of them is for
    testing."""
    for organ, classes in (("colon", ("aca", "n")), ("lung", ("aca", "n", "scc"))):
        for name in classes:
            folder = root / "lung_colon_image_set" / f"{organ}_image_sets" / f"{organ}_{name}"
            photographs(folder, 5, (768, 768))


def imagenet(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Three classes of images of several sizes; two of them are in the list of the hundred."""
    wnids = ["n01440764", "n01443537", "n02084071"]
    for wnid in wnids:
        photographs(root / "train" / wnid, 3, (240, 320), (500, 375), (160, 120))
        photographs(root / "val" / wnid, 2, (240, 320), (224, 224))
    (root / "imagenet100.txt").write_text(f"{wnids[0]}\n{wnids[2]}\n")


TREES = {
    "cifar10": cifar10,
    "stl10": stl10,
    "lc25000": lc25000,
    "imagenet": imagenet,
    "imagenet100": imagenet,
}
# Images of the training split (STL-10: with those without a label) and of the test split, classes.
SPLITS = {
    "cifar10": (10, 2, 3),
    "stl10": (11, 3, 3),
    "lc25000": (20, 5, 5),
    "imagenet": (9, 6, 3),
    "imagenet100": (6, 4, 2),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The folder of a data set's tree, in its publisher's format, written when it is first asked
    for."""
    made: dict = {}
    with pytest.MonkeyPatch.context() as patch:

        def tree(dataset: str) -> Path:
            make = TREES[dataset]
            if make not in made:
                made[make] = tmp_path_factory.mktemp(make.__name__)
                make(made[make], patch)
            return made[make]

        yield tree


@pytest.mark.parametrize("stem", FILES)
def test_a_run_starts(stem, tree):
    """The file's own data set, network, views and loss, at its own image size: one step on a batch
    of four."""
    config = TrainConfig.from_yaml(FILES[stem])
    config = config.replace(batch_size=4, data_root=str(tree(config.dataset)), device="cpu")
    train, test = datasets(config)
    n_train, n_test, n_classes = SPLITS[config.dataset]
    if (config.dataset, config.method) == ("stl10", "supervised"):
        n_train = 6
    size = {"cifar10": 32, "stl10": 96}.get(config.dataset, config.image_size)
    assert (len(train), len(test), len(train.classes)) == (n_train, n_test, n_classes)
    assert tuple(train.images.shape[1:]) == tuple(test.images.shape[1:]) == (3, size, size)
    if stem == EVALUATED_ONLY:
        return

    torch.manual_seed(0)
    method = build(config, n_classes).train()
    images, labels = next(iter(batches(train, 4, config.seed, 0)))
    views = MultiView(method.view_specs(size))(images, torch.Generator().manual_seed(0))
    loss = method(views, labels)["loss"]
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    gradients = {name: p.grad for name, p in method.named_parameters() if p.requires_grad}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    assert any(g.any() for name, g in gradients.items() if name.startswith("backbone."))
