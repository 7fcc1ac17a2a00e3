"""What Eq. 2 and Eq. 4 should find where the truth is known, and other estimators to compare them
with (notebook 10).

The model: x uniform on the sphere S^{D-1}; of each x, V views y | x ~ vMF(x, kappa0), independent
of each other. Entropies and informations are in nats.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import vonmises_fisher
from torch import Tensor

from infomax_nb.objective import KAPPA_MAX
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import check_positive, log_vmf_normalizer


def log_area(dim: int) -> float:
    """log of the surface of S^{D-1}: the entropy of the uniform distribution, the largest there
    is."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def vmf_entropy(dim: int, kappa: float) -> float:
    """-log C_D(kappa) - kappa A_D(kappa); A_D = I_{D/2} / I_{D/2-1} is the mean cosine (Mardia and
    Jupp 2000, 9.3).

    A_D is taken from the normalisers of D and D + 2 in log space, where neither Bessel function
    underflows.
    """
    log_c = log_vmf_normalizer(dim, kappa)
    return -log_c - kappa * kappa / (2 * math.pi) * math.exp(
        log_c - log_vmf_normalizer(dim + 2, kappa)
    )


def vmf_mutual_information(dim: int, kappa0: float) -> float:
    """I(X;Y) = H(Y) - H(Y|X) of the model, where Y is uniform like X."""
    return log_area(dim) - vmf_entropy(dim, kappa0)


def vmf_sample(mean: Tensor, kappa: float, rng: np.random.Generator) -> Tensor:
    """One draw from vMF(mean, kappa) for each unit row of `mean` (N, D): (N, D), float64."""
    pole = torch.eye(mean.shape[1], dtype=torch.float64)[0]
    draws = torch.from_numpy(
        vonmises_fisher(pole.numpy(), kappa).rvs(len(mean), random_state=rng)
    ).view(mean.shape)
    mirror = unit_rows(mean.double() - pole)  # reflecting at this normal takes the pole to the mean
    return draws - 2 * (draws * mirror).sum(1, keepdim=True) * mirror


