"""k-NN classification by cosine similarity, and accuracies of rankings."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from infomax_nb.device import exact
from infomax_nb.errors import memory_errors, not_allowed
from infomax_nb.evaluation.representation import MEMORY_CURE

LEAST_TEMPERATURE = 0.0125  # sums of exp(1 / temperature) stay inside float32's range


def topk_accuracy(ranked: Tensor, labels: Tensor, k: int) -> float:
    """Percent of rows whose label is among the first k classes.

    Args:
        ranked: (N, >= k), classes by falling score.
        labels: (N,).

    >>> topk_accuracy(torch.tensor([[2, 0, 1], [1, 2, 0]]), torch.tensor([0, 1]), k=1)
    50.0
    """
    return 100 * (ranked[:, :k] == labels[:, None]).any(1).float().mean().item()


def topk_accuracies(name: str, ranked: Tensor, labels: Tensor, n_classes: int) -> dict[str, float]:
    """`topk_accuracy` in percent: `<name>_top1` and, from five classes on, `<name>_top5`.

    Args:
        name: what ranked the classes.
        ranked: (N, classes), classes by falling score.
        labels: (N,).
        n_classes: number of classes.
    """
    ks = (1, 5) if n_classes >= 5 else (1,)
    return {f"{name}_top{k}": topk_accuracy(ranked, labels, k) for k in ks}


def usual_k(images: int) -> int:
    """The k of k-NN with this many images in the bank: 200, or a fifth of fewer than 1,000.

    Of 144 images, two hundred neighbours would be all: a vote for the largest class.

    >>> usual_k(60_000), usual_k(144)
    (200, 28)
    """
    return max(1, min(200, images // 5))


@exact()
@memory_errors("neighbours were looked for", MEMORY_CURE)
def knn(
    bank: Tensor,
    labels: Tensor,
    queries: Tensor,
    n_classes: int,
    k: int | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """Rank the classes by cosine k-NN, with votes weighted by exp(similarity / temperature).

    This is lightly's `knn_predict`, in chunks of bounded memory.

    Args:
        bank: features (N, D).
        labels: classes (N,) of the bank, from 0 to n_classes - 1 (`ImageSet.labelled`).
        queries: features (Q, D).
        n_classes: number of classes.
        k: number of neighbours, from 1; more than N are N; None is `usual_k`.
        temperature: of the votes' weights, at least 0.0125.

    Returns:
        Classes by falling score, (Q, n_classes).

    Raises:
        ParameterError: k or the temperature is not allowed.
        RunError: memory runs out.
    """
    from lightly.utils.benchmarking.knn import knn_predict

    if k is not None and k < 1:
        raise not_allowed("k", k, "at least 1")
    if not temperature >= LEAST_TEMPERATURE:
        raise not_allowed("temperature", temperature, f"at least {LEAST_TEMPERATURE}")
    k = min(usual_k(len(bank)) if k is None else k, len(bank))
    columns = normalize(bank, dim=1).T.contiguous()
    numbers = k * n_classes + len(bank)  # in memory, for each query
    chunks = normalize(queries, dim=1).split(max(8, min(1024, 50_000_000 // numbers)))
    ranked = [knn_predict(chunk, columns, labels, n_classes, k, temperature) for chunk in chunks]
    return torch.cat(ranked)


@exact()
@memory_errors("neighbours were looked for", MEMORY_CURE)
def nearest(bank: Tensor, queries: Tensor, k: int) -> Tensor:
    """Rows (Q, k) of `bank` (N, D) nearest to `queries` (Q, D) by cosine, nearest first; k <= N."""
    cosine = normalize(queries, dim=1) @ normalize(bank, dim=1).T
    return cosine.topk(min(k, len(bank))).indices


def best_within(ranked: Tensor, labels: Tensor, coarse: Tensor) -> Tensor:
    """The best class of the label's superclass, for each row: (N,).

    Args:
        ranked: (N, classes), classes by falling score.
        labels: (N,).
        coarse: (classes,), the superclass of each class.
    """
    in_superclass = coarse[ranked] == coarse[labels][:, None]
    first = in_superclass.int().argmax(1, keepdim=True)
    return ranked.gather(1, first)[:, 0]
