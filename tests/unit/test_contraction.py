"""Where the objective asks for contraction: against finite differences of the entropies."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from infomax_nb import plots
from infomax_nb.analysis.sphere import clustered_views
from infomax_nb.evaluation.contraction import outcome, right
from infomax_nb.figures.contraction import against_threshold
from infomax_nb.files import project_root
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.objective.contraction import contraction_threshold, drawn_together, spread
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.train.fitting import datasets
from pipeline.contraction import RESULTS, by_criterion, first_projections, main, recompute

REPORTS = project_root() / "reports"


def a_batch(spread: float, n_images=12, n_views=4, dim=5) -> torch.Tensor:
    """Views (V, B, D) around their images' directions, all on one side of the sphere."""
    views = clustered_views(n_images, n_views, dim, degrees=30, seed=3).double()
    middle = torch.zeros(dim).double()
    middle[0] = 1
    return unit_rows((middle + spread * views).flatten(0, 1)).unflatten(0, views.shape[:2])


def entropies(views: torch.Tensor, kappa: float) -> torch.Tensor:
    h_global, h_local = InfoMaxLoss(kappa).entropies(list(views))
    return torch.stack([torch.as_tensor(h_global), torch.as_tensor(h_local)]).double()


@pytest.mark.parametrize("kappa", [0.1, 1, 10, 50])
@pytest.mark.parametrize("spread", [0.2, 1, 3])
def test_it_is_the_ratio_of_the_entropies_rates(kappa, spread):
    """Rates by central differences along the path that the docstring describes."""
    views = a_batch(spread)
    mean = views.flatten(0, 1).mean(0)

    def along(t: float) -> torch.Tensor:
        return entropies(unit_rows((mean + t * (views - mean)).flatten(0, 1)).view_as(views), kappa)

    step = 1e-4
    rate_of_global, rate_of_local = (along(1 + step) - along(1 - step)) / (2 * step)
    expected = float(rate_of_global / rate_of_local)
    assert contraction_threshold(list(views), kappa) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ratio, drawn_together", [(0.97, False), (1.03, True)])
def test_the_objective_prefers_the_smaller_batch_above_it(ratio, drawn_together):
    views = a_batch(1)
    kappa = 10.0
    beta = ratio * contraction_threshold(list(views), kappa)
    mean = views.flatten(0, 1).mean(0)
    smaller = unit_rows((mean + 0.999 * (views - mean)).flatten(0, 1)).view_as(views)
    objective = torch.tensor([1.0, -beta]).double()
    gain = objective @ (entropies(smaller, kappa) - entropies(views, kappa))
    assert bool(gain > 0) == drawn_together


def test_of_a_collapsed_batch_it_is_the_ratio_of_mean_squared_distances():
    """All kernels weigh the same, all points are at the mean."""
    views = a_batch(1e-4)
    x = views.flatten(0, 1)
    squared = torch.cdist(x, x).square()
    image = torch.arange(len(x)) % views.shape[1]
    itself = torch.eye(len(x), dtype=torch.bool)
    positive = (image[:, None] == image) & ~itself
    expected = float(squared[~itself].mean() / squared[positive].mean())
    assert expected > 1.1
    assert contraction_threshold(list(views), 10.0) == pytest.approx(expected, rel=1e-3)


def test_where_views_tell_nothing_a_collapsed_batch_has_one():
    """Views as far from each other as from strangers."""
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(8, 128, 64, generator=generator).double()
    views = unit_rows((torch.eye(64)[0] + 1e-4 * views).flatten(0, 1)).view_as(views)
    assert contraction_threshold(list(views), 1.0) == pytest.approx(1, abs=0.01)


def test_opposite_points_have_no_mean():
    view = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    with pytest.raises(ValueError, match="mean zero"):
        contraction_threshold([view, view], 1.0)


def test_coinciding_views_are_named():
    view = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    with pytest.raises(ValueError, match="coincide"):
        contraction_threshold([view, view], 1.0)


def test_spread_is_the_mean_squared_distance_to_the_mean():
    x = a_batch(1).flatten(0, 1)
    expected = (x - x.mean(0)).square().sum(1).mean()
    assert spread(list(3 * a_batch(1))) == pytest.approx(float(expected))


def test_drawing_together_scales_small_distances():
    views = list(a_batch(0.05))
    half = drawn_together(views, 0.5)
    assert spread(half) == pytest.approx(spread(views) / 4, rel=0.01)
    assert all(torch.allclose(view.norm(dim=1), torch.ones(1).double()) for view in half)


def test_what_was_predicted_and_what_happened():
    """Three runs: neither; contracts and comes back; collapses though nothing drives it there."""
    rows = pd.DataFrame(
        {
            "beta": [0.5, 1.0, 0.8],
            "threshold_start": [0.9, 0.9, 0.9],
            "threshold_collapsed": [1.01, 1.01, 1.01],
            "spread_0": [0.8, 0.8, 0.8],
            "spread_1": [0.9, 0.2, 0.1],
            "spread_10": [0.95, 0.7, 0.01],
        }
    )
    found = outcome(rows)
    assert found.contracts_predicted.tolist() == [False, True, False]
    assert found.contracts.tolist() == [False, True, True]
    assert found.collapses_predicted.tolist() == [False, False, False]
    assert found.collapses.tolist() == [False, False, True]
    counted = right(found)
    assert counted["right"].tolist() == [2, 2]
    assert counted["best constant guess"].tolist() == [2, 2]


