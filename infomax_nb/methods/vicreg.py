"""VICReg (Bardes et al. 2021)."""

from ..kernels.covariance import covariance_loss
from .base import Method, gathered


class VICReg(Method):
    """Two views; invariance, variance and covariance with the weights 25, 25, 1.

    The head has two layers, 2048-2048, where the published one has three of 8192. The first two terms are lightly's
    functions, the third is computed in another way.
    """

    transform = "VICRegTransform"

    def build(self, config, features, n_classes):
        from lightly.models.modules.heads import VICRegProjectionHead

        self.projector = VICRegProjectionHead(features, 2048, 2048, num_layers=2)

    def losses(self, labels, projections):
        from lightly.loss.vicreg_loss import invariance_loss, variance_loss

        a, b = map(gathered, projections)
        variance = 0.5 * (variance_loss(a) + variance_loss(b))
        return {"loss": 25 * invariance_loss(a, b) + 25 * variance + covariance_loss(a) + covariance_loss(b)}
