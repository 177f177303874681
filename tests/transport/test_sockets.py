"""Real sockets on loopback: threads, late replies, broken connections."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.transport import ConnectionLost, ProtocolError, TransportTimeout, gather
from tests.transport.servers import WAIT, Server, echoing, lines, reset, transport_to

SHORT = 0.05


def test_two_threads_and_no_wrong_reply() -> None:
    with Server(echoing) as server, transport_to(server) as transport:

        def hammer(name: bytes) -> int:
            wrong = 0
            for number in range(2000):
                message = b"%b%d" % (name, number)
                wrong += transport.query(message) != message
            return wrong

        assert gather(lambda: hammer(b"A"), lambda: hammer(b"B")) == (0, 0)
        assert server.connections == 1


def test_a_transaction_is_not_interrupted() -> None:
    order: list[bytes] = []

    def note(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            order.append(line)
            connection.sendall(line + b"\n")

    with Server(note) as server, transport_to(server) as transport:
        inside, asked = threading.Event(), threading.Event()

        def other() -> None:
            assert inside.wait(WAIT)
            asked.set()
            transport.query(b"OTHER")

        def together() -> None:
            with transport.transaction():
                transport.query(b"ONE")
                inside.set()
                assert asked.wait(WAIT)
                with transport.transaction():
                    transport.query(b"TWO")
                transport.query(b"THREE")

        gather(together, other)
    assert order == [b"ONE", b"TWO", b"THREE", b"OTHER"]


def test_a_late_reply_is_never_read() -> None:
    release, sent = threading.Event(), threading.Event()

    def late(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            if number == 0:
                assert release.wait(WAIT)
                try:
                    connection.sendall(b"99.0\n")
                finally:
                    sent.set()
            else:
                connection.sendall({b"*IDN?": b"laser\n", b"POW?": b"1.0\n"}[line])

    with Server(late) as server, transport_to(server) as transport:
        seen: list[bytes] = []
        transport.on_reopen = lambda: seen.append(transport.query(b"*IDN?"))
        with pytest.raises(TransportTimeout, match="nothing received"):
            transport.query(b"POW?", timeout=SHORT)
        release.set()
        assert sent.wait(WAIT)
        assert transport.query(b"POW?") == b"1.0"
        assert seen == [b"laser"]


def test_a_second_reply_that_comes_later_is_noticed() -> None:
    twice = threading.Event()

    def doubled(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            connection.sendall(line + b"\n")
            if number == 0:
                connection.sendall(line + b"\n")
                twice.set()

    with Server(doubled) as server, transport_to(server) as transport:
        assert transport.query(b"A") == b"A"
        assert twice.wait(WAIT)
        with pytest.raises(ProtocolError, match="nobody asked for"):
            transport.query(b"B")
        assert transport.query(b"C") == b"C"


def begin(connection: socket.socket, part: bytes, end: str) -> None:
    next(lines(connection))
    if part:
        connection.sendall(part)
    if end == "RST":
        reset(connection)


@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize("part", [b"", b"1.2", b"#9000001000abc"])
def test_a_broken_connection_is_told_at_once(end: str, part: bytes) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        if number:
            echoing(connection, number)
        else:
            begin(connection, part, end)

    with Server(handler) as server, transport_to(server) as transport:
        began = time.monotonic()
        with pytest.raises(ConnectionLost) as caught:
            transport.query(b"POW?")
        assert time.monotonic() - began < WAIT / 2
        assert caught.value.command == b"POW?"
        assert caught.value.received in (b"", part)  # RST may throw away what came before it
        assert transport.query(b"X?") == b"X?"
        assert server.connections == 2


def test_a_connection_that_broke_while_idle_is_told_before_anything_is_sent() -> None:
    seen: list[bytes] = []
    hung_up = threading.Event()

    def once(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            seen.append(line)
            connection.sendall(b"1\n")
            if number == 0:
                connection.shutdown(socket.SHUT_RDWR)
                hung_up.set()
                return

    with Server(once) as server, transport_to(server) as transport:
        transport.query(b"X?")
        assert hung_up.wait(WAIT)
        with pytest.raises(ConnectionLost, match="closed the connection"):
            transport.write(b"POW 3")
        assert transport.query(b"Y?") == b"1"
    assert seen == [b"X?", b"Y?"]


def test_nobody_listens() -> None:
    with Server(echoing) as server:
        transport = transport_to(server)
    with pytest.raises(ConnectionLost, match=r"laser \(TCPIP0::127.0.0.1::\d+::SOCKET\).*refused.*Nothing listens"):
        transport.open()
    assert not transport.is_open


def test_who_vanished_is_refused_when_it_is_wanted_again() -> None:
    server = Server(echoing)
    with transport_to(server) as transport:
        transport.query(b"X?")
        server.stop()
        with pytest.raises(ConnectionLost):
            transport.query(b"X?")
        with pytest.raises(ConnectionLost, match="refused"):
            transport.query(b"X?")
        assert transport.is_open
        assert transport.is_dirty


def test_a_reply_without_terminator_shows_what_came() -> None:
    def handler(connection: socket.socket, number: int) -> None:
        for _ in lines(connection):
            connection.sendall(b"1.25\r")

    says = r"received so far: '1\.25\\r'.*check the terminator"
    with Server(handler) as server, transport_to(server) as transport, pytest.raises(TransportTimeout, match=says):
        transport.query(b"POW?", timeout=SHORT)


def test_dripping_bytes_do_not_stretch_the_deadline() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket, number: int) -> None:
        next(lines(connection))
        while not stop.wait(SHORT / 5):
            connection.sendall(b"x")

    with Server(drip) as server, transport_to(server) as transport:
        began = time.monotonic()
        with pytest.raises(TransportTimeout):
            transport.query(b"X?", timeout=SHORT)
        assert time.monotonic() - began < 20 * SHORT
        stop.set()


def test_an_instrument_that_takes_no_bytes() -> None:
    stop = threading.Event()

    def deaf(connection: socket.socket, number: int) -> None:
        stop.wait(WAIT)

    with Server(deaf) as server, transport_to(server) as transport:
        with pytest.raises(TransportTimeout):
            transport.write_block(b"DATA ", np.zeros(1 << 25, np.uint8), timeout=SHORT)
        assert transport.is_dirty
        stop.set()


def test_a_large_block_there_and_back() -> None:
    payload = np.random.default_rng(1).integers(0, 256, 3_000_000, dtype=np.uint8)
    received: list[bytes] = []

    def memory(connection: socket.socket, number: int) -> None:
        data = bytearray()
        wanted = len(b"DATA #73000000") + len(payload) + 1
        while len(data) < wanted:
            data += connection.recv(min(1 << 20, wanted - len(data)))
        received.append(bytes(data))
        next(lines(connection))
        connection.sendall(b"#73000000" + payload.tobytes() + b"\n")
        echoing(connection, number)

    with Server(memory) as server, transport_to(server) as transport:
        transport.write_block(b"DATA ", payload)
        assert np.array_equal(transport.query_block(b"DATA?"), payload)
        assert received == [b"DATA #73000000" + payload.tobytes() + b"\n"]
        assert transport.query(b"X?") == b"X?"


def test_a_manual_clock_does_not_stop_a_real_wire() -> None:
    def deaf(connection: socket.socket, number: int) -> None:
        for _ in lines(connection):
            pass

    with (
        Server(deaf) as server,
        transport_to(server, clock=ManualClock()) as transport,
        pytest.raises(TransportTimeout),
    ):
        transport.query(b"X?", timeout=SHORT)


def test_an_abandoned_exchange_ends_at_once_and_the_next_connects_again() -> None:
    asked = threading.Event()

    def mute_once(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            if line == b"MUTE":
                asked.set()
            else:
                connection.sendall(line + b"\n")

    with Server(mute_once) as server, transport_to(server) as transport:
        transport.query(b"X?")

        def hang() -> Exception | None:
            try:
                transport.query(b"MUTE")
            except ConnectionLost as error:
                return error
            return None

        def abandon() -> None:
            assert asked.wait(WAIT)
            transport.abandon()

        began = time.monotonic()
        assert isinstance(gather(hang, abandon)[0], ConnectionLost)
        assert time.monotonic() - began < WAIT / 2
        transport.abandon()  # while nobody waits
        assert transport.query(b"Y?") == b"Y?"
        assert server.connections == 2


def test_opening_sends_nothing() -> None:
    seen: list[bytes] = []

    def handler(connection: socket.socket, number: int) -> None:
        seen.append(connection.recv(100))

    with Server(handler) as server:
        with transport_to(server):
            pass
        server.stop()
    assert seen in ([], [b""])


def test_time_limits_of_python_serve_where_the_kernel_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labqdl.transport.roads.socket._kernel_limits", lambda connection, seconds: False)

    def handler(connection: socket.socket, number: int) -> None:
        for line in lines(connection):
            if line == b"X?":
                connection.sendall(b"1\n")

    with Server(handler) as server, transport_to(server) as transport:
        assert transport.query(b"X?") == b"1"
        with pytest.raises(TransportTimeout):
            transport.query(b"Y?", timeout=SHORT)
        assert transport.query(b"X?") == b"1"
