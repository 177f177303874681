from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labqdl.security.entropy import thermal_entropy
from labqdl.security.holevo import (
    repeated_weight_leakage,
    trusted_fibre_leakage,
    water_filling_leakage,
    weight_leakage,
)

Matrix = NDArray[np.float64]

# bits per mode at eps = 0, 0.001, 0.002551, 0.05; made with 60-digit arithmetic
TABLE = """
0.1 1 0.00000000000000 0.00133066675204 0.00304778693188 0.03751722341422
0.1 0.8 0.14201765903620 0.14266760761097 0.14353924963003 0.16286394015935
0.1 0.5 0.29000519903034 0.29036989120762 0.29085289348953 0.30127424095766
0.1 0.1 0.44817147410232 0.44823822365976 0.44832585141317 0.45017732043658
1 1 0.00000000000000 0.01139874869928 0.02560204372303 0.27859831618465
1 0.8 0.78002690597803 0.78440760553985 0.79004350201704 0.90118134586758
1 0.5 1.37744375108173 1.37949851473243 1.38210857483060 1.43229213323874
1 0.1 1.89620167935737 1.89651757104882 1.89691661502184 1.90450660583683
4 1 0.00000000000000 0.03974860236091 0.08738426507605 0.81054769823812
4 0.8 1.78393690770880 1.79395298437004 1.80640472267627 2.02800416231719
4 0.5 2.75488750216347 2.75860381757850 2.76321703862150 2.84624128466261
4 0.1 3.47472689778257 3.47521637021329 3.47582563807509 3.48694168747227
10 1 0.00000000000000 0.08807495599863 0.18924307803807 1.47085908684757
10 0.8 2.75488750216347 2.76876971542423 2.78568966325760 3.06989631089284
10 0.5 3.90013452989013 3.90461249298221 3.91012136477787 4.00674756360562
10 0.1 4.68995593589281 4.69050834072030 4.69119284685234 4.70352271171347
"""
ROWS = [tuple(float(entry) for entry in line.split()) for line in TABLE.split("\n") if line]
EXCESS = (0.0, 0.001, 0.002551, 0.05)

mus = st.floats(min_value=1e-6, max_value=1e8)
excesses = st.floats(min_value=1e-12, max_value=10.0)
transmissivities = st.one_of(
    st.floats(min_value=0.0, max_value=1.0), st.floats(min_value=0.0, max_value=1e-6).map(lambda loss: 1.0 - loss)
)


def leakage(mu: float, transmissivity: float, excess: float) -> float:
    return weight_leakage(mu=mu, transmissivity=transmissivity, excess=excess)


def symplectic_entropy(covariance: Matrix) -> float:
    """Entropy in bits by diagonalising i Omega V, modes as (X1, P1, X2, P2, ...)."""
    modes = covariance.shape[0] // 2
    omega = np.kron(np.eye(modes), np.array([[0.0, 1.0], [-1.0, 0.0]]))
    values = np.sort(np.abs(np.linalg.eigvals(1j * omega @ covariance)))[::2]
    return float(np.sum(thermal_entropy(np.maximum(values - 1.0, 0.0) / 2.0)))


def diagonalised(mu: float, transmissivity: float, excess: float) -> float:
    """Holevo information from the server's two halves: S(AB) - S(B | heterodyne of A)."""
    v = 2 * mu + 1
    b = transmissivity * 2 * mu + 1 + excess
    c = math.sqrt(transmissivity * (v * v - 1))
    z = np.diag([1.0, -1.0])
    both = np.block([[v * np.eye(2), c * z], [c * z, b * np.eye(2)]])
    measured = both[2:, 2:] - both[2:, :2] @ np.linalg.inv(both[:2, :2] + np.eye(2)) @ both[:2, 2:]
    return symplectic_entropy(both) - symplectic_entropy(measured)


def cloned(mu: float, transmissivity: float, excess: float, *, dimmed: float = 1.0) -> float:
    """Holevo information from the client's side: its own two modes of an entangling cloner, T < 1.

    `dimmed`: transmissivity of a loss in front of the cloner whose light nobody gets.
    """
    noisy = 1.0 + excess / (1.0 - transmissivity)
    link = math.sqrt(transmissivity * (noisy**2 - 1.0)) * np.diag([1.0, -1.0])

    def entropy(modulated: float) -> float:
        arriving = dimmed * 2 * modulated + 1
        taken = (1 - transmissivity) * arriving + transmissivity * noisy
        return symplectic_entropy(np.block([[taken * np.eye(2), link], [link, noisy * np.eye(2)]]))

    return entropy(mu) - entropy(0.0)


