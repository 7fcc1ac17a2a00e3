"""The table of claims: README and site say what `reports/` holds, and how sure it is."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infomax_nb.errors import ParameterError
from pipeline import claims, readme
from pipeline.site import front

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FOUND = claims.claims()


def claim(words: str) -> claims.Claim:
    """The claim that holds these words."""
    (found,) = [each for each in FOUND if words in each.paper]
    return found


def test_the_readme_has_the_table_as_it_is_computed():
    assert readme.with_table(README, readme.table(FOUND)) == README


def test_a_table_replaces_an_older_one():
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    assert readme.with_table(text, "new") == text.replace("old", "new")


@pytest.mark.parametrize("mark", [readme.BEGIN, readme.END])
@pytest.mark.parametrize("times", [0, 2])
def test_a_text_without_its_marks_is_refused(mark, times):
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n".replace(mark, times * mark)
    with pytest.raises(ParameterError, match=f"README.md = '{times} times <!-- .* is not allowed"):
        readme.with_table(text, "new")


def test_every_standing_is_counted_once():
    numbers = [int(number) for number in re.findall(r"\b\d+\b", claims.summary(FOUND))]
    assert numbers[0] == len(FOUND) == sum(numbers[1:])


def test_the_count_of_claims_is_a_sentence():
    one = next(each for each in FOUND if each.standing == "holds")
    two = [each for each in FOUND if each.standing == "open"][:2]
    said = "Of 3 claims 1 holds in what was run, 0 do not, and 2 are open: undecided"
    assert claims.summary([one, *two]).startswith(said)


def test_the_first_page_has_each_claim_with_its_verdict_evidence_and_links():
    table = front.claims_table(FOUND).splitlines()
    assert len(table) == len(FOUND) + 2
    for line, each in zip(table[2:], FOUND, strict=True):
        for part in (each.paper, each.place, each.verdict, each.found, each.evidence):
            assert part in line
        for words, path in each.links.items():
            number = words.removeprefix("verdict ")
            target = path if number == words else f"#verdict-{number}"
            assert f"({target})" in line


@pytest.mark.parametrize("each", FOUND, ids=lambda each: each.paper)
def test_what_a_claim_links_to_is_there(each):
    assert each.links
    assert all((ROOT / path).exists() for path in each.links.values())


@pytest.mark.parametrize("each", FOUND, ids=lambda each: each.paper)
def test_a_number_of_seeds_is_that_of_the_records(each):
    """Of the first result that a claim links to."""
    seeds = re.search(r"^early, (\d+) seeds?", each.evidence)
    if seeds is None:
        known = ("arithmetic", "simulation", "random split", "none")
        assert each.evidence in known or re.match("(early and )?late, [0-9]", each.evidence)
        return
    folder = ROOT / next(iter(each.links.values()))
    records = json.loads((folder / "records.json").read_text())
    assert int(seeds[1]) == len({record["config"]["seed"] for record in records})


def test_the_interval_of_a_larger_kappa_is_scipys():
    rows = pd.read_csv(ROOT / "reports" / "kappa_cifar10" / "metrics.csv")
    ends = rows[rows.epoch == 10].pivot(index="seed", columns="kappa", values="linear_top1")
    test = stats.ttest_rel(ends[10.0], ends[1.0])
    low, high = test.confidence_interval(0.95)
    mean = (ends[10.0] - ends[1.0]).mean()
    assert f"+{mean:.1f} [{low:.1f}, {high:.1f}]" in claim("Larger κ").found


def test_the_early_interval_of_a_small_weight_is_scipys():
    rows = pd.read_csv(ROOT / "reports" / "beta_cifar10" / "metrics.csv")
    second = rows[rows.epoch == 2].pivot(index="seed", columns="beta", values="linear_top1")
    low, high = stats.ttest_rel(second[0.1], second[1.0]).confidence_interval(0.95)
    mean = (second[0.1] - second[1.0]).mean()
    interval = f"{mean:.1f} [{low:.1f}, {high:.1f}]".replace("-", "−")
    assert claims.small_weight().found == f"β = 0.1 less 1: {interval} after 2 epochs"


def test_a_random_hundred_by_drawing():
    """The least that ImageNet-1000's network has on a hundred classes, by simulation.

    An image whose class is among the first five ranks fifth, another last: right if no other of
    the hundred classes ranks before it.
    """
    draw = np.random.default_rng(0)
    row = claims._paper("IM-1000", "Ours")
    hits = []
    for rank in (5, 1000):
        others = [draw.choice(999, 99, replace=False) for _ in range(4000)]
        hits.append(np.mean([(drawn >= rank - 1).all() for drawn in others]))
    expected = row.linear_top1 + (row.linear_top5 - row.linear_top1) * hits[0]
    expected += (100 - row.linear_top5) * hits[1]
    assert claims._of_a_random_hundred() == pytest.approx(expected, abs=0.5)
    assert f"{claims._of_a_random_hundred():.1f}%" in claim("ImageNet-100's").found


LATE_CLAIMS = {"Larger κ": "1b", "Large κ": "1", "Small β": "3", "weaker": "4"}
LATE_CLAIMS |= {"Competitive": "5", "stably": "6"}


@pytest.mark.parametrize("words", LATE_CLAIMS)
def test_a_claim_says_how_many_of_the_plans_seeds_are_there_or_has_its_verdict(words):
    table = pd.read_csv(ROOT / "reports" / "verdicts" / "table.csv", dtype={"claim": str})
    row = table.set_index("claim").loc[LATE_CLAIMS[words]]
    found = claim(words)
    assert "reports/verdicts" in found.links.values()
    if row.verdict == "unfinished":
        assert found.evidence.endswith(f"; plan {row.seeds.replace(' of ', '/')}")
    else:
        assert found.verdict == row.verdict.capitalize()
        assert found.evidence == f"{row.evidence}, {row.seeds.partition(' of ')[0]} {row.unit}s"


@pytest.mark.parametrize("answer", ["holds", "does not hold", "undecided"])
def test_a_finished_verdict_takes_the_place_of_an_early_one(tmp_path, answer):
    table = pd.read_csv(ROOT / "reports" / "verdicts" / "table.csv", dtype={"claim": str})
    chosen = table.claim == "1"
    brief = "linear head early +1.2; late −1.5; gain −0.4"
    table.loc[chosen, ["verdict", "seeds", "brief"]] = (answer, "3 of 3", brief)
    (tmp_path / "verdicts").mkdir()
    table.to_csv(tmp_path / "verdicts" / "table.csv", index=False)
    found = claims.with_late(claims.large_kappa_late(), "1", tmp_path)
    assert found.verdict == answer.capitalize()
    assert found.standing == {"undecided": "open"}.get(answer, answer)
    assert found.found == f"κ = 20 less κ = 10: {brief}"
    assert found.evidence == "late, 3 seeds"
    assert next(iter(found.links.values())) == "reports/verdicts"


def test_a_verdict_on_a_part_of_a_claim_names_that_part(tmp_path):
    table = pd.read_csv(ROOT / "reports" / "verdicts" / "table.csv", dtype={"claim": str})
    chosen = table.claim == "9"
    table.loc[chosen, ["verdict", "seeds", "brief"]] = ("holds", "3 of 3", "+0.2 [0.1, 0.3]")
    (tmp_path / "verdicts").mkdir()
    table.to_csv(tmp_path / "verdicts" / "table.csv", index=False)
    words = {"says": "Dogs are alike", "compared": "beyond cats"}
    found = claims.with_late(claims.centroids(), "9", tmp_path, **words)
    assert found.paper == "Dogs are alike"
    assert found.found == "beyond cats: +0.2 [0.1, 0.3]"
    table.loc[chosen, "verdict"] = "unfinished"
    table.to_csv(tmp_path / "verdicts" / "table.csv", index=False)
    assert (
        claims.with_late(claims.centroids(), "9", tmp_path, **words).paper
        == "Class centroids follow meaning"
    )


def test_the_readme_is_short():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120
    assert max(map(len, lines)) <= 132  # rows of tables
