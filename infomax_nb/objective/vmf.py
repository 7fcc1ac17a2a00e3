"""The von Mises-Fisher kernel's normaliser, in any dimension."""

import math
from functools import lru_cache

import numpy as np
import torch


def check_positive(name: str, value: float, high: float = math.inf, zero: bool = False) -> float:
    """Return `value` as a float; ValueError that names it unless 0 < value <= high (0 allowed if
    `zero`)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if (
        isinstance(value, bool)
        or not (0 <= number <= high if zero else 0 < number <= high)
        or number == math.inf
    ):
        bound = f"a number {'>= 0' if zero else '> 0'}" + (
            f" and <= {high:g}" if high < math.inf else ""
        )
        raise ValueError(f"{name} = {value!r} is not allowed: it must be {bound}.")
    return number


@lru_cache(maxsize=256, typed=True)
def log_vmf_normalizer(dim: int, kappa: float) -> float:
    """log C_D(kappa) of Eq. 1's kernel, in nats (float64).

    C_D(kappa) = kappa^nu / ((2 pi)^(nu+1) I_nu(kappa)) with nu = D/2 - 1 (Mardia and Jupp 2000, Eq.
    9.3.4). I_nu is summed from its power series (DLMF 10.25.2), whose terms are all positive, in
    log space and only around its largest term; so nothing underflows where `scipy.special.ive` does
    (D = 512, kappa = 10).

    Args:
        dim: D >= 2, the number of coordinates (the sphere has D - 1 dimensions).
        kappa: concentration > 0.
    """
    if isinstance(dim, bool) or int(dim) != dim or dim < 2:
        raise ValueError(f"dim = {dim!r} is not allowed: it must be a whole number >= 2.")
    kappa = check_positive("kappa", kappa)
    nu = dim / 2 - 1
    peak = (
        math.hypot(nu, kappa) - nu
    ) / 2  # where consecutive terms are equal: k (k + nu) = kappa^2 / 4
    width = 60 + 40 * math.sqrt(peak)
    k = torch.arange(max(0, math.floor(peak - width)), math.ceil(peak + width), dtype=torch.float64)
    own = math.lgamma(nu + 1)
    log_terms = 2 * k * math.log(kappa / 2) - torch.lgamma(k + 1) - (torch.lgamma(nu + 1 + k) - own)
    return nu * math.log(2) - (nu + 1) * math.log(2 * math.pi) + own - log_terms.logsumexp(0).item()


def log_kernel_integral(dim: int, kappa: float, nodes: int = 400) -> float:
    """log of the integral of exp(kappa s) over S^{D-1}, in nats, by Gauss-Legendre quadrature over
    the angle.

    At angle t from the kernel's centre the sphere's slice is a S^{D-2} of radius sin t, so the
    integral is
    |S^{D-2}| times that of exp(kappa cos t) sin(t)^{D-2} over 0..pi. Summed in log space; nothing
    here uses Bessel functions, so it checks `log_vmf_normalizer`, which is its negative.
    """
    t, w = (
        (np.stack(np.polynomial.legendre.leggauss(nodes)) + [[1], [0]]) * np.pi / 2
    )  # nodes moved to 0..pi
    log_slice = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)
    return log_slice + np.logaddexp.reduce(
        kappa * np.cos(t) + (dim - 2) * np.log(np.sin(t)) + np.log(w)
    )
