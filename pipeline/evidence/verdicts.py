"""`python -m pipeline.evidence.verdicts [CLAIM ...]`: the plan's verdicts, from what is kept.

Without a claim all of them are computed and written to `reports/verdicts/`: `table.csv` with a row
for each claim, `numbers.csv` with one for each test, `curves.csv` with the accuracies of every
finished run, `runs.csv` with which runs are there, `effects.csv` with the factorial's effects. With
claims, such as `1 4b`, these are computed from the kept predictions and printed, and nothing is
written.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from infomax_nb.errors import ParameterError
from infomax_nb.files import atomic_write
from infomax_nb.train.run import Run
from pipeline.command import in_a_sentence, until_read
from pipeline.evidence import late_claims, lead_claim, other_claims, weight_claims
from pipeline.evidence.arms import Arms
from pipeline.evidence.class_sets import right_within
from pipeline.evidence.finding import Finding
from pipeline.evidence.places import evidence_parser, kept_places_of
from pipeline.evidence.runs import Planned
from pipeline.evidence.state import exported

FOLDER = "verdicts"
VEHICLES = (0, 1, 8, 9)  # airplane, automobile, ship and truck among CIFAR-10's classes
MAKERS = {  # by the claims that they judge, in this order
    ("1", "1b"): late_claims.large_kappa,
    ("2", "2b", "2c"): late_claims.small_kappa,
    ("3", "3b"): weight_claims.constant_beta,
    ("4", "4b", "4c"): weight_claims.weaker_global_term,
    ("5", "5b", "5c"): late_claims.methods,
    ("6",): other_claims.stability,
    ("7", "7b", "7c"): other_claims.coarseness,
    ("8",): other_claims.on_objects,
    ("9",): other_claims.dogs,
    ("10", "10b"): lead_claim.lead,
}
CURVE_COLUMNS = [
    "linear_top1",
    "knn_top1",
    "effective_rank",
    "nn_positive",
    "mi_density",
    "grad_over_kappa",
]


def findings(arms: Arms) -> list[Finding]:
    """All verdicts, in the plan's order."""
    return [finding for make in MAKERS.values() for finding in make(arms)]


def findings_of(claims: list[str], arms: Arms) -> list[Finding]:
    """The verdicts on these claims; others are computed only as far as they come along.

    Raises:
        ParameterError: the plan has no such claim. Then nothing has been computed.
    """
    makers = {claim: make for judged, make in MAKERS.items() for claim in judged}
    for claim in claims:
        if claim not in makers:
            known = ", ".join(makers)
            raise ParameterError(f"CLAIM = {claim} is not allowed: the claims are {known}.")
    wanted = {makers[claim] for claim in claims}
    found = {finding.claim: finding for make in wanted for finding in make(arms)}
    return [found[claim] for claim in claims]


def table(found: list[Finding]) -> pd.DataFrame:
    """A row for each verdict."""
    return pd.DataFrame([finding.row for finding in found]).set_index("claim")


def numbers(found: list[Finding]) -> pd.DataFrame:
    """A row for each number behind the verdicts: a difference with its interval, in points.

    Intervals are 90%, those of claim 10, whose tests are two-sided, 95%. Claim 6 has a count, and
    the upper 95% limit of its rate in percent; claim 9 has cosines.
    """
    rows = []
    for finding in found:
        for name, row in finding.verdict.numbers.iterrows():
            parts = name if isinstance(name, tuple) else (name,)
            words = ", ".join(str(part) for part in parts if part)
            known = {column: row.get(column) for column in ("mean", "low", "high", "seeds")}
            rows.append({"claim": finding.claim, "what": words, **known})
    columns = ["claim", "what", "mean", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns).set_index("claim")


def curves(arms: Arms) -> pd.DataFrame:
    """The evaluations of every finished run: a row for each run and epoch, accuracies in percent.

    Runs of line e have accuracies among far and among near classes, too; those on CIFAR-10 the
    share of images that are taken for an animal or a vehicle rightly.
    """
    tables = []
    for planned in arms.planned:
        if not planned.line.isalpha() or not exported(planned):
            continue
        run = Run(planned.results)
        metrics = run.metrics
        if "linear_top1" not in metrics:  # its loss became NaN before that
            continue
        known = [name for name in ("epoch", *CURVE_COLUMNS) if name in metrics]
        rows = metrics.loc[metrics.linear_top1.notna(), known]
        beside = far_near(run) if planned.config.dataset == "folder" else right_group(run)
        rows = rows.merge(beside, on="epoch", how="left")
        name = planned.label.rpartition("_seed")[0]
        where = {"line": planned.line, "run": name, "seed": planned.config.seed}
        tables.append(rows.assign(**where))
    if not tables:
        return pd.DataFrame(columns=["line", "run", "seed", "epoch", *CURVE_COLUMNS])
    return pd.concat(tables).set_index(["line", "run", "seed", "epoch"])


