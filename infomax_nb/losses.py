"""The paper's objective, Eq. 1 to 4, exact and in memory linear in the number of views.

Notation as in the paper: N unit vectors x_i on the sphere S^{D-1}, cosine similarities s_ij,
concentration (bandwidth) kappa, P(i) the other views of the image that view i shows.
All entropies are differential entropies in nats. `N` counts *views*: 8 views of 128 images are
1,024.
"""

import math
from collections.abc import Sequence

import torch
from lightly.utils.dist import gather, world_size

from infomax_nb.distributed import all_rows
from infomax_nb.objective import KAPPA_MAX
from infomax_nb.objective.log_sum_exp import LogSumExp, positives
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import check_positive, log_vmf_normalizer


def _check_rows(z: torch.Tensor) -> torch.Tensor:
    if not isinstance(z, torch.Tensor) or not z.is_floating_point():
        kind = z.dtype if isinstance(z, torch.Tensor) else type(z).__name__
        raise ValueError(f"z is of {kind}: it must be a tensor (N, D) of floating-point numbers.")
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"z has shape {tuple(z.shape)}: it must be (N, D) with N >= 2 rows.")
    z = z if z.dtype == torch.float64 else z.float()
    norms = z.detach().norm(dim=1)
    if not (((norms - 1).abs() < 0.02) | (norms == 0)).all():
        raise ValueError(
            f"z must have rows of length 1; lengths go from {norms.min():.4g} to {norms.max():.4g}."
        )
    return z


def global_entropy(z: torch.Tensor, kappa: float) -> torch.Tensor:
    """H_global, Eq. 2: leave-one-out estimate of the differential entropy of all views, in nats.

    H_global = -1/N sum_i log( 1/(N-1) sum_{j != i} C_D(kappa) exp(kappa s_ij) )

    Args:
        z: (N, D) unit rows, N >= 2; half precision is accumulated in float32.
        kappa: concentration of the kernel, > 0.

    Returns: a scalar with gradient; memory grows linearly in N.
    """
    z, kappa = _check_rows(z), check_positive("kappa", kappa)
    return _entropy(LogSumExp.apply(z, None, kappa, 0), z, kappa)


def local_entropy(z: torch.Tensor, image_ids: torch.Tensor, kappa: float) -> torch.Tensor:
    """H_local, Eq. 3: as Eq. 2, but the inner sum runs over P(i), the other views of the same
    image, in nats.

    H_local = -1/N sum_i log( 1/(N-1) sum_{j in P(i)} C_D(kappa) exp(kappa s_ij) )

    The factor is 1/(N-1), as in the paper. With 1/|P(i)| instead it would be an entropy of the
    views of one
    image: subtract log((N-1)/|P|), a constant, to have that one.

    Args:
        z: (N, D) unit rows.
        image_ids: (N,) whole numbers; rows with equal ids are views of one image, at least two of
            each.
        kappa: concentration of the kernel, > 0.
    """
    z, kappa = _check_rows(z), check_positive("kappa", kappa)
    ids = torch.as_tensor(image_ids, device=z.device)
    if ids.shape != z.shape[:1]:
        raise ValueError(
            f"image_ids has shape {tuple(ids.shape)}: it must be ({len(z)},), one id for each row of z."
        )
    values, counts = ids.unique(return_counts=True)
    if (counts < 2).any():
        raise ValueError(
            f"image_ids: image {values[counts < 2][0].item()} has one view: at least two are needed."
        )
    images = z[ids.argsort()].split(counts.tolist())
    return _entropy(torch.cat([LogSumExp.apply(own, None, kappa, 0) for own in images]), z, kappa)


def _check_views(views: Sequence[torch.Tensor]) -> None:
    """ValueError unless these are V >= 2 tensors (B, D), alike in shape, dtype and device, of B >=
    2 images in all."""
    if isinstance(views, torch.Tensor):
        hint = "list(z.unbind(1)) of a tensor z of shape (B, V, D)"
        raise ValueError(
            f"views: one tensor of shape {tuple(views.shape)}: it must be a list of views, as {hint}."
        )
    needed = (
        "it must be a list of at least two tensors of one shape (B, D), D >= 2, one for each view"
    )
    if not isinstance(views, list | tuple) or not all(isinstance(v, torch.Tensor) for v in views):
        kinds = sorted({type(v).__name__ for v in views}) if isinstance(views, list | tuple) else []
        of = f" of {', '.join(kinds)}" if kinds else ""
        raise ValueError(f"views: a {type(views).__name__}{of}: {needed}.")
    shapes = sorted({tuple(v.shape) for v in views})
    if (
        len(views) < 2
        or len(shapes) != 1
        or views[0].ndim != 2
        or not len(views[0])
        or shapes[0][1] < 2
    ):
        raise ValueError(f"views: {len(views)} tensors of shapes {shapes}: {needed}.")
    kinds = sorted({f"{v.dtype} on {v.device}" for v in views})
    if len(kinds) > 1 or not views[0].is_floating_point():
        raise ValueError(
            f"views: tensors of {' and '.join(kinds)}: all must have one floating dtype, on one device."
        )
    if len(views[0]) == 1 and world_size() == 1:
        raise ValueError(
            "views: of one image (B = 1): at least two images are needed, to be told from each other."
        )


