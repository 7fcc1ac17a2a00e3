"""The committed table of verdicts, and the commands in it by which a reader recomputes each."""

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from checkout import ROOT, environment
from fabricated import arms_of, fill, keep, keep_all, level

from infomax_nb.late import evaluations, late_means, verdict_rows
from pipeline.evidence import precision, reference, verdicts
from pipeline.evidence.class_sets import CLASSES, IMAGENETTE, IMAGEWOOF, is_far
from pipeline.evidence.finding import interval_in_words

REPORTS = ROOT / "reports"
TABLE = pd.read_csv(REPORTS / "verdicts/table.csv", dtype=str).fillna("").set_index("claim")


@pytest.fixture(scope="module")
def computed() -> dict[str, pd.DataFrame]:
    """The tables that the code computes from the results in `reports/`."""
    return verdicts.tables(arms_of(REPORTS))


@pytest.mark.parametrize("name", ["table", "numbers", "curves", "runs"])
def test_the_tables_are_what_the_results_give(computed, name):
    again = computed[name].to_csv(float_format="%.6g")
    now, kept = (pd.read_csv(file) for file in (io.StringIO(again), verdict_file(name)))
    pd.testing.assert_frame_equal(now, kept, rtol=1e-4)


def verdict_file(name: str) -> Path:
    return REPORTS / "verdicts" / f"{name}.csv"


def test_every_verdict_says_what_it_rests_on():
    asked = ("verdict", "evidence", "when", "seeds", "unit", "data", "network", "epochs", "steps")
    for column in asked:
        assert TABLE[column].ne("").all(), column
    steps = TABLE.steps.astype(int)
    assert TABLE.evidence[steps < 10_000].eq("early").all()
    training = r"make evidence DATA_ROOT=DIR ONLY=[a-g](,[a-g])* REPORTS=NEW RUNS_DIR=NEW/runs"
    measure = r"\.venv/bin/python -m pipeline\.[a-z.]+ --data-root (DIR|MASKS) --reports NEW"
    assert TABLE.anew.str.fullmatch(f"{training}( && {measure})?").all()


def printed(monkeypatch, capsys, *words: str) -> str:
    """What the command prints with these words, run in this process."""
    monkeypatch.setattr(sys, "argv", ["verdicts", *words])
    verdicts.main()
    return capsys.readouterr().out


def check(row: pd.Series, claim: str, out: str) -> None:
    """A verdict and its numbers are in what was printed."""
    assert f"{claim}. {row.says}: {row.verdict} ({row.evidence})" in out
    assert f"difference: {row.difference}\n" in out
    assert f"seeds: {row.seeds}\n" in out


@pytest.mark.parametrize("claim", TABLE.index)
def test_each_rows_command_recomputes_it(monkeypatch, capsys, claim):
    row = TABLE.loc[claim]
    python, option, module, *words = shlex.split(row.recompute)
    assert (python, option, module) == (".venv/bin/python", "-m", "pipeline.evidence.verdicts")
    check(row, claim, printed(monkeypatch, capsys, *words))


def test_the_command_as_a_reader_types_it():
    given = [sys.executable, "-m", "pipeline.evidence.verdicts", "1"]
    options = {"capture_output": True, "text": True, "env": environment(ROOT)}
    done = subprocess.run(given, cwd=ROOT, **options)
    assert done.returncode == 0, done.stderr
    check(TABLE.loc["1"], "1", done.stdout)


@pytest.mark.parametrize("claims", verdicts.MAKERS, ids="-".join)
def test_the_claims_that_are_known_are_those_that_are_judged(tmp_path, claims):
    """Before there is any result: so that unknown ones can be refused before any work."""
    found = verdicts.MAKERS[claims](arms_of(tmp_path))
    assert tuple(finding.claim for finding in found) == claims
    assert set(claims) <= set(TABLE.index)


@pytest.mark.parametrize("words", [("1z",), ("1", "11"), ("all",)])
def test_an_unknown_claim_gives_one_clear_error(monkeypatch, words):
    monkeypatch.setattr(verdicts, "MAKERS", dict.fromkeys(verdicts.MAKERS))  # nothing is computed
    monkeypatch.setattr(sys, "argv", ["verdicts", *words])
    with pytest.raises(SystemExit) as stopped:
        verdicts.main()
    known = ", ".join(TABLE.index)
    assert str(stopped.value) == f"CLAIM = {words[-1]} is not allowed: the claims are {known}."


