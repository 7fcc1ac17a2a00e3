"""Handle trunks that are trained again because a branch needs one of their checkpoints."""

import shutil
import time

import numpy as np
import pandas as pd

from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from pipeline.evidence.runs import Planned

HARDWARE = ("device", "gpu", "cpu", "threads", "precision")


def set_aside(trunk: Planned) -> None:
    """Move a finished run's folder away; otherwise it would be returned, not trained again."""
    folder = trunk.config.run_dir
    if not Run(folder).finished:
        return
    name = f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}"
    place = trunk.places.journal / "replaced" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, place)


def difference(trunk: Planned) -> str:
    """How a retrained trunk differs from its kept results, as text; empty if it does not."""
    kept = Run(trunk.results)
    now = pd.read_csv(trunk.config.run_dir / "metrics.csv")
    columns = [name for name in kept.metrics.columns if name in now and name != "epoch"]
    then = kept.metrics.set_index("epoch").reindex(now.epoch)[columns]
    same = np.isclose(now[columns], then, rtol=1e-6, equal_nan=True).all(axis=1)
    if same.all():
        return ""
    here = environment(trunk.config.resolved())
    same_hardware = all(here[name] == kept.record.get(name) for name in HARDWARE)
    where = "the same hardware" if same_hardware else "other hardware"
    differs = "it differs from the results that are kept"
    return f"trained again on {where} {differs}, from epoch {now.epoch[~same].min()} on"
