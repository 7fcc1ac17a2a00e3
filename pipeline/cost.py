"""The computation of a training step for one image, by a configuration's networks and views."""

from functools import cache

from infomax_nb.config import TrainConfig
from infomax_nb.evaluation.compute import training_flops

DECISIVE = ("method", "backbone", "stem", "proj_dim", "augmentation", "local_views")


def step_shape(config: TrainConfig) -> TrainConfig:
    """The configuration reduced to its networks and views; all else is the default.

    Configurations whose steps do the same computation for an image have equal shapes.

    >>> step_shape(TrainConfig(seed=1, kappa=20)) == step_shape(TrainConfig(epochs=3))
    True
    """
    same = {name: getattr(config, name) for name in DECISIVE}
    return TrainConfig(**same, image_size=config.size, batch_size=8)


@cache
def flops_per_image(shape: TrainConfig) -> float:
    """Floating-point operations of a training step for one image, forward and backward.

    Args:
        shape: what `step_shape` returns.
    """
    return training_flops(shape)
