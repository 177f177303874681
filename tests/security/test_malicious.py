from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from labqdl.facts import Activation, Bound, Component, LayerFrame, Ledger, Owner, Place, Refusal, TapSetting
from labqdl.optics.gain_tap import tap_law
from labqdl.security.data import best_overlap, data_leakage
from labqdl.security.entropy import thermal_entropy
from labqdl.security.malicious import (
    any_probe_bound,
    any_probe_photons,
    client_attenuator,
    displaced_entropy_excess,
    gain_mismatch_leakage,
    mismatch_photons,
    uneven_transmission_photons,
)
from tests.security.test_fisher import gaussian_information, state, tilted

GAIN_TWO = TapSetting.amplifier(2.0)
LAYERS = (LayerFrame(784, 784, False, 4.0, None, Activation()), LayerFrame(10, 784, False, 4.0, None, Activation()))
MESH = Component("mesh", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.8)
INVERSE = Component("inverse", Place.CLIENT_OUT, Owner.CLIENT, transmissivity=0.7)
FIBRE = Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5)


def test_only_what_the_client_owns_attenuates() -> None:
    law = tap_law(GAIN_TWO, Ledger("ideal"))
    rented = Component("rented mesh", Place.CLIENT_IN, Owner.SERVER, transmissivity=0.5)
    ledger = Ledger("mixed", (FIBRE, rented, MESH, INVERSE))
    assert client_attenuator(ledger) == 0.8
    assert any_probe_photons(law, ledger) == pytest.approx(0.7 * 0.5 / (1 - 0.8 * 0.7))
    assert any_probe_photons(law, Ledger("in", (MESH,))) == pytest.approx(0.5 / 0.2)
    assert any_probe_photons(law, Ledger("out", (INVERSE,))) == pytest.approx(0.7 * 0.5 / 0.3)
    assert math.isinf(any_probe_photons(law, Ledger("fibre", (FIBRE, rented))))


def test_bound_for_any_probe() -> None:
    ledger = Ledger("mesh", (MESH, INVERSE))
    bound = any_probe_bound(LAYERS, GAIN_TWO, ledger)
    assert isinstance(bound, Bound)
    photons = 0.35 / 0.44
    expected = sum(data_leakage(photons_per_row=photons, rows=rows, n_modes=392) for rows in (784, 10)) / 784
    assert bound.bits == pytest.approx(expected, rel=1e-12)
    assert bound.best_overlap == pytest.approx(best_overlap(photons_per_row=photons, rows=784, n_modes=392))
    assert (bound.engine, bound.uses, bound.confidence) == ("labqdl-any-probe", 1, None)
    assert any("entangled probes" in words for words in bound.assumptions)
    assert any("2 layers" in words for words in bound.assumptions)
    alone = any_probe_bound(LAYERS[:1], GAIN_TWO, ledger)
    assert isinstance(alone, Bound)
    assert alone.bits < bound.bits
    assert not any("layers" in words for words in alone.assumptions)
    several = any_probe_bound(LAYERS, GAIN_TWO, ledger, uses=3)
    assert isinstance(several, Bound)
    assert several.bits > bound.bits
    assert any("3 uses" in words for words in several.assumptions)


def test_refusals_say_why() -> None:
    refused = any_probe_bound(LAYERS, GAIN_TWO, Ledger("fibre", (FIBRE,)))
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("no bound without a trusted attenuator or a trusted coherent source")
    off = any_probe_bound(LAYERS, TapSetting.amplifier(2.0, 0.49), Ledger("mesh", (MESH,)))
    assert isinstance(off, Refusal)
    assert "net gain off 1" in off.reason
    with pytest.raises(ValueError, match="unit net gain"):
        any_probe_photons(tap_law(TapSetting.amplifier(2.0, 0.49), Ledger("ideal")), Ledger("mesh", (MESH,)))
    with pytest.raises(ValueError, match="at least one layer"):
        any_probe_bound((), GAIN_TWO, Ledger("mesh", (MESH,)))


@pytest.mark.parametrize(("probe", "expected"), [(4.0, 18.0), (0.0, 2.0)])
def test_no_entangled_probe_beats_the_attenuated_photons(probe: float, expected: float) -> None:
    """Without attenuators the information grows with the probe; behind them it stays below 4 photons of the bound."""
    law = tap_law(GAIN_TWO, Ledger("ideal"))
    assert 4 * law.photons * (1 + 2 * probe) == expected
    behind = Ledger("mesh", (Component("half", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.9),))
    for squeezing in (probe, 60.0, 300.0):

        def covariance(theta: float, squeezing: float = squeezing) -> NDArray[np.float64]:
            variance, link = 2 * squeezing + 1, 2 * math.sqrt(squeezing * (squeezing + 1) * 0.9)
            pair = np.kron(np.eye(2), np.diag([1.0, -1.0])) * link
            full = np.block([[np.eye(4) * (0.9 * variance + 0.1), pair], [pair.T, np.eye(4) * variance]])
            full[:4, :4] += state(tilted(theta, 2, 8, False), 1.0) - np.eye(4)
            return np.asarray(full)

        found = gaussian_information(covariance)
        assert found <= 4 * any_probe_photons(law, behind) * (1 + 1e-4)
    assert found > 0.9 * 4 * any_probe_photons(law, behind)  # reached by strong probes


