"""What the server can learn about the client's data from the light that an honest client returns.

After the known displacement is removed, each row of a layer is a thermal state in the client's direction u: N copies
of the single-photon state of u over all rows, N negative binomial. Everything here follows from that exact state;
derivations in docs/physics.md, "Data".
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, xlogy

from labqdl.security.entropy import Array, thermal_entropy

_TAIL = 60.0
"""Parts of the photon-number law below e^-60 are left out, and the stride's aliasing is held below it."""
_MOST_TERMS = 4_000_000
_STIRLING = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360])
"""Stirling's series B_2k/(2k (2k-1)); with six terms from z = 16 on, the next is 1/(156 z^13) < 2e-18."""


def data_leakage(*, photons_per_row: float, rows: int, n_modes: int, gain_mismatch_photons: float = 0.0) -> float:
    """Holevo bound on the data vector of one layer, bits in total: E log2 C(N+n-1, N), N ~ NegBin(rows, photons).

    photons_per_row: mean noise photons about u that one row returns, (D_X + D_P)/4 at the client's output.
    n_modes: complex modes n. gain_mismatch_photons: mean photons per row that a net gain t != 1 displaces along u,
    |t-1|^2 <|u^dagger beta|^2>; they raise the bound to E log2 C(N+Md+n-1, N+Md) + M [g(nbar+d) - g(nbar)].

    An upper bound for every prior and every measurement of a server that sent coherent states; attained by the
    Haar prior when the net gain is 1. Relative error below 1e-12. Where the photon-number law is so broad that its
    sum would take millions of terms (a handful of rows of more than 1e4 photons), Jensen's bound
    log2 C(Nbar+n-1, Nbar) stands in for the expectation: it is never smaller.

    Raises
    ------
    ValueError
        For negative or non-finite photon numbers, rows or modes below 1.
    """
    _check(photons_per_row, rows, n_modes)
    if not (math.isfinite(gain_mismatch_photons) and gain_mismatch_photons >= 0):
        raise ValueError(f"gain_mismatch_photons must be finite and at least 0, got {gain_mismatch_photons!r}")
    extra = rows * gain_mismatch_photons
    numbers, weights = photon_number_law(photons_per_row=photons_per_row, rows=rows)
    bits = float(np.sum(weights * log_choose(numbers + extra, float(n_modes - 1)))) / math.log(2.0)
    if gain_mismatch_photons > 0:
        mixed = photons_per_row + gain_mismatch_photons
        bits += rows * (thermal_entropy(mixed) - thermal_entropy(photons_per_row))
    return bits


def phase_sensitive_data_leakage(*, photons_x: float, photons_p: float, rows: int, n_modes: int) -> float:
    """Holevo bound on the data vector where the returned noise prefers a quadrature; bits in total.

    photons_x, photons_p: noise photons per row along X and P of the addressed mode, D_X/4 and D_P/4. Such light shows
    the phase of u as well. With N photons in all it holds N copies of u, whatever the noise; what it knows of the
    phase is in the coherence between different N and therefore at most the entropy of N:
    chi <= E log2 C(N+n-1, N) + H(N). Each quadrature of a row makes Poisson photons of a chi-squared intensity of one
    degree of freedom, so that N is the sum of two negative binomial numbers of rows/2 sources (docs/physics.md, "Other
    measurements"). Noise on one quadrature is summed exactly; on both, the expectation is taken at the mean of N and
    H(N) from its variance, which is larger. For equal noise use `data_leakage`, which is exact.
    """
    _check(photons_x, rows, n_modes)
    _check(photons_p, rows, n_modes)
    mean = rows * (photons_x + photons_p)
    if mean == 0.0:
        return 0.0
    sources = 0.5 * rows
    if min(photons_x, photons_p) == 0.0:
        each = mean / sources
        first, last = _window(mean, sources)
        if last - first <= _MOST_TERMS:
            numbers = np.arange(first, last + 1.0)
            weights = np.exp(_log_negative_binomial(numbers, each, sources))
            weights /= weights.sum()
            nats = float(weights @ log_choose(numbers, float(n_modes - 1))) - float(np.sum(xlogy(weights, weights)))
            return nats / math.log(2.0)
    variance = mean + 2.0 * rows * (photons_x**2 + photons_p**2)
    bits = float(log_choose(np.array([mean]), float(n_modes - 1))[0]) / math.log(2.0)
    return bits + 0.5 * math.log2(2.0 * math.pi * math.e * (variance + 1.0 / 12.0))


