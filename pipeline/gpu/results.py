"""Tables that are written with a record of the machine, and known again when they are there."""

import argparse
import json
from functools import cache
from pathlib import Path

import pandas as pd

from infomax_nb.config import TrainConfig
from infomax_nb.device import resolve
from infomax_nb.files import atomic_write
from infomax_nb.train.record import environment
from pipeline.command import in_a_sentence, made_folder


@cache
def machine(device: str) -> dict:
    """The record of a computation on `cuda` or `cpu`: commit, versions, hardware."""
    return environment(TrainConfig(device=device, precision="bf16" if device == "cuda" else "32"))


def same_code_and_machine(record: dict, device: str) -> bool:
    """Whether a record is of this commit and of this hardware."""
    here = machine(device)
    return all(record.get(name) == here[name] for name in ("commit", "gpu", "cpu", "device"))


class Results:
    """A table `<device>_<name>.csv` and its record, `.json`.

    Args:
        folder: where they are.
        device: `cuda` or `cpu`.
        name: what they are about.
    """

    def __init__(self, folder: Path, device: str, name: str):
        self.table = folder / f"{device}_{name}.csv"
        self.record = self.table.with_suffix(".json")
        self.device = device

    def write(self, rows: list[dict], whole: bool = True) -> None:
        """Write both; `whole` says in the record whether nothing is left to do."""
        table = pd.DataFrame(rows)
        text = json.dumps({**machine(self.device), "whole": whole}, indent=1) + "\n"
        self.table.parent.mkdir(parents=True, exist_ok=True)

        def write_table(path: Path) -> None:
            table.to_csv(path, index=False, float_format="%.5g")

        atomic_write(self.table, write_table)
        atomic_write(self.record, lambda part: part.write_text(text, encoding="utf-8"))

    def read(self) -> list[dict]:
        """The rows that this commit has written on this machine; none if there are none."""
        if not self.table.exists() or not same_code_and_machine(self._recorded(), self.device):
            return []
        try:
            return pd.read_csv(self.table).to_dict("records")
        except pd.errors.EmptyDataError:
            return []

    @property
    def whole(self) -> bool:
        """Whether this commit has written all of it on this machine."""
        record = self._recorded()
        # The benchmarks' records do not say: they write when they have ended.
        return same_code_and_machine(record, self.device) and record.get("whole", True)

    def begin(self) -> None:
        """Forget what code with changes has written: these may have been others.

        What another commit has written stays until there is something in its place.
        """
        modified = machine(self.device)["commit"].endswith("-modified")
        if modified and same_code_and_machine(self._recorded(), self.device):
            self.table.unlink(missing_ok=True)
            self.record.unlink(missing_ok=True)

    def _recorded(self) -> dict:
        try:
            return json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}


def results_of(given: argparse.Namespace, name: str) -> Results:
    """The results of a command with `--device`, `--out` and `--scratch`, whose folders are made.

    Where the device is not there or a folder cannot be made, exit with the reason in a sentence.

    Args:
        given: the command line.
        name: what the results are about.
    """
    with in_a_sentence():
        resolve(given.device)
        made_folder("--out", given.out)
        made_folder("--scratch", given.scratch)
    return Results(given.out, given.device, name)