def textbook(mu: float, transmissivity: float, excess: float) -> float:
    """L(V, T, eps) as it is printed, in 90 digits."""
    with localcontext() as context:
        context.prec = 90
        two = Decimal(2)
        v, t, eps = 2 * Decimal(mu) + 1, Decimal(transmissivity), Decimal(excess)
        b = t * (v - 1) + 1 + eps
        c2 = t * (v * v - 1)
        root = max((v + b) ** 2 - 4 * c2, Decimal(0)).sqrt()

        def entropy(nu: Decimal) -> Decimal:
            n = (nu - 1) / 2
            if n < Decimal("1e-60"):  # rounding of the 90 digits about a pure mode
                return Decimal(0)
            return ((n + 1) * (n + 1).ln() - n * n.ln()) / two.ln()

        return float(entropy((root + b - v) / 2) + entropy((root - b + v) / 2) - entropy(b - c2 / (v + 1)))


@pytest.mark.parametrize("row", ROWS)
def test_table(row: tuple[float, ...]) -> None:
    mu, transmissivity, *bits = row
    found = weight_leakage(mu=mu, transmissivity=transmissivity, excess=np.array(EXCESS))
    np.testing.assert_allclose(found, bits, rtol=0, atol=1e-13)


def test_headline() -> None:
    assert leakage(4.0, 1.0, 1 / 392) == pytest.approx(0.0873848436950041, abs=1e-15)
    assert leakage(4.0, 1.0, 1 / 392) / 2 == pytest.approx(0.0436924218475020, abs=1e-15)


