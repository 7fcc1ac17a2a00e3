"""The networks that are measured: the plan's, as far as they are trained, and the early ones."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.masks import MaskedPhotographs
from infomax_nb.errors import ParameterError
from infomax_nb.evaluation.probe import untrained
from infomax_nb.networks import pretrained
from infomax_nb.train.run import Run
from pipeline.evidence.kept import kept_network
from pipeline.evidence.places import Places
from pipeline.evidence.runs import Planned, planned
from pipeline.evidence.state import exported
from pipeline.objects.names import BEGINNINGS, EARLY, OURS, UNTRAINED

ABOUT = ("started", "images", "data", "network")  # of a run's record, kept with what is measured


@dataclass(frozen=True)
class Candidate:
    """A network that can be measured.

    Args:
        kind: what it is called; networks of one kind differ in their seed alone.
        config: its run's configuration; an untrained network's is that of the run it begins.
        about: what is recorded of it; `network` is the digest of its weights' file, if there is
            one.
        load: returns it, on the CPU and in evaluation mode.
        early: whether it has trained for fewer than 10,000 steps.
    """

    kind: str
    config: TrainConfig
    about: dict[str, Any]
    load: Callable[[], nn.Module]
    early: bool = False

    @property
    def name(self) -> str:
        """Kind and seed, as in a progress bar."""
        return f"{self.kind}, seed {self.config.seed}"


def candidates(places: Places, calibration: MaskedPhotographs) -> list[Candidate]:
    """All networks there are, the plan's first.

    Args:
        places: where the plan's results are.
        calibration: the photographs that give untrained networks their BatchNorm statistics.

    Raises:
        RunError: a run's results are damaged or not the plan's.
    """
    images = ImageSet(calibration.images, torch.zeros(len(calibration)).long(), ["photograph"])
    of_plan = [run for run in planned(places) if run.keep_network]
    ours = [run for run in of_plan if kind_of(run) == OURS]
    beginnings = [_beginning(UNTRAINED, run.config, images) for run in ours]
    early = {kind: _at_hand(kind, name) for kind, name in EARLY.items()}
    references = [_beginning(kind, early[of].config, images) for kind, of in BEGINNINGS.items()]
    return [*_finished(of_plan), *beginnings, *early.values(), *references]


def kind_of(run: Planned) -> str:
    """What the networks of a planned run are called."""
    method = str(run.config.method)
    return method if run.config.dataset == "cifar10" else f"{method}, 20 classes"


def _finished(runs: list[Planned]) -> Iterator[Candidate]:
    """The networks of the planned runs that have finished."""
    for run in runs:
        state = exported(run)
        if state is None or state.kind != "finished":
            continue
        kept = Run(run.results)
        about = {part: kept.record[part] for part in ABOUT}
        kept.check_file(run.results / "backbone.pt", about["network"])
        yield Candidate(kind_of(run), kept.config, about, partial(kept_network, kept))


def _beginning(kind: str, config: TrainConfig, images: ImageSet) -> Candidate:
    """A run's network before training."""
    here = config.replace(device="cpu")
    return Candidate(kind, here, {"images": 0}, partial(untrained, here, images))


def _at_hand(kind: str, name: str) -> Candidate:
    """One of the early networks of `reports/networks`."""
    network = pretrained(name)
    about = {part: network.record[part] for part in ABOUT if part in network.record}
    return Candidate(kind, network.config, about, lambda: network.backbone, early=True)


def missing(places: Places) -> list[str]:
    """The plan's networks that are not there yet, by line, name and seed.

    Raises:
        ParameterError: the plan's files cannot be read.
    """
    of_plan = [run for run in planned(places) if run.keep_network]
    if not of_plan:
        raise ParameterError(f"params: {places.params} asks for no network that is kept.")
    return [run.name for run in of_plan if exported(run) is None]
