"""Qontrol modules on scripted transports: text, binary frames, and error lines at any time."""

from __future__ import annotations

import struct
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import LimitError, NotConfirmed, SettingsChanged
from labqdl.transport import InstrumentError, ProtocolError, TransportTimeout
from labqdl_drivers.phase.qontrol import Qontrol
from labqdl_drivers.phase.qontrol_frames import VOLTAGE, QontrolFraming, frame
from tests.sheet_examples import ScriptedTransport, load, scripted

SHEET = load("qontrol")
Pair = tuple[bytes | None, bytes | None]
READ_V, READ_I, READ_VMAX, READ_IMAX = (bytes.fromhex(head) + bytes(5) for head in ("A900", "A901", "A902", "A903"))


def lines(values: object, unit: str = "V") -> bytes:
    return "".join(f"{value:+.4f} {unit}\n" for value in np.asarray(values, dtype=np.float64)).encode()


def opening(outputs: int = 8) -> dict[bytes, bytes | None]:
    return {
        b"id?\n": b"Q8iv-0A2F\n",
        b"firmware?\n": b"1.2.3\n",
        b"vfull?\n": b"+12.000 V\n",
        b"ifull?\n": b"+24.000 mA\n",
        READ_VMAX: lines([10.0] * outputs),
        b"ok\n": b"OK\n",
    }


def array(*pairs: Pair, outputs: int = 8) -> tuple[Qontrol, ScriptedTransport]:
    clock = ManualClock()
    transport = scripted(pairs, QontrolFraming(), opening(outputs), unasked=True, clock=clock)
    modules = Qontrol(transport, clock=clock)
    modules.open()
    return modules, transport


def reads(number: int, name: str, value: float) -> Callable[[Qontrol], None]:
    def call(modules: Qontrol) -> None:
        assert getattr(modules.channels()[number], name) == pytest.approx(value, rel=1e-12)

    return call


def sets(number: int, name: str, value: float, measured: float | None = None) -> Callable[[Qontrol], None]:
    def call(modules: Qontrol) -> None:
        setattr(modules.channels()[number], name, value)
        if measured is not None:
            reads(number, name, measured)(modules)

    return call


def equals(call: Callable[[Qontrol], object], value: object) -> Callable[[Qontrol], None]:
    def check(modules: Qontrol) -> None:
        assert call(modules) == value

    return check


def accepted(message: bytes) -> Callable[[Qontrol], None]:
    return equals(lambda modules: modules.exchange(message), ["OK"])


def in_text(modules: Qontrol) -> None:
    modules.binary = False
    modules.set_voltages(np.arange(1.0, 9.0))


CALLS: dict[str, Callable[[Qontrol], None]] = {
    "device id": equals(lambda modules: modules.identity().serial, "0A2F"),
    "device id, not programmed": lambda modules: None,  # asked while it opens
    "modules of the chain": equals(lambda modules: modules.modules(), ["Q8iv-0A2F", "Q8iv-0A30"]),
    "full scale of the voltage": equals(lambda modules: modules.full_voltage, 12.0),
    "full scale of the current": equals(lambda modules: modules.full_current, 24e-3),
    "set and measure a voltage": sets(3, "voltage", 4.5, 4.5003),
    "set and measure a current": sets(3, "current", 10e-3, 9.998e-3),
    "limit a voltage": sets(3, "voltage_limit", 10.0),
    "limit a current": sets(3, "current_limit", 12e-3),
    "set eight voltages": in_text,
    "binary: V0 = 6 V": accepted(frame(0, 0, np.array([32767], np.uint16))),
    "binary: I3 = 10 mA": accepted(frame(1, 3, np.array([27306], np.uint16))),
    "binary: read V5": equals(lambda modules: modules.exchange(frame(0, 5)), ["+4.5003 V"]),
    "binary: read all voltages": equals(lambda modules: modules.voltages().tolist(), list(range(8))),
    "binary: V0 to V7 = 0 to 7 V": lambda modules: modules.set_voltages(np.arange(8.0)),
    "line after power-up": equals(lambda modules: modules.is_open, True),
    "over-current line before an answer": reads(3, "voltage", 4.5003),
}
NOT_DRIVEN = {
    "number of channels": Qontrol.left_out["nchan"],
}


def test_the_sheet_is_covered() -> None:
    assert len(SHEET.examples) == SHEET.worked
    assert set(SHEET.titles) == CALLS.keys() | NOT_DRIVEN.keys()


@pytest.mark.parametrize("title", CALLS)
def test_example(title: str) -> None:
    with scripted(SHEET[title], QontrolFraming(), opening(), unasked=True) as transport:
        modules = Qontrol(transport, clock=ManualClock())
        modules.open()
        CALLS[title](modules)
        modules.close()


