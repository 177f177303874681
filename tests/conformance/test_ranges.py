"""What an instrument changes by itself is no sign of somebody else after a lost connection; what it keeps, is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from labqdl.instruments import SettingsChanged
from labqdl.transport import ConnectionLost
from tests.conformance.matrix import find, here
from tests.conformance.subjects import Stand


def brighter(stand: Stand) -> None:
    stand.twin.upper = 5e-3  # type: ignore[attr-defined] # the simulated meter takes any light without moving it


def higher(stand: Stand) -> None:
    stand.driver.voltage = 15.0  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Case:
    """A range with two of its values, and what makes the instrument choose the larger one itself."""

    name: str
    path: str
    small: float
    large: float
    moves: Callable[[Stand], None]


CASES = [
    Case("thorlabs-pm100", "range", 5e-7, 5e-3, brighter),
    Case("keithley-2400", "voltage_range", 2.0, 20.0, higher),
]


def carry_on(stand: Stand) -> None:
    """The connection is lost in a reading, and the next one looks at the settings."""
    driver: Any = stand.driver
    stand.twin.faults.add("reset", times=1)
    with pytest.raises(ConnectionLost):
        _ = driver.auto_range
    _ = driver.auto_range


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("order", ["range", "auto", "range auto", "auto range", "auto range auto", "range auto fixed"])
def test_a_range_that_the_instrument_chooses(case: Case, order: str) -> None:
    with here(case.name) as stand:
        driver: Any = stand.driver
        driver.open()
        part, quantity = find(stand, case.path)
        for word in order.split():
            if word == "range":
                quantity.__set__(part, case.small)
            else:
                driver.auto_range = word == "auto"
        if driver.auto_range:
            case.moves(stand)
            assert quantity.fetch(part) == pytest.approx(case.large)
        carry_on(stand)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_range_that_somebody_else_chose(case: Case) -> None:
    with here(case.name) as stand:
        driver: Any = stand.driver
        driver.open()
        part, quantity = find(stand, case.path)
        driver.auto_range = True
        quantity.__set__(part, case.small)
        assert driver.kept(part, case.path) == quantity.fetch(part)
        kept = driver._settings.copy()
        quantity.__set__(part, case.large)  # as somebody else does: nobody here notes it
        driver._settings = kept
        with pytest.raises(SettingsChanged, match=case.path):
            carry_on(stand)
