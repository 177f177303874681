"""Quantiles and tails of chi-square against scipy where scipy is right, and against exact integrals elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from labqdl.security.chi_square import chi_square_quantile, chi_square_tail
from labqdl.security.quadratic import QuadraticLaw


@pytest.mark.parametrize("degrees", [3.0, 1e3, 9e5, 1.1e6])
def test_chi_square_quantile_against_scipy_where_scipy_is_right(degrees: float) -> None:
    assert chi_square_quantile(1e-6, degrees) == pytest.approx(float(stats.chi2.ppf(1e-6, degrees)), rel=1e-7)


def test_chi_square_quantile_keeps_its_tail_where_scipy_loses_it() -> None:
    # Third-order Cornish-Fisher expansion, exact to 1e-12 relative at 3e9 degrees.
    degrees, z = 3e9, float(special.ndtri(1e-6))
    series = degrees + z * math.sqrt(2 * degrees) + 2 / 3 * (z * z - 1)
    assert chi_square_quantile(1e-6, degrees) == pytest.approx(series, abs=1.0)


@pytest.mark.parametrize("degrees", [1, 30, 1e5, 1e8])
@pytest.mark.parametrize("failure", [0.1, 1e-7])
def test_intervals_of_chi_square_have_their_tails(degrees: float, failure: float) -> None:
    low = chi_square_quantile(failure / 2, degrees)
    high = chi_square_quantile(failure / 2, degrees, upper=True)
    # scipy's lower tail is wrong by a fifth at 1e8 degrees; the integral over the characteristic function is not.
    law = QuadraticLaw(((degrees, 1.0),))
    below = law.lower_tail(low) if degrees > 1e6 else float(stats.chi2.cdf(low, degrees))
    above = law.upper_tail(high) if degrees > 1e6 else float(stats.chi2.sf(high, degrees))
    assert below == pytest.approx(failure / 2, rel=2e-4)
    assert above == pytest.approx(failure / 2, rel=2e-4)


@given(
    degrees=st.floats(0.5, 1e10),
    exponent=st.floats(-12.0, -0.31),
    upper=st.booleans(),
)
def test_tail_of_a_quantile_is_its_probability(degrees: float, exponent: float, upper: bool) -> None:
    probability = 10.0**exponent
    value = chi_square_quantile(probability, degrees, upper=upper)
    assert chi_square_tail(value, degrees, upper=upper) == pytest.approx(probability, rel=1e-6)
    if degrees > 10:
        assert chi_square_tail(value, degrees, upper=not upper) == pytest.approx(1 - probability, rel=1e-6)
