"""Maps of features in two dimensions, aligned over epochs, and the similarities of a few views."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.methods import Method

PERPLEXITY = 10.0  # about as many neighbours as an image of the recorded maps has of its class
_SEED = 0  # of t-SNE, for ties


def moving_map(frames: Sequence[Tensor], perplexity: float = PERPLEXITY) -> list[np.ndarray]:
    """A map of the same images for each epoch, such that images move as little as possible.

    Each map is t-SNE on the cosine distances of the features. The first one starts from their
    principal components, each later one where the one before ended; all are `aligned`.

    Args:
        frames: features (N, D) of the same N images, one tensor for each epoch.
        perplexity: about how many neighbours of an image t-SNE tries to keep; at most (N − 1) / 3.

    Returns:
        For each epoch the places (N, 2), centred, with mean squared distance 1 from the centre.
    """
    from sklearn.manifold import TSNE  # which takes a second

    most = (len(frames[0]) - 1) / 3
    places: list[np.ndarray] = []
    for features in frames:
        unit = normalize(features, dim=1).cpu().numpy()
        start = 1e-4 * places[-1] if places else "pca"
        options = {"perplexity": min(perplexity, most), "metric": "cosine", "random_state": _SEED}
        places.append(TSNE(init=start, **options).fit_transform(unit))
    return aligned(places)


def aligned(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Turn and mirror maps so that each lies as near as possible to the one after it.

    A map's distances mean something, its orientation does not. The last map keeps its own; each
    earlier one is turned onto its successor (orthogonal Procrustes: the rotation or reflection
    with the smallest sum of squared distances).

    Args:
        frames: places (N, 2) of the same N points in each map.

    Returns:
        The maps, centred, each with mean squared distance 1 from its centre.
    """
    scaled = [_scaled(frame) for frame in frames]
    turned = scaled[-1:]
    for frame in reversed(scaled[:-1]):
        rotation, _ = orthogonal_procrustes(frame, turned[0])
        turned.insert(0, frame @ rotation)
    return turned


def _scaled(frame: np.ndarray) -> np.ndarray:
    centred = frame - frame.mean(0)
    return centred / np.sqrt(np.square(centred).sum(1).mean())


def between(frames: Sequence[np.ndarray], steps: int) -> list[np.ndarray]:
    """For a film: the frames (N, 2), and `steps` - 1 between each two of them.

    Points move on straight lines.
    """
    shares = np.linspace(0, 1, steps, endpoint=False)
    shown = [(1 - share) * a + share * b for a, b in pairwise(frames) for share in shares]
    return [*shown, frames[-1]]


@torch.no_grad()
@exact()
def view_similarities(method: Method, views: Sequence[Tensor], images: int) -> np.ndarray:
    """Cosine similarities of the projections of a batch's first images, views of one side by side.

    The method is used as in a training step: BatchNorm takes its statistics from the batch. After
    it the method is in the mode in which it was.

    Args:
        method: one with a projector. Its BatchNorm's running statistics change.
        views: V views (B, 3, S, S) of a batch.
        images: how many images to show, n <= B.

    Returns:
        (n * V, n * V), in which rows V * b to V * b + V - 1 are the views of image b.
    """
    before = method.training
    method.train()
    try:
        projections = torch.stack(method.project(list(views)), dim=1)  # (B, V, D)
    finally:
        method.train(before)
    unit = normalize(projections[:images].flatten(0, 1).double(), dim=1)
    return (unit @ unit.T).cpu().numpy()


def groups_of(images: ImageSet, most: int = 12) -> np.ndarray:
    """The name of each image's superclass, (N,); where there are none, of its class.

    Where there are no classes either, or more than `most` groups, all are called "images".
    """
    labels = images.labels.numpy()
    names = np.array(images.classes, object)
    if images.coarse is not None and images.coarse_names is not None:
        names = np.array(images.coarse_names, object)[images.coarse]
    if labels.min() < 0 or not 0 < len(set(names)) <= most:
        return np.full(len(labels), "images", object)
    return names[labels]
