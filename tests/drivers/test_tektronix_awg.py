"""The AWG driver: every example of its sheet, uploads, markers, sequences, triggers, the safe state."""

from __future__ import annotations

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
    LimitError,
    NotACapability,
    NotAValue,
    NotConfirmed,
    Reference,
    Trigger,
    WaveformMemory,
)
from labqdl.transport import InstrumentError, Line, ProtocolError
from labqdl_drivers.generators import tektronix_awg
from labqdl_drivers.generators.tektronix_awg import AwgOutput, RunMode, RunState, Step, TektronixAWG
from tests.drivers.accounts import check_commands
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("tektronix-awg")
Steps = tuple[bytes, bytes | None]
ALWAYS: dict[bytes, bytes | None] = {
    b"*IDN?\n": b"TEKTRONIX,AWG5208,B010122,SCPI:99.0 FW:6.0.0242.0\n",
    b"SYST:ERR?\n": b'0,"No error"\n',
    b"WLIS:WAV:LMIN?\n": b"1\n",
    b"WLIS:WAV:LMAX?\n": b"2000000000\n",
    b"*OPC?\n": b"1\n",
}
STATE: dict[bytes, bytes | None] = {
    b"WLIS:LIST?\n": b'"a,b,c"\n',
    b"SOUR1:DAC:RES?\n": b"14\n",
    b"OUTP1:PATH?\n": b"DCHB\n",
}
FAST: dict[bytes, bytes | None] = {b"*IDN?\n": b"TEKTRONIX,AWG70002A,B010122,FW:6\n", b"WLIS:WAV:LMIN?\n": b"2400\n"}
FOUR = np.array([0.0, 1.0, 0.0, -0.5])
MARKERS = np.array([0, 1, 2, 3], np.uint8)


def first(generator: TektronixAWG) -> AwgOutput:
    return generator.channels()[1]


def equals(call: Callable[[TektronixAWG], Any], value: Any) -> Callable[[TektronixAWG], None]:
    def check(generator: TektronixAWG) -> None:
        assert call(generator) == value

    return check


def run(state: RunState) -> Callable[[TektronixAWG], None]:
    def check(generator: TektronixAWG) -> None:
        if state is RunState.STOPPED:
            generator.stop()
        else:
            generator.arm()

    return check


def markers(generator: TektronixAWG) -> None:
    generator.fast = True
    first(generator).upload_markers("w", MARKERS)


def refused(words: str, call: Callable[[TektronixAWG], None]) -> Callable[[TektronixAWG], None]:
    def check(generator: TektronixAWG) -> None:
        with pytest.raises(InstrumentError, match=words):
            call(generator)

    return check


def out_of_range(generator: TektronixAWG) -> None:
    generator.check_errors("SOUR1:VOLT 9")


CALLS: dict[str, Callable[[TektronixAWG], None]] = {
    "identity": equals(
        lambda generator: generator.identity(),
        Identity("TEKTRONIX", "AWG5208", "B010122", "SCPI:99.0 FW:6.0.0242.0"),
    ),
    "clock rate": equals(lambda generator: generator.sample_rate, 2.5e9),
    "run, then running": run(RunState.RUNNING),
    "run, waiting for a trigger": run(RunState.WAITING),
    "stop, then stopped": run(RunState.STOPPED),
    "assigned waveform": equals(lambda generator: first(generator).assigned, "name"),
    "assigned sequence": equals(lambda generator: first(generator).assigned, "seq,1"),
    "list of waveforms": equals(lambda generator: generator.waveforms(), ["a", "b", "c"]),
    "upload of four samples": lambda generator: first(generator).upload("w", FOUR),
    "upload of markers": markers,
    "read the samples back": equals(lambda generator: generator.download("w").tolist(), FOUR.tolist()),
    "deleting a missing file": refused(
        "error -256: File name not found", lambda generator: generator.delete_file("x.wfmx")
    ),
    "no error": lambda generator: generator.check_errors("AWGC:RUN"),
    "data out of range": refused("error -222: Data out of range", out_of_range),
}
EXTRA: dict[str, dict[bytes, bytes | None]] = {
    "read the samples back": {b'WLIS:WAV:LENG? "w"\n': b"4\n"},
    "upload of markers": {b"SOUR1:DAC:RES?\n": b"8\n"},
}


