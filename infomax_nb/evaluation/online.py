"""What is measured on frozen, pooled backbone features: the linear head, k-NN, effective rank.

All of it in IEEE float32, whatever the network was trained in: bfloat16's rounding of features that
lie around a common mean fills dimensions that are empty, so that a collapse would look like a rank
of a hundred.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.errors import memory_errors
from infomax_nb.evaluation.neighbours import best_within, knn, topk_accuracy
from infomax_nb.evaluation.representation import _CURE, effective_rank, features
from infomax_nb.files import atomic_write
from infomax_nb.seeds import Use, stream


class OnlineEvaluation:
    """The paper's evaluation after an epoch, on cached features: a linear head and k-NN
    (`usual_k`).

    One `Linear` layer, Adam at 1e-3, batches of 256, two passes over the training features at each
    evaluation; the same head is kept from one evaluation to the next, and so is what was predicted
    of each test image.
    """

    def __init__(
        self, train: ImageSet, test: ImageSet, n_features: int, seed: int, device: torch.device
    ):
        self.train, self.test, self.seed, self.n_classes = train, test, seed, len(train.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed, 0, Use.HEAD))
            self.head = nn.Linear(n_features, max(1, self.n_classes)).to(device)
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=1e-3)
        self.predicted: dict[str, list] = {}

    @exact()
    @memory_errors("features were evaluated", _CURE)
    def __call__(self, backbone: nn.Module, epoch: int, passes: int = 2) -> dict[str, float]:
        """`linear_top1`, `linear_top5`, `knn_top1`, `knn_top5` on the test set, percent (top-5 from
        five classes on); `knn_few_top1` with k = images per class, where some class has fewer than
        200; `effective_rank` of the test features, which is all there is without labels."""
        if not self.n_classes:
            return {"effective_rank": effective_rank(features(backbone, self.test.images))}
        x, queries = features(backbone, self.train.images), features(backbone, self.test.images)
        y, labels = self.train.labels.to(x.device), self.test.labels.to(x.device)
        generator = torch.Generator().manual_seed(stream(self.seed, epoch, Use.HEAD_ORDER))
        with torch.enable_grad():
            for _ in range(passes):
                for rows in torch.randperm(len(x), generator=generator).split(256):
                    self.optimizer.zero_grad()
                    cross_entropy(self.head(x[rows]), y[rows]).backward()
                    self.optimizer.step()
        linear = self.head(queries).argsort(dim=1, descending=True)
        measured, fewest = {}, int(y.bincount(minlength=self.n_classes).min())
        if 0 < fewest < 200:
            measured["knn_few_top1"] = topk_accuracy(
                knn(x, y, queries, self.n_classes, fewest), labels, 1
            )
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
            best |= {
                f"{name}_within": best_within(ranked, labels, coarse)
                for name, ranked in rankings.items()
            }
        self.predicted.setdefault("epochs", []).append(epoch)
        for name, classes in best.items():
            self.predicted.setdefault(name, []).append(torch.from_numpy(self._small(classes)))

    def _small(self, classes: Tensor) -> np.ndarray:
        return classes.cpu().numpy().astype(np.min_scalar_type(self.n_classes - 1))

    def write(self, path: Path) -> None:
        """Write what was predicted so far, the arrays of `train.Run.predictions`; no file without
        labels."""
        if not self.predicted:
            path.unlink(missing_ok=True)
            return
        arrays = {name: np.stack(values) for name, values in self.predicted.items()}
        arrays["labels"] = self._small(self.test.labels)
        atomic_write(path, lambda part: _savez(part, arrays))

    def state_dict(self) -> dict:
        """The head, its optimiser and what was predicted, so that a resumed run continues with
        them."""
        predicted = {name: list(values) for name, values in self.predicted.items()}
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "predicted": predicted,
        }

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict()`."""
        self.predicted = state.get("predicted", {})  # none in a checkpoint from before
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def _savez(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given a name, numpy would add its own ending
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
