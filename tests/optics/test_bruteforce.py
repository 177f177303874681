"""The brute force reproduces the reference values by itself.

The library is compared with it in test_law_bruteforce, test_expectation_bruteforce and test_sampler_bruteforce.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.optics.interferometer import GivensChain, TimeBinTree
from tests.optics.bruteforce import (
    IDEAL,
    AmplifierBuild,
    Bench,
    FeedForwardBuild,
    generic_direction,
    interleaved,
    moments,
    monte_carlo,
    unitary_from_direction,
)

Real = NDArray[np.float64]
SIZES = (1, 8, 32)
IMPERFECT = Bench(
    AmplifierBuild(2.3, 0.4, n_sp=1.3),
    forward=0.8,
    forward_excess=0.02,
    client_efficiency=0.85,
    client_noise=0.07,
    back=0.7,
    back_excess=0.03,
    server_efficiency=0.9,
    server_noise=0.05,
    counter_efficiency=0.6,
)
BUILDS = (AmplifierBuild(2.0, 0.5), AmplifierBuild(2.3, 0.4), FeedForwardBuild(0.7))


def axes(n: int, seed: int = 0) -> tuple[Real, Real]:
    """x and Jx as interleaved vectors."""
    u = generic_direction(n, seed)
    return interleaved(u), interleaved(1j * u)


@pytest.mark.parametrize("n", SIZES)
def test_unitary_has_the_direction_in_its_last_row(n: int) -> None:
    u = generic_direction(n, 0)
    unitary = unitary_from_direction(u)
    np.testing.assert_allclose(unitary @ unitary.conj().T, np.eye(n), atol=1e-13)
    np.testing.assert_allclose(unitary[-1], u.conj(), atol=1e-13)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("n", SIZES)
def test_commutators_are_preserved(build: AmplifierBuild | FeedForwardBuild, n: int) -> None:
    """[X_j, P_j] = 2i for the returned light, and the client's outcome commutes with all of it."""
    found = moments(replace(IMPERFECT, tap=build), generic_direction(n, 0)).commutators
    expected = np.zeros((2 * n + 1, 2 * n + 1))
    expected[1:, 1:] = np.kron(np.eye(n), [[0, 1], [-1, 0]])
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("gain", [1 + 1e-6, 1.1, 2.0, 2 + math.sqrt(2), 5.0])
@pytest.mark.parametrize("n", SIZES)
def test_ideal_amplifier_and_tap(gain: float, n: int) -> None:
    """Client noise DX2, added noise eta, kappa and unit gain at balance (PRX 15, 041056; P-function picture)."""
    x, jx = axes(n)
    found = moments(Bench(AmplifierBuild(gain, 1 / gain)), generic_direction(n, 0))
    np.testing.assert_allclose(found.outcome_map, math.sqrt(gain - 1) * x, atol=1e-12)
    np.testing.assert_allclose(found.homodyne_map, np.eye(2 * n), atol=1e-12)
    dx2 = found.covariance[0, 0] / (gain - 1)
    assert dx2 == pytest.approx((2 * gain**2 - 3 * gain + 2) / (gain * (gain - 1)), rel=1e-9)
    eta = 2 * (gain - 1) / gain
    spike = np.outer(x, x) + np.outer(jx, jx)
    np.testing.assert_allclose(found.covariance[1:, 1:], np.eye(2 * n) + eta * spike, atol=1e-12)
    kappa = 2 * (gain - 1) * math.sqrt((1 - 1 / gain) / gain)
    np.testing.assert_allclose(found.covariance[0, 1:], kappa * x, atol=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_headline_values_at_gain_two(n: int) -> None:
    x, _ = axes(n)
    found = moments(IDEAL, generic_direction(n, 0))
    assert found.covariance[0, 0] == pytest.approx(2, abs=1e-12)
    assert np.trace(found.covariance[1:, 1:]) - 2 * n == pytest.approx(2, abs=1e-12)
    along = x @ found.covariance[1:, 1:] @ x
    correlation = found.covariance[0, 1:] @ x / math.sqrt(found.covariance[0, 0] * along)
    assert correlation == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_imperfect_amplifier_and_tap(n: int) -> None:
    """Outcome variance, returned covariance and cross-covariance with every loss and efficiency."""
    x, jx = axes(n)
    bench = replace(IMPERFECT, forward_excess=0.0, back_excess=0.0)
    build = bench.tap
    assert isinstance(build, AmplifierBuild)
    found = moments(bench, generic_direction(n, 0))
    g, tau, noise = build.gain, build.tap_transmissivity, 2 * build.n_sp * (build.gain - 1)
    seen, reach = bench.client_efficiency * (1 - tau), bench.back * bench.server_efficiency
    np.testing.assert_allclose(found.outcome_map, math.sqrt(seen * g * bench.forward) * x, atol=1e-13)
    assert found.covariance[0, 0] == pytest.approx(1 + bench.client_noise + seen * noise, rel=1e-13)
    spike = np.outer(x, x) + np.outer(jx, jx)
    floor = (1 + bench.server_noise) * np.eye(2 * n)
    np.testing.assert_allclose(found.covariance[1:, 1:], floor + reach * noise * tau * spike, atol=1e-13)
    np.testing.assert_allclose(found.covariance[0, 1:], noise * math.sqrt(seen * tau * reach) * x, atol=1e-13)
    amplitude = math.sqrt(bench.forward * reach)
    mean = amplitude * (np.eye(2 * n) + (math.sqrt(tau * g) - 1) * spike)
    np.testing.assert_allclose(found.homodyne_map, mean, atol=1e-13)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.9, 1 - 1e-6])
