"""The supervised reference: cross-entropy on labels."""

from torch import nn

from infomax_nb.methods.base import Method


class Supervised(Method):
    """One randomly resized crop and flip, one linear classifier on the pooled features."""

    def build(self, config, features, n_classes):
        self.classifier = nn.Linear(features, n_classes)

    def outputs(self, views):
        logits = self.classifier(self.backbone(views[0]))
        return ([logits],)

    def losses(self, labels, logits):
        return {"loss": nn.functional.cross_entropy(logits[0], labels)}