def number_law(photons: float, displacement: float) -> NDArray[np.float64]:
    """Photon numbers of displaced thermal light: Poisson of the squared sum of a Gaussian and a fixed amplitude.

    Averaged over the Gaussian by Gauss and Hermite, 80 points each way.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    noise = math.sqrt(photons / 2) * points
    intensities = (noise[:, None] + math.sqrt(displacement)) ** 2 + noise**2
    return np.array([np.sum(np.outer(weights, weights) * stats.poisson.pmf(n, intensities)) for n in range(200)])


@pytest.mark.parametrize(("photons", "displacement"), [(0.5, 0.3), (0.5, 9.0), (0.01, 2.0), (3.0, 0.05), (0.0, 1.5)])
def test_entropy_of_a_displaced_thermal_number(photons: float, displacement: float) -> None:
    """By integration over the light's field."""
    law = number_law(photons, displacement)
    law = law[law > 0]
    integrated = float(-np.sum(law * np.log2(law))) - thermal_entropy(photons)
    found = displaced_entropy_excess(photons=photons, displacement=displacement)
    assert found == pytest.approx(integrated, abs=1e-8)
    assert 0 < found <= thermal_entropy(photons + displacement) - thermal_entropy(photons)


@given(st.floats(min_value=0, max_value=50), st.floats(min_value=0, max_value=1e7))
def test_displaced_numbers_are_never_less_certain(photons: float, displacement: float) -> None:
    found = displaced_entropy_excess(photons=photons, displacement=displacement)
    most = thermal_entropy(photons + displacement) - thermal_entropy(photons)
    assert -1e-9 <= found <= most + 1e-9


def test_gain_mismatch_with_a_power_monitor() -> None:
    """Vanishes with the error, grows with the energy, and is below the figure that knows the mean light only."""
    exact = data_leakage(photons_per_row=0.5, rows=784, n_modes=392)
    call = partial(gain_mismatch_leakage, photons=0.5, rows=784, n_modes=392)
    assert call(gain_error=0.0, energy=1e4) == exact
    small = call(gain_error=1e-6, energy=1568.0)
    assert exact < small < exact + 1e-4
    previous = exact
    for energy in (4.0, 1568.0, 1e6):
        found = call(gain_error=0.01, energy=energy)
        stray = mismatch_photons(gain_error=0.01, energy=energy)
        assert previous < found <= data_leakage(photons_per_row=0.5, rows=784, n_modes=392, gain_mismatch_photons=stray)
        previous = found


def test_every_row_adds_the_uncertainty_of_its_own_photon_number() -> None:
    """Without the tap's noise the photons of a row are Poisson: a binomial coefficient and R entropies."""
    rows, n_modes, stray = 5, 8, 0.6
    probabilities = stats.poisson.pmf(np.arange(60), stray)
    entropy = -float(np.sum(special.xlogy(probabilities, probabilities))) / math.log(2.0)
    total = rows * stray
    choices = special.gammaln(total + n_modes) - special.gammaln(total + 1.0) - special.gammaln(float(n_modes))
    found = gain_mismatch_leakage(photons=0.0, gain_error=0.1, energy=60.0, rows=rows, n_modes=n_modes)
    assert found == pytest.approx(float(choices) / math.log(2.0) + rows * entropy, rel=1e-9)


def test_uneven_transmission_by_sampling() -> None:
    """Energy of what modes of unequal transmission return, of random weights: 5.5 sigma, false alarm 4e-8; 5 % fail."""
    rng = np.random.default_rng(18)
    mu, n, deviation, rows = 4.0, 392, 0.01, 4000
    alpha = math.sqrt(mu / 2) * (rng.normal(size=(rows, n)) + 1j * rng.normal(size=(rows, n)))
    photons = np.sum(np.abs(alpha * deviation * rng.normal(size=(rows, n))) ** 2, axis=1)
    expected = uneven_transmission_photons(mu=mu, n_modes=n, deviation=deviation)
    error = 5.5 * float(photons.std()) / math.sqrt(rows)
    assert abs(float(photons.mean()) - expected) < error
    assert abs(float(photons.mean()) - 1.05 * expected) > error
    assert expected == pytest.approx(0.16, abs=0.004)


def test_impossible_values() -> None:
    calls: tuple[Callable[[], float], ...] = (
        lambda: displaced_entropy_excess(photons=-1.0, displacement=0.0),
        lambda: mismatch_photons(gain_error=0.1, energy=-1.0),
        lambda: uneven_transmission_photons(mu=4.0, n_modes=0, deviation=0.1),
    )
    for call in calls:
        with pytest.raises(ValueError, match="must be finite"):
            call()
