"""Declarations: what a class demands a driver declares, in the same unit, or says why it has it not."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import entry_points
from typing import Any

import pytest

import labqdl.instruments as instruments
from labqdl.driver import Bool, Driver, Float
from labqdl.errors import InputError
from labqdl.instruments import Channel, Instrument, NotACapability, PowerMeter, Quantity, absent, required
from labqdl.instruments.quantity import UNITS
from tests.driver.toys import Toy

CLASSES = [
    one
    for one in vars(instruments).values()
    if isinstance(one, type) and issubclass(one, Instrument | Channel) and one not in (Instrument, Channel)
]
DRIVERS = {entry.name: entry for entry in entry_points(group="labqdl.drivers") if ".adapters." not in entry.module}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_is_a_contract_in_words(kind: type[Instrument | Channel]) -> None:
    assert kind.__doc__
    for name, quantity in kind.quantities().items():
        assert quantity.name == name
        assert re.fullmatch(r"[A-Z].*\.", quantity.doc), f"{kind.__name__}.{name}: {quantity.doc!r}"
        assert quantity.unit in UNITS
        assert quantity.kind is not float or quantity.unit, f"{kind.__name__}.{name} is a number without a unit"
    if issubclass(kind, Instrument):
        assert inspect.isabstract(kind)
        assert 0 < kind.safe_order <= 70


def test_pumps_go_dark_before_shutters_and_lasers_last() -> None:
    order = [
        instruments.OpticalAmplifier,
        instruments.Shutter,
        instruments.Attenuator,
        instruments.WaveformGenerator,
        instruments.VoltageSource,
        instruments.Laser,
    ]
    places = [kind.safe_order for kind in order]
    assert places == sorted(places)


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_drivers_declare_all_that_their_class_demands(name: str) -> None:
    driver: type[Driver] = DRIVERS[name].load()
    assert not inspect.isabstract(driver)
    assert driver.maker
    assert driver.models
    assert driver.sheet
    contract = next(base for base in driver.__mro__ if base in CLASSES)
    for quantity in driver.quantities().values():
        assert not quantity.capable or re.fullmatch(r"[A-Z].*\.", quantity.doc), f"{quantity.name}: {quantity.doc!r}"
    for title, demanded in contract.quantities().items():
        declared = driver.quantities()[title]
        assert declared is not demanded
        if declared.capable:
            assert declared.unit == demanded.unit
            assert declared.kind is demanded.kind
            assert declared.energises or not demanded.energises
            assert declared.settable or not demanded.settable or declared.read_only
        else:
            assert isinstance(declared, instruments.Absent)
            assert declared.reason
    assert all(reason for reason in driver.left_out.values())


class Demanding(Instrument):
    """A class that demands."""

    volts = required(float, unit="V", doc="Volts.", settable=True)
    light = required(bool, doc="Light.", settable=True, energises=True)


def declare(**members: Any) -> Any:
    return type("Made", (Demanding,), members)


def test_a_class_that_lacks_a_quantity_cannot_be_made() -> None:
    assert declare(volts=Float("V?", "V {}", unit="V")).__abstractmethods__ >= {"light"}
    with pytest.raises(TypeError, match="abstract"):
        PowerMeter("meter")  # type: ignore[abstract]


def test_words_and_dangers_are_inherited() -> None:
    made = declare(volts=Float("V?", "V {}", unit="V"), light=Bool("L?", "L {}"))
    assert made.volts.doc == "Volts."
    assert made.light.energises
    assert Bool("L?", "L {}").energises is False


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"volts": Float("V?", "V {}", unit="A")}, "is in 'A', its class says 'V'"),
        ({"volts": Float("V?", unit="V")}, "must be settable, or say with read_only="),
        ({"label": Float("V?", unit="V")}, "has something else of this name"),
        ({"name": Float("V?", unit="V")}, "has something else of this name"),
        ({"open": Float("V?", unit="V")}, "has something else of this name"),
    ],
)
def test_declarations_that_contradict_their_class(members: dict[str, Quantity[Any]], words: str) -> None:
    with pytest.raises((TypeError, RuntimeError)) as caught:
        declare(**members)
    assert words in str(caught.value.__cause__ or caught.value)


def test_what_is_absent_says_why() -> None:
    class Lacking(Toy):
        temperature = absent("section 3 has no such command")
        pinned = Float("PIN?", unit="V", read_only="the front panel sets it", doc="Pinned.")

        def safe_state(self) -> None:
            """Nothing to do."""

    toy = Lacking("TCPIP::127.0.0.1::1::SOCKET", name="toy")
    assert not Lacking.quantities()["temperature"].capable
    for act in (lambda: toy.temperature, lambda: setattr(toy, "temperature", 1.0)):
        with pytest.raises(NotACapability, match="toy: has no temperature: section 3"):
            act()
    with pytest.raises(NotACapability, match="way to set pinned: the front panel"):
        toy.pinned = 1.0
    with pytest.raises(InputError, match="can only be read"):
        toy.fixed = 1.0
