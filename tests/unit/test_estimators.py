"""Closed forms against elementary formulas, SciPy, mpmath and quadrature; estimators against peers
and Gaussians."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.feature_selection import mutual_info_regression

from infomax_nb.analysis.estimators import (
    best_kappa,
    critic_bound,
    info_nce,
    ksg,
    mine,
    nwj,
    smoothed_information,
    views_information,
    vmf_entropy,
    vmf_mutual_information,
    vmf_sample,
    vmf_views,
)
from infomax_nb.analysis.sphere import log_area
from infomax_nb.losses import InfoMaxLoss, global_entropy, log_vmf_normalizer, mutual_information
from infomax_nb.objective.vmf import log_kernel_integral


def generator(seed=0):
    return np.random.default_rng(seed)


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.1, 1, 10, 100])
def test_vmf_entropy_on_the_sphere_is_the_elementary_formula(kappa):
    """C_3 = kappa / (4 pi sinh kappa) and A_3 = coth kappa - 1 / kappa."""
    log_c = math.log(kappa / (4 * math.pi * math.sinh(kappa)))
    kappa_a = kappa / math.tanh(kappa) - 1
    expected = -log_c - kappa_a
    assert vmf_entropy(3, kappa) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("dim, kappa", [(2, 0.5), (2, 30), (3, 7), (16, 50), (128, 100)])
def test_vmf_entropy_is_scipys(dim, kappa):
    assert vmf_entropy(dim, kappa) == pytest.approx(
        stats.vonmises_fisher(np.eye(dim)[0], kappa).entropy(), abs=1e-9
    )
    if dim == 2:
        on_circle = stats.vonmises(kappa).entropy()
        assert vmf_entropy(2, kappa) == pytest.approx(on_circle, abs=1e-9)


@pytest.mark.parametrize("dim, kappa", [(128, 0.1), (512, 10), (512, 1e4), (4096, 1)])
def test_vmf_entropy_where_bessel_functions_underflow(dim, kappa):
    with mpmath.workdps(60):
        nu = mpmath.mpf(dim) / 2 - 1
        k = mpmath.mpf(kappa)
        log_c = (
            nu * mpmath.log(k)
            - (nu + 1) * mpmath.log(2 * mpmath.pi)
            - mpmath.log(mpmath.besseli(nu, k))
        )
        mean_cosine = mpmath.besseli(nu + 1, k) / mpmath.besseli(nu, k)
        expected = -log_c - k * mean_cosine
    assert vmf_entropy(dim, kappa) == pytest.approx(float(expected), rel=1e-11)


@pytest.mark.parametrize("dim, area", [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_log_area_of_small_spheres(dim, area):
    assert log_area(dim) == pytest.approx(math.log(area), abs=1e-14)


def test_log_area_is_the_integral_of_a_flat_kernel():
    assert log_area(128) == pytest.approx(log_kernel_integral(128, 1e-12), abs=1e-9)


def trapezoid(kappa0, kappa, nodes=1024):
    """(E log p(y|x)/p(y), E log q(y|x)/q(y)) on the circle by sums over equal angles, the
    convolution included."""
    step = 2 * np.pi / nodes
    angles = step * np.arange(nodes)
    p = stats.vonmises.pdf(angles, kappa0)
    q = stats.vonmises.pdf(angles[:, None] - angles, kappa) @ p * step
    log_ratios = np.log(2 * np.pi * np.stack([p, q]))
    return step * log_ratios @ p


@pytest.mark.parametrize("kappa0", [0.1, 1, 5, 50])
def test_mutual_information_and_its_smoothed_bound_by_quadrature_on_the_circle(kappa0):
    previous = math.inf
    truth = vmf_mutual_information(2, kappa0)
    for kappa in np.geomspace(0.1, 1000, 5):
        by_sums, smoothed = trapezoid(kappa0, kappa)
        assert truth == pytest.approx(by_sums, abs=1e-12)
        assert smoothed_information(2, kappa0, kappa) == pytest.approx(smoothed, abs=1e-11)
        # A lower bound for every kappa, and better for a larger one.
        assert 0 < truth - smoothed < previous
        previous = truth - smoothed
    assert previous < 1e-3


@pytest.mark.parametrize("kappa", [1, 20])
def test_smoothed_information_in_three_dimensions_by_sampling(kappa):
    """q(y|x) as the mean of kernels around many views, at views that it does not hold."""
    x = torch.eye(3, dtype=torch.float64)[:1]
    views = vmf_sample(x.expand(6000, 3), 10, generator())
    kernels = (kappa * views[:2000] @ views[2000:].T).logsumexp(1)
    log_q = kernels - math.log(4000) + log_vmf_normalizer(3, kappa)
    sampled = log_q + math.log(4 * math.pi)
    tolerance = 5 * float(sampled.std()) / math.sqrt(2000)
    expected = float(sampled.mean())
    assert smoothed_information(3, 10, kappa) == pytest.approx(expected, abs=tolerance)


def test_information_between_two_views_by_quadrature():
    """Two views of one x on the circle: their density given each other is p * p, their distance's
    distribution, too."""
    step = 2 * np.pi / 2048
    angles = step * np.arange(2048)
    p = stats.vonmises.pdf(angles, 4)
    both = stats.vonmises.pdf(angles[:, None] - angles, 4) @ p * step
    log_ratio = np.log(2 * np.pi * both)
    exact = step * both @ log_ratio
    _, views = vmf_views(4000, 2, 4, 2, generator())
    variance = step * both @ log_ratio**2 - exact**2
    error = math.sqrt(variance / 4000)
    assert views_information(views, 4) == pytest.approx(exact, abs=4 * error)


def test_many_views_give_x_away():
    _, views = vmf_views(2000, 3, 5, 60, generator())
    found = [views_information(views[:count], 5) for count in (2, 8, 60)]
    truth = vmf_mutual_information(3, 5)
    assert found[0] < found[1] < found[2]
    assert found[2] == pytest.approx(truth, abs=0.1)


# --- samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim, kappa", [(2, 5), (3, 10), (16, 50), (128, 100)])
def test_samples_lie_around_their_own_means(dim, kappa):
    x, (y,) = vmf_views(20_000, dim, kappa, 1, generator())
    assert y.shape == (20_000, dim)
    assert y.dtype == torch.float64
    lengths = y.norm(dim=1)
    assert torch.allclose(lengths, torch.ones_like(lengths))
    cosine = (x * y).sum(1)
    with mpmath.workdps(30):
        ratio = mpmath.besseli(dim / 2, kappa) / mpmath.besseli(dim / 2 - 1, kappa)
    error = float(cosine.std()) / math.sqrt(20_000)
    assert float(cosine.mean()) == pytest.approx(float(ratio), abs=4 * error)
    # What is not along x points nowhere: any fixed direction, taken across x, has mean zero.
    across = (y - cosine[:, None] * x)[:, 0]
    error = float(across.std()) / math.sqrt(20_000)
    assert abs(float(across.mean())) < 4 * error


def test_a_mean_on_the_samplers_own_pole():
    pole = torch.eye(3)[:1].repeat(500, 1)
    near = vmf_sample(pole, 1000, generator())
    far = vmf_sample(-pole, 1000, generator())
    assert near[:, 0].min() > 0.95
    assert far[:, 0].max() < -0.95


def test_a_seed_makes_the_sample():
    _, first = vmf_views(5, 16, 10, 2, generator(0))
    _, again = vmf_views(5, 16, 10, 2, generator(0))
    _, other = vmf_views(5, 16, 10, 2, generator(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- Eq. 2 ----------------------------------------------------------------------------------------


@cache
def entropies(dim, kappa0, n, replicates):
    """Eq. 2 at the kernel chosen on one sample: of other samples, each beside the same sum with the
    true density."""
    mean = torch.eye(dim)[:1].expand(n, dim)
    rng = generator()
    found = []
    z = vmf_sample(mean, kappa0, rng).float()
    kappa = best_kappa(lambda k: -float(global_entropy(z, k)))
    for _ in range(replicates):
        z = vmf_sample(mean, kappa0, rng).float()
        log_p = log_vmf_normalizer(dim, kappa0) + kappa0 * z[:, 0]
        with_truth = -float(log_p.double().mean())
        found.append((float(global_entropy(z, kappa)), with_truth))
    return np.array(found).T


@pytest.mark.parametrize("kappa0", [2, 10])
def test_eq2_is_an_entropy_in_three_dimensions(kappa0):
    estimate, with_truth = entropies(3, kappa0, 8192, 3)
    truth = vmf_entropy(3, kappa0)
    mean_cosine = 1 / math.tanh(kappa0) - 1 / kappa0
    variance = 1 - 2 * mean_cosine / kappa0 - mean_cosine**2  # of x.mu: A' = 1 - A^2 - 2 A / kappa
    error = kappa0 * math.sqrt(variance / 8192)  # the standard error of a mean of -log p
    assert abs(estimate.mean() - truth) < 2 * error
    assert 0 < (estimate - with_truth).mean() < error, "its bias is a divergence: positive"


@pytest.mark.parametrize("dim, kappa0, expected", [(16, 50, 0.61), (128, 100, 8.9)])
def test_eq2_is_biased_in_many_dimensions(dim, kappa0, expected):
    """The bias is that of the notebook's text; it is far from the noise and hardly smaller than
    with 512 points."""
    many = np.subtract(*entropies(dim, kappa0, 8192, 2))
    few = np.subtract(*entropies(dim, kappa0, 512, 2))
    assert many.mean() == pytest.approx(expected, rel=0.05)
    assert many.mean() > 10 * many.std()
    assert many.mean() < few.mean() < 2 * many.mean()


def test_best_kappa_is_a_grids():
    mean = torch.eye(3)[:1].expand(500, 3)
    z = vmf_sample(mean, 20, generator())

    def score(kappa):
        return -float(global_entropy(z, kappa))

    grid = np.geomspace(1, 1000, 200)
    best = grid[np.argmax([score(kappa) for kappa in grid])]
    assert best_kappa(score) == pytest.approx(best, rel=0.1)


# --- bounds and KSG -------------------------------------------------------------------------------


TABLE = [
    [2.0, 0.0, 1.0],
    [0.5, 3.0, -1.0],
    [0.0, 1.5, 1.0],
]
DIAGONAL = (2 + 3 + 1) / 3
OFF_DIAGONAL = (0.0, 1.0, 0.5, -1.0, 0.0, 1.5)
OFF = sum(map(math.exp, OFF_DIAGONAL)) / 6


def test_info_nce_on_a_table_of_scores():
    rows = []
    for i, row in enumerate(TABLE):
        mean = sum(map(math.exp, row)) / 3
        rows.append(math.log(math.exp(row[i]) / mean))
    found = info_nce(torch.tensor(TABLE, dtype=torch.float64))
    assert float(found) == pytest.approx(sum(rows) / 3)


def test_nwj_on_a_table_of_scores():
    found = nwj(torch.tensor(TABLE, dtype=torch.float64))
    assert float(found) == pytest.approx(DIAGONAL - OFF / math.e)


def test_mine_on_a_table_of_scores():
    found = mine(torch.tensor(TABLE, dtype=torch.float64))
    assert float(found) == pytest.approx(DIAGONAL - math.log(OFF))


def test_info_nce_cannot_exceed_log_n():
    scores = 100 * torch.eye(64)
    assert float(info_nce(scores)) == pytest.approx(math.log(64), abs=1e-5)
    assert float(mine(scores)) == pytest.approx(100)
    assert float(nwj(scores)) > 99


def test_eq4_on_pairs_is_info_nce_with_the_kernel_as_critic():
    """Both directions, and the other rows of the same side among the negatives: notebook 10's
    statement, in float64."""
    x, (y,) = vmf_views(50, 16, 10, 1, generator())
    entropies = InfoMaxLoss(10).entropies([x, y])
    ours = mutual_information(*entropies, 2, 100)["mi_density"]
    z = torch.cat([x, y])
    own = torch.arange(100).roll(50)
    others = (10 * z @ z.T).fill_diagonal_(-torch.inf)  # row i: its partner and 98 strangers
    partner = others.gather(1, own[:, None])[:, 0]
    scores = partner - others.logsumexp(1)
    expected = float(scores.mean()) + math.log(99)
    assert ours == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("bound", [info_nce, nwj, mine])
@pytest.mark.parametrize("bilinear, tolerance", [(False, 0.15), (True, 0.3)])
def test_fitted_critics_find_the_truth(bound, bilinear, tolerance):
    dim = 3 if bilinear else 16
    x, (y,) = vmf_views(1600, dim, 10, 1, generator())
    truth = vmf_mutual_information(dim, 10)
    assert critic_bound(bound, x, y, bilinear) == pytest.approx(truth, abs=tolerance)
    shuffled = critic_bound(bound, x, y.flip(0), bilinear)
    assert shuffled == pytest.approx(0, abs=0.02), "nothing to find between strangers"


def test_a_critic_is_judged_on_pairs_that_it_was_not_fitted_to():
    """16,385 numbers learn 150 pairs of strangers by heart; the held-out half is not taken in."""
    x, _ = vmf_views(400, 128, 10, 1, generator(0))
    y, _ = vmf_views(400, 128, 10, 1, generator(1))
    assert abs(critic_bound(info_nce, x, y, bilinear=True)) < 0.2


@pytest.mark.parametrize("k", [1, 3, 10])
def test_ksg_is_scikit_learns_in_one_dimension(k):
    rng = generator()
    x = rng.standard_normal(700)
    y = x + 0.5 * rng.standard_normal(700)
    x = x / x.std()  # scikit-learn scales, which the maximum of two distances depends on
    y = y / y.std()
    peer = mutual_info_regression(x[:, None], y, n_neighbors=k, random_state=0)[0]
    columns = torch.tensor(np.stack([x, y]))[..., None]
    assert ksg(*columns, k) == pytest.approx(peer, abs=1e-3)


def test_ksg_of_gaussians_is_the_closed_form():
    """Two independent channels of correlation 0.8: I = -log(1 - 0.8^2)."""
    rng = generator()
    x, noise = torch.from_numpy(rng.standard_normal((2, 3000, 2)))
    y = 0.8 * x + 0.6 * noise
    truth = -math.log(1 - 0.64)
    assert ksg(x, y) == pytest.approx(truth, abs=0.08)
    assert ksg(x, noise) == pytest.approx(0, abs=0.05)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 10, -1])
def test_ksg_names_a_bad_k(k):
    x = torch.randn(10, 2)
    with pytest.raises(ValueError, match=f"k = {k} is not allowed"):
        ksg(x, x, k)


@pytest.mark.parametrize(
    "dim, kappa, name", [(1, 1, "dim"), (3, 0, "kappa"), (3, -2, "kappa"), (2.5, 1, "dim")]
)
def test_closed_forms_name_what_is_bad(dim, kappa, name):
    with pytest.raises(ValueError, match=f"{name} = .* is not allowed"):
        vmf_mutual_information(dim, kappa)
