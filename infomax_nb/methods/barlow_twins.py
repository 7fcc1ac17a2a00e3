"""Barlow Twins (Zbontar et al. 2021)."""

from infomax_nb.distributed import gathered
from infomax_nb.methods.base import Method
from infomax_nb.models import mlp


class BarlowTwins(Method):
    """BYOL's two views; the cross-correlation of their projections is driven to the identity.

    Lambda is 5e-3. The head has two layers, 2048-2048, where the published one has three of 8192.
    """

    def build(self, config, features, n_classes):
        from lightly.loss import BarlowTwinsLoss

        self.projector = mlp(features, 2048)
        self.criterion = BarlowTwinsLoss()

    def losses(self, labels, projections):
        first, second = map(gathered, projections)
        return {"loss": self.criterion(first, second)}
