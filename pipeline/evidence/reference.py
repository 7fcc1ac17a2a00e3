"""`python -m pipeline.evidence.reference --data-root DIR`: what the plan's runs are compared with.

For claim 6 that is raw pixels' k-NN accuracy with all images of each data set; for claims 7 and 9
far and near accuracies of raw pixels and of untrained networks, and how alike class centroids are
in the networks of line e that are kept, and in untrained ones. `reports/late_reference/` has the
numbers with their records. Started again, it adds the networks that have come since, and measures
anew one whose weights are others.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from infomax_nb.analysis.centroids import centroids
from infomax_nb.config import TrainConfig
from infomax_nb.data.fingerprints import fingerprint
from infomax_nb.data.image_set import ImageSet
from infomax_nb.errors import RunError
from infomax_nb.evaluation.neighbours import best_within, knn, topk_accuracy
from infomax_nb.evaluation.probe import represent, untrained
from infomax_nb.files import atomic_write
from infomax_nb.train.fitting import datasets
from infomax_nb.train.record import environment, now
from infomax_nb.train.run import Run
from pipeline.command import in_a_sentence
from pipeline.evidence.arms import Arm, Arms
from pipeline.evidence.class_sets import is_far
from pipeline.evidence.kept import kept_network
from pipeline.evidence.places import evidence_parser, kept_places_of

FOLDER = "late_reference"
RECORDS = "records.json"
RAW = "raw pixels"
COLUMNS = [
    "dataset",
    "network",
    "seed",
    "weights",  # the check sum of a kept network's file
    "knn_top1",
    "knn_far",
    "knn_near",
    "alike_far",
    "alike_near",
]


def read(reports: Path) -> pd.DataFrame:
    """The kept numbers, a row for each data set, network and seed; accuracies in percent."""
    path = reports / FOLDER / "table.csv"
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, dtype={"weights": str}).reindex(columns=COLUMNS)


def raw_pixels(reports: Path, dataset: str) -> float:
    """k-NN accuracy of raw pixels in percent; NaN if it has not been measured."""
    rows = read(reports)
    found = rows[(rows.dataset == dataset) & (rows.network == RAW)]
    return float(found.knn_top1.iloc[0]) if len(found) else np.nan


def measure(arms: Arms) -> str:
    """Measure what is missing, and keep it.

    Returns:
        What was written, as a sentence.
    """
    reports = arms.places.reports
    rows = read(reports)
    folder = reports / FOLDER
    records = kept_records(folder)
    here = environment()  # before anything is written into the checkout, which would change it
    for arm in (arms("kappa10"), arms("kappa10", "e")):
        wanted = networks(arm, rows)
        if not wanted:
            continue
        train, test = datasets(arm.config, labelled=True)
        record = record_of(arm.config, here)
        refuse_other_data(record, records, folder)
        records.append(record)
        for (name, seed), network in wanted.items():
            net = network(train) if callable(network) else network
            row = {"dataset": arm.config.dataset, "network": name, "seed": seed}
            row["weights"] = weights_of(arm, name, seed)
            rows = without(rows, row)
            rows.loc[len(rows)] = row | numbers(net, train, test)
            record["measured"].append(f"{name}, seed {seed}")
            keep(rows, records, folder)
    return f"{folder} holds {len(rows)} rows"


def networks(arm: Arm, rows: pd.DataFrame) -> dict:
    """What is still to be measured, by name and seed: networks, or functions that make them."""
    config = arm.config
    of_set = rows[rows.dataset == config.dataset].set_index(["network", "seed"])
    done = of_set.weights.fillna("").to_dict()
    wanted: dict[tuple[str, int], object] = {(RAW, 0): None}
    if config.dataset == "folder":
        for each in arm.every:
            wanted["untrained", each.config.seed] = partial(untrained, each.config)
        for seed, run in arm.runs.items():
            wanted[arm.name, seed] = partial(of_run, run)
    return {key: net for key, net in wanted.items() if done.get(key) != weights_of(arm, *key)}


def weights_of(arm: Arm, name: str, seed: int) -> str:
    """The check sum of a kept network's file; nothing of what was not trained."""
    return str(arm.runs[seed].record["network"]) if name == arm.name else ""


