"""Every numbered formula of the physics notes has a test by a route that does not use the formula: the list, checked.

The numbers are those of the reference on which docs/physics.md rests ([chapter.formula]). Formulas without a home in a
room's own tests are tested here, on small systems and without the package's formulas.
"""

from __future__ import annotations

import ast
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from labqdl.optics.gain_tap import amplifier_tap
from labqdl.security.holevo import weight_leakage
from labqdl.security.malicious import angle_error_photons
from tests.security.symplectic import entropy, purification

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

TESTS = Path(__file__).resolve().parents[1]

WHERE: dict[str, tuple[str, ...]] = {
    # 1: the protocol
    "1.1": ("optics/test_modes.py::test_pairing_identity_and_the_symplectic_form",),
    "1.2": (
        "optics/test_interferometer.py::test_mesh_is_unitary_and_puts_the_inner_product_in_the_named_mode",
        "optics/test_interferometer.py::test_chain_equals_the_explicit_product_of_two_mode_rotations",
        "optics/test_interferometer.py::test_integrated_mzis_carry_b_with_the_stated_phase",
    ),
    "1.3": ("optics/test_interferometer.py::test_lossy_loop_captures_exactly_the_direction",),
    "1.4": (
        "optics/test_bruteforce.py::test_imperfect_amplifier_and_tap",
        "optics/test_law_bruteforce.py::test_honest_law_in_an_imperfect_light_path",
    ),
    "1.5": ("security/test_reference_numbers.py::test_least_noise_of_the_amplifier_and_tap",),
    "1.6": ("security/test_reference_numbers.py::test_signal_to_noise_of_one_quadrature",),
    "1.7": (
        "optics/test_measurements.py::test_the_noise_of_the_circuit",
        "optics/test_measurements.py::test_vacuum_at_every_port_gives_these_noises",
        "security/test_measured.py::test_table_of_devices",
    ),
    "1.8": (
        "optics/test_bruteforce.py::test_phase_noise_to_lowest_order_is_the_tabulated_excess",
        "security/test_reference_numbers.py::test_imperfections_of_the_chain",
        "security/test_reference_numbers.py::test_converters_of_eight_bits",
    ),
    # 2: verification
    "2.1": ("security/test_reference_numbers.py::test_energy_of_the_residuals_of_a_row",),
    "2.2": (
        "optics/test_bruteforce.py::test_nulled_light_is_thermal_in_the_addressed_mode",
        "optics/test_sampler.py::test_nulled_light_of_an_honest_row_is_thermal",
    ),
    "2.4": ("security/test_attacks.py::test_counted_power_is_that_of_theory",),
    "2.5": (
        "security/test_sample_size.py::test_power_of_the_noise_test_by_simulation",
        "security/test_sample_size.py::test_power_of_the_gain_test_by_simulation",
        "security/test_sample_size.py::test_power_of_the_count_test_by_simulation",
    ),
    "2.6": (
        "security/test_sprt.py::test_mean_numbers_to_a_decision",
        "security/test_eprocess.py::test_false_alarms_at_any_time_stay_below_alpha",
    ),
    "2.7": ("security/test_reference_numbers.py::test_a_spike_shows_its_direction_above_the_threshold_only",),
    # 3: leakage
    "3.1": (
        "security/test_holevo.py::test_agrees_with_direct_diagonalisation_from_both_sides",
        "security/test_holevo.py::test_direct_diagonalisation_without_loss",
    ),
    "3.2": (
        "security/test_measured.py::test_noise_that_prefers_a_quadrature_by_diagonalisation",
        "security/test_reference_numbers.py::test_noise_on_one_mode_of_a_row_and_spread_over_it",
        "security/test_holevo.py::test_concave_in_the_noise",
    ),
    "3.3": (
        "security/test_holevo.py::test_water_filling_agrees_with_a_search_over_a_grid",
        "security/test_spectrum.py::test_no_noise_tells_more_than_the_worst_prior",
        "security/test_holevo.py::test_repeated_use_is_the_leakage_of_the_symmetric_mode",
    ),
    "3.4": (
        "security/test_finite.py::test_worst_case_of_the_paper_with_homodyne_only",
        "security/test_finite.py::test_coverage_of_both_limits",
    ),
    "3.5": ("security/test_fisher.py::test_variance_of_one_mode_alone",),
    "3.6": (
        "security/test_fisher.py::test_homodyne_of_real_data",
        "security/test_fisher.py::test_heterodyne",
        "security/test_fisher.py::test_homodyne_of_generic_complex_data_is_that_of_heterodyne",
    ),
    "3.7": (
        "security/test_fisher.py::test_quantum_information_of_a_thermal_mode",
        "security/test_fisher.py::test_masking",
    ),
    "3.8": (
        "security/test_data.py::test_averaged_state_has_this_entropy",
        "security/test_data.py::test_overlap_is_reached_by_the_covariant_measurement",
        "security/test_fisher.py::test_passive_tap",
    ),
    "3.9": (
        "security/test_fisher.py::test_entangled_probes",
        "security/test_malicious.py::test_no_entangled_probe_beats_the_attenuated_photons",
        "security/test_data.py::test_attenuator_bounds_entangled_probes",
    ),
    "3.10": ("security/test_reference_numbers.py::test_photon_counts_tell_the_label",),
    # 4: tables
    "4.1": ("security/test_holevo.py::test_table", "security/test_holevo.py::test_keeps_its_digits_everywhere"),
    # 5: sampling
    "5.1": (
        "optics/test_law_bruteforce.py::test_honest_law_in_an_imperfect_light_path",
        "optics/test_sampler_bruteforce.py::test_moments_of_the_sampler",
    ),
    "5.2": ("optics/test_sampler.py::test_statistics_have_the_law_of_the_residuals",),
    # 6: further
    "6.1": (
        "planner/test_reference.py::test_table_of_limits_on_ideal_parts",
        "security/test_squeezed.py::test_values_of_the_physics_notes",
        "security/test_squeezed.py::test_agrees_with_the_mode_that_is_taken",
    ),
    "6.2": ("security/test_reference_numbers.py::test_light_of_rows_that_costs_least",),
    "6.3": ("network/test_train.py::test_noise_aware_training_wins_at_low_light",),
}
"""Formula of the reference -> the tests that derive its numbers by another route."""


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("number", WHERE)
def test_the_formula_has_its_tests(number: str) -> None:
    assert WHERE[number]
    for place in WHERE[number]:
        file, name = place.split("::")
        assert name in functions(TESTS / file), f"[{number}]: no test {place}"


