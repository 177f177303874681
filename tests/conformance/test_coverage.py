"""Every command of every sheet is used by its driver, or left out with a reason; nothing else is sent."""

from __future__ import annotations

import pytest

from tests.conformance.subjects import MAKERS, NAMES, driver_class
from tests.drivers.accounts import check_commands
from tests.sheet_examples import names


def test_every_sheet_has_drivers() -> None:
    assert {make.twin for make in MAKERS.values()} == set(names())


@pytest.mark.parametrize("name", NAMES)
def test_commands_of_the_sheet(name: str) -> None:
    assert check_commands(MAKERS[name].twin, driver_class(name)) > 0
    assert all(len(reason) > 10 for reason in driver_class(name).left_out.values())
