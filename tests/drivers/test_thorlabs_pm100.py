"""The PM100 driver: every example of its sheet, units, limits of the head, zeroing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import Identity, LimitError, NotACapability, NotAValue, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl.units import from_dbm
from labqdl_drivers.detectors.thorlabs_pm100 import ThorlabsPM100
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("thorlabs-pm100")
WATT: dict[bytes, bytes | None] = {b"SENS:POW:UNIT?\n": b"W\n"}
QUIET: dict[bytes, bytes | None] = {b"SYST:ERR?\n": b'+0,"No error"\n'}
HEAD = [
    (b"*IDN?\n", b"THORLABS,PM100D,P0001234,2.5.0\n"),
    (b"SYST:SENS:IDN?\n", b"S155C,130521104,15-MAY-2013,1,0,33\n"),
    (b"SENS:CORR:WAV? MIN\n", b"8.00000000E+02\n"),
    (b"SENS:CORR:WAV? MAX\n", b"1.70000000E+03\n"),
    (b"SENS:POW:RANG? MIN\n", b"1.00000000E-08\n"),
    (b"SENS:POW:RANG? MAX\n", b"2.00000000E-02\n"),
    (b"SENS:AVER:COUN?\n", b"1\n"),
]


def equals(call: Callable[[ThorlabsPM100], Any], value: Any) -> Callable[[ThorlabsPM100], None]:
    def check(meter: ThorlabsPM100) -> None:
        assert call(meter) == value

    return check


def no_value(call: Callable[[ThorlabsPM100], Any], words: str) -> Callable[[ThorlabsPM100], None]:
    def check(meter: ThorlabsPM100) -> None:
        with pytest.raises(NotAValue, match=words):
            call(meter)

    return check


def refused(words: str) -> Callable[[ThorlabsPM100], None]:
    def check(meter: ThorlabsPM100) -> None:
        with pytest.raises(InstrumentError, match=words):
            meter.check_errors("NONS")

    return check


CALLS: dict[str, Callable[[ThorlabsPM100], None]] = {
    "identity": equals(lambda meter: meter.identity(), Identity("THORLABS", "PM100D", "P0001234", "2.5.0")),
    "no sensor head": no_value(lambda meter: meter.learn(), "no measuring head"),
    "wavelength correction": equals(lambda meter: meter.wavelength, pytest.approx(1550e-9, rel=1e-12)),
    "measured power": equals(lambda meter: meter.power, 1.23456789e-3),
    "over-range is no number": no_value(lambda meter: meter.power, r"has no value now \(reply '9.91E\+37'\)"),
    "no error": lambda meter: meter.check_errors("ABOR"),
    "undefined header, then no error": refused("error -113: Undefined header"),
    "three more errors, then no error": refused(
        "error -222: Data out of range; -230 Data corrupt or stale; -231 Data questionable"
    ),
    "configured quantity": equals(lambda meter: meter.configured, "POW"),
    "zero adjustment runs, then is done": lambda meter: meter.zero(),
}
NOT_DRIVEN = {
    "sensor head": "with the limits, in `opened`",
    "SCPI version": "nobody needs it",
    "unit": "with each reading",
    "unit dBm": "with each reading",
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert {dict(HEAD)[exchange.send] for exchange in SHEET["sensor head"].exchanges if exchange.send} == {
        exchange.reply for exchange in SHEET["sensor head"].exchanges
    }
    check_commands(SHEET.name, ThorlabsPM100)


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), WATT | QUIET | {b"SENS:CORR:COLL:ZERO\n": None}) as transport:
        CALLS[title](ThorlabsPM100(transport, clock=ManualClock()))


def opened(*steps: tuple[bytes, bytes | None]) -> tuple[ThorlabsPM100, ScriptedTransport]:
    transport = scripted([*HEAD, *steps], Line(), QUIET, clock=ManualClock())
    meter = ThorlabsPM100(transport, name="meter", clock=transport.clock)
    meter.open()
    return meter, transport


def test_limits_are_those_of_the_head() -> None:
    meter, transport = opened(
        (b"SENS:CORR:WAV 1700\n", None), (b"SENS:POW:RANG 0.02\n", None), (b"SENS:POW:RANG?\n", b"2.00000000E-02\n")
    )
    meter.wavelength = 1700e-9
    meter.range = 0.02
    before = transport.traffic
    with pytest.raises(LimitError, match=r"8e-07 to 1.7e-06 m \(of head S155C\)"):
        meter.wavelength = 1700.1e-9
    with pytest.raises(LimitError, match="of head S155C"):
        meter.range = 0.021
    assert transport.traffic == before
    transport.finish()


def test_readings_are_watts_whatever_the_front_panel_shows() -> None:
    meter, transport = opened(
        (b"SENS:POW:UNIT?\n", b"DBM\n"),
        (b"MEAS:POW?\n", b"-1.50000000E+01\n"),
        (b"SENS:POW:UNIT?\n", b"W\n"),
        (b"MEAS:POW?\n", b"-2.00000000E-12\n"),
    )
    assert meter.power == pytest.approx(from_dbm(-15))
    assert meter.power_dbm == float("-inf")
    transport.finish()


@pytest.mark.parametrize("reply", [b"nan\n", b"1_0\n", b"1.0E-3 W\n", b"\n", b"1,2\n", b"0x10\n", b"inf\n"])
def test_what_is_no_number_is_never_a_power(reply: bytes) -> None:
    meter, transport = opened((b"SENS:POW:UNIT?\n", b"W\n"), (b"MEAS:POW?\n", reply))
    with pytest.raises(ProtocolError, match="is not a number"):
        _ = meter.power
    assert transport.is_dirty


def test_averaging_is_in_seconds() -> None:
    meter, transport = opened((b"SENS:AVER:COUN 100\n", None), (b"SENS:AVER:COUN?\n", b"100\n"))
    meter.averaging = 0.3
    assert meter.averaging == pytest.approx(0.3)
    transport.finish()


def test_photocurrent_and_its_range() -> None:
    meter, transport = opened(
        (b"SENS:CURR:RANG?\n", b"5.00000000E-06\n"),
        (b"CONF:CURR\n", None),
        (b"READ?\n", b"1.03000000E-06\n"),
        (b"CONF:CURR\n", None),
        (b"READ?\n", b"9.91E+37\n"),
    )
    assert meter.current_range == 5e-6
    with pytest.raises(InputError, match="can only be read"):
        meter.current_range = 1e-6
    assert meter.photocurrent == 1.03e-6
    with pytest.raises(NotAValue, match="READ"):
        _ = meter.photocurrent
    transport.finish()


def test_what_a_laboratory_sets_once() -> None:
    meter, transport = opened(
        (b"SYST:BEEP:STAT 0\n", None),
        (b"SYST:LFR 60\n", None),
        (b"DISP:BRIG 0\n", None),
        (b"SENS:CORR:BEAM 2.5\n", None),
        (b"SENS:POW:REF 0.001\n", None),
        (b"SENS:POW:REF:STAT 1\n", None),
        (b"SYST:BEEP\n", None),
        (b"SENS:CORR:COLL:ZERO:ABOR\n", None),
    )
    meter.beeper = False
    meter.line_frequency = 60.0
    meter.brightness = 0.0
    meter.beam_diameter = 2.5e-3
    meter.reference = 1e-3
    meter.relative = True
    meter.beep()
    meter.abort_zero()
    with pytest.raises(InputError, match="expected 50 or 60 Hz"):
        meter.line_frequency = 55.0
    transport.finish()


def test_a_meter_without_display() -> None:
    usb = [(b"*IDN?\n", b"THORLABS,PM100USB,P2001234,1.7.0\n"), *HEAD[1:]]
    with scripted(usb, Line(), QUIET) as transport:
        meter = ThorlabsPM100(transport)
        meter.open()
        with pytest.raises(NotACapability, match="not for a PM100USB"):
            _ = meter.brightness


def test_zeroing_is_waited_for() -> None:
    start = (b"SENS:CORR:COLL:ZERO\n", None)
    status = b"SENS:CORR:COLL:ZERO:STAT?\n"
    meter, transport = opened(start, (status, b"1\n"), (status, b"1\n"), (status, b"0\n"))
    meter.zero()
    assert meter.clock.monotonic() == pytest.approx(0.4)
    transport.finish()
    meter, _ = opened(start, *[(status, b"1\n")] * 400)
    with pytest.raises(NotConfirmed, match="end its zeroing within 60 s"):
        meter.zero()


def test_another_instrument_is_not_opened() -> None:
    with (
        scripted([(b"*IDN?\n", b"THORLABS,ITC4001,M0001,1.0\n")], Line()) as transport,
        pytest.raises(SettingsChanged, match="found THORLABS ITC4001, expected Thorlabs PM100D or"),
    ):
        ThorlabsPM100(transport).open()
