"""Holevo bounds on what a client can learn about the weights.

Everything is bits per *complex mode* (two real weights); the bound per real weight is half of it. `excess` is the
excess noise per quadrature and mode at the channel's output, SNU; derivations in docs/physics.md, "Weights".
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np

from labqdl.security.entropy import Array, checked, entropy_increment, entropy_slope, thermal_entropy

_MOST_STEPS = 60
_GAP = 1e-10
"""Relative duality gap at which the water filling stops."""
_ROUNDING = 1e-14
"""Bits that the slopes' rounding errors may amount to."""
_TRIAL = 1e-4
_LONGEST_STEP = 4.0
_LEAST_LOG = -690.0


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


def phase_sensitive_leakage(*, mu: float, excess_x: float, excess_p: float) -> float:
    """L for noise that differs between the quadratures, at T = 1; bits per complex mode.

    excess_x, excess_p: excess noise of X and of P, SNU. The same state as in `weight_leakage`, with symplectic
    eigenvalues nu^2 = 1 + z, z the two roots of z^2 - (V s + p) z + p (V^2 - 1) = 0, s = eps_x + eps_p,
    p = eps_x eps_p, V = 2 mu + 1 (docs/physics.md, "Other measurements"). With noise on P alone it is
    g((sqrt(1 + V eps_p) - 1)/2) - g((sqrt(1 + eps_p) - 1)/2).
    """
    variance = 2.0 * float(checked("mu", mu)) + 1.0
    x, p = float(checked("excess_x", excess_x)), float(checked("excess_p", excess_p))
    total, product = x + p, x * p
    middle = variance * total + product
    root = math.sqrt((variance * (x - p)) ** 2 + product * (2.0 * variance * total + product + 4.0))
    larger = 0.5 * (middle + root)
    smaller = product * (variance**2 - 1.0) / larger if larger > 0.0 else 0.0
    # nu^2 - 1 = z; the noise alone has nu^2 = (1 + eps_x)(1 + eps_p)
    first, second, known = (_photons(z) for z in (larger, smaller, total + product))
    return thermal_entropy(first) - thermal_entropy(known) + thermal_entropy(second)


def _photons(excess: float) -> float:
    """(nu - 1)/2 of a mode with nu^2 = 1 + excess."""
    return 0.5 * excess / (math.sqrt(1.0 + excess) + 1.0)


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


def water_filling_leakage(
    *,
    mu: float,
    eigenvalues: Array,
    excess: float,
    transmissivity: float = 1.0,
    counts: Array | None = None,
) -> float:
    """Worst case for weights of unequal covariance: max over noise spectra of the mean leakage, bits per mode.

    eigenvalues: spectrum of the modulation's covariance, shape (n,), any scale (divided by its mean here); counts: how
    often each occurs, shape (n,), any scale, 1 each by default. The client may spread its noise over the
    eigendirections as it likes: the maximum of the mean of L(2 mu lambda_i + 1, T, N_i) over N_i >= 0 of mean `excess`.
    L is concave in N, so the optimum has equal slopes; it is found by Newton's method on all directions at once. What
    is returned is the value found plus its duality gap (largest slope times what the noise could be moved), an upper
    bound wherever the search stops and less than 1e-10 of it above the optimum where it converges
    (docs/physics.md, "Unequal weights").

    Raises
    ------
    ValueError
        For an empty, negative or all-zero spectrum or parameters out of range.
    """
    spectrum = checked("eigenvalues", eigenvalues)
    shares = np.ones_like(spectrum) if counts is None else checked("counts", counts)
    if spectrum.ndim != 1 or spectrum.shape != shares.shape or not np.any(spectrum * shares > 0.0):
        raise ValueError(f"eigenvalues must be a vector with a positive entry, got shape {spectrum.shape}")
    shares = shares / shares.sum()
    photons = mu * spectrum / float(shares @ spectrum)
    quiet = float(shares @ np.asarray(weight_leakage(mu=photons, transmissivity=transmissivity, excess=0.0)))
    if excess == 0.0 or mu == 0.0 or transmissivity == 0.0:
        return quiet  # noise tells the client nothing: no light, no noise to hide in, or everything is lost to it
    kept = photons * shares > 0.0
    return _filled(photons[kept], shares[kept], transmissivity, excess)


def _filled(photons: Array, shares: Array, transmissivity: float, excess: float) -> float:
    """max of sum_i shares_i L(2 photons_i + 1, T, N_i) with sum_i shares_i N_i = excess, from above."""
    logs = np.full(photons.shape, math.log(excess / float(shares.sum())))
    for _ in range(_MOST_STEPS):
        noise = np.exp(logs)
        noise *= excess / float(shares @ noise)
        slopes = np.maximum(_slope(photons, transmissivity, noise), 0.0)  # rounding, where all noise is too much
        # L is concave: moving all noise to the steepest direction gains at most its slope times what is moved
        spent = float(shares @ (slopes * noise))
        gap = max(float(slopes.max()) * excess - spent, 0.0)
        if gap <= max(_GAP * spent, _ROUNDING):  # and `spent` is less than the leakage itself, by concavity again
            break
        logs = np.log(noise)
        # slopes are straight lines in log N where the noise is small, and powers of N where it is large
        rates = (_slope(photons, transmissivity, noise * (1.0 + _TRIAL)) - slopes) / math.log1p(_TRIAL)
        rates = np.minimum(rates, -1e-12 * slopes - 1e-100)
        level = _common_slope(logs, slopes, rates, shares, excess)
        logs = np.maximum(logs + _step(level, slopes, rates), _LEAST_LOG)
    return float(shares @ np.asarray(weight_leakage(mu=photons, transmissivity=transmissivity, excess=noise))) + gap


def _step(level: float, slopes: Array, rates: Array) -> Array:
    """Newton's step of log N towards the slope `level`, cut to what the local law can be trusted for."""
    return np.clip((level - slopes) / rates, -_LONGEST_STEP, _LONGEST_STEP)


def _common_slope(logs: Array, slopes: Array, rates: Array, shares: Array, excess: float) -> float:
    """The slope at which Newton's steps spend just the noise there is; spending falls as the slope rises."""
    low, high = float(slopes.min()), float(slopes.max())
    level = 0.5 * (low + high)
    for _ in range(60):
        steps = _step(level, slopes, rates)
        noise = shares * np.exp(logs + steps)
        over = float(noise.sum()) - excess
        if abs(over) <= 1e-12 * excess or high - low <= 1e-14 * high:
            break
        low, high = (level, high) if over > 0.0 else (low, level)
        falls = float(np.sum(np.where(np.abs(steps) < _LONGEST_STEP, noise / rates, 0.0)))
        level = level - over / falls if falls < 0.0 else low
        if not low < level < high:
            level = 0.5 * (low + high)
    return level


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