@pytest.mark.parametrize("module", [precision, reference, verdicts])
def test_results_are_not_read_from_a_folder_that_is_not_there(module, monkeypatch, tmp_path):
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(sys, "argv", ["a command", "--reports", str(nowhere)])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert str(stopped.value).startswith(f"reports = {str(nowhere)!r} is not allowed")
    assert not nowhere.exists()


# --- All claims at once ---------------------------------------------------------------------------


def test_all_are_written_whatever_has_become_nan(monkeypatch, capsys, tmp_path):
    arms = arms_of(tmp_path)
    fill(arms, "kappa10", "kappa20", "simclr", seeds=(0,))
    pair = (level(30, 40, 50, 60), level(20, 30, 40, 50))
    keep_all(arms, "kappa10", "e", seeds=(0, 1), linear=pair)
    lost = {("kappa1", "d"): 1, ("dino", "d"): 8, ("simclr", "e"): 1, ("kappa1", "e"): 9}
    for (name, line), epoch in lost.items():
        keep(arms(name, line).every[0], pair if line == "e" else pair[0], nan_in=epoch)
    words = ("--reports", str(tmp_path))
    assert "21 verdicts, from 9 runs" in printed(monkeypatch, capsys, *words)
    rows = pd.read_csv(tmp_path / "verdicts/table.csv", index_col="claim")
    assert "loss became NaN: kappa1 seed 0" in rows.difference["2"]
    assert "2 failures in" not in rows.difference["7"]
    assert rows.verdict.drop(["10", "10b"]).eq("unfinished").all()
    runs = pd.read_csv(tmp_path / "verdicts/runs.csv").set_index(["line", "run"])
    assert runs.state["d", "kappa1_seed0"] == "collapsed"
    assert (runs.state == "finished").sum() == 5
    curves = pd.read_csv(tmp_path / "verdicts/curves.csv").set_index(["line", "run"])
    assert curves.loc[("d", "dino")].epoch.tolist() == [1, 2, 3, 4, 5, 6]
    e = curves.loc[("e", "kappa10")].query("seed == 0 and epoch == 70")
    assert e[["knn_far", "knn_near"]].values.tolist() == [[60, 50]]