def without(rows: pd.DataFrame, row: dict) -> pd.DataFrame:
    """The rows but for one of the same data set, network and seed."""
    same = [rows[key] == row[key] for key in ("dataset", "network", "seed")]
    return rows[~np.logical_and.reduce(same)].reset_index(drop=True)


def of_run(run: Run, _: ImageSet) -> nn.Module:
    """The network that is kept with a run; it needs no images, as an untrained one does."""
    return kept_network(run)


def numbers(net: nn.Module | None, train: ImageSet, test: ImageSet) -> dict[str, float]:
    """Accuracies and likeness of a representation; far and near ones where there are twenty."""
    bank, queries = represent({"": net}, train, test)[""]
    n_classes = len(train.classes)
    ranked = knn(bank, train.labels, queries, n_classes)
    found = {"knn_top1": topk_accuracy(ranked, test.labels, 1)}
    if test.coarse is None:
        return found
    within = best_within(ranked, test.labels, test.coarse)
    right = 100.0 * (within == test.labels).numpy()
    far = is_far(test.labels.numpy())
    found |= {"knn_far": right[far].mean(), "knn_near": right[~far].mean()}
    return found | alike(queries, test.labels)


def alike(features: Tensor, labels: Tensor) -> dict[str, float]:
    """The mean cosine of class centroids among the far ten, and among the breeds.

    Features (N, D) are centred on the mean of the twenty classes' means.
    """
    means = torch.stack([features[labels == k].mean(0) for k in labels.unique()])
    of_class = normalize(centroids(features - means.mean(0), labels))
    cosines = of_class @ of_class.T
    far = torch.from_numpy(is_far(labels.unique().numpy()))
    found = {}
    for name, chosen in {"alike_far": far, "alike_near": ~far}.items():
        of_set = cosines[chosen][:, chosen]
        pairs = torch.triu_indices(len(of_set), len(of_set), 1)
        found[name] = float(of_set[tuple(pairs)].mean())
    return found


def record_of(config: TrainConfig, here: dict) -> dict:
    """What is recorded of what one call measures on a data set; `measured` names rows later.

    Args:
        config: with the data set that is measured.
        here: the `environment` that measures.
    """
    what = {"dataset": config.dataset, "image_size": config.image_size}
    data = fingerprint(config)
    return {"config": what, "measured": [], "started": now(), **here, "data": data}


def refuse_other_data(record: dict, records: list[dict], folder: Path) -> None:
    """Raise RunError if rows of this data set were measured on other files before."""
    for before in records:
        same_set = before["config"]["dataset"] == record["config"]["dataset"]
        if same_set and before["data"]["digest"] != record["data"]["digest"]:
            problem = f"holds {before['config']['dataset']} measured on other files"
            raise RunError(f"{folder} {problem}: give --reports another folder.")


def kept_records(folder: Path) -> list[dict]:
    """The records of what was measured before."""
    path = folder / RECORDS
    return json.loads(path.read_bytes()) if path.exists() else []


def keep(rows: pd.DataFrame, records: list[dict], folder: Path) -> None:
    """Write the table, and the records of where its numbers come from."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(records, indent=1) + "\n"
    atomic_write(folder / RECORDS, lambda part: part.write_text(text, encoding="utf-8"))
    atomic_write(folder / "table.csv", partial(rows.to_csv, index=False, float_format="%.6g"))


def main() -> None:
    """Measure what is missing."""
    given = evidence_parser("reference", __doc__).parse_args()
    with in_a_sentence():
        print(measure(Arms(kept_places_of(given))))


if __name__ == "__main__":
    main()
