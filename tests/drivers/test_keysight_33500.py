"""The 33500 driver: every example of its sheet, limits, uploads, triggers, the safe state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import (
    Identity,
    Instrument,
    Limit,
    LimitError,
    NotACapability,
    NotAValue,
    NotConfirmed,
    Reference,
    SettingsChanged,
    Trigger,
    WaveformMemory,
)
from labqdl.transport import InstrumentError, Line
from labqdl_drivers.generators.keysight_33500 import ArbOutput, Function, Keysight33500
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("keysight-33500")
Steps = tuple[bytes, bytes | None]
ALWAYS: dict[bytes, bytes | None] = {
    b"*IDN?\n": b"Agilent Technologies,33622A,MY50000123,A.02.03-3.15-03-64-02\n",
    b"SYST:ERR?\n": b'+0,"No error"\n',
    b"*OPC?\n": b"1\n",
}
STATE: dict[bytes, bytes | None] = {
    b"OUTP1:LOAD?\n": b"+5.000000000000000E+01\n",
    b"SOUR1:VOLT:UNIT?\n": b"VPP\n",
    b"SOUR1:VOLT:LIM:STAT?\n": b"0\n",
    b"SOUR1:VOLT:OFFS?\n": b"+0.000000000000000E+00\n",
    b"SOUR1:FUNC:ARB:SRAT?\n": b"+1.000000000000000E+08\n",
    b"SOUR1:DATA:VOL:CAT?\n": b'"INT:\\BUILTIN\\EXP_RISE.ARB"\n',
    b"SOUR1:DATA:VOL:FREE?\n": b"+4000000\n",
}
FOUR = np.array([0.0, 0.5, 1.0, -1.0])


def first(generator: Keysight33500) -> ArbOutput:
    return generator.channels()[1]


def equals(call: Callable[[Keysight33500], Any], value: Any) -> Callable[[Keysight33500], None]:
    def check(generator: Keysight33500) -> None:
        assert call(generator) == value

    return check


def refused(words: str) -> Callable[[Keysight33500], None]:
    def check(generator: Keysight33500) -> None:
        with pytest.raises(InstrumentError, match=words):
            generator.check_errors("SOUR1:VOLT 20")

    return check


def open_load(generator: Keysight33500) -> None:
    first(generator).load = math.inf
    assert first(generator).load == math.inf


def upload(generator: Keysight33500, *, codes: bool) -> None:
    generator.greatest_memory = WaveformMemory(4, 100)
    first(generator).codes = codes
    first(generator).upload("MYWFM", FOUR)


def play(generator: Keysight33500) -> None:
    first(generator).select("MYWFM")
    first(generator).amplitude = 0.5
    first(generator).output = True
    generator.wait_complete(10.0)


CALLS: dict[str, Callable[[Keysight33500], None]] = {
    "identity": equals(
        lambda generator: generator.identity(),
        Identity("Agilent Technologies", "33622A", "MY50000123", "A.02.03-3.15-03-64-02"),
    ),
    "function": equals(lambda generator: first(generator).function, Function.SINE),
    "frequency": equals(lambda generator: first(generator).frequency, 1000.0),
    "amplitude": equals(lambda generator: first(generator).amplitude, 0.1),
    "unit of the amplitude": equals(lambda generator: first(generator).unit, "VPP"),
    "load of high impedance": open_load,
    "catalogue of waveforms": equals(
        lambda generator: first(generator).catalog(), ["INT:\\BUILTIN\\EXP_RISE.ARB", "MYWFM"]
    ),
    "upload of four samples, little-endian float32": lambda generator: upload(generator, codes=False),
    "upload of four DAC codes, little-endian int16": lambda generator: upload(generator, codes=True),
    "select the waveform and play it": play,
    "no error": lambda generator: generator.check_errors("OUTP1 1"),
    "undefined header, then no error": refused("error -113: Undefined header"),
    "value clipped to a limit, then no error": refused("error -222: Data out of range; value clipped to upper limit"),
    "overflow of the error queue": refused("error -350: Error queue overflow"),
}
NOT_DRIVEN = {
    "upload of four samples, big-endian float32": "the driver sends little-endian blocks, which need no copy",
}


def test_the_sheet_is_covered() -> None:
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()
    assert check_commands(SHEET.name, Keysight33500) > 0.8


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), ALWAYS | STATE) as transport:
        CALLS[title](Keysight33500(transport, clock=transport.clock))


def opened(*steps: Steps, state: dict[bytes, bytes | None] | None = None) -> tuple[Keysight33500, ScriptedTransport]:
    transport = scripted(steps, Line(), ALWAYS | STATE | (state or {}), clock=ManualClock())
    generator = Keysight33500(transport, name="awg", clock=transport.clock)
    generator.open()
    return generator, transport


def single(*steps: Steps, state: dict[bytes, bytes | None] | None = None) -> tuple[Keysight33500, ScriptedTransport]:
    one: dict[bytes, bytes | None] = {b"*IDN?\n": b"Keysight Technologies,33521B,MY1,1\n"}
    return opened(*steps, state=one | (state or {}))


def test_models() -> None:
    generator, _ = single()
    assert list(generator.channels()) == [1]
    assert generator.memory == WaveformMemory(8, 4_000_000, 1, 16)
    transport = scripted([(b"*IDN?\n", b"Keysight Technologies,33210A,MY1,1\n")], Line())
    with pytest.raises(SettingsChanged, match="33210A"):
        Keysight33500(transport).open()


def test_amplitude_fits_beside_the_offset() -> None:
    generator, transport = opened(
        (b"SOUR1:VOLT 8\n", None), state={b"SOUR1:VOLT:OFFS?\n": b"+1.0E+00\n", b"SOUR1:VOLT?\n": b"+4.0E+00\n"}
    )
    first(generator).amplitude = 8.0
    for volts in (8.1, 0.0005):
        with pytest.raises(LimitError, match=r"0.001 to 8 V .*with 1 V offset"):
            first(generator).amplitude = volts
    with pytest.raises(LimitError, match="-3 to 3 V"):
        first(generator).offset = 3.1
    transport.finish()


def test_an_open_output_has_twice_the_voltage() -> None:
    generator, transport = opened((b"SOUR1:VOLT 20\n", None), state={b"OUTP1:LOAD?\n": b"9.9E37\n"})
    first(generator).amplitude = 20.0
    with pytest.raises(LimitError, match=r"0.002 to 20 V"):
        first(generator).amplitude = 20.1
    transport.finish()


def test_protection_limits_the_amplitude() -> None:
    state: dict[bytes, bytes | None] = {
        b"SOUR1:VOLT:LIM:STAT?\n": b"1\n",
        b"SOUR1:VOLT:LIM:LOW?\n": b"-1.0\n",
        b"SOUR1:VOLT:LIM:HIGH?\n": b"+2.0\n",
    }
    generator, transport = opened(state=state)
    with pytest.raises(LimitError, match="to 2 V"):
        first(generator).amplitude = 2.5
    transport.finish()


def test_other_units_are_understood_and_replaced() -> None:
    state: dict[bytes, bytes | None] = {b"SOUR1:VOLT:UNIT?\n": b"DBM\n"}
    state |= {b"SOUR1:VOLT:HIGH?\n": b"+3.0E-01\n", b"SOUR1:VOLT:LOW?\n": b"-1.0E-01\n"}
    generator, transport = opened((b"SOUR1:VOLT:UNIT VPP\n", None), (b"SOUR1:VOLT 1\n", None), state=state)
    assert first(generator).amplitude == pytest.approx(0.4)
    first(generator).amplitude = 1.0
    transport.finish()


def test_station_limits_hold_for_an_open_load() -> None:
    generator, transport = opened()
    generator.limit("output 1.load", Limit(50.0, 50.0, "of the station file"))
    with pytest.raises(InputError):
        first(generator).load = math.inf
    transport.finish()


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("1ST", np.zeros(32)),
        ("TWELVE_LETTERS", np.zeros(32)),
        ("A,B", np.zeros(32)),
        ("", np.zeros(32)),
        ("SHORT", np.zeros(31)),
        ("SHAPE", np.zeros((4, 32))),
        ("HIGH", np.full(32, 1.001)),
        ("NAN", np.full(32, np.nan)),
    ],
)
def test_uploads_are_refused_before_a_byte_is_sent(name: str, samples: Any) -> None:
    generator, transport = opened()
    with pytest.raises(InputError):
        first(generator).upload(name, samples)
    with pytest.raises(NotACapability, match="markers"):
        first(generator).upload("OK", np.zeros(32), np.zeros(32, np.uint8))
    transport.finish()


def test_memory_that_is_full() -> None:
    generator, transport = opened(state={b"SOUR1:DATA:VOL:FREE?\n": b"+40\n"})
    with pytest.raises(InputError, match="at most 40 now"):
        first(generator).upload("LONG", np.zeros(41))
    transport.finish()


@given(st.lists(st.floats(-1, 1), min_size=32, max_size=100), st.booleans())
def test_samples_there_and_back(samples: list[float], codes: bool) -> None:
    values = np.array(samples)
    payload = np.rint(values * 32767).astype("<i2") if codes else values.astype("<f4")
    head = b"SOUR1:DATA:ARB:DAC W,#" if codes else b"SOUR1:DATA:ARB W,#"
    size = b"%d" % payload.nbytes
    message = head + b"%d" % len(size) + size + payload.tobytes() + b"\n"
    generator, transport = opened((b"FORM:BORD SWAP\n", None), (message, None))
    first(generator).codes = codes
    first(generator).upload("W", values)
    back = payload / 32767 if codes else payload
    np.testing.assert_allclose(back, values, atol=0.5 / 32767 * 1.000001 if codes else 1e-7)
    transport.finish()


def test_errors_after_an_upload_are_told() -> None:
    message = b"SOUR1:DATA:ARB W,#3128" + bytes(128) + b"\n"
    errors = [(b"SYST:ERR?\n", b'+781,"Not enough memory"\n'), (b"SYST:ERR?\n", b'+0,"No error"\n')]
    quiet = (b"SYST:ERR?\n", b'+0,"No error"\n')
    generator, _ = opened((b"FORM:BORD SWAP\n", None), quiet, (message, None), (b"*OPC?\n", b"1\n"), *errors)
    with pytest.raises(InstrumentError, match="error 781"):
        first(generator).upload("W", np.zeros(32))


HELD: dict[bytes, bytes | None] = {
    b"SOUR1:DATA:VOL:CAT?\n": b'"INT:\\BUILTIN\\EXP_RISE.ARB","W"\n',
    b"SOUR1:FUNC?\n": b"ARB\n",
    b"SOUR1:FUNC:ARB?\n": b'"W"\n',
    b"OUTP1?\n": b"0\n",
}
UPLOAD: list[Steps] = [(b"FORM:BORD SWAP\n", None), (b"SOUR1:DATA:ARB W,#3128" + bytes(128) + b"\n", None)]


def test_a_name_is_replaced_and_selected_again() -> None:
    again: list[Steps] = [
        (b"SOUR1:FUNC:ARB W\n", None),
        (b"SOUR1:FUNC ARB\n", None),
        (b"SOUR1:FUNC:ARB:SRAT 100000000\n", None),
    ]
    before: list[Steps] = [(b"SOUR1:FUNC SIN\n", None), (b"SOUR1:DATA:VOL:CLE\n", None)]
    generator, transport = opened(*before, *UPLOAD, *again, state=HELD)
    first(generator).upload("W", np.zeros(32))
    transport.finish()


def test_what_is_playing_is_not_replaced() -> None:
    generator, transport = opened(state=HELD | {b"OUTP1?\n": b"1\n"})
    with pytest.raises(InputError, match="is playing"):
        first(generator).upload("W", np.zeros(32))
    generator, transport = opened(state=HELD | {b"SOUR1:DATA:VOL:CAT?\n": b'"V","W"\n'})
    with pytest.raises(InputError, match=r"call clear\(\)"):
        first(generator).upload("W", np.zeros(32))
    transport.finish()


def test_built_in_waveforms_and_files() -> None:
    generator, transport = opened(
        (b'SOUR1:FUNC:ARB "INT:\\BUILTIN\\EXP_RISE.ARB"\n', None),
        (b"SOUR1:FUNC ARB\n", None),
        (b"SOUR1:FUNC:ARB:SRAT 100000000\n", None),
        (b'MMEM:STOR:DATA1 "INT:\\W.arb"\n', None),
        (b'MMEM:LOAD:DATA1 "INT:\\W.arb"\n', None),
    )
    first(generator).select("INT:\\BUILTIN\\EXP_RISE.ARB")
    first(generator).file("W", load=False)
    first(generator).file("W", load=True)
    transport.finish()


def test_rates_of_both_outputs() -> None:
    generator, transport = opened(
        (b"SOUR1:FUNC:ARB:SRAT 1000000\n", None),
        (b"SOUR2:FUNC:ARB:SRAT 1000000\n", None),
        state={b"SOUR2:FUNC:ARB:SRAT?\n": b"+1.0E+08\n"},
    )
    generator.sample_rate = 1e6
    assert generator.sample_rate == 1e8
    with pytest.raises(LimitError, match="of the model"):
        generator.sample_rate = 1.1e9
    generator, _ = opened(state={b"SOUR2:FUNC:ARB:SRAT?\n": b"+2.0E+08\n"})
    with pytest.raises(NotAValue, match="differ in their rate"):
        _ = generator.sample_rate
    transport.finish()


def test_reference_and_its_lock() -> None:
    generator, transport = opened(
        (b"SOUR:ROSC:SOUR EXT\n", None),
        (b"STAT:QUES:COND?\n", b"+0\n"),
        (b"STAT:QUES:COND?\n", b"+32\n"),
        state={b"SOUR:ROSC:SOUR:CURR?\n": b"EXT\n"},
    )
    generator.reference = Reference.EXTERNAL
    assert [generator.reference_locked, generator.reference_locked] == [True, False]
    transport.finish()


def test_triggers() -> None:
    generator, transport = single(
        (b"TRIG1:SOUR BUS\n", None),
        (b"SOUR1:BURS:MODE TRIG\n", None),
        (b"SOUR1:BURS:STAT 1\n", None),
        (b"INIT1:CONT 0\n", None),
        (b"INIT1\n", None),
        (b"*TRG\n", None),
        (b"INIT1:CONT 0\n", None),
        (b"ABOR\n", None),
        state={b"SOUR1:BURS:STAT?\n": b"1\n", b"TRIG1:SOUR?\n": b"BUS\n"},
    )
    generator.trigger_source = Trigger.SOFTWARE
    generator.arm()
    generator.trigger()
    generator.stop()
    assert generator.trigger_source is Trigger.SOFTWARE
    transport.finish()


def test_what_plays_freely_stops_and_starts_again() -> None:
    free, held = (b"SOUR1:BURS:STAT?\n", b"0\n"), (b"SOUR1:BURS:STAT?\n", b"1\n")
    generator, transport = single(
        free,
        (b"INIT1:CONT 0\n", None),
        (b"TRIG1:SOUR BUS\n", None),
        (b"SOUR1:BURS:MODE TRIG\n", None),
        (b"SOUR1:BURS:STAT 1\n", None),
        (b"ABOR\n", None),
        held,
        (b"TRIG1:SOUR?\n", b"TIM\n"),
        (b"TRIG1:SOUR IMM\n", None),
        (b"SOUR1:BURS:STAT 0\n", None),
        free,
        free,
    )
    generator.stop()
    with pytest.raises(NotAValue, match="started by TIM"):
        _ = generator.trigger_source
    generator.arm()
    assert generator.trigger_source is Trigger.FREE
    transport.finish()


def test_the_guard_is_asked_first() -> None:
    asked: list[str] = []

    class Book:
        def energising(self, instrument: Instrument, what: str) -> None:
            asked.append(what)
            raise LookupError

    generator, transport = opened()
    generator.guard = Book()
    calls: list[Callable[[], None]] = [
        lambda: setattr(first(generator), "output", True),
        generator.arm,
        generator.trigger,
    ]
    for call in calls:
        with pytest.raises(LookupError):
            call()
    assert asked == ["output 1.output", "arm", "trigger"]
    transport.finish()


@pytest.mark.parametrize("reply", [b"0\n", b"1\n"])
def test_safe_state_reads_back_all_outputs(reply: bytes) -> None:
    generator, transport = opened(
        (b"OUTP1 0\n", None), (b"OUTP2 0\n", None), (b"OUTP1?\n", reply), (b"OUTP2?\n", b"0\n")
    )
    if reply == b"0\n":
        generator.safe_state()
    else:
        with pytest.raises(NotConfirmed, match=r"output 1.output must be False"):
            generator.safe_state()
    transport.finish()


def test_safe_state_of_one_output_needs_nothing_learnt() -> None:
    steps: list[Steps] = [
        (b"*IDN?\n", b"Keysight Technologies,33511B,MY1,1\n"),
        (b"OUTP1 0\n", None),
        (b"OUTP1?\n", b"0\n"),
    ]
    with scripted(steps, Line()) as transport:
        Keysight33500(transport).safe_state()
