"""Probing frozen features: the converged linear probe, k-NN over k, and the references beside them."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from . import data
from .config import TrainConfig
from .evaluation import effective_rank, features, inputs, knn, pixels, topk_accuracy
from .methods import build


def untrained(config: TrainConfig, train: data.ImageSet) -> nn.Module:
    """The configuration's backbone at random weights, with BatchNorm's statistics taken from the training images.

    The initial weights of the run's seed, but for the residual branches' last BatchNorm, which starts at zero for
    training's sake: at one, as here, the branches speak, and the reference is the stronger one.
    """
    with torch.random.fork_rng():
        torch.manual_seed(data.stream(config.seed, 0, 2))
        net = build(config, len(train.classes)).backbone
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    update_bn(inputs(train.images[:5000]), net)
    return net.eval()


def represent(backbones: Mapping[str, nn.Module | None], *sets: data.ImageSet) -> dict[str, list[Tensor]]:
    """For each named backbone the features (N, D) of each set; None stands for raw pixels."""
    return {
        name: [pixels(s.images) if net is None else features(net, s.images) for s in sets]
        for name, net in backbones.items()
    }


def converged_probe(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Classes by falling score (test rows, classes): L-BFGS logistic regression on standardised features.

    scikit-learn's, with its default L2 penalty (C = 1), run until it converges. A separate figure from the linear
    head of `OnlineEvaluation`, which gets two passes an epoch and never converges.

    Args:
        train, test: features (N, D), (M, D). labels: (N,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(train.cpu().numpy(), labels.cpu().numpy())
    scores = model.decision_function(test.cpu().numpy())
    scores = np.column_stack([-scores, scores]) if scores.ndim == 1 else scores  # two classes
    return torch.from_numpy(model.classes_[np.argsort(-scores, axis=1, kind="stable")])


def compare(represented: Mapping[str, list[Tensor]], train_labels: Tensor, test_labels: Tensor) -> pd.DataFrame:
    """One row for each representation: top-1 and top-5 in percent of the converged probe and of k-NN (k = 200),
    and the test features' effective rank."""
    n_classes, rows = int(train_labels.max()) + 1, {}
    for name, (train, test) in represented.items():
        ranked = {"probe": converged_probe(train, train_labels, test), "knn": knn(train, train_labels, test, n_classes)}
        rows[name] = {f"{kind}_top{k}": topk_accuracy(r, test_labels, k) for kind, r in ranked.items() for k in (1, 5)}
        rows[name]["effective_rank"] = effective_rank(test)
    return pd.DataFrame(rows).T


def knn_curve(
    represented: Mapping[str, list[Tensor]], train_labels: Tensor, test_labels: Tensor, ks: Iterable[int]
) -> pd.DataFrame:
    """k-NN top-1 in percent over k: columns `features`, `k`, `knn_top1`."""
    n_classes = int(train_labels.max()) + 1
    rows = [
        {
            "features": name,
            "k": k,
            "knn_top1": topk_accuracy(knn(train, train_labels, test, n_classes, k), test_labels, 1),
        }
        for name, (train, test) in represented.items()
        for k in ks
    ]
    return pd.DataFrame(rows)
