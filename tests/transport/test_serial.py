"""The serial road: on a pty where there is one, and over a pyserial URL everywhere."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from labqdl.errors import InputError
from labqdl.transport import ConnectionLost, Fixed, Line, Transport, TransportTimeout, road_for
from tests.transport.servers import WAIT, Server, echoing

SHORT = 0.05
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")


class Pty:
    """The far side of a serial line: `answer` is called with what came, on a thread."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        import pty
        import tty

        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.resource = f"ASRL{os.ttyname(self._slave)}::INSTR"
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 4096):
                rest += data
                while b"\r" in rest:
                    line, _, rest = rest.partition(b"\r")
                    if line == b"QUIT":
                        return
                    os.write(self._master, self._answer(line))

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            client = os.open(os.ttyname(self._slave), os.O_RDWR | os.O_NOCTTY)
            os.write(client, b"\rQUIT\r")
            self._thread.join(WAIT)
            os.close(client)
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@contextlib.contextmanager
def line_to(answer: Callable[[bytes], bytes]) -> Iterator[tuple[Pty, Transport]]:
    far = Pty(answer)
    try:
        with Transport(
            road_for(far.resource), Line(b"\r"), name="bias", resource=far.resource, timeout=WAIT
        ) as transport:
            yield far, transport
    finally:
        far.stop()


@posix
def test_queries_over_a_serial_line() -> None:
    with line_to(lambda line: line + b"\r") as (_, transport):
        for number in range(100):
            message = b"V%d?" % number
            assert transport.query(message) == message


@posix
def test_a_late_reply_over_a_serial_line_is_never_read() -> None:
    release, sent = threading.Event(), threading.Event()
    first = threading.Event()

    def late(line: bytes) -> bytes:
        if not first.is_set():
            first.set()
            assert release.wait(WAIT)
            sent.set()
            return b"99.0\r"
        return b"1.0\r"

    with line_to(late) as (_, transport):
        with pytest.raises(TransportTimeout):
            transport.query(b"V?", timeout=SHORT)
        release.set()
        assert sent.wait(WAIT)
        # The instrument is as late as it likes: what waits in the port when it is opened again is thrown away.
        assert transport.query(b"X?") == b"1.0"


@posix
def test_blocks_and_frames_over_a_serial_line() -> None:
    with line_to(lambda line: b"#3300" + bytes(range(256)) + bytes(44) + b"\r") as (_, transport):
        assert transport.query_block(b"DATA?").tobytes() == bytes(range(256)) + bytes(44)


@posix
def test_a_port_that_is_not_there() -> None:
    name = "ASRL/dev/labqdl-no-such-port::INSTR"
    transport = Transport(road_for(name), Line(), name="bias", resource=name)
    with pytest.raises(ConnectionLost, match=r"bias \(ASRL/dev/labqdl-no-such-port::INSTR\).*Check that the cable"):
        transport.open()


def test_an_unknown_setting_is_a_mistake() -> None:
    from labqdl.transport import RoadOptions

    road = road_for("loop://", RoadOptions(parity="X"))
    with pytest.raises(InputError, match="cannot be opened"):
        road.open()


def test_a_url_of_pyserial() -> None:
    # loop:// gives back what was sent, as an echoing instrument does.
    transport = Transport(road_for("loop://"), Fixed(4), name="loop", resource="loop://", timeout=WAIT)
    with transport:
        assert transport.query(b"\x00\x01\x02\x03") == b"\x00\x01\x02\x03"
        with pytest.raises(TransportTimeout, match=r"received so far: 'ab'"):
            transport.query(b"ab", timeout=SHORT)
        assert transport.query(b"1234") == b"1234"


def test_a_url_over_a_socket_that_hangs_up() -> None:
    def handler(connection: socket.socket, number: int) -> None:
        if number:
            echoing(connection, number)
        else:
            connection.recv(100)

    with Server(handler) as server:
        url = f"socket://127.0.0.1:{server.port}"
        with Transport(road_for(url), Line(), name="bias", resource=url, timeout=WAIT) as transport:
            with pytest.raises(ConnectionLost):
                transport.query(b"X?")
            assert transport.query(b"X?") == b"X?"