class TestFrames:
    @given(
        st.integers(0, 0x4C),
        st.integers(0, 0xFFFF),
        st.none() | st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8),
        st.booleans(),
    )
    def test_parity_is_even_and_nothing_is_lost(
        self, code: int, channel: int, values: list[int] | None, every: bool
    ) -> None:
        message = frame(code, channel, None if values is None else np.array(values, np.uint16), every=every)
        header, found_code, zero, found_channel = struct.unpack_from(">BBBH", message)
        assert header & 0x80
        assert header.bit_count() % 2 == 0
        assert (found_code, zero, found_channel, bool(header & 0x20)) == (code, 0, channel, every)
        assert bool(header & 0x08) == (values is None)
        words = list(struct.unpack(f">{(len(message) - 5) // 2}H", message[5:]))
        if header & 0x02:
            assert words.pop(0) == len(words) >= 2
        assert words == (values or [0])
        assert QontrolFraming().wrap(message) == message

    @given(st.lists(st.text("+-0123456789.VmAOKE: ", max_size=12)), st.data())
    def test_lines_in_any_pieces(self, texts: list[str], data: st.DataObject) -> None:
        stream, framing, buffer, found = "".join(text + "\n" for text in texts).encode(), QontrolFraming(), b"", []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            buffer, stream = buffer + stream[:size], stream[size:]
            while (length := framing.complete(buffer)) is not None:
                found.append(framing.unwrap(buffer[:length]).decode())
                buffer = buffer[length:]
        assert found == texts

    @given(st.binary(max_size=40))
    def test_any_bytes(self, data: bytes) -> None:
        try:
            length = QontrolFraming().complete(data)
        except ProtocolError:
            return
        assert length is None or data[:length].endswith(b"\n")


class TestArray:
    def test_two_modules_take_a_frame_each(self) -> None:
        volts = np.linspace(0.0, 10.0, 16)
        words = np.floor(volts / 12.0 * 65535).astype(np.uint16)
        modules, transport = array(
            (frame(VOLTAGE, 0, words[:8]), b"OK\n"),
            (frame(VOLTAGE, 8, words[8:]), b"OK\n"),
            (READ_V, lines(volts)),
            (READ_I, lines(volts, "mA")),
            outputs=16,
        )
        modules.set_voltages(volts)
        assert modules.energised
        np.testing.assert_allclose(modules.voltages(), volts, atol=1e-4)
        np.testing.assert_allclose(modules.currents(), volts * 1e-3, atol=1e-7)
        transport.finish()

    def test_text_does_the_same(self) -> None:
        limits = [(b"imax%d?\n" % number, b"+%d.000 mA\n" % (20 - number)) for number in range(8)]
        modules, transport = array(
            (b"vall?\n", lines(range(8))),
            (b"iall?\n", lines(range(8), "mA")),
            (b"vmaxall?\n", lines([10.0] * 8)),
            *limits,
            (b"vvec0=0,0,0,0,0,0,0,0\n", b"OK\n"),
            (b"vall?\n", lines([0.0] * 8)),
        )
        modules.binary = False
        np.testing.assert_allclose(modules.voltages(), np.arange(8.0))
        np.testing.assert_allclose(modules.currents(), np.arange(8.0) * 1e-3)
        assert modules.voltage_limit == 10.0
        assert modules.current_limit == pytest.approx(13e-3)
        modules.safe_state()
        transport.finish()

    @pytest.mark.parametrize("bad", [10.5, -0.1])
    def test_every_value_is_checked_before_the_first_is_sent(self, bad: float) -> None:
        modules, transport = array()
        with pytest.raises(LimitError, match=r"output 7.voltage"):
            modules.set_voltages(np.array([1.0] * 7 + [bad]))
        with pytest.raises(InputError, match="shape"):
            modules.set_voltages(np.zeros(7))
        with pytest.raises(InputError):
            modules.set_voltages(np.array([np.nan] + [0.0] * 7))
        assert not modules.energised
        transport.finish()

    def test_zeros_energise_nothing(self) -> None:
        modules, _ = array((frame(VOLTAGE, 0, np.zeros(8, np.uint16)), b"OK\n"))
        modules.set_voltages(np.zeros(8))
        assert not modules.energised

    def test_a_limit_that_was_set_holds_at_once(self) -> None:
        modules, transport = array((b"vmax3=2\n", b"OK\n"), (b"vmax3?\n", b"+2.000V\n"))
        modules.channels()[3].voltage_limit = 2.0
        assert modules.channels()[3].voltage_limit == 2.0
        with pytest.raises(LimitError, match="0 to 2 V"):
            modules.channels()[3].voltage = 2.5
        transport.finish()

    def test_quantities(self) -> None:
        modules, transport = array(
            (READ_V, lines(range(8))), (READ_IMAX, lines([20.0] * 7 + [12.0], "mA")), (b"lifetime?\n", b"1234 h\n")
        )
        assert (modules.outputs, modules.voltage_limit) == (8, 10.0)
        assert modules.current_limit == pytest.approx(12e-3)
        assert modules.lifetime == "1234 h"
        transport.finish()

    def test_old_firmware_enumerates_otherwise(self) -> None:
        modules, transport = array(
            (b"nup=0\n", b"OK\n"), (b"nupall?\n", b"E10:00\n"), (b"nup?\n", b"Q8iv-0A2F:0\nQ8iv-0A30:1\n")
        )
        assert modules.modules() == ["Q8iv-0A2F", "Q8iv-0A30"]
        transport.finish()

    def test_a_line_missing(self) -> None:
        modules, _ = array((READ_V, lines(range(7))))
        with pytest.raises(ProtocolError, match="7 values came from 8 outputs"):
            modules.voltages()


