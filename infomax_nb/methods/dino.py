"""DINO (Caron et al. 2021)."""

import warnings

import torch

from infomax_nb.methods.base import MomentumMethod
from infomax_nb.views.recipes import dino_views, number_of_local_views


class DINO(MomentumMethod):
    """The teacher's centred softmax of a global view is the target of the student's of all others.

    The head is 512-64-2048, where the published one is 2048-256-65536. The teacher's temperature
    is 0.04 throughout, and the last layer is frozen for one epoch. Below 64 pixels there are two
    global crops (50 to 100%) and no local ones; below 224 local crops take 30 to 50%. The
    teacher's head starts as a copy of the student's, as in the publication; the evaluation code
    initialises it separately.
    """

    def build(self, config, features, n_classes):
        from lightly.models.modules import DINOProjectionHead

        # No gradient here: with one, its weight normalisation, which torch calls outdated, leaves
        # a tensor that can't be copied.
        with torch.no_grad(), warnings.catch_warnings(action="ignore", category=FutureWarning):
            self.projector = DINOProjectionHead(features, 512, 64, 2048, freeze_last_layer=1)
        self.criterion = _dino_loss(2048)

    def own_view_specs(self, size):
        options = {"n_local_views": number_of_local_views("dino", self.config.local_views, size)}
        if size < 224:
            options |= {"global_crop_scale": (0.5, 1.0), "local_crop_scale": (0.3, 0.5)}
        return dino_views(size, **options)

    def outputs(self, views):
        return self.teach(views[:2]), self.project(views)

    def losses(self, labels, targets, projections):
        return {"loss": self.criterion(targets, projections)}

    @property
    def phase(self):
        return self.epoch < self.projector.freeze_last_layer

    def after_backward(self):
        self.projector.cancel_last_layer_gradients(self.epoch)


def _dino_loss(dim: int) -> torch.nn.Module:
    """lightly's loss, whose centre moves in place, where a recorded step finds it again."""
    from lightly.loss import DINOLoss
    from lightly.models.modules import center

    class DINOLossInPlace(DINOLoss):
        @torch.no_grad()
        def update_center(self, teacher_out):
            of_batch = center.center_mean(teacher_out, dim=(0, 1))
            self.center.copy_(center.center_momentum(self.center, of_batch, self.center_momentum))

    return DINOLossInPlace(dim)
