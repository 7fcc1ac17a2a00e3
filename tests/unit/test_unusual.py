"""Input that is unusual and legitimate, or wrong in a way that a user can mean."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from test_identity import SMALL
from torch import nn

from infomax_nb import exercises, networks
from infomax_nb.analysis import centroids, coarse, fewer, saliency
from infomax_nb.analysis.estimators import ksg
from infomax_nb.config import TrainConfig, read_yaml
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation import compute, intervals, stalls
from infomax_nb.evaluation.neighbours import knn
from infomax_nb.evaluation.probe import held_out_projections, untrained
from infomax_nb.evaluation.representation import features, inputs
from infomax_nb.late import late_means
from infomax_nb.losses import InfoMaxLoss, global_entropy
from infomax_nb.methods import initial
from infomax_nb.objective import diagnostics as diagnosed
from infomax_nb.objective.contraction import contraction_threshold
from infomax_nb.report import export_tables, with_recorded
from infomax_nb.train import fitting
from pipeline.evidence.places import Places
from pipeline.evidence.runs import planned

ROOT = Path(__file__).parents[2]


def images(number: int, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=generator)


# --- Images without a label -----------------------------------------------------------------------


def some_unlabelled(*_, n_train=None, **__) -> ImageSet:
    """As STL-10's: two in three images have no label."""
    labels = torch.arange(300) % 30
    return ImageSet(images(300), torch.where(labels < 10, labels, -1), list("abcdefghij"))


def test_probes_get_no_image_without_a_label(monkeypatch):
    monkeypatch.setattr(fitting, "load", some_unlabelled)
    config = TrainConfig(dataset="stl10", image_size=32)
    whole, _ = fitting.datasets(config)
    assert len(whole) == 300
    train, _ = fitting.datasets(config, labelled=True)
    assert len(train) == 100
    assert sorted(set(train.labels.tolist())) == list(range(10))
    assert torch.equal(train.images, whole.images[whole.labels >= 0])


def test_a_set_with_labels_alone_is_not_copied():
    whole = ImageSet(images(4), torch.zeros(4, dtype=torch.int64), ["a"])
    assert whole.labelled() is whole


# --- Numbers of images ----------------------------------------------------------------------------


def test_the_untrained_network_does_not_depend_on_one_image_more():
    config = TrainConfig(**SMALL)
    train = ImageSet(images(513), torch.zeros(513, dtype=torch.int64), ["a"])
    more, fewer_images = (untrained(config, part) for part in (train, train[torch.arange(512)]))
    for ours, theirs in zip(more.buffers(), fewer_images.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["in order", "in another"])
