"""evaluation.neighbours."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.device import exact
from infomax_nb.errors import memory_errors
from infomax_nb.evaluation.representation import _CURE


def topk_accuracy(ranked: Tensor, labels: Tensor, k: int) -> float:
    """Percent of rows whose label is among the first k of `ranked` (N, >= k), classes by falling
    score."""
    return 100 * (ranked[:, :k] == labels[:, None]).any(1).float().mean().item()


def usual_k(images: int) -> int:
    """The k of k-NN with so many images in the bank: the usual 200, or a fifth of them if they are
    fewer than 1,000.

    Two hundred neighbours of 144 images would be all of them: a vote on which class is the largest.
    """
    return max(1, min(200, images // 5))


@exact()
@memory_errors("neighbours were looked for", _CURE)
def knn(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    n_classes: int,
    k: int | None = None,
    temperature=0.1,
) -> Tensor:
    """Classes by falling score (queries, n_classes): cosine k-NN, votes weighted by exp(similarity
    / temperature).

    lightly's `knn_predict` in chunks of bounded memory; k is cut to the size of the bank, None is
    `usual_k`.
    """
    from lightly.utils.benchmarking.knn import knn_predict

    k = min(k or usual_k(len(bank)), len(bank))
    bank, queries = normalize(bank, dim=1).T.contiguous(), normalize(queries, dim=1)
    chunk = max(8, min(1024, 50_000_000 // (k * n_classes + bank.shape[1])))
    return torch.cat(
        [knn_predict(q, bank, bank_labels, n_classes, k, temperature) for q in queries.split(chunk)]
    )


@exact()
@memory_errors("neighbours were looked for", _CURE)
def nearest(bank: Tensor, queries: Tensor, k: int) -> Tensor:
    """Rows of `bank` (N, D) nearest to each of `queries` (Q, D) by cosine: (Q, k), nearest first; k
    is cut to N."""
    return (normalize(queries, dim=1) @ normalize(bank, dim=1).T).topk(min(k, len(bank))).indices


def best_within(ranked: Tensor, labels: Tensor, coarse: Tensor) -> Tensor:
    """The first of `ranked` (N, classes) that is in the label's superclass: (N,).

    labels: (N,). coarse: (classes,), the superclass of each class.
    """
    own = coarse[ranked] == coarse[labels][:, None]
    return ranked.gather(1, own.int().argmax(1, keepdim=True))[:, 0]
