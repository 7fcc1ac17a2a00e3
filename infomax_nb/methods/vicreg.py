"""VICReg (Bardes et al. 2021)."""

from ..views import from_lightly
from .base import Method


class VICReg(Method):
    """Two views; variance, invariance and covariance terms at lightly's weights 25, 25, 1.

    The head has two layers, 2048-2048, where the published one has three of 8192.
    """

    def build(self, config, features, n_classes):
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        self.projector, self.criterion = VICRegProjectionHead(features, 2048, 2048, num_layers=2), VICRegLoss()

    def views(self, size):
        from lightly.transforms import VICRegTransform

        return from_lightly(VICRegTransform(input_size=size))

    def forward(self, views, labels):
        return {"loss": self.criterion(*self.project(views))}
