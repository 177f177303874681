"""The modulator's map: voltages make the amplitudes that were asked for, and nothing is clipped."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.errors import InputError
from labqdl.subsystems import ModulatorMap

maps = st.builds(
    ModulatorMap,
    v_pi_i=st.floats(0.5, 6.0),
    v_pi_q=st.floats(0.5, 6.0),
    imbalance=st.floats(-0.3, 0.3),
    quadrature_error=st.floats(-0.3, 0.3),
    drive=st.floats(0.1, 3.0),
)


def two_arms(modulator: ModulatorMap, i: float, q: float) -> complex:
    """Field of two Mach-Zehnder modulators at their null, term by term, without unit."""
    mean = 1.0
    in_i = (mean + modulator.imbalance / 2) * math.sin(math.pi * i / (2 * modulator.v_pi_i))
    in_q = (mean - modulator.imbalance / 2) * math.sin(math.pi * q / (2 * modulator.v_pi_q))
    return in_i + in_q * cmath.exp(1j * (math.pi / 2 + modulator.quadrature_error))


@given(maps, st.floats(0, 1), st.floats(0, 2 * math.pi))
def test_voltages_make_the_amplitude(modulator: ModulatorMap, share: float, phase: float) -> None:
    wanted = share * modulator.reach() * np.exp(1j * phase)
    i, q = modulator.voltages(np.array([wanted]))
    assert max(abs(i[0]), abs(q[0])) <= modulator.drive * (1 + 1e-9)
    full = two_arms(modulator, min(modulator.drive, modulator.v_pi_i), 0.0)
    assert two_arms(modulator, float(i[0]), float(q[0])) / full == pytest.approx(wanted, abs=1e-9)
    assert modulator.relative(i, q)[0] == pytest.approx(wanted, abs=1e-9)


@given(maps)
def test_reach_is_reached_and_not_much_more(modulator: ModulatorMap) -> None:
    phases = np.exp(1j * np.linspace(0, 2 * math.pi, 400))
    modulator.voltages(modulator.reach() * phases)
    with pytest.raises(InputError, match="times what the modulator makes"):
        modulator.voltages(modulator.reach() * (1 + 2 * abs(modulator.quadrature_error) + 1e-3) * phases)


def test_what_no_modulator_is() -> None:
    for wrong in ({"v_pi_i": 0.0}, {"drive": -1.0}, {"imbalance": 2.5}, {"quadrature_error": 2.0}):
        figures = {"v_pi_i": 1.0, "v_pi_q": 1.0, "imbalance": 0.0, "quadrature_error": 0.0, "drive": 1.0} | wrong
        with pytest.raises(ValueError, match=r"must be positive|no I/Q modulator"):
            ModulatorMap(**figures)
