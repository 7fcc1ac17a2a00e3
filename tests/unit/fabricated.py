"""Results of the plan's runs, made up: chosen accuracies in files that `Run` takes for a run's own.

The accuracies of a run are exact. Which images it gets right is decided by how hard they are, which
is the same for all runs, and by a little noise of its own.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from checkout import ROOT

from infomax_nb.evaluation.curves import scheduled
from infomax_nb.files import file_digest
from infomax_nb.train.run import Run
from pipeline.evidence.arms import Arms
from pipeline.evidence.class_sets import is_far
from pipeline.evidence.places import Places
from pipeline.evidence.runs import Planned

IMAGES = 400  # so accuracies are multiples of a quarter, in percent
MEASURES = ("linear", "knn")
# Trained by a commit that had the plan before it.
COMMIT = json.loads((ROOT / "reports/late_a/kappa10_seed0/record.json").read_text())["commit"]

# Accuracies in the first epochs, up to 24, up to 40, and at the end. Ours with κ = 10 ends above
# SimCLR, but is far below it at epochs 16 to 24, where it has cost what SimCLR has.
CURVES = {
    "kappa10": (50, 55, 60, 70),
    "kappa20": (60, 55, 60, 60),
    "kappa1": (40, 50, 50, 70),
    "beta0.1": (60, 50, 50, 50),
    "beta0.75": (50, 50, 50, 60),
    "beta1.25_from20": (50, 55, 70, 70),
    "beta1.5_from20": (50, 55, 70, 70),
    "beta2_from20": (50, 55, 70, 70),
    "simclr": (50, 50, 50, 60),
    "supervised": (60, 70, 80, 90),
    "vicreg": (50, 60, 70, 80),
    "barlow_twins": (50, 60, 70, 80),
    "byol": (40, 50, 50, 60),
    "dino": (50, 60, 70, 72),
}
SPREADS = {"kappa20": (0.5, 0.25, 0.5), "beta0.1": (0.25, 0.0, 1.0), "kappa1": (0.0, 0.25, 0.75)}


def arms_of(reports: Path) -> Arms:
    """The plan's arms, with results in this folder."""
    return Arms(Places(reports=reports))


def level(first: float, start: float, middle: float, end: float) -> dict[int, float]:
    """A curve in four steps, percent by epoch: 1 to 6, 8 to 24, 26 to 40, from 42 on."""
    steps = {6: first, 24: start, 40: middle, 200: end}
    return {
        epoch: next(value for last, value in steps.items() if epoch <= last)
        for epoch in scheduled(200)
    }


