"""Turn parameter files into single runs, which the Snakefile runs as jobs.

`python -m pipeline.sweep FILE NAME OUT [-p NAME VALUE ...]` writes the parameters of FILE's run
NAME to OUT.
"""

import argparse
import ast
import hashlib
import json
import sys
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from infomax_nb.config import TrainConfig, read_yaml, text_where_text_is_meant
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.files import atomic_write, project_root
from infomax_nb.parsing import as_list, is_none
from pipeline.command import last_line, made_folder, takes_values, values_of

# The paper's figures that show training runs, as patterns of files in params/paper/.
# params/README.md lists each curve.
FIGURES = {
    "figure3": ["stl10_infomax_resnet18", "stl10_proj_dim_*"],
    "figure4": ["stl10_infomax_resnet18", "stl10_kappa_*"],
    "figure5": ["stl10_infomax_resnet18", "stl10_beta_*"],
    "figure6": ["cifar10_*_resnet18", "stl10_*_resnet18", "stl10_infomax_vit_tiny"],
    "figure7": ["imagenet_infomax_resnet50", "imagenet100_infomax_resnet50"],
}


# --- The paper's runs -------------------------------------------------------------------------


def paper() -> dict[str, list[str]]:
    """For each target the stems of the files in `params/paper/` that it needs.

    The targets are `table1`, the figures, and `paper`, which needs all of them.
    """
    folder = project_root() / "params" / "paper"
    targets = {"table1": _paper_table().params.tolist()}
    for figure, patterns in FIGURES.items():
        files = [file for pattern in patterns for file in sorted(folder.glob(f"{pattern}.yaml"))]
        targets[figure] = [file.stem for file in files]
    every_stem = [stem for stems in targets.values() for stem in stems]
    return targets | {"paper": list(dict.fromkeys(every_stem))}


def table1_rows() -> dict[str, str]:
    """The data sets of the paper's Table 1: the table's names for `TrainConfig`'s names."""
    table = _paper_table()
    return dict(zip(table.params.str.partition("_")[0], table.dataset, strict=True))


def _paper_table() -> pd.DataFrame:
    return pd.read_csv(project_root() / "reports" / "paper_table1.csv")


# --- The runs of a parameter file -------------------------------------------------------------


def runs_of(path: str | Path, /, **changes: Any) -> dict[str, dict[str, Any] | None]:
    """The single runs that a parameter file asks for.

    A list under a field's name with an 's' (`kappas`, `seeds`) stands for one run per value.
    Several lists stand for one run per combination. As in a notebook, a list may be given as a
    single value or as text. A notebook's own keys (`export`) are left out, and so is `runs_dir`,
    which Snakemake's command line sets.

    Args:
        path: the parameter file.
        changes: fields that every run gets.

    Returns:
        The parameters of each run, by the name of its job (see `name_of`). A run that
        `TrainConfig` refuses is included, named `refused-...`. So is a file that holds no run, with
        None. Each of these fails as a separate job.
    """
    try:
        values = read_yaml(path)
    except ParameterError:
        return {_refused(str(path)): None}
    lists = _lists(values)
    left_out = notebooks_own() | {"runs_dir"}
    fixed = {}
    for name, value in values.items():
        if not _field_of_list(name) and name not in left_out:
            fixed[name] = value
    runs: dict[str, dict[str, Any] | None] = {}
    for combination in product(*lists.values()):
        varied = {name[:-1]: value for name, value in zip(lists, combination, strict=True)}
        run = text_where_text_is_meant({**fixed, **varied, **changes})
        runs[name_of(run)] = run
    return runs or {_refused(str(path)): None}


def name_of(values: dict[str, Any]) -> str:
    """The name of a run's job, the same on every machine.

    It is the run's own name, unless device or precision is `auto`. What `auto` means is known only
    where the job runs, and the machine that submits jobs may have no GPU. So such a job has the
    name of the run in float32 on the CPU. A job that asks for exactly that run adds `-cpu` or
    `-32`, or it would count as done when the other one is. Values that are not a configuration give
    `refused-` and their digest.
    """
    try:
        return _name_of_job(TrainConfig(**values))
    except ParameterError:
        return _refused(json.dumps(values, sort_keys=True, default=str))


def _name_of_job(asked: TrainConfig) -> str:
    device = "cpu" if asked.device == "auto" else asked.device
    precision = asked.precision
    if precision == "auto" and device == "cpu":
        precision = "32"
    name = asked.replace(device=device, precision=precision).name
    if asked.device == "cpu":
        return f"{name}-cpu"
    if asked.device == "auto" and asked.precision == "32":
        return f"{name}-32"
    return name


@cache
def notebooks_own() -> set[str]:
    """Parameters of the notebooks that are not fields of `TrainConfig`."""
    names: set[str] = set()
    for path in (project_root() / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                names |= _assigned("".join(cell["source"]))
    return names - set(TrainConfig.model_fields)


def _assigned(source: str) -> set[str]:
    """The names that Python code assigns to."""
    names = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def _lists(values: dict[str, Any]) -> dict[str, list]:
    """The lists in a parameter file, by name."""
    lists = {}
    for name, value in values.items():
        if _field_of_list(name) and not is_none(value):
            lists[name] = as_list(value)
    return lists


def _field_of_list(name: str) -> str | None:
    """The field whose plural the name is; None if there is none."""
    field = name.removesuffix("s")
    return field if field != name and field in TrainConfig.model_fields else None


def _refused(text: str) -> str:
    return f"refused-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def write_run(path: str | Path, name: str, out: Path, /, **changes: Any) -> None:
    """Write the parameters of a file's run to `out`.

    Args:
        path: the parameter file.
        name: the run's name, as in `runs_of`.
        out: the new file.
        changes: fields that the run gets.

    Raises:
        ParameterError: there is no such file, it has no such run, or its parameters are not a
            configuration.
    """
    runs = runs_of(path, **changes)
    if name not in runs:
        read_yaml(path)  # which says so where there is no such file
        raise ParameterError(f"{path} has changed: it no longer asks for {name}.")
    values = runs[name]
    if values is None:  # reading the file again says why, unless a list in it is empty
        empty = [name for name, given in _lists(read_yaml(path)).items() if not given]
        reason = "is not allowed: it must be a list of values"
        raise ParameterError(f"{' and '.join(empty)} = [] {reason}.")
    TrainConfig(**values)
    text = yaml.safe_dump(values, sort_keys=False)
    made_folder("OUT", out.parent)
    atomic_write(out, lambda part: part.write_text(text, encoding="utf-8"))


# --- What failed ------------------------------------------------------------------------------


def log_times(folder: Path) -> dict[Path, int]:
    """The time when each log in `folder`/logs was last written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in (folder / "logs").glob("*.log")}


def failures(folder: Path, before: dict[Path, int]) -> list[str]:
    """A line for each run that has failed: its name and the last line of its log.

    Args:
        folder: the folder of the runs.
        before: what `log_times` returned before they were started.
    """
    lines = []
    for path, time in log_times(folder).items():
        name = path.stem.removesuffix(".parameters")
        if before.get(path) == time or (folder / name / ".done").exists():
            continue
        lines.append(f"  {name}: {last_line(path)}  [{path}]")
    return sorted(lines)


def main() -> None:
    """Write one run's parameter file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    takes_values(parser)
    given = parser.parse_args()
    try:
        write_run(given.file, given.name, given.out, **values_of(given.p))
    except (ParameterError, RunError) as error:
        sys.exit(f"{given.file}: {error}")


if __name__ == "__main__":
    main()
