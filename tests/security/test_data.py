from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats
from scipy.special import gammaln

from labqdl.security.data import attenuated_photons, best_overlap, data_leakage, log_choose, photon_number_law
from labqdl.security.entropy import thermal_entropy

Matrix = NDArray[np.complex128]

# per real symbol at n = 392; (leakage, overlap) at 784 rows, then at 794
TABLE = {
    1.1: (0.359381767465, 0.155699398748, 0.362492254666, 0.157350261257),
    1.2: (0.533609857659, 0.251496172945, 0.537834911935, 0.253872758450),
    1.5: (0.801108648283, 0.401042116752, 0.806693135519, 0.404081288040),
    2.0: (0.991488164695, 0.500798262764, 0.997823411428, 0.503961783287),
    3.4142: (1.172381795395, 0.586405867261, 1.179292760469, 0.589474178635),
    5.0: (1.240474861379, 0.615948538217, 1.247572435410, 0.618940813755),
}


def photons(gain: float) -> float:
    return (gain - 1) / gain


def directions(n_modes: int, degree: int) -> tuple[list[Matrix], NDArray[np.float64]]:
    """Unit vectors and weights that average polynomials of this degree in u and u* exactly over Haar, n = 2 or 3."""
    nodes, weights = np.polynomial.legendre.leggauss(degree + 2)
    nodes, weights = (nodes + 1) / 2, weights / 2
    if n_modes == 2:
        moduli = [(np.array([x, 1 - x]), w) for x, w in zip(nodes, weights, strict=True)]
    else:
        moduli = [
            (np.array([x, (1 - x) * y, (1 - x) * (1 - y)]), w * v * 2 * (1 - x))
            for (x, w), (y, v) in itertools.product(zip(nodes, weights, strict=True), repeat=2)
        ]
    phases = np.exp(2j * np.pi * np.arange(degree + 1) / (degree + 1))
    vectors: list[Matrix] = []
    shares: list[float] = []
    for squared, weight in moduli:
        for turn in itertools.product(phases, repeat=n_modes - 1):
            vectors.append(np.sqrt(squared) * np.array([1.0, *turn]))
            shares.append(weight / len(phases) ** (n_modes - 1))
    return vectors, np.array(shares)


def fock(u: Matrix, number: int) -> Matrix:
    """|number> of mode u in the occupation basis of its n modes, all patterns with that total."""
    n_modes = len(u)
    patterns = [p for p in itertools.product(range(number + 1), repeat=n_modes) if sum(p) == number]
    amplitudes = [
        math.sqrt(math.factorial(number) / math.prod(map(math.factorial, p)))
        * np.prod([u[j] ** p[j] for j in range(n_modes)])
        for p in patterns
    ]
    return np.array(amplitudes, dtype=np.complex128)


def entropy(state: Matrix) -> float:
    values = np.linalg.eigvalsh(state)
    values = values[values > 1e-15]
    return float(-np.sum(values * np.log2(values)))


@pytest.mark.parametrize("gain", TABLE)
def test_table(gain: float) -> None:
    for rows, (bits, overlap) in zip((784, 794), (TABLE[gain][:2], TABLE[gain][2:]), strict=True):
        found = data_leakage(photons_per_row=photons(gain), rows=rows, n_modes=392)
        assert found / 784 == pytest.approx(bits, abs=1e-12)
        found = best_overlap(photons_per_row=photons(gain), rows=rows, n_modes=392)
        assert found == pytest.approx(overlap, abs=1e-12)


@pytest.mark.parametrize(
    ("gain", "bits", "overlap", "total"),
    [
        (1.0013, 0.01061, 0.0051, 1.02),
        (1.01, 0.06596, 0.0219, 7.76),
        (1.05, 0.2274, 0.0891, 37.3),
        (1.3, 0.6499, 0.3171, 180.9),
        (2.0, 0.9915, 0.5008, 392.0),
    ],
)
def test_coarse_table(gain: float, bits: float, overlap: float, total: float) -> None:
    found = data_leakage(photons_per_row=photons(gain), rows=784, n_modes=392)
    assert found / 784 == pytest.approx(bits, rel=6e-4)
    assert best_overlap(photons_per_row=photons(gain), rows=784, n_modes=392) == pytest.approx(overlap, rel=6e-3)
    assert 784 * photons(gain) == pytest.approx(total, rel=6e-3)


@pytest.mark.parametrize(("gain", "bits"), [(2.0, 1.0364), (1.001207, 0.010015)])
def test_sum_over_the_layers_of_784_784_10(gain: float, bits: float) -> None:
    total = sum(data_leakage(photons_per_row=photons(gain), rows=rows, n_modes=392) for rows in (784, 10))
    assert total / 784 == pytest.approx(bits, rel=5e-5)


