"""SimCLR (Chen et al. 2020), its loss without a mask, for whose size a GPU's host would wait."""

import torch
from torch import Tensor, nn

from infomax_nb.distributed import gathered
from infomax_nb.methods.base import Method

TEMPERATURE = 0.5  # lightly's default


class SimCLR(Method):
    """Two views, NT-Xent at lightly's default temperature 0.5.

    The head is lightly's (2048-128, BatchNorm). The published method uses LARS and batches of
    thousands; here all methods use AdamW and the same batch size.
    """

    def build(self, config, features, n_classes):
        from lightly.models.modules import SimCLRProjectionHead

        self.projector = SimCLRProjectionHead(features)

    def losses(self, labels, projections):
        first, second = map(gathered, projections)
        return {"loss": nt_xent(first, second, TEMPERATURE)}


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """lightly's NT-Xent loss of two views' projections (B, D) each, a scalar in nats.

    The numbers are the same, in the same order. lightly picks a view's similarities to all others
    with a mask.
    """
    a = nn.functional.normalize(first, dim=1)
    b = nn.functional.normalize(second, dim=1)
    pairs = ((a, a), (a, b), (b, a), (b, b))
    aa, ab, ba, bb = [torch.einsum("nc,mc->nm", *pair) / temperature for pair in pairs]
    of_first = torch.cat([ab, _off_diagonal(aa)], dim=1)
    of_second = torch.cat([ba, _off_diagonal(bb)], dim=1)
    positives = torch.arange(len(a), device=a.device).repeat(2)
    return nn.functional.cross_entropy(torch.cat([of_first, of_second]), positives)


def _off_diagonal(x: Tensor) -> Tensor:
    """The numbers (n, n - 1) of a matrix (n, n) that are not on its diagonal, in their order."""
    n = len(x)
    return x.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
