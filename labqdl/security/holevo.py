"""Holevo bounds on what a client can learn about the weights.

Everything is bits per *complex mode* (two real weights); the bound per real weight is half of it. `excess` is the
excess noise per quadrature and mode at the channel's output, SNU; derivations in docs/physics.md, "Weights".
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np

from labqdl.security.entropy import Array, checked, entropy_increment, entropy_slope, thermal_entropy


@overload
def weight_leakage(*, mu: float, transmissivity: float, excess: float) -> float: ...
@overload
def weight_leakage(*, mu: float | Array, transmissivity: float | Array, excess: float | Array) -> float | Array: ...
def weight_leakage(*, mu: float | Array, transmissivity: float | Array, excess: float | Array) -> float | Array:
    """Holevo information L(2 mu + 1, T, eps) of one use about one complex mode, bits.

    mu: mean photons per mode at the channel's input; transmissivity: power, in [0, 1]; excess: SNU at the output.
    Arrays are broadcast against each other.

    L = g((nu1-1)/2) + g((nu2-1)/2) - g((nu3-1)/2) with nu1, nu2 the symplectic eigenvalues of the server's two-mode
    state and nu3 = 1 + eps (Weedbrook et al., RMP 84, 621, Sec. V for the purification picture; Holevo and Werner,
    PRA 63, 032312). It is evaluated in the form derived in docs/physics.md ("Digits"), in which only terms of equal
    sign are added: relative error below 1e-14 for every mu, every eps and T up to 1.

    Raises
    ------
    ValueError
        For a parameter that is negative, not finite or above its limit.
    """
    _, step, minus, half = _occupations(mu, transmissivity, excess)
    bits = entropy_increment(half, step) + thermal_entropy(minus)
    return float(bits) if bits.ndim == 0 else bits


def _occupations(
    mu: float | Array, transmissivity: float | Array, excess: float | Array
) -> tuple[Array, Array, Array, Array]:
    """(x_plus, x_plus - eps/2, x_minus, eps/2): thermal photons of the client's two modes and of its noise."""
    m, t, eps = np.broadcast_arrays(
        2.0 * checked("mu", mu), checked("transmissivity", transmissivity, 0.0, 1.0), checked("excess", excess)
    )
    loss = 1.0 - t
    shared = loss * m
    gap = eps - shared
    noise = eps * (m + 1.0)
    root = np.hypot(gap, 2.0 * np.sqrt(1.0 + noise + shared))
    half = np.asarray(0.5 * eps)
    step = np.asarray(eps * m * t / (root + 2.0 + eps + shared))
    plus = half + step
    # x_minus = (root - 2 - gap)/4 is a sum of positive terms while gap <= 0; otherwise it follows from the product
    # x_plus x_minus, which is again free of differences
    direct = ((gap * gap + 4.0 * (noise + shared)) / (root + 2.0) - np.minimum(gap, 0.0)) / 4.0
    ratio = eps / np.where(plus > 0.0, plus, 1.0)
    product = 0.25 * ratio * m * ((m + 2.0) * (eps + 2.0 * loss) / (2.0 + noise + shared + root))
    minus = np.where(gap <= 0.0, direct, product)
    return plus, step, minus, half


def trusted_fibre_leakage(
    *, mu: float, transmissivity: float, excess: float, trusted_forward: float, trusted_back: float
) -> float:
    """L(2 mu T1 + 1, T/(T1 T2), eps/T2): the client cannot use the trusted losses T1 (next to the server, on the
    way out) and T2 (next to the server, on the way back); bits per mode.

    `transmissivity` and `excess` are those of the whole path at the server's input, trusted losses included; excess
    without the noise of trusted components.

    Raises
    ------
    ValueError
        If the trusted losses exceed the total, or for parameters outside of their range.
    """
    for name, value in (("trusted_forward", trusted_forward), ("trusted_back", trusted_back)):
        if not 0.0 < value <= 1.0:
            raise ValueError(f"{name} must lie in (0, 1], got {value!r}")
    rest = transmissivity / (trusted_forward * trusted_back)
    if rest > 1.0 + 1e-12:
        raise ValueError(f"trusted losses leave a transmissivity of {rest!r} for the rest, above 1")
    return weight_leakage(mu=mu * trusted_forward, transmissivity=min(rest, 1.0), excess=excess / trusted_back)