def best_overlap(*, photons_per_row: float, rows: int, n_modes: int) -> float:
    """Largest mean squared overlap with u that any server can reach: E[(N+1)/(N+n)].

    Optimal estimation of N copies of a pure state of dimension n (Bruß and Macchiavello, Phys. Lett. A 253, 249;
    Hayashi, Hashimoto and Horibe, PRA 72, 032325). Exact at unit gain; 1/n when no photon returns.
    """
    _check(photons_per_row, rows, n_modes)
    numbers, weights = photon_number_law(photons_per_row=photons_per_row, rows=rows)
    return float(np.sum(weights * (numbers + 1.0) / (numbers + n_modes)))


def attenuated_photons(
    *, photons_per_row: float, input_transmissivity: float, output_transmissivity: float = 1.0
) -> float:
    """Photons per row that bound every server strategy, entangled probes included: T_o nbar/(1 - T_c T_o).

    The client owns and trusts attenuators of power transmissivity T_c at its input and T_o at its output; the rest
    is ideal with unit gain. `data_leakage` with this number is then a bound for a malicious server. Derivation:
    docs/physics.md, "Malicious server" (teleportation simulation, Pirandola et al., Nat. Commun. 8, 15043).
    Without any attenuation the bound is infinite.
    """
    for name, value in (("input", input_transmissivity), ("output", output_transmissivity)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name}_transmissivity must lie between 0 and 1, got {value!r}")
    _check(photons_per_row, 1, 1)
    passed = output_transmissivity * photons_per_row
    if passed == 0.0:
        return 0.0
    kept = 1.0 - input_transmissivity * output_transmissivity
    return math.inf if kept == 0.0 else passed / kept


def photon_number_law(*, photons_per_row: float, rows: int) -> tuple[Array, Array]:
    """Numbers N and weights (sum 1) for expectations over NegBin(rows, mean rows * photons_per_row).

    All N with more than e^-60 of weight beyond them, every h-th of them where the law is smooth: summing every h-th
    term of E f is exact up to the characteristic function at multiples of 2 pi/h, of modulus
    (1 + 4 nbar (1+nbar) sin^2(pi/h))^(-rows/2), which is held below e^-60. A law too broad to sum (see
    `data_leakage`) is returned as its mean alone.
    """
    if photons_per_row == 0.0:
        return np.zeros(1), np.ones(1)
    spread = 4.0 * photons_per_row * (1.0 + photons_per_row)
    exponent = 2.0 * _TAIL / rows
    smooth = math.expm1(exponent) / spread if exponent < 700.0 else math.inf
    stride = max(1, math.floor(math.pi / math.asin(math.sqrt(smooth)))) if smooth < 1.0 else 1
    mean = rows * photons_per_row
    first, last = _window(mean, float(rows))
    if (last - first) / stride > _MOST_TERMS:
        return np.array([mean]), np.ones(1)
    numbers = np.arange(first, last + stride, stride, dtype=np.float64)
    weights = np.exp(_log_negative_binomial(numbers, photons_per_row, float(rows)))
    return numbers, weights / weights.sum()