def test_no_formula_is_left_out() -> None:
    chapters = {1: range(1, 9), 2: (1, 2, 4, 5, 6, 7), 3: range(1, 11), 4: (1,), 5: (1, 2), 6: (1, 2, 3)}
    assert set(WHERE) == {f"{chapter}.{number}" for chapter, numbers in chapters.items() for number in numbers}


def test_least_noise_of_the_amplifier_and_tap() -> None:
    """[1.5]: the noise of the tapped quadrature from its three ports, minimised over the gain."""

    def noise(gain: float) -> float:
        # sqrt(G-1) X_b + (G-1)/sqrt(G) X_idler - X_vacuum/sqrt(G), in units of its gain
        ports = np.array([math.sqrt(gain - 1), (gain - 1) / math.sqrt(gain), -1 / math.sqrt(gain)])
        return float(ports @ ports) / (gain - 1)

    best = minimize_scalar(noise, bounds=(1.1, 20.0), method="bounded", options={"xatol": 1e-10})
    assert best.x == pytest.approx(2 + math.sqrt(2), abs=1e-4)
    assert best.fun == pytest.approx(2 * math.sqrt(2) - 1, abs=1e-9)
    for gain in (1.1, 2.0, 5.0):
        law = amplifier_tap(gain, 1 / gain)
        assert law.n_x + 1 == pytest.approx(noise(gain), rel=1e-12)


