"""The objective against other ways of computing it: mpmath, double loops, finite differences,
lightly, one process."""

import itertools
import math
import re
import subprocess
import sys
from functools import cache, partial

import mpmath
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from infomax_nb.losses import (
    InfoMaxLoss,
    global_entropy,
    local_entropy,
    log_vmf_normalizer,
    mutual_information,
)
from infomax_nb.objective.diagnostics import diagnostics
from infomax_nb.objective.log_sum_exp import log_sum_exp

LN2 = math.log(2)
ONES = torch.ones(4, 3)
PAPER_KAPPAS = [0.1, LN2, 1.0, 10.0, 20.0]


@cache
def log_c(dim: int, kappa: float) -> mpmath.mpf:
    """log of kappa^nu / ((2 pi)^(nu+1) I_nu(kappa)), nu = D/2 - 1, as written, with 60 digits."""
    with mpmath.workdps(60):
        nu = mpmath.mpf(dim) / 2 - 1
        kappa = mpmath.mpf(kappa)
        area = (2 * mpmath.pi) ** (nu + 1)
        return mpmath.log(kappa**nu / (area * mpmath.besseli(nu, kappa)))


def double_loop(rows: np.ndarray, ids, kappa: float) -> tuple[float, float]:
    """(H_global, H_local) of Eq. 2 and 3 in float64, pair by pair."""
    n, dim = rows.shape
    every = []
    own = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        exponents = {j: kappa * float(rows[i] @ rows[j]) for j in others}
        every.append(log_sum([*exponents.values()]))
        views = [j for j in others if ids[j] == ids[i]]
        own.append(log_sum([exponents[j] for j in views]))
    constant = math.log(n - 1) - float(log_c(dim, kappa))
    return constant - math.fsum(every) / n, constant - math.fsum(own) / n


def log_sum(exponents: list[float]) -> float:
    """log of the sum of their exponentials."""
    top = max(exponents)
    terms = [math.exp(exponent - top) for exponent in exponents]
    return top + math.log(math.fsum(terms))


def unit(x: Tensor) -> np.ndarray:
    x = x.detach().double().numpy()
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def random_unit(n: int, dim: int, seed: int) -> Tensor:
    """Rows of length one in float64, a leaf of the graph."""
    x = torch.randn(n, dim, generator=seeded(seed), dtype=torch.float64)
    return (x / x.norm(dim=1, keepdim=True)).requires_grad_()


def random_views(
    n_views: int, images: int, dim: int, seed: int = 0, spread: float = 0.7, dtype=torch.float32
):
    """Views of one image lie around a common direction, with lengths far from one."""
    options = {"generator": seeded(seed), "dtype": torch.float64}
    centre = torch.randn(images, dim, **options)
    noise = torch.randn(n_views, images, dim, **options)
    length = torch.rand(n_views, images, 1, **options) * 5 + 0.1
    views = (centre + spread * noise) * length
    return list(views.to(dtype).unbind())


def leaves(views: list[Tensor]) -> list[Tensor]:
    """The views, of which a loss has gradients."""
    return [v.requires_grad_() for v in views]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_ids(n_views: int, images: int) -> Tensor:
    return torch.arange(images).repeat(n_views)


def dense_loss(views, kappa: float, alpha: float, beta: float) -> Tensor:
    """Eq. 4 with the whole N x N matrix and torch's own autograd; the constants, which carry no
    gradient, left out."""
    z = torch.cat([v / v.norm(dim=1, keepdim=True) for v in views])
    ids = image_ids(len(views), len(views[0]))
    itself = torch.eye(len(z), dtype=torch.bool)
    s = (kappa * z @ z.T).masked_fill(itself, -torch.inf)
    own = s.masked_fill(ids[:, None] != ids, -torch.inf)
    every_mean = s.logsumexp(1).mean()
    own_mean = own.logsumexp(1).mean()
    return alpha * every_mean - beta * own_mean


# --- Eq. 1's normaliser ---------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 3, 4, 16, 128, 511, 512, 1024, 4096, 8192])
@pytest.mark.parametrize("kappa", [1e-3, 0.1, LN2, 1.0, 10.0, 20.0, 100.0, 1e3, 1e4])
def test_log_vmf_normalizer_equals_60_digit_reference(dim, kappa):
    reference = log_c(dim, kappa)
    got = log_vmf_normalizer(dim, kappa)
    assert isinstance(got, float)
    assert abs(got - reference) <= 1e-10 * max(1, abs(reference))


