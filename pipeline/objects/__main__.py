"""`python -m pipeline.objects --data-root DIR` measures each network of claim 8 that is there.

DIR holds photographs with masks, as docs/data.md says. A network that was measured before is not
measured again, so the same command goes on where it was and with networks that came since.
`--recompute` reads no photograph: it makes intervals, figure and verdict anew from
`reports/objects_voc/photographs.csv`, in seconds.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from infomax_nb.data.masks import MaskedPhotographs, read_masked
from infomax_nb.files import project_root
from infomax_nb.names import listed
from infomax_nb.train.record import environment, now
from pipeline.command import in_a_sentence
from pipeline.evidence.places import Places
from pipeline.objects.measure import SETTINGS, of_network, of_references
from pipeline.objects.names import UNIFORM, WIDTHS
from pipeline.objects.networks import Candidate, candidates, missing
from pipeline.objects.results import REFERENCES, keep, records
from pipeline.objects.tables import conclude


def measure(data_root: str, reports: Path | None = None) -> None:
    """Measure what has not been measured, and keep it.

    Args:
        data_root: the folder of the photographs.
        reports: the folder of all results; None means the project's.
    """
    photographs = read_masked(data_root, "val", SETTINGS["size"])
    training = read_masked(data_root, "trainaug", SETTINGS["size"])
    digests = {"val": photographs.digest, "trainaug": training.digest}
    here = environment()  # before anything is written into the checkout, which would change it
    places = Places(reports=reports or project_root() / "reports")
    found = candidates(places, training)
    kept = {(each["kind"], each["seed"]): each for each in records(reports)}
    known = {each["kind"]: each for each in records(reports, REFERENCES)}
    if not all(_is_current(known.get(kind), digests) for kind in (*WIDTHS, UNIFORM)):
        for kind, table in of_references(photographs, training).items():
            record = {"kind": kind, "seed": 0, **_record(digests, here)}
            keep(table.set_index([photographs.names]), record, reports)
    due = [each for each in found if not _is_known(each, kept, digests)]
    bar = tqdm(due, "networks", unit="network", disable=not sys.stderr.isatty())
    for candidate in bar:
        bar.set_postfix_str(candidate.name)
        _measure_one(candidate, photographs, training, digests, here, reports)
        bar.write(f"measured {candidate.name}")
    waiting = missing(places)
    if waiting:
        print(f"Not trained yet, so not measured: {listed(waiting)}.")


def _measure_one(
    candidate: Candidate,
    photographs: MaskedPhotographs,
    training: MaskedPhotographs,
    digests: dict[str, str],
    here: dict,
    reports: Path | None,
) -> None:
    """Measure one network and keep what was found, with its record."""
    of_plan = candidate.config.stem == "imagenet" and not candidate.early
    table = of_network(candidate.load(), photographs, training, details=of_plan)
    config = candidate.config.identity()
    config.pop("data_root", None)  # a folder of this machine; the record has the data's fingerprint
    about = {"started": now(), **candidate.about, "config": config}
    named = {"kind": candidate.kind, "seed": candidate.config.seed}
    record = {**named, **about, **_record(digests, here)}
    keep(table.set_index([photographs.names]), record, reports)


def _record(digests: dict[str, str], here: dict) -> dict:
    """What is recorded of every measurement; `here` is the environment that it was made in."""
    return {**here, "photographs": digests, "settings": SETTINGS, "measured": now()}


def _is_known(candidate: Candidate, kept: dict, digests: dict[str, str]) -> bool:
    """Whether this network was measured on these photographs."""
    record = kept.get((candidate.kind, candidate.config.seed))
    same_network = record and record.get("network") == candidate.about.get("network")
    return bool(same_network) and _is_current(record, digests)


def _is_current(record: dict | None, digests: dict[str, str]) -> bool:
    """Whether something was measured on these photographs, as it is measured now."""
    if record is None:
        return False
    return record["photographs"] == digests and record["settings"] == SETTINGS


def main() -> None:
    """Measure, or only conclude, and print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.objects", description=__doc__)
    add = parser.add_argument
    add("--data-root", metavar="DIR", help="a folder with images/, masks/ and images.csv")
    add("--recompute", action="store_true", help="measure nothing, conclude anew")
    add("--reports", type=Path, help="where results are kept")
    given = parser.parse_args()
    if not given.recompute and not given.data_root:
        parser.error("--data-root DIR is needed, or --recompute")
    with in_a_sentence():
        if not given.recompute:
            measure(given.data_root, given.reports)
        print(conclude(given.reports))


if __name__ == "__main__":
    main()
