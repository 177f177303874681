"""The Amonics driver: every example of its sheet, what units differ in, the way to light and back to dark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import AmplifierMode, LimitError, NotACapability, NotConfirmed, Refused, SettingsChanged
from labqdl.transport import InstrumentError, Line, TransportTimeout
from labqdl_drivers.amplifiers.amonics_edfa import AmonicsEDFA
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("amonics-edfa")
FRAMING = Line(b"\r\n")
Pairs = dict[bytes, bytes | None]
Step = tuple[bytes, bytes | None]


def asked(pairs: Mapping[str, str]) -> Pairs:
    return {f"{query}\r\n".encode(): f"{reply}\r\n".encode() for query, reply in pairs.items()}


def ask(query: str, reply: str | None) -> Step:
    return f"{query}\r\n".encode(), None if reply is None else f"{reply}\r\n".encode()


def tell(command: str) -> Step:
    return ask(command, None)


SEEDED = asked(
    {
        ":DRIV:INTERLOCK?": "0",
        ":SENS:POW:IN:CH1?": "1.000000e+00",
        ":SENS:THRES:ALARM:POW:IN:LOS:CH1?": "0",
        ":MODE:SW:CH1?": "ACC",
    }
)


def the_way_to_light(edfa: AmonicsEDFA) -> None:
    assert edfa.mode_names() == ["ACC", "APC"]
    edfa.mode = AmplifierMode.CURRENT
    edfa.current_set_point = 0.35
    edfa.pump = True
    assert edfa.output_power == pytest.approx(0.306)


def limits(edfa: AmonicsEDFA) -> None:
    drive = edfa.read_drive("ACC", 1)
    assert drive.limit.low == 0.0
    assert drive.limit.high == pytest.approx(0.4)


def equals(call: Callable[[AmonicsEDFA], Any], value: Any) -> Callable[[AmonicsEDFA], None]:
    def check(edfa: AmonicsEDFA) -> None:
        assert call(edfa) == value

    return check


CALLS: dict[str, Callable[[AmonicsEDFA], None]] = {
    "model": equals(lambda edfa: edfa.ask(":CAL:SYS:MODEL?"), "AEDFA-PA-30-B-FA"),
    "serial number": equals(lambda edfa: edfa.ask(":CAL:SYS:SERIAL?"), "21020811"),
    "modes": equals(lambda edfa: edfa.mode_names(), ["ACC", "APC"]),
    "mode of channel 1": equals(lambda edfa: edfa.mode, AmplifierMode.CURRENT),
    "set point read back": equals(lambda edfa: edfa.current_set_point, pytest.approx(0.35)),
    "pump current": equals(lambda edfa: edfa.pump_current, pytest.approx(0.306)),
    "mode, set point, channel, activation, output power": the_way_to_light,
}
NOT_DRIVEN = {"limits of the set point": AmonicsEDFA.left_out["READ:DRIV:LO_MARGIN"]}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, AmonicsEDFA) > 0.8


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], FRAMING, SEEDED) as transport:
        CALLS[title](AmonicsEDFA(transport, clock=transport.clock))


OPENING = asked(
    {
        ":CAL:SYS:MODEL?": "AEDFA-PA-30-B-FA",
        ":CAL:SYS:SERIAL?": "21020811",
        ":READ:MODE:NAMES?": "ACC APC",
        ":READ:CH:DRIV:ACC?": "2",
        ":READ:CH:DRIV:APC?": "1",
        ":READ:DRIV:UNIT:ACC:CH1?": "mA",
        ":READ:DRIV:MIN:ACC:CH1?": "0",
        ":READ:DRIV:MAX:ACC:CH1?": "400",
        ":READ:DRIV:STEP:ACC:CH1?": "1",
        ":READ:DRIV:UNIT:ACC:CH2?": "A",
        ":READ:DRIV:MIN:ACC:CH2?": "0",
        ":READ:DRIV:MAX:ACC:CH2?": "1.5",
        ":READ:DRIV:STEP:ACC:CH2?": "0.001",
        ":READ:DRIV:UNIT:APC:CH1?": "dBm",
        ":READ:DRIV:MIN:APC:CH1?": "10",
        ":READ:DRIV:MAX:APC:CH1?": "30",
        ":READ:DRIV:STEP:APC:CH1?": "0.1",
        ":READ:CH:CUR?": "2",
        ":READ:CH:POW:IN?": "1",
        ":READ:CH:POW:OUT?": "1",
        ":READ:CH:POW:PD?": "0",
        ":READ:CH:TEMP:BOX?": "1",
        ":READ:CH:TEMP:FC?": "0",
        ":READ:CH:TEMP:TEC?": "0",
        ":READ:CH:VOLT:PS?": "1",
    }
)


def opened(
    *steps: Step, also: Mapping[bytes, bytes | None] | None = None, without: tuple[str, ...] = ()
) -> tuple[AmonicsEDFA, ScriptedTransport]:
    housekeeping = {**OPENING, **SEEDED, **(also or {})}
    for query in without:
        housekeeping[f"{query}\r\n".encode()] = None
    transport = scripted(steps, FRAMING, housekeeping, clock=ManualClock(), spacing=0.05)
    edfa = AmonicsEDFA(transport, name="edfa", clock=transport.clock)
    edfa.open()
    return edfa, transport


def test_limits_and_units_are_the_amplifiers() -> None:
    edfa, transport = opened(
        tell(":DRIV:ACC:CUR:CH1 400"),
        ask(":DRIV:ACC:CUR:CH1?", "4.000000e+02"),
        tell(":DRIV:ACC:CUR:CH2 1.5"),
        ask(":DRIV:ACC:CUR:CH2?", "1.500000e+00"),
        tell(":DRIV:APC:CUR:CH1 30"),
        ask(":DRIV:APC:CUR:CH1?", "3.000000e+01"),
    )
    edfa.current_set_point = 0.4
    edfa.channels()[2].current_set_point = 1.5
    edfa.output_set_point = 1.0
    before = transport.traffic
    for part, name, value in (
        (edfa, "current_set_point", 0.401),
        (edfa.channels()[2], "current_set_point", 1.501),
        (edfa, "output_set_point", 1.01),
    ):
        with pytest.raises(LimitError, match="of the amplifier in mode A"):
            setattr(part, name, value)
    with pytest.raises(NotACapability, match="does not name AGC"):
        edfa.gain_set_point = 20.0
    with pytest.raises(NotACapability, match="does not name AGC"):
        edfa.mode = AmplifierMode.GAIN
    with pytest.raises(NotACapability, match="POW:PD\\? answers 0"):
        _ = edfa.photodiode_power
    assert transport.traffic == before
    transport.finish()


def test_without_pump_sensor_the_temperature_is_the_cases() -> None:
    edfa, _ = opened(ask(":SENS:TEMP:BOX?", "2.500000e+01"))
    assert edfa.temperature == pytest.approx(298.15)


def test_all_stages_are_armed_and_what_was_ignored_is_said_again() -> None:
    edfa, transport = opened(
        tell(":DRIV:ACC:STAT:CH1 1"),
        ask(":DRIV:ACC:STAT:CH1?", "0"),
        tell(":DRIV:ACC:STAT:CH1 1"),
        ask(":DRIV:ACC:STAT:CH1?", "2"),
        ask(":DRIV:ACC:STAT:CH1?", "1"),
        tell(":DRIV:ACC:STAT:CH2 1"),
        ask(":DRIV:ACC:STAT:CH2?", "1"),
        tell(":DRIV:MCTRL 1"),
        ask(":DRIV:MCTRL?", "2"),
        ask(":DRIV:MCTRL?", "1"),
    )
    edfa.pump = True
    transport.finish()


@pytest.mark.parametrize(
    ("replies", "error", "words"),
    [
        ({":DRIV:INTERLOCK?": "1"}, InstrumentError, "interlock active.*unlock_interlock"),
        ({":SENS:POW:IN:CH1?": "9.000000e-04"}, Refused, "seed is missing: 9e-07 W"),
        ({":SENS:THRES:ALARM:POW:IN:LOS:CH1?": "1"}, Refused, "seed is missing"),
    ],
)
def test_no_pump_without_seed_or_with_an_open_interlock(
    replies: dict[str, str], error: type[Exception], words: str
) -> None:
    edfa, transport = opened(also=asked(replies))
    with pytest.raises(error, match=words):
        edfa.pump = True
    assert not any(b"MCTRL" in entry.data or b"STAT:CH" in entry.data for entry in transport.traffic)


def test_a_locked_channel_and_one_that_never_comes() -> None:
    edfa, _ = opened(tell(":DRIV:ACC:STAT:CH1 1"), ask(":DRIV:ACC:STAT:CH1?", "4"))
    with pytest.raises(InstrumentError, match="error 4: LOCK"):
        edfa.pump = True
    stays_off = {**asked({":DRIV:ACC:STAT:CH1?": "0"}), **dict([tell(":DRIV:ACC:STAT:CH1 1")])}
    edfa, _ = opened(also=stays_off)
    with pytest.raises(NotConfirmed, match="was sent for 3 s"):
        edfa.pump = True
    edfa, _ = opened(tell(":DRIV:ACC:STAT:CH1 1"), also=asked({":DRIV:ACC:STAT:CH1?": "2"}))
    with pytest.raises(NotConfirmed, match="still BUSY after 30 s"):
        edfa.pump = True


def test_a_set_point_that_does_not_read_back_is_not_confirmed() -> None:
    edfa, _ = opened(tell(":DRIV:ACC:CUR:CH1 350"), also=asked({":DRIV:ACC:CUR:CH1?": "1.000000e+02"}))
    with pytest.raises(NotConfirmed, match=r"current_set_point was set to 0.35 A and reads 0.1 A after 2 s"):
        edfa.current_set_point = 0.35


def test_the_dark_state_needs_nothing_learnt_and_outlives_a_busy_amplifier() -> None:
    steps = [tell(":DRIV:MCTRL 0"), ask(":DRIV:MCTRL?", "2"), ask(":DRIV:MCTRL?", "1"), tell(":DRIV:MCTRL 0")]
    with scripted([*steps, ask(":DRIV:MCTRL?", "0")], FRAMING, clock=ManualClock()) as transport:
        AmonicsEDFA(transport, clock=transport.clock).safe_state()
    on = {**asked({":DRIV:MCTRL?": "1"}), **dict([tell(":DRIV:MCTRL 0")])}
    with (
        scripted([], FRAMING, on, clock=ManualClock()) as transport,
        pytest.raises(NotConfirmed, match="MCTRL 0"),
    ):
        AmonicsEDFA(transport, clock=transport.clock).safe_state()


def test_a_unit_that_does_not_tell_its_mode() -> None:
    edfa, transport = opened(
        tell(":MODE:SW:CH1 APC"),
        tell(":DRIV:APC:STAT:CH1 1"),
        ask(":DRIV:APC:STAT:CH1?", "1"),
        tell(":DRIV:MCTRL 1"),
        ask(":DRIV:MCTRL?", "1"),
        without=(":MODE:SW:CH1?",),
    )
    edfa.mode = AmplifierMode.POWER
    edfa.pump = True
    assert edfa.mode is AmplifierMode.POWER
    transport.finish()


def test_alarms_are_those_that_the_unit_can_raise() -> None:
    queries = ["POW:IN:LOS:CH1", "POW:IN:OVER:CH1", "CUR:OVER", "TEMP:BOX", "VOLT:PS"]
    for latched, end in ((False, "?"), (True, ":LATCH?")):
        steps = [ask(f":SENS:THRES:ALARM:{query}{end}", str(int("CUR" in query))) for query in queries]
        edfa, transport = opened(*steps)
        assert edfa.alarms(latched=latched) == {"over-current": 1}
        transport.finish()


def test_thresholds() -> None:
    edfa, transport = opened(
        tell(":THRES:POW:IN:LEV:SET1 -20"),
        ask(":THRES:POW:IN:LEV:SET1?", "-2.000000e+01"),
        tell(":THRES:TEMP:BOX:MAX 50"),
        ask(":THRES:TEMP:BOX:MAX?", "4.000000e+01"),
        ask(":THRES:OBR:OVER:STAT?", None),
    )
    edfa.set_threshold("input level", 1e-5)
    with pytest.raises(NotConfirmed, match=r"reads 313\.15"):
        edfa.set_threshold("case highest", 323.15)
    with pytest.raises(TransportTimeout):
        edfa.threshold("reflection watched")
    with pytest.raises(InputError, match="no threshold 'magic'"):
        edfa.threshold("magic")
    transport.finish()


def test_unlocking() -> None:
    edfa, transport = opened(
        tell(":THRES:INTERLOCK:UNLOCK 1"),
        ask(":THRES:TEMP:TEC:OVER:UNLOCK?", "0"),
        ask(":THRES:TEMP:TEC:OVER:UNLOCK?", "1"),
        tell(":THRES:TEMP:TEC:OVER:UNLOCK 1"),
    )
    edfa.unlock_interlock()
    with pytest.raises(Refused, match="cannot be unlocked yet"):
        edfa.unlock_overheated()
    edfa.unlock_overheated()
    transport.finish()


def test_another_device_is_not_opened() -> None:
    pairs = asked({":CAL:SYS:MODEL?": "LASER-9", ":CAL:SYS:SERIAL?": "1"})
    with scripted([], FRAMING, pairs) as transport, pytest.raises(SettingsChanged, match="found Amonics LASER-9"):
        AmonicsEDFA(transport).open()
