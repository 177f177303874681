"""The driver of Keysight's attenuators: every example of its sheet, ranges, slots, power modes, the shutter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from labqdl.clock import ManualClock
from labqdl.instruments import LimitError, NotACapability, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, Line
from labqdl.units import from_dbm
from labqdl_drivers.attenuators.keysight_n77 import KeysightN77
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("keysight-n77")
Pairs = dict[bytes, bytes | None]
Step = tuple[bytes, bytes | None]
QUIET: Pairs = {b"SYST:ERR?\n": b'+0,"No error"\n', b"*OPC?\n": b"1\n"}


def equals(call: Callable[[KeysightN77], Any], value: Any) -> Callable[[KeysightN77], None]:
    def check(voa: KeysightN77) -> None:
        assert call(voa) == value

    return check


def twenty_decibel(voa: KeysightN77) -> None:
    voa.wavelength = 1550e-9
    voa.attenuation = 20.0
    voa.open_shutter = True


def hold_power(voa: KeysightN77) -> None:
    voa.power_in_watt = False
    voa.power_control = True
    voa.power = from_dbm(-30)


def absolute(voa: KeysightN77) -> None:
    voa.model, voa.single = "8156A", True
    voa.attenuation = 10.0
    voa.offset = 2.0
    voa.absolute_power = True
    assert voa.power == pytest.approx(from_dbm(12))
    assert voa.power_range() == pytest.approx((from_dbm(-38), from_dbm(22)))


CALLS: dict[str, Callable[[KeysightN77], None]] = {
    "identity of an N7752A": equals(lambda voa: (voa.identity().model, voa.fields), ("N7752A", {"n": 1})),
    "identity of an 8156A": equals(lambda voa: (voa.identity().model, voa.fields), ("8156A", {"n": ""})),
    "attenuation, short form of the number": equals(lambda voa: voa.attenuation, 14.0),
    "attenuation, long form of the number": equals(lambda voa: voa.attenuation, 14.0),
    "wavelength": equals(lambda voa: voa.wavelength, 1.55e-6),
    "unit dBm": equals(lambda voa: voa.power_in_watt, False),
    "unit watt": equals(lambda voa: voa.power_in_watt, True),
    "zeroing went well": lambda voa: voa.zero_meter(),
    "filter has settled": lambda voa: voa.wait_complete(5.0),
    "wavelength, attenuation, settle, open": twenty_decibel,
    "power control": hold_power,
    "absolute power mode of an 8156A": absolute,
    "no error": lambda voa: voa.check_errors("INP1:ATT 1"),
}
STATE: Pairs = {b"OUTP1?\n": b"1\n", b"OUTP1:POW:UNIT?\n": b"+0\n", b"OUTP1:CORR:COLL:ZERO\n": None}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys()
    assert check_commands(SHEET.name, KeysightN77) > 0.8


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), QUIET | STATE) as transport:
        CALLS[title](KeysightN77(transport, clock=ManualClock()))


def opening(model: str = "N7762A", n: str = "1") -> Pairs:
    found: Pairs = {
        b"*IDN?\n": f"Agilent Technologies,{model},MY12345678,1.13.1\n".encode(),
        f"INP{n}:OFFS?\n".encode(): b"+1.00000000E+000\n",
        f"INP{n}:ATT:SPE?\n".encode(): b"+1.00000000E+003\n",
    }
    for command, low, high in ((f"INP{n}:ATT", 1, 46), (f"INP{n}:WAV", 1.26e-6, 1.64e-6), (f"OUTP{n}:POW", -50, 10)):
        found[f"{command}? MIN\n".encode()] = f"{low:+.8E}\n".encode()
        found[f"{command}? MAX\n".encode()] = f"{high:+.8E}\n".encode()
    found[f"OUTP{n}:POW:UNIT?\n".encode()] = b"+0\n"
    return found


def opened(
    *steps: Step, model: str = "N7762A", slot: int = 1, also: Mapping[bytes, bytes | None] | None = None
) -> tuple[KeysightN77, ScriptedTransport]:
    n = "" if model == "8156A" else str(slot)
    housekeeping = QUIET | opening(model, n) | dict(also or {})
    transport = scripted(steps, Line(), housekeeping, clock=ManualClock())
    voa = KeysightN77(transport, name="voa", clock=transport.clock, channel=slot)
    voa.open()
    return voa, transport


def test_ranges_are_the_attenuators_and_follow_the_offset() -> None:
    voa, transport = opened((b"INP3:ATT 46\n", None), (b"INP3:OFFS -5\n", None), (b"INP3:ATT 40\n", None), slot=3)
    voa.attenuation = 46.0
    with pytest.raises(LimitError, match="of the attenuator"):
        voa.attenuation = 0.9
    voa.offset = -5.0
    with pytest.raises(LimitError, match="-5 to 40 dB"):
        voa.attenuation = 40.1
    voa.attenuation = 40.0
    before = transport.traffic
    with pytest.raises(LimitError, match=r"1\.26e-06 to 1\.64e-06 m"):
        voa.wavelength = 1550.0
    with pytest.raises(LimitError, match="at its present wavelength"):
        voa.power = from_dbm(10.1)
    assert transport.traffic == before
    transport.finish()


def test_power_is_told_in_the_unit_that_the_front_panel_has() -> None:
    voa, transport = opened(
        (b"OUTP1:POW:UNIT?\n", b"+0\n"),  # at opening, with the range
        (b"OUTP1:POW:UNIT?\n", b"+1\n"),
        (b"OUTP1:POW 0.001\n", None),
        (b"OUTP1:POW:UNIT?\n", b"+0\n"),
        (b"READ1:POW?\n", b"-2.00000000E+001\n"),
    )
    voa.power = 1e-3
    assert voa.measured_power == pytest.approx(1e-5)
    transport.finish()


def test_models_without_power_control_say_so() -> None:
    voa, transport = opened(model="N7752A")
    for name in ("power_control", "power", "measured_power", "averaging"):
        with pytest.raises(NotACapability, match="gives the N7752A no power control"):
            getattr(voa, name)
    with pytest.raises(NotACapability, match="only the 8156A"):
        voa.absolute_power = True
    transport.finish()
    voa, transport = opened((b"INP:ATT 3.125\n", None), model="8156A", also={b"INP:ATT?\n": b"3.125\n"})
    voa.attenuation = 3.125
    with pytest.raises(NotACapability, match="8156A"):
        voa.speed = 1.0
    transport.finish()


def test_errors_have_the_instruments_words() -> None:
    voa, transport = opened(
        (b"INP1:ATT 20\n", None), (b"SYST:ERR?\n", b'-221,"Settings conflict"\n'), (b"SYST:ERR?\n", b'+0,"No error"\n')
    )
    with pytest.raises(InstrumentError, match="error -221: Settings conflict"):
        voa.attenuation = 20.0
    transport.finish()


def test_zeroing_that_fails() -> None:
    zero = b"OUTP1:CORR:COLL:ZERO"
    voa, transport = opened((zero + b"\n", None), (b"*OPC?\n", b"1\n"), (zero + b"?\n", b"+3\n"))
    with pytest.raises(InstrumentError, match="error 3: zeroing failed"):
        voa.zero_meter()
    transport.finish()


def test_the_display_is_zeroed_and_the_range_follows() -> None:
    voa, transport = opened((b"INP1:OFFS:DISP\n", None), (b"INP1:OFFS?\n", b"-1.00000000E+001\n"))
    voa.zero_display()
    assert (voa.attenuations.low, voa.attenuations.high) == (-10.0, 35.0)
    transport.finish()


def test_the_shutter_opens_with_the_guards_leave_and_is_read_back() -> None:
    asked: list[str] = []

    class Guard:
        def energising(self, instrument: object, what: str) -> None:
            asked.append(what)

    voa, transport = opened((b"OUTP1 1\n", None), (b"OUTP1?\n", b"0\n"), (b"OUTP1?\n", b"1\n"))
    voa.guard = Guard()
    voa.open_shutter = True
    assert asked == ["open_shutter"]
    transport.finish()


def test_the_safe_state_is_a_closed_shutter_and_needs_nothing_learnt() -> None:
    with scripted([(b"OUTP1 0\n", None), (b"OUTP1?\n", b"1\n"), (b"OUTP1?\n", b"0\n")], Line()) as transport:
        KeysightN77(transport, clock=ManualClock()).safe_state()
    open_for_ever: Pairs = {b"OUTP1 0\n": None, b"OUTP1?\n": b"1\n"}
    with (
        scripted([], Line(), open_for_ever) as transport,
        pytest.raises(NotConfirmed, match="close its shutter within 2 s"),
    ):
        KeysightN77(transport, clock=ManualClock()).safe_state()


def test_another_instrument_is_not_opened() -> None:
    idn = {b"*IDN?\n": b"Agilent Technologies,N7744A,1,1\n"}
    with scripted([], Line(), idn) as transport, pytest.raises(SettingsChanged, match="N7744A"):
        KeysightN77(transport).open()
