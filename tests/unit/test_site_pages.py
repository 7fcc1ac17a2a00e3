"""The site's pages before Sphinx reads them: words for names, texts for pictures, links."""

import csv
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sphinx.cmd.build import build_main

from infomax_nb.errors import ParameterError
from infomax_nb.figures import table1
from infomax_nb.methods import METHODS
from infomax_nb.names import setting
from pipeline.benchmarks import SUBJECTS, VERDICTS, verdict_of
from pipeline.claims import claims
from pipeline.copies import data_note
from pipeline.site import front, notebooks, results, words
from pipeline.site.__main__ import INVENTORY, check_replaceable, over_the_epochs
from pipeline.site.figures import CENTRAL, FIGURES
from pipeline.site.records import facts_of
from pipeline.site.stage import Stage

ROOT = Path(__file__).parents[2]
RAW = re.compile(r"\b(linear_top[15]|knn_top[15]|barlow_twins|resnet_small|vit_mini|cifar10)\b")


def test_only_a_site_is_replaced(tmp_path):
    """Sphinx writes an inventory into each; nothing else may be lost."""
    for allowed in (tmp_path / "new", tmp_path):
        check_replaceable(allowed)
    (tmp_path / "precious.txt").touch()
    for refused in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(ParameterError, match="it must be a site built before, empty"):
            check_replaceable(refused)
    (tmp_path / INVENTORY).touch()
    check_replaceable(tmp_path)


@pytest.mark.parametrize("name", results.names())
def test_a_results_page_says_names_in_words(name):
    """But where they are to be typed, in code, or are the names of files."""
    page = results.report(name).partition("## How it was made")[0]
    assert not RAW.search(re.sub(r"`[^`]*`|\]\([^)]*\)", "", page))


def test_results_are_in_the_papers_order():
    works = [name.partition("_")[0] for name in results.names()]
    order = [work for number, work in enumerate(works) if work not in works[:number]]
    figures = [figure.result.partition("_")[0] for figure in FIGURES[:5]]
    after = [work for work in order if work in figures]
    assert after == list(dict.fromkeys(figures))


def test_every_result_is_shown_on_the_first_page():
    shown = {name for figure in FIGURES for name in (figure.result, *figure.more)} | set(CENTRAL)
    assert shown == set(results.names())


def test_the_papers_figures_are_all_there():
    assert [figure.number for figure in FIGURES] == list(range(1, 8))
    page = front.front([])
    for figure in FIGURES:
        assert f"## Figure {figure.number}: " in page
        assert f"reports/{figure.result}/figure.png" in page


def test_every_picture_of_the_first_page_has_a_text():
    page = front.front([])
    assert page.count("{figure}") == page.count(":alt: ") >= 8
    assert not re.search(r":alt: *$", page, re.MULTILINE)


def test_late_verdicts_stand_beside_the_papers_figures():
    with (ROOT / "reports" / "verdicts" / "table.csv").open(encoding="utf-8") as file:
        answers = {row["claim"]: row["verdict"] for row in csv.DictReader(file)}
    page = front.front([])
    late = {figure.number: figure.late.claims for figure in FIGURES if figure.late}
    assert list(late) == [1, 4, 5, 6, 7]
    for number, claims_of_figure in late.items():
        here = page.split(f"## Figure {number}: ")[1].split("\n## ")[0]
        said = here.split("**Here, late**: ")[1].split("\n\n")[0]
        found = re.findall(r"\[\*\*(.+?)\*\*\]\(#verdict-(\w+)\)", said)
        assert [claim for _, claim in found] == list(claims_of_figure)
        assert all(answers[claim] == verdict for verdict, claim in found)


def test_late_pictures_show_the_plans_runs_and_their_epochs():
    runs = pd.read_csv(ROOT / "reports" / "verdicts" / "runs.csv").run
    planned = set(runs.str.replace(r"_seed\d+$", "", regex=True))
    for figure in FIGURES:
        if figure.late and figure.late.conditions:
            assert set(figure.late.conditions) <= planned
            drawn = over_the_epochs(figure.late)
            labels = [text.get_text().partition(":")[0] for text in drawn.legends[0].get_texts()]
            assert labels == list(figure.late.conditions.values())