@pytest.mark.parametrize(("n_modes", "most"), [(2, 8), (3, 4)])
def test_averaged_state_has_this_entropy(n_modes: int, most: int) -> None:
    """Diagonalise the Haar average of two thermal rows, photon pattern by photon pattern."""
    mean, rows = (0.03 if n_modes == 2 else 0.01), 2
    vectors, shares = directions(n_modes, most)
    rungs = [np.array([fock(u, number) for u in vectors]) for number in range(most + 1)]
    chi = 0.0
    left_out = 1.0
    for pattern in itertools.product(range(most + 1), repeat=rows):
        if sum(pattern) > most:
            continue
        weight = math.prod(mean**k / (1 + mean) ** (k + 1) for k in pattern)
        left_out -= weight
        kets = np.einsum("ki,kj->kij", rungs[pattern[0]], rungs[pattern[1]]).reshape(len(vectors), -1)
        state = (kets.T * shares) @ kets.conj()
        assert np.trace(state).real == pytest.approx(1.0, abs=1e-12)
        chi += weight * entropy(state)
    assert left_out < 3e-8
    found = data_leakage(photons_per_row=mean, rows=rows, n_modes=n_modes)
    assert found == pytest.approx(chi, abs=1e-6)
    assert data_leakage(photons_per_row=1.05 * mean, rows=rows, n_modes=n_modes) != pytest.approx(chi, abs=1e-6)


@pytest.mark.parametrize(("n_modes", "copies"), [(2, 0), (2, 3), (5, 1), (40, 7)])
def test_overlap_is_reached_by_the_covariant_measurement(n_modes: int, copies: int) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x, w = (nodes + 1) / 2, weights / 2
    density = (n_modes - 1) * (1 - x) ** (n_modes - 2)  # of |<u|v>|^2 for Haar v
    reached = math.comb(copies + n_modes - 1, copies) * float(np.sum(w * density * x ** (copies + 1)))
    assert reached == pytest.approx((copies + 1) / (copies + n_modes), rel=1e-10)


@pytest.mark.parametrize(("mean", "rows", "n_modes"), [(0.5, 784, 392), (0.1, 64, 32), (2.0, 10, 392), (1e-3, 784, 15)])
def test_agrees_with_sampled_photon_numbers(mean: float, rows: int, n_modes: int) -> None:
    """Within 5.5 standard errors (false alarm 4e-8 each); photons off by 5 % fail."""
    draws = np.random.default_rng(7).negative_binomial(rows, 1 / (1 + mean), size=400_000).astype(np.float64)
    bits = (gammaln(draws + n_modes) - gammaln(draws + 1) - gammaln(n_modes)) / math.log(2)
    overlap = (draws + 1) / (draws + n_modes)

    def agree(factor: float) -> list[bool]:
        found = [
            (function(photons_per_row=factor * mean, rows=rows, n_modes=n_modes), values)
            for function, values in ((data_leakage, bits), (best_overlap, overlap))
        ]
        return [abs(value - s.mean()) < 5.5 * s.std() / math.sqrt(s.size) for value, s in found]

    assert all(agree(1.0))
    assert not any(agree(1.05))


@pytest.mark.parametrize(
    ("mean", "rows", "n_modes"), [(Fraction(1, 3), 5, 7), (Fraction(3), 1, 4), (Fraction(1, 9), 2, 2)]
)
def test_agrees_with_exact_sums(mean: Fraction, rows: int, n_modes: int) -> None:
    q = 1 / (1 + mean)
    terms = [
        float(math.comb(k + rows - 1, k) * (1 - q) ** k * q**rows) * math.log2(math.comb(k + n_modes - 1, k))
        for k in range(400)
    ]
    found = data_leakage(photons_per_row=float(mean), rows=rows, n_modes=n_modes)
    assert found == pytest.approx(math.fsum(terms), rel=1e-13)


