"""What all methods share: a backbone, its views, and the order of a training step."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from infomax_nb.captured import RECORDERS
from infomax_nb.config import TrainConfig
from infomax_nb.device import exact
from infomax_nb.models import backbone, forward_views
from infomax_nb.views.recipes import number_of_local_views, own_recipe, recipe_views, with_local
from infomax_nb.views.specification import ViewSpec


class Method(nn.Module):
    """A backbone and what trains it.

    A step is `outputs`, which runs the networks, then `losses`, then `after_backward`. Views of one
    resolution go through a network in one batch, so BatchNorm's statistics are over all of them.
    This is the only departure, in all methods, from code that calls the network view by view.

    Args:
        config: the run.
        n_classes: number of classes of the labels.
    """

    projector: Any

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__()
        self.config = config
        self.backbone = backbone(config.backbone, config.stem, config.size)
        self.epoch = 0  # from 0; set by the training loop, as is the step
        self.step = 0
        self.steps = 1  # of the whole run
        self.build(config, self.backbone.num_features, n_classes)

    def build(self, config: TrainConfig, features: int, n_classes: int) -> None:
        """Make heads and criterion, for a backbone with this many features."""

    def own_view_specs(self, size: int) -> list[ViewSpec]:
        """The views of an image of `size` pixels, unless the configuration asks for others."""
        return recipe_views(own_recipe(self.config.method), size)

    def view_specs(self, size: int) -> list[ViewSpec]:
        """The views that a run draws of an image of `size` pixels."""
        recipe = self.config.augmentation
        local_views = self.config.local_views
        specs = self.own_view_specs(size) if recipe is None else recipe_views(recipe, size)
        if recipe is None and local_views is None:
            return specs
        return with_local(specs, size, number_of_local_views(self.config.method, local_views, size))

    def begin_step(self) -> None:
        """Called before each step, when its epoch and its number are set."""

    @property
    def phase(self) -> Any:
        """What a step does depends on this, besides tensors; for most methods it never changes.

        A step that is recorded for a GPU is recorded anew when it changes.
        """
        return None

    def forward(self, views: list[Tensor], labels: Tensor) -> dict[str, Any]:
        """The losses of V views (B, 3, S, S) and labels (B,); see `losses`.

        Networks run in the caller's precision, under autocast if it is on. Losses are always
        float32.
        """
        outputs = self.outputs(views)
        with exact():
            return self.losses(labels, *([_single(x) for x in each] for each in outputs))

    def outputs(self, views: list[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """What the losses are computed from: lists of tensors (B, D); here the projections.

        Args:
            views: V views (B, 3, S, S).
        """
        return (self.project(views),)

    def losses(self, labels: Tensor, *outputs: list[Tensor]) -> dict[str, Any]:
        """Scalar tensors by name, `loss` among them, and perhaps `projections`, a list of (B, D).

        Args:
            labels: (B,).
            outputs: what `outputs` returned, in float32 (float64 stays).
        """
        raise NotImplementedError

    def after_backward(self) -> None:
        """Called between the backward pass and the optimiser's step."""

    def project(self, views: list[Tensor], networks: Any = None) -> list[Tensor]:
        """The backbone, once per resolution, then the projector on all V views: V tensors (B, D).

        Args:
            views: V views (B, 3, S, S).
            networks: a backbone and a projector to use instead of the method's.
        """
        network, projector = networks or (self.backbone, self.projector)
        return list(projector(torch.cat(forward_views(network, views))).chunk(len(views)))


def _single(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class MomentumMethod(Method):
    """A method with a teacher, the moving average of backbone and projector.

    The momentum rises from 0.996 to 1 by a half cosine over the epochs, or over the steps
    (`momentum_schedule`).
    """

    kept: Tensor
    taught: Tensor

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__(config, n_classes)
        networks = [deepcopy(self.backbone), deepcopy(self.projector)]
        self.teacher = nn.ModuleList(networks).requires_grad_(False)
        # In tensors, where a recorded step finds each step's values.
        self.register_buffer("kept", torch.empty(()), persistent=False)
        self.register_buffer("taught", torch.empty(()), persistent=False)
        self.begin_step()

    @property
    def momentum(self) -> float:
        """The share of itself that the teacher keeps at this step."""
        if self.config.momentum_schedule == "steps":
            return teacher_momentum(self.step, self.steps)
        return teacher_momentum(self.epoch, self.config.epochs)

    def begin_step(self):
        self.kept.fill_(self.momentum)
        self.taught.fill_(1 - self.momentum)

    @torch.no_grad()
    def teach(self, views: list[Tensor]) -> list[Tensor]:
        """Move the teacher, then project the V views (B, 3, S, S) with it: V tensors (B, D)."""
        from lightly.models.utils import update_momentum

        student = nn.ModuleList([self.backbone, self.projector])
        if self.kept.device.type in RECORDERS:
            _update_momentum(student, self.teacher, self.kept, self.taught)
        else:
            update_momentum(student, self.teacher, self.momentum)
        return self.project(views, self.teacher)


def _update_momentum(student: nn.Module, teacher: nn.Module, kept: Tensor, taught: Tensor) -> None:
    """lightly's function, with scalar tensors for the momentum and for what it lacks to 1."""
    weights: list[Any] = list(teacher.parameters())
    torch._foreach_mul_(weights, kept)
    moves: Any = torch._foreach_mul(list(student.parameters()), taught)
    torch._foreach_add_(weights, moves)


def teacher_momentum(epoch: int, epochs: int) -> float:
    """The share of itself that a teacher keeps at each step of an epoch (from 0).

    It rises from 0.996 to 1 at the last epoch, so that in a run of a single epoch the teacher never
    moves. With `momentum_schedule: steps` the arguments are the number of the step and of all steps
    of the run.
    """
    from lightly.utils.scheduler import cosine_schedule

    return cosine_schedule(epoch, epochs, 0.996, 1.0)


def initial_share(epochs: int, steps: int) -> float:
    """How much of its random start a teacher still holds after `epochs` of `steps` each.

    It is the product of all momentums, 0 to 1; the rest comes from the students of all steps. Where
    the momentum rises by steps, it is `initial_share(epochs * steps, 1)`.
    """
    share = 1.0
    for epoch in range(epochs):
        share *= teacher_momentum(epoch, epochs) ** steps
    return share