def test_a_setting_in_words():
    config = {"dataset": "cifar10", "epochs": 10, "backbone": "resnet_small"}
    records = [{"images": 5000, "config": {**config, "seed": seed}} for seed in (1, 0)]
    expected = "CIFAR-10, 5,000 training images, 10 epochs, small ResNet, seeds 0 and 1"
    assert setting(records) == expected
    assert setting([{"cpu": "any"}]) == ""


def test_words_do_not_touch_parts_of_names():
    assert words.in_words("stl10, lc25000_groups") == "STL-10, LC25000 with groups held out"
    assert words.in_words("dinosaur") == "dinosaur"
    assert {words.in_words(method) for method in METHODS} & set(METHODS) == {"supervised"}


def test_the_dot_plot_has_the_papers_numbers_and_ours():
    figure = table1.draw()
    printed = pd.read_csv(ROOT / "reports" / "paper_table1.csv")
    metrics = pd.read_csv(ROOT / "reports" / "methods_cifar10" / "metrics.csv")
    last = metrics[metrics.epoch == metrics.epoch.max()]
    for axis, dataset in zip(figure.axes, printed.dataset.unique(), strict=True):
        drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in axis.lines])
        rows = printed[printed.dataset == dataset]
        expected = rows[["linear_top1", "knn_top1"]].to_numpy().ravel()
        assert set(expected) <= set(drawn.tolist())
        if dataset == "CIFAR-10":
            ours = last.groupby("method")[["linear_top1", "knn_top1"]].mean().to_numpy().ravel()
            assert set(np.round(ours, 6)) <= set(np.round(drawn, 6))
            late = pd.read_csv(ROOT / "reports" / "verdicts" / "curves.csv")
            late = late[(late.run == "kappa10") & late.line.isin(["a", "c"]) & (late.epoch >= 52)]
            for column in ("linear_top1", "knn_top1"):
                of_seeds = [rows[column].mean() for _, rows in late.groupby("seed")]
                assert len(of_seeds) == 3
                assert any(np.isclose(drawn, sum(of_seeds) / 3))
        else:
            assert axis.get_title(loc="left").endswith(")")


def notebook_with(*cells) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = list(cells)
    return notebook


def test_a_pictures_text_is_its_caption_or_the_nearest_heading():
    text = nbformat.v4.new_markdown_cell
    code = nbformat.v4.new_code_cell
    cells = [text("# Title\n\n## Views"), code("a"), code("b"), text("*Eight `views`, $x$.* And")]
    notebooks.describe_pictures(notebook_with(*cells))
    texts = [cell.metadata["mystnb"]["image"]["alt"] for cell in cells if cell.cell_type == "code"]
    assert texts == ["Views", "Eight views, x."]


def test_each_stored_picture_gets_a_text(tmp_path):
    stage = Stage(tmp_path)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        stage.add_notebook(path, path)
        for cell in nbformat.read(tmp_path / "notebooks" / path.name, 4).cells:
            pictures = [
                out for out in cell.get("outputs", []) if "image/png" in out.get("data", {})
            ]
            assert not pictures or cell.metadata["mystnb"]["image"]["alt"], path.name


def test_the_executed_notebook_is_shown_with_the_stored_ones_links(tmp_path):
    stored = ROOT / "notebooks" / "00_loss_derivation.ipynb"
    link = nbformat.v4.new_markdown_cell("[the plan](../docs/plan.md)")
    executed = tmp_path / "reports" / "notebooks" / "executed.ipynb"
    executed.parent.mkdir(parents=True)
    nbformat.write(notebook_with(link), executed)
    Stage(tmp_path / "stage").add_notebook(stored, executed)
    copied = json.loads((tmp_path / "stage" / "notebooks" / stored.name).read_text())
    assert "".join(copied["cells"][0]["source"]) == "[the plan](../docs/plan.md)"