@pytest.mark.parametrize("mu", [0.1, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("transmissivity", [0.05, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("excess", [0.001, 0.05, 2.0])
def test_agrees_with_direct_diagonalisation_from_both_sides(mu: float, transmissivity: float, excess: float) -> None:
    found = leakage(mu, transmissivity, excess)
    assert found == pytest.approx(diagonalised(mu, transmissivity, excess), abs=1e-9)
    assert found == pytest.approx(cloned(mu, transmissivity, excess), abs=1e-9)
    assert found != pytest.approx(cloned(mu, transmissivity, 1.05 * excess), abs=1e-9)


def test_direct_diagonalisation_without_loss() -> None:
    assert leakage(4.0, 1.0, 0.3) == pytest.approx(diagonalised(4.0, 1.0, 0.3), abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(mus, transmissivities, excesses)
def test_keeps_its_digits_everywhere(mu: float, transmissivity: float, excess: float) -> None:
    assert leakage(mu, transmissivity, excess) == pytest.approx(textbook(mu, transmissivity, excess), rel=1e-13)


@pytest.mark.parametrize("transmissivity", [1.0, 1.0 - 1e-12, 1.0 - 1e-6])
@pytest.mark.parametrize(("mu", "excess"), [(1e8, 1e-12), (1e7, 1e-7), (1e-6, 1e-12), (1e8, 1.0), (1e-6, 1.0)])
def test_corners(mu: float, excess: float, transmissivity: float) -> None:
    assert leakage(mu, transmissivity, excess) == pytest.approx(textbook(mu, transmissivity, excess), rel=1e-13)


def test_limits() -> None:
    assert leakage(4.0, 1.0, 0.0) == 0.0
    assert leakage(0.0, 0.7, 0.3) == 0.0
    assert leakage(4.0, 0.0, 0.3) == pytest.approx(thermal_entropy(4.0), rel=1e-14)
    assert leakage(4.0, 0.9, 0.0) == pytest.approx(thermal_entropy((1.0 - 0.9) * 4.0), rel=1e-15)
    small = 1e-9
    v = 9.0
    expected = thermal_entropy((v + 1) * small / 4) + thermal_entropy((v - 1) * small / 4) - thermal_entropy(small / 2)
    assert leakage(4.0, 1.0, small) == pytest.approx(expected, rel=1e-7)


def test_examples_of_loss() -> None:
    eps = 1 / 392
    assert leakage(4.0, 0.9999, eps) == pytest.approx(0.0904, abs=6e-5)
    assert leakage(4.0, 0.999, eps) == pytest.approx(0.1157, abs=6e-5)
    assert leakage(4.0, 10**-0.001, eps) == pytest.approx(0.1488, abs=6e-5)
    assert leakage(4.0, 0.9, 0.9 * eps + 0.01) == pytest.approx(1.334, abs=6e-4)
    assert leakage(4.0, 1.0, 1.5 / 392) == pytest.approx(0.1219, abs=6e-5)
    assert leakage(4.0, 1.0, 2.0 / 392) == pytest.approx(0.1538, abs=6e-5)
    # all noise of an honest client sits on one mode, which tells less than the same mean on all of them
    assert leakage(4.0, 1.0, 1.0) == pytest.approx(2.7775, abs=6e-5)
    assert 392 * leakage(4.0, 1.0, eps) == pytest.approx(34.25, abs=6e-3)


@pytest.mark.parametrize(("before_db", "behind_db", "bits"), [(0, 0, 0.0647), (0.1, 0, 0.392), (0, 1, 1.516)])
def test_trusted_fibre_examples(before_db: float, behind_db: float, bits: float) -> None:
    """Half of the light lost in a trusted fibre, and an untrusted loss in front of or behind the client's tap."""
    half = math.sqrt(0.5)
    before, behind = 10 ** (-before_db / 10), 10 ** (-behind_db / 10)
    found = trusted_fibre_leakage(
        mu=4.0,
        transmissivity=0.5 * before * behind,
        excess=behind * half / 392,
        trusted_forward=half,
        trusted_back=half,
    )
    assert found == pytest.approx(bits, abs=6e-4)


def test_trusted_fibre_is_what_a_client_behind_it_holds() -> None:
    total, excess = 0.8 * 0.6 * 0.7, 0.7 * 0.03
    found = trusted_fibre_leakage(mu=4.0, transmissivity=total, excess=excess, trusted_forward=0.8, trusted_back=0.7)
    assert found == pytest.approx(cloned(4.0, 0.6, 0.03, dimmed=0.8), abs=1e-10)
    assert found < leakage(4.0, total, excess)


def test_trusted_fibre_refuses_impossible_losses() -> None:
    call = partial(trusted_fibre_leakage, mu=4.0, transmissivity=0.5, excess=0.0)
    with pytest.raises(ValueError, match="trusted losses"):
        call(trusted_forward=0.6, trusted_back=0.6)
    with pytest.raises(ValueError, match="trusted_back"):
        call(trusted_forward=1.0, trusted_back=0.0)


@pytest.mark.parametrize(
    ("uses", "tested", "untested"),
    [(1, 0.0874, 0.0874), (10, 0.559, 2.228), (100, 2.300, 7.99), (1000, 5.269, 12.95)],
)
def test_repeated_use_table(uses: int, tested: float, untested: float) -> None:
    call = partial(repeated_weight_leakage, mu=4.0, transmissivity=1.0, excess=1 / 392, uses=uses)
    assert call(cross_use_tested=True) == pytest.approx(tested, abs=6e-4)
    assert call() == pytest.approx(untested, abs=6e-3 if untested > 5 else 6e-4)


def test_repeated_use_is_the_leakage_of_the_symmetric_mode() -> None:
    """Two copies, lossy channels with a common noise variable: the client's four modes, diagonalised."""
    mu, transmissivity, excess = 1.3, 0.8, 0.05
    mix = np.kron(np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2), np.eye(2))
    loss = 1 - transmissivity
    noisy = 1 + 2 * excess / loss  # the symmetric mode carries the noise of both uses, the other mode none

    def entropy(modulated: float) -> float:
        # in the copies' frame both carry the same amplitude; rotate it into the client's symmetric frame
        amplitude = np.kron(np.ones((2, 2)), np.eye(2)) * 2 * modulated
        arriving = mix @ (amplitude + np.eye(4)) @ mix.T
        link = math.sqrt(transmissivity * (noisy**2 - 1)) * np.diag([1.0, -1.0])
        state = np.eye(6)
        state[:4, :4] = loss * arriving + transmissivity * np.diag([noisy, noisy, 1.0, 1.0])
        state[4:, 4:] *= noisy
        state[:2, 4:] = link
        state[4:, :2] = link
        return symplectic_entropy(state)

    found = repeated_weight_leakage(mu=mu, transmissivity=transmissivity, excess=excess, uses=2)
    assert found == pytest.approx(entropy(mu) - entropy(0.0), abs=1e-9)


def test_repeated_use_needs_a_use() -> None:
    with pytest.raises(ValueError, match="uses"):
        repeated_weight_leakage(mu=4.0, transmissivity=1.0, excess=0.1, uses=0)


@pytest.mark.parametrize(("power", "bits"), [(0.0, 0.0874), (0.5, 0.117), (1.0, 0.150), (2.0, 0.109)])
def test_water_filling_spectra(power: float, bits: float) -> None:
    spectrum = np.arange(1, 393.0) ** -power
    found = water_filling_leakage(mu=4.0, eigenvalues=spectrum, excess=1 / 392)
    assert found == pytest.approx(bits, abs=6e-4)


@pytest.mark.parametrize("transmissivity", [1.0, 0.9])
def test_water_filling_agrees_with_a_search_over_a_grid(transmissivity: float) -> None:
    excess, spectrum = 0.05, np.array([1.7, 0.3])
    first = np.linspace(0.0, 2 * excess, 200_001)
    pair = [
        weight_leakage(mu=3.0 * value, transmissivity=transmissivity, excess=noise)
        for value, noise in ((1.7, first), (0.3, 2 * excess - first))
    ]
    best = float(np.max(np.asarray(pair[0]) + np.asarray(pair[1]))) / 2
    found = water_filling_leakage(mu=3.0, eigenvalues=10 * spectrum, excess=excess, transmissivity=transmissivity)
    assert best <= found + 1e-15
    assert found == pytest.approx(best, abs=1e-9)


def test_water_filling_limits() -> None:
    spectrum = np.array([0.0, 2.0, 0.0, 2.0])
    assert water_filling_leakage(mu=4.0, eigenvalues=spectrum, excess=0.0) == 0.0
    assert water_filling_leakage(mu=0.0, eigenvalues=spectrum, excess=0.1) == 0.0
    lost = water_filling_leakage(mu=4.0, eigenvalues=spectrum, excess=0.1, transmissivity=0.0)
    assert lost == pytest.approx(thermal_entropy(8.0) / 2)
    # empty directions cost no noise: the others get twice the mean
    found = water_filling_leakage(mu=4.0, eigenvalues=spectrum, excess=0.1)
    assert found == pytest.approx(leakage(8.0, 1.0, 0.2) / 2, rel=1e-12)


@pytest.mark.parametrize("spectrum", [np.array([]), np.zeros(3), np.ones((2, 2)), np.array([1.0, -1.0])])
def test_water_filling_refuses_what_is_no_spectrum(spectrum: Matrix) -> None:
    with pytest.raises(ValueError, match="eigenvalues"):
        water_filling_leakage(mu=4.0, eigenvalues=spectrum, excess=0.1)


@given(mus, transmissivities, excesses, st.floats(min_value=1.0, max_value=100.0))
def test_grows_with_light_and_with_noise(mu: float, transmissivity: float, excess: float, factor: float) -> None:
    base = leakage(mu, transmissivity, excess)
    slack = 1e-13 * base
    assert base >= 0.0
    assert leakage(mu * factor, transmissivity, excess) >= base - slack
    assert leakage(mu, transmissivity, excess * factor) >= base - slack


@given(mus, transmissivities, excesses)
def test_falls_with_transmission_at_the_same_noise(mu: float, transmissivity: float, excess: float) -> None:
    base = leakage(mu, transmissivity, excess)
    assert leakage(mu, 0.5 * transmissivity, excess) >= base * (1 - 1e-13)


@given(mus, transmissivities, excesses, excesses, st.floats(min_value=0.0, max_value=1.0))
def test_concave_in_the_noise(mu: float, transmissivity: float, one: float, two: float, share: float) -> None:
    middle = leakage(mu, transmissivity, share * one + (1 - share) * two)
    ends = share * leakage(mu, transmissivity, one) + (1 - share) * leakage(mu, transmissivity, two)
    assert middle >= ends * (1 - 1e-12)


@given(st.floats(min_value=1e-6, max_value=1e6), excesses)
def test_continuous_at_perfect_transmission(mu: float, excess: float) -> None:
    loss = 1e-15
    jump = leakage(mu, 1.0 - loss, excess) - leakage(mu, 1.0, excess)
    # never more than what the lost photons could tell by themselves
    assert -1e-12 <= jump <= thermal_entropy(2.0 * loss * mu) + 1e-12


@pytest.mark.parametrize(
    ("mu", "transmissivity", "excess"),
    [(-1.0, 0.5, 0.1), (1.0, 1.1, 0.1), (1.0, -0.1, 0.1), (1.0, 0.5, -0.1), (math.nan, 0.5, 0.1), (1.0, 0.5, math.inf)],
)
def test_refuses_parameters_out_of_range(mu: float, transmissivity: float, excess: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        leakage(mu, transmissivity, excess)


def test_water_filling_where_hardly_anything_is_left() -> None:
    """The slopes underflow there; the figure must stay a number between the quiet one and the sum of all."""
    spectrum = np.array([1.0, 2.0, 3.0])
    for excess in (1e6, 1e150):
        found = water_filling_leakage(mu=3.0, eigenvalues=spectrum, excess=excess, transmissivity=1e-12)
        everything = float(np.mean(weight_leakage(mu=3.0 * spectrum / 2.0, transmissivity=0.0, excess=0.0)))
        assert 0.0 < found <= everything * (1 + 1e-9)
