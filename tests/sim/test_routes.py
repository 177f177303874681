"""One instrument, the same conversation on every road."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvisa
import serial
from pyvisa import constants
from pyvisa.errors import VisaIOError

from labqdl.clock import ManualClock, ScaledClock, SystemClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.frames import Delimited, Fixed, FrameTwin, Prefixed, frame
from labqdl_sim.routes import serial_url
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.serve import serve
from labqdl_sim.twin import registry, twin_class
from tests.sim.benches import ROADS, make_bench, no_pty, opened


@pytest.mark.parametrize("road", ROADS)
class TestEveryRoad:
    def test_a_conversation(self, road: str) -> None:
        bench, _ = make_bench(SystemClock())
        with opened(bench, "bed", road) as bed:
            assert bed.query("*IDN?") == "LABQDL,BED,000001,1.0"
            assert bed.query("SOUR2:POW 3DBM;POW?;:OUTP2 ON;*OPC?") == "3.00000000E+00;1"
            bed.write("SOUR:POW 1")
            bed.write("FUNC SQU")
            assert bed.query("FUNC?;:SOUR:POW?") == "SQU;1.00000000E+00"
            bed.write("NONSENSE")
            assert bed.query("SYST:ERR?") == '-113,"Undefined header"'
            assert bed.query("SYST:ERR?") == '+0,"No error"'

    def test_a_block_with_every_byte_in_it(self, road: str) -> None:
        bench, twin = make_bench(SystemClock())
        data = bytes(range(256)) * 20
        with opened(bench, "bed", road) as bed:
            bed.write_raw(b'TRAC:DATA "W;\n",#45120' + data + b"\n")
            assert bed.query("SYST:ERR?") == '+0,"No error"'
            assert twin.loaded == data
            assert twin.label == "W;\n"
            bed.read_termination = None
            bed.write("TRAC:DATA?")
            assert bed.read_bytes(6 + 5120 + 1) == b"#45120" + data + b"\n"

    def test_same_seed_same_bytes(self, road: str) -> None:
        seen = []
        for seed in (7, 7, 8):
            bench, _ = make_bench(SystemClock(), seed=seed)
            with opened(bench, "bed", road) as bed:
                seen.append(bed.query("NOIS?"))
        assert seen[0] == seen[1] != seen[2]

    def test_two_sessions_share_the_instrument_and_not_the_queue(self, road: str) -> None:
        bench, twin = make_bench(SystemClock())
        with opened(bench, "bed", road) as bed:
            other = twin.connect()
            other.feed(b"SOUR:POW 5\n*IDN?\n")
            assert bed.query("SOUR:POW?") == "5.00000000E+00"
            assert len(other.replies) == 1

    def test_nobody_answers_in_time(self, road: str) -> None:
        bench, twin = make_bench(SystemClock())
        twin.faults.add("silent", command="READ", nth=1)
        with opened(bench, "bed", road) as bed:
            bed.timeout = 30
            with pytest.raises(VisaIOError) as caught:
                bed.query("READ:POW?")
            assert caught.value.error_code == constants.StatusCode.error_timeout
            bed.timeout = 3000
            assert bed.query("READ:POW?") == "0.00000000E+00"


@pytest.mark.parametrize("road", ["inproc", "hislip"])
class TestMessageRoads:
    def test_sixteen_mebibytes(self, road: str) -> None:
        bench, twin = make_bench(SystemClock())
        wave = np.random.Generator(np.random.SFC64(3)).standard_normal(1 << 22).astype(np.float32)
        with opened(bench, "bed", road) as bed:
            bed.chunk_size = 1 << 20
            bed.timeout = 20_000
            bed.write_binary_values('TRAC:DATA "W",', wave, datatype="f")
            assert bed.query("*OPC?") == "1"
            assert len(twin.loaded) == 1 << 24
            back = bed.query_binary_values("TRAC:DATA?", datatype="f", container=np.ndarray)
        np.testing.assert_array_equal(back, wave)

    def test_status_clear_trigger_and_lock(self, road: str) -> None:
        bench, twin = make_bench(SystemClock())
        with opened(bench, "bed", road) as bed:
            assert bed.read_stb() == 0
            bed.write("*IDN?")
            assert bed.read_stb() & 16
            bed.read()
            bed.write("*ESE 32;*SRE 32;NONSENSE")
            assert bed.read_stb() == 4 | 32 | 64
            bed.write("*CLS;:ACQ:BLOC;*IDN?")
            bed.clear()
            assert bed.query("*OPC?") == "1"
            if road == "inproc":
                bed.assert_trigger()
                assert twin.triggers == 1
                manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))
                other: Any = manager.open_resource("TCPIP0::bed::inst0::INSTR")
                with bed.lock_context(), pytest.raises(VisaIOError, match="LOCKED"):
                    other.write("*CLS")
                other.write("*CLS")


class TestInProcess:
    def test_a_socket_has_no_end(self) -> None:
        bench, _ = make_bench()
        manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))
        bed: Any = manager.open_resource("TCPIP0::bed::5025::SOCKET", write_termination="\n")
        with pytest.raises(VisaIOError, match="TMO"):
            bed.query("*IDN?")
        bed.read_termination = "\n"
        bed.clear()
        assert bed.query("*IDN?").startswith("LABQDL")
        manager.close()

    def test_serial_ends_at_the_termination_character_and_minds_the_speed(self) -> None:
        bench, twin = make_bench()
        twin.baud = 115200
        manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))
        bed: Any = manager.open_resource("ASRLbed::INSTR", write_termination="\n")
        with pytest.raises(VisaIOError, match="TMO"):
            bed.query("*IDN?")
        bed.baud_rate = 115200
        bed.write("*IDN?")
        assert bed.bytes_in_buffer == 22
        assert bed.read_bytes(7) == b"LABQDL,"
        assert bed.bytes_in_buffer == 15
        assert bed.read() == "BED,000001,1.0\n"
        assert bed.bytes_in_buffer == 0
        manager.close()

    def test_waiting_costs_instrument_time_only(self) -> None:
        clock = ManualClock()
        bench, _ = make_bench(clock)
        with opened(bench, "bed", "inproc") as bed:
            bed.timeout = 5000
            bed.write("SWE")
            assert bed.query("*OPC?") == "1"
            assert clock.monotonic() == pytest.approx(3.0)
            bed.timeout = 2000
            bed.write("SWE")
            with pytest.raises(VisaIOError, match="TMO"):
                bed.query("*OPC?")
            assert clock.monotonic() == pytest.approx(5.0)
            assert bed.query("SYST:ERR?") == '-410,"Query INTERRUPTED"'

    def test_reading_without_a_question_is_a_query_error(self) -> None:
        bench, _ = make_bench()
        with opened(bench, "bed", "inproc") as bed:
            with pytest.raises(VisaIOError, match="TMO"):
                bed.read()
            assert bed.query("SYST:ERR?;*ESR?") == '-420,"Query UNTERMINATED";132'

    def test_service_request(self) -> None:
        bench, _ = make_bench()
        event = constants.EventType.service_request
        with opened(bench, "bed", "inproc") as bed:
            bed.enable_event(event, constants.EventMechanism.queue)
            bed.write("*CLS;*ESE 1;*SRE 32;:SWE;*OPC")
            bed.wait_on_event(event, 10_000)
            assert bench.clock.monotonic() == pytest.approx(3.0, abs=0.02)
            bed.write("*CLS")
            with pytest.raises(VisaIOError, match="TMO"):
                bed.wait_on_event(event, 100)

    def test_unknown_names_and_refusals_are_not_found(self) -> None:
        bench, twin = make_bench()
        manager = pyvisa.ResourceManager(SimVisaLibrary.for_bench(bench))
        with pytest.raises(VisaIOError, match="RSRC_NFOUND"):
            manager.open_resource("TCPIP0::nobody::INSTR")
        twin.faults.add("refuse", times=1)
        with pytest.raises(VisaIOError, match="RSRC_NFOUND"):
            manager.open_resource("TCPIP0::bed::INSTR")
        manager.open_resource("TCPIP0::bed::INSTR")
        assert "ASRLbed::INSTR" in manager.list_resources("?*")
        manager.close()

    def test_benches_do_not_see_each_other(self) -> None:
        one, _ = make_bench()
        two, twin = make_bench()
        twin.values[("level", (1,))] = 9.0
        with opened(one, "bed", "inproc") as a, opened(two, "bed", "inproc") as b:
            assert (a.query("SOUR:POW?"), b.query("SOUR:POW?")) == ("0.00000000E+00", "9.00000000E+00")

    def test_backend_name(self, tmp_path: Path) -> None:
        station = tmp_path / "station.toml"
        station.write_text('[bench]\nclock = "manual"\n[instruments.meter]\ntwin = "thorlabs-pm100"\n')
        manager = pyvisa.ResourceManager(f"{station}@labqdl")
        assert manager.list_resources() == (
            "USB0::0x1313::0x8078::P0001234::INSTR", "USB0::0x1313::0x8078::meter::INSTR",
        )  # fmt: skip
        meter: Any = manager.open_resource("USB0::0x1313::0x8078::P0001234::INSTR", read_termination="\n")
        assert meter.query("*IDN?") == "THORLABS,PM100D,P0001234,2.5.0"
        manager.close()

    def test_serial_url(self) -> None:
        bench, twin = make_bench()
        twin.baud = 9600
        serial_url.attach(bench)
        try:
            port = serial.serial_for_url("labqdl://bed", timeout=1.5, baudrate=9600)
            port.write(b"*IDN?\n")
            assert port.in_waiting == 22
            assert port.read_until(b"\n") == b"LABQDL,BED,000001,1.0\n"
            assert port.read(4) == b""
            assert bench.clock.monotonic() == 1.5
            port.baudrate = 19200
            port.write(b"*IDN?\n")
            assert port.in_waiting == 0
            twin.session_limit = 1
            with pytest.raises(serial.SerialException):
                serial.serial_for_url("labqdl://bed")
            port.close()
            with pytest.raises(serial.SerialException, match="nobody"):
                serial.serial_for_url("labqdl://nobody")
        finally:
            serial_url.detach(bench)

    def test_connection_lost(self) -> None:
        bench, twin = make_bench()
        twin.faults.add("close", command="READ")
        with opened(bench, "bed", "inproc") as bed:
            with pytest.raises(VisaIOError, match="CONN_LOST"):
                bed.query("READ:POW?")
            with pytest.raises(VisaIOError, match="CONN_LOST"):
                bed.query("*IDN?")


class TestWire:
    def test_fin_reset_and_refusal_on_a_real_socket(self) -> None:
        bench, twin = make_bench(SystemClock())
        bench.routes["bed"] = ("socket",)
        with serve(bench) as served:
            port = int(served.resource("bed").split("::")[2])
            for effect, ending in (("close", b""), ("reset", ConnectionResetError), ("cut", b"LABQDL,BED,")):
                rule = twin.faults.add(effect)
                with socket.create_connection(("127.0.0.1", port), timeout=3.0) as connection:
                    connection.sendall(b"*IDN?\n")
                    if isinstance(ending, bytes):
                        assert connection.recv(100) == ending
                        assert connection.recv(100) == b""
                    else:
                        with pytest.raises(ending):
                            connection.recv(100)
                twin.faults.remove(rule)
            twin.faults.add("vanish")
            with twin.lock:  # else the reset may overtake what tells that the connection stands
                connection = socket.create_connection(("127.0.0.1", port), timeout=3.0)
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)

    def test_a_slow_reply_comes_when_the_scaled_clock_says_so(self) -> None:
        clock = ScaledClock(200.0)
        bench, _ = make_bench(clock)
        with opened(bench, "bed", "socket") as bed:
            start = clock.monotonic()
            bed.write("SWE;*OPC?")
            assert bed.read() == "1"
            assert 3.0 <= clock.monotonic() - start < 100.0

    def test_hislip_late_reply_is_told_apart(self) -> None:
        bench, twin = make_bench(SystemClock())
        twin.faults.add("late", value=0.05, command="READ", nth=1)
        with opened(bench, "bed", "hislip") as bed:
            bed.timeout = 20
            with pytest.raises(VisaIOError, match="TMO"):
                bed.query("READ:POW?")
            bed.timeout = 3000
            assert bed.query("*IDN?").startswith("LABQDL")

    def test_hislip_lock_keeps_others_waiting(self) -> None:
        bench, _ = make_bench(SystemClock())
        bench.routes["bed"] = ("hislip",)
        with serve(bench) as served:
            manager = pyvisa.ResourceManager("@py")
            one: Any = manager.open_resource(served.resource("bed"), read_termination="\n")
            link = one.visalib.sessions[one.session].interface
            assert link.async_lock_request(0.0) == "success"
            assert link.async_lock_info() == 1
            assert one.query("*OPC?") == "1"
            two: Any = manager.open_resource(served.resource("bed"), read_termination="\n", timeout=30)
            other = two.visalib.sessions[two.session].interface
            assert other.async_lock_request(0.0) == "failure"
            two.write("*OPC?")
            with pytest.raises(VisaIOError, match="TMO"):
                two.read()
            assert link.async_lock_release() == "success"
            two.timeout = 3000
            assert two.read() == "1"
            one.close()
            two.close()

    def test_a_stranger_on_the_hislip_port_is_shown_out(self) -> None:
        bench, _ = make_bench(SystemClock())
        bench.routes["bed"] = ("hislip",)
        with serve(bench) as served:
            port = int(served.resource("bed").split(",")[1].split("::")[0])
            for opening in (b"GET / HTTP/1.1\r\n\r\n", struct.pack("!2sBBIQ", b"HS", 6, 0, 0, 0)):
                with socket.create_connection(("127.0.0.1", port), timeout=3.0) as connection:
                    connection.sendall(opening)
                    with contextlib.suppress(ConnectionResetError):
                        while connection.recv(100):
                            pass

    @no_pty
    def test_pty_has_a_stable_name_and_minds_the_speed(self, tmp_path: Path) -> None:
        bench, twin = make_bench(SystemClock())
        twin.baud = 115200
        link = tmp_path / "bed"
        bench.routes["bed"] = (f"pty:{link}",)
        with serve(bench) as served:
            assert served.resource("bed") == f"ASRL{link}::INSTR"
            with serial.Serial(str(link), 9600, timeout=0.03) as port:
                port.write(b"*IDN?\n")
                assert port.read_until(b"\n") == b""
                port.baudrate = 115200
                port.timeout = 3.0
                port.write(b"*IDN?\n")
                assert port.read_until(b"\n") == b"LABQDL,BED,000001,1.0\n"
        assert not link.is_symlink()

    @pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")  # pyserial's own
    @pytest.mark.filterwarnings("ignore:setName:DeprecationWarning")  # pyserial's own
    def test_rfc2217_carries_bytes_and_settings(self) -> None:
        bench, twin = make_bench(SystemClock())
        bench.routes["bed"] = ("rfc2217",)
        with serve(bench) as served:
            port = serial.serial_for_url(served.resource("bed"), baudrate=57600, timeout=3.0)
            port.write(b'LAB "\xff\xff";LAB?\n')
            assert port.read_until(b"\n") == b'"\xff\xff"\n'
            assert [session.baud for session in twin.sessions] == [57600]
            port.close()

    def test_zmq(self) -> None:
        zmq = pytest.importorskip("zmq")
        bench, twin = make_bench(SystemClock())
        twin.reply_terminator, twin.reply_separator = b"", b"\n"
        bench.routes["bed"] = ("zmq",)
        twin.faults.add("silent", command="SIN")
        with serve(bench) as served, zmq.Context() as context:
            address = served.resource("bed").replace("zmq", "tcp")
            for request, reply in ((b"SOUR:POW 1;POW?;:FUNC?", b"1.00000000E+00\nSIN"), (b"FUNC SQU", b"")):
                with context.socket(zmq.REQ) as client:
                    client.setsockopt(zmq.LINGER, 0)
                    client.connect(address)
                    client.send(request)
                    assert client.poll(3000)
                    assert client.recv() == reply
            with context.socket(zmq.REQ) as client:
                client.setsockopt(zmq.LINGER, 0)
                client.connect(address)
                client.send(b"FUNC SIN")
                assert not client.poll(30)

    def test_everything_listens_on_loopback_only_and_ends(self) -> None:
        bench, _ = make_bench(SystemClock())
        bench.routes["bed"] = ("socket", "hislip")
        with serve(bench, control=0) as served:
            for road in served.roads["bed"]:
                assert road._socket.getsockname()[0] == "127.0.0.1"  # type: ignore[attr-defined]
            port = served.summary()["control"]
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection(("127.0.0.1", port), timeout=1.0)

    @pytest.mark.parametrize("kind", ["socket", "zmq"])
    def test_a_port_that_is_taken(self, kind: str) -> None:
        if kind == "zmq":
            pytest.importorskip("zmq")
        bench, _ = make_bench(SystemClock())
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            bench.routes["bed"] = (f"{kind}:{port}",)
            with pytest.raises(InputError, match=f"bed cannot listen on port {port}"):
                serve(bench)

    @pytest.mark.parametrize("route", ["carrier-pigeon", "socket:what", "socket:99999"])
    def test_wrong_routes(self, route: str) -> None:
        bench, _ = make_bench(SystemClock())
        bench.routes["bed"] = ("socket", route)
        with pytest.raises(InputError):
            serve(bench)


class Counter(FrameTwin):
    """Four bytes: a checksum, an opcode, two bytes of data."""

    framer = Fixed(4)

    def check(self, data: bytes) -> bool:
        return data[0] == data[1] ^ data[2] ^ data[3]

    def bad(self, data: bytes) -> bytes | None:
        return b"\xff" * 4

    def opcode(self, data: bytes) -> int:
        return data[1]

    @frame(1, 2)
    def add(self, data: bytes) -> bytes:
        value = data[2] + data[3] + data[1]
        return bytes([value ^ data[1], data[1], 0, value])


class TestFrames:
    def test_checksum_unknown_and_pieces(self) -> None:
        bench = Bench(clock=ManualClock())
        session = bench.add(Counter, "counter").connect()
        for byte in b"\x06\x01\x03\x04\x00\x01\x03\x04\x09\x09\x00\x00\x06\x01":
            session.feed(bytes([byte]))
        assert [reply.data for reply in session.replies] == [b"\x09\x01\x00\x08", b"\xff" * 4]
        assert bytes(session.buffer) == b"\x06\x01"

    def test_framers(self) -> None:
        prefixed = Prefixed(2, lambda head: 2 + head[1])
        assert [prefixed.measure(bytearray(b)) for b in (b"\x01", b"\x01\x02a", b"\x01\x02ab")] == [0, 0, 4]
        delimited = Delimited(b"\r", b"\n")
        assert [delimited.measure(bytearray(b)) for b in (b"xx", b"x\rab", b"\rab", b"\rab\nx")] == [-2, -1, 0, 4]


class TestBench:
    def test_every_shipped_twin_stands_on_a_bench_and_goes_by_its_module(self) -> None:
        for name in registry():
            bench = Bench(clock=ManualClock())
            twin = bench.add(name, "it")
            assert twin.model, name
            assert bench.find(bench.resources[0]) is twin
            assert twin_class(name).__module__ == f"labqdl_sim.twins.{name.replace('-', '_')}"

    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ({"bench": {"seed": -1}}, "bench.seed"),
            ({"bench": {"sede": 1}}, "bench.sede"),
            ({"bench": {"clock": "sun"}}, "bench.clock"),
            ({"bench": {"speed": 0}}, "bench.speed"),
            ({"bench": 3}, "bench"),
            ({"instruments": {"a": {}}}, "instruments.a.twin"),
            ({"instruments": {"a": {"twin": "nope"}}}, "instruments.a"),
            ({"instruments": {"a": {"twin": "x.y:Z"}}}, "instruments.a"),
            ({"instruments": {"a": {"twin": "thorlabs-pm100", "routes": "socket"}}}, "instruments.a.routes"),
            ({"instruments": {"a": {"twin": "thorlabs-pm100", "colour": 1}}}, "instruments.a.colour"),
            ({"instruments": {"a": {"twin": "thorlabs-pm100", "options": {"colour": 1}}}}, "instruments.a"),
            ({"instruments": {"a": {"twin": "thorlabs-pm100", "options": {"serial": 1}}}}, "instruments.a"),
            ({"faults": [{"target": "b", "effect": "late"}]}, None),
        ],
    )
    def test_mistakes_name_their_place(self, table: dict[str, Any], key: str | None) -> None:
        with pytest.raises(InputError) as caught:
            Bench.from_table(table, source="station.toml")
        assert caught.value.source == "station.toml"
        assert caught.value.key == key

    def test_clock_seed_and_faults_from_a_table(self) -> None:
        bench = Bench.from_table(
            {
                "bench": {"seed": 3, "clock": "scaled", "speed": 10},
                "instruments": {"m": {"twin": "thorlabs-pm100", "routes": ["visa:GPIB0::7::INSTR"]}},
                "faults": [{"target": "m", "effect": "late", "value": 2.0, "nth": 2}],
            }
        )
        assert isinstance(bench.clock, ScaledClock)
        assert bench.find("gpib0::7::instr") is bench["m"]
        assert bench["m"].faults.armed
        assert json.dumps(bench.resources)
        assert math.isfinite(bench.clock.monotonic())


class TestUnasked:
    def test_answers_leave_before_what_is_said_later(self) -> None:
        _, bed = make_bench()
        session = bed.connect()
        late = session.announce(b"late\n", 5.0)
        session.announce(b"soon\n", 0.5)
        session.feed(b"*OPC?\n")
        session.feed(b"SWE:FAST;*OPC?\n")
        session.feed(b"*OPC?\n")
        assert [(reply.data, reply.ready_at) for reply in session.replies] == [
            (b"1\n", 0.0), (b"soon\n", 0.5), (b"1\n", 1.0), (b"1\n", 1.0), (b"late\n", 5.0),
        ]  # fmt: skip
        session.withdraw(late)
        session.withdraw(late)
        assert len(session.replies) == 4

    def test_nothing_gets_into_an_answer_that_is_being_read(self) -> None:
        _, bed = make_bench()
        session = bed.connect()
        first = session.announce(b"abc", 1.0)
        session.read(1)
        session.announce(b"x", 0.5)
        session.withdraw(first)
        assert [reply.data for reply in session.replies] == [b"abc", b"x"]
