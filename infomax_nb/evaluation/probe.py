"""Probing frozen features: the converged linear probe, k-NN over k, and the references beside
them."""

import itertools
from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from infomax_nb.config import TrainConfig
from infomax_nb.data.image_set import ImageSet
from infomax_nb.data.sampling import stratified
from infomax_nb.device import exact, resolve
from infomax_nb.errors import ParameterError, memory_errors
from infomax_nb.evaluation.neighbours import knn, topk_accuracy
from infomax_nb.evaluation.representation import effective_rank, features, inputs
from infomax_nb.losses import InfoMaxLoss, mutual_information
from infomax_nb.methods import Method, build
from infomax_nb.seeds import Use, stream
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views


def untrained(config: TrainConfig, train: ImageSet) -> nn.Module:
    """The configuration's backbone at random weights, with BatchNorm's statistics taken from the
    training images.

    The initial weights of the run's seed, but for the residual branches' last BatchNorm, which
    starts at zero for training's sake: at one, as here, the branches speak, and the reference is
    the stronger one. The statistics are taken on the configuration's device; the network comes on
    the CPU.
    """
    place = resolve(config.device)[0]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream(config.seed, 0, Use.WEIGHTS))
        net = build(config, len(train.classes)).backbone
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    with (
        exact(),
        memory_errors(
            "an untrained network's statistics were taken",
            "take a smaller image_size, or device = cpu",
        ),
    ):
        some = itertools.islice(inputs(train.images, place), 10)  # some 5,000 images
        torch.optim.swa_utils.update_bn(some, net.to(place))
    return net.cpu().eval()


def represent(
    backbones: dict[str, nn.Module | None], *sets: ImageSet, device: str = "auto"
) -> dict[str, list[Tensor]]:
    """For each named backbone the features (N, D) of each set; None stands for raw pixels.

    Args:
        device: `auto`, `cpu` or `cuda`: where they are computed. They come to the CPU, where the
            networks stay.
    """
    nets = {name: net or nn.Flatten() for name, net in backbones.items()}
    return {
        name: [features(net, each.images, device) for each in sets] for name, net in nets.items()
    }


def colour_statistics(images: Tensor) -> Tensor:
    """Twelve numbers for each of the uint8 images (N, 3, H, W): mean, deviation, 10% and 90%
    quantile per channel."""
    parts = [chunk.float().flatten(2) for chunk in images.split(256)]
    return torch.cat(
        [torch.cat([x.mean(2), x.std(2), x.quantile(0.1, 2), x.quantile(0.9, 2)], 1) for x in parts]
    )


@memory_errors("a probe was fitted", "take fewer images (n_train)")
def converged_probe(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Classes by falling score (test rows, classes): L-BFGS logistic regression on standardised
    features.

    scikit-learn's, with its default L2 penalty (C = 1), run until it converges. A separate figure
    from the linear head of `OnlineEvaluation`, which gets two passes an epoch and never converges.

    Args:
        train, test: features (N, D), (M, D). labels: (N,).
    """
    from sklearn import linear_model, pipeline, preprocessing

    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=5000)
    )
    model.fit(train.cpu().numpy(), labels.cpu().numpy())
    scores = model.decision_function(test.cpu().numpy())
    scores = np.column_stack([-scores, scores]) if scores.ndim == 1 else scores  # two classes
    return torch.from_numpy(model.classes_[np.argsort(-scores, axis=1, kind="stable")])


def compare(
    represented: dict[str, list[Tensor]], train_labels: Tensor, test_labels: Tensor
) -> pd.DataFrame:
    """One row for each representation: top-1 and top-5 in percent of the converged probe and of
    k-NN (k = 200, fewer if there are fewer than 1,000 training images: `usual_k`), and the test
    features' effective rank."""
    n_classes, rows = int(train_labels.max()) + 1, {}
    for name, (train, test) in represented.items():
        ranked = {
            "probe": converged_probe(train, train_labels, test),
            "knn": knn(train, train_labels, test, n_classes),
        }
        tops = [
            (kind, k) for kind in ranked for k in ((1, 5) if n_classes >= 5 else (1,))
        ]  # of four, five are all
        rows[name] = {
            f"{kind}_top{k}": topk_accuracy(ranked[kind], test_labels, k) for kind, k in tops
        }
        rows[name]["effective_rank"] = effective_rank(test)
    return pd.DataFrame(rows).T


@torch.no_grad()
@exact()
@memory_errors("held-out information was computed", "take a smaller image_size, or device = cpu")
def held_out_information(
    method: Method, test: ImageSet, kappa=10.0, batches=4, device: str = "auto"
) -> dict[str, float]:
    """Eq. 2, 3 and 4 on held-out images: what a method's projections say at one kappa, whatever it
    was trained with.

    Means over `batches` of 128 test images (fewer are one batch), eight views of each (the
    paper's), so N = 1,024 views in every sum; the same images and views for every method. They are
    computed on `device` (`auto`, `cpu` or `cuda`), where a copy of the method goes. Returns nats:
    `h_global`, `h_local`, `mi_written`, `mi_density` (the two normalisations of
    `losses.mutual_information`). ParameterError for fewer than two images.
    """
    if len(test) < 2:
        raise ParameterError(
            f"data_root: the test split has {len(test)} image: to tell images apart takes two or more."
        )
    views, loss, generator = (
        MultiView(dino_views(test.images.shape[-1])),
        InfoMaxLoss(kappa),
        torch.Generator(),
    )
    generator.manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    size = min(128, len(test))
    rows = stratified(test.labels, min(batches, len(test) // size) * size, 0).split(size)
    place = resolve(device)[0]
    here = next(method.parameters(), torch.empty(0)).device.type == place
    own = (method if here else deepcopy(method).to(place)).eval()
    drawn = [loss.entropies(own.project(views(test.images[r].to(place), generator))) for r in rows]
    h_global, h_local = torch.tensor(drawn).mean(0).tolist()
    return {
        "h_global": h_global,
        "h_local": h_local,
        **mutual_information(h_global, h_local, 8, 8 * size),
    }
