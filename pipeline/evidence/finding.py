"""A verdict of the plan with what it rests on, and the steps that all claims share."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from infomax_nb.names import in_words
from pipeline.evidence.arms import MEASURES, Arm, common_seeds, probe_difference
from pipeline.evidence.hours import FOLDER_IMAGES
from pipeline.evidence.rules import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNFINISHED,
    Verdict,
    agreed,
    joint_answer,
)

LATE_STEPS = 10_000  # fewer optimiser steps are called early
IMAGES = {"cifar10": 50_000, "folder": FOLDER_IMAGES}
DATA = {
    "cifar10": "CIFAR-10, lossless, all images",
    "folder": "Imagenette and Imagewoof, 32 pixels, all images",
}
WORDS = {"linear": "linear head", "knn": "k-NN"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the plan concludes about one claim.

    Args:
        claim: its number in the plan, with a letter for what stands beside it: `1`, `1b`.
        says: the claim in a few words.
        contrast: what is compared.
        when: the epochs that are compared.
        verdict: the answer and its numbers.
        arms: the conditions that are compared.
        lines: the plan's lines that have their runs, as `make evidence ONLY=` takes them.
        change: what would change our mind.
        unit: what was drawn independently, of which the interval is.
        early: whether it is about the first epochs, whatever the runs' length.
        seeds: the seeds that are there, if they are not those of the arms.
        planned: number of seeds that the plan asks for.
        until: the last epoch that is compared, if it is not the runs' last.
        passed: the last epoch of each arm that is compared, if arms differ in it.
        words: the numbers as text, if they are no differences with intervals.
        short: what stands for the numbers where there is little room, if not the linear head's.
        digits: of the numbers, after the decimal point.
        scale: the numbers' unit, and the level of their intervals.
        note: what else must be said about the numbers.
        measured: commands that measure something with the data, once the runs are there.
    """

    claim: str
    says: str
    contrast: str
    when: str
    verdict: Verdict
    arms: tuple[Arm, ...]
    lines: str
    change: str = ""
    unit: str = "seed"
    early: bool = False
    seeds: int | None = None
    planned: int = 3
    until: int | None = None
    passed: tuple[int, ...] = ()
    words: str = ""
    short: str = ""
    digits: int = 1
    scale: str = "points, 90% intervals"
    note: str = ""
    measured: tuple[str, ...] = ()

    @property
    def finished(self) -> int:
        """Number of seeds for which all that is compared is there."""
        return len(common_seeds(*self.arms)) if self.seeds is None else self.seeds

    @property
    def budgets(self) -> list[tuple[int, int]]:
        """Optimiser steps and epochs up to the last one compared, those that occur; most first."""
        found = set()
        for arm in self.arms:
            epochs = self.until or arm.epochs
            found.add((epochs * steps_an_epoch(arm), epochs))
        return sorted(found, reverse=True)

    @property
    def budget(self) -> tuple[int, int]:
        """The smallest of `budgets`."""
        return self.budgets[-1]

    @property
    def evidence(self) -> str:
        """Late from `LATE_STEPS` optimiser steps on, else early; both where arms differ in that."""
        if self.early or self.budget[0] < LATE_STEPS:
            return "early"
        ends = zip(self.arms, self.passed, strict=True) if self.passed else ()
        late = {epoch * steps_an_epoch(arm) >= LATE_STEPS for arm, epoch in ends}
        if late == {True, False}:
            return "early and late"
        return "early" if late == {False} else "late"

    @property
    def brief(self) -> str:
        """The numbers in fewer words."""
        return self.short or self.words or in_few_words(self.verdict.numbers, self.digits)

    @property
    def found(self) -> str:
        """The numbers as text, and the runs whose loss became NaN."""
        lost = [f"{arm.name} seed {seed}" for arm in self.arms for seed in arm.failed]
        texts = [self.words or numbers_in_words(self.verdict.numbers, self.digits), self.note]
        if lost:
            texts.append(f"loss became NaN: {', '.join(lost)}")
        return "; ".join(text for text in texts if text)

    @property
    def training(self) -> str:
        """The command that trains the runs anew; what `reports/` or `runs/` have would not be."""
        return f"make evidence DATA_ROOT=DIR ONLY={self.lines} REPORTS=NEW RUNS_DIR=NEW/runs"

    @property
    def row(self) -> dict[str, object]:
        """The finding as a row of the table of verdicts."""
        config = self.arms[0].config
        steps, epochs = self.budget
        data = dict.fromkeys(DATA[arm.config.dataset] for arm in self.arms)
        return {
            "claim": self.claim,
            "says": self.says,
            "contrast": self.contrast,
            "verdict": self.verdict.answer,
            "difference": self.found,
            "brief": self.brief,
            "scale": self.scale,
            "evidence": self.evidence,
            "when": self.when,
            "seeds": f"{self.finished} of {self.planned}",
            "unit": self.unit,
            "data": "; ".join(data),
            "network": in_words(config.backbone),
            "epochs": epochs,
            "steps": steps,
            "budgets": " and ".join(f"{n} epochs ({count:,} steps)" for count, n in self.budgets),
            "change": self.change,
            "recompute": f".venv/bin/python -m pipeline.evidence.verdicts {self.claim}",
            "anew": " && ".join([self.training, *self.measured]),
        }


