"""SimCLR (Chen et al. 2020)."""

from infomax_nb.distributed import gathered
from infomax_nb.methods.base import Method


class SimCLR(Method):
    """Two views, NT-Xent at lightly's default temperature 0.5.

    The head is lightly's (2048-128, BatchNorm). The published method uses LARS and batches of
    thousands; here all methods use AdamW and the same batch size.
    """

    def build(self, config, features, n_classes):
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.projector = SimCLRProjectionHead(features)
        self.criterion = NTXentLoss()

    def losses(self, labels, projections):
        first, second = map(gathered, projections)
        return {"loss": self.criterion(first, second)}