@pytest.mark.parametrize("n", SIZES)
def test_ideal_feed_forward(t: float, n: int) -> None:
    x, jx = axes(n)
    found = moments(Bench(FeedForwardBuild(t)), generic_direction(n, 0))
    np.testing.assert_allclose(found.outcome_map, x, atol=1e-12)
    np.testing.assert_allclose(found.homodyne_map, np.eye(2 * n), atol=1e-12)
    assert found.covariance[0, 0] == pytest.approx(1 + (1 + t) / (1 - t), rel=1e-12)
    disturbance = 2 * (1 - math.sqrt(t)) / (1 + math.sqrt(t))
    spike = np.outer(x, x) + np.outer(jx, jx)
    np.testing.assert_allclose(found.covariance[1:, 1:], np.eye(2 * n) + disturbance * spike, atol=1e-9)
    np.testing.assert_allclose(found.covariance[0, 1:], 2 / (1 + math.sqrt(t)) * x, atol=1e-9)


def test_real_feed_forward_reference_values() -> None:
    """t = 0.9, efficiency 0.8, electronic noise 0.05: D = 0.06913 and N = 25.25."""
    bench = Bench(FeedForwardBuild(0.9), client_efficiency=0.8, client_noise=0.05)
    found = moments(bench, generic_direction(8, 0))
    x, jx = axes(8)
    for axis in (x, jx):
        assert axis @ found.covariance[1:, 1:] @ axis - 1 == pytest.approx(0.06913, abs=5e-6)
    assert found.covariance[0, 0] - 1 == pytest.approx(25.25, abs=1e-9)


