"""Red Pitaya boards on scripted transports: digitizer, generator, voltage source, lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import LimitError, NotACapability, NotAValue, NotConfirmed, SettingsChanged, Trigger
from labqdl.transport import InstrumentError, ProtocolError
from labqdl_drivers.boards.redpitaya import Edge, RedPitaya, RedPitayaBoard
from labqdl_drivers.boards.redpitaya_generator import FastOutput, RedPitayaGenerator, Shape
from labqdl_drivers.boards.redpitaya_roles import RedPitayaIO, RedPitayaSource
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("redpitaya")
Said = str | bytes | None
B = TypeVar("B", bound=RedPitayaBoard)


def pair(ask: str, reply: Said) -> tuple[bytes, bytes | None]:
    answer = reply.encode() if isinstance(reply, str) else reply
    return ask.encode() + b"\r\n", None if answer is None else answer + b"\r\n"


def replies(**also: str) -> dict[bytes, bytes | None]:
    known = {
        "*IDN?": "REDPITAYA,INSTR2024,0,01-02",
        "SYST:ERR?": '0,"No error"',
        "ACQ:SRATE?": "125000000",
        "ACQ:DEC?": "1",
        "ACQ:TRIG:DLY?": "0",
        "ACQ:BUF:SIZE?": "3",
        "ACQ:SOUR1:GAIN?": "LV",
        "SOUR1:VOLT?": "0.5",
        "SOUR2:VOLT?": "0",
        "SOUR1:VOLT:OFFS?": "0.25",
        "SOUR2:VOLT:OFFS?": "0",
    } | also
    return dict(pair(ask, reply) for ask, reply in known.items())


def board(
    kind: Callable[..., B], *dialogue: tuple[str, Said], also: dict[str, str] | None = None, **options: object
) -> tuple[B, ScriptedTransport]:
    clock = ManualClock()
    transport = scripted(
        [pair(ask, reply) for ask, reply in dialogue], RedPitayaBoard.framing, replies(**(also or {})), clock=clock
    )
    instrument = kind(transport, clock=clock, **options)
    instrument.open()
    return instrument, transport


def equals(call: Callable[[RedPitaya], object], value: object) -> Callable[[RedPitaya], None]:
    def check(one: RedPitaya) -> None:
        assert call(one) == value

    return check


def triggered(one: RedPitaya) -> None:
    with pytest.raises(NotConfirmed, match="no trigger came within 0 s"):
        one.wait(0)
    assert one.ask("ACQ:TRIG:STAT?") == "TD"


def recorded(one: RedPitaya) -> None:
    record = one.fetch(1)
    np.testing.assert_array_equal(record.volts, [0.0, 0.25, -0.5])
    assert (record.start, record.interval, record.overload) == (-8192 / 125e6, 8e-9, False)


def whole(one: RedPitaya) -> None:
    one.reset()
    one.decimation = 8
    one.use_blocks()
    one.trigger_level = 0.1
    one.pre_trigger = 0.0
    one.trigger_source = Trigger.EXTERNAL
    one.trigger_edge = Edge.INPUT_1_RISING
    one.arm()
    one.wait(1.0)


CALLS: dict[str, Callable[[RedPitaya], None]] = {
    "identity": equals(lambda one: one.identity().model, "INSTR2024"),
    "sample rate": equals(lambda one: one.sample_rate, 125e6),
    "averaging": equals(lambda one: one.averaging, True),
    "gain": equals(lambda one: one.channels()[1].range, 2.0),
    "waiting, then triggered": triggered,
    "buffer is filled": equals(lambda one: one.ask("ACQ:TRIG:FILL?"), "1"),
    "size of the buffer": equals(lambda one: one.record_length, 16384),
    "three samples in volts": recorded,
    "acquisition up to the full buffer": whole,
    "no error": lambda one: one.check_errors("nothing"),
}
NOT_DRIVEN = {
    "data as text": "samples are transferred as blocks",
    "three raw samples": "samples are transferred in volts, which hold for every board",
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    always = replies()
    if title == "three samples in volts":
        always |= dict(pair(command, None) for command in ("ACQ:DATA:FORMAT BIN", "ACQ:DATA:UNITS VOLTS"))
    with scripted(SHEET[title], RedPitayaBoard.framing, always) as transport:
        CALLS[title](RedPitaya(transport, clock=ManualClock()))


class TestDigitizer:
    FORMATS = (("ACQ:DATA:FORMAT BIN", None), ("ACQ:DATA:UNITS VOLTS", None))

    @staticmethod
    def block(volts: list[float]) -> bytes:
        data = np.array(volts, ">f4").tobytes()
        return b"#%d%d" % (len(str(len(data))), len(data)) + data

    def test_rates(self) -> None:
        one, transport = board(RedPitaya, ("ACQ:DEC 20", None), ("ACQ:DEC 1", None))
        one.sample_rate = 6.25e6
        assert one.known_decimation == 20
        one.sample_rate = 125e6
        for wrong in (250e6, 125e6 / 3, 125e6 / 15, 125e6 / 70_000, 100e6):
            with pytest.raises(InputError, match=r"1, 2, 4, 8, 16"):
                one.sample_rate = wrong
        transport.finish()

    def test_pre_trigger(self) -> None:
        one, transport = board(RedPitaya, ("ACQ:TRIG:DLY 6942", None))
        one.pre_trigger = 10e-6
        with pytest.raises(LimitError, match="buffer's first half"):
            one.pre_trigger = 70e-6
        with pytest.raises(LimitError, match="8192 at the beginning"):
            one.trigger_delay = 8193
        transport.finish()

    def test_arming_waits_for_what_comes_before_the_trigger(self) -> None:
        one, transport = board(
            RedPitaya, ("ACQ:START", None), ("ACQ:TRIG EXT_NE", None), ("ACQ:TRIG NOW", None), ("ACQ:STOP", None)
        )
        one.trigger_source = Trigger.EXTERNAL
        one.trigger_edge = Edge.EXTERNAL_FALLING
        one.arm()
        assert one.clock.monotonic() == pytest.approx(8192 / 125e6)
        one.force_trigger()
        one.safe_state()
        transport.finish()

    @pytest.mark.parametrize(("source", "sent"), [(Trigger.FREE, [("ACQ:TRIG NOW", None)]), (Trigger.SOFTWARE, [])])
    def test_other_sources(self, source: Trigger, sent: list[tuple[str, Said]]) -> None:
        one, transport = board(RedPitaya, ("ACQ:START", None), *sent)
        one.trigger_source = source
        assert one.trigger_source is source
        one.arm()
        transport.finish()

    def test_waiting(self) -> None:
        one, transport = board(
            RedPitaya,
            *(("ACQ:TRIG:STAT?", reply) for reply in ("WAIT", "WAIT", "TD")),
            *(("ACQ:TRIG:FILL?", reply) for reply in ("0", "1")),
            ("ACQ:TRIG:STAT?", "FINE"),
        )
        one.wait(1.0)
        assert one.clock.monotonic() == pytest.approx(0.006)
        with pytest.raises(ProtocolError, match="TD or WAIT"):
            one.wait(1.0)
        transport.finish()

    def test_a_buffer_that_does_not_fill(self) -> None:
        one, _ = board(RedPitaya, also={"ACQ:TRIG:STAT?": "TD", "ACQ:TRIG:FILL?": "0"})
        with pytest.raises(NotConfirmed, match="buffer was not full within 1 s"):
            one.wait(1.0)

    @pytest.mark.parametrize(("level", "overload"), [(0.999, False), (1.0, True), (-1.0, True)])
    def test_overload(self, level: float, overload: bool) -> None:
        one, _ = board(RedPitaya, *self.FORMATS, ("ACQ:SOUR1:DATA?", self.block([0.0, level, 0.5])))
        assert one.fetch(1).overload is overload

    @pytest.mark.parametrize("data", [[0.0, 0.1], [0.0] * 4])
    def test_a_record_of_another_length(self, data: list[float]) -> None:
        one, _ = board(RedPitaya, *self.FORMATS, ("ACQ:SOUR1:DATA?", self.block(data)))
        with pytest.raises(ProtocolError, match="is not a block of 3 numbers"):
            one.fetch(1)

    def test_text_instead_of_a_block(self) -> None:
        one, _ = board(RedPitaya, *self.FORMATS, ("ACQ:SOUR1:DATA?", "{0.1,0.2,0.3}"))
        with pytest.raises(ProtocolError):
            one.fetch(1)

    def test_ranges(self) -> None:
        one, transport = board(RedPitaya, ("ACQ:SOUR2:GAIN HV", None))
        one.channels()[2].range = 40.0
        with pytest.raises(InputError, match="2 or 40 V"):
            one.channels()[2].range = 5.0
        assert one.channels()[1].enabled
        with pytest.raises(NotACapability, match="always recorded"):
            one.channels()[1].enabled = False
        transport.finish()

    def test_an_input_that_is_not_there(self) -> None:
        one, _ = board(RedPitaya)
        with pytest.raises(InputError, match="no input 3; expected 1 to 2"):
            one.fetch(3)

    def test_the_boards_own_errors(self) -> None:
        one, _ = board(
            RedPitaya, ("ACQ:AVG ON", None), ("SYST:ERR?", '9003,"Failed to set"'), ("SYST:ERR?", '0,"No error"')
        )
        with pytest.raises(InstrumentError, match="error 9003: Failed to set"):
            one.averaging = True

    def test_another_maker(self) -> None:
        with pytest.raises(SettingsChanged, match="RIGOL"):
            board(RedPitaya, also={"*IDN?": "RIGOL,DS1054Z,1,2"})


class TestGenerator:
    @staticmethod
    def output(*dialogue: tuple[str, Said]) -> tuple[FastOutput, ScriptedTransport]:
        one, transport = board(RedPitayaGenerator, *dialogue)
        return one.channels()[1], transport

    def test_amplitude_and_offset_share_one_volt(self) -> None:
        one, transport = self.output(
            ("SOUR1:VOLT 0.75", None), ("SOUR1:VOLT 0.1", None), ("SOUR1:VOLT:OFFS -0.9", None)
        )
        with pytest.raises(LimitError, match="peak and offset together 1 V"):
            one.amplitude = 1.6
        one.amplitude = 1.5
        with pytest.raises(LimitError, match=r"-0\.25 to 0\.25 V"):
            one.offset = 0.3
        one.amplitude = 0.2
        one.offset = -0.9
        transport.finish()

    def test_settings(self) -> None:
        one, transport = self.output(
            ("SOUR1:FUNC SINE", None),
            ("SOUR1:FUNC?", "DC_NEG"),
            ("SOUR1:FREQ:FIX 1000", None),
            ("SOUR1:PHAS 90", None),
            ("SOUR1:DCYC 0.5", None),
            ("SOUR1:BURS:NCYC 3", None),
            ("SOUR1:BURS:NOR 2", None),
            ("SOUR1:BURS:INT:PER 1000", None),
            ("OUTPUT1:STATE ON", None),
            ("OUTPUT1:STATE?", "1"),
        )
        one.shape = Shape.SINE
        assert one.shape is Shape.DC_NEGATIVE
        one.frequency = 1e3
        one.phase = np.pi / 2
        one.duty = 0.5
        one.burst_cycles = 3
        one.bursts = 2
        one.burst_period = 1e-3
        one.output = True
        assert one.board.energised
        assert one.output
        transport.finish()

    def test_a_waveform(self) -> None:
        one, transport = self.output(
            ("OUTPUT1:STATE?", "ON"),
            ("SOUR1:FUNC?", "SINE"),
            ("SOUR1:TRAC:DATA:DATA 0.000000,0.500000,-1.000000", None),
            ("SOUR1:FUNC ARBITRARY", None),
        )
        one.upload("frame", np.array([0.0, 0.5, -1.0]))
        one.select("frame")
        with pytest.raises(InputError, match="'frame'"):
            one.select("other")
        transport.finish()

    def test_the_longest_waveform(self) -> None:
        samples = np.linspace(-1, 1, 16_384)
        text = ",".join(f"{sample:.6f}" for sample in samples)
        one, transport = self.output(("OUTPUT1:STATE?", "OFF"), ("SOUR1:TRAC:DATA:DATA " + text, None))
        one.upload("ramp", samples)
        transport.finish()

    def test_what_a_waveform_cannot_be(self) -> None:
        one, transport = self.output()
        for wrong, words in (
            (np.zeros(0), "1 to 16384"),
            (np.zeros(16_385), "1 to 16384"),
            (np.zeros((2, 2)), "one row"),
            (np.array([0.0, np.nan]), "a sample is NaN"),
        ):
            with pytest.raises(InputError, match=words):
                one.upload("wrong", wrong)
        with pytest.raises(LimitError, match="-1 to 1"):
            one.upload("wrong", np.array([0.0, -1.01]))
        with pytest.raises(NotACapability, match="markers"):
            one.upload("wrong", np.zeros(2), np.zeros(2, np.uint8))
        transport.finish()

    def test_what_plays_is_not_replaced(self) -> None:
        one, transport = self.output(("OUTPUT1:STATE?", "ON"), ("SOUR1:FUNC?", "ARBITRARY"))
        with pytest.raises(InputError, match="playing"):
            one.upload("frame", np.zeros(4))
        transport.finish()

    @pytest.mark.parametrize(
        ("source", "mode", "word"),
        [
            (Trigger.FREE, "CONTINUOUS", "INT"),
            (Trigger.SOFTWARE, "BURST", "INT"),
            (Trigger.EXTERNAL, "BURST", "EXT_PE"),
        ],
    )
    def test_triggers(self, source: Trigger, mode: str, word: str) -> None:
        sets = [(f"SOUR{n}:{what}", None) for n in (1, 2) for what in (f"BURS:STAT {mode}", f"TRIG:SOUR {word}")]
        starts = [(f"SOUR{n}:TRIG:INT", None) for n in (1, 2)] if source is Trigger.FREE else []
        one, transport = board(
            RedPitayaGenerator, *sets, *starts, also={"SOUR1:TRIG:SOUR?": word, "SOUR1:BURS:STAT?": mode}
        )
        one.trigger_source = source
        assert one.trigger_source is source
        one.arm()
        transport.finish()

    def test_a_trigger_that_the_class_has_not(self) -> None:
        one, _ = board(RedPitayaGenerator, also={"SOUR1:TRIG:SOUR?": "GATED", "SOUR1:BURS:STAT?": "BURST"})
        with pytest.raises(NotAValue, match="GATED"):
            _ = one.trigger_source

    def test_software_trigger_reset_and_what_is_not_there(self) -> None:
        one, transport = board(
            RedPitayaGenerator,
            ("SOUR1:TRIG:INT", None),
            ("SOUR2:TRIG:INT", None),
            ("PHAS:ALIGN", None),
            ("GEN:RST", None),
        )
        one.trigger()
        one.align()
        one.reset()
        with pytest.raises(NotACapability, match="switch the outputs off"):
            one.stop()
        with pytest.raises(NotACapability, match="125 MS/s"):
            one.sample_rate = 1e6
        assert one.sample_rate == 125e6
        assert one.memory.longest == 16_384
        transport.finish()

    def test_safe_state(self) -> None:
        states = [("OUTPUT1:STATE OFF", None), ("OUTPUT2:STATE OFF", None)]
        one, transport = board(RedPitayaGenerator, *states, ("OUTPUT1:STATE?", "0"), ("OUTPUT2:STATE?", "OFF"))
        one.safe_state()
        transport.finish()
        one, transport = board(RedPitayaGenerator, *states, ("OUTPUT1:STATE?", "ON"), ("OUTPUT2:STATE?", "OFF"))
        with pytest.raises(NotConfirmed, match=r"channel 1\.output must be False"):
            one.safe_state()
        transport.finish()

    def test_an_old_error_does_not_keep_the_safe_state_from_being_confirmed(self) -> None:
        states = [("OUTPUT1:STATE OFF", None), ("OUTPUT2:STATE OFF", None)]
        replies = [("OUTPUT1:STATE?", "0"), ("OUTPUT2:STATE?", "0")]
        one, transport = board(RedPitayaGenerator, *states, *replies, also={"SYST:ERR?": '9003,"Somebody else\'s"'})
        one.safe_state()
        transport.finish()


class TestSource:
    def test_the_set_point_waits_for_the_switch(self) -> None:
        one, transport = board(
            RedPitayaSource,
            ("ANALOG:PIN AOUT2,1.2", None),
            ("ANALOG:PIN AOUT2,0.5", None),
            ("ANALOG:PIN AOUT2,0", None),
            pin=2,
        )
        with pytest.raises(NotAValue, match="AOUT2"):
            _ = one.output
        one.voltage = 1.2
        before = one.energised
        one.output = True
        assert (before, one.energised) == (False, True)
        one.voltage = 0.5
        one.output = False
        assert (one.output, one.voltage) == (False, 0.5)
        transport.finish()

    def test_limits_and_what_is_not_there(self) -> None:
        one, transport = board(RedPitayaSource)
        with pytest.raises(LimitError, match=r"0 to 1\.8 V"):
            one.voltage = 2.0
        with pytest.raises(NotACapability, match="sense"):
            _ = one.measured_voltage
        with pytest.raises(NotACapability):
            _ = one.measured_current
        with pytest.raises(InputError, match="0 to 3"):
            RedPitayaSource(transport, pin=4)
        transport.finish()

    def test_safe_state_is_measured_where_there_is_a_wire(self) -> None:
        one, transport = board(RedPitayaSource, ("ANALOG:PIN AOUT0,0", None), ("ANALOG:PIN? AIN1", "0.003"), sense=1)
        one.safe_state()
        transport.finish()
        one, _ = board(RedPitayaSource, ("ANALOG:PIN AOUT0,0", None), ("ANALOG:PIN? AIN1", "1.1"), sense=1)
        with pytest.raises(NotConfirmed, match=r"AIN1 still measures 1\.1 V"):
            one.safe_state()


class TestLines:
    @staticmethod
    def driven(line: str, level: int, first: bool = True) -> list[tuple[str, Said]]:
        begin: list[tuple[str, Said]] = [(f"DIG:PIN {line},0", None), (f"DIG:PIN:DIR OUT,{line}", None)]
        return [*(begin if first else []), (f"DIG:PIN {line},{level}", None), (f"DIG:PIN? {line}", str(level))]

    def test_a_line_is_low_before_it_drives(self) -> None:
        one, transport = board(
            RedPitayaIO,
            *self.driven("DIO4_P", 1),
            *self.driven("DIO4_P", 0, first=False),
            *self.driven("LED1", 1, first=False),
            lines_out=("DIO4_P", "LED1"),
        )
        one.set_output("DIO4_P", True)
        assert one.energised
        one.set_output("DIO4_P", False)
        one.set_output("LED1", True)
        transport.finish()

    def test_levels(self) -> None:
        one, transport = board(
            RedPitayaIO,
            ("DIG:PIN? DIO0_P", "1"),
            ("DIG:PIN? DIO4_P", "0"),
            ("DIG:PIN? DIO4_P", "2"),
            lines_in=("DIO0_P",),
            lines_out=("DIO4_P",),
        )
        assert one.inputs() == {"DIO0_P": True}
        assert one.outputs() == {"DIO4_P": False}
        with pytest.raises(ProtocolError, match="0 or 1"):
            one.outputs()
        with pytest.raises(InputError, match="no output line 'DIO0_P'"):
            one.set_output("DIO0_P", True)
        with pytest.raises(InputError, match="names such as"):
            RedPitayaIO(transport, lines_in=("GPIO 3",))

    def test_a_line_that_stays_high(self) -> None:
        one, transport = board(
            RedPitayaIO,
            *self.driven("DIO4_P", 0)[:-1],
            ("DIG:PIN? DIO4_P", "1"),
            *self.driven("DIO5_P", 0),
            lines_out=("DIO4_P", "DIO5_P"),
        )
        with pytest.raises(NotConfirmed, match="DIO4_P was set to 0 and reads 1"):
            one.safe_state()
        transport.finish()
