"""Where the plan's runs are read and written, and the command-line options for that."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from infomax_nb.errors import not_allowed
from infomax_nb.files import project_root, runs_folder


@dataclass(frozen=True)
class Places:
    """Where the queue reads and writes.

    Args:
        params: the folder with a parameter file for each line of the plan.
        reports: the folder in which results are kept.
        runs_dir: the folder of the runs, as `TrainConfig` has it.
        data_root: the folder of the data; a line of the plan may use a part of it.
    """

    params: Path = field(default_factory=lambda: project_root() / "params" / "evidence")
    reports: Path = field(default_factory=lambda: project_root() / "reports")
    runs_dir: str = "runs"
    data_root: str = "data"

    @property
    def journal(self) -> Path:
        """The folder, beside the runs, in which the queue keeps a log and a note for each."""
        return runs_folder(self.runs_dir) / "evidence"


def evidence_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a module's command line, with the options for places that all take."""
    prog = f"python -m pipeline.evidence.{module}"
    arguments = argparse.ArgumentParser(prog=prog, description=description)
    default = Places()
    add = arguments.add_argument
    add("--params", type=Path, default=default.params, help="a folder with a file for each line")
    add("--reports", type=Path, default=default.reports, help="where results are kept")
    add("--runs-dir", default=default.runs_dir)
    add("--data-root", default=default.data_root)
    return arguments


def add_lines(arguments: argparse.ArgumentParser) -> None:
    """Let a command line choose lines of the plan."""
    arguments.add_argument("--lines", help="a,b: only these; else all that are letters")


def places_of(given: argparse.Namespace) -> Places:
    """The places that were given on a command line."""
    return Places(given.params.resolve(), given.reports.resolve(), given.runs_dir, given.data_root)


def kept_places_of(given: argparse.Namespace) -> Places:
    """The places that were given on a command line that reads what is kept.

    Raises:
        ParameterError: there is no such folder of results. To the queue, which makes it, that is
            no error; a reader would find all runs missing.
    """
    places = places_of(given)
    if not places.reports.is_dir():
        raise not_allowed("reports", str(given.reports), "the folder that keeps the runs' results")
    return places


def options(places: Places) -> list[str]:
    """The options that give these places on a command line."""
    folders = ["--params", str(places.params), "--reports", str(places.reports)]
    return [*folders, "--runs-dir", places.runs_dir, "--data-root", places.data_root]