class TestErrors:
    def test_a_refusal_is_the_answer(self) -> None:
        modules, transport = array((b"v3=1\n", b"E13:03\n"), (b"v3=2\n", b"OK\n"))
        with pytest.raises(InstrumentError, match=r"error 13: operation forbidden \(channel 3\)"):
            modules.channels()[3].voltage = 1.0
        modules.channels()[3].voltage = 2.0
        transport.finish()

    def test_a_trip_does_not_shift_the_answers(self) -> None:
        modules, transport = array(
            (b"v3?\n", b"E02:05\n+4.5003 V\n"), (b"v4?\n", b"+1.0000 V\n"), (b"v3=1\n", b"E02:05\nE1:4\nOK\n")
        )
        with pytest.raises(InstrumentError, match=r"over-current \(channel 5\)") as caught:
            _ = modules.channels()[3].voltage
        assert caught.value.code == 2
        assert modules.channels()[4].voltage == 1.0
        with pytest.raises(InstrumentError, match=r"over-current .*over-voltage \(channel 4\)"):
            modules.channels()[3].voltage = 1.0
        transport.finish()

    def test_an_error_without_an_answer(self) -> None:
        modules, transport = array((b"v3?\n", b"E17:00\n"), (b"v4?\n", b"+1.0000 V\n"))
        with pytest.raises(InstrumentError, match="SPI error"):
            _ = modules.channels()[3].voltage
        assert transport.is_dirty
        assert modules.channels()[4].voltage == 1.0

    def test_silence_names_the_command(self) -> None:
        modules, _ = array((b"v3?\n", None))
        with pytest.raises(TransportTimeout, match=r"v3\?"):
            _ = modules.channels()[3].voltage

    def test_not_ok(self) -> None:
        modules, _ = array((b"v3=1\n", b"+1.0000 V\n"))
        with pytest.raises(ProtocolError, match="is not OK"):
            modules.channels()[3].voltage = 1.0

    def test_voltages_are_compared_after_a_lost_connection(self) -> None:
        modules, _ = array(
            (b"v3=4\n", b"OK\n"), (b"v2?\n", None), (READ_V, lines([0, 0, 0, 3.95, 0, 0, 0, 0])), (b"v2?\n", b"+0 V\n")
        )
        modules.channels()[3].voltage = 4.0
        with pytest.raises(TransportTimeout):
            _ = modules.channels()[2].voltage
        assert modules.channels()[2].voltage == 0.0

    def test_outputs_that_went_off_meanwhile(self) -> None:
        modules, _ = array((b"v3=4\n", b"OK\n"), (b"v2?\n", None), (READ_V, lines([0] * 8)))
        modules.channels()[3].voltage = 4.0
        with pytest.raises(TransportTimeout):
            _ = modules.channels()[2].voltage
        with pytest.raises(SettingsChanged, match="outputs are not as they were set"):
            _ = modules.channels()[2].voltage


class TestSafeState:
    ZERO = frame(VOLTAGE, 0, np.zeros(8, np.uint16))

    def test_zero_and_measured(self) -> None:
        modules, transport = array((self.ZERO, b"OK\n"), (READ_V, lines([0.001] * 8)))
        modules.safe_state()
        transport.finish()

    def test_without_having_learnt(self) -> None:
        exchanges = ((READ_V, lines([3.0] * 8)), (self.ZERO, b"OK\n"), (READ_V, lines([0.0] * 8)))
        clock = ManualClock()
        with scripted(exchanges, QontrolFraming(), opening(), unasked=True, clock=clock) as transport:
            Qontrol(transport, clock=clock).safe_state()

    def test_trips_do_not_stop_it(self) -> None:
        modules, transport = array(
            (self.ZERO, b"E02:05\nOK\n"), (READ_V, b"E02:06\n" + lines([0.0] * 8)), (READ_V, lines([0.0] * 8))
        )
        modules.safe_state()
        transport.finish()

    def test_an_output_that_stays_on(self) -> None:
        modules, _ = array((self.ZERO, b"OK\n"), (READ_V, lines([0, 0, 5, 0, 0, 0, 0, 0])))
        with pytest.raises(NotConfirmed, match="output 2 still measures 5 V"):
            modules.safe_state()