@pytest.mark.parametrize("kappa", [0.3, 10.0, 300.0])
def test_kernel_on_the_ordinary_sphere_has_mass_one(kappa):
    """D = 3 in closed form, kappa / (4 pi sinh kappa): the one dimension where no Bessel function
    is needed."""
    log_sinh = kappa + math.log1p(-math.exp(-2 * kappa)) - LN2
    reference = math.log(kappa / (4 * math.pi)) - log_sinh
    assert log_vmf_normalizer(3, kappa) == pytest.approx(reference, abs=1e-11)


# --- Eq. 2 to 4 -----------------------------------------------------------------------------------


def assert_near(value: Tensor, reference: float, kappa: float) -> None:
    """Above kappa = 10 a float32 cosine's rounding, times kappa, shows in so small a batch."""
    assert value.ndim == 0
    scale = max(1, abs(reference), kappa / 10)
    assert abs(value.item() - reference) <= 1e-6 * scale


@pytest.mark.parametrize("kappa", PAPER_KAPPAS)
@pytest.mark.parametrize("dim", [3, 128, 2048])
@pytest.mark.parametrize(("n_views", "images"), [(2, 16), (3, 9), (5, 5), (8, 4)])
def test_entropies_and_loss_equal_a_double_loop(n_views, images, dim, kappa):
    views = random_views(n_views, images, dim, seed=dim + n_views)
    ids = image_ids(n_views, images)
    rows = unit(torch.cat(views))
    h_global, h_local = double_loop(rows, ids.tolist(), kappa)

    z = torch.from_numpy(rows).float()
    assert_near(global_entropy(z, kappa), h_global, kappa)
    assert_near(local_entropy(z, ids, kappa), h_local, kappa)
    shuffle = torch.randperm(len(z), generator=seeded(0))
    any_ids = ids[shuffle] * 3 - 7
    assert_near(local_entropy(z[shuffle], any_ids, kappa), h_local, kappa)

    entropies = InfoMaxLoss(kappa).entropies(views)
    assert_near(entropies[0], h_global, kappa)
    assert_near(entropies[1], h_local, kappa)
    for alpha, beta in [(1, 1), (1, 0.1), (0.75, 1), (2, 0), (0, 1.5)]:
        loss = InfoMaxLoss(kappa, alpha, beta)(views)
        assert_near(loss, -(alpha * h_global - beta * h_local), kappa)


@pytest.mark.parametrize("kappa", [39.9, 40.1, 100.0, 1e4])
def test_sharp_kernels_equal_a_double_loop(kappa):
    """Here a cosine's float32 rounding, times kappa, is what limits the digits."""
    views = random_views(4, 10, 16, spread=0.3)
    rows = unit(torch.cat(views))
    ids = image_ids(4, 10)
    references = double_loop(rows, ids.tolist(), kappa)
    entropies = InfoMaxLoss(kappa).entropies(views)
    for entropy, reference in zip(entropies, references, strict=True):
        scale = max(kappa, abs(reference))
        assert abs(entropy.item() - reference) <= 2e-7 * scale


@pytest.mark.parametrize("kappa", [10.0, 60.0])
def test_local_entropy_with_unequal_numbers_of_views(kappa):
    ids = torch.tensor([4, 0, 4, 2, 0, 2, 2, 2, 0, 9, 9, 4, 2, 0, 2, 2, 2])
    rows = unit(torch.randn(len(ids), 5, generator=seeded(1)))
    _, reference = double_loop(rows, ids.tolist(), kappa)
    entropy = local_entropy(torch.from_numpy(rows), ids, kappa)
    assert entropy.item() == pytest.approx(reference, abs=1e-10)