def test_each_benchmarks_verdict_is_on_its_page_and_on_the_first():
    verdicts = {path: verdict_of(path) for path in (ROOT / "reports/benchmarks").glob("*.csv")}
    said = [line for line in verdicts.values() if line]
    assert len(said) >= 5
    for page in (results.benchmarks(), front.front([])):
        plain = page.replace("\\", "")
        assert [line for line in said if line not in plain] == []


def test_each_line_on_speed_begins_with_what_it_is_about_and_the_device():
    lines = results.verdicts()
    assert lines[0].startswith("**Views of an image** (CPU). Ours is")
    assert all(re.match(r"\*\*[A-Z][^*]+\*\* \([CG]PU\)\. [A-Z]", line) for line in lines)
    assert set(SUBJECTS) == set(VERDICTS)  # none is left out


def test_a_run_in_two_sessions_shows_both_commits_machines_and_days():
    """The record itself is the last session's, but for the day on which the run was started."""
    both = {"cores": 2, "threads": 1, "python": "3.12.1", "versions": {"torch": "2.9"}}
    first = both | {"started": "2026-01-02T03:04:05", "commit": "a" * 40, "gpu": None, "cpu": "A"}
    second = both | {"started": "2026-01-04T03:04:05", "commit": "b" * 40, "gpu": "B", "cpu": "A"}
    last = second | {"started": first["started"], "resumed": "2026-01-05T03:04:05"}
    facts = facts_of([last | {"earlier_sessions": [first, second]}])
    assert facts["Commit"] == f"`{'a' * 10}`, `{'b' * 10}`"
    assert facts["Hardware"] == "A, 2 cores, threads: 1; B, 2 cores, threads: 1"
    assert facts["Date"] == "2026-01-02 to 2026-01-05"


def test_a_table_in_a_notebooks_output_is_a_table_on_the_site(tmp_path):
    """The verdicts are Markdown, whose tables CommonMark shows as lines with pipes."""
    shown = {"text/markdown": "| claim | verdict |\n|---|---|\n| 1 | **open** |\n"}
    output = nbformat.v4.new_output("display_data", shown)
    cell = nbformat.v4.new_code_cell("verdicts()", outputs=[output])
    title = nbformat.v4.new_markdown_cell("# A notebook")
    language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    notebook = nbformat.v4.new_notebook(cells=[title, cell], metadata=language)
    (tmp_path / "source").mkdir()
    nbformat.write(notebook, tmp_path / "source/index.ipynb")
    settings = ["-q", "-W", "-c", str(ROOT / "docs")]
    places = [str(tmp_path / name) for name in ("source", "html")]
    assert build_main([*settings, "-d", str(tmp_path / "doctrees"), *places]) == 0
    built = (tmp_path / "html" / "index.html").read_text("utf-8")
    assert re.search(r"<td><p><strong>open</strong></p></td>", built)
    assert "<p>| " not in built


def test_a_claim_leads_to_its_verdicts_place():
    found = front.claims_table(claims())
    page = results.plan_verdicts()
    numbers = re.findall(r"\[verdict (\w+)\]\(#verdict-\1\)", found)
    assert len(numbers) > 8
    for number in numbers:
        assert f"\n(verdict-{number})=\n" in page


def test_the_first_page_opens_with_the_papers_title():
    lead = front.lead_of_readme()
    assert "Learning coarse-grained representations" in lead.replace("\n", " ")
    assert front.front([]).index(lead) < front.front([]).index("| the paper says |")


def test_a_copy_that_some_runs_read_is_not_said_of_all():
    day = "2026-01-01"
    old = {"config": {"dataset": "cifar10"}, "started": day}
    late = old | {"started": "2999-01-01"}
    assert not data_note([late])
    assert data_note([old, late]) == f"some of the runs read {data_note([old])}"
