"""VICReg (Bardes et al. 2022), its covariance term computed without the D x D covariance."""

from torch import Tensor

from infomax_nb.distributed import gathered
from infomax_nb.methods.base import Method


class VICReg(Method):
    """Two views; invariance, variance and covariance with the weights 25, 25, 1.

    The head has two layers, 2048-2048, where the published one has three of 8192. The first two
    terms are lightly's functions; the third is computed in another way.
    """

    def build(self, config, features, n_classes):
        from lightly.models.modules.heads import VICRegProjectionHead

        self.projector = VICRegProjectionHead(features, 2048, 2048, num_layers=2)

    def losses(self, labels, projections):
        from lightly.loss.vicreg_loss import invariance_loss, variance_loss

        a, b = map(gathered, projections)
        variance = 0.5 * (variance_loss(a) + variance_loss(b))
        invariance = invariance_loss(a, b)
        return {"loss": 25 * invariance + 25 * variance + covariance_loss(a) + covariance_loss(b)}


def covariance_loss(x: Tensor) -> Tensor:
    """lightly's covariance loss of projections (B, D), a scalar.

    It is the sum of the squared off-diagonal covariances over D, computed from the B x B Gram
    matrix, which has the covariance's Frobenius norm. Picking 4 million off-diagonal numbers with a
    mask, as lightly does, takes longer than the rest of a CPU's training step.
    """
    x = x - x.mean(0)
    gram = x @ x.T / (len(x) - 1)
    return (gram.square().sum() - x.var(0).square().sum()) / x.shape[1]
