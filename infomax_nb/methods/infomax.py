"""InfoMax on the hypersphere: the paper's method."""

import torch
from torch import Tensor, nn

from .. import models
from ..config import TrainConfig
from ..losses import InfoMaxLoss
from ..views import View, dino_views


class InfoMax(nn.Module):
    """Two global and six local views, one network, no asymmetry; the loss is Eq. 4 (Section 3)."""

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__()
        self.backbone = models.backbone(config.backbone, config.stem)
        self.projector = models.projector(self.backbone.num_features, config.proj_dim)
        self.objective = InfoMaxLoss(config.kappa, config.alpha, config.beta)

    def views(self, size: int) -> list[View]:
        """The paper's recipe for images of `size` pixels."""
        return dino_views(size)

    def forward(self, views: list[Tensor], labels: Tensor) -> dict:
        """The loss and both entropies in nats, of V views (B, 3, S, S); labels are not looked at."""
        projections = forward_projections(self, views)
        h_global, h_local = self.objective.entropies(projections)
        loss = self.objective.combine(h_global, h_local)
        return {"loss": loss.float(), "h_global": h_global, "h_local": h_local, "projections": projections}


def forward_projections(method: nn.Module, views: list[Tensor]) -> list[Tensor]:
    """Backbone, once per resolution, then the projector on all views at once: V tensors (B, D)."""
    features = models.forward_views(method.backbone, views)
    return list(method.projector(torch.cat(features)).chunk(len(views)))
