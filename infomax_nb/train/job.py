"""`Job`: a run that is to be trained."""

from dataclasses import dataclass

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.distributed import Processes
from infomax_nb.train.run import Run


@dataclass(frozen=True)
class Job:
    """All that is decided before training starts.

    Args:
        config: the configuration, `resolved`.
        run: the directory to fill.
        train: the training images.
        test: the test images.
        fingerprint: what identifies the data set (`data.fingerprints`).
        peers: the processes that train the run together.
        save_interval: seconds between two checkpoints.
        title: what lines of progress call it.
    """

    config: TrainConfig
    run: Run
    train: ImageSet
    test: ImageSet
    fingerprint: dict
    peers: Processes
    save_interval: float
    title: str
