"""`python -m pipeline.evidence.job NAME`: train one run of the plan and keep its results.

The queue starts one process for each run; a run that was interrupted goes on. Results are
`config.yaml`, `metrics.csv`, `record.json` and `predictions.npz` as `Run(folder)` reads them, and
`backbone.pt`, the network in half precision, where the plan needs one.
"""

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
from infomax_nb.errors import ParameterError, RunError, one_line
from infomax_nb.evaluation.neighbours import topk_accuracy
from infomax_nb.evaluation.probe import converged_probe, represent
from infomax_nb.files import file_digest
from infomax_nb.train.fitting import datasets, fit
from infomax_nb.train.record import environment
from infomax_nb.train.run import Run
from pipeline.evidence.history import no_evidence
from pipeline.evidence.places import evidence_parser, places_of
from pipeline.evidence.runs import Planned, planned
from pipeline.evidence.state import exported
from pipeline.networks import half_precision


def work(run: Planned) -> str:
    """Train the run and keep its results.

    Returns:
        A sentence if the loss became NaN or infinite, which is a result; else an empty text.
    """
    failure = ""
    trained = None
    try:
        trained = fit(run.config)
    except FloatingPointError as error:
        failure = str(error)
    # A process left by a killed queue may be training it, too.
    with FileLock(run.log.with_suffix(".lock")):
        if exported(run):
            return failure
        if trained:
            keep(run, trained)
        else:
            keep_failure(run, failure)
    return failure


def keep(run: Planned, trained: Run) -> None:
    """Keep a finished run's results, all of them or none.

    Raises:
        RunError: the plan did not come before the commit that it was trained with.
    """
    record = trained.record
    reason = no_evidence(record)
    if reason:
        raise RunError(f"{trained.path}: {reason}; move it away.")
    more: dict[str, Any] = {}
    if run.probe:
        more["probe_top1"] = probe_accuracy(trained)
    part = _empty_folder_beside(run)
    _copy(trained.path, part)
    if run.keep_network:
        torch.save(half_precision(trained.method().get_submodule("backbone")), part / "backbone.pt")
        more["network"] = file_digest(part / "backbone.pt")
    _finish(run, part, read_yaml(trained.path / "config.yaml"), {**record, **more})


def keep_failure(run: Planned, sentence: str) -> None:
    """Keep what there is of a run whose loss became NaN: it counts, and would fail again."""
    config = run.config.resolved()
    part = _empty_folder_beside(run)
    (part / "metrics.csv").write_text("epoch\n", encoding="utf-8")  # in case no epoch was finished
    _copy(config.run_dir, part)
    predictions = part / "predictions.npz"
    record = {
        "name": config.name,
        **environment(config),
        "data": fingerprint(config),
        "failed": sentence,
        "predictions": file_digest(predictions) if predictions.exists() else None,
    }
    _finish(run, part, config.model_dump(), record)


def probe_accuracy(trained: Run) -> float:
    """The converged probe's top-1 accuracy in percent, from frozen features of all test images."""
    train, test = datasets(trained.config, labelled=True)
    backbone = trained.method().get_submodule("backbone")
    train_features, test_features = represent({"trained": backbone}, train, test)["trained"]
    ranked = converged_probe(train_features, train.labels, test_features)
    return round(topk_accuracy(ranked, test.labels, 1), 3)


def _empty_folder_beside(run: Planned) -> Path:
    """An empty folder that will become the results' folder when it is complete."""
    part = run.results.with_name(f"{run.results.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def _copy(folder: Path, part: Path) -> None:
    for name in ("metrics.csv", "predictions.npz"):
        if (folder / name).exists():
            shutil.copy(folder / name, part)


def _finish(run: Planned, part: Path, values: dict, record: dict) -> None:
    """Write configuration and record, sealed, and move the folder into place.

    The places of this machine's data and runs are not part of what was run. They are left out of
    what is kept, so the seal is new.
    """
    values = {**values, "data_root": run.data_root or "data", "runs_dir": "runs"}
    (part / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    record.pop("seal", None)
    sealed = {**record, "seal": Run(part).seal(record)}
    text = json.dumps(sealed, indent=1, ensure_ascii=False) + "\n"
    (part / "record.json").write_text(text, encoding="utf-8")
    part.rename(run.results)


def main() -> None:
    """Train the named run."""
    arguments = evidence_parser("job", __doc__)
    arguments.add_argument("name", help="line and label, as the status shows them")
    given = arguments.parse_args()
    try:
        runs = {run.name: run for run in planned(places_of(given))}
        if given.name not in runs:
            raise ParameterError(f"There is no run {given.name}.")
        print(work(runs[given.name]))
    except (ParameterError, RunError) as error:
        sys.exit(one_line(error))


if __name__ == "__main__":
    main()