def log_choose(first: Array, second: float) -> Array:
    """ln C(a+b, a) = ln[Gamma(a+b+1)/(Gamma(a+1) Gamma(b+1))] for real a, b >= 0.

    Differences of log-gamma functions lose digits as ln(a!) grows; here the leading terms a ln(1+b/a) + b ln(1+a/b)
    are positive and the remainders of Stirling's formula are small.
    """
    if second == 0.0:
        return np.zeros_like(first)
    safe = np.maximum(first, 1e-290)  # the term vanishes there as a ln a does
    leading = first * np.log1p(second / safe) + second * np.log1p(first / second)
    other = np.full_like(first, second)
    return leading + _remainder(first + second) - _remainder(first) - _remainder(other)


def _check(photons_per_row: float, rows: int, n_modes: int) -> None:
    if not (math.isfinite(photons_per_row) and photons_per_row >= 0):
        raise ValueError(f"photons_per_row must be finite and at least 0, got {photons_per_row!r}")
    if rows < 1 or n_modes < 1:
        raise ValueError(f"rows and n_modes must be at least 1, got {rows!r} and {n_modes!r}")


def _remainder(z: Array) -> Array:
    """ln z! - (z ln z - z), z >= 0."""
    large = np.maximum(z, 16.0)
    inverse = 1.0 / large
    series = inverse * np.polynomial.polynomial.polyval(inverse * inverse, _STIRLING)
    small = np.minimum(z, 16.0)
    exact = gammaln(small + 1.0) - (xlogy(small, small) - small)
    return np.where(z < 16.0, exact, 0.5 * np.log(2.0 * math.pi * large) + series)


def _log_negative_binomial(numbers: Array, photons: float, rows: float) -> Array:
    """ln P(N) in Loader's saddle-point form (C. Loader, "Fast and accurate computation of binomial probabilities").

    C(N+M-1, N) p^N q^M = M/(N+M) Binomial(N+M; N, p), p = nbar/(1+nbar): deviances and Stirling remainders, no
    difference of large logarithms.
    """
    q = 1.0 / (1.0 + photons)
    excess = numbers - rows * photons
    trials = numbers + rows
    deviance = _deviance(numbers, trials * (photons * q), -excess * q)
    deviance = deviance + _deviance(np.full_like(numbers, rows), trials * q, excess * q)
    stirling = _remainder(numbers + rows) - _remainder(numbers) - _remainder(np.full_like(numbers, rows))
    return np.log(rows / (numbers + rows)) + stirling - deviance


def _deviance(x: Array, y: Array, shift: Array) -> Array:
    """x ln(x/y) + y - x, given shift = y - x by a form that keeps the digits of small shifts."""
    ratio = -shift / (x + y)
    series = np.zeros_like(x)
    power = ratio.copy()
    for order in range(1, 10):
        power = power * ratio * ratio
        series = series + power / (2 * order + 1)
    near = -shift * ratio + 2.0 * x * series
    far = xlogy(x, x) - xlogy(x, y) + shift
    return np.where(np.abs(ratio) < 0.1, near, far)


def _window(mean: float, rows: float) -> tuple[float, float]:
    """Integers around the mean beyond which Chernoff's bound leaves less than e^-60 on either side."""
    photons = mean / rows

    def cost(number: float) -> float:
        """Exponent of Chernoff's bound at `number`."""
        other = (number + rows) / (1.0 + photons)
        first = number * math.log(number / (number + rows) * (1.0 + 1.0 / photons)) if number > 0.0 else 0.0
        return first + rows * math.log(rows / other)

    if cost(0.0) <= _TAIL:
        first = 0.0
    else:
        low, high = 0.0, mean
        while high - low > 1e-6 * mean + 0.5:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if cost(middle) > _TAIL else (low, middle)
        first = math.floor(low)
    low, high = mean, mean + 1.0
    while cost(high) <= _TAIL:
        low, high = high, mean + 2.0 * (high - mean)
    while high - low > 1e-6 * mean + 0.5:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if cost(middle) > _TAIL else (middle, high)
    return float(first), float(math.ceil(high))
