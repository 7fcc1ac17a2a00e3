"""What all methods share."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from infomax_nb import models
from infomax_nb.config import TrainConfig
from infomax_nb.device import exact
from infomax_nb.distributed import gathered
from infomax_nb.views.recipes import number_of_local_views, recipe_views, with_local
from infomax_nb.views.specification import ViewSpec, from_lightly


class Method(nn.Module):
    """A backbone and what trains it.

    Views of one resolution go through a network in one batch, so BatchNorm's statistics are over
    all of them: the one departure that all methods share from code that calls the network view by
    view.
    """

    transform: str  # one of lightly's, unless `own_views` are others
    projector: nn.Module
    criterion: nn.Module

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__()
        self.config = config
        self.backbone = models.backbone(config.backbone, config.stem, config.size)
        self.epoch, self.epochs = 0, config.epochs
        self.step, self.steps = 0, 1  # of the whole run; the loop says which
        self.build(config, self.backbone.num_features, n_classes)  # type: ignore[arg-type]  # timm's

    def build(self, config: TrainConfig, features: int, n_classes: int) -> None:
        """Make heads and losses, for a backbone of so many features."""

    def own_views(self, size: int) -> list[ViewSpec]:
        """The method's own views of an image of `size` pixels; those of lightly's `transform` if it
        names one."""
        return from_lightly(self.transform, input_size=size)

    def view_specs(self, size: int) -> list[ViewSpec]:
        """The views that are drawn of an image of `size` pixels: the method's own, or what the
        configuration says."""
        recipe = self.config.augmentation
        found = self.own_views(size) if recipe is None else recipe_views(recipe, size)
        if recipe is None and self.config.local_views is None:
            return found
        return with_local(
            found, size, number_of_local_views(self.config.method, self.config.local_views, size)
        )

    def forward(self, views: list[Tensor], labels: Tensor) -> dict:
        """Scalar tensors, `loss` among them, of V views (B, 3, S, S) and labels (B,); `projections`
        if it has some.

        Networks run in the precision of the caller, under autocast if there is one; losses never,
        they are float32.
        """
        made = self.outputs(views)
        with exact():
            return self.losses(labels, *([_single(x) for x in each] for each in made))

    def outputs(self, views: list[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """What the losses are computed from, of V views (B, 3, S, S): lists of tensors (B, D); here
        the projections."""
        return (self.project(views),)

    def losses(self, labels: Tensor, *outputs: list[Tensor]) -> dict:
        """As `forward`, of labels (B,) and the `outputs` in float32 (float64 stays), lists of
        tensors (B, D).

        Unless a method has a way of its own: `criterion` of the views' projections, all processes'
        together.
        """
        return {"loss": self.criterion(*map(gathered, outputs[0]))}

    def after_backward(self) -> None:
        """Called between the backward pass and the optimiser's step."""

    def project(
        self, views: list[Tensor], networks: nn.ModuleList | tuple | None = None
    ) -> list[Tensor]:
        """Backbone, once per resolution, then projector (or other two `networks`) on all views: V
        tensors (B, D)."""
        backbone, projector = networks or (self.backbone, self.projector)
        return list(projector(torch.cat(models.forward_views(backbone, views))).chunk(len(views)))


def teacher_momentum(epoch: int, epochs: int) -> float:
    """The share of itself that a teacher keeps at each step of an epoch (from 0): 0.996, rising to
    1 at the last.

    With `momentum_schedule` `steps` the numbers are those of the step and of all steps of the run.
    """
    from lightly.utils.scheduler import cosine_schedule

    return cosine_schedule(epoch, epochs, 0.996, 1.0)


def initial_share(epochs: int, steps: int) -> float:
    """How much of its random start a teacher holds after `epochs` of so many `steps`: the product
    of all momentums.

    A weight, 0 to 1; the rest are students of all steps. Of a momentum by steps:
    `initial_share(epochs * steps, 1)`.
    """
    share = 1.0
    for epoch in range(epochs):
        share *= teacher_momentum(epoch, epochs) ** steps
    return share


def _single(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class MomentumMethod(Method):
    """A method with a teacher, the moving average of backbone and projector.

    The momentum rises from 0.996 to 1 by a half cosine over the epochs, or over the steps
    (`momentum_schedule`).
    """

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__(config, n_classes)
        self.teacher = nn.ModuleList(
            [deepcopy(self.backbone), deepcopy(self.projector)]
        ).requires_grad_(False)

    @torch.no_grad()
    def teach(self, views: list[Tensor]) -> list[Tensor]:
        """Move the teacher, then the V tensors (B, D) that it makes of the views, without
        gradient."""
        from lightly.models.utils import update_momentum

        by_step = self.config.momentum_schedule == "steps"
        momentum = teacher_momentum(
            *((self.step, self.steps) if by_step else (self.epoch, self.epochs))
        )
        update_momentum(nn.ModuleList([self.backbone, self.projector]), self.teacher, momentum)
        return self.project(views, self.teacher)
