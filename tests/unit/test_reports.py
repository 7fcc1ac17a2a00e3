"""Held-out information, rank correlation, networks at hand, and what is kept under `reports/`."""

import json
import math
import os
import shutil
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from infomax_nb import report
from infomax_nb.analysis.centroids import centroids
from infomax_nb.config import TrainConfig
from infomax_nb.data import loading as data
from infomax_nb.data.fingerprints import KNOWN, pixels_digest
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.probe import held_out_information
from infomax_nb.evaluation.representation import features
from infomax_nb.losses import log_vmf_normalizer
from infomax_nb.models import backbone
from infomax_nb.networks import NETWORKS, available, pretrained
from infomax_nb.seeds import stream
from infomax_nb.train.fitting import datasets
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views
from pipeline.networks import name_of

ON_CIFAR10 = available(dataset="cifar10", backbone="resnet_small")
IN_UNIT_TESTS = "cifar10-infomax-resnet_small"  # of these; each takes the images of CIFAR-10


class Corner(torch.nn.Module):
    """A method whose projection is a view's mean colour over its upper half: what it says can be
    written out."""

    def project(self, views):
        return [v[:, :, : v.shape[-1] // 2].mean((2, 3)) for v in views]


@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_held_out_information_is_equation_4_written_out(kappa):
    test = data.load("glyphs", split="test", n_classes=12)
    found = held_out_information(Corner(), test, kappa, batches=2)
    generator = torch.Generator().manual_seed(stream(0, 0, 5))
    chosen = data.stratified(test.labels, 256, 0)
    entropies = []
    for rows in (chosen[:128], chosen[128:]):
        views = MultiView(dino_views(32))(test.images[rows], generator)
        z = torch.stack(Corner().project(views)).double()
        z = (z / z.norm(dim=-1, keepdim=True)).flatten(0, 1)  # view by view
        kernel = torch.exp(kappa * z @ z.T + log_vmf_normalizer(3, kappa)).fill_diagonal_(0)
        own = torch.arange(1024) % 128
        positive = kernel * (own[:, None] == own)
        entropies.append([-(k.sum(1) / 1023).log().mean() for k in (kernel, positive)])
    h_global, h_local = np.mean(entropies, axis=0)
    assert found["h_global"] == pytest.approx(h_global, rel=1e-5)
    assert found["h_local"] == pytest.approx(h_local, rel=1e-5)
    assert found["mi_written"] == pytest.approx(h_global - h_local, abs=1e-5)
    assert found["mi_density"] == pytest.approx(h_global - h_local + math.log(1023 / 7), abs=1e-5)


RECORDED = TrainConfig(dataset="cifar10", n_train=5000, epochs=10, recipe=1)  # kappa_cifar10


def test_recorded_runs_stand_beside_those_that_were_found():
    """Five values of κ, three seeds each, ten epochs; of seed 0 one is found here, too."""
    rows = pd.read_csv(report.project_root() / "reports" / "kappa_cifar10" / "metrics.csv")
    found = rows[(rows.kappa == 10) & (rows.seed == 0)]
    both = report.with_recorded(found, RECORDED, "kappa_cifar10", "kappa")
    assert sorted(both.kappa.unique()) == [0.1, 0.6931, 1, 10, 20]
    assert both.groupby("kappa").size().tolist() == [10] * 5
    expected = rows[(rows.kappa == 20) & (rows.seed == 0)].linear_top1.tolist()
    assert both[both.kappa == 20].linear_top1.tolist() == expected
    beside = both[both.kappa != 10]
    assert set(beside.n_train) == {5000}  # which the table does not have, as it is the same in all
    seeds = report.with_recorded(found, RECORDED, "kappa_cifar10", "kappa", "seed")
    assert len(seeds) == len(rows)


@pytest.mark.parametrize("change", [{"n_train": 4000}, {"lr": 2e-3}, {"dataset": "glyphs"}])
def test_recorded_runs_of_another_kind_are_left_out(change):
    found = pd.DataFrame({"run": ["mine"], "epoch": [1], "kappa": [10.0]})
    other = RECORDED.replace(**change)
    assert len(report.with_recorded(found, other, "kappa_cifar10", "kappa")) == 1


def export(name: str, tables: dict, reports: Path) -> str:
    """The tables of one run, with an empty figure."""
    run = SimpleNamespace(config=TrainConfig(beta=2.0), record={"commit": "c0ffee"})
    return report.export_tables(name, tables, plt.figure(), "what", [run], reports)


def test_tables_are_kept_whole_and_shown(tmp_path):
    table = pd.DataFrame({"ratio": [1.5, 1.0]}, index=["ours", "uniform"])
    export("saliency", {"table": table, "metrics": None}, tmp_path)
    folder = tmp_path / "saliency"
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["caption.txt", "figure.png", "records.json", "table.csv"]
    pd.testing.assert_frame_equal(report.committed("saliency", tmp_path), table)
    (record,) = json.loads((folder / "records.json").read_text())
    assert record["commit"] == "c0ffee"
    assert record["config"]["beta"] == 2


def test_results_are_kept_below_reports_alone(tmp_path):
    with pytest.raises(ParameterError, match=r"export = '\.\./x' is not allowed"):
        export("../x", {}, tmp_path)


def test_a_label_says_what_was_trained_on_what():
    config = TrainConfig(dataset="cifar10", epochs=10)
    everything = "cifar10, all training images, 10 epochs, resnet_small"
    assert report.run_label(config) == everything
    with_stem = report.run_label(config, stem=True, seeds=pd.Series([2, 0, 0]))
    assert with_stem == f"{everything}, imagenet stem; seeds 0, 2"
    images = report.run_label(config.replace(n_train=500), "5 images")
    assert images == "cifar10, 5 images, 10 epochs, resnet_small"


def test_the_summary_tells_apart_what_differs():
    rows = []
    for beta, seed, epoch in product((0.5, 2.0), (0, 1), (1, 2)):
        top1 = {"linear_top1": 10 * beta + seed + epoch, "knn_top1": beta}
        rows.append({"epoch": epoch, "run": f"{beta}{seed}", "beta": beta, "seed": seed, **top1})
    table = report.summary(pd.DataFrame(rows).assign(mi_held_out=1.234))
    assert list(table.index) == ["0.5", "2"]
    assert list(table.seeds) == ["2", "2"]
    assert table.linear_top1["2"] == "22.5 ± 0.7"  # mean and deviation of 22 and 23
    assert table.mi_held_out["0.5"] == "1.23 ± 0.00"


def test_a_networks_name_says_whether_it_learned_late_and_from_which_seed():
    config = TrainConfig(dataset="cifar10", epochs=60)
    assert name_of(config, 50_000) == "cifar10-infomax-resnet_small-late"  # 23,400 steps
    assert name_of(config, 5_000) == "cifar10-infomax-resnet_small"  # 2,340 steps
    third = config.replace(method="simclr", seed=2)
    assert name_of(third, 50_000) == "cifar10-simclr-resnet_small-late-seed2"


@pytest.mark.parametrize("name", available())
def test_a_network_at_hand_loads(name):
    path = NETWORKS / f"{name}.safetensors"
    assert path.stat().st_size < 3e6
    weights = load_file(path) | load_file(NETWORKS / f"{name}.centroids.safetensors")
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float16}
    network = pretrained(name)
    config = network.config
    assert name == name_of(config, network.record["images"])
    assert network.centroids.shape == (len(network.classes), network.backbone.num_features)
    assert not network.backbone.training
    assert network.record["commit"]
    assert network.record["finished"]
    fresh = backbone(config.backbone, config.stem, config.size).state_dict()
    assert all(torch.isfinite(v).all() for v in network.backbone.state_dict().values())
    assert any(not torch.equal(v, fresh[k]) for k, v in network.backbone.state_dict().items())
    out = features(network.backbone, torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8))
    assert out.shape == (3, network.backbone.num_features)
    assert out.std(0).max() > 0


