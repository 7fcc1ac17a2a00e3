"""What notebooks show of late training: tables of verdicts, curves, and what has not finished."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infomax_nb import late
from infomax_nb.errors import ParameterError
from infomax_nb.figures import late as drawings
from infomax_nb.figures.table1 import paper_rows

ROW = {
    "says": "Sharp is slow",
    "contrast": "κ = 20 less κ = 10",
    "verdict": "does not hold",
    "difference": "k-NN +1.0 [0.5, 1.5]",
    "scale": "points, 90% intervals",
    "evidence": "late",
    "when": "epochs 52 to 60",
    "seeds": "3 of 3",
    "unit": "seed",
    "data": "CIFAR-10",
    "network": "small ResNet",
    "budgets": "60 epochs (23,400 steps)",
    "change": "",
    "recompute": "python -m again 1",
    "anew": "make evidence ONLY=a",
}


@pytest.fixture
def folder(tmp_path):
    """Two verdicts: a finished one, and one of which nothing is there."""
    open_one = {"verdict": "unfinished", "difference": "", "seeds": "0 of 3", "change": "a gain"}
    rows = pd.DataFrame([ROW, ROW | open_one], index=pd.Index(["1", "4b"], name="claim"))
    rows.to_csv(tmp_path / "table.csv")
    return tmp_path


def test_a_verdict_is_shown_with_what_it_rests_on(folder):
    shown = late.verdicts("1", folder=folder).data
    expected = (
        "| 1. Sharp is slow | κ = 20 less κ = 10 (epochs 52 to 60) | k-NN +1.0 [0.5, 1.5] "
        "(points, 90% intervals) | "
        "**does not hold** | late: 3 of 3 seeds; 60 epochs (23,400 steps); small ResNet; CIFAR-10 |"
    )
    assert expected in shown.splitlines()
    assert "4b" not in shown
    assert "`python -m again 1`" in shown
    assert "`make evidence ONLY=a`" in shown
    assert "Would change" not in shown


def test_an_unfinished_verdict_says_so(folder):
    shown = late.verdicts("4b", folder=folder).data
    assert "nothing to compare yet | **unfinished** | late: 0 of 3 seeds" in shown
    assert "Would change our mind: a gain." in shown


def test_an_unknown_claim_is_one_clear_error(folder):
    with pytest.raises(ParameterError, match=r"claim = '9z' is not allowed: the plan has 1, 4b\."):
        late.verdicts("1", "9z", folder=folder)


def rows(**runs: list[int]) -> pd.DataFrame:
    """Ten evaluations of each run and its seeds; the linear head has 10 + epoch + seed percent."""
    tables = []
    for run, seeds in runs.items():
        for seed in seeds:
            epochs = np.arange(1, 11)
            table = pd.DataFrame({"run": run, "seed": seed, "epoch": epochs, "line": "a"})
            table["linear_top1"] = 10.0 + epochs + seed
            table["knn_top1"] = 50.0 - epochs
            table["linear_far"] = table.linear_top1 + 30
            table["linear_near"] = table.linear_top1
            table["knn_far"] = table.knn_top1 + 30
            table["knn_near"] = table.knn_top1
            tables.append(table)
    columns = ["run", "seed", "epoch", "line", "linear_top1", "knn_top1", "linear_far"]
    return pd.concat(tables) if tables else pd.DataFrame(columns=[*columns, "knn_far"])


def test_curves_are_those_of_the_named_runs_and_lines(tmp_path):
    both = pd.concat([rows(kappa10=[0]), rows(kappa10=[0], simclr=[0]).assign(line="e")])
    both.to_csv(tmp_path / "curves.csv", index=False)
    assert len(late.evaluations("kappa10", folder=tmp_path)) == 10
    of_e = late.evaluations("kappa10", "simclr", lines="e", folder=tmp_path)
    assert of_e.groupby("run").size().to_dict() == {"kappa10": 10, "simclr": 10}


def test_a_branch_begins_where_it_leaves_its_trunk():
    names = ["kappa10", "beta2_from20", "beta1.25_from4"]
    rows = pd.DataFrame({"run": name, "epoch": epoch} for name in names for epoch in (3, 4, 20, 40))
    kept = late.without_trunks(rows).groupby("run").epoch.agg(list)
    assert kept.kappa10 == [3, 4, 20, 40]
    assert kept["beta2_from20"] == [20, 40]
    assert kept["beta1.25_from4"] == [4, 20, 40]


def test_late_is_the_mean_of_the_last_five_evaluations():
    shuffled = rows(kappa10=[0, 2]).sample(frac=1, random_state=0)
    found = late.late_means(shuffled, ["linear_top1", "knn_top1"])
    assert found.loc[("kappa10", 0)].tolist() == [18, 42]  # epochs 6 to 10
    assert found.loc[("kappa10", 2)].tolist() == [20, 42]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


LABELS = {"kappa10": "ours", "simclr": "SimCLR"}


def test_a_condition_without_a_run_is_named_as_such():
    figure = drawings.over_epochs(rows(kappa10=[0, 2]), LABELS, windows=[(6, 10)])
    assert legend(figure) == ["ours: seeds 0, 2", "SimCLR: not finished"]
    thick, *thin = figure.axes[0].lines[:3]
    assert thick.get_ydata().tolist() == (11.0 + np.arange(1, 11)).tolist()  # the seeds' mean
    assert sorted(line.get_ydata()[-1] for line in thin) == [20, 22]
    empty = drawings.over_epochs(rows(), LABELS)
    assert legend(empty) == ["ours: not finished", "SimCLR: not finished"]


def test_one_panel_and_more_conditions_than_colours():
    labels = {f"run{k}": f"run {k}" for k in range(12)}
    figure = drawings.over_epochs(rows(run11=[0]), labels, ["linear_top1"])
    assert len(figure.axes) == 1
    assert legend(figure)[-1] == "run 11: seed 0"


def test_a_part_of_the_conditions_keeps_its_colours():
    of_all = drawings.over_epochs(rows(simclr=[0]), LABELS).axes[0].lines[-1].get_color()
    alone = {"simclr": LABELS["simclr"]}
    kept = drawings.over_epochs(rows(simclr=[0]), alone, among=LABELS).axes[0].lines[-1].get_color()
    changed = drawings.over_epochs(rows(simclr=[0]), alone).axes[0].lines[-1].get_color()
    assert kept == of_all != changed


def test_paths_draw_near_over_far():
    figure = drawings.far_and_near(rows(kappa10=[1]), LABELS)
    line = figure.axes[0].lines[0]
    assert (line.get_xdata() - line.get_ydata()).tolist() == [30] * 10
    assert legend(figure) == ["ours: seed 1", "SimCLR: not finished"]


def test_paths_name_a_condition_once_whatever_its_number_of_seeds():
    figure = drawings.far_and_near(rows(kappa10=[0, 2], simclr=[1]), LABELS)
    assert legend(figure) == ["ours: seeds 0, 2", "SimCLR: seed 1"]
    assert [len(axis.lines) for axis in figure.axes] == [3, 3]


def test_the_papers_numbers_stand_beside_those_that_have_finished():
    methods = {"infomax": "kappa10", "simclr": "simclr"}
    figure = drawings.beside_the_paper(rows(kappa10=[0, 2]), methods)
    left = figure.axes[0]
    printed = paper_rows().query("dataset == 'CIFAR-10'").set_index("row").linear_top1
    xs = [float(line.get_xdata()[0]) for line in left.lines if len(line.get_xdata()) == 1]
    assert printed["Ours"] in xs
    assert printed["SimCLR"] in xs
    assert 19 in xs  # mean over seeds of epochs 6 to 10
    assert [text.get_text() for text in left.texts] == ["not finished"]


def test_references_are_means_over_seeds(tmp_path):
    (tmp_path / "late_reference").mkdir()
    table = pd.DataFrame(
        {
            "dataset": ["folder", "folder", "cifar10"],
            "network": ["untrained", "untrained", "raw pixels"],
            "seed": [0, 1, 0],
            "knn_top1": [10.0, 20.0, 35.0],
            "knn_far": [30.0, 40.0, np.nan],
            "knn_near": [12.0, 13.0, np.nan],
        }
    )
    table.to_csv(tmp_path / "late_reference" / "table.csv", index=False)
    found = late.references("folder", tmp_path)
    assert found.loc["untrained"].tolist() == [15, 35, 12.5, 2]
    assert "far classes" not in late.references("cifar10", tmp_path)


SHOWN = re.compile(r'^verdicts\(((?:"\w+"(?:, )?)+)\)$', re.MULTILINE)
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def stored_verdicts() -> list[tuple[str, list[str], str]]:
    """Each table of verdicts that a notebook has stored: notebook, claims, text."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            asked = SHOWN.search("".join(cell["source"]))
            if cell["cell_type"] == "code" and asked:
                text = "".join(cell["outputs"][0]["data"]["text/markdown"])
                found.append((path.stem[:2], re.findall(r'"(\w+)"', asked[1]), text))
    return found


STORED = stored_verdicts()


@pytest.mark.parametrize("shown", STORED, ids=lambda shown: f"{shown[0]}: {shown[1]}")
def test_a_notebook_shows_the_verdicts_that_reports_hold(shown):
    _, claims, text = shown
    assert text == late.verdicts(*claims).data


def test_every_verdict_of_the_plan_is_in_a_notebook_with_what_could_be_wrong():
    table = pd.read_csv(late.VERDICTS / "table.csv", dtype={"claim": str})
    assert sorted(claim for _, claims, _ in STORED for claim in claims) == sorted(table.claim)
    for number in {number for number, _, _ in STORED}:
        (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
        assert "What could be wrong" in path.read_text("utf-8")
