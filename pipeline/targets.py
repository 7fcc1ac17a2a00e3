"""What `make` says before and after it trains: which data are missing, and where results are.

`python -m pipeline.targets check TARGET` ends with an error if a run that is to be trained has no
data; `made TARGET` says what a target has made. The target is `sweep`, with `--sweep FILE`, or one
of the paper's: `paper`, `table1`, `table1_cifar10`, `figure3` and so on.
"""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import roles_of
from infomax_nb.errors import ParameterError
from infomax_nb.files import data_folder, data_place, project_root, runs_folder
from infomax_nb.train.run import Run
from pipeline.bill import DATASETS, called
from pipeline.command import in_a_sentence
from pipeline.sweep import FIGURES, paper, runs_of, table1_rows

# Notebooks that draw the paper's figures of training runs.
NOTEBOOKS = {"figure3": "05_ablate_projector", "figure4": "03_ablate_kappa"}
NOTEBOOKS |= {"figure5": "04_ablate_beta", "figure6": "08_compare_methods"}
NOTEBOOKS |= {"figure7": "07_centroids"}
MOST_RUNS = 20  # named one by one
TRIAL = ("epochs", "n_train", "batch_size")  # in a table's name, as in the Snakefile
CHANGES = ("data_root", "runs_dir", *TRIAL)
EXAMPLE = "`make sweep SWEEP=params/kappa_cifar10.yaml`"


def files_of(target: str, files: list[Path]) -> list[Path]:
    """The parameter files whose runs a target needs.

    Raises:
        ParameterError: there is no such target, or a sweep has no files, or lacks one of them.
    """
    if target == "sweep":
        if not files:
            raise ParameterError(f"SWEEP is missing: name parameter files, as in {EXAMPLE}.")
        for file in files:
            if not file.is_file():
                raise ParameterError(f"SWEEP: there is no parameter file {file}.")
        return files
    wanted = paper()
    for data in table1_rows():
        stems = [stem for stem in wanted["table1"] if stem.startswith(f"{data}_")]
        wanted[f"table1_{data}"] = stems
    if target not in wanted:
        raise ParameterError(f"There is no target {target}: there are {', '.join(wanted)}, sweep.")
    return [project_root() / "params" / "paper" / f"{stem}.yaml" for stem in wanted[target]]


def configurations(target: str, files: list[Path], **changes: Any) -> list[TrainConfig]:
    """The runs of a target; those that are refused have jobs that say why."""
    configs = []
    for file in files_of(target, files):
        for values in runs_of(file, **changes).values():
            with suppress(ParameterError):
                configs += [TrainConfig(**values)] if values else []
    return configs


# --- Before -----------------------------------------------------------------------------------


def missing(configs: list[TrainConfig]) -> list[str]:
    """The data sets that unfinished runs need and that are not there, by their usual names."""
    needed = {}
    for config in configs:
        if not Run(config.run_dir).finished:
            needed[config.dataset, config.data_root] = config
    names = []
    for (name, root), config in needed.items():
        try:
            if not name.startswith("glyphs"):
                roles_of(name, data_folder(root))
        except ParameterError as error:
            if error.data_missing:
                names.append(DATASETS.get(config.dataset, name))
    return names


def check(configs: list[TrainConfig]) -> None:
    """Raise ParameterError, in three lines, if data are missing."""
    names = missing(configs)
    if names:
        place = data_place(configs[0].data_root)
        lines = [f"Not in {place} (DATA_ROOT): {', '.join(names)}. Nothing was started."]
        lines.append("docs/data.md says in which folders each is looked for, and how to get it.")
        if len(names) > 1:
            lines.append("Of one data set alone: make table1-cifar10, table1-stl10, figure4, ...")
        raise ParameterError("\n".join(lines))


# --- After ------------------------------------------------------------------------------------


def tables(target: str, changes: dict[str, Any]) -> list[str]:
    """The tables that a target writes."""
    suffix = "".join(f"-{name}{changes[name]}" for name in TRIAL if name in changes)
    written = [f"table1_{data}" for data in table1_rows()]
    wanted = written if target in ("table1", "paper") else [target] if target in written else []
    return [f"reports/{name}{suffix}.csv" for name in wanted]


def short(path: Path) -> Path:
    """The path as it is seen from the working folder, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def made(target: str, configs: list[TrainConfig], changes: dict[str, Any]) -> list[str]:
    """Lines on what a target has made: its tables, its runs, and what draws their curves."""
    folder = short(runs_folder(changes.get("runs_dir", "runs")))
    lines = tables(target, changes)
    if target == "sweep":
        names = zip(called(configs), configs, strict=True)
        lines += [f"{name}: {short(each.run_dir)}" for name, each in names][:MOST_RUNS]
    drawn = NOTEBOOKS if target == "paper" else {target: NOTEBOOKS.get(target)}
    for figure, notebook in drawn.items():
        if notebook and figure in FIGURES:
            lines.append(f"{figure}: drawn by notebooks/{notebook}.ipynb from its runs")
    lines.append(
        f"{len(configs)} runs in {folder}; curves: .venv/bin/python -m pipeline.track {folder}"
    )
    return lines


def main() -> None:
    """Say what is missing, or what was made."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.targets", description=__doc__)
    parser.add_argument("when", choices=["check", "made"])
    parser.add_argument("target")
    parser.add_argument("--sweep", default="", metavar="FILE,FILE", help="parameter files")
    for name in CHANGES:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help="another value of it")
    given = parser.parse_args()
    changes = {name: value for name, value in vars(given).items() if name in CHANGES}
    files = [Path(file) for file in given.sweep.split(",") if file]
    with in_a_sentence():
        configs = configurations(given.target, files, **changes)
        if given.when == "check":
            check(configs)
        else:
            print(*made(given.target, configs, changes), sep="\n")


if __name__ == "__main__":
    main()