@pytest.mark.parametrize("kappa", [10.0, 60.0])
def test_local_entropy_of_one_image_with_more_views_than_a_tile_has_rows(kappa):
    rows = unit(torch.randn(530, 3, generator=seeded(2)))
    reference = double_loop(rows, [0] * 530, kappa)
    assert reference[0] == reference[1]
    entropy = local_entropy(torch.from_numpy(rows), torch.zeros(530), kappa)
    assert entropy.item() == pytest.approx(reference[1], abs=1e-10)


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.5, 10.0, 60.0])
def test_gradients_agree_with_finite_differences(kappa):
    views = leaves(random_views(3, 5, 4, spread=0.4, dtype=torch.float64))
    loss = InfoMaxLoss(kappa, alpha=0.8, beta=1.3)
    assert torch.autograd.gradcheck(lambda *views: loss(views), views, atol=1e-7)

    z = torch.from_numpy(unit(torch.cat(views))).requires_grad_()
    unequal = torch.tensor([0, 1, 2, 0, 1, 2, 2, 0, 1, 0, 0, 1, 2, 2, 0])
    assert torch.autograd.gradcheck(lambda z: global_entropy(z, kappa), z, atol=1e-7)
    for ids in (image_ids(3, 5), unequal):
        of_images = partial(local_entropy, image_ids=ids, kappa=kappa)
        assert torch.autograd.gradcheck(of_images, z, atol=1e-7)