def repeated_weight_leakage(
    *, mu: float, transmissivity: float, excess: float, uses: int, cross_use_tested: bool = False
) -> float:
    """What `uses` transmissions of the same weights leak together: L(2 K mu + 1, T, eps_sym), bits per mode.

    K copies of a coherent state are one copy, sqrt(K) larger, on their symmetric mode. A client may put the noise of
    all K uses on that mode, eps_sym = K eps, without raising the average of any use; only a cross-use test (variance
    of the sum of residuals of the same weight) holds it to eps_sym = eps. Derivation: docs/physics.md, "Repeated use".
    """
    if uses < 1:
        raise ValueError(f"uses must be at least 1, got {uses!r}")
    symmetric = excess if cross_use_tested else uses * excess
    return weight_leakage(mu=uses * mu, transmissivity=transmissivity, excess=symmetric)


def water_filling_leakage(*, mu: float, eigenvalues: Array, excess: float, transmissivity: float = 1.0) -> float:
    """Worst case for weights of unequal covariance: max over noise spectra of the mean leakage, bits per mode.

    eigenvalues: spectrum of the modulation's covariance, shape (n,), any scale (divided by its mean here). The client
    may spread its noise, n * excess in total, over the eigendirections as it likes: the maximum of
    sum_i L(2 mu lambda_i + 1, T, N_i)/n over N_i >= 0, sum N_i = n excess. L is concave in N, so the optimum has equal
    slopes; the common slope is found by bisection and the *dual* value is returned, which is an upper bound at every
    stage of the search and exceeds the optimum by less than 1e-12 at its end.

    Raises
    ------
    ValueError
        For an empty, negative or all-zero spectrum or parameters out of range.
    """
    spectrum = checked("eigenvalues", eigenvalues)
    if spectrum.ndim != 1 or spectrum.size == 0 or not np.any(spectrum > 0.0):
        raise ValueError(f"eigenvalues must be a vector with a positive entry, got shape {spectrum.shape}")
    values, counts = np.unique(spectrum / spectrum.mean(), return_counts=True)
    quiet = float(np.sum(counts * weight_leakage(mu=mu * values, transmissivity=transmissivity, excess=0.0)))
    n = spectrum.size
    if excess == 0.0 or mu == 0.0 or transmissivity == 0.0:
        return quiet / n  # noise tells the client nothing: no light, no noise to hide in, or everything is lost to it
    kept = values > 0.0
    photons, weights, total = mu * values[kept], counts[kept].astype(np.float64), n * excess

    def slopes(log_noise: Array) -> Array:
        return _slope(photons, transmissivity, np.exp(log_noise))

    share = total / float(weights.sum())
    # at the even share no slope is both below the smallest and above the largest: the common slope lies between
    even = slopes(np.full(photons.shape, math.log(share)))
    # (slopes underflow where hardly anything comes back; any multiplier above zero gives an upper bound)
    log_low, log_high = (math.log(max(float(slope), 1e-300)) for slope in (even.min(), even.max()))
    floor = np.full(photons.shape, math.log(1e-300))
    ceiling = np.full(photons.shape, math.log(total))
    noise = np.full(photons.shape, share)
    multiplier = float(even.max())
    for _ in range(48):
        multiplier = math.exp(0.5 * (log_low + log_high))
        low, high = floor, ceiling
        while float(np.max(high - low)) > 1e-10:
            middle = 0.5 * (low + high)
            steep = slopes(middle) > multiplier
            low, high = np.where(steep, middle, low), np.where(steep, high, middle)
        noise = np.exp(0.5 * (low + high))
        spent = float(np.sum(weights * noise))
        if abs(spent - total) <= 1e-9 * total or log_high - log_low < 1e-12:
            break
        # the noise falls as the multiplier rises: what was found brackets what comes
        if spent > total:
            log_low, ceiling = math.log(multiplier), high
        else:
            log_high, floor = math.log(multiplier), low
    gains = weight_leakage(mu=photons, transmissivity=transmissivity, excess=noise)
    return (float(np.sum(weights * (gains - multiplier * noise))) + multiplier * total) / n


def _slope(mu: Array, transmissivity: float, excess: Array) -> Array:
    """dL/d(eps), bits per SNU; infinite at eps = 0 and falling."""
    plus, _, minus, half = _occupations(mu, transmissivity, excess)
    m = 2.0 * mu
    gap = excess - (1.0 - transmissivity) * m
    root = np.hypot(gap, 2.0 * np.sqrt(1.0 + excess * (m + 1.0) + (1.0 - transmissivity) * m))
    lead = gap + 2.0 * (m + 1.0)
    plus_rate = (lead / root + 1.0) / 4.0
    minus_rate = transmissivity * m * (m + 2.0) / (root * (lead + root))
    return plus_rate * entropy_slope(plus) + minus_rate * entropy_slope(minus) - 0.5 * entropy_slope(half)
