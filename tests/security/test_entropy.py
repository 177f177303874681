from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.security.entropy import entropy_increment, inverse_thermal_entropy, thermal_entropy


def exact_entropy(photons: float) -> float:
    """g(n) from its definition with 400 digits: enough that 1 + 1e-300 differs from 1."""
    with localcontext() as context:
        context.prec = 400
        n = Decimal(photons)
        return float(((n + 1) * (n + 1).ln() - n * n.ln()) / Decimal(2).ln())


@pytest.mark.parametrize("photons", [1e-300, 1e-120, 1e-20, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.001, 7.0, 1e5, 1e12])
def test_agrees_with_the_definition_in_many_digits(photons: float) -> None:
    assert thermal_entropy(photons) == pytest.approx(exact_entropy(photons), rel=2e-15)


def test_special_values() -> None:
    assert thermal_entropy(0.0) == 0.0
    assert thermal_entropy(1.0) == 2.0
    assert thermal_entropy(5e-324) > 0.0
    assert inverse_thermal_entropy(0.0) == 0.0
    assert inverse_thermal_entropy(2.0) == pytest.approx(1.0, rel=1e-15)


def test_arrays_keep_their_shape() -> None:
    photons = np.array([[0.0, 1.0, 2.0], [1e-3, 5.0, 1e9]])
    bits = thermal_entropy(photons)
    assert bits.shape == photons.shape
    assert bits[0, 1] == thermal_entropy(1.0)
    np.testing.assert_allclose(inverse_thermal_entropy(bits), photons, rtol=1e-13)


def test_is_the_shannon_entropy_of_a_geometric_law() -> None:
    photons = 0.7
    number = np.arange(200)
    probability = (photons / (1 + photons)) ** number / (1 + photons)
    assert thermal_entropy(photons) == pytest.approx(float(-np.sum(probability * np.log2(probability))), rel=1e-13)


@given(st.floats(min_value=1e-299, max_value=1e12))
def test_inverse_undoes(photons: float) -> None:
    assert inverse_thermal_entropy(thermal_entropy(photons)) == pytest.approx(photons, rel=1e-12)


@given(st.floats(min_value=1e-12, max_value=1e6), st.floats(min_value=-30, max_value=3))
def test_increment_keeps_its_digits(photons: float, exponent: float) -> None:
    extra = photons * 10.0**exponent
    with localcontext() as context:
        context.prec = 80
        n, d = Decimal(photons), Decimal(extra)
        exact = [(k + 1) * (k + 1).ln() - k * k.ln() for k in (n, n + d)]
        expected = float((exact[1] - exact[0]) / Decimal(2).ln())
    found = float(entropy_increment(np.array(photons), np.array(extra)))
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("photons", [-1e-9, math.nan, math.inf])
def test_refuses_what_is_no_photon_number(photons: float) -> None:
    with pytest.raises(ValueError, match="photons"):
        thermal_entropy(photons)
    with pytest.raises(ValueError, match="photons"):
        thermal_entropy(np.array([1.0, photons]))


@pytest.mark.parametrize("bits", [-1.0, math.nan, 1001.0])
def test_refuses_what_is_no_entropy(bits: float) -> None:
    with pytest.raises(ValueError, match="bits"):
        inverse_thermal_entropy(bits)