def far_near(run: Run) -> pd.DataFrame:
    """Accuracies in percent among far and among near classes, a row for each evaluation."""
    kept = run.predictions
    columns = {"epoch": kept["epochs"]}
    for measure in ("linear", "knn"):
        far, near = right_within(kept, measure)
        columns[f"{measure}_far"] = far.mean(1)
        columns[f"{measure}_near"] = near.mean(1)
    return pd.DataFrame(columns)


def right_group(run: Run) -> pd.DataFrame:
    """How often animals are taken for animals and vehicles for vehicles, percent, on CIFAR-10."""
    kept = run.predictions
    vehicle = np.isin(np.arange(10), VEHICLES)
    columns = {"epoch": kept["epochs"]}
    for measure in ("linear", "knn"):
        same = vehicle[kept[measure]] == vehicle[kept["labels"]]
        columns[f"{measure}_group"] = 100.0 * same.mean(1)
    return pd.DataFrame(columns)


def finished(arms: Arms) -> pd.DataFrame:
    """Which of the plan's runs are there, a row for each."""
    rows = [
        {
            "line": run.line,
            "run": run.label,
            "epochs": run.config.epochs,
            "state": state_in_words(run),
        }
        for run in arms.planned
        if run.line.isalpha()
    ]
    return pd.DataFrame(rows).set_index(["line", "run"])


def state_in_words(run: Planned) -> str:
    """Whether a run's results are there, in a word."""
    state = exported(run)
    return state.kind if state else "not finished"


def effects(arms: Arms) -> pd.DataFrame:
    """The factorial's effects with 95% intervals, in points, at equal epochs and equal compute."""
    columns = ["mean", "low", "high", "seeds", "p_holm"]
    kinds = {f"equal {kind}": lead_claim.factorial(arms, kind) for kind in ("epochs", "compute")}
    tables = [table[columns].assign(series=kind) for kind, table in kinds.items() if len(table)]
    if not tables:
        return pd.DataFrame(columns=["measure", "effect", *columns, "series"]).set_index("measure")
    return pd.concat(tables)


def tables(arms: Arms) -> dict[str, pd.DataFrame]:
    """All verdicts and what is behind them, by the name of the file that keeps it."""
    found = findings(arms)
    return {
        "table": table(found),
        "numbers": numbers(found),
        "curves": curves(arms),
        "runs": finished(arms),
        "effects": effects(arms),
    }


def keep(arms: Arms) -> str:
    """Compute all verdicts and write them.

    Returns:
        What was written, as a sentence.
    """
    folder: Path = arms.places.reports / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    computed = tables(arms)
    for name, frame in computed.items():
        path = folder / f"{name}.csv"
        atomic_write(path, partial(frame.to_csv, float_format="%.6g"))
    there = (computed["runs"].state != "not finished").sum()
    return f"{folder} holds {len(computed['table'])} verdicts, from {there} runs"


def described(finding: Finding) -> str:
    """A verdict in lines of text."""
    row = finding.row
    names = ("contrast", "difference", "when", "seeds", "unit", "data", "network", "steps")
    lines = [f"{row['claim']}. {row['says']}: {row['verdict']} ({row['evidence']})"]
    return "\n".join([*lines, *(f"   {name}: {row[name]}" for name in names)])


def main() -> None:
    """Print some verdicts, or write all."""
    arguments = evidence_parser("verdicts", __doc__)
    arguments.add_argument("claims", nargs="*", metavar="CLAIM", help="such as 1 or 4b")
    given = arguments.parse_args()
    with in_a_sentence():
        arms = Arms(kept_places_of(given))
        if not given.claims:
            print(keep(arms))
            return
        found = findings_of(given.claims, arms)
        print("\n".join(described(finding) for finding in found))


if __name__ == "__main__":
    until_read(main)
