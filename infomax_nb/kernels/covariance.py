"""VICReg's covariance term without the D x D covariance."""

from torch import Tensor


def covariance_loss(x: Tensor) -> Tensor:
    """lightly's `covariance_loss` of projections (B, D): squared off-diagonal covariances, summed, over D.

    From the B x B Gram matrix, which has the covariance's Frobenius norm; picking 4 million off-diagonal numbers with
    a mask, as lightly does it, takes longer than the rest of a CPU's training step.
    """
    x = x - x.mean(0)
    gram = x @ x.T / (len(x) - 1)
    return (gram.square().sum() - x.var(0).square().sum()) / x.shape[1]