@pytest.mark.parametrize("images", [5, 400])
@pytest.mark.parametrize("kappa", [0.5, 10.0, 60.0])
def test_gradients_are_the_dense_formulas(kappa, images):
    """In one tile, and in three of 512 rows, the last one ragged."""
    views = leaves(random_views(3, images, 4, spread=0.4, dtype=torch.float64))
    loss = InfoMaxLoss(kappa, alpha=0.8, beta=1.3)(views)
    gradients = torch.autograd.grad(loss, views)
    dense = torch.autograd.grad(dense_loss(views, kappa, 0.8, 1.3), views)
    assert all(gradient.abs().max() * images > 5e-3 for gradient in dense)
    torch.testing.assert_close(gradients, dense, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kappa", [10.0, 60.0])
def test_rows_among_more_columns(kappa):
    """As one process of several has them: its own rows begin at `offset`, and pair with no self."""
    rows = random_unit(600, 5, seed=3)
    columns = random_unit(1100, 5, seed=4)
    log_sums = log_sum_exp(rows, kappa, columns, offset=70)
    itself = torch.arange(1100) == torch.arange(600)[:, None] + 70
    exponents = kappa * rows @ columns.T
    dense = exponents.masked_fill(itself, -torch.inf).logsumexp(1)
    torch.testing.assert_close(log_sums, dense, rtol=1e-12, atol=0)
    weights = torch.rand(600, generator=seeded(5), dtype=torch.float64)
    gradients = torch.autograd.grad(log_sums @ weights, (rows, columns))
    wanted = torch.autograd.grad(dense @ weights, (rows, columns))
    torch.testing.assert_close(gradients, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kappa", [10.0, 60.0])
def test_gradients_of_more_pairs_than_are_kept(kappa):
    """At N = 6,000 backward computes the last tiles anew. Some rows' gradients, written out."""
    z = random_unit(6000, 4, seed=6)
    weights = torch.rand(6000, generator=seeded(7), dtype=torch.float64)
    log_sums = log_sum_exp(z, kappa)
    (gradient,) = torch.autograd.grad(log_sums @ weights, z)
    with torch.no_grad():
        for i in (0, 511, 512, 3000, 5999):
            s = kappa * z @ z[i]
            s[i] = -torch.inf
            wanted = s.logsumexp(0).item()
            assert log_sums[i].item() == pytest.approx(wanted, rel=1e-12)
            of_its_sum = weights[i] * (s - log_sums[i]).exp()
            of_the_others = weights * (s - log_sums).exp()
            pull = kappa * (of_its_sum + of_the_others) @ z
            torch.testing.assert_close(gradient[i], pull, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("dim", [8, 128])
def test_two_views_are_lightlys_ntxent(kappa, dim):
    from lightly.loss import NTXentLoss

    ours = leaves(random_views(2, 24, dim))
    theirs = leaves(random_views(2, 24, dim))
    loss = InfoMaxLoss(kappa)(ours)
    peer = NTXentLoss(temperature=1 / kappa)(*theirs)
    assert loss.item() == pytest.approx(peer.item(), abs=1e-5)
    loss.backward()
    peer.backward()
    gradients = [v.grad for v in ours]
    torch.testing.assert_close(gradients, [v.grad for v in theirs], rtol=1e-4, atol=1e-5)


# --- As other libraries call theirs ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_way_to_call_is_lightlys_ntxent(dtype):
    from lightly.loss import NTXentLoss

    z0, z1 = random_views(2, 24, 128, dtype=dtype)
    peer = NTXentLoss(temperature=0.1)(z0, z1).item()
    for loss in (InfoMaxLoss(kappa=10), InfoMaxLoss(temperature=0.1), InfoMaxLoss()):
        for value in (loss(z0, z1), loss([z0, z1]), loss((z0, z1))):
            assert value.dtype == dtype
            assert value.item() == pytest.approx(peer, abs=1e-6)


def test_several_views_one_by_one_are_their_list():
    views = random_views(5, 6, 8)
    loss = InfoMaxLoss(3.0, alpha=0.5)
    assert torch.equal(loss(*views), loss(views))
    assert torch.equal(loss(*views, alone=True), loss(views, alone=True))


@pytest.mark.parametrize(
    ("given", "kappa"),
    [
        ({}, 10),
        ({"kappa": None, "temperature": None}, 10),
        ({"temperature": 0.5}, 2),
        ({"temperature": "0.25"}, 4),
        ({"temperature": 1e-4}, 1e4),
        ({"temperature": 1000}, 1e-3),
        ({"kappa": 3, "temperature": 0.33333333}, 3),
    ],
)
def test_a_temperature_is_one_over_kappa(given, kappa):
    loss = InfoMaxLoss(**given, alpha=0.75)
    assert loss.kappa == kappa
    assert repr(loss) == f"InfoMaxLoss(kappa={float(kappa)}, alpha=0.75, beta=1.0)"


@pytest.mark.parametrize("bad", [0, -1, 9.9e-5, math.nan, math.inf, "ten", False])
def test_bad_temperature(bad):
    sentence = re.escape(f"temperature = {bad!r} is not allowed: it must be a number >= 0.0001.")
    for kappa in (None, 10):
        with pytest.raises(ValueError, match=sentence):
            InfoMaxLoss(kappa, temperature=bad)


def test_a_temperature_and_a_kappa_that_disagree():
    with pytest.raises(ValueError) as error:
        InfoMaxLoss(kappa=10, temperature=0.2)
    said = str(error.value)
    assert said.startswith("kappa = 10 and temperature = 0.2 disagree: ")
    assert len(said.splitlines()) == 1


def test_labels_and_masks_are_refused():
    """Other losses take them in this place."""
    z = torch.ones(4, 3)
    for second in (torch.arange(4), torch.eye(4, dtype=torch.bool)):
        with pytest.raises(ValueError, match="^views: 2 tensors .*no labels, no masks"):
            InfoMaxLoss()(z, second)
        for name in ("labels", "mask"):
            with pytest.raises(ValueError, match=f"^{name} is not taken: .*no labels, no masks"):
                InfoMaxLoss()(z, z, **{name: second})


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ((ONES, torch.ones(5, 3)), ["(4, 3)", "(5, 3)", "one shape"]),
        ((ONES,), ["one tensor of shape (4, 3)", "loss(z0, z1)"]),
        ((), ["0 tensors", "at least two"]),
        ((ONES, [ONES]), ["Tensor, list", "tensors"]),
        (([ONES, ONES], True), ["bool, list", "tensors"]),  # `alone` has to be named
    ],
)
def test_wrong_arguments(views, words):
    with pytest.raises(ValueError) as error:
        InfoMaxLoss()(*views)
    said = str(error.value)
    assert all(word in said for word in ["views: ", *words])
    assert len(said.splitlines()) == 1


# --- Edges of the range ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kappa", [1e-3, 40.0, 1e4])
def test_exact_duplicates(kappa, dtype):
    """All cosines are one, so the loss is log((N-1)/(V-1)) and there is no direction to go."""
    row = torch.randn(8, generator=seeded(0)).to(dtype)
    views = [row.repeat(6, 1).requires_grad_() for _ in range(4)]
    loss = InfoMaxLoss(kappa)(views)
    loss.backward()
    rounding = 1e-5 + 4e-7 * kappa
    assert loss.item() == pytest.approx(math.log(23 / 3), abs=rounding)
    for v in views:
        assert v.grad.dtype == dtype
        assert v.grad.abs().max() <= 1e-6 + 1e-6 * kappa  # a NaN is not <=


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kappa", [10.0, 1e4])
def test_half_precision_is_accumulated_in_float32(kappa, dtype):
    spread = 1.0 if kappa == 10 else 3.0
    views = leaves(random_views(3, 40, 32, spread=spread, dtype=dtype))
    same = leaves([v.detach().double() for v in views])
    reference = InfoMaxLoss(kappa)(same)
    reference.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = InfoMaxLoss(kappa)(views)
    loss.backward()
    scale = max(kappa, abs(reference.item()))
    assert loss.item() == pytest.approx(reference.item(), abs=1e-6 * scale)
    eps = max(torch.finfo(dtype).eps, 1e-6 * kappa)
    for v, w in zip(views, same, strict=True):
        assert v.grad.dtype == dtype
        largest = w.grad.abs().max().item()
        gradient = v.grad.double()
        torch.testing.assert_close(gradient, w.grad, rtol=eps, atol=eps * largest)


@pytest.mark.parametrize("kappa", [10.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_vector_gets_zero_gradient(kappa, dtype):
    views = random_views(3, 6, 8, dtype=dtype)
    views[1][2] = 0
    loss = InfoMaxLoss(kappa)(leaves(views))
    loss.backward()
    assert torch.isfinite(loss)
    assert views[1].grad[2].tolist() == [0] * 8
    gradients = torch.stack([v.grad for v in views]).float()
    others = gradients.abs().sum(-1).flatten()
    assert torch.isfinite(others).all()
    at_least = 17 if kappa == 10 else 1
    assert (others > 0).sum() >= at_least


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_lengths_do_not_matter(factor):
    views = random_views(2, 12, 16)
    scaled = [v * factor for v in views]
    loss = InfoMaxLoss()(scaled).item()
    assert loss == pytest.approx(InfoMaxLoss()(views).item(), abs=1e-5)


# --- What a run logs ------------------------------------------------------------------------------


def test_mutual_information_in_both_normalisations():
    views = random_views(4, 6, 16, spread=0.3)
    rows = unit(torch.cat(views))
    kappa = 10.0
    kernel = np.exp(kappa * rows @ rows.T)
    np.fill_diagonal(kernel, 0)
    image = np.arange(24) % 6
    positive = (kernel * np.equal.outer(image, image)).sum(1)
    every = kernel.sum(1)
    written = np.log(positive / every).mean()
    density = np.log((positive / 3) / (every / 23)).mean()
    h_global, h_local = double_loop(rows, list(range(6)) * 4, kappa)
    got = mutual_information(h_global, h_local, n_views=4, n_total=24)
    assert got == pytest.approx({"mi_written": written, "mi_density": density})
    assert got["mi_written"] < 0


def test_mutual_information_of_coinciding_views_of_orthogonal_images_reaches_its_bound():
    views = [torch.eye(6, dtype=torch.float64)] * 4
    entropies = InfoMaxLoss(100.0).entropies(views)
    got = mutual_information(*entropies, n_views=4, n_total=24)
    bound = {"mi_written": 0, "mi_density": math.log(23 / 3)}
    assert got == pytest.approx(bound, abs=1e-12)


@pytest.mark.parametrize("kappa", [10.0, 60.0])
@pytest.mark.parametrize("images", [11, 200])
def test_diagnostics(images, kappa):
    """Of one tile, and of two."""
    views = random_views(3, images, 6, seed=3, spread=0.6, dtype=torch.float64)
    rows = unit(torch.cat(views))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    same_image = cosines.argmax(1) % images == np.arange(3 * images) % images
    positive = float(np.mean(same_image))
    assert 0.05 < positive < 0.9  # else the test shows nothing

    z = torch.from_numpy(rows).requires_grad_()
    dense = dense_loss(list(z.chunk(3)), kappa, 0.9, 1.2)
    (gradient,) = torch.autograd.grad(dense, z)
    along = gradient - (gradient * z).sum(1, keepdim=True) * z
    with torch.no_grad():
        got = diagnostics(views, InfoMaxLoss(kappa, alpha=0.9, beta=1.2))
    slope = along.norm().item() / kappa
    assert got["nn_positive"] == pytest.approx(positive, abs=1e-6)
    assert got["grad_over_kappa"] == pytest.approx(slope, rel=1e-9)


def test_diagnostics_leave_the_entropies_of_the_last_call():
    loss = InfoMaxLoss(10.0)
    loss(random_views(2, 8, 6))
    before = (loss.h_global, loss.h_local)
    diagnostics(random_views(2, 8, 6, seed=1), loss)
    assert (loss.h_global, loss.h_local) == before


def test_points_on_a_line_are_refused_by_their_shape():
    """They have no sphere; that sums are computed first would be for nothing."""
    with pytest.raises(ValueError, match=r"z has shape \(4, 1\): .* D >= 2"):
        global_entropy(torch.ones(4, 1), 10)


def test_the_last_calls_entropies_stay_with_the_loss():
    """What a run records, without computing it twice; in float64, and free of the graph."""
    views = leaves(random_views(3, 8, 6))
    loss = InfoMaxLoss(10.0, alpha=0.7, beta=1.1)
    value = loss(views)
    h_global, h_local = loss.entropies(views)
    assert (loss.h_global, loss.h_local) == (h_global, h_local)
    assert loss.h_global.dtype == torch.float64
    assert not loss.h_global.requires_grad
    wanted = 1.1 * h_local - 0.7 * h_global
    assert value.item() == pytest.approx(wanted.item(), rel=1e-6)


# --- Bad inputs -----------------------------------------------------------------------------------

# Two views each, of one size.
ONE_NUMBER = [torch.ones(4, 1)] * 2
NO_NUMBERS = [torch.ones(4, 0)] * 2
NO_IMAGES = [torch.ones(0, 3)] * 2
ONE_IMAGE = [torch.ones(1, 3)] * 2
VECTORS = [torch.ones(4)] * 2
PAIRS = torch.tensor([0, 0, 1, 1])  # two views of two images


@pytest.mark.parametrize("bad", [-1, 0, 1e20, math.nan, math.inf, "ten", None, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda kappa: InfoMaxLoss(kappa=kappa),
        lambda kappa: log_vmf_normalizer(3, kappa),
        lambda kappa: global_entropy(torch.eye(4), kappa),
        lambda kappa: local_entropy(torch.eye(4), PAIRS, kappa),
    ],
    ids=["InfoMaxLoss", "log_vmf_normalizer", "global_entropy", "local_entropy"],
)
def test_bad_kappa(call, bad, request):
    call(1.0)  # True must not pass because 1 did
    if bad is None and request.node.callspec.id.startswith("InfoMaxLoss"):
        assert call(None).kappa == 10  # here it means the default
        return
    with pytest.raises(ValueError) as error:
        call(bad)
    assert f"kappa = {bad!r} is not allowed" in str(error.value)
    assert "a number > 0" in str(error.value)


@pytest.mark.parametrize(
    ("name", "bad", "allowed"),
    [
        ("alpha", -1, "a number >= 0"),
        ("beta", -0.1, "a number >= 0"),
        ("alpha", "one", "a number >= 0"),
        ("beta", math.nan, "a number >= 0"),
        ("beta", False, "a number >= 0"),
        ("kappa", 10001, "<= 10000"),
    ],
)
def test_bad_weights(name, bad, allowed):
    with pytest.raises(ValueError) as error:
        InfoMaxLoss(**{name: bad})
    assert f"{name} = {bad!r} is not allowed" in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("bad", [1, 0, -3, 2.5, True, None, math.nan, math.inf])
def test_bad_dim(bad):
    with pytest.raises(ValueError) as error:
        log_vmf_normalizer(bad, 1.0)
    assert f"dim = {bad!r} is not allowed" in str(error.value)
    assert ">= 2" in str(error.value)


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ([], ["0 tensors", "at least two"]),
        ([ONES], ["1 tensors", "(4, 3)", "at least two"]),
        ([ONES, torch.ones(5, 3)], ["(4, 3)", "(5, 3)", "one shape"]),
        ([ONES, torch.ones(4, 2)], ["(4, 3)", "(4, 2)", "one shape"]),
        (NO_NUMBERS, ["(4, 0)", "D >= 2"]),
        (ONE_NUMBER, ["(4, 1)", "D >= 2"]),
        (VECTORS, ["(4,)", "(B, D)"]),
        (NO_IMAGES, ["(0, 3)"]),
        (torch.ones(4, 2, 3), ["one tensor", "(4, 2, 3)", "list", "unbind(1)"]),  # SupCon's layout
        (torch.ones(2, 4), ["one tensor", "(2, 4)", "list"]),
        (torch.nn.Parameter(torch.ones(4, 2, 3)), ["one tensor", "list"]),
        (np.ones((2, 4, 3)), ["ndarray", "list"]),
        (iter([ONES, ONES]), ["list_iterator", "list"]),
        ({"a": ONES, "b": ONES}, ["dict", "list"]),
        ("views", ["str", "list"]),
        (None, ["NoneType", "list"]),
        ([np.ones((4, 3)), ONES], ["ndarray", "Tensor", "tensors"]),
        ([[[1.0, 0.0]], [[0.0, 1.0]]], ["list", "tensors"]),
        ([ONES.to(torch.int64)] * 2, ["torch.int64", "floating"]),
        ([ONES.to(torch.uint8)] * 2, ["torch.uint8", "floating"]),
        ([ONES.to(torch.bool)] * 2, ["torch.bool", "floating"]),
        ([ONES.to(torch.complex64)] * 2, ["torch.complex64", "floating"]),
        (
            [ONES, ONES.double()],
            ["torch.float32", "torch.float64", "one floating dtype"],
        ),
        ([ONES, ONES.to("meta")], ["cpu", "meta", "one device"]),
        (ONE_IMAGE, ["one image", "B = 1", "two images"]),
    ],
)
def test_bad_views(views, words):
    loss = InfoMaxLoss()
    for call in (loss, loss.entropies, partial(diagnostics, loss=loss)):
        with pytest.raises(ValueError) as error:
            call(views)
        said = str(error.value)
        assert all(word in said for word in ["views", *words])
        assert len(said.splitlines()) == 1


def test_supcons_layout_as_the_refusal_says():
    """The value that the refused tensor has once it is a list: pair by pair in float64."""
    z = torch.stack(random_views(2, 24, 16), 1)
    with pytest.raises(ValueError, match="unbind"):
        InfoMaxLoss(10.0)(z)
    views = list(z.unbind(1))
    rows = unit(torch.cat(views))
    h_global, h_local = double_loop(rows, image_ids(2, 24).tolist(), 10.0)
    loss = InfoMaxLoss(10.0)(views)
    assert loss.item() == pytest.approx(h_local - h_global, abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_has_diverged_shows_in_the_loss(bad):
    """A run stops at a loss that is no number; it must not be hidden here."""
    views = random_views(2, 6, 8)
    views[0][3, 2] = bad
    assert not InfoMaxLoss()(views).isfinite()


@pytest.mark.parametrize(("n_views", "n_total"), [(1, 8), (0, 8), (8, 8), (2, 1)])
def test_bad_numbers_of_views(n_views, n_total):
    sentence = f"n_views = {n_views} of n_total = {n_total} is not allowed"
    with pytest.raises(ValueError, match=sentence):
        mutual_information(1.0, 0.5, n_views, n_total)


@pytest.mark.parametrize(
    "bad", [torch.eye(4).long(), torch.eye(4).bool(), torch.eye(4) + 0j, np.eye(4), [[1.0, 0.0]]]
)
def test_rows_that_are_no_floating_tensor(bad):
    sentence = r"z is of .*: it must be a tensor \(N, D\) of floating-point numbers"
    with pytest.raises(ValueError, match=sentence):
        global_entropy(bad, 10)
    with pytest.raises(ValueError, match=sentence):
        local_entropy(bad, PAIRS, 10)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (2 * torch.eye(4), "length 1; lengths go from 2 to 2"),
        (torch.full((4, 4), torch.nan), "length 1"),
    ],
)
def test_rows_that_are_not_of_length_one(bad, words):
    with pytest.raises(ValueError, match=words):
        global_entropy(bad, 10)
    with pytest.raises(ValueError, match=words):
        local_entropy(bad, PAIRS, 10)


