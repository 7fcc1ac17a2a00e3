"""InfoMax on the hypersphere: the paper's method."""

from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods.base import Method
from infomax_nb.models import mlp


class InfoMax(Method):
    """Two global and six local views, one network, no asymmetry; the loss is Eq. 4 (Section 3)."""

    def build(self, config, features, n_classes):
        self.projector = mlp(features, config.proj_dim)
        self.objective = InfoMaxLoss(config.kappa, config.alpha, config.beta)
        self.objective.equal_shares = True

    def losses(self, labels, projections):
        loss = self.objective(projections)  # which keeps the two entropies
        return {
            "loss": loss,
            "h_global": self.objective.h_global,
            "h_local": self.objective.h_local,
            "projections": projections,
        }
