"""The TSL driver: every example of its sheet, both command sets and units, tuning, sweeps, alerts, the dark state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.instruments import LimitError, NotACapability, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl.units import from_dbm
from labqdl_drivers.lasers.santec_tsl import SantecTSL, SweepMode, SweepState
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("santec-tsl")
FRAMING = Line(b"\r")
QUIET: dict[bytes, bytes | None] = {b":SYST:ERR?\r": b'0,"No error"\r', b"*OPC?\r": b"1\r"}
Step = tuple[bytes, bytes | None]


def equals(call: Callable[[SantecTSL], Any], value: Any) -> Callable[[SantecTSL], None]:
    def check(laser: SantecTSL) -> None:
        assert call(laser) == value

    return check


def refused(call: Callable[[SantecTSL], Any]) -> Callable[[SantecTSL], None]:
    def check(laser: SantecTSL) -> None:
        with pytest.raises(InstrumentError, match="error -222: Data out of range"):
            call(laser)

    return check


def in_metres(laser: SantecTSL) -> None:
    laser.metres = True
    assert laser.wavelength == 1.55e-6


def sweep(laser: SantecTSL) -> None:
    laser.start_sweep()
    laser.wait_sweep(10.0)


CALLS: dict[str, Callable[[SantecTSL], None]] = {
    "identity of a TSL-550": equals(lambda laser: laser.identity().model, "TSL-550"),
    "identity of a TSL-570": equals(lambda laser: laser.identity().firmware, "0001.000.0001"),
    "wavelength in legacy mode": equals(lambda laser: laser.wavelength, pytest.approx(1550e-9, rel=1e-12)),
    "wavelength in SCPI mode": in_metres,
    "no error": lambda laser: laser.check_errors("*CLS"),
    "data out of range": refused(lambda laser: laser.check_errors(":WAV 1")),
    "no alerts": equals(lambda laser: laser.alert(), ""),
    "interlock alert": equals(lambda laser: laser.alert(), "alert 7: interlock"),
    "tuning complete": lambda laser: laser.wait_complete(1.0),
    "tuning not complete, then complete": lambda laser: laser.wait_complete(1.0),
    "sweep runs, then has stopped": sweep,
    "wavelength log of one point": equals(lambda laser: laser.wavelength_log().tolist(), [pytest.approx(1550e-9)]),
    "nanometres in SCPI mode are out of range": refused(lambda laser: laser.tell(":WAV 1550")),
}
NOT_DRIVEN = {
    "power when off, two-letter command": SantecTSL.left_out["OP"],
    "status word, two-letter command": SantecTSL.left_out["SU"],
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, SantecTSL) > 0.4


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], FRAMING, QUIET | {b":READ:POIN?\r": b"1\r"}) as transport:
        CALLS[title](SantecTSL(transport, clock=ManualClock()))


OLD: list[Step] = [
    (b"*IDN?\r", b"SANTEC,TSL-550,06020001,0001.0000\r"),
    (b":WAV:MIN?\r", b"1500.0000\r"),
    (b":WAV:MAX?\r", b"1630.0000\r"),
]
NEW: list[Step] = [
    (b"*IDN?\r", b"SANTEC,TSL-570,21020001,0001.000.0001\r"),
    (b":SYST:COMM:COD?\r", b"1\r"),
    (b":WAV? MIN\r", b"+1.50000000E-006\r"),
    (b":WAV? MAX\r", b"+1.63000000E-006\r"),
]


def opened(
    *steps: Step, opening: list[Step] = OLD, also: Mapping[bytes, bytes | None] | None = None
) -> tuple[SantecTSL, ScriptedTransport]:
    transport = scripted([*opening, *steps], FRAMING, QUIET | dict(also or {}), clock=ManualClock())
    laser = SantecTSL(transport, name="laser", clock=transport.clock)
    laser.open()
    return laser, transport


@pytest.mark.parametrize(
    ("opening", "command"), [(OLD, b":WAV 1550.1234\r"), (NEW, b":WAV 1.550123400E-06\r")], ids=["nm", "m"]
)
def test_wavelengths_keep_their_digits_in_both_command_sets(opening: list[Step], command: bytes) -> None:
    laser, transport = opened((command, None), opening=opening)
    laser.wavelength_nm = 1550.1234
    assert command in [entry.data for entry in transport.traffic]
    before = transport.traffic
    with pytest.raises(LimitError, match="of the laser"):
        laser.wavelength_nm = 1630.0001
    assert transport.traffic == before
    transport.finish()


def test_a_legacy_tsl_570_is_spoken_to_in_nanometres() -> None:
    laser, transport = opened(opening=[NEW[0], (b":SYST:COMM:COD?\r", b"0\r"), *OLD[1:]])
    assert not laser.metres
    transport.finish()


def test_tuning_is_polled_until_it_is_over() -> None:
    laser, transport = opened(
        (b":WAV 1550.0000\r", None), (b":SYST:ERR?\r", b'0,"No error"\r'), *[(b"*OPC?\r", b"0\r")] * 10
    )
    laser.wavelength = 1550e-9
    assert laser.clock.monotonic() == pytest.approx(0.5)
    transport.finish()
    laser, _ = opened((b":WAV 1550.0000\r", None), also={b"*OPC?\r": b"0\r"})
    with pytest.raises(NotConfirmed, match="within 60 s"):
        laser.wavelength = 1550e-9


def test_power_is_told_in_the_unit_that_the_front_panel_has() -> None:
    laser, transport = opened(
        (b":POW:UNIT?\r", b"0\r"),
        (b":POW 10.00\r", None),
        (b":POW:UNIT?\r", b"1\r"),
        (b":POW 10.00\r", None),
        (b":POW:UNIT?\r", b"0\r"),
        (b":POW:ACT?\r", b"-40.00\r"),
    )
    laser.power_dbm = 10.0
    laser.power = 10e-3
    assert laser.measured_power == pytest.approx(from_dbm(-40))
    transport.finish()
    with pytest.raises(LimitError, match="of the sheet"):
        laser.power = 21e-3


def test_emission_is_diode_and_shutter() -> None:
    laser, transport = opened(
        (b":POW:STAT 1\r", None),
        (b":SYST:ERR?\r", b'0,"No error"\r'),
        (b"*OPC?\r", b"0\r"),
        (b"*OPC?\r", b"1\r"),
        (b":POW:STAT?\r", b"1\r"),
        (b":POW:SHUT 0\r", None),
        (b":POW:STAT?\r", b"1\r"),
        (b":POW:SHUT?\r", b"1\r"),
        (b":POW:STAT 0\r", None),
        (b":POW:STAT?\r", b"0\r"),
    )
    laser.emission = True
    assert laser.emission is False, "the shutter says closed"
    laser.emission = False
    transport.finish()


def test_an_open_interlock_is_named() -> None:
    laser, transport = opened(
        (b":POW:STAT 1\r", None),
        (b":SYST:ERR?\r", b'-200,"Execution error"\r'),
        (b":SYST:ERR?\r", b'0,"No error"\r'),
        (b":SYST:ALER?\r", b"No07., Inter lock detection\r"),
    )
    with pytest.raises(InstrumentError, match="error -200: Execution error; alert 7: interlock"):
        laser.emission = True
    transport.finish()
    laser, _ = opened((b":POW:STAT 1\r", None), (b":POW:STAT?\r", b"0\r"), (b":SYST:ALER?\r", b"No23., Warming up\r"))
    with pytest.raises(NotConfirmed, match="diode stays off: alert 23: warming up"):
        laser.emission = True


def test_the_dark_state_is_the_diode_and_needs_nothing_learnt() -> None:
    with scripted([(b":POW:STAT 0\r", None), (b":POW:STAT?\r", b"0\r")], FRAMING) as transport:
        SantecTSL(transport, clock=ManualClock()).safe_state()
    with (
        scripted([(b":POW:STAT 0\r", None), (b":POW:STAT?\r", b"1\r")], FRAMING) as transport,
        pytest.raises(NotConfirmed, match="diode must be False and reads True"),
    ):
        SantecTSL(transport, clock=ManualClock()).safe_state()


def test_a_sweep_is_declared_started_and_read() -> None:
    points = np.array([15_500_000, 15_500_010], "<u4").tobytes()
    laser, transport = opened(
        (b":WAV:SWE:STAR 1550.0000\r", None),
        (b":WAV:SWE:STOP 1551.0000\r", None),
        (b":WAV:SWE:SPE 10.0\r", None),
        (b":WAV:SWE:MOD 1\r", None),
        (b":WAV:SWE:CYCL 1\r", None),
        (b":TRIG:OUTP:STEP 0.0010\r", None),
        (b":WAV:SWE 1\r", None),
        (b":WAV:SWE?\r", b"4\r"),
        (b":READ:POIN?\r", b"2\r"),
        (b":READ:DAT?\r", b"#18" + points + b"\r"),
        (b":READ:POIN?\r", b"3\r"),
        (b":READ:DAT?\r", b"#18" + points + b"\r"),
    )
    laser.sweep_start = 1550e-9
    laser.sweep_stop = 1551e-9
    laser.sweep_speed = 10e-9
    laser.sweep_mode = SweepMode.CONTINUOUS
    laser.sweep_cycles = 1
    laser.trigger_step = 1e-12
    laser.start_sweep()
    assert laser.sweep_state is SweepState.PREPARING
    np.testing.assert_allclose(laser.wavelength_log(), [1550e-9, 1550.001e-9], rtol=1e-12)
    with pytest.raises(ProtocolError, match="8 bytes for 3 points"):
        laser.wavelength_log()
    transport.finish()


def test_a_log_in_metres() -> None:
    data = np.array([1.55e-6, 1.56e-6], "<f8").tobytes()
    laser, _ = opened((b":READ:POIN?\r", b"2\r"), (b":READ:DAT?\r", b"#216" + data + b"\r"), opening=NEW)
    np.testing.assert_array_equal(laser.wavelength_log(), [1.55e-6, 1.56e-6])


def test_what_it_lacks_and_what_it_is_not() -> None:
    laser, _ = opened()
    with pytest.raises(NotACapability, match="no command that tells a temperature"):
        _ = laser.temperature
    with (
        scripted([(b"*IDN?\r", b"SANTEC,WSL-110,1,1\r")], FRAMING) as transport,
        pytest.raises(SettingsChanged, match="found SANTEC WSL-110"),
    ):
        SantecTSL(transport).open()


def test_the_range_of_a_sweep_and_stability() -> None:
    laser, transport = opened(
        (b":WAV:SWE:RANG:MIN?\r", b"1501.0000\r"),
        (b":WAV:SWE:RANG:MAX?\r", b"1629.0000\r"),
        (b":POW:STAT?\r", b"1\r"),
        (b":SYST:ALER?\r", b"No23., Warming up\r"),
        (b":POW:STAT?\r", b"1\r"),
        (b":SYST:ALER?\r", b"No alerts.\r"),
        (b":SYST:ALER?\r", b"7\r"),
    )
    assert laser.sweep_range() == pytest.approx((1501e-9, 1629e-9))
    assert [laser.is_stable(), laser.is_stable()] == [False, True]
    with pytest.raises(ProtocolError, match="an alert such as"):
        laser.alert()
    transport.finish()