def test_the_sheet_is_covered() -> None:
    assert set(SHEET.titles) == CALLS.keys()
    assert check_commands(SHEET.name, TektronixAWG) > 0.8


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], Line(), ALWAYS | STATE | EXTRA.get(title, {})) as transport:
        CALLS[title](TektronixAWG(transport, clock=transport.clock))


def opened(*steps: Steps, state: dict[bytes, bytes | None] | None = None) -> tuple[TektronixAWG, ScriptedTransport]:
    transport = scripted(steps, Line(), ALWAYS | STATE | (state or {}), clock=ManualClock())
    generator = TektronixAWG(transport, name="awg", clock=transport.clock)
    generator.open()
    return generator, transport


def block(data: Any) -> bytes:
    payload = bytes(data)
    return b"#%d%d%b" % (len(str(len(payload))), len(payload), payload)


@pytest.mark.parametrize(
    ("model", "outputs", "rate", "memory"),
    [
        ("AWG5202", 2, 2.5e9, WaveformMemory(1, 2_000_000_000, 1, 16)),
        ("AWG5208", 8, 2.5e9, WaveformMemory(1, 2_000_000_000, 1, 16)),
        ("AWG70001B", 1, 50e9, WaveformMemory(1, 2_000_000_000, 1, 10)),
        ("AWG70002A", 2, 25e9, WaveformMemory(1, 2_000_000_000, 1, 10)),
    ],
)
def test_models(model: str, outputs: int, rate: float, memory: WaveformMemory) -> None:
    generator, transport = opened(state={b"*IDN?\n": b"TEKTRONIX,%b,B1,FW:6\n" % model.encode()})
    assert (len(generator.channels()), generator.memory) == (outputs, memory)
    with pytest.raises(LimitError, match="of the model"):
        generator.sample_rate = rate * 1.01
    transport.finish()


def test_amplitudes_by_the_path() -> None:
    generator, transport = opened((b"SOUR1:VOLT 1.5\n", None), state={b"SOUR1:VOLT?\n": b"1.5010000000E+0\n"})
    first(generator).amplitude = 1.5
    with pytest.raises(LimitError, match="path DCHB"):
        first(generator).amplitude = 1.6
    with pytest.raises(NotConfirmed):
        opened((b"SOUR1:VOLT 1\n", None), state={b"SOUR1:VOLT?\n": b"1.2\n"})[0].channels()[1].amplitude = 1.0
    transport.finish()
    generator, transport = opened(state=FAST)
    with pytest.raises(LimitError, match=r"0.25 to 0.5 V"):
        first(generator).amplitude = 0.6
    transport.finish()


def test_offsets_by_the_path() -> None:
    generator, transport = opened((b"SOUR1:VOLT:LEV:IMM:OFFS -1.5\n", None))
    first(generator).offset = -1.5
    with pytest.raises(LimitError, match="-2 to 2 V"):
        first(generator).offset = 2.1
    generator, _ = opened(state={b"OUTP1:PATH?\n": b"ACD\n"})
    with pytest.raises(NotACapability, match="path ACD"):
        first(generator).offset = 0.1
    transport.finish()


@pytest.mark.parametrize(
    ("name", "samples", "marks"),
    [
        ("a,b", FOUR, None),
        ('q"', FOUR, None),
        ("", FOUR, None),
        ("line\n", FOUR, None),
        ("w", FOUR * 2.1, None),
        ("w", np.array([np.nan]), None),
        ("w", np.zeros(0), None),
        ("w", FOUR, MARKERS[:3]),
        ("w", FOUR, MARKERS.astype(float)),
        ("w", FOUR, np.full(4, 16)),
        ("w", FOUR, np.full(4, 4)),  # marker 3 at 14 bits
    ],
)
def test_uploads_are_refused_before_a_byte_is_sent(name: str, samples: Any, marks: Any) -> None:
    generator, transport = opened()
    with pytest.raises(InputError):
        first(generator).upload(name, samples, marks)
    transport.finish()


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), min_size=1, max_size=100))
def test_samples_and_markers_there_and_back(points: list[tuple[float, int]]) -> None:
    samples, marks = np.array([point[0] for point in points]), np.array([point[1] for point in points])
    count, data = len(points), samples.astype("<f4").tobytes()
    generator, transport = opened(
        (b'WLIS:WAV:NEW "w",%d\n' % count, None),
        (b'WLIS:WAV:DATA "w",0,%d,%b\n' % (count, block(data)), None),
        (b'WLIS:WAV:MARK:DATA "w",0,%d,%b\n' % (count, block((marks * 16).astype(np.uint8))), None),
        (b'WLIS:WAV:LENG? "w"\n', b"%d\n" % count),
        (b'WLIS:WAV:DATA? "w",0,%d\n' % count, block(data) + b"\n"),
    )
    first(generator).upload("w", samples, marks)
    np.testing.assert_allclose(generator.download("w"), samples, rtol=1e-7, atol=1e-37)
    transport.finish()