def test_signal_to_noise_of_one_quadrature() -> None:
    """[1.6]: variance of x.q for isotropic weights is 2 mu, so that S = 2 mu/DX2 = 4 at mu = 4, G = 2; sampled.

    5.5 sigma each, false alarm 8e-8; half of it, as in the authors' map, is far outside.
    """
    rng = np.random.default_rng(1)
    mu, samples, n = 4.0, 200_000, 6
    alpha = math.sqrt(mu / 2) * (rng.normal(size=(samples, n)) + 1j * rng.normal(size=(samples, n)))
    u = rng.normal(size=n) + 1j * rng.normal(size=n)
    u /= np.linalg.norm(u)
    signal = 2 * np.real(alpha @ u.conj())
    error = 5.5 * 2 * mu * math.sqrt(2 / samples)
    assert abs(float(np.var(signal)) - 2 * mu) < error
    tapped = signal + rng.normal(size=samples)
    tapped += math.sqrt(0.5) * rng.normal(size=samples) - math.sqrt(0.5) * rng.normal(size=samples)
    ratio = float(np.var(signal)) / float(np.var(tapped - signal))
    assert ratio == pytest.approx(4.0, abs=5.5 * 4 * math.sqrt(4 / samples))


def chain_angles(u: Complex) -> Real:
    """Coupler angles of the chain that gathers u^dagger a; (..., n) -> (..., n - 1)."""
    moduli = np.abs(u)
    return np.asarray(np.arctan2(moduli[..., 1:], np.sqrt(np.cumsum(moduli**2, axis=-1))[..., :-1]))


def through(alpha: Complex, u: Complex, out: Real, home: Real, phases: tuple[Real, Real]) -> tuple[Complex, Complex]:
    """(returned amplitudes, addressed mode) of chains with these coupler angles and errors of phase shifters."""
    modes = alpha * np.exp(-1j * (np.angle(u) + phases[0]))
    carry, parked = modes[..., 0].copy(), np.empty(out.shape, dtype=np.complex128)
    for k in range(1, u.shape[-1]):
        c, s = np.cos(out[..., k - 1]), np.sin(out[..., k - 1])
        parked[..., k - 1] = -s * carry + c * modes[..., k]
        carry = c * carry + s * modes[..., k]
    addressed = carry.copy()
    for k in range(u.shape[-1] - 1, 0, -1):
        c, s = np.cos(home[..., k - 1]), np.sin(home[..., k - 1])
        modes[..., k] = s * carry + c * parked[..., k - 1]
        carry = c * carry - s * parked[..., k - 1]
    modes[..., 0] = carry
    return np.asarray(modes * np.exp(1j * (np.angle(u) + phases[1]))), addressed


def complex_normal(rng: np.random.Generator, *shape: int) -> Complex:
    """Mean square 2."""
    return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


@pytest.mark.parametrize("kind", ["couplers", "phase shifters", "reciprocal"])
def test_imperfections_of_the_chain(kind: str) -> None:
    """[1.8]: excess per quadrature, and error of the outcome, of chains whose elements are off by chance.

    5.5 sigma (false alarm 8e-8); 5 % off fail.
    """
    rng = np.random.default_rng(2)
    n, mu, error, trials = 10, 4.0, 2e-3, 20_000
    u = complex_normal(rng, trials, n)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = math.sqrt(mu / 2) * complex_normal(rng, trials, n)
    angles, nothing = chain_angles(u), np.zeros((trials, n))
    first, second = (error * rng.normal(size=(trials, n - 1)) for _ in range(2))
    shifted = (error * rng.normal(size=(trials, n)), error * rng.normal(size=(trials, n)))
    settings: dict[str, tuple[Real, Real, tuple[Real, Real]]] = {
        "couplers": (angles + first, angles + second, (nothing, nothing)),
        "reciprocal": (angles + first, angles + first, (nothing, nothing)),
        "phase shifters": (angles, angles, shifted),
    }
    returned, addressed = through(alpha, u, *settings[kind])
    excess = np.sum(np.abs(2 * (returned - alpha)) ** 2, axis=1) / (2 * n)
    outcome = (2 * np.real(addressed - np.sum(u.conj() * alpha, axis=1))) ** 2
    expected = {
        "couplers": 8 * mu * error**2 * (n - 1) / n,
        "phase shifters": 4 * mu * error**2,
        "reciprocal": 0.0,
    }[kind]
    assert_mean(excess, expected)
    if kind == "couplers":  # the same as photons a row
        assert n / 2 * expected == pytest.approx(
            angle_error_photons(mu=mu, n_modes=n, angle_error=error) * (n - 1) / n, rel=1e-12
        )
    # on the outcome: each coupler turns the share R_k^2 that was gathered by then into what was not
    captured = np.sum(np.cumsum(np.abs(u) ** 2, axis=1)[:, 1:], axis=1)
    own = 2 * mu * error**2 * (float(captured.mean()) if kind != "phase shifters" else 1.0)
    assert_mean(outcome, own)


