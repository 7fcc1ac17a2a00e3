"""The paper's objective, Eq. 1 to 4, exact and in memory linear in the number of views.

Notation as in the paper: N unit vectors x_i on the sphere S^{D-1}, cosine similarities s_ij,
concentration (bandwidth) kappa, P(i) the other views of the image that view i shows.

    Eq. 1  C_D(kappa) exp(kappa s_ij), the kernel
    Eq. 2  H_global = -1/N sum_i log( 1/(N-1) sum_{j != i} C_D(kappa) exp(kappa s_ij) )
    Eq. 3  H_local, the same over j in P(i)
    Eq. 4  I = alpha H_global - beta H_local

All entropies are differential entropies in nats. N counts *views*: 8 views of 128 images are 1,024.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightly.utils.dist import gather, world_size
from torch import Tensor

from infomax_nb.device import float64
from infomax_nb.distributed import all_rows
from infomax_nb.errors import ParameterError
from infomax_nb.objective import KAPPA, KAPPA_MAX
from infomax_nb.objective.checks import VIEWS, check_rows, check_views
from infomax_nb.objective.log_sum_exp import log_sum_exp, log_sum_exp_of_groups
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import check_positive, log_vmf_normalizer

__all__ = ["InfoMaxLoss", "global_entropy", "local_entropy"]
__all__ += ["log_vmf_normalizer", "mutual_information"]


def global_entropy(z: Tensor, kappa: float) -> Tensor:
    """H_global, Eq. 2: leave-one-out estimate of the differential entropy of all views, in nats.

    H_global = -1/N sum_i log( 1/(N-1) sum_{j != i} C_D(kappa) exp(kappa s_ij) )

    Args:
        z: (N, D) unit rows, N >= 2; half precision is accumulated in float32.
        kappa: concentration of the kernel, > 0 and at most `KAPPA_MAX`.

    Returns:
        A scalar of z's dtype (float32 for half precision), with first derivatives; memory grows
        linearly in N. Where rounding to float32 matters, give z in float64.

    Raises:
        ValueError: an argument is not as described.
    """
    z = check_rows(z)
    kappa = check_positive("kappa", kappa, KAPPA_MAX)
    log_sums = log_sum_exp(z, kappa)
    return _entropy(float64(log_sums).mean(), len(z), z.shape[1], kappa).to(z.dtype)


def local_entropy(z: Tensor, image_ids: Tensor, kappa: float) -> Tensor:
    """H_local, Eq. 3: as Eq. 2, over the other views of the same image, in nats.

    H_local = -1/N sum_i log( 1/(N-1) sum_{j in P(i)} C_D(kappa) exp(kappa s_ij) )

    The factor is 1/(N-1), as in the paper. With 1/|P(i)| it would be an entropy of the views of
    one image: if all images have as many views, subtract the constant log((N-1)/|P|) to get that.

    Args:
        z: (N, D) unit rows.
        image_ids: (N,) whole numbers; rows with equal ids are views of one image, at least two.
        kappa: concentration of the kernel, > 0 and at most `KAPPA_MAX`.

    Returns:
        As of `global_entropy`.

    Raises:
        ValueError: an argument is not as described.
    """
    z = check_rows(z)
    kappa = check_positive("kappa", kappa, KAPPA_MAX)
    ids = torch.as_tensor(image_ids, device=z.device)
    if ids.shape != z.shape[:1]:
        needed = f"it must be ({len(z)},), one id for each row of z"
        raise ValueError(f"image_ids has shape {tuple(ids.shape)}: {needed}.")
    values, counts = ids.unique(return_counts=True)
    alone = values[counts < 2]
    if len(alone):
        image = alone[0].item()
        raise ValueError(f"image_ids: image {image} has one view: at least two are needed.")
    images = z[ids.argsort()].split(counts.tolist())
    log_sums = torch.cat([log_sum_exp(views, kappa) for views in images])
    return _entropy(float64(log_sums).mean(), len(z), z.shape[1], kappa).to(z.dtype)


def _entropy(mean_log_sum: Tensor, n: int, dim: int, kappa: float) -> Tensor:
    """Eq. 2 and 3 with their constants taken out of the logarithm."""
    return math.log(n - 1) - log_vmf_normalizer(dim, kappa) - mean_log_sum


class InfoMaxLoss(torch.nn.Module):
    """-(alpha * H_global - beta * H_local), the negative of Eq. 4, in nats.

    At alpha = beta = 1 and two views this is NT-Xent at temperature 1/kappa. When several processes
    train, the sums run over all their views. The returned value, and the gradient after DDP's
    averaging, are those of one process with the whole batch.

    `h_global` and `h_local` are the two entropies of the last call in nats (float64), without
    gradient; None before the first. Where all processes are known to have equally many images,
    `equal_shares = True` spares them asking each other at each call.

    Args:
        kappa: concentration of the kernel, 0 < kappa <= `KAPPA_MAX`; None means `KAPPA`.
        alpha: weight of the global entropy, >= 0.
        beta: weight of the local entropy, >= 0.
        temperature: 1/kappa, for those who think in temperatures; one of the two is enough.

    Raises:
        ParameterError: kappa, alpha, beta or temperature is not in its range, or kappa is not
            1/temperature.

    >>> z0 = z1 = torch.eye(4)  # two views of each of four images coincide
    >>> round(InfoMaxLoss(temperature=0.1)(z0, z1).item(), 4)
    0.0003
    """

    equal_shares = False

    def __init__(self, kappa: float | None = None, alpha=1.0, beta=1.0, *, temperature=None):
        super().__init__()
        self.kappa = _concentration(kappa, temperature)
        self.alpha = check_positive("alpha", alpha, least=0)
        self.beta = check_positive("beta", beta, least=0)
        self.h_global: Tensor | None = None
        self.h_local: Tensor | None = None

    def extra_repr(self) -> str:
        return f"kappa={self.kappa}, alpha={self.alpha}, beta={self.beta}"

    def forward(self, *views: Tensor | Sequence[Tensor], alone: bool = False, **others) -> Tensor:
        """The scalar loss in nats of V tensors (B, D), or of one list of them; see `entropies`."""
        if others:
            raise ParameterError(f"{min(others)} is not taken: {VIEWS}.")
        given: Any = views[0] if len(views) == 1 else views
        h_global, h_local = self.entropies(given, alone)
        self.h_global = h_global.detach()
        self.h_local = h_local.detach()
        loss = -(self.alpha * h_global - self.beta * h_local)
        return loss if given[0].dtype == torch.float64 else loss.float()

    def entropies(self, views: Sequence[Tensor], alone: bool = False) -> tuple[Tensor, Tensor]:
        """(H_global, H_local) of Eq. 2 and 3, scalars in nats.

        They are float64: log C_D is 11,219 nats at D = 4,096, and its rounding must not reach their
        difference. Everything else is computed in float32 (float64 stays).

        Args:
            views: V >= 2 tensors (B, D) of un-normalised projections. Row b of each is a view of
                image b; B >= 2, in all processes together. Any floating dtype.
            alone: use only these views, not those of all processes.

        Raises:
            ValueError: the views are anything else.
        """
        check_views(views)
        with torch.autocast(views[0].device.type, enabled=False):
            z = unit_rows(torch.stack(list(views)))
            rows = z.flatten(0, 1)
            together = world_size() > 1 and not alone
            one = (None, 0, len(rows))
            columns, offset, n = all_rows(rows, self.equal_shares) if together else one
            every = log_sum_exp(rows, self.kappa, columns, offset)
            own = log_sum_exp_of_groups(z.transpose(0, 1), self.kappa)
            both = (every, own)
            means = _means_of_all(n, *both) if together else [float64(x).mean() for x in both]
            h_global, h_local = [_entropy(mean, n, z.shape[2], self.kappa) for mean in means]
        return h_global, h_local


def _concentration(kappa: float | None, temperature: float | None) -> float:
    """The kappa that is meant by either, by both or by none."""
    meant = KAPPA
    if temperature is not None:
        meant = 1 / check_positive("temperature", temperature, least=1 / KAPPA_MAX)
    value = check_positive("kappa", meant if kappa is None else kappa, KAPPA_MAX)
    if temperature is not None and not math.isclose(value, meant, rel_tol=1e-6):
        given = f"kappa = {kappa} and temperature = {temperature} disagree"
        raise ParameterError(f"{given}: temperature is 1/kappa, and one of the two is enough.")
    return value


def _means_of_all(n: int, *values: Tensor) -> Tensor:
    """Means over the n entries of all processes; gradients are right once DDP has averaged."""
    own = torch.stack([float64(x).sum() for x in values]) * (world_size() / n)
    return own + (torch.stack(gather(own.detach())).mean(0) - own).detach()


def mutual_information(h_global: float, h_local: float, n_views: int, n_total: int) -> dict:
    """Eq. 4 at alpha = beta = 1 in its two normalisations, in nats.

    Args:
        h_global: nats.
        h_local: nats.
        n_views: views of each image, at least 2.
        n_total: views of all images, more than that.

    Returns:
        Two numbers by name. `mi_written` is H_global - H_local as the paper writes them, 1/(N-1) in
        both: never positive. `mi_density` has 1/|P| in Eq. 3, the density of one image's views: at
        most log((N-1)/|P|).

    Raises:
        ValueError: n_views or n_total is not as described.

    >>> mutual_information(h_global=1.0, h_local=2.0, n_views=2, n_total=8)["mi_written"]
    -1.0
    """
    if not 2 <= n_views < n_total:
        given = f"n_views = {n_views} of n_total = {n_total} is not allowed"
        raise ValueError(f"{given}: it must be 2 <= n_views < n_total.")
    written = float(h_global - h_local)
    return {"mi_written": written, "mi_density": written + math.log((n_total - 1) / (n_views - 1))}
