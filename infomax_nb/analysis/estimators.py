"""A model in which the truth for Eq. 2 and 4 is known, and other estimators (notebook 10).

In the model, x is uniform on the sphere S^{D-1}. Each x has V views y | x ~ vMF(x, kappa0),
independent of each other. Entropies and informations are in nats. A_D = I_{D/2} / I_{D/2-1} is the
mean cosine.
"""

import math
from collections.abc import Callable
from operator import itemgetter

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import vonmises_fisher
from torch import Tensor

from infomax_nb.analysis.sphere import log_area
from infomax_nb.errors import not_allowed
from infomax_nb.objective import KAPPA_MAX
from infomax_nb.objective.unit_rows import unit_rows
from infomax_nb.objective.vmf import check_positive, log_vmf_normalizer

# --- The model in closed form -----------------------------------------------------------------


def vmf_entropy(dim: int, kappa: float) -> float:
    """The entropy -log C_D(kappa) - kappa A_D(kappa), in nats (Mardia and Jupp 2000, 9.3).

    A_D is computed from the normalisers of D and D + 2 in log space, where neither Bessel function
    underflows: kappa / (2 pi) C_D / C_{D+2}.
    """
    log_c = log_vmf_normalizer(dim, kappa)
    log_ratio = log_c - log_vmf_normalizer(dim + 2, kappa)
    kappa_a = kappa * kappa / (2 * math.pi) * math.exp(log_ratio)
    return -log_c - kappa_a


def vmf_mutual_information(dim: int, kappa0: float) -> float:
    """I(X;Y) = H(Y) - H(Y|X) of the model, in nats; Y is uniform like X."""
    return log_area(dim) - vmf_entropy(dim, kappa0)


def vmf_sample(mean: Tensor, kappa: float, rng: np.random.Generator) -> Tensor:
    """One draw from vMF(mean, kappa) for each unit row of `mean` (N, D): (N, D), float64."""
    pole = torch.eye(mean.shape[1], dtype=torch.float64)[0]
    around_pole = vonmises_fisher(pole.numpy(), kappa).rvs(len(mean), random_state=rng)
    x = torch.from_numpy(around_pole).view(mean.shape)
    mirror = unit_rows(mean.double() - pole)  # reflecting at this normal takes the pole to the mean
    along = (x * mirror).sum(1, keepdim=True)
    return x - 2 * along * mirror