def test_long_waveforms_go_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tektronix_awg, "_BLOCK", 3)
    data = FOUR.astype("<f4")
    generator, transport = opened(
        (b'WLIS:WAV:NEW "w",4\n', None),
        (b'WLIS:WAV:DATA "w",0,3,' + block(data[:3].tobytes()) + b"\n", None),
        (b'WLIS:WAV:DATA "w",3,1,' + block(data[3:].tobytes()) + b"\n", None),
        (b'WLIS:WAV:LENG? "w"\n', b"4\n"),
        (b'WLIS:WAV:DATA? "w",0,3\n', block(data[:3].tobytes()) + b"\n"),
        (b'WLIS:WAV:DATA? "w",3,1\n', block(data[3:].tobytes()) + b"\n"),
        (b'WLIS:WAV:LENG? "w"\n', b"2\n"),
        (b'WLIS:WAV:DATA? "w",0,2\n', block(data[:1].tobytes()) + b"\n"),
    )
    first(generator).upload("w", FOUR)
    np.testing.assert_array_equal(generator.download("w"), FOUR)
    with pytest.raises(ProtocolError, match=r"1 numbers.* is not a block of 2 numbers"):
        generator.download("w")
    transport.finish()


ASSIGNED: dict[bytes, bytes | None] = {
    b"*IDN?\n": b"TEKTRONIX,AWG70001A,B1,FW:6\n",
    b"SOUR1:CASS?\n": b'"b"\n',
    b"AWGC:RST?\n": b"0\n",
}


def test_a_name_is_replaced_and_assigned_again() -> None:
    generator, transport = opened(
        (b'WLIS:WAV:DEL "b"\n', None),
        (b'WLIS:WAV:NEW "b",4\n', None),
        (b'WLIS:WAV:DATA "b",0,4,' + block(FOUR.astype("<f4").tobytes()) + b"\n", None),
        (b'SOUR1:CASS:WAV "b"\n', None),
        state=ASSIGNED,
    )
    first(generator).upload("b", FOUR)
    transport.finish()
    generator, transport = opened(state=ASSIGNED | {b"AWGC:RST?\n": b"2\n"})
    with pytest.raises(InputError, match="is playing"):
        first(generator).upload("b", FOUR)
    transport.finish()


def test_markers_have_voltages() -> None:
    generator, transport = opened(state=FAST)
    with pytest.raises(LimitError, match="marker 2"):
        first(generator).set_marker(2, -0.2, 1.5)
    transport.finish()
    generator, transport = opened((b"SOUR1:MARK2:VOLT:LOW -0.2\n", None), (b"SOUR1:MARK2:VOLT:HIGH 1.5\n", None))
    first(generator).set_marker(2, -0.2, 1.5)
    transport.finish()


def test_sequences() -> None:
    generator, transport = opened(
        (b'SLIS:SEQ:NEW "s",2\n', None),
        (b'SLIS:SEQ:STEP1:TASS1:WAV "s","a"\n', None),
        (b'SLIS:SEQ:STEP1:TASS2:WAV "s","b"\n', None),
        (b'SLIS:SEQ:STEP1:RCO "s",5\n', None),
        (b'SLIS:SEQ:STEP1:GOTO "s",NEXT\n', None),
        (b'SLIS:SEQ:STEP1:WINP "s",ATR\n', None),
        (b'SLIS:SEQ:STEP2:TASS1:WAV "s","c"\n', None),
        (b'SLIS:SEQ:STEP2:RCO "s",INF\n', None),
        (b'SLIS:SEQ:STEP2:GOTO "s",1\n', None),
        (b'SLIS:SEQ:STEP2:WINP "s",OFF\n', None),
        (b'SOUR1:CASS:SEQ "s",2\n', None),
    )
    generator.sequence("s", [Step(["a", "b"], 5, wait=True), Step(["c"], None, then=1)])
    first(generator).select_sequence("s", 2)
    with pytest.raises(InputError):
        generator.sequence("s,t", [])
    transport.finish()


