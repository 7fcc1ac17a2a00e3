"""Barlow Twins (Zbontar et al. 2021)."""

from infomax_nb import models
from infomax_nb.methods.base import Method
from infomax_nb.views.recipes import byol_views


class BarlowTwins(Method):
    """BYOL's two views; the cross-correlation of their projections is drawn to the identity (lambda
    5e-3).

    The head has two layers, 2048-2048, where the published one has three of 8192.
    """

    own_views = staticmethod(byol_views)

    def build(self, config, features, n_classes):
        from lightly.loss import BarlowTwinsLoss

        self.projector, self.criterion = models.mlp(features, 2048), BarlowTwinsLoss()
