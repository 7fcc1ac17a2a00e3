"""InfoMax on the hypersphere: the paper's method."""

from infomax_nb import models
from infomax_nb.losses import InfoMaxLoss
from infomax_nb.methods.base import Method
from infomax_nb.views.recipes import dino_views


class InfoMax(Method):
    """Two global and six local views, one network, no asymmetry; the loss is Eq. 4 (Section 3)."""

    own_views = staticmethod(dino_views)

    def build(self, config, features, n_classes):
        self.projector = models.mlp(features, config.proj_dim)
        self.objective = InfoMaxLoss(config.kappa, config.alpha, config.beta)

    def losses(self, labels, projections):
        h_global, h_local = self.objective.entropies(projections)
        loss = self.objective.combine(h_global, h_local)
        return {
            "loss": loss.float(),
            "h_global": h_global,
            "h_local": h_local,
            "projections": projections,
        }
