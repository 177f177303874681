"""An instrument on loopback, in a process of its own: `python -m benchmarks.wire_server` prints its port.

Answers `*IDN?`, `POW?` by a number, `SLOW?` by one after 2 ms, `CURV?` by a block of 4 MB; ends when its standard input
does.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from labqdl.clock import SystemClock

NUMBER = b"1.234567E-03\n"
IDENTITY = b"labqdl,bench,0,1\n"
BLOCK_BYTES = 4_000_000
SLOW_SECONDS = 2e-3


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    clock = SystemClock()
    digits = str(BLOCK_BYTES).encode()
    block = b"#%d%b" % (len(digits), digits) + bytes(BLOCK_BYTES) + b"\n"
    with connection:
        while data := connection.recv(4096):
            for command in data.splitlines():
                if command == b"CURV?":
                    connection.sendall(block)
                    continue
                if command == b"SLOW?":
                    clock.sleep(SLOW_SECONDS)
                connection.sendall(IDENTITY if command == b"*IDN?" else NUMBER)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