@pytest.mark.parametrize("few", [torch.eye(4)[:1], torch.eye(4)[0]])
def test_rows_that_are_not_two(few):
    with pytest.raises(ValueError) as error:
        global_entropy(few, 10)
    assert str(tuple(few.shape)) in str(error.value)
    assert "(N, D) with N >= 2" in str(error.value)


def test_an_image_of_one_view_has_no_local_entropy():
    with pytest.raises(ValueError, match=r"image 7 has one view"):
        local_entropy(torch.eye(4), torch.tensor([3, 3, 3, 7]), 10)


def test_local_entropy_takes_an_id_for_each_row():
    with pytest.raises(ValueError, match=r"image_ids has shape \(3,\).*\(4,\)"):
        local_entropy(torch.eye(4), PAIRS[:3], 10)


# --- Several processes ----------------------------------------------------------------------------

# Images of either process, of few views and of more than fit into one tile.
SHARES = [(5, 3), (1, 7), (4, 4), (250, 150), (60, 340)]
DISTRIBUTED = list(itertools.product(SHARES, [10.0, 60.0]))


def projection() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(6, 4).double()


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = []
    for share, kappa in DISTRIBUTED:
        model = torch.nn.parallel.DistributedDataParallel(projection())
        views = random_views(3, sum(share), 6, dtype=torch.float64)
        mine = [v.split(share)[rank] for v in views]
        # One forward pass and the split after it: DDP expects one for each backward pass.
        projections = model(torch.cat(mine)).chunk(3)
        loss = InfoMaxLoss(kappa, alpha=0.7, beta=1.1)(projections)
        loss.backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        results.append((loss.item(), gradients))
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(_one_of_two, (str(folder),), nprocs=2)
    results = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    return [dict(zip(DISTRIBUTED, each, strict=True)) for each in results]