def vmf_views(
    n: int, dim: int, kappa0: float, n_views: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A sample of the model: x (N, D) and its views (V, N, D), float64."""
    x = unit_rows(torch.from_numpy(rng.standard_normal((n, dim))))
    return x, vmf_sample(x.repeat(n_views, 1), kappa0, rng).view(n_views, n, dim)


def views_information(views: Tensor, kappa0: float) -> float:
    """I(Y_1; Y_2..Y_V), what the other views tell about one: a mean of closed-form log-ratios over
    `views` (V, N, D).

    With x integrated out, p(y_1..y_V) = C_D(kappa0)^V / (|S^{D-1}| C_D(kappa0 |y_1 + .. + y_V|)).
    It grows with V towards I(X;Y), as many views give x away.
    """
    dim, lengths = views.shape[2], [v.sum(0).norm(dim=1) for v in (views[1:], views)]
    others, every = (
        np.mean([log_vmf_normalizer(dim, kappa0 * float(r)) for r in length]) for length in lengths
    )
    return log_area(dim) + log_vmf_normalizer(dim, kappa0) + float(others - every)


def smoothed_information(dim: int, kappa0: float, kappa: float, nodes: int = 400) -> float:
    """E log q(y|x) / q(y) with q = p * K_kappa: Eq. 4 (with 1/|P|) of endlessly many x with
    endlessly many views each.

    Gauss-Legendre quadrature over the angle between x and y. q(y) is uniform, and two vMF densities
    convolve to q(y|x) = C_D(kappa0) C_D(kappa) / C_D(|kappa0 x + kappa y|).
    """
    t, w = (
        (np.stack(np.polynomial.legendre.leggauss(nodes)) + [[1], [0]]) * np.pi / 2
    )  # nodes moved to 0..pi
    lengths = np.hypot(
        kappa0 - kappa, 2 * math.sqrt(kappa0 * kappa) * np.cos(t / 2)
    )  # |kappa0 x + kappa y|
    log_c = np.array([log_vmf_normalizer(dim, k) for k in (kappa0, kappa, *lengths)])
    p = w * np.exp(
        log_area(dim - 1) + (dim - 2) * np.log(np.sin(t)) + log_c[0] + kappa0 * np.cos(t)
    )
    return float(p @ (log_area(dim) + log_c[0] + log_c[1] - log_c[2:]))


def best_kappa(score: Callable[[float], float]) -> float:
    """The kappa between 0.1 and 10,000 with the highest score(kappa), to about 5%; there must be
    one maximum."""
    return math.exp(
        minimize_scalar(
            lambda t: -score(math.exp(t)), bounds=(-2.3, 9.21), options={"xatol": 0.05}
        ).x
    )


def info_nce(scores: Tensor) -> Tensor:
    """mean_i log( e^f_ii / (1/N sum_j e^f_ij) ) <= log N (van den Oord et al. 2018, 2.3), scores
    f(x_i, y_j) (N, N)."""
    return (scores.diagonal() - scores.logsumexp(1)).mean() + math.log(len(scores))


def nwj(scores: Tensor) -> Tensor:
    """mean_i f_ii - mean_{i != j} e^(f_ij - 1) (Nguyen et al. 2010, in the form of Poole et al.
    2019)."""
    return scores.diagonal().mean() - (_log_mean_exp(scores) - 1).exp()


def mine(scores: Tensor) -> Tensor:
    """mean_i f_ii - log mean_{i != j} e^f_ij (Belghazi et al. 2018, Theorem 1: Donsker and
    Varadhan's bound)."""
    return scores.diagonal().mean() - _log_mean_exp(scores)


def _log_mean_exp(scores: Tensor) -> Tensor:
    apart = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf)
    return apart.logsumexp((0, 1)) - math.log(len(scores) * (len(scores) - 1))


def critic_bound(
    bound: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, bilinear: bool = False
) -> float:
    """`bound` on the second half of the pairs (N, D), of a critic that is fitted to maximise it on
    the first.

    f(x, y) = w x.y + b, or x'Wy + b if `bilinear`; no number beyond 10,000. Both contain the
    model's log-ratio, kappa0 x.y + a constant, and being linear in their numbers they make each
    bound concave. A quarter of the first half says when to stop. Where pairs are told apart without
    error, NWJ and MINE have no maximum: the result is huge.
    """
    numbers, path = torch.zeros(1 + x.shape[1] ** 2 if bilinear else 2, requires_grad=True), []
    parts = list(
        zip(*(v.float().tensor_split([3 * len(v) // 8, len(v) // 2]) for v in (x, y)), strict=True)
    )

    def step() -> Tensor:
        b, w = numbers.clamp(-KAPPA_MAX, KAPPA_MAX).split([1, len(numbers) - 1])
        fit, *rest = (
            bound((x @ w.view(-1, x.shape[1]) if bilinear else w * x) @ y.T + b) for x, y in parts
        )
        numbers.grad = torch.autograd.grad(-fit, numbers)[0]
        path.append([value.item() for value in rest])
        return -fit

    torch.optim.LBFGS([numbers], max_iter=50, line_search_fn="strong_wolfe").step(step)
    return max(values for values in path if not math.isnan(values[0]))[1]


def ksg(x: Tensor, y: Tensor, k: int = 3) -> float:
    """Kraskov, Stoegbauer and Grassberger 2004, Eq. 8, from N pairs (N, D) and (N, D'); memory
    grows as N^2.

    psi(k) + psi(N) - mean_i( psi(n_x + 1) + psi(n_y + 1) ), where n_x and n_y count the points
    nearer to i in x and in y than its k-th neighbour in both is, by the larger of the two Euclidean
    distances.
    """
    check_positive("k", k, len(x) - 1)
    d = torch.stack([torch.cdist(v.double(), v.double()).fill_diagonal_(torch.inf) for v in (x, y)])
    near = (d < d.amax(0).kthvalue(k, dim=1, keepdim=True).values).sum(2).double()
    return float(
        (torch.digamma(torch.tensor([k, len(x)]).double()) - torch.digamma(near + 1).mean(1)).sum()
    )