def test_results_of_another_configuration_are_refused_in_one_sentence(monkeypatch, tmp_path):
    arms = arms_of(tmp_path)
    fill(arms, "kappa10", seeds=(0,))
    arms("kappa10").every[0].results.rename(tmp_path / "late_a/kappa20_seed0")
    monkeypatch.setattr(sys, "argv", ["verdicts", "1", "--reports", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds a run of another configuration") as stopped:
        verdicts.main()
    assert "\n" not in str(stopped.value)


# --- Far and near classes -------------------------------------------------------------------------


def test_far_and_near_classes_are_twenty_numbered_in_the_order_of_their_names():
    assert len(IMAGENETTE) == len(IMAGEWOOF) == 10
    assert len(set(CLASSES)) == 20 and sorted(CLASSES) == CLASSES
    names = [CLASSES[label] for label in range(20) if is_far(pd.Series(range(20)))[label]]
    assert names == sorted(IMAGENETTE)
    for wordnet_id in CLASSES:
        assert wordnet_id[0] == "n" and len(wordnet_id) == 9 and wordnet_id[1:].isdigit()


@pytest.mark.skipif("INFOMAX_DATA" not in os.environ, reason="INFOMAX_DATA names no data")
def test_far_and_near_classes_are_those_of_the_data():
    folder = Path(os.environ["INFOMAX_DATA"]) / "imagenette_imagewoof"
    if not folder.is_dir():
        pytest.skip("INFOMAX_DATA has no imagenette_imagewoof")
    table = pd.read_csv(folder / "superclasses.csv")
    sets = table.groupby("superclass")["class"].agg(set)
    assert sets["imagenette"] == set(IMAGENETTE)
    assert sets["imagewoof"] == set(IMAGEWOOF)
    assert sorted(path.name for path in (folder / "train").iterdir()) == CLASSES


def prose_of(notebook: str, cell_id: str) -> str:
    """The text of a notebook's cell, by its number and the cell's id."""
    (path,) = (ROOT / "notebooks").glob(f"{notebook}_*.ipynb")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    (prose,) = ("".join(cell["source"]) for cell in cells if cell.get("id") == cell_id)
    return prose


def kept_numbers() -> pd.DataFrame:
    """The verdicts' differences, by claim and what is compared."""
    found = pd.read_csv(ROOT / "reports/verdicts/numbers.csv", dtype={"claim": str})
    return found.set_index(["claim", "what"])


def test_what_is_said_of_the_branches_is_what_their_verdict_has():
    prose = prose_of("04", "late-04-k")
    claims = prose_of("04", "cell-31")
    tables = (ROOT / "reports" / "README.md").read_text("utf-8")
    numbers = kept_numbers()
    rows = evaluations("kappa10", *(f"beta{beta}_from20" for beta in ("1.25", "1.5", "2")))
    by_run = rows[rows.epoch.between(32, 40)].groupby(["run", "seed"]).mi_density.mean()
    information = by_run.groupby("run").mean()
    assert f"(β = 1: {information.kappa10:.2f})" in prose
    for beta in ("1.25", "1.5", "2"):
        linear, knn = (numbers.loc["4", f"{measure}, β = {beta}"] for measure in ("linear", "knn"))
        assert linear.seeds == knn.seeds == 3
        cells = [beta, interval_in_words(linear), interval_in_words(knn)]
        cells.append(f"{information[f'beta{beta}_from20']:.2f}")
        assert f"| {' | '.join(cells)} |" in prose
        assert interval_in_words(linear) in claims
        assert interval_in_words(linear) in tables


def test_what_is_said_of_a_large_kappa_is_what_its_verdict_has():
    prose = prose_of("03", "late-03-e")
    claims = prose_of("03", "cell-25")
    tables = (ROOT / "reports" / "README.md").read_text("utf-8").replace("\n", " ")
    numbers = kept_numbers().loc["1"]
    early = {}
    late = {}
    for measure in ("linear", "knn"):
        early[measure] = interval_in_words(numbers.loc[f"{measure}, early"])
        late[measure] = interval_in_words(numbers.loc[f"{measure}, late"])
    assert (numbers.seeds.dropna() == 3).all()
    assert TABLE.loc["1", "verdict"] == "undecided"
    points = early["linear"].replace(" ", " points ", 1)
    assert f"is {points} by the linear head over epochs 1 to 5" in prose
    assert f"and {late['linear']} over epochs 52 to 60" in prose
    assert f"(k-NN: {early['knn']} and {late['knn']})" in prose
    assert points in claims
    assert late["linear"].replace(" ", " points ", 1) in claims
    assert f"{early['linear']} points early and {late['linear']} late by the linear head" in tables
    assert f"{early['knn']} and {late['knn']} by k-NN" in tables
    rows = evaluations("kappa10", "kappa20", lines="ac")
    shares = rows[rows.epoch == 60].groupby("run").nn_positive.mean()
    about = prose_of("03", "late-03-g")
    assert f"ends at {shares.kappa10:.2f} (κ = 10) and {shares.kappa20:.2f} (κ = 20)" in about
    heads = {
        when: rows[rows.epoch.between(*epochs)].groupby("run").linear_top1.mean()
        for when, epochs in {"before": (32, 40), "late": (52, 60)}.items()
    }
    gains = (heads["late"] - heads["before"]).round(1)
    assert gains.nunique() == 1
    assert f"gains {gains.kappa10:.1f} points at either" in about


def test_what_is_said_of_a_small_weight_is_what_its_verdicts_have():
    prose = prose_of("04", "late-04-k")
    claims = prose_of("04", "cell-31")
    tables = (ROOT / "reports" / "README.md").read_text("utf-8").replace("\n", " ")
    early = {}
    late = {}
    above = {}
    for measure in ("linear", "knn"):
        less_one = kept_numbers().loc["3"].filter(like=f"β = 0.1 less 1, {measure}", axis=0)
        assert less_one.seeds.tolist() == [3, 3, 3]
        early[measure], late[measure], _ = less_one.apply(interval_in_words, axis=1)
        higher = kept_numbers().loc["3b", f"β = 0.75 less 0.1, {measure}, difference"]
        above[measure] = interval_in_words(higher)
    assert TABLE.loc[["3", "3b"], "verdict"].tolist() == ["does not hold"] * 2
    points = early["linear"].replace(" ", " points ", 1)
    assert f"are {points} from β = 1 by the linear head over epochs 1 to 5" in prose
    assert f"and {late['linear']} over epochs 52 to 60" in prose
    assert f"(k-NN: {early['knn']} and {late['knn']})" in prose
    assert f"by {above['linear'].replace(' ', ' points ', 1)} (k-NN {above['knn']})" in prose
    assert points in claims
    assert f"By the linear head it ends {late['linear']} from β = 1" in claims
    assert f"{early['linear']} points from β = 1 early" in tables
    assert f"{late['linear']} late by the linear head, {early['knn']} and {late['knn']}" in tables


def test_what_is_said_of_a_stronger_global_term_is_what_its_verdict_has():
    """Differences with their intervals, and information."""
    prose = prose_of("04", "late-04-k")
    claims = prose_of("04", "cell-31")
    tables = (ROOT / "reports" / "README.md").read_text("utf-8").replace("\n", " ")
    numbers = kept_numbers().loc["4c"]
    linear, knn = (
        numbers.loc[f"β = 0.75 less 1, {measure}, difference"] for measure in ("linear", "knn")
    )
    assert linear.seeds == knn.seeds == 3
    assert TABLE.loc["4c", "verdict"] == "holds"
    texts = [interval_in_words(linear), interval_in_words(knn)]
    points = [text.replace(" ", " points ", 1) for text in texts]
    assert f"{points[0]} above β = 1 by the linear head and {texts[1]} by k-NN" in prose
    assert f"by {points[0]} (linear head) and {points[1]} (k-NN)" in claims
    assert f"{texts[0]} (linear head) and {texts[1]} (k-NN) points above β = 1" in tables
    probe = numbers.loc["β = 0.75 less 1, converged probe", "mean"]
    assert f"the converged probe: {probe:+.1f})" in prose
    rows = evaluations("kappa10", "beta0.75", lines="ac")
    nats = rows[rows.epoch >= 52].groupby("run").mi_density.mean()
    apart = f"{nats['beta0.75']:.2f} nats against {nats.kappa10:.2f}"
    assert apart in prose and apart in claims and apart in tables


def test_what_is_said_of_the_branch_that_counts_as_collapsed_is_what_its_seeds_did():
    """By a sum of its own, of the evaluations at epochs 32 to 40 and 12 to 20."""
    prose = prose_of("04", "late-04-k")
    rows = evaluations("kappa10", "beta2_from20", lines="abc")
    trunk = rows[(rows.run == "kappa10") & rows.epoch.between(12, 20)]
    branch = rows[(rows.run == "beta2_from20") & rows.epoch.between(32, 40)]
    tops = ["linear_top1", "knn_top1"]
    before, after = (table.groupby("seed")[tops].mean() for table in (trunk, branch))
    fallen, *others = sorted((after - before).to_numpy().ravel())
    assert f"ends {-fallen:.1f} points below where the branch began" in prose
    assert f"rise, by {min(others):.1f} to {max(others):.1f} points" in prose
    assert f"(k-NN, seed 2: −{-fallen:.1f} points since epoch 20)" in TABLE.loc["4", "difference"]
    branches = evaluations(*(f"beta{beta}_from20" for beta in ("1.25", "1.5", "2")), lines="bc")
    least = branches[branches.epoch > 20].effective_rank.min()
    assert f"stays above {5 * int(least / 5)}." in prose


def test_what_is_said_of_simclr_is_what_its_verdict_has():
    tables = (ROOT / "reports" / "README.md").read_text("utf-8")
    cells = ("late-08-e", "late-08-i", "d08-paper", "d08-summary")
    late, doubts, claims, summary = (prose_of("08", cell) for cell in cells)
    numbers = kept_numbers()
    for reckoning in ("epochs", "compute"):
        linear, knn = (
            numbers.loc["5", f"equal {reckoning}, {measure}, difference"]
            for measure in ("linear", "knn")
        )
        assert linear.seeds == knn.seeds == 3
        both = f"{interval_in_words(linear)} and {interval_in_words(knn)}"
        assert both in late and both in tables
        first, _, brackets = interval_in_words(linear).partition(" ")
        assert f"{first} points {brackets}" in claims
        assert f"{first[1:]} " in summary
    rows = evaluations("kappa10", "simclr", lines="ac")
    windows = {"before": rows[rows.epoch.between(32, 40)], "late": rows[rows.epoch >= 52]}
    heads = {when: part.groupby("run").linear_top1.mean() for when, part in windows.items()}
    gains = heads["late"] - heads["before"]
    assert f"gains {gains.simclr:.1f} points and ours {gains.kappa10:.1f}," in doubts
    leads = [heads[when].kappa10 - heads[when].simclr for when in ("before", "late")]
    assert "the lead falls from {:.1f} to {:.1f} (".format(*leads) in doubts
    steps = pd.read_csv(ROOT / "reports/benchmarks/cpu_late_step.csv").set_index("candidate")
    by_time = int(60 * steps.share_of_first.SimCLR)
    (when,) = verdict_rows(["5"]).when
    assert f"by time on one core epoch {by_time}" in when
    assert f"on one core ours would stop at epoch {by_time}," in doubts
    means = late_means(rows, ["linear_top1", "knn_top1"])
    ours, simclr = (means.loc[run].mean() for run in ("kappa10", "simclr"))
    ends = "{:.1f}% by the linear head and {:.1f}% by k-NN, SimCLR {:.1f} and {:.1f}%"
    assert ends.format(*ours, *simclr) in late
    assert f"{ours.linear_top1:.1f}% against {simclr.linear_top1:.1f}%" in claims


def test_what_is_said_of_supervised_training_is_what_its_verdicts_have():
    """Beside the distances in the paper's table."""
    prose = prose_of("08", "late-08-e")
    claims = prose_of("08", "d08-paper")
    tables = (ROOT / "reports" / "README.md").read_text("utf-8").replace("\n", " ")
    paper = pd.read_csv(REPORTS / "paper_table1.csv").set_index(["dataset", "method"])
    rows = paper.loc["CIFAR-10", ["linear_top1", "knn_top1"]]
    apart = rows.loc["Supervised"] - rows.loc["Ours"]
    numbers = kept_numbers().loc["5c"]
    above = {}
    for name in ("ours", "SimCLR"):
        for measure in ("linear", "knn"):
            row = numbers.loc[f"less {name}, {measure}, difference"]
            assert row.seeds == 3
            above[name, measure] = interval_in_words(row)
    linear = above["ours", "linear"]
    knn = above["ours", "knn"]
    papers_two = f"{apart.linear_top1:.1f} and {apart.knn_top1:.1f}"
    assert f"is {linear} and {knn} points above ours" in prose
    assert f"the paper's two are {papers_two} apart" in prose
    assert f"{linear} (linear head) and {knn} (k-NN)" in tables
    assert f"in the paper's table {papers_two}." in tables
    for name in ("ours", "SimCLR"):
        first, _, brackets = above[name, "linear"].partition(" ")
        assert f"{first} points {brackets} above {name}" in claims


def test_what_09_says_of_line_e_is_what_its_verdicts_have():
    """Each difference of claims 7 to 7c with its interval, and the square of the dogs."""
    prose = prose_of("09", "late-09-k")
    numbers = kept_numbers()
    for claim in ("7", "7b", "7c"):
        for measure in ("linear", "knn"):
            row = numbers.loc[claim, f"{measure}, difference"]
            assert row.seeds == 3
            assert interval_in_words(row) in prose
    assert interval_in_words(numbers.loc["9", "difference"], 3) in prose
    references = pd.read_csv(ROOT / "reports/late_reference/table.csv").query("dataset == 'folder'")
    square = (references.alike_near - references.alike_far).groupby(references.network).mean()
    ours = f"is {square.kappa10:.2f} in ours, {square['raw pixels']:.2f} in raw pixels"
    assert f"{ours} and {square.untrained:.2f} in untrained" in prose


def test_each_committed_reference_has_one_record_of_a_clean_checkout():
    folder = ROOT / "reports/late_reference"
    rows = pd.read_csv(folder / "table.csv")
    records = json.loads((folder / "records.json").read_text("utf-8"))
    recorded = [
        (record["config"]["dataset"], row) for record in records for row in record["measured"]
    ]
    named = rows.network + ", seed " + rows.seed.astype(str)
    assert sorted(recorded) == sorted(zip(rows.dataset, named, strict=True))
    assert all(len(record["commit"]) == 40 for record in records)  # no `-modified`
