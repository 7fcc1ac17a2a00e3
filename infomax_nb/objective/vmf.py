"""The von Mises-Fisher kernel's normaliser, in any dimension."""

import math
from functools import lru_cache
from numbers import Real

import numpy as np
import torch

from infomax_nb.errors import not_allowed


def check_positive(name: str, value: float, high=math.inf, least: float | None = None) -> float:
    """The value of the parameter `name` as a float.

    Raises:
        ParameterError: the value is not finite or not 0 < value <= high; with `least`, not
            least <= value <= high.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    large_enough = number > 0 if least is None else number >= least
    if large_enough and number <= high and number < math.inf and not isinstance(value, bool):
        return number
    allowed = "a number > 0" if least is None else f"a number >= {least:g}"
    if high < math.inf:
        allowed += f" and <= {high:g}"
    raise not_allowed(name, value, allowed)


def log_vmf_normalizer(dim: int, kappa: float) -> float:
    """log C_D(kappa) of Eq. 1's kernel, in nats (float64).

    C_D(kappa) = kappa^nu / ((2 pi)^(nu+1) I_nu(kappa)) with nu = D/2 - 1 (Mardia and Jupp 2000,
    Eq. 9.3.4, there relative to the uniform density). I_nu is summed from its power series (DLMF
    10.25.2), whose terms are all positive, in log space and only around its largest term. So
    nothing underflows where `scipy.special.ive` does (D = 512, kappa = 10).

    Args:
        dim: D >= 2, the number of coordinates (the sphere has D - 1 dimensions).
        kappa: concentration, > 0 and at most 1e8.

    Raises:
        ParameterError: an argument is not in its range.

    >>> round(log_vmf_normalizer(3, 1.0), 4)  # log of kappa / (4 pi sinh kappa)
    -2.6925
    """
    if isinstance(dim, bool) or not isinstance(dim, Real) or dim % 1 or dim < 2:
        raise not_allowed("dim", dim, "a whole number >= 2")
    return _log_normalizer(dim, check_positive("kappa", kappa, 1e8))


# All that `torch.compiler.assume_constant_result` does, but for importing the compiler, which takes
# longer than everything else here.
vars(log_vmf_normalizer)["_dynamo_marked_constant"] = True


@lru_cache(maxsize=256)
def _log_normalizer(dim: int, kappa: float) -> float:
    nu = dim / 2 - 1
    peak = (math.hypot(nu, kappa) - nu) / 2  # where k (k + nu) = kappa^2 / 4: the largest term
    width = 60 + 40 * math.sqrt(peak)
    first = max(0, math.floor(peak - width))
    k = torch.arange(first, math.ceil(peak + width), dtype=torch.float64)
    log_gamma = math.lgamma(nu + 1)
    log_ratio = torch.lgamma(nu + 1 + k) - log_gamma
    log_terms = 2 * k * math.log(kappa / 2) - torch.lgamma(k + 1) - log_ratio
    constant = nu * math.log(2) - (nu + 1) * math.log(2 * math.pi) + log_gamma
    return constant - log_terms.logsumexp(0).item()


def log_kernel_integral(dim: int, kappa: float, nodes: int = 400) -> float:
    """log of the integral of exp(kappa s) over S^{D-1}, in nats, by Gauss-Legendre quadrature.

    At angle t from the kernel's centre the sphere's slice is an S^{D-2} of radius sin t. So the
    integral is |S^{D-2}| times that of exp(kappa cos t) sin(t)^{D-2} over t = 0..pi. No Bessel
    function is used, so it checks `log_vmf_normalizer`, which is the negative of this integral.

    Args:
        dim: D >= 2, the number of coordinates.
        kappa: concentration >= 0.
        nodes: of the quadrature.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)  # on -1..1
    t = (places + 1) * np.pi / 2
    log_slice = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)
    log_terms = kappa * np.cos(t) + (dim - 2) * np.log(np.sin(t)) + np.log(weights * np.pi / 2)
    return log_slice + np.logaddexp.reduce(log_terms)