# --- The results ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_what_was_concluded_is_recomputed_from_the_kept_numbers(name, capsys, monkeypatch):
    """Against counts that are made here run by run; nothing is trained."""
    monkeypatch.setattr("sys.argv", ["contraction", name, "--recompute"])
    main()
    printed = capsys.readouterr().out
    assert "table.csv: yes" in printed
    runs = pd.read_csv(REPORTS / name / "runs.csv").to_dict("records")
    first = sum((run["spread_1"] < run["spread_0"]) == above(run, "start") for run in runs)
    both = [above(run, "start") and above(run, "collapsed") for run in runs]
    fallen = [run["spread_6"] < 0.1 * run["spread_0"] for run in runs]
    last = sum(said == happened for said, happened in zip(both, fallen, strict=True))
    table = pd.read_csv(REPORTS / name / "table.csv", index_col=0)
    assert table["right"].tolist() == [first, last]
    for line, count in zip(printed.splitlines()[2:4], (first, last), strict=True):
        assert line.split()[-2] == str(count)


def above(run: dict, state: str) -> bool:
    return run["beta"] > run[f"threshold_{state}"]


def test_a_table_that_was_changed_is_named(tmp_path):
    folder = tmp_path / "contraction_glyphs"
    shutil.copytree(REPORTS / "contraction_glyphs", folder)
    table = (folder / "table.csv").read_text()
    (folder / "table.csv").write_text(table.replace(",10,6\n", ",11,6\n"))
    assert "table.csv: no" in recompute("contraction_glyphs", tmp_path)


def test_a_looser_criterion_finds_more_collapses():
    rows = pd.DataFrame(
        {
            "beta": [2.0, 2.0, 0.5],
            "threshold_start": [1.0, 1.0, 1.0],
            "threshold_collapsed": [1.0, 1.0, 1.0],
            "spread_0": [0.8, 0.8, 0.8],
            "spread_1": [0.008, 0.08, 0.9],
        }
    )
    found = by_criterion(rows, (0.05, 0.2))
    assert found["happened"].tolist() == [1, 2]
    assert found["right"].tolist() == [2, 3]


def test_thresholds_of_the_report_are_those_of_the_batch_before_training():
    config = RESULTS["contraction_glyphs"].replace(kappa=10.0)
    _, test = datasets(config)
    start = contraction_threshold(first_projections(config, test), 10.0)
    runs = pd.read_csv(REPORTS / "contraction_glyphs" / "runs.csv")
    kept = runs[runs.kappa == 10].threshold_start
    assert kept.to_numpy() == pytest.approx(start, rel=1e-3)


def test_the_figure_rings_what_was_wrongly_predicted():
    runs = pd.read_csv(REPORTS / "contraction_glyphs" / "runs.csv").assign(data="glyphs")
    for axis, name in zip(against_threshold(runs).axes, ("contracts", "collapses"), strict=True):
        happened, did_not, ringed = (marks.get_offsets() for marks in axis.collections)
        assert len(happened) == runs[name].sum()
        assert len(happened) + len(did_not) == len(runs)
        assert len(ringed) == (runs[name] != runs[f"{name}_predicted"]).sum()


def test_each_run_lies_inside_the_axes():
    """The last one in the first panel alone, whose axis the second one shares."""
    runs = pd.read_csv(REPORTS / "contraction_glyphs" / "runs.csv").assign(data="glyphs")
    in_first = runs.head(1).assign(beta=12.0, threshold_start=1.0, threshold_collapsed=6.0)
    beyond = pd.concat([runs, runs.head(2).assign(beta=[0.1, 9.0]), in_first])
    for axis in against_threshold(beyond).axes:
        least, most = axis.get_xlim()
        drawn = np.concatenate([marks.get_offsets()[:, 0] for marks in axis.collections])
        assert least < drawn.min() and drawn.max() < most


def test_texts_say_what_the_tables_say():
    """Notebook 04, the page and the reports' page, each with the counts in its own words."""
    tables = {name: pd.read_csv(REPORTS / name / "table.csv", index_col=0) for name in RESULTS}
    first, end = sum(
        table[["right", "best constant guess"]].to_numpy() for table in tables.values()
    )
    notebook = (project_root() / "notebooks" / "04_ablate_beta.ipynb").read_text("utf-8")
    page = (project_root() / "docs" / "contraction.md").read_text("utf-8").replace("\n", " ")
    for count, constant in (first, end):
        assert f"{count} of 24" in notebook
        assert f"{count} of 24, best constant guesses {constant}" in page
    kept = (REPORTS / "README.md").read_text("utf-8")
    for name, table in tables.items():
        cells = [f"{row['right']} ({row['best constant guess']})" for _, row in table.iterrows()]
        (line,) = [line for line in kept.splitlines() if f"]({name})" in line]
        assert line.endswith(f"| {cells[0]} | {cells[1]} |")
        start = pd.read_csv(REPORTS / name / "runs.csv").groupby("kappa").threshold_start.first()
        assert f"| {start[1]:.2f}, {start[10]:.2f} |" in line
        assert f"τ at the start is {start[1]:.2f} at κ = 1 and {start[10]:.2f} at κ = 10" in page


def test_a_part_of_the_numbers_keeps_its_colours():
    """Figure 2 of notebook 04 shows three of the five values of Figure 1."""
    rows = pd.DataFrame({"epoch": [1, 2] * 2, "beta": [0.1] * 2 + [1.0] * 2, "knn_top1": 5.0})
    axis = plots.curves(rows, ["knn_top1"], hue="beta", among=[0.1, 0.5, 1.0, 2.0]).axes[0]
    drawn = [line.get_color() for line in axis.lines if len(line.get_xdata())]
    shades = plots.shades([0.1, 0.5, 1.0, 2.0])
    assert drawn == [shades[0.1], shades[1.0]]
