"""BYOL (Grill et al. 2020)."""

import torch

from infomax_nb.methods.base import MomentumMethod
from infomax_nb.views.recipes import byol_views


class BYOL(MomentumMethod):
    """Two views; each one's prediction against the teacher's projection of the other, by cosine.

    Projector and predictor are 1024-256, where the published ones are 4096-256. The evaluation
    code's own file has a learning rate of 1e-4, the paper says 1e-3 for all: the configuration's
    default is the paper's.
    """

    own_views = staticmethod(byol_views)

    def build(self, config, features, n_classes):
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

        self.projector, self.predictor = (
            BYOLProjectionHead(features, 1024, 256),
            BYOLPredictionHead(256, 1024, 256),
        )
        self.criterion = NegativeCosineSimilarity()

    def outputs(self, views):
        targets = self.teach(views)
        return targets, self.predictor(torch.cat(self.project(views))).chunk(2)

    def losses(self, labels, targets, predictions):
        first, second = predictions
        return {
            "loss": 0.5 * (self.criterion(first, targets[1]) + self.criterion(second, targets[0]))
        }