def _entropy(log_sum: torch.Tensor, z: torch.Tensor, kappa: float) -> torch.Tensor:
    constant = math.log(len(z) - 1) - log_vmf_normalizer(z.shape[1], kappa)
    return (constant - log_sum.double().mean()).to(z.dtype)


class InfoMaxLoss(torch.nn.Module):
    """-(alpha * H_global - beta * H_local), the negative of Eq. 4, in nats.

    At alpha = beta = 1 and two views this is NT-Xent at temperature 1/kappa. When several processes
    train, the sums run over all their views; the gradient that DDP's averaging leaves is that of
    one process with the whole batch, and so is the returned value.

    Args:
        kappa: concentration of the kernel, 0 < kappa <= 1e4.
        alpha: weight of the global entropy, >= 0.
        beta: weight of the local entropy, >= 0.
    """

    def __init__(self, kappa: float = 10.0, alpha: float = 1.0, beta: float = 1.0):
        super().__init__()
        self.kappa = check_positive("kappa", kappa, KAPPA_MAX)
        self.alpha = check_positive("alpha", alpha, zero=True)
        self.beta = check_positive("beta", beta, zero=True)

    def entropies(
        self, views: Sequence[torch.Tensor], alone: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(H_global, H_local) of Eq. 2 and 3, scalars in nats, for V >= 2 tensors (B, D) of
        un-normalised projections.

        Row b of every tensor is a view of image b; B >= 2, in all processes together. Any floating
        dtype, the same on the same device for all; computed in float32 (float64 stays). ValueError
        for anything else. The two
        come in float64: log C_D is 11,219 nats at D = 4,096, and their difference must not inherit
        its rounding. `alone`: of these views only, not of all processes'.
        """
        _check_views(views)
        with torch.autocast(views[0].device.type, enabled=False):
            z = unit_rows(torch.stack(list(views)))
            rows, cols, offset, total = z.flatten(0, 1), None, 0, z.shape[0] * z.shape[1]
            if together := world_size() > 1 and not alone:
                cols, offset, total = all_rows(rows)
            constant = math.log(total - 1) - log_vmf_normalizer(z.shape[2], self.kappa)
            log_all = LogSumExp.apply(rows, cols, self.kappa, offset)
            log_own = positives(z.transpose(0, 1), self.kappa)
            return constant - _mean(log_all, total, together), constant - _mean(
                log_own, total, together
            )

    def combine(self, h_global: torch.Tensor, h_local: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, from the two entropies (scalars, nats): the negative of Eq. 4."""
        return -(self.alpha * h_global - self.beta * h_local)

    def forward(self, views: Sequence[torch.Tensor]) -> torch.Tensor:
        """The scalar loss in nats of V tensors (B, D); see `entropies`."""
        loss = self.combine(*self.entropies(views))
        return loss if views[0].dtype == torch.float64 else loss.float()


def _mean(x: torch.Tensor, total: int, together: bool) -> torch.Tensor:
    """Mean over the `total` entries of all processes; its gradient is right after DDP has
    averaged."""
    if not together:
        return x.double().mean()
    own = x.double().sum() * (world_size() / total)
    return own + (torch.stack(gather(own.detach())).mean() - own).detach()


def mutual_information(
    h_global: float, h_local: float, n_views: int, n_total: int
) -> dict[str, float]:
    """Eq. 4 at alpha = beta = 1 in its two normalisations, in nats.

    `mi_written`: H_global - H_local as the paper writes them, 1/(N-1) in both: never positive.
    `mi_density`: with 1/|P| in Eq. 3, the density of one image's views: at most log((N-1)/|P|).

    ValueError unless each of the `n_total` views is one of `n_views` >= 2 of its image, and there
    are more.
    """
    if not 2 <= n_views < n_total:
        raise ValueError(
            f"n_views = {n_views} of n_total = {n_total} is not allowed: it must be 2 <= n_views < n_total."
        )
    written = float(h_global - h_local)
    return {"mi_written": written, "mi_density": written + math.log((n_total - 1) / (n_views - 1))}