def test_triggers() -> None:
    one: dict[bytes, bytes | None] = {b"*IDN?\n": b"TEKTRONIX,AWG70001A,B1,FW:6\n"}
    generator, transport = opened(
        (b"SOUR1:TINP ATR\n", None),
        (b"SOUR1:RMOD TRIG\n", None),
        (b"SOUR1:RMOD?\n", b"TRIG\n"),
        (b"AWGC:RUN\n", None),
        (b"AWGC:RST?\n", b"0\n"),
        (b"AWGC:RST?\n", b"1\n"),
        (b"TRIG:IMM ATR\n", None),
        state=one,
    )
    generator.trigger_source = Trigger.EXTERNAL
    assert generator.trigger_source is Trigger.EXTERNAL
    with pytest.raises(NotACapability, match=r"trigger\(\) works"):
        generator.trigger_source = Trigger.SOFTWARE
    generator.arm()
    generator.trigger()
    transport.finish()


def test_outputs_that_are_triggered_differently() -> None:
    two: dict[bytes, bytes | None] = {b"SOUR1:RMOD?\n": b"CONT\n", b"SOUR2:RMOD?\n": b"TCON\n"}
    generator, _ = opened(state=FAST | two)
    assert generator.channels()[2].run_mode is RunMode.TRIGGERED_CONTINUOUS
    with pytest.raises(NotAValue, match="some play freely"):
        _ = generator.trigger_source


def test_running_takes_too_long() -> None:
    generator, transport = opened((b"AWGC:RUN\n", None), state={b"AWGC:RST?\n": b"0\n"})
    with pytest.raises(NotConfirmed, match="run within 10 s"):
        generator.arm()
    transport.finish()


def switched_on(generator: TektronixAWG) -> bool:
    generator.master = True
    return generator.energised and generator.master


def test_reference_and_master() -> None:
    generator, transport = opened(
        (b"CLOC:SOUR EFIX\n", None),
        (b"CLOC:SOUR?\n", b"EVAR\n"),
        (b"OUTP:OFF?\n", b"1\n"),
        (b"OUTP:OFF 0\n", None),
        (b"OUTP:OFF?\n", b"0\n"),
    )
    generator.reference = Reference.EXTERNAL
    assert generator.reference is Reference.EXTERNAL
    assert generator.master is False
    assert not generator.energised
    assert switched_on(generator)
    with pytest.raises(NotACapability, match="no query"):
        _ = generator.reference_locked
    transport.finish()


def test_files() -> None:
    generator, transport = opened(
        (b'MMEM:DATA "x.wfmx",#15<xml>\n', None),
        (b'MMEM:OPEN "x.wfmx"\n', None),
        (b'MMEM:DATA:SIZE? "x.wfmx"\n', b"5\n"),
        (b'MMEM:DATA? "x.wfmx",0,5\n', b"#15<xml>\n"),
    )
    generator.write_file("x.wfmx", b"<xml>")
    generator.load_file("x.wfmx")
    assert generator.read_file("x.wfmx") == b"<xml>"
    transport.finish()


@pytest.mark.parametrize("reply", [b"0\n", b"1\n"])
def test_safe_state_reads_back_all_outputs(reply: bytes) -> None:
    steps: list[Steps] = [
        (b"*IDN?\n", b"TEKTRONIX,AWG5202,B1,FW:6\n"),
        (b"OUTP1:STAT 0\n", None),
        (b"OUTP2:STAT 0\n", None),
        (b"OUTP1:STAT?\n", b"0\n"),
        (b"OUTP2:STAT?\n", reply),
    ]
    with scripted(steps, Line()) as transport:
        generator = TektronixAWG(transport)
        if reply == b"0\n":
            generator.safe_state()
        else:
            with pytest.raises(NotConfirmed, match=r"output 2.output must be False"):
                generator.safe_state()
