"""The converged linear probe, untrained references, and information on held-out images."""

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
from infomax_nb.evaluation.neighbours import knn, topk_accuracies
from infomax_nb.evaluation.representation import effective_rank, evaluating, features, inputs
from infomax_nb.losses import InfoMaxLoss, mutual_information
from infomax_nb.methods import Method, initial
from infomax_nb.seeds import Use, stream
from infomax_nb.views.batch import MultiView
from infomax_nb.views.recipes import dino_views

_CURE = "take a smaller image_size, or device = cpu"


@exact()
@memory_errors("an untrained network's statistics were taken", _CURE)
def untrained(config: TrainConfig, train: ImageSet) -> nn.Module:
    """The configuration's backbone as it is before training.

    It has the initial weights of the run's seed, except in the residual branches' last BatchNorm.
    Training starts that at zero. Here it is one, so that the branches contribute, which makes the
    reference stronger.

    Args:
        config: names the network, the seed, and the device on which BatchNorm's statistics are
            taken.
        train: the images from which they are taken, 5,120 at most: the first ones or, where images
            come class by class, as many of each class in mixed order.

    Returns:
        The network, on the CPU.

    Raises:
        RunError: memory runs out.
    """
    device = resolve(config.device)[0]
    net = initial(config, len(train.classes)).backbone
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
    mixed = stratified(train.labels, min(5120, len(train)), 0) if _by_class(train.labels) else None
    batches = itertools.islice(inputs(train.images, device, 512, mixed), 10)
    some = (batch for batch in batches if len(batch) > 1 or len(train) == 1)  # one has no variance
    torch.optim.swa_utils.update_bn(some, net.to(device))
    return net.cpu().eval()


def _by_class(labels: Tensor) -> bool:
    """Whether images come class by class, as those of folders do, in any order of the classes."""
    return 0 < int((labels.diff() != 0).sum()) == len(labels.unique()) - 1


def untrained_method(config: TrainConfig, n_classes: int) -> Method:
    """The method as it is before its first step: BatchNorm takes the statistics of each batch."""
    method = initial(config, n_classes)
    for layer in method.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean = None
            layer.running_var = None
    return method.eval()


def represent(
    backbones: dict[str, nn.Module | None], *sets: ImageSet, device: str = "auto"
) -> dict[str, list[Tensor]]:
    """The features (N, D) of each set, for each named backbone; None stands for raw pixels.

    Args:
        backbones: the networks, which stay where they are.
        sets: the image sets.
        device: `auto`, `cpu` or `cuda`, where features are computed. They are returned on the CPU.
    """
    represented = {}
    for name, backbone in backbones.items():
        net = backbone or nn.Flatten()
        represented[name] = [features(net, each.images, device) for each in sets]
    return represented


def colour_statistics(images: Tensor) -> Tensor:
    """Each image's colours in twelve numbers, (N, 12), four for each channel.

    They are the mean, the standard deviation and the 10% and 90% quantiles of uint8 images
    (N, 3, H, W).
    """
    parts = []
    for chunk in images.split(256):
        x = chunk.float().flatten(2)
        statistics = [x.mean(2), x.std(2), x.quantile(0.1, 2), x.quantile(0.9, 2)]
        parts.append(torch.cat(statistics, 1))
    return torch.cat(parts)