def test_the_untrained_networks_statistics_are_those_of_all_classes(order):
    """Of 6,000 images, 3,000 dark ones first: those of its first layer over all of them."""
    generator = torch.Generator().manual_seed(0)
    dark = torch.randint(0, 100, (3000, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.tensor(order).repeat_interleave(3000)
    train = ImageSet(torch.cat([dark, 255 - dark]), labels, ["dark", "bright"])
    net = untrained(TrainConfig(**SMALL), train)
    with torch.no_grad():
        maps = torch.cat([net.conv1(x) for x in inputs(train.images)])
    variance = maps.var((0, 2, 3))
    torch.testing.assert_close(net.bn1.running_var, variance, rtol=0.03, atol=0)
    off = net.bn1.running_mean - maps.mean((0, 2, 3))
    assert (off.abs() < 0.03 * variance.sqrt()).all()


def test_neighbours_are_sought_in_parts(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    views = list(torch.randn(3, 7, 5, generator=generator))
    whole = diagnosed.diagnostics(views, InfoMaxLoss(10.0))
    monkeypatch.setattr(diagnosed, "AT_ONCE", 4)
    assert diagnosed.diagnostics(views, InfoMaxLoss(10.0)) == whole


def test_one_photograph_has_no_interval():
    table = saliency.interval(pd.DataFrame({"ratio": [2.0]}))
    assert table.loc["ratio", "mean"] == 2
    assert table.loc["ratio", ["low", "high"]].isna().all()


def test_two_and_three_classes_have_no_jackknife():
    points = np.array([0.0, 1.0, 3.0])
    apart = abs(points[:, None] - points)
    three = centroids.rank_correlation(-apart, apart)
    assert three["rho"] == pytest.approx(1)
    assert np.isnan(three["by_class"]).all()
    two = centroids.rank_correlation(-apart[:2, :2], apart[:2, :2])
    assert np.isnan([two["rho"], two["p"], *two["by_class"]]).all()


# --- What is missing ------------------------------------------------------------------------------


def test_a_class_that_a_probe_never_saw_is_never_right():
    """Of four classes three are in training: the fourth's images, a quarter, can't be right."""
    labels = torch.arange(40) % 4
    points = nn.functional.one_hot(labels, 4).float()
    seen = labels < 3
    tasks = fewer.dealt(4, [2])
    paths = [("all", str(k)) for k in range(4)]
    table = fewer.explained(
        {"own": (points[seen], points)}, (labels[seen], labels), tasks, paths, coarse.neighbours
    )
    whole = table[table.classes == 4].iloc[0]
    assert whole["fitted anew"] == whole.expected == pytest.approx(75)


def test_five_classes_bound_what_five_ranks_give():
    """All right among five: rank 1 in half, else 2 or 5; two classes, one other of four ahead."""
    low, high = fewer.bounds(50, 100, n_classes=5, fewer=2)
    assert low == pytest.approx(50)  # of rank 5 all four others are ahead
    assert high == pytest.approx(50 + 50 * 3 / 4)


def test_stalls_and_equal_compute_pass_over_epochs_that_were_not_evaluated():
    nothing = math.nan
    curve = [nothing, 10, nothing, 50, nothing, 80, nothing, 89, nothing, 90]
    assert stalls.epochs_to_stall(curve) == 2 * stalls.epochs_to_stall([10, 50, 80, 89, 90])
    rows = [
        {"method": method, "seed": seed, "epoch": epoch, "linear_top1": accuracy}
        for method in ("ours", "other")
        for seed in (0, 1)
        for epoch, accuracy in enumerate(curve, 1)
    ]
    costs = {"ours": 2.0, "other": 1.0}
    epoch, less = compute.at_equal_compute(pd.DataFrame(rows), costs, "ours", "other")
    assert epoch == 4  # of the five that can be paid the fourth was evaluated
    assert less.tolist() == [50 - 90] * 2


def test_what_is_just_affordable_is():
    """Eight epochs at 0.3 pay for six at 0.4, whatever 8 * 0.3 / 0.4 is in floating point."""
    rows = [
        {"method": method, "seed": 0, "epoch": epoch, "linear_top1": float(epoch)}
        for method in ("ours", "other")
        for epoch in range(1, 9)
    ]
    costs = {"ours": 0.4, "other": 0.3}
    epoch, _ = compute.at_equal_compute(pd.DataFrame(rows), costs, "ours", "other")
    assert epoch == 6


def test_gaps_are_compared_in_the_seeds_that_both_have():
    rng = np.random.default_rng(0)
    rows = [
        {"representation": name, "seed": seed, "kind": kind, "draw": draw, "accuracy": value}
        for name, shift in (("infomax", 5.0), ("simclr", 0.0))
        for seed in range(3)
        for kind in ("far", "near")
        for draw, value in enumerate(shift * (kind == "far") + rng.normal(0, 0.1, 6))
    ]
    scores = pd.DataFrame(rows)
    lacking = scores[(scores.representation == "infomax") | (scores.seed < 2)]
    paired = scores[scores.seed < 2]
    assert coarse.gap(lacking, "infomax", "simclr") == coarse.gap(paired, "infomax", "simclr")


def test_a_seed_that_is_missing_is_not_made_up():
    rho = pd.Series({("ours", 0): 0.3, ("ours", 1): 0.5, ("ours", 2): 0.7})
    rho = pd.concat([rho, pd.Series({("simclr", 0): 0.2, ("simclr", 1): 0.4})])
    rho = pd.concat([rho, pd.Series({("untrained", seed): 0.1 for seed in range(3)})])
    rho = pd.concat([rho, pd.Series({("pixels", 0): 0.0})])
    rho.index = pd.MultiIndex.from_tuples(rho.index)
    by_class = pd.DataFrame({name: [0.1, 0.2, 0.3] for name in rho.index.unique(0)})
    table = centroids.above(rho, by_class, seedless=["pixels"])
    found = table.query("series == 'over networks'")
    expected = intervals.paired_interval([0.1, 0.3])
    assert found.loc["simclr", ["low", "high"]].tolist() == pytest.approx(
        [expected["low"], expected["high"]]
    )
    assert found.loc["pixels", "mean"] == pytest.approx(-0.1)  # which have no seeds, so all


def test_one_network_has_no_interval_over_networks():
    index = pd.MultiIndex.from_product([["ours", "untrained"], range(3)])
    rho = pd.Series([0.3, 0.5, 0.7, 0.1, 0.1, 0.2], index)
    rho["supervised", 0] = 0.6
    by_class = pd.DataFrame({name: [0.1, 0.2, 0.3] for name in rho.index.unique(0)})
    over = centroids.above(rho, by_class).query("series == 'over networks'")
    assert over.loc["supervised", ["low", "high"]].isna().all()
    assert over.loc["ours", ["low", "high"]].notna().all()


@pytest.mark.parametrize("flat", ["similarity", "distance"])
def test_where_all_pairs_are_equal_there_is_no_correlation(flat):
    generator = np.random.default_rng(0)
    given = {}
    for name in ("similarity", "distance"):
        values = generator.random((6, 6))
        given[name] = np.ones((6, 6)) if name == flat else values + values.T
    found = centroids.rank_correlation(**given, permutations=99)
    assert math.isnan(found["rho"])
    assert math.isnan(found["p"])
    assert np.isnan(found["by_class"]).all()


def test_without_the_class_that_makes_the_difference_there_is_no_interval():
    """Five classes of one group and one of another: without it all distances are equal."""
    distance = np.zeros((6, 6))
    distance[5, :5] = distance[:5, 5] = 1
    values = np.random.default_rng(0).random((6, 6))
    found = centroids.rank_correlation(values + values.T, distance, permutations=99)
    by_class = pd.DataFrame({"ours": found["by_class"]})
    interval = centroids.over_classes(pd.Series({"ours": found["rho"]}), by_class)
    assert interval.loc["ours", "mean"] == found["rho"]
    assert interval.loc["ours", ["low", "high"]].isna().all()


@pytest.mark.parametrize("temperature", [0.0, -0.1, 0.01, math.nan])
def test_votes_that_overflow_are_refused(temperature):
    with pytest.raises(ParameterError, match=f"temperature = {temperature} is not allowed"):
        knn(torch.eye(4), torch.arange(4), torch.eye(4), 4, temperature=temperature)


@pytest.mark.parametrize("of_both", [True, False])
def test_an_offset_does_not_change_neighbours(of_both):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    y = x + 0.3 * torch.randn(64, 3, generator=generator, dtype=torch.float64)
    assert ksg(x + 1e6, y + 1e6 * of_both) == pytest.approx(ksg(x, y), abs=1e-6)


def test_no_pair_has_no_interval_and_decides_nothing():
    assert intervals.interval_text([]) == intervals.interval_text([math.nan]) == "no pairs"
    with pytest.raises(ParameterError, match="deviation = nan"):
        intervals.seeds_to_decide(math.nan)


def test_a_result_of_which_no_run_matches_adds_nothing():
    found = pd.DataFrame({"run": ["own"], "seed": [0], "epoch": [1], "kappa": [10.0]})
    same = with_recorded(found, TrainConfig(epochs=3, n_train=500), "kappa_glyphs", "kappa")
    pd.testing.assert_frame_equal(same, found)


# --- Views and maps -------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, 16, 128])
def test_views_that_coincide_have_no_threshold(dim):
    rows = torch.randn(32, dim, generator=torch.Generator().manual_seed(dim))
    with pytest.raises(ValueError, match="coincide"):
        contraction_threshold([rows, rows.clone()], 10.0)


def test_pairs_opposite_the_mean_have_no_threshold():
    """Ten images of coinciding views on one side, two of views that lie apart on the other."""
    near = torch.tensor([[1.0, 0.0, 0.0]]).repeat(10, 1)
    apart = torch.tensor([[-1.0, 0.5, 0.0], [-1.0, 0.0, 0.5]])
    views = [torch.cat([near, apart]), torch.cat([near, apart * torch.tensor([1.0, -1, -1])])]
    with pytest.raises(ValueError, match="opposite the mean"):
        contraction_threshold(views, 1.0)


def test_where_no_sure_pixel_is_in_the_mask_nothing_is_inside():
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True
    found = saliency.inside_sure(torch.ones(1, 2, 2), mask, ~mask)
    assert found.share.tolist() == found.hit.tolist() == [0.0]


def test_a_map_of_zeros_where_it_is_sure_counts_as_uniform_there():
    maps = torch.zeros(1, 2, 2)
    maps[0, 1, 1] = 1.0
    sure = torch.ones(1, 2, 2, dtype=torch.bool)
    sure[0, 1, 1] = False
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True
    share = saliency.inside_sure(maps, mask, sure).share.item()
    assert share == pytest.approx(100 / 3)


def test_a_map_that_is_not_finite_is_refused_by_its_number():
    maps = torch.ones(3, 2, 2)
    maps[1, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"images \[1\]"):
        saliency.inside(maps, torch.ones(3, 2, 2))


class Failing(nn.Module):
    """A network in training mode that fails on its way."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout()

    def forward(self, _):
        raise ZeroDivisionError


def test_a_network_that_fails_keeps_its_mode():
    net = Failing()
    with pytest.raises(ZeroDivisionError):
        features(net, images(2))
    assert net.training and net.dropout.training


def test_held_out_views_leave_a_methods_mode():
    method = initial(TrainConfig(**SMALL), 10).train()
    held_out_projections(method, ImageSet(images(4), torch.arange(4), list("abcd")), device="cpu")
    assert all(module.training for module in method.modules())


# --- Numbers that are none ------------------------------------------------------------------------


def test_numbers_that_cannot_be_are_refused():
    z = nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    for kappa in (10**400, 1e20):
        with pytest.raises(ParameterError, match="kappa"):
            global_entropy(z, kappa)
    with pytest.raises(ParameterError, match="k = 2.5"):
        ksg(z, z, 2.5)
    assert ksg(z, z, 2.0) == ksg(z, z, 2)


def test_a_list_of_tensors_is_an_answer():
    assert exercises.check("00-1", [torch.tensor(6.9305)])
    assert exercises.check("00-1", np.float32(6.9305))


# --- Files and folders ----------------------------------------------------------------------------


def test_parameters_that_python_has_other_uses_for_are_unknown(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("kappa: 1\n")
    for name in ("path", "self"):
        with pytest.raises(ParameterError, match=f"no parameter '{name}'"):
            TrainConfig.from_yaml(file, **{name: "x"})
        with pytest.raises(ParameterError, match=f"no parameter '{name}'"):
            TrainConfig(**SMALL).replace(**{name: "x"})


def test_a_folder_may_be_called_by_a_date(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("runs_dir: 2024-02-20\n")
    assert TrainConfig.from_yaml(file).runs_dir == "2024-02-20"
    file.write_text("runs_dir: 2024-02-30\n")
    with pytest.raises(ParameterError, match="cannot be read as a parameter file"):
        read_yaml(file)


def test_networks_are_found_by_fields_that_some_ignore():
    ours = networks.available(dataset="cifar10", method="infomax")
    assert networks.available(dataset="cifar10", kappa=10.0) == ours
    assert networks.available(kappa=3.0) == []
    with pytest.raises(ParameterError, match="did you mean 'dataset'"):
        networks.available(datset="cifar10")


def test_the_hub_has_networks_alone():
    entries = runpy.run_path(str(ROOT / "hubconf.py"))
    public = {name for name, value in entries.items() if callable(value) and name[0] != "_"}
    assert public == {name.replace("-", "_") for name in networks.available()}


def test_lines_on_other_data_have_no_common_mean():
    rows = pd.DataFrame({"run": "kappa10", "seed": 0, "line": ["a", "e"], "epoch": 1, "x": 1.0})
    with pytest.raises(ValueError, match="line e has other data"):
        late_means(rows, ["x"])
    assert late_means(rows[:1], ["x"]).x.tolist() == [1.0]


def test_an_export_leaves_no_table_of_the_one_before(tmp_path):
    figure = plt.figure()
    table = pd.DataFrame({"x": [1]})
    export_tables("same", {"table": table, "baselines": table}, figure, "first", [], tmp_path)
    export_tables("same", {"metrics": table, "baselines": None}, figure, "then", [], tmp_path)
    plt.close(figure)
    kept = {path.name for path in (tmp_path / "same").iterdir()}
    assert kept == {"metrics.csv", "figure.png", "caption.txt", "records.json"}
    assert json.loads((tmp_path / "same/records.json").read_text())


@pytest.mark.parametrize("file", ["table.csv", "references.json", "predictions.npz"])
def test_an_export_removes_nothing_that_no_export_wrote(tmp_path, file):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / file).write_text("of another command")
    figure = plt.figure()
    with pytest.raises(ParameterError, match=f"export = 'kept' .* has {file}"):
        export_tables("kept", {"table": pd.DataFrame({"x": [1]})}, figure, "", [], tmp_path)
    plt.close(figure)
    assert [path.name for path in folder.iterdir()] == [file]
    assert (folder / file).read_text() == "of another command"


# --- A plan of one's own --------------------------------------------------------------------------


def plan(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return [run.name for run in planned(replace(Places(), params=folder))]


PRECISION = "precision: 32\nbackbone: resnet_small\n"
RUNS = "runs:\n  - {name: one}\n"


def test_seeds_beside_blocks_are_those_of_each_block(tmp_path):
    text = PRECISION + "seeds: [0, 1]\nblocks:\n  - {runs: [{name: one}]}\n"
    text += "  - {seeds: [5], runs: [{name: two}]}\n"
    assert plan(tmp_path, a=text) == ["a_one_seed0", "a_one_seed1", "a_two_seed5"]


def test_lines_with_blocks_can_be_repeated(tmp_path):
    blocks = PRECISION + "blocks:\n  - {runs: [{name: one}]}\n  - {runs: [{name: two}]}\n"
    names = plan(tmp_path, a=blocks, b=PRECISION + "seeds: [3]\nof: [a]\n")
    assert names == ["a_one_seed0", "a_two_seed0", "b_one_seed3", "b_two_seed3"]


@pytest.mark.parametrize(
    "text", ["runs: [3]\n", "seeds: 0\n" + RUNS, "runs: [{kappa: 1}]\n", "of: a\n"]
)
def test_a_file_that_is_no_line_is_refused(tmp_path, text):
    with pytest.raises(ParameterError, match="must be a line of the plan"):
        plan(tmp_path, a=PRECISION + RUNS, b=PRECISION + text)


def test_two_files_of_one_line_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="several for a"):
        plan(tmp_path, a=PRECISION + RUNS, a_again=PRECISION + RUNS)