def right(curve: Mapping[int, float], epochs: list[int], images: int, key: str) -> np.ndarray:
    """Which images are classified rightly after each of the epochs, bool (evaluations, images)."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).normal(size=images)
    hardness = np.random.default_rng(0).permutation(images) / images + 0.02 * noise
    rank = hardness.argsort().argsort()
    return np.stack([rank < round(curve[epoch] * images / 100) for epoch in epochs])


def predictions_of(key: str, curves: dict, epochs: list[int], images: int, classes: int) -> dict:
    """The arrays of `predictions.npz`.

    With twenty classes, a curve is a pair, of the far and of the near classes.
    """
    labels = np.arange(images) % classes
    arrays = {"epochs": np.array(epochs), "labels": labels.astype(np.uint8)}
    for measure, curve in curves.items():
        hit = np.zeros((len(epochs), images), bool)
        sets = {True: is_far(labels), False: ~is_far(labels)} if classes == 20 else {}
        for of_far, chosen in sets.items():
            part = right(curve[0 if of_far else 1], epochs, chosen.sum(), f"{key}{of_far}")
            hit[:, chosen] = part
        if not sets:
            hit = right(curve, epochs, images, key + measure)
        predicted = np.where(hit, labels, (labels + 1) % classes).astype(np.uint8)
        arrays[measure] = predicted
        if sets:
            arrays[f"{measure}_within"] = predicted
    return arrays


def keep(
    run: Planned,
    linear,
    knn=None,
    probe: float | None = None,
    rank: float = 100.0,
    nan_in: int | None = None,
    images: int = IMAGES,
) -> None:
    """Keep results of a run of the plan.

    Args:
        run: the run.
        linear: its accuracies by epoch, as `level` gives them, or a pair for far and near classes.
        knn: those by k-NN; the same if none are given.
        probe: the converged probe's accuracy.
        rank: the effective rank of its features.
        nan_in: the epoch in which its loss became NaN.
        images: number of test images.
    """
    last = run.config.epochs if nan_in is None else nan_in - 1
    epochs = scheduled(last)
    classes = 20 if run.config.dataset == "folder" else 10
    curves = {"linear": linear, "knn": linear if knn is None else knn}
    folder = run.results
    folder.mkdir(parents=True, exist_ok=True)
    metrics = pd.DataFrame({"epoch": range(1, last + 1)}).set_index("epoch")
    record = {"name": run.config.name, "commit": COMMIT, "predictions": None}
    if epochs:
        arrays = predictions_of(run.label, curves, epochs, images, classes)
        np.savez(folder / "predictions.npz", **arrays)
        record["predictions"] = file_digest(folder / "predictions.npz")
        for measure in MEASURES:
            accuracies = 100 * (arrays[measure] == arrays["labels"]).mean(1)
            metrics[f"{measure}_top1"] = pd.Series(accuracies, index=epochs)
        metrics["effective_rank"] = pd.Series(rank, index=epochs)
    if probe is not None:
        record["probe_top1"] = probe
    if nan_in:
        record["failed"] = f"the loss became NaN in epoch {nan_in}"
    seal(folder, run, metrics, record)


def seal(folder: Path, run: Planned, metrics: pd.DataFrame, record: dict) -> None:
    """Write metrics, configuration and record as the queue does."""
    metrics.to_csv(folder / "metrics.csv")
    values = run.config.model_dump() | {"device": "cpu", "data_root": "data", "runs_dir": "runs"}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    sealed = {**record, "seal": Run(folder).seal(record)}
    (folder / "record.json").write_text(json.dumps(sealed))


def keep_all(
    arms: Arms, name: str, lines: str = "abcd", seeds=(0, 1, 2), spread=(0.0, 0.25, 0.5), **given
) -> None:
    """Keep results of a condition's runs; each seed's curves lie so many points (`spread`) higher.

    `given` is for `keep`.
    """
    for run in arms(name, lines).every:
        seed = run.config.seed
        if seed in seeds:
            keep(run, **{key: shifted(value, spread[seed]) for key, value in given.items()})


def shifted(value, more: float):
    """Curves with so many points more; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(shifted(each, more) for each in value)
    if isinstance(value, Mapping):
        return {epoch: accuracy + more for epoch, accuracy in value.items()}
    return value


def differences(ours, theirs, measure: str, epochs: list[int], seeds=(0, 1, 2)) -> np.ndarray:
    """Ours less theirs at these epochs from the files themselves, points (seeds, images)."""
    tables = []
    for arm in (ours, theirs):
        folders = [run.results for run in arm.every if run.config.seed in seeds]
        kept = [np.load(folder / "predictions.npz") for folder in sorted(folders, key=seed_of)]
        shares = []
        for arrays in kept:
            hit = arrays[measure] == arrays["labels"]
            shares.append(100 * hit[np.isin(arrays["epochs"], epochs)].mean(0))
        tables.append(np.stack(shares))
    return tables[0] - tables[1]


def seed_of(folder: Path) -> int:
    """The seed in a folder's name."""
    return int(folder.name.rpartition("_seed")[2])


def fill(arms, *names, **given) -> None:
    """Keep results of these conditions, with the accuracies of `CURVES`.

    Args:
        arms: the plan's arms.
        names: of conditions.
        given: what `keep_all` shall have instead.
    """
    for name in names:
        spread = SPREADS.get(name, (0.0, 0.25, 0.5))
        whole = {"spread": spread, "linear": level(*CURVES[name]), **given}
        whole.setdefault("probe", float(CURVES[name][3]))
        keep_all(arms, name, **whole)


def by_number(findings) -> dict:
    """Findings by the claim's number."""
    return {finding.claim: finding for finding in findings}
