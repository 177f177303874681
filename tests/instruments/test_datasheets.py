"""Data sheets of parts without a plug: nothing impossible, and the quantum efficiency."""

from __future__ import annotations

import dataclasses
import math

import pytest

from labqdl.instruments import Modulator, Photodetector

DETECTOR = Photodetector(
    responsivity=1.0,
    wavelength=1550e-9,
    bandwidth=1e9,
    transimpedance=1e4,
    saturation=1e-3,
    damage=2e-2,
    noise=1e-11,
)
MODULATOR = Modulator(
    v_pi=3.5, v_pi_bias=5.0, bandwidth=10e9, insertion_loss=3.5, extinction=30.0, input_limit=8.0, power_limit=0.1
)


def test_a_photon_of_1550_nm_has_0_8_electronvolts() -> None:
    # Responsivity times h c / (e lambda); h c / e is 1.239841984 um V.
    assert DETECTOR.quantum_efficiency == pytest.approx(1.239841984 / 1.55, rel=1e-8)


def test_more_than_one_electron_a_photon_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"1\.3 A/W at 1550 nm means 1\.04 electrons a photon"):
        dataclasses.replace(DETECTOR, responsivity=1.3)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Photodetector)])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_detectors_figures_are_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        dataclasses.replace(DETECTOR, **{name: value})


@pytest.mark.parametrize("name", ["v_pi", "v_pi_bias", "bandwidth", "input_limit", "power_limit"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_modulators_figures_are_positive_and_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        dataclasses.replace(MODULATOR, **{name: value})


@pytest.mark.parametrize("name", ["insertion_loss", "extinction"])
@pytest.mark.parametrize("value", [-0.1, math.nan])
def test_losses_are_not_negative(name: str, value: float) -> None:
    assert dataclasses.replace(MODULATOR, **{name: 0.0})
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        dataclasses.replace(MODULATOR, **{name: value})