@pytest.mark.parametrize("unknown", ["cifar10-infomax-resnet", "", None, 3])
def test_an_unknown_network_is_named(unknown):
    with pytest.raises(ParameterError) as error:
        pretrained(unknown)
    said = str(error.value)
    beginning = f"network = {unknown!r} is not allowed: it must be one of networks.available(), "
    assert said.startswith(beginning)
    assert len(said.splitlines()) == 1
    assert len(said) < 160
    assert unknown != "cifar10-infomax-resnet" or "'cifar10-infomax-resnet_small'" in said


def test_where_there_is_one_network_it_is_named(tmp_path):
    """As in an installed package."""
    shutil.copy(NETWORKS / "cifar10-simclr-vit_mini.json", tmp_path)
    with pytest.raises(ParameterError, match=", such as 'cifar10-simclr-vit_mini'.$"):
        pretrained("tiny_imagenet-simclr-vit_mini", tmp_path)


def test_a_folder_without_networks(tmp_path):
    sentence = "network = 'cifar10-infomax' is not allowed: there are no trained networks in "
    with pytest.raises(ParameterError, match=sentence):
        pretrained("cifar10-infomax", tmp_path / "networks")


@pytest.mark.skipif(
    "INFOMAX_DATA" not in os.environ, reason="INFOMAX_DATA names no folder with CIFAR-10"
)
def test_a_network_at_hand_has_its_recorded_accuracy():
    """One of them; tests/slow/test_real_cifar10.py has the others."""
    assert_recorded_accuracy(IN_UNIT_TESTS)


def assert_recorded_accuracy(name: str) -> None:
    """That a network of CIFAR-10 has on real images what its record says."""
    network = pretrained(name)
    assert network.record["measured_on"].startswith("CIFAR-10, lossless;")
    train, test = datasets(network.config.replace(data_root=os.environ["INFOMAX_DATA"]))
    assert KNOWN[pixels_digest(test)] == "CIFAR-10, lossless"
    x, queries = (features(network.backbone, part.images) for part in (train, test))
    top1 = topk_accuracy(knn(x, train.labels, queries, len(train.classes)), test.labels, 1)
    assert top1 == pytest.approx(network.record["knn_top1"], abs=0.03)  # three images of 10,000
    # It was trained on other images of the same classes: each centroid is nearest to the one that
    # is kept.
    found = centroids(x, train.labels)
    assert torch.cdist(found, network.centroids).argmin(1).tolist() == list(range(10))


def test_a_network_whose_weights_were_exchanged_is_refused(tmp_path):
    """Two networks of one shape: the one's record beside the other's weights."""
    name = "cifar10-infomax-resnet_small"
    other = "cifar10-simclr-resnet_small"
    for suffix in (".json", ".safetensors", ".centroids.safetensors"):
        shutil.copy(NETWORKS / f"{name}{suffix}", tmp_path)
    pretrained(name, tmp_path)
    for suffix in (".centroids.safetensors", ".safetensors"):
        shutil.copy(NETWORKS / f"{other}{suffix}", tmp_path / f"{name}{suffix}")
        with pytest.raises(RunError, match=f"{name}{suffix} is not the file that"):
            pretrained(name, tmp_path)
