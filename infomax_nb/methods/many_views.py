"""What the objectives have in common that differ from ours in one logarithm.

For view i write s_ip for its cosine similarity with another view p of its image. All of these
objectives are functions of kappa s_ip and of one number more, log sum_j exp(kappa s_ij) over the
views j of other images. Ours, at alpha = beta = 1, is one of them: it is L_in of Khosla et al.
(2020, Eq. 3), up to a constant.
"""

import torch
from torch import Tensor

from infomax_nb.distributed import gathered
from infomax_nb.methods.base import Method
from infomax_nb.models import mlp
from infomax_nb.objective.unit_rows import unit_rows


class ManyViews(Method):
    """Ours' views, projector and kappa; only the loss differs, `of_pairs`."""

    def build(self, config, features, n_classes):
        self.projector = mlp(features, config.proj_dim)

    def losses(self, labels, projections):
        views = [gathered(x) for x in projections]
        return {"loss": self.of_pairs(*pairs(views, self.config.kappa))}

    @staticmethod
    def of_pairs(positives: Tensor, others: Tensor) -> Tensor:
        """The loss, a scalar in nats, of what `pairs` returns for a batch."""
        raise NotImplementedError


def pairs(views: list[Tensor], kappa: float) -> tuple[Tensor, Tensor]:
    """The similarities that decide these losses, of V views (B, D) of B images.

    Returns:
        `positives` (V - 1, N), kappa s_ip for each of the N = V B views and each other view of its
        image; `others` (N,), log sum_j exp(kappa s_ij) over all views of other images, in nats.
    """
    z = unit_rows(torch.stack(views))
    count, images = z.shape[:2]
    turned = [z.roll(k, 0) for k in range(1, count)]  # each view beside another of its image
    positives = kappa * torch.stack([(z * other).sum(-1).flatten() for other in turned])
    rows = z.flatten(0, 1)
    same_image = torch.eye(images, dtype=torch.bool, device=z.device).repeat(count, count)
    similarities = kappa * (rows @ rows.T)
    return positives, similarities.masked_fill(same_image, -torch.inf).logsumexp(1)
