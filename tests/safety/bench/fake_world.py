"""Instruments with a lamp, in a process of their own, and the truth about which lamps shine.

`python fake_world.py '{"laser": "good", ...}'` prints one line of JSON with the ports, the control port under "",
and serves until its standard input ends. Kinds of instruments: "good"; "single" (one session; others are refused
until it ends); "stubborn" (says yes and stays on); "deaf" (answers nothing once its lamp is on);
"slow" (a second to go dark), "moment" (less).
Control: "state" gives {"name": [lit, time of the last change on the system's monotonic clock]}; "gone NAME" closes it;
An instrument of any kind reads the light of all with "POW?".
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from typing import Any

LIT: dict[str, tuple[bool, float]] = {}
LISTENERS: dict[str, socket.socket] = {}
SESSIONS: dict[str, list[socket.socket]] = {}
LOCK = threading.Lock()


def switch(name: str, lit: bool) -> None:
    with LOCK:
        if LIT[name][0] != lit:
            LIT[name] = (lit, time.monotonic())


def answer(name: str, kind: str, line: str) -> str | None:
    if kind == "deaf" and LIT[name][0]:
        return None
    if line == "*IDN?":
        return f"Fake,Lamp,{name},1"
    if line == "SYST:ERR?":
        return '0,"No error"'
    if line == "OUTP ON":
        switch(name, True)
    elif line == "OUTP OFF":
        threading.Event().wait({"slow": 1.0, "moment": 0.3}.get(kind, 0.0))
        if kind != "stubborn":
            switch(name, False)
    elif line == "OUTP?":
        return "1" if LIT[name][0] else "0"
    elif line == "POW?":
        return "1.0" if any(lit for lit, _ in LIT.values()) else "0.0"
    return None


def session(name: str, kind: str, connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
        for line in lines:
            reply = answer(name, kind, line.decode().strip())
            if reply is not None:
                connection.sendall(reply.encode() + b"\n")
    with LOCK, contextlib.suppress(ValueError):
        SESSIONS[name].remove(connection)


def serve(name: str, kind: str, listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with LOCK:
                busy = kind == "single" and bool(SESSIONS[name])
                if not busy:
                    SESSIONS[name].append(connection)
            if busy:
                connection.close()
            else:
                threading.Thread(target=session, args=(name, kind, connection), daemon=True).start()


def control(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
        for line in lines:
            command, _, name = line.decode().strip().partition(" ")
            reply: Any = "ok"
            if command == "state":
                with LOCK:
                    reply = dict(LIT)
            elif command == "gone":
                with contextlib.suppress(OSError):
                    LISTENERS[name].shutdown(socket.SHUT_RDWR)
                LISTENERS[name].close()
                with LOCK:
                    gone = list(SESSIONS[name])
                for one in gone:
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
            connection.sendall(json.dumps(reply).encode() + b"\n")


def main() -> None:
    ports = {}
    for name, kind in json.loads(sys.argv[1]).items():
        LIT[name] = (False, 0.0)
        SESSIONS[name] = []
        LISTENERS[name] = listener = socket.create_server(("127.0.0.1", 0))
        ports[name] = listener.getsockname()[1]
        threading.Thread(target=serve, args=(name, kind, listener), daemon=True).start()
    master = socket.create_server(("127.0.0.1", 0))
    ports[""] = master.getsockname()[1]
    threading.Thread(target=lambda: control(master.accept()[0]), daemon=True).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
