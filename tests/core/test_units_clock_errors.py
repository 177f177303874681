"""Small rooms of the ground floor: units, clocks, errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl import errors, units
from labqdl.clock import ManualClock, SystemClock


@given(st.floats(-200, 200))
def test_decibel_round_trip(value: float) -> None:
    assert units.to_db(units.from_db(value)) == pytest.approx(value, abs=1e-9)


def test_decibel_of_nothing_and_of_nonsense() -> None:
    assert units.to_db(0.0) == -math.inf
    with pytest.raises(ValueError, match="negative"):
        units.to_db(-1.0)


def test_three_decibel_is_half() -> None:
    assert units.loss_to_transmissivity(10 * math.log10(2)) == pytest.approx(0.5, rel=1e-14)


def test_numbers_of_things() -> None:
    assert [units.counted(number, "block") for number in (0, 1, 2, 12_000)] == [
        "0 blocks",
        "1 block",
        "2 blocks",
        "12,000 blocks",
    ]


def test_photon_energy_at_1550_nm() -> None:
    # Published value in the physics reference, P6.6: 1.281578e-19 J.
    assert units.photon_energy(1550e-9) == pytest.approx(1.281578e-19, rel=1e-6)


def test_manual_clock_moves_forward_only() -> None:
    clock = ManualClock(5.0)
    clock.advance(2.5)
    assert clock.monotonic() == clock.wall() == 7.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1.0)


def test_system_clock_does_not_go_back() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert clock.wall() > 1.7e9


def test_input_error_names_everything() -> None:
    error = errors.InputError(
        "unknown link 'idael'",
        source="run.toml",
        line=3,
        key="link",
        expected="a link name",
        hint="Did you mean ideal?",
    )
    assert str(error) == "run.toml, line 3: key 'link': unknown link 'idael'; expected a link name. Did you mean ideal?"
    assert error.exit_code == 2


def test_input_error_without_a_place() -> None:
    assert str(errors.InputError("mu is negative")) == "mu is negative"
    assert str(errors.InputError("is negative", key="mu")) == "key 'mu': is negative"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(errors.RecordError, 2), (errors.ProtocolError, 3), (errors.Stopped, 130), (errors.LabqdlError, 1)],
)
def test_exit_codes(kind: type[errors.LabqdlError], code: int) -> None:
    assert kind("x").exit_code == code