def steps_an_epoch(arm: Arm) -> int:
    """Optimiser steps in an epoch: whole batches of all images."""
    return IMAGES[arm.config.dataset] // arm.config.batch_size


def in_few_words(numbers: pd.DataFrame, digits: int = 1) -> str:
    """Numbers as text: of two measures the linear head's, of many no intervals."""
    few = of_linear_head(numbers)
    if len(few) > 2:
        few = few.assign(low=np.nan, high=np.nan)
    text = numbers_in_words(few, digits)
    measured_twice = len(few) < len(numbers)
    return f"linear head {text}" if measured_twice else text


def of_linear_head(numbers: pd.DataFrame) -> pd.DataFrame:
    """The linear head's rows, without its name, where a verdict has both measures; else all."""
    if not isinstance(numbers.index, pd.MultiIndex):
        return numbers
    rows = numbers[["linear" in name for name in numbers.index]]
    parts = [tuple(part for part in name if part != "linear") for name in rows.index]
    return rows.set_axis(pd.MultiIndex.from_tuples(parts)) if parts else rows


def numbers_in_words(numbers: pd.DataFrame, digits: int = 1) -> str:
    """A verdict's differences with their 90% intervals, in points.

    >>> row = {"mean": 1.25, "low": -0.5, "high": 3.0, "seeds": 3}
    >>> numbers_in_words(pd.DataFrame([row], index=[("knn", "difference")]))
    'k-NN +1.2 [−0.5, 3.0]'
    """
    texts = []
    for name, row in numbers.iterrows():
        parts = name if isinstance(name, tuple) else (name,)
        named = [
            WORDS.get(str(part), str(part)) for part in parts if part not in ("difference", "")
        ]
        words = " ".join(named)
        texts.append(f"{words} {interval_in_words(row, digits)}".strip())
    return "; ".join(texts)


def interval_in_words(row: Mapping | pd.Series, digits: int = 1) -> str:
    """A difference with its interval, if it has one: `+1.2 [−0.5, 3.0]`."""
    if np.isnan(row["mean"]):
        return "none yet"
    text = f"{row['mean']:+.{digits}f}"
    if not np.isnan(row["low"]):
        text += f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return text.replace("-", "−")


def by_both_measures(rule: Callable, ours: Arm, theirs: Arm, probe=True, **options) -> Verdict:
    """A rule's verdict on two arms by the linear head and by k-NN, and where they agree.

    Args:
        rule: one of `rules` for two tables, such as `ahead`.
        ours: an arm.
        theirs: the arm that it is compared with.
        probe: whether the converged probe has a say, as it has where a claim is about the end.
        options: further arguments of the rule.
    """
    if not common_seeds(ours, theirs):
        return Verdict(UNFINISHED, pd.DataFrame())
    converged = probe_difference(ours, theirs) if probe else None
    found = {
        measure: rule(ours.hits(measure), theirs.hits(measure), probe=converged, **options)
        for measure in MEASURES
    }
    both = with_failures(agreed(**found), ours, theirs)
    if converged is None:
        return both
    extra = pd.DataFrame(
        {"mean": converged}, index=pd.MultiIndex.from_tuples([("converged probe", "")])
    )
    return Verdict(both.answer, pd.concat([both.numbers, extra]))


def with_failures(verdict: Verdict, *arms: Arm) -> Verdict:
    """The verdict, undecided where it would stay unfinished because a loss became NaN.

    Such a run counts as one of the planned, and no other takes its place.
    """
    complete = all(arm.complete for arm in arms)
    if verdict.answer == UNFINISHED and complete and any(arm.failed for arm in arms):
        return Verdict(UNDECIDED, verdict.numbers)
    return verdict


def together(parts: dict[str, Verdict]) -> Verdict:
    """The verdict on several at once: it holds if all do, and does not if one does not."""
    tables = {name: part.numbers for name, part in parts.items() if len(part.numbers)}
    numbers = pd.concat(tables) if tables else pd.DataFrame()
    return Verdict(joint_answer(part.answer for part in parts.values()), numbers)


def decided_already(parts: Mapping[str, Verdict]) -> str:
    """Of several verdicts in one that is unfinished, which are refuted, so that it cannot hold."""
    answers = {name: part.answer for name, part in parts.items()}
    refuted = [name for name, answer in answers.items() if answer == FAILS]
    if joint_answer(answers.values()) != UNFINISHED or not refuted:
        return ""
    return f"{' and '.join(refuted)} has all its seeds and does not hold, so the whole cannot"


def either(parts: Iterable[Verdict]) -> str:
    """The answer where one that holds is enough, and all must fail to refute."""
    answers = {part.answer for part in parts}
    for decisive in (UNFINISHED, HOLDS, UNDECIDED):
        if decisive in answers:
            return decisive
    return FAILS
