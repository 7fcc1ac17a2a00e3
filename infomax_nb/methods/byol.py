"""BYOL (Grill et al. 2020)."""

import torch

from infomax_nb.methods.base import MomentumMethod


class BYOL(MomentumMethod):
    """Two views; each one's prediction is pulled to the teacher's projection of the other (cosine).

    Projector and predictor are 1024-256, where the published ones are 4096-256. The evaluation
    code's own file has a learning rate of 1e-4, but the paper says 1e-3 for all methods. The
    configuration's default is the paper's.
    """

    def build(self, config, features, n_classes):
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

        self.projector = BYOLProjectionHead(features, 1024, 256)
        self.predictor = BYOLPredictionHead(256, 1024, 256)
        self.criterion = NegativeCosineSimilarity()

    def outputs(self, views):
        targets = self.teach(views)
        predictions = self.predictor(torch.cat(self.project(views)))
        return targets, predictions.chunk(2)

    def losses(self, labels, targets, predictions):
        first = self.criterion(predictions[0], targets[1])
        second = self.criterion(predictions[1], targets[0])
        return {"loss": 0.5 * (first + second)}
