"""Measure frozen, pooled backbone features: by the linear head, by k-NN and by effective rank.

All of it is in IEEE float32, in whatever precision the network was trained. Where features lie
around a common mean, bfloat16's rounding fills empty dimensions, so that a collapse would look like
a rank of a hundred.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from infomax_nb.captured import RECORDERS, Captured
from infomax_nb.data.image_set import ImageSet
from infomax_nb.device import exact
from infomax_nb.errors import memory_errors
from infomax_nb.evaluation.neighbours import best_within, knn, topk_accuracies, topk_accuracy
from infomax_nb.evaluation.representation import MEMORY_CURE, effective_rank, features
from infomax_nb.files import atomic_write
from infomax_nb.seeds import Use, stream


class OnlineEvaluation:
    """The paper's evaluation after an epoch, on cached features: a linear head and k-NN.

    The head is one `Linear` layer. Each evaluation trains it further: Adam at 1e-3, batches of 256,
    two passes over the training features. The predicted class of each test image is kept, too.

    Args:
        train: the training images.
        test: the test images.
        n_features: the dimension D of features.
        seed: decides the head's initial weights and the order of features.
        device: where the head is.
    """

    def __init__(
        self, train: ImageSet, test: ImageSet, n_features: int, seed: int, device: torch.device
    ):
        self.train = train
        self.test = test
        self.seed = seed
        self.n_classes = len(train.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(seed, 0, Use.HEAD))
            self.head = nn.Linear(n_features, max(1, self.n_classes)).to(device)
        recordable = {"fused": True, "capturable": True}
        self.options: dict = recordable if device.type in RECORDERS else {}
        self.optimizer = torch.optim.Adam(self.head.parameters(), lr=1e-3, **self.options)
        self.recorded_step = Captured(self._step)
        self.predicted: dict[str, list] = {}

    @exact()
    @memory_errors("features were evaluated", MEMORY_CURE)
    def __call__(self, backbone: nn.Module, epoch: int, passes: int = 2) -> dict[str, float]:
        """Train the head further and measure.

        Args:
            backbone: the network.
            epoch: the epoch after which it is measured.
            passes: number of passes over the training features.

        Returns:
            `linear_top1`, `linear_top5`, `knn_top1`, `knn_top5` on the test set, percent (top-5
            from five classes on); `knn_few_top1`, where k is the number of images of the rarest
            class, if that is below 200; `effective_rank` of the test features, which without labels
            is the only entry.

        Raises:
            RunError: memory runs out.
        """
        if not self.n_classes:
            return {"effective_rank": effective_rank(features(backbone, self.test.images))}
        bank = features(backbone, self.train.images)
        queries = features(backbone, self.test.images)
        bank_labels = self.train.labels.to(bank.device)
        labels = self.test.labels.to(bank.device)
        self._train_head(bank, bank_labels, epoch, passes)
        rankings = {"linear": self.head(queries).argsort(dim=1, descending=True)}
        rankings["knn"] = knn(bank, bank_labels, queries, self.n_classes)
        self._keep(epoch, rankings, labels)
        measured = {}
        fewest = int(bank_labels.bincount(minlength=self.n_classes).min())
        if 0 < fewest < 200:
            ranked = knn(bank, bank_labels, queries, self.n_classes, fewest)
            measured["knn_few_top1"] = topk_accuracy(ranked, labels, 1)
        for name, ranked in rankings.items():
            measured |= topk_accuracies(name, ranked, labels, self.n_classes)
        return measured | {"effective_rank": effective_rank(queries)}

    def _train_head(self, bank: Tensor, labels: Tensor, epoch: int, passes: int) -> None:
        generator = torch.Generator().manual_seed(stream(self.seed, epoch, Use.HEAD_ORDER))
        with torch.enable_grad():
            for _ in range(passes):
                order = torch.randperm(len(bank), generator=generator).to(bank.device)
                for rows in order.split(256):
                    self.recorded_step(bank[rows], labels[rows])

    def _step(self, x: Tensor, labels: Tensor) -> None:
        """A step of the head on features (B, D) and their labels (B,)."""
        self.optimizer.zero_grad()
        cross_entropy(self.head(x), labels).backward()
        self.optimizer.step()

    def _keep(self, epoch: int, rankings: dict[str, Tensor], labels: Tensor) -> None:
        """Keep the first class of each ranking, and the first one in the label's superclass."""
        predicted = {name: ranked[:, 0] for name, ranked in rankings.items()}
        if self.test.coarse is not None:
            coarse = self.test.coarse.to(labels.device)
            for name, ranked in rankings.items():
                predicted[f"{name}_within"] = best_within(ranked, labels, coarse)
        self.predicted.setdefault("epochs", []).append(epoch)
        for name, classes in predicted.items():
            kept = torch.from_numpy(self._in_few_bytes(classes))
            self.predicted.setdefault(name, []).append(kept)

    def _in_few_bytes(self, classes: Tensor) -> np.ndarray:
        return classes.cpu().numpy().astype(np.min_scalar_type(self.n_classes - 1))

    def write(self, path: Path) -> None:
        """Write the predictions so far, the arrays of `train.Run.predictions`.

        Without labels no file is written.

        Raises:
            RunError: the disk is full.
        """
        if not self.predicted:
            path.unlink(missing_ok=True)
            return
        arrays: dict[str, Any] = {name: np.stack(each) for name, each in self.predicted.items()}
        arrays["labels"] = self._in_few_bytes(self.test.labels)

        def save(part: Path) -> None:
            with part.open("wb") as file:  # if given a name, NumPy would add an ending
                np.savez_compressed(file, **arrays)

        atomic_write(path, save)

    def state_dict(self) -> dict[str, Any]:
        """The head, its optimiser and the predictions, with which a resumed run continues."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "predicted": {name: list(kept) for name, kept in self.predicted.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.predicted = state.get("predicted", {})  # an old checkpoint has none
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group.update(self.options)  # an older checkpoint has others