@memory_errors("a probe was fitted", "take fewer images (n_train)")
def converged_probe(train: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Rank the classes by logistic regression on standardised features.

    It is scikit-learn's L-BFGS with the default L2 penalty (C = 1), run until it converges. The
    linear head of `OnlineEvaluation` is another measure: it gets two passes each epoch and never
    converges.

    Args:
        train: features (N, D).
        labels: (N,).
        test: features (M, D).

    Returns:
        Classes by falling score, (M, classes).

    Raises:
        RunError: memory runs out.
    """
    from sklearn import linear_model, pipeline, preprocessing

    regression = linear_model.LogisticRegression(max_iter=5000)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), regression)
    model.fit(train.cpu().numpy(), labels.cpu().numpy())
    scores = model.decision_function(test.cpu().numpy())
    if scores.ndim == 1:  # with two classes, these are the second's
        scores = np.column_stack([-scores, scores])
    return torch.from_numpy(model.classes_[np.argsort(-scores, axis=1, kind="stable")])


def compare(
    represented: dict[str, list[Tensor]], train_labels: Tensor, test_labels: Tensor
) -> pd.DataFrame:
    """A row for each representation: how well its features tell the classes apart.

    Args:
        represented: training and test features, (N, D) and (M, D), as `represent` returns them.
        train_labels: (N,).
        test_labels: (M,).

    Returns:
        Top-1 and top-5 of the converged probe and of k-NN (with `usual_k`) in percent, and the test
        features' effective rank.
    """
    n_classes = int(train_labels.max()) + 1
    rows = {}
    for name, (train, test) in represented.items():
        probe = converged_probe(train, train_labels, test)
        neighbours = knn(train, train_labels, test, n_classes)
        rows[name] = topk_accuracies("probe", probe, test_labels, n_classes)
        rows[name] |= topk_accuracies("knn", neighbours, test_labels, n_classes)
        rows[name]["effective_rank"] = effective_rank(test)
    return pd.DataFrame(rows).T


@torch.no_grad()
@exact()
@memory_errors("held-out images were projected", _CURE)
def held_out_projections(
    method: Method, test: ImageSet, batches=4, device: str = "auto"
) -> list[list[Tensor]]:
    """A method's projections of held-out images, of which each has eight views, the paper's.

    Images and views are the same for every method.

    Args:
        method: the trained method; a copy goes to the device.
        test: a set of two images or more.
        batches: number of batches of 128 images, so that every sum has N = 1,024 views. Fewer
            images make one batch.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        For each batch its eight views, (images, D) each and not of unit length, on the device.

    Raises:
        ParameterError: there are fewer than two images.
        RunError: memory runs out.
    """
    if len(test) < 2:
        problem = f"the test split has {len(test)} image: to tell images apart takes two or more"
        raise ParameterError(f"data_root: {problem}.")
    place = resolve(device)[0]
    here = next(method.parameters(), torch.empty(0)).device.type == place
    copy = method if here else deepcopy(method).to(place)
    size = min(128, len(test))
    images = min(batches, len(test) // size) * size
    views = MultiView(dino_views(test.images.shape[-1]))
    generator = torch.Generator().manual_seed(stream(0, 0, Use.HELD_OUT_VIEWS))
    chosen = stratified(test.labels, images, 0).split(size)
    drawn = (views(test.images[rows].to(place), generator) for rows in chosen)
    with evaluating(copy):
        return [copy.project(batch) for batch in drawn]


@torch.no_grad()
@exact()
@memory_errors("held-out information was computed", _CURE)
def held_out_information(
    method: Method, test: ImageSet, kappa=10.0, batches=4, device: str = "auto"
) -> dict[str, float]:
    """Eq. 2, 3 and 4 of a method's projections on held-out images, at one kappa for all methods.

    Args:
        kappa: concentration of the kernel, whatever the method was trained with. The other
            arguments, and the errors, are those of `held_out_projections`.

    Returns:
        `h_global`, `h_local`, and `mi_written` and `mi_density`, the two normalisations of
        `losses.mutual_information`; in nats. They are means over batches.
    """
    loss = InfoMaxLoss(kappa)
    projections = held_out_projections(method, test, batches, device)
    h_global, h_local = torch.tensor([loss.entropies(v) for v in projections]).mean(0).tolist()
    n_total = 8 * len(projections[0][0])
    information = mutual_information(h_global, h_local, 8, n_total)
    return {"h_global": h_global, "h_local": h_local, **information}