@pytest.mark.parametrize("case", DISTRIBUTED, ids=str)
def test_two_processes_equal_one_with_the_whole_batch(two_processes, case):
    share, kappa = case
    model = projection()
    views = random_views(3, sum(share), 6, dtype=torch.float64)
    projections = [model(v) for v in views]
    loss = InfoMaxLoss(kappa, alpha=0.7, beta=1.1)(projections)
    loss.backward()
    for results in two_processes:
        value, gradients = results[case]
        assert value == pytest.approx(loss.item(), abs=1e-9)
        for got, parameter in zip(gradients, model.parameters(), strict=True):
            assert parameter.grad.abs().max() > 1e-2 or parameter.ndim == 1
            torch.testing.assert_close(got, parameter.grad, rtol=0, atol=1e-9)


# --- Memory ---------------------------------------------------------------------------------------

_MEMORY = """
import resource, sys, torch
torch.set_num_threads(1)  # threads that wait for each other take a hundred times as long
from infomax_nb.losses import InfoMaxLoss

def peak_mb():
    # Not ru_maxrss on Linux: a child begins with its parent's, which would hide the growth.
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

def step(n):
    views = [torch.randn(n // 8, 32, requires_grad=True) for _ in range(8)]
    InfoMaxLoss(float(sys.argv[1]))(views).backward()

step(2048)
print(peak_mb())
for n in (4096, 8192, 16384):
    step(n)
    print(peak_mb())
torch.zeros(8192, 8192).fill_(1.0)
print(peak_mb())
"""


@pytest.mark.parametrize("kappa", [10, 60])
def test_memory_grows_linearly(kappa):
    """The peak of forward and backward at N = 4,096, 8,192, 16,384, where the N x N matrix has
    1,024 MB."""
    command = [sys.executable, "-c", _MEMORY, str(kappa)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    base, *peaks, with_matrix = map(float, done.stdout.split())
    first, second = np.diff(peaks)
    slack = 8  # MB; what the allocator rounds
    assert second < 3 * first + slack
    assert peaks[-1] - base < 128
    assert with_matrix - peaks[-1] > 128  # the meter does see a matrix of 256 MB
