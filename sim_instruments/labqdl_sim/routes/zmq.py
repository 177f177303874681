"""Over the wire: ZeroMQ request and reply, one message a command (needs the extra `zmq`)."""

from __future__ import annotations

import threading
from typing import Any

from labqdl.errors import InputError
from labqdl_sim.routes.tcp import LOOPBACK, cannot_listen
from labqdl_sim.routes.waiting import send_ready
from labqdl_sim.twin import Session, Twin


class ZmqServer:
    """Answers requests of REQ sockets. A ROUTER inside, so that a client that gave up can come back."""

    def __init__(self, twin: Twin, port: int = 0) -> None:
        try:
            import zmq
        except ImportError:
            raise InputError("ZeroMQ is not installed", hint='pip install "labqdl[zmq]"') from None
        self.twin = twin
        self._zmq = zmq
        self._context = zmq.Context()
        self._socket: Any = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(f"tcp://{LOOPBACK}:{port or '*'}")
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            raise cannot_listen(twin.name, port, OSError(error.errno, error.strerror)) from None
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._sessions: dict[bytes, Session] = {}
        address = f"inproc://stop-{id(self)}"
        self._stop = self._context.socket(zmq.PAIR)
        self._stop.bind(address)
        self._stopped = self._context.socket(zmq.PAIR)
        self._stopped.connect(address)
        self._thread = threading.Thread(target=self._run, name=f"{twin.name} zmq {self.port}", daemon=True)
        self._thread.start()

    @property
    def resource(self) -> str:
        """Its resource name."""
        return f"zmq://{LOOPBACK}:{self.port}"

    def _run(self) -> None:
        poller = self._zmq.Poller()
        poller.register(self._socket, self._zmq.POLLIN)
        poller.register(self._stopped, self._zmq.POLLIN)
        while True:
            waits = [wait for client in self._sessions if (wait := self._send_ready(client)) is not None]
            events = dict(poller.poll(int(min(waits) * 1000) + 1 if waits else None))
            if self._stopped in events:
                break
            if self._socket in events:
                frames = self._socket.recv_multipart()
                if len(frames) == 3:
                    self._receive(frames[0], frames[2])
        for session in self._sessions.values():
            session.close()
        self._socket.close()
        self._stopped.close()

    def _receive(self, client: bytes, request: bytes) -> None:
        session = self._sessions.get(client)
        if session is None or session.lost is not None:
            try:
                session = self._sessions[client] = self.twin.connect()
                session.answers = True
            except ConnectionRefusedError:
                return
        session.feed(request, end=True)

    def _send_ready(self, client: bytes) -> float | None:
        def send(piece: bytes | memoryview, end: bool, tag: int) -> None:
            self._socket.send_multipart([client, b"", bytes(piece)])

        return send_ready(self._sessions[client], send)

    def close(self) -> None:
        """Stop answering."""
        self._stop.send(b"")
        self._thread.join(5.0)
        self._stop.close()
        self._context.term()
