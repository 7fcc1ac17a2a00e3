"""What is measured on frozen, pooled backbone features: the linear head, k-NN, effective rank.

All of it in IEEE float32, whatever the network was trained in: bfloat16's rounding of features that lie around a common
mean fills dimensions that are empty, so that a collapse would look like a rank of a hundred.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from lightly.utils.dist import rank, world_size
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from .config import write_whole
from .data import Files, ImageSet, stream
from .device import exact, memory, resolve
from .kernels.log_sum_exp import gathered
from .models import check_size
from .views import normalise

_CURE = "take fewer images (n_train), a smaller image_size, or device = cpu"


def inputs(images: Tensor | Files, device: torch.device | str = "cpu", batch: int = 512) -> Iterator[Tensor]:
    """uint8 images (N, 3, H, W) as the network's un-augmented input, a batch at a time."""
    for chunk in images.split(batch):
        x = normalise(chunk.to(device).transpose(0, 1).float()).transpose(0, 1)
        yield x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(backbone: nn.Module, images: Tensor | Files, device: str | None = None) -> Tensor:
    """Features (N, D), float32, of uint8 images (N, 3, H, W), un-augmented, with BatchNorm's running statistics.

    `nn.Flatten()` as the backbone gives raw pixels, normalised as the networks' input is.

    Args:
        device: `auto`, `cpu` or `cuda`: where a copy of the network computes, while the features come to the CPU. None:
            where the network is, and there the features stay.

    Raises ParameterError for images that a ViT can't divide into patches, RunError where memory runs out.
    """
    check_size(backbone, *images.shape[2:])
    place = next(backbone.parameters(), torch.empty(0)).device
    if device is not None:
        place = torch.device(resolve(device)[0])
        backbone = deepcopy(backbone)
    modes = {module: module.training for module in backbone.modules()}
    share = -(-len(images) // world_size())  # of each process; the last one's wraps around: all are equally long
    doing = f"the features of {len(images):,} images of {images.shape[-1]} pixels were computed"
    with exact(), memory(doing, _CURE):
        backbone.to(place).eval()
        part = images if world_size() == 1 else images[(rank() * share + torch.arange(share)) % len(images)]
        out = gathered(torch.cat([backbone(x).float() for x in inputs(part, place)]))[: len(images)]
        out = out if device is None else out.cpu()
    backbone.apply(lambda module: setattr(module, "training", modes[module]))
    return out


def topk_accuracy(ranked: Tensor, labels: Tensor, k: int) -> float:
    """Percent of rows whose label is among the first k of `ranked` (N, >= k), classes by falling score."""
    return 100 * (ranked[:, :k] == labels[:, None]).any(1).float().mean().item()


def usual_k(images: int) -> int:
    """The k of k-NN with so many images in the bank: the usual 200, or a fifth of them if they are fewer than 1,000.

    Two hundred neighbours of 144 images would be all of them: a vote on which class is the largest.
    """
    return max(1, min(200, images // 5))


@exact()
@memory("neighbours were looked for", _CURE)
def knn(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, n_classes: int, k: int | None = None, temperature=0.1
) -> Tensor:
    """Classes by falling score (queries, n_classes): cosine k-NN, votes weighted by exp(similarity / temperature).

    lightly's `knn_predict` in chunks of bounded memory; k is cut to the size of the bank, None is `usual_k`.
    """
    from lightly.utils.benchmarking.knn import knn_predict

    k = min(k or usual_k(len(bank)), len(bank))
    bank, queries = normalize(bank, dim=1).T.contiguous(), normalize(queries, dim=1)
    chunk = max(8, min(1024, 50_000_000 // (k * n_classes + bank.shape[1])))
    return torch.cat([knn_predict(q, bank, bank_labels, n_classes, k, temperature) for q in queries.split(chunk)])


@exact()
@memory("neighbours were looked for", _CURE)
def nearest(bank: Tensor, queries: Tensor, k: int) -> Tensor:
    """Rows of `bank` (N, D) nearest to each of `queries` (Q, D) by cosine: (Q, k), nearest first; k is cut to N."""
    return (normalize(queries, dim=1) @ normalize(bank, dim=1).T).topk(min(k, len(bank))).indices


@exact()
def effective_rank(x: Tensor) -> float:
    """exp of the entropy of centred features' relative singular values (Roy, Vetterli 2007); (N, D): 1 to min(N, D)."""
    x = (x - x.mean(0)).double()
    values = torch.linalg.eigvalsh(x @ x.T if len(x) < x.shape[1] else x.T @ x).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=1e-300)
    return float(torch.special.entr(share).sum().exp())


def best_within(ranked: Tensor, labels: Tensor, coarse: Tensor) -> Tensor:
    """The first of `ranked` (N, classes) that is in the label's superclass: (N,).

    labels: (N,). coarse: (classes,), the superclass of each class.
    """
    own = coarse[ranked] == coarse[labels][:, None]
    return ranked.gather(1, own.int().argmax(1, keepdim=True))[:, 0]


class OnlineEvaluation:
    """The paper's evaluation after an epoch, on cached features: a linear head and k-NN (`usual_k`).

    One `Linear` layer, Adam at 1e-3, batches of 256, two passes over the training features at each evaluation;
    the same head is kept from one evaluation to the next, and so is what was predicted of each test image.
    """

    def __init__(self, train: ImageSet, test: ImageSet, n_features: int, seed: int, device: torch.device):
        self.train, self.test, self.seed, self.n_classes = train, test, seed, len(train.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed, 0, 3))
            self.head = nn.Linear(n_features, max(1, self.n_classes)).to(device)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=1e-3)
        self.predicted: dict[str, list] = {}

    @exact()
    @memory("features were evaluated", _CURE)
    def __call__(self, backbone: nn.Module, epoch: int, passes: int = 2) -> dict[str, float]:
        """`linear_top1`, `linear_top5`, `knn_top1`, `knn_top5` on the test set, percent (top-5 from five classes on);
        `knn_few_top1` with k = images per class, where some class has fewer than 200; `effective_rank` of the test
        features, which is all there is without labels."""
        if not self.n_classes:
            return {"effective_rank": effective_rank(features(backbone, self.test.images))}
        x, queries = features(backbone, self.train.images), features(backbone, self.test.images)
        y, labels = self.train.labels.to(x.device), self.test.labels.to(x.device)
        generator = torch.Generator().manual_seed(stream(self.seed, epoch, 4))
        with torch.enable_grad():
            for _ in range(passes):
                for rows in torch.randperm(len(x), generator=generator).split(256):
                    self.optimizer.zero_grad()
                    cross_entropy(self.head(x[rows]), y[rows]).backward()
                    self.optimizer.step()
        linear = self.head(queries).argsort(dim=1, descending=True)
        measured, fewest = {}, int(y.bincount(minlength=self.n_classes).min())
        if 0 < fewest < 200:
            measured["knn_few_top1"] = topk_accuracy(knn(x, y, queries, self.n_classes, fewest), labels, 1)
        rankings = {"linear": linear, "knn": knn(x, y, queries, self.n_classes)}
        self._keep(epoch, rankings, labels)
        for name, ranked in rankings.items():
            for k in (1, 5) if self.n_classes >= 5 else (1,):
                measured[f"{name}_top{k}"] = topk_accuracy(ranked, labels, k)
        return measured | {"effective_rank": effective_rank(queries)}

    def _keep(self, epoch: int, rankings: dict[str, Tensor], labels: Tensor) -> None:
        best = {name: ranked[:, 0] for name, ranked in rankings.items()}
        if self.test.coarse is not None:
            coarse = self.test.coarse.to(labels.device)
            best |= {f"{name}_within": best_within(ranked, labels, coarse) for name, ranked in rankings.items()}
        self.predicted.setdefault("epochs", []).append(epoch)
        for name, classes in best.items():
            self.predicted.setdefault(name, []).append(torch.from_numpy(self._small(classes)))

    def _small(self, classes: Tensor) -> np.ndarray:
        return classes.cpu().numpy().astype(np.min_scalar_type(self.n_classes - 1))

    def write(self, path: Path) -> None:
        """Write what was predicted so far, the arrays of `train.Run.predictions`; no file without labels."""
        if not self.predicted:
            path.unlink(missing_ok=True)
            return
        arrays = {name: np.stack(values) for name, values in self.predicted.items()}
        arrays["labels"] = self._small(self.test.labels)
        write_whole(path, lambda part: _savez(part, arrays))

    def state_dict(self) -> dict:
        """The head, its optimiser and what was predicted, so that a resumed run continues with them."""
        predicted = {name: list(values) for name, values in self.predicted.items()}
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict(), "predicted": predicted}

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict()`."""
        self.predicted = state.get("predicted", {})  # none in a checkpoint from before
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def _savez(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given a name, numpy would add its own ending
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