def assert_mean(values: Real, expected: float) -> None:
    """Within 5.5 standard errors, and 5 % off would not be."""
    error = 5.5 * float(values.std()) / math.sqrt(values.size)
    assert abs(float(values.mean()) - expected) <= error + 1e-20
    if expected:
        assert abs(float(values.mean()) - 1.08 * expected) > error


def test_converters_of_eight_bits() -> None:
    """[1.8]: rms rounding error of an angle between 0 and a right one, and what it costs at n = 392, mu = 4."""
    steps = np.linspace(0, math.pi / 2, 2**8 + 1)
    angles = np.random.default_rng(3).uniform(0, math.pi / 2, 200_000)
    rounded = steps[np.rint(angles / steps[1]).astype(np.int64)]
    error = float(np.sqrt(np.mean((rounded - angles) ** 2)))
    assert error == pytest.approx(1.77e-3, rel=5e-3)
    assert 4.0 * 392 * error**2 == pytest.approx(4.9e-3, rel=1e-2)
    assert 8 * 4.0 * error**2 == pytest.approx(1.0e-4, rel=1e-2)
    assert angle_error_photons(mu=4.0, n_modes=392, angle_error=error) == pytest.approx(0.020, rel=0.02)


def test_energy_of_the_residuals_of_a_row() -> None:
    """[2.1]: mean and variance of |r|^2 from r drawn mode by mode; 5.5 sigma each, false alarm 1e-7; 5 % off fail."""
    rng = np.random.default_rng(4)
    n, floor, spike, samples = 5, 1.3, 1.7, 400_000
    u = rng.normal(size=n) + 1j * rng.normal(size=n)
    u /= np.linalg.norm(u)
    pattern = rng.random(n) < 0.5
    noise = math.sqrt(spike) * (rng.normal(size=(samples, 1)) + 1j * rng.normal(size=(samples, 1))) * u
    picked = np.where(pattern, noise.imag, noise.real)
    energy = np.sum((picked + math.sqrt(floor) * rng.normal(size=(samples, n))) ** 2, axis=1)
    x, jx = np.where(pattern, u.imag, u.real), np.where(pattern, u.real, -u.imag)
    mean = n * floor + spike
    shape = (x @ x) ** 2 + (jx @ jx) ** 2 + 2 * (x @ jx) ** 2
    variance = 2 * (n * floor**2 + 2 * spike * floor + spike**2 * shape)
    error = 5.5 * math.sqrt(variance / samples)
    assert abs(float(energy.mean()) - mean) < error < 0.05 * mean
    squares = (energy - mean) ** 2
    error = 5.5 * float(squares.std()) / math.sqrt(samples)
    assert abs(float(squares.mean()) - variance) < error < 0.05 * variance


@pytest.mark.parametrize(("ratio", "load"), [(3.0, 0.5), (1.2, 0.25), (0.3, 0.5)])
def test_a_spike_shows_its_direction_above_the_threshold_only(ratio: float, load: float) -> None:
    """[2.7]: overlap of the top eigenvector with u, (1 - load/g^2)/(1 + load/g) above g = sqrt(load), else none.

    At G = 2 the ratio is 0.5, the load of one inference 0.5: invisible, and at the edge with two of the same data.
    """
    rng = np.random.default_rng(5)
    n, trials = 80, 12
    rows = round(n / load)
    overlaps = np.zeros(trials)
    for trial in range(trials):
        u = complex_normal(rng, n)
        u /= np.linalg.norm(u)
        light = math.sqrt(0.5) * complex_normal(rng, rows, n)
        light += math.sqrt(ratio / 2) * complex_normal(rng, rows, 1) * u
        vectors = np.linalg.eigh(light.T @ light.conj())[1]
        overlaps[trial] = abs(np.vdot(u, vectors[:, -1])) ** 2
    expected = (1 - load / ratio**2) / (1 + load / ratio) if ratio > math.sqrt(load) else 0.0
    assert float(overlaps.mean()) == pytest.approx(expected, abs=0.06)