@pytest.mark.parametrize(("mean", "rows"), [(1e-9, 1000), (0.5, 20_000), (1e-3, 3_000_000), (12.0, 700), (900.0, 2)])
def test_law_has_the_moments_of_the_negative_binomial(mean: float, rows: int) -> None:
    numbers, weights = photon_number_law(photons_per_row=mean, rows=rows)
    total = mean * rows
    assert np.sum(weights * numbers) == pytest.approx(total, rel=1e-13)
    assert np.sum(weights * (numbers - total) ** 2) == pytest.approx(total * (1 + mean), rel=1e-12)
    # a plain sum over every number, with weights by recurrence from the mode
    n_modes = 392
    sigma = math.sqrt(total * (1 + mean))
    every = np.arange(max(0, math.floor(total - 14 * sigma)), math.ceil(total + 40 * sigma + 40), dtype=np.float64)
    ratio = (every[:-1] + rows) / (every[:-1] + 1) * (mean / (1 + mean))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    plain = np.exp(logs - logs.max())
    bits = np.cumsum(np.log2((np.arange(1.0, every[-1] + 1) + n_modes - 1) / np.arange(1.0, every[-1] + 1)))
    values = np.concatenate([[0.0], bits])[every.astype(np.int64)]
    expected = float(np.sum(plain * values) / plain.sum())
    found = data_leakage(photons_per_row=mean, rows=rows, n_modes=n_modes)
    assert found == pytest.approx(expected, rel=1e-9)


def test_law_too_broad_to_sum_gives_an_upper_bound() -> None:
    """One row of 1e6 photons: N/nbar is exponential, E ln of it -gamma."""
    found = data_leakage(photons_per_row=1e6, rows=1, n_modes=3)
    exact = 2 * (math.log(1e6) - np.euler_gamma) / math.log(2) - 1
    assert exact < found < exact + 2 * np.euler_gamma / math.log(2) + 1e-5


def test_little_and_much_light() -> None:
    assert data_leakage(photons_per_row=0.0, rows=784, n_modes=392) == 0.0
    assert best_overlap(photons_per_row=0.0, rows=784, n_modes=392) == pytest.approx(1 / 392)
    assert data_leakage(photons_per_row=0.7, rows=10, n_modes=1) == 0.0
    tiny = data_leakage(photons_per_row=1e-12, rows=1000, n_modes=392)
    assert tiny == pytest.approx(1e-9 * math.log2(392), rel=1e-8)
    much = data_leakage(photons_per_row=0.5, rows=2_000_000, n_modes=5000)
    assert much == pytest.approx(5000 * thermal_entropy(200.0), rel=1e-3)


@given(st.floats(min_value=0, max_value=1e7), st.integers(min_value=0, max_value=5000))
def test_log_choose_at_whole_and_broken_numbers(first: float, second: int) -> None:
    found = float(log_choose(np.array([first]), float(second))[0])
    # product form: C(a+b, b) = prod (a+j)/j
    steps = np.arange(1.0, second + 1)
    expected = math.fsum(np.log1p(first / steps).tolist())
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)


@given(
    st.floats(min_value=1e-6, max_value=50),
    st.integers(min_value=1, max_value=3000),
    st.integers(min_value=2, max_value=900),
)
def test_grows_with_photons_rows_and_modes(mean: float, rows: int, n_modes: int) -> None:
    base = data_leakage(photons_per_row=mean, rows=rows, n_modes=n_modes)
    slack = 1e-11 * base
    assert 0 <= base <= float(log_choose(np.array([rows * mean]), n_modes - 1.0)[0]) / math.log(2) + slack
    assert data_leakage(photons_per_row=1.1 * mean, rows=rows, n_modes=n_modes) >= base - slack
    assert data_leakage(photons_per_row=mean, rows=rows + 1, n_modes=n_modes) >= base - slack
    assert data_leakage(photons_per_row=mean, rows=rows, n_modes=n_modes + 1) >= base - slack
    overlap = best_overlap(photons_per_row=mean, rows=rows, n_modes=n_modes)
    assert 1 / n_modes <= overlap * (1 + 1e-12)
    assert overlap <= 1


