"""The ZeroMQ road."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labqdl.errors import InputError
from labqdl.transport import (
    ConnectionLost,
    Framing,
    InstrumentError,
    Line,
    Transport,
    TransportTimeout,
    Whole,
    road_for,
)
from tests.transport.servers import WAIT, Server, echoing

SHORT = 0.1


@contextlib.contextmanager
def replying(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A ROUTER on loopback, which, unlike REP, may leave a request without reply."""
    zmq: Any = pytest.importorskip("zmq")
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if not router.poll(20):
                continue
            who, empty, message = router.recv_multipart()
            reply = answer(message)
            if reply is not None:
                router.send_multipart([who, empty, reply])
        router.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"zmq://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join(WAIT)
        context.destroy(linger=0)


def opened(resource: str, framing: Framing | None = None) -> Transport:
    transport = Transport(road_for(resource), framing or Line(), name="counter", resource=resource, timeout=WAIT)
    transport.open()
    return transport


def test_queries_and_a_late_reply() -> None:
    release = threading.Event()

    def answer(message: bytes) -> bytes:
        if message == b"SLOW?\n":
            assert release.wait(WAIT)
            return b"99\n"
        return message

    with replying(answer) as resource, opened(resource) as transport:
        assert [transport.query(b"A%d" % n) for n in range(20)] == [b"A%d" % n for n in range(20)]
        with pytest.raises(TransportTimeout):
            transport.query(b"SLOW?", timeout=SHORT)
        release.set()
        assert transport.query(b"B") == b"B"


def test_a_request_without_reply_does_not_jam_the_next() -> None:
    with replying(lambda message: None if message == b"MUTE\n" else message) as resource, opened(resource) as transport:
        for _ in range(3):
            with pytest.raises(TransportTimeout):
                transport.query(b"MUTE", timeout=SHORT)
            assert transport.query(b"A") == b"A"


def test_every_message_is_answered_and_an_answer_may_be_empty() -> None:
    answers = {b"SET 1": b"", b"SET 2": b"", b"SET 99": b"SCPI_ERR_RANGE", b"X?": b"7"}
    seen: list[bytes] = []

    def answer(message: bytes) -> bytes:
        seen.append(message)
        return answers[message]

    with replying(answer) as resource, opened(resource, Whole()) as transport:
        transport.write(b"SET 1")
        transport.write(b"SET 2")
        assert transport.query(b"X?") == b"7"
        with pytest.raises(InstrumentError, match="SCPI_ERR_RANGE"):
            transport.write(b"SET 99")
        assert not transport.is_dirty
        assert transport.query(b"SET 1") == b""
    assert seen == [b"SET 1", b"SET 2", b"X?", b"SET 99", b"SET 1"]


def test_nobody_listens() -> None:
    pytest.importorskip("zmq")
    with Server(echoing) as server:
        resource = f"zmq://127.0.0.1:{server.port}"
    with pytest.raises(ConnectionLost, match="refused"):
        opened(resource)


def test_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(InputError, match=r'pip install "labqdl\[zmq\]"'):
        road_for("zmq://127.0.0.1:5555").open()
