"""Instruments that speak SCPI: identification, error queue, completion."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labqdl.driver.text import TextInstrument
from labqdl.instruments import Identity, NotConfirmed
from labqdl.transport import InstrumentError, ProtocolError, TransportTimeout

_ERROR = re.compile(r"\s*([+-]?\d+)\s*(?:,\s*(.*?)\s*)?")
_SLOWEST = 5e5
"""Bytes per second that every connection transfers at least."""
_MOST_ERRORS = 64
"""No instrument of the sheets keeps more errors than this; what goes on is a broken queue."""


class ScpiInstrument(TextInstrument):
    """An instrument with ``*IDN?`` and an error queue that is read after each command that sets something."""

    error_query: ClassVar[str | None] = "SYST:ERR?"
    """None: the instrument has no error queue; then every quantity should be read back."""
    no_error: ClassVar[frozenset[int]] = frozenset({0})
    """Codes with which the queue says that it is empty."""
    idn_fields: ClassVar[int] = 4
    base_commands = ("*IDN?", "SYST:ERR?", "*OPC?")

    def identity(self) -> Identity:
        """Ask ``*IDN?``."""
        reply = self.ask("*IDN?")
        parts = [part.strip() for part in reply.split(",")]
        if len(parts) < self.idn_fields:
            raise self.wrong_reply("*IDN?", reply, f"an identification of {self.idn_fields} fields")
        parts += [""] * (4 - len(parts))
        return Identity(parts[0], parts[1], parts[2], ",".join(parts[3:]))

    def tell(self, command: str, *, timeout: float | None = None) -> None:
        """Send a command, then read the error queue until it is empty."""
        with self.transport.transaction():
            self.transport.write(command.encode(self.encoding), timeout=timeout)
            self.check_errors(command)

    def force(self, command: str) -> None:
        """Send a command and leave the error queue alone: for safe states, which read back what they have done.

        An old error of somebody else's must not keep a safe state from being confirmed.
        """
        self.transport.write(command.encode(self.encoding))

    def ask_block(self, command: str, dtype: DTypeLike, count: int) -> NDArray[Any]:
        """Send a query whose reply is a block of `count` numbers; shape (count,).

        The time limit grows with the length. ProtocolError where more or fewer numbers came.
        """
        timeout = self.timeout + count * np.dtype(dtype).itemsize / _SLOWEST
        found = self.transport.query_block(command.encode(self.encoding), dtype, timeout=timeout)
        if len(found) != count:
            raise self.wrong_reply(command, f"{len(found)} numbers", f"a block of {count} numbers")
        return found

    def check_errors(self, command: str) -> None:
        """Read the error queue until it is empty; InstrumentError with the first error, and all of them in its text."""
        if self.error_query is None:
            return
        found: list[tuple[int, str]] = []
        for _ in range(_MOST_ERRORS):
            reply = self.ask(self.error_query)
            match = _ERROR.fullmatch(reply)
            if match is None:
                raise self.wrong_reply(self.error_query, reply, 'an error such as 0,"No error"')
            code, text = int(match[1]), (match[2] or "").strip('"')
            if code in self.no_error:
                break
            found.append((code, text))
        else:
            raise self.transport.complain(
                ProtocolError(f"the error queue did not end after {_MOST_ERRORS} errors"), command.encode()
            )
        if found:
            words = "; ".join([found[0][1], *(f"{code} {text}" for code, text in found[1:])])
            raise self.transport.complain(InstrumentError(words, code=found[0][0]), command.encode())

    def wait_complete(self, timeout: float) -> None:
        """Ask ``*OPC?``, which is answered when all has been done."""
        try:
            reply = self.ask("*OPC?", timeout=timeout)
        except TransportTimeout as error:
            raise NotConfirmed(f"{self.name}: the operation was not complete after {timeout:g} s") from error
        if reply.lstrip("+") != "1":
            raise self.wrong_reply("*OPC?", reply, "1")