def vmf_views(
    n: int, dim: int, kappa0: float, n_views: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A sample of the model: x (N, D) and its views (V, N, D), float64."""
    x = unit_rows(torch.from_numpy(rng.standard_normal((n, dim))))
    views = vmf_sample(x.repeat(n_views, 1), kappa0, rng)
    return x, views.view(n_views, n, dim)


def views_information(views: Tensor, kappa0: float) -> float:
    """I(Y_1; Y_2..Y_V) in nats: what the other views tell about one. `views` is (V, N, D).

    It is a mean of closed-form log-ratios. With x integrated out,
    p(y_1..y_V) = C_D(kappa0)^V / (|S^{D-1}| C_D(kappa0 |y_1 + .. + y_V|)).
    It grows with V towards I(X;Y), because many views reveal x.
    """
    dim = views.shape[2]

    def mean_log_c(of: Tensor) -> np.floating:
        """Mean of log C_D(kappa0 |sum of the views|)."""
        lengths = of.sum(0).norm(dim=1)
        return np.mean([log_vmf_normalizer(dim, kappa0 * float(length)) for length in lengths])

    log_c0 = log_vmf_normalizer(dim, kappa0)
    log_ratio = float(mean_log_c(views[1:]) - mean_log_c(views))
    return log_area(dim) + log_c0 + log_ratio


def smoothed_information(dim: int, kappa0: float, kappa: float, nodes: int = 400) -> float:
    """Eq. 4 (with 1/|P|) for infinitely many x with infinitely many views each, in nats.

    That is E log q(y|x) / q(y) with q = p * K_kappa, by Gauss-Legendre quadrature over the angle t
    between x and y. q(y) is uniform, and two vMF densities convolve to
    q(y|x) = C_D(kappa0) C_D(kappa) / C_D(|kappa0 x + kappa y|).

    Args:
        dim: D.
        kappa0: concentration of the views.
        kappa: concentration of the kernel.
        nodes: number of nodes of the quadrature.
    """
    # nodes and weights moved from -1..1 to 0..pi
    nodes_and_weights = np.stack(np.polynomial.legendre.leggauss(nodes))
    t, weights = (nodes_and_weights + [[1], [0]]) * np.pi / 2
    # |kappa0 x + kappa y|
    lengths = np.hypot(kappa0 - kappa, 2 * math.sqrt(kappa0 * kappa) * np.cos(t / 2))
    log_c0 = log_vmf_normalizer(dim, kappa0)
    log_c = log_vmf_normalizer(dim, kappa)
    log_c_lengths = np.array([log_vmf_normalizer(dim, length) for length in lengths])
    log_slice = log_area(dim - 1) + (dim - 2) * np.log(np.sin(t))  # of the sphere, at this angle
    p = weights * np.exp(log_slice + log_c0 + kappa0 * np.cos(t))
    return float(p @ (log_area(dim) + log_c0 + log_c - log_c_lengths))


def best_kappa(score: Callable[[float], float]) -> float:
    """The kappa between 0.1 and 10,000 with the highest score, to about 5%.

    Args:
        score: maps a kappa to a number and has one maximum.
    """

    def loss(log_kappa: float) -> float:
        return -score(math.exp(log_kappa))

    log_kappas = (-2.3, 9.21)
    least = minimize_scalar(loss, bounds=log_kappas, options={"xatol": 0.05})
    return math.exp(least.x)


# --- Other estimators -------------------------------------------------------------------------


def info_nce(scores: Tensor) -> Tensor:
    """mean_i log( e^f_ii / (1/N sum_j e^f_ij) ) <= log N (van den Oord et al. 2018, 2.3).

    It is in nats, from scores f(x_i, y_j) (N, N).
    """
    log_ratios = scores.diagonal() - scores.logsumexp(1)
    return log_ratios.mean() + math.log(len(scores))


def nwj(scores: Tensor) -> Tensor:
    """mean_i f_ii - mean_{i != j} e^(f_ij - 1) (Nguyen et al. 2010, as in Poole et al. 2019).

    It is in nats, from scores f(x_i, y_j) (N, N).
    """
    own = scores.diagonal().mean()
    return own - (_log_mean_exp(scores) - 1).exp()


def mine(scores: Tensor) -> Tensor:
    """mean_i f_ii - log mean_{i != j} e^f_ij: Donsker and Varadhan's bound.

    It is in nats, from scores f(x_i, y_j) (N, N) (Belghazi et al. 2018, Theorem 1).
    """
    return scores.diagonal().mean() - _log_mean_exp(scores)


def _log_mean_exp(scores: Tensor) -> Tensor:
    """log mean_{i != j} e^f_ij."""
    n = len(scores)
    others = scores.masked_fill(torch.eye(n, dtype=torch.bool, device=scores.device), -torch.inf)
    return others.logsumexp((0, 1)) - math.log(n * (n - 1))


def critic_bound(
    bound: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, bilinear: bool = False
) -> float:
    """A bound on the information, with a critic that is fitted to maximise it.

    The critic is f(x, y) = w x.y + b, or x'Wy + b if `bilinear`; no parameter exceeds 10,000. Both
    forms include the model's log-ratio, kappa0 x.y + a constant. They are linear in their
    parameters, so each bound is concave. The critic is fitted to three eighths of the pairs, the
    next eighth decides when to stop, and the bound is computed on the second half. Where pairs can
    be told apart without error, NWJ and MINE have no maximum, and the result is huge.

    Args:
        bound: a function that maps scores (N, N) to nats.
        x: (N, D).
        y: (N, D).
        bilinear: whether the critic has a matrix W.
    """
    dim = x.shape[1]
    ends = [3 * len(x) // 8, len(x) // 2]
    fitted, stopping, tested = zip(
        x.float().tensor_split(ends), y.float().tensor_split(ends), strict=True
    )
    numbers = torch.zeros(1 + (dim**2 if bilinear else 1), requires_grad=True)
    path = []  # pairs: the bound that decides when to stop, the numbers that have it

    def bound_of(x: Tensor, y: Tensor, numbers: Tensor) -> Tensor:
        b, w = numbers.clamp(-KAPPA_MAX, KAPPA_MAX).split([1, len(numbers) - 1])
        wx = x @ w.view(dim, dim) if bilinear else w * x
        return bound(wx @ y.T + b)

    def step() -> Tensor:
        loss = -bound_of(*fitted, numbers)
        there = numbers.detach().clone()
        path.append((bound_of(*stopping, there).item(), there))
        numbers.grad = torch.autograd.grad(loss, numbers)[0]
        return loss

    torch.optim.LBFGS([numbers], max_iter=50, line_search_fn="strong_wolfe").step(step)
    valid = [each for each in path if not math.isnan(each[0])]
    _, best = max(valid, key=itemgetter(0))
    return bound_of(*tested, best).item()


def ksg(x: Tensor, y: Tensor, k: int = 3) -> float:
    """Mutual information in nats from N pairs (Kraskov, Stoegbauer and Grassberger 2004, Eq. 8).

    psi(k) + psi(N) - mean_i( psi(n_x + 1) + psi(n_y + 1) ), where n_x and n_y count the points
    that are nearer to i, in x and in y, than its k-th neighbour. That neighbour is found by the
    larger of the two Euclidean distances. Memory grows as N^2.

    Args:
        x: (N, D), of a continuous variable: equal points make the result meaningless.
        y: (N, D'), of another.
        k: a whole number, 1 to N - 1.

    Raises:
        ValueError: `k` is not allowed.
    """
    check_positive("k", k, len(x) - 1)
    if int(k) != k:
        raise not_allowed("k", k, "a whole number")
    k = int(k)
    in_each = [_distances(part.double()) for part in (x, y)]
    distances = torch.stack([d.fill_diagonal_(torch.inf) for d in in_each])  # (2, N, N)
    to_kth = distances.amax(0).kthvalue(k, dim=1, keepdim=True).values
    nearer = (distances < to_kth).sum(2).double()  # n_x and n_y: (2, N)
    counts = torch.tensor([k, len(x)]).double()
    means = torch.digamma(nearer + 1).mean(1)
    return float((torch.digamma(counts) - means).sum())


def _distances(x: Tensor) -> Tensor:
    """Distances (N, N) of rows from their differences, which an offset of all does not change."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
