"""The supervised reference: cross-entropy on labels."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import models
from ..config import TrainConfig
from ..views import View, supervised_views


class Supervised(nn.Module):
    """One randomly resized crop and flip, one linear classifier on the pooled features."""

    def __init__(self, config: TrainConfig, n_classes: int):
        super().__init__()
        self.backbone = models.backbone(config.backbone, config.stem)
        self.classifier = nn.Linear(self.backbone.num_features, n_classes)

    def views(self, size: int) -> list[View]:
        """One view."""
        return supervised_views(size)

    def forward(self, views: list[Tensor], labels: Tensor) -> dict:
        """The mean cross-entropy in nats."""
        return {"loss": cross_entropy(self.classifier(self.backbone(views[0])), labels)}