def test_noise_on_one_mode_of_a_row_and_spread_over_it() -> None:
    """[3.2]: an honest row of three modes diagonalised, noise on mode u alone; spreading it evenly tells more."""
    rng = np.random.default_rng(6)
    n, mu, noise = 3, 4.0, 1.0
    u = rng.normal(size=n) + 1j * rng.normal(size=n)
    u /= np.linalg.norm(u)
    x = np.column_stack([u.real, u.imag]).ravel()
    jx = np.column_stack([-u.imag, u.real]).ravel()
    added = noise * (np.outer(x, x) + np.outer(jx, jx))

    def holevo(extra: Real) -> float:
        sent = purification(np.eye(2 * n) * (2 * mu + 1))
        sent[: 2 * n, : 2 * n] += extra
        return entropy(sent) - entropy(np.eye(2 * n) + extra)

    alone, spread = holevo(added), holevo(np.eye(2 * n) * noise / n)
    assert alone == pytest.approx(weight_leakage(mu=mu, transmissivity=1.0, excess=noise), rel=1e-8)
    assert alone == pytest.approx(2.7775, abs=6e-5)
    assert spread == pytest.approx(n * weight_leakage(mu=mu, transmissivity=1.0, excess=noise / n), rel=1e-8)
    assert spread > 1.5 * alone
    # the outcome itself carries log2(1 + S)/2 bits a row
    assert 0.5 * math.log2(5) == pytest.approx(1.161, abs=6e-4)


def test_photon_counts_tell_the_label() -> None:
    """[3.10]: photons counted mode by mode, 8x8 digits, 64 rows: 37 % right at G = 1.1, 72 % at G = 2; chance 10 %.

    A server with class averages of the data and nothing else, a third of the digits for the averages. The first code's
    formula allows it 0.19 bits about the image at G = 1.1; so many right labels are 0.38 bits by Fano's inequality.
    """
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    rng = np.random.default_rng(7)
    images, labels = digits.data.astype(np.float64), digits.target
    order = rng.permutation(len(images))
    known, asked = order[:600], order[600:]
    powers = images[:, 0::2] ** 2 + images[:, 1::2] ** 2
    powers /= powers.sum(axis=1, keepdims=True)
    classes = np.array([powers[known][labels[known] == k].mean(axis=0) for k in range(10)])
    scores = np.log(classes + 1e-4)
    for gain, photons, least, most in ((1.1, 5.8, 0.30, 0.45), (2.0, 32.0, 0.62, 0.80)):
        mean = (gain - 1) / gain
        totals = rng.negative_binomial(64, 1 / (1 + mean), len(asked))
        assert float(totals.mean()) == pytest.approx(photons, rel=0.03)
        counts = np.array([rng.multinomial(total, powers[image]) for total, image in zip(totals, asked, strict=True)])
        right = float(np.mean(np.argmax(counts @ scores.T, axis=1) == labels[asked]))
        assert least < right < most


def test_light_of_rows_that_costs_least() -> None:
    """[6.2]: sum h sigma^2/mu at a fixed sum of mu, minimised by descent: mu goes as sigma sqrt(h)."""
    rng = np.random.default_rng(8)
    sigma, curvature = rng.uniform(0.2, 3.0, 12), rng.uniform(0.1, 5.0, 12)

    def loss(logs: Real) -> float:
        light = np.exp(logs)
        light *= 1.0 / light.sum()
        return float(np.sum(curvature * sigma**2 / light))

    found = minimize(loss, np.zeros(12), method="BFGS", options={"gtol": 1e-9})
    light = np.exp(found.x) / np.exp(found.x).sum()
    expected = sigma * np.sqrt(curvature)
    np.testing.assert_allclose(light, expected / expected.sum(), rtol=1e-3)
    assert float(found.fun) == pytest.approx(float(expected.sum()) ** 2, rel=1e-6)
