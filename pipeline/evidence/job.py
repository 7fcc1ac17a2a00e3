"""`python -m pipeline.evidence.job NAME`: train one run of the plan, or go on with it, and keep its
results.

The queue starts it, a process a run. Results are `config.yaml`, `metrics.csv`, `record.json` and
`predictions.npz` as `Run(folder)` reads them, and `backbone.pt`, the network in half precision,
where the plan needs one.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock

from infomax_nb.config import read_yaml
from infomax_nb.data.fingerprints import fingerprint
from infomax_nb.errors import ParameterError, RunError
from infomax_nb.evaluation.neighbours import topk_accuracy
from infomax_nb.evaluation.probe import converged_probe, represent
from infomax_nb.files import file_digest
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from pipeline.evidence.runs import Places, Planned, exported, no_evidence, planned


def work(run: Planned) -> str:
    """Train the run and keep its results; returns a sentence if its loss became NaN or infinite,
    which is a result."""
    said, trained = "", None
    try:
        trained = fit(run.config)
    except FloatingPointError as error:
        said = str(error)
    with FileLock(
        run.log.with_suffix(".lock")
    ):  # a process that a killed queue has left may be at it, too
        if exported(run):
            return said
        if trained:
            keep(run, trained)
        else:
            keep_failure(run, said)
    return said


def keep(run: Planned, trained: Run) -> None:
    """Keep a finished run's results: all of them, or none.

    Raises RunError if it was trained by a commit that the plan did not come before.
    """
    record = trained.record
    if why := no_evidence(record):
        raise RunError(f"{trained.path}: {why}; move it away.")
    more: dict[str, Any] = {}
    if run.probe:
        more["probe_top1"] = probed(trained)
    part = _beside(run)
    _copy(trained.path, part)
    if run.keep_network:
        torch.save(half(trained.method().get_submodule("backbone")), part / "backbone.pt")
        more["network"] = file_digest(part / "backbone.pt")
    _finish(run, part, read_yaml(trained.path / "config.yaml"), {**record, **more})


def keep_failure(run: Planned, sentence: str) -> None:
    """Keep what there is of a run whose loss became NaN: it counts, and would end so again."""
    config = run.config.resolved()
    record = {
        "name": config.name,
        **environment(config),
        "data": fingerprint(config),
        "failed": sentence,
    }
    part = _beside(run)
    (part / "metrics.csv").write_text(
        "epoch\n", encoding="utf-8"
    )  # if it did not come to the end of one
    _copy(config.run_dir, part)
    predictions = part / "predictions.npz"
    record["predictions"] = file_digest(predictions) if predictions.exists() else None
    _finish(run, part, config.model_dump(), record)


def probed(trained: Run) -> float:
    """Top-1 accuracy in percent of the converged probe on the frozen features, on all test
    images."""
    train, test = datasets(trained.config, labelled=True)
    own, others = represent({"trained": trained.method().get_submodule("backbone")}, train, test)[
        "trained"
    ]
    return round(topk_accuracy(converged_probe(own, train.labels, others), test.labels, 1), 3)


def half(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's state in half precision; whole numbers stay."""
    return {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}


def _beside(run: Planned) -> Path:
    """An empty folder beside the one of the results, which it becomes when it is whole."""
    part = run.results.with_name(f"{run.results.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def _copy(folder: Path, part: Path) -> None:
    for name in ("metrics.csv", "predictions.npz"):
        if (folder / name).exists():
            shutil.copy(folder / name, part)


def _finish(run: Planned, part: Path, values: dict, record: dict) -> None:
    """Write configuration and record, sealed, and move the folder in place.

    Where this machine has its data and its runs is not what was run: it stays out of what is kept.
    So the seal is new.
    """
    values = {**values, "data_root": run.data_root or "data", "runs_dir": "runs"}
    (part / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    record.pop("seal", None)
    sealed = {**record, "seal": Run(part).seal(record)}
    (part / "record.json").write_text(
        json.dumps(sealed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    part.rename(run.results)


def parser(description: str | None, **options: Any) -> argparse.ArgumentParser:
    """What the queue, its jobs and its status are told alike: where everything is."""
    made = argparse.ArgumentParser(description=description, **options)
    default = Places()
    made.add_argument(
        "--params", type=Path, default=default.params, help="a folder with a file for each line"
    )
    made.add_argument(
        "--reports", type=Path, default=default.reports, help="where results are kept"
    )
    made.add_argument("--runs-dir", default=default.runs_dir)
    made.add_argument("--data-root", default=default.data_root)
    return made


def places(given: argparse.Namespace) -> Places:
    """The places that a command line names."""
    return Places(given.params.resolve(), given.reports.resolve(), given.runs_dir, given.data_root)


def main() -> None:
    """Train the run that is named."""
    told = parser(__doc__, prog="python -m pipeline.evidence.job")
    told.add_argument("name", help="line and label, as the status shows them")
    given = told.parse_args()
    try:
        runs = {run.name: run for run in planned(places(given))}
        if given.name not in runs:
            raise ParameterError(f"There is no run {given.name}.")
        print(work(runs[given.name]))
    except (ParameterError, RunError) as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
