from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.security.squeezed import coherent_pair_leakage, modulation_for, squeezed_leakage
from tests.security.symplectic import entropy


def direct(modulation: float, squeezed: float, transmissivity: float) -> float:
    """What the loss takes, as a mode of its own: entropy with the weights unknown less entropy with them known."""

    def taken(variance: float) -> float:
        arriving = np.diag([variance, 1 / squeezed])
        return entropy((1 - transmissivity) * arriving + transmissivity * np.eye(2))

    return taken(squeezed + modulation) - taken(squeezed)


@pytest.mark.parametrize(("squeezing_db", "bits"), [(0.0, 0.525), (10 * math.log10(2.0), 0.346), (10.0, 0.132)])
def test_values_of_the_physics_notes(squeezing_db: float, bits: float) -> None:
    """6.1 [6.1]: S = 4, N_X = 0.25, T = 0.9."""
    squeezed = 10 ** (-squeezing_db / 10)
    modulation = modulation_for(signal_to_noise=4.0, squeezed_variance=squeezed, meter_noise=0.25)
    found = squeezed_leakage(modulation=modulation, squeezed_variance=squeezed, transmissivity=0.9)
    assert found == pytest.approx(bits, abs=6e-4)
    assert found == pytest.approx(direct(modulation, squeezed, 0.9), rel=1e-10)


def test_coherent_pairs() -> None:
    modulation = modulation_for(signal_to_noise=4.0, squeezed_variance=1.0, meter_noise=0.25)
    found = coherent_pair_leakage(modulation=modulation, transmissivity=0.9)
    assert found == pytest.approx(0.451, abs=6e-4)
    both = entropy(np.eye(2) * (0.1 * (1 + modulation) + 0.9)) / 2
    assert found == pytest.approx(both, rel=1e-12)


def test_homodyne_of_squeezed_light_has_this_signal_to_noise() -> None:
    """W-sampling of state and meter; 5.5 sigma, false alarm 4e-8, 5 % off fails."""
    rng = np.random.default_rng(5)
    squeezed, meter, samples = 0.1, 0.25, 400_000
    modulation = modulation_for(signal_to_noise=4.0, squeezed_variance=squeezed, meter_noise=meter)
    weights = math.sqrt(modulation) * rng.normal(size=samples)
    light = weights + math.sqrt(squeezed) * rng.normal(size=samples)
    outcome = light + math.sqrt(meter) * rng.normal(size=samples)
    ratio = float(np.var(weights) / np.var(outcome - weights))
    error = 5.5 * 4.0 * math.sqrt(4 / samples)
    assert abs(ratio - 4.0) < error
    assert abs(ratio - 4.2) > error


@given(
    st.floats(min_value=1e-3, max_value=1e3),
    st.floats(min_value=1e-2, max_value=10.0),
    st.floats(min_value=0.02, max_value=0.98),
)
def test_agrees_with_the_mode_that_is_taken(modulation: float, squeezed: float, transmissivity: float) -> None:
    found = squeezed_leakage(modulation=modulation, squeezed_variance=squeezed, transmissivity=transmissivity)
    assert found == pytest.approx(direct(modulation, squeezed, transmissivity), rel=1e-5, abs=1e-9)


def test_limits() -> None:
    assert squeezed_leakage(modulation=5.0, squeezed_variance=0.1, transmissivity=1.0) == 0.0
    assert squeezed_leakage(modulation=0.0, squeezed_variance=0.1, transmissivity=0.5) == 0.0
    with pytest.raises(ValueError, match="modulation"):
        squeezed_leakage(modulation=-1.0, squeezed_variance=0.1, transmissivity=0.5)
    with pytest.raises(ValueError, match="squeezed_variance"):
        squeezed_leakage(modulation=1.0, squeezed_variance=0.0, transmissivity=0.5)
    with pytest.raises(ValueError, match="transmissivity"):
        squeezed_leakage(modulation=1.0, squeezed_variance=0.5, transmissivity=1.5)