@pytest.mark.parametrize("n", SIZES)
def test_nulled_light_is_thermal_in_the_addressed_mode(n: int) -> None:
    """(G-1)/G photons a row, spread over the modes like |u_j|^2; n_sp, losses and efficiency scale them."""
    u = generic_direction(n, 0)
    q = np.random.default_rng(n).standard_normal(2 * n) * 3
    ideal = moments(IDEAL, u)
    np.testing.assert_allclose(ideal.photons(q, q), 0.5 * np.abs(u) ** 2, atol=1e-12)
    bench = Bench(AmplifierBuild(2.0, 0.5, n_sp=1.3), forward=0.8, back=0.7, counter_efficiency=0.6)
    found = moments(bench, u).photons(q, math.sqrt(0.8 * 0.7 * 0.6) * q)
    np.testing.assert_allclose(found, 0.7 * 0.6 * 1.3 * 0.5 * np.abs(u) ** 2, atol=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_excess_noise_adds_where_it_is_put(n: int) -> None:
    u = generic_direction(n, 0)
    quiet = moments(replace(IMPERFECT, forward_excess=0.0, back_excess=0.0), u)
    back = moments(replace(IMPERFECT, forward_excess=0.0), u)
    added = IMPERFECT.back_excess * IMPERFECT.server_efficiency
    difference = back.covariance - quiet.covariance
    np.testing.assert_allclose(difference, np.diag([0.0] + [added] * (2 * n)), atol=1e-13)
    forward = moments(IMPERFECT, u).covariance - back.covariance
    maps = np.vstack([quiet.outcome_map, quiet.homodyne_map]) / math.sqrt(IMPERFECT.forward)
    np.testing.assert_allclose(forward, IMPERFECT.forward_excess * maps @ maps.T, atol=1e-13)


@pytest.mark.parametrize("build", [AmplifierBuild(2.3, 0.4, 1.3), FeedForwardBuild(0.7)])
@pytest.mark.parametrize("n", SIZES)
def test_any_interferometer_with_the_same_direction_gives_the_same_law(
    build: AmplifierBuild | FeedForwardBuild, n: int
) -> None:
    u = generic_direction(n, 3)
    bench = replace(IMPERFECT, tap=build)
    reference = moments(bench, u)
    for mesh in (GivensChain.from_direction(u), TimeBinTree.from_direction(u)):
        found = moments(bench, u, mesh.matrix())
        np.testing.assert_allclose(found.covariance, reference.covariance, atol=1e-12)
        np.testing.assert_allclose(found.homodyne_map, reference.homodyne_map, atol=1e-12)
        np.testing.assert_allclose(found.outcome_map, reference.outcome_map, atol=1e-12)


@pytest.mark.parametrize("build", [AmplifierBuild(2.3, 0.4, 1.3), FeedForwardBuild(0.7)])
def test_wigner_samples_have_the_exact_moments(build: AmplifierBuild | FeedForwardBuild) -> None:
    """17 means and 153 second moments at 6 sigma: false alarms below 4e-7."""
    n, rows = 8, 20_000
    u = generic_direction(n, 1)
    q = np.random.default_rng(1).standard_normal(2 * n) * math.sqrt(8)
    bench = replace(IMPERFECT, tap=build)
    exact = moments(bench, u)
    seen = monte_carlo(bench, u, q, rows, np.random.default_rng(2))
    values = np.vstack([seen.outcome, seen.homodyned.reshape(2 * n, rows)])
    means = np.concatenate([[exact.outcome_map @ q], exact.homodyne_map @ q])
    variances = np.diag(exact.covariance)
    deviations = values - means[:, None]
    assert np.all(np.abs(deviations.mean(axis=1)) < 6 * np.sqrt(variances / rows))
    spread = np.sqrt((np.outer(variances, variances) + exact.covariance**2) / rows)
    assert np.all(np.abs(deviations @ deviations.T / rows - exact.covariance) < 6 * spread)


def phase_noise_statistics(sigma: float, claimed: float) -> tuple[float, float]:
    """Deviations in standard errors of two Monte Carlo figures from the closed forms for phase noise `claimed`.

    The residual's mean excess per quadrature, 2 mu T (sigma^2 to lowest order), and the outcome's excess,
    2 mu sigma^2 referred to the input; both with their exact dependence on sigma, 2 (1 - exp(-sigma^2/2)) for the
    residual, whose mean carries the factor exp(-sigma^2/2).
    """
    n, rows, blocks = 4, 1500, 80
    generator = np.random.default_rng(11)
    u = generic_direction(n, 2)
    x, jx = axes(n, 2)
    bench = Bench(AmplifierBuild(2.0, 0.5), forward=0.8, back=0.9)
    exact = moments(bench, u)
    amplitude = math.sqrt(0.72)
    floor = float(np.trace(exact.covariance[1:, 1:])) / (2 * n)
    residual, outcome = [], []
    for _ in range(blocks):
        q = generator.standard_normal(2 * n) * math.sqrt(80)
        seen = monte_carlo(bench, u, q, rows, generator, forward_phase_noise=sigma)
        r = seen.homodyned.reshape(2 * n, rows) - amplitude * q[:, None]
        expected = 0.72 * float(q @ q) / (2 * n) * 2 * (1 - math.exp(-(claimed**2) / 2))
        residual.append(np.mean(r**2) - floor - expected)
        scale = float(np.linalg.norm(exact.outcome_map))
        error = seen.outcome / scale - float(x @ q)
        # cos(phi) - 1 along x.q and -sin(phi) along Jx.q: exact second moments of the phase.
        cos1, cos2 = math.exp(-(claimed**2) / 2), math.exp(-2 * claimed**2)
        excess = float(x @ q) ** 2 * (1.5 + cos2 / 2 - 2 * cos1) + float(jx @ q) ** 2 * (1 - cos2) / 2
        outcome.append(np.mean(error**2) - exact.covariance[0, 0] / scale**2 - excess)
    return tuple(  # type: ignore[return-value]
        float(np.mean(values) / (np.std(values, ddof=1) / math.sqrt(blocks))) for values in (residual, outcome)
    )


def test_phase_noise_of_a_row() -> None:
    """Two figures at 6 sigma of 80 blocks (Student t): false alarms below 2e-7; 5 % error in sigma is caught."""
    for z in phase_noise_statistics(0.3, 0.3):
        assert abs(z) < 6
    for z in phase_noise_statistics(0.3, 0.3 * 1.05):
        assert abs(z) > 6


def test_phase_noise_to_lowest_order_is_the_tabulated_excess() -> None:
    """2 mu T sigma^2 on the residual and 2 mu sigma^2 on the outcome, with mean factor exp(-sigma^2/2)."""
    sigma, mu = 1e-3, 4.0
    assert 2 * mu * 2 * (1 - math.exp(-(sigma**2) / 2)) == pytest.approx(2 * mu * sigma**2, rel=1e-6)
    assert 2 * mu * (1 - math.exp(-2 * sigma**2)) / 2 == pytest.approx(2 * mu * sigma**2, rel=1e-5)
