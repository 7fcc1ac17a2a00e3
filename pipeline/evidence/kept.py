"""The networks that are kept with the plan's results."""

from torch import nn

from infomax_nb import models
from infomax_nb.files import load_weights
from infomax_nb.train.run import Run


def kept_network(run: Run) -> nn.Module:
    """The backbone that was kept with a finished run, in float32 and evaluation mode.

    Raises:
        RunError: the file is not the one that the run wrote.
    """
    path = run.path / "backbone.pt"
    run.check_file(path, run.record["network"])
    config = run.config
    net = models.backbone(config.backbone, config.stem, config.size)
    net.load_state_dict(load_weights(path))
    return net.eval()
