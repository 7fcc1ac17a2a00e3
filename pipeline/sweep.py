"""From parameter files to single runs, which the Snakefile makes jobs of.

`python -m pipeline.sweep FILE NAME OUT [-p NAME VALUE ...]` writes the parameters of FILE's run
NAME to OUT, whole.
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

# The paper's figures that show training runs, as patterns of files in params/paper/;
# params/README.md has each curve.
FIGURES = {
    "figure3": ["stl10_infomax_resnet18", "stl10_proj_dim_*"],
    "figure4": ["stl10_infomax_resnet18", "stl10_kappa_*"],
    "figure5": ["stl10_infomax_resnet18", "stl10_beta_*"],
    "figure6": ["cifar10_*_resnet18", "stl10_*_resnet18", "stl10_infomax_vit_tiny"],
    "figure7": ["imagenet_infomax_resnet50", "imagenet100_infomax_resnet50"],
}


def paper() -> dict[str, list[str]]:
    """The stems of the files in `params/paper/` that each target needs, each once; `paper` needs
    them all."""
    folder = project_root() / "params" / "paper"
    targets = {"table1": list(pd.read_csv(project_root() / "reports" / "paper_table1.csv").params)}
    for figure, patterns in FIGURES.items():
        targets[figure] = [
            path.stem for pattern in patterns for path in sorted(folder.glob(f"{pattern}.yaml"))
        ]
    return targets | {
        "paper": list(dict.fromkeys(stem for stems in targets.values() for stem in stems))
    }


def table1_rows() -> dict[str, str]:
    """The data sets of the paper's Table 1 as the table names them, by `TrainConfig`'s names."""
    table = pd.read_csv(project_root() / "reports" / "paper_table1.csv")
    return {
        stem.split("_")[0]: dataset
        for stem, dataset in zip(table.params, table.dataset, strict=True)
    }


def runs_of(path: str | Path, **changes: Any) -> dict[str, dict[str, Any] | None]:
    """The single runs that a parameter file asks for, by name: the parameters of each, `changes`
    made.

    A list under a field's name with an 's' (`kappas`, `seeds`) stands for one run for each value;
    several lists, for each combination. As in a notebook a list may be given as a single value or
    as its text. Keys that are a notebook's own (`export`) are left out, and so is `runs_dir`, which
    is the workflow's to say. A run that `TrainConfig` refuses is here too, named `refused-...`, and
    so is a file that holds none (None): it fails as a job of its own.

    The names are those that jobs go by, the same on every machine: see `name_of`.
    """
    try:
        values = read_yaml(path)
    except ParameterError:
        return {_refused(str(path)): None}
    lists = _lists(values)
    others = {name: value for name, value in values.items() if not _field(name)}
    fixed = {
        name: value for name, value in others.items() if name not in notebooks_own() | {"runs_dir"}
    }
    grid = product(*([(name[:-1], each) for each in given] for name, given in lists.items()))
    runs = [
        text_where_text_is_meant({**fixed, **dict(combination), **changes}) for combination in grid
    ]
    return {name_of(run): run for run in runs} or {_refused(str(path)): None}


def name_of(values: dict[str, Any]) -> str:
    """The job's name; for values that are no configuration, `refused-` and a digest of them.

    It is the run's own, except where device or precision are `auto`: what they mean is found where
    the job runs, and the machine that submits jobs may have no GPU. Such a job goes by the name of
    the run in float32 on the CPU; so a job for which just that is asked adds `-cpu` or `-32`, or it
    would count as done when the other is.
    """
    try:
        asked = TrainConfig(**values)
        device = "cpu" if asked.device == "auto" else asked.device
        precision = "32" if asked.precision == "auto" and device == "cpu" else asked.precision
        name = asked.replace(device=device, precision=precision).name
        name += "-cpu" if asked.device == "cpu" else ""
        return name + ("-32" if (asked.device, asked.precision) == ("auto", "32") else "")
    except ParameterError:
        return _refused(json.dumps(values, sort_keys=True, default=str))


@cache
def notebooks_own() -> set[str]:
    """Parameters that only notebooks read: names in their `parameters` cells that are no field of
    `TrainConfig`."""
    names: set[str] = set()
    for path in (project_root() / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                tree = ast.parse("".join(cell["source"]))
                names |= {
                    n.id
                    for n in ast.walk(tree)
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                }
    return names - set(TrainConfig.model_fields)


def write_run(path: str | Path, name: str, out: Path, **changes: Any) -> None:
    """Write the parameters of the run `name` of a file to `out`; ParameterError if they are no
    configuration."""
    runs = runs_of(path, **changes)
    if name not in runs:
        raise ParameterError(f"{path} has changed: it no longer asks for {name}.")
    if (values := runs[name]) is None:  # a file that holds no run says why here
        empty = [name for name, given in _lists(read_yaml(path)).items() if not given]
        raise ParameterError(
            f"{' and '.join(empty)} = [] is not allowed: it must be a list of values."
        )
    TrainConfig(**values)
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(
        out, lambda part: part.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    )


def failures(folder: Path, before: dict[Path, int]) -> list[str]:
    """A line for each run that has failed since `before` (see `written`): its name and the last
    line of its log."""
    lines = []
    for path, time in written(folder).items():
        name = path.stem.removesuffix(".parameters")
        if before.get(path) != time and not (folder / name / ".done").exists():
            said = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            lines.append(f"  {name}: {said[-1] if said else 'it said nothing'}  [{path}]")
    return sorted(lines)


def written(folder: Path) -> dict[Path, int]:
    """The runs' logs in `folder`/logs and when each was written last."""
    return {path: path.stat().st_mtime_ns for path in (folder / "logs").glob("*.log")}


def _lists(values: dict[str, Any]) -> dict[str, list]:
    """The lists in a parameter file, by name."""
    return {
        name: as_list(value)
        for name, value in values.items()
        if _field(name) and not is_none(value)
    }


def _field(name: str) -> str | None:
    return name[:-1] if name.endswith("s") and name[:-1] in TrainConfig.model_fields else None


def _refused(text: str) -> str:
    return f"refused-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def main() -> None:
    """Write one run's parameter file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    given = parser.parse_args()
    try:
        write_run(
            given.file,
            given.name,
            given.out,
            **{name: yaml.safe_load(value) for name, value in given.p},
        )
    except (ParameterError, RunError) as error:
        sys.exit(f"{given.file}: {error}")


if __name__ == "__main__":
    main()
