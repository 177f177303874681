"""A serial line over a pseudo terminal, where the system has them (not on Windows; nothing is imported there)."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from pathlib import Path
from typing import Any

from labqdl.errors import InputError
from labqdl_sim.routes.waiting import send_ready
from labqdl_sim.twin import Session, Twin


class PtyServer:
    """A pseudo terminal whose other end is the instrument; `link` is a stable name for it.

    The line speed that the client chooses reaches the instrument, so that a wrong one is as silent as on a cable.
    InputError where there are no pseudo terminals or `link` is taken by something else.
    """

    def __init__(self, twin: Twin, link: str | None = None) -> None:
        if sys.platform == "win32":
            raise InputError("there are no pseudo terminals on Windows", hint="Use the route 'rfc2217' or 'socket'.")
        import termios
        import tty

        self._termios: Any = termios
        self._speeds = {
            getattr(termios, name): int(name[1:]) for name in dir(termios) if name[:1] == "B" and name[1:].isdigit()
        }
        self.twin = twin
        self._master, self._slave = os.openpty()  # the slave stays open here: else the master fails without a client
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.link = None if link is None else Path(link)
        if self.link is not None:
            self._place()
        self._wake_read, self._wake_write = os.pipe()
        self._session: Session = self._plugged_in()
        self._thread = threading.Thread(target=self._run, name=f"{twin.name} {self.path}", daemon=True)
        self._thread.start()

    def _place(self) -> None:
        assert self.link is not None
        if self.link.is_symlink():
            self.link.unlink()
        try:
            self.link.symlink_to(self.path)
        except OSError as error:
            self._close_files(self._master, self._slave)
            raise InputError(f"{self.link} cannot be made: {error.strerror}") from None

    @property
    def resource(self) -> str:
        """Its VISA resource name."""
        return f"ASRL{self.path if self.link is None else self.link}::INSTR"

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except OSError:
            pass  # the terminal is gone
        finally:
            self._session.close()

    def _plugged_in(self) -> Session:
        """A session on a serial line, for twins that answer otherwise there; its speed is not looked at."""
        session = self.twin.connect()
        session.baud = 9600 if self.twin.baud is None else None
        return session

    def _step(self) -> bool:
        timeout = send_ready(self._session, self._send)
        if self._session.lost is not None:
            with contextlib.suppress(ConnectionRefusedError):
                self._session = self._plugged_in()  # a cable that was pulled and is plugged in again
            timeout = 0.05 if self._session.lost is not None else timeout
        readable, _, _ = select.select([self._master, self._wake_read], [], [], timeout)
        if self._wake_read in readable:
            return False
        if self._master in readable:
            if self._session.lost is not None:  # while nobody spoke: whoever speaks now finds it plugged in again
                with contextlib.suppress(ConnectionRefusedError):
                    self._session = self.twin.connect()
            data = os.read(self._master, 65536)
            self._session.baud = self._speeds.get(self._termios.tcgetattr(self._slave)[4])
            self._session.feed(data)
        return True

    def _send(self, piece: bytes | memoryview, end: bool, tag: int) -> None:
        view = memoryview(piece)
        while view:
            readable, writable, _ = select.select([self._wake_read], [self._master], [])
            if readable:
                return  # the line ends; `_step` sees it too
            if writable:
                view = view[os.write(self._master, view[:1024]) :]

    def close(self) -> None:
        """End the line and take its name away."""
        os.write(self._wake_write, b"x")
        self._thread.join(5.0)
        if self.link is not None and self.link.is_symlink():
            self.link.unlink()
        self._close_files(self._master, self._slave, self._wake_read, self._wake_write)

    def _close_files(self, *files: int) -> None:
        for each in files:
            with contextlib.suppress(OSError):
                os.close(each)