def test_bound_with_a_gain_mismatch_holds_for_the_averaged_state() -> None:
    """One row on two modes, alpha = (2, 0), net gain 1 + 0.25: thermal noise plus a displacement along u."""
    mean, mismatch, amplitude, most = 0.05, 0.25, 2.0, 9
    vectors, shares = directions(2, 3 * most)
    ladder = np.diag(np.sqrt(np.arange(1, 2 * most + 12)), 1)
    size = ladder.shape[0]
    thermal = np.diag((mean / (1 + mean)) ** np.arange(size) / (1 + mean)).astype(np.complex128)
    values, basis = np.linalg.eigh(1j * (ladder.T - ladder))
    blocks = [slice(k * (k + 1) // 2, (k + 1) * (k + 2) // 2) for k in range(most + 1)]
    average = np.zeros((blocks[-1].stop, blocks[-1].stop), dtype=np.complex128)
    energy = 0.0
    for u, share in zip(vectors, shares, strict=True):
        overlap = np.conj(u[0]) * amplitude
        energy += share * abs(mismatch * overlap) ** 2
        # displacement by |d|, then a rotation of the number states by its phase
        size_of_step, phase = abs(mismatch * overlap), np.angle(overlap)
        step = basis @ np.diag(np.exp(-1j * size_of_step * values)) @ basis.conj().T
        turn = np.diag(np.exp(1j * phase * np.arange(size)))
        state = (turn @ step @ thermal @ step.conj().T @ turn.conj().T)[: most + 1, : most + 1]
        embedding = np.zeros((blocks[-1].stop, most + 1), dtype=np.complex128)
        for number, block in enumerate(blocks):
            embedding[block, number] = fock(u, number)
        average += share * (embedding @ state @ embedding.conj().T)
    assert np.trace(average).real == pytest.approx(1.0, abs=1e-6)
    chi = entropy(average) - thermal_entropy(mean)
    assert energy == pytest.approx(mismatch**2 * amplitude**2 / 2, rel=1e-10)
    bound = data_leakage(photons_per_row=mean, rows=1, n_modes=2, gain_mismatch_photons=energy)
    without = data_leakage(photons_per_row=mean, rows=1, n_modes=2)
    assert without < chi < bound


def test_gain_mismatch_vanishes_continuously() -> None:
    base = data_leakage(photons_per_row=0.5, rows=784, n_modes=392)
    near = data_leakage(photons_per_row=0.5, rows=784, n_modes=392, gain_mismatch_photons=1e-12)
    assert base <= near <= base + 1e-7


@pytest.mark.parametrize(("before", "behind"), [(0.5, 1.0), (0.9, 1.0), (0.5, 0.8)])
def test_attenuator_bounds_entangled_probes(before: float, behind: float) -> None:
    """Strongly squeezed probe: combine what returns with what was kept so that only attenuator and client remain."""
    mean, squeezing = 0.3, 9.0
    c, s = math.cosh(2 * squeezing), math.sinh(2 * squeezing)
    total = before * behind
    # quadratures X of (kept, returned); the client adds 2 mean between its attenuators, P has the opposite correlation
    returned = total * c + behind * (1 - before) + (1 - behind) + 2 * mean * behind
    for sign in (1.0, -1.0):
        link = sign * math.sqrt(total) * s
        covariance = np.array([[c, link], [link, returned]])
        # X: (returned - sqrt T kept)/sqrt(1-T); P: (returned + sqrt T kept)/sqrt(1-T); their commutator is 2i
        combination = np.array([-sign * math.sqrt(total), 1.0]) / math.sqrt(1 - total)
        variance = float(combination @ covariance @ combination)
        expected = attenuated_photons(photons_per_row=mean, input_transmissivity=before, output_transmissivity=behind)
        assert (variance - 1) / 2 == pytest.approx(expected, rel=1e-6)
        assert (variance - 1) / 2 != pytest.approx(1.05 * expected, rel=1e-3)


def test_attenuator_limits() -> None:
    assert attenuated_photons(photons_per_row=0.5, input_transmissivity=0.0) == 0.5
    assert attenuated_photons(photons_per_row=0.5, input_transmissivity=1.0) == math.inf
    assert attenuated_photons(photons_per_row=0.0, input_transmissivity=1.0) == 0.0
    with pytest.raises(ValueError, match="input_transmissivity"):
        attenuated_photons(photons_per_row=0.5, input_transmissivity=1.5)


@pytest.mark.parametrize(
    ("mean", "rows", "n_modes", "stray"), [(-0.1, 3, 4, 0.0), (0.5, 0, 4, 0.0), (0.5, 3, 0, 0.0), (0.5, 3, 4, math.nan)]
)
def test_refuses_parameters_out_of_range(mean: float, rows: int, n_modes: int, stray: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        data_leakage(photons_per_row=mean, rows=rows, n_modes=n_modes, gain_mismatch_photons=stray)


def test_gain_mismatch_photons_tell_about_the_direction_themselves() -> None:
    """Without noise a row is a coherent state along u: N is Poisson, and the bound covers E log2 C(N+n-1, N)."""
    rows, n_modes, stray = 6, 40, 0.5
    numbers = np.arange(200)
    poisson = stats.poisson.pmf(numbers, rows * stray)
    choose = (special.gammaln(numbers + n_modes) - special.gammaln(numbers + 1) - special.gammaln(n_modes)) / math.log(
        2
    )
    single = stats.poisson.pmf(numbers, stray)
    row = -float(np.sum(special.xlogy(single, single))) / math.log(2)
    exact = float(np.sum(poisson * choose)) + rows * row
    bound = data_leakage(photons_per_row=0.0, rows=rows, n_modes=n_modes, gain_mismatch_photons=stray)
    assert exact <= bound < 1.2 * exact
