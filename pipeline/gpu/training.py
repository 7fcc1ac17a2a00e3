"""The processes that train, how far they have come, and the tables of what they have measured."""

import sys
from pathlib import Path

import yaml

from infomax_nb.config import TrainConfig
from infomax_nb.train.run import Run
from pipeline.evidence.places import options
from pipeline.evidence.runs import chosen, planned
from pipeline.evidence.state import last_epoch
from pipeline.gpu.jobs import Job
from pipeline.gpu.order import Part
from pipeline.gpu.setting import Setting
from pipeline.table1 import rows_of, write_rows

TRIAL_LINE = {"epochs": 2, "n_train": 64, "batch_size": 32, "proj_dim": 16, "precision": "32"}
TRIAL_LINE |= {"dataset": "glyphs", "n_classes": 10, "probe": False, "seeds": [0]}
TRIAL_RUNS = [{"name": "kappa10"}, {"name": "kappa20", "kappa": 20.0}]
SAVE_SECONDS = "60"  # between two checkpoints: an epoch may take a second


def row(part: Part, setting: Setting) -> Job:
    """The process that trains a row of Table 1, or goes on with it."""
    words = ["-m", "infomax_nb.train", str(setting.file(part))]
    for name, value in setting.changes.items():
        words += ["-p", name, str(value)]
    log = setting.scratch / "logs" / f"{part.what}.log"
    least = 0.0 if setting.trial else part.least
    return Job(part.name, [sys.executable, *words], log, least, setting.variables)


def progress(config: TrainConfig) -> str:
    """How far a run has come, in words."""
    run = Run(config.run_dir)
    if not run.finished:
        epoch = last_epoch(run.path) or 0
        return f"it is at epoch {epoch} of {config.epochs}, and the same command goes on"
    last = run.metrics.iloc[-1]
    minutes = (run.record["train_seconds"] + run.record["evaluation_seconds"]) / 60
    measured = f"linear head {last.linear_top1:.1f}%, k-NN {last.knn_top1:.1f}%"
    return f"{config.epochs} epochs in {minutes:.1f} minutes, {measured}"


def contrasts(part: Part, setting: Setting, at_once: int) -> Job:
    """The process that trains the runs of the plan; a trial has two tiny ones instead."""
    if setting.trial:
        folder = setting.places.params
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in (("common", TRIAL_LINE), ("a", {"runs": TRIAL_RUNS})):
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    words = ["-m", "pipeline.evidence.queue", *options(setting.places), "--cores", str(at_once)]
    log = setting.scratch / "logs" / "contrasts.log"
    least = 0.0 if setting.trial else part.least
    variables = {**setting.variables, "INFOMAX_SAVE_SECONDS": SAVE_SECONDS}
    return Job(part.name, [sys.executable, *words], log, least, variables)


def kept(setting: Setting) -> str:
    """How many runs of the plan have results from this device, in words."""
    runs = chosen(planned(setting.places), None)
    count = sum(run.results.is_dir() for run in runs)
    return f"{count} of {len(runs)} runs have results in {setting.places.reports}"


def write_table(dataset: str, setting: Setting) -> Path | None:
    """Write Table 1's rows of a data set; None if no row of it was trained to its end."""
    if setting.trial and dataset != "CIFAR-10":
        return None
    changes = {name: value for name, value in setting.changes.items() if name != "data_root"}
    table = rows_of(dataset, **changes)
    if not table.seeds.sum():
        return None
    if setting.trial:
        images = "drawn glyphs in place of it" if setting.on_glyphs else "a subset of it"
        epochs = setting.changes["epochs"]
        table["dataset"] = f"{dataset}, a trial: {images}, {epochs} epoch"
    path = setting.reports / f"table1_{dataset.lower().replace('-', '')}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(table, path, **changes)
    return path
