"""What can go wrong on the way to an instrument, in four words that a sequence can act on.

`TransportTimeout`: no whole reply in time. `ConnectionLost`: nobody there, or no longer. `ProtocolError`: bytes came
that are no reply. `InstrumentError`: the bytes are fine and the instrument itself reports an error. Each names the
instrument, its resource and the command, carries the recent traffic, and says what to do.

What PyVISA, pyserial, ZeroMQ and the operating system raise is turned into these in one place (`translated`).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from labqdl.errors import LabqdlError
from labqdl.transport.traffic import SHOWN_BYTES, TrafficEntry, readable

SHOWN_ENTRIES = 6
"""Entries of the traffic that a message ends with."""


class TransportError(LabqdlError):
    """An exchange with an instrument failed.

    Parameters
    ----------
    problem:
        What happened, in one clause.
    hint:
        What to do about it, as a sentence.

    Attributes
    ----------
    instrument, resource:
        Name of the instrument, and how it is reached. These and what follows is filled in by `about`, as far as it is
        known.
    command:
        What was being sent or asked, without terminator; None where there was none.
    received:
        The bytes of an unfinished reply, as far as they came; None where that says nothing.
    traffic:
        Recent traffic, oldest first.
    """

    exit_code = 5

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.problem = problem
        self.hint = hint
        self.instrument: str | None = None
        self.resource: str | None = None
        self.command: bytes | None = None
        self.received: bytes | None = None
        self.traffic: tuple[TrafficEntry, ...] = ()
        super().__init__(problem)

    def about(
        self,
        *,
        instrument: str | None = None,
        resource: str | None = None,
        command: bytes | None = None,
        received: bytes | None = None,
        hint: str | None = None,
        traffic: Sequence[TrafficEntry] = (),
    ) -> Self:
        """Fill in what is not known yet; what is known stays. Returns the same error."""
        self.instrument = self.instrument if self.instrument is not None else instrument
        self.resource = self.resource if self.resource is not None else resource
        self.command = self.command if self.command is not None else command
        self.received = self.received if self.received is not None else received
        self.hint = self.hint if self.hint is not None else hint
        self.traffic = self.traffic or tuple(traffic)
        return self

    def __str__(self) -> str:
        place = self.instrument or ""
        if self.resource is not None:
            place = f"{place} ({self.resource})" if place not in ("", self.resource) else self.resource
        text = f"{place}: {self.problem}" if place else self.problem
        if self.command is not None:
            text += f"; command: '{readable(self.command)}'"
        if self.received is not None:
            more = f"... ({len(self.received)} bytes)" if len(self.received) > SHOWN_BYTES else ""
            text += f"; received so far: '{readable(self.received)}'{more}" if self.received else "; nothing received"
        if self.hint:
            text += f". {self.hint}"
        if self.traffic:
            text += " | recent traffic: " + " | ".join(str(entry) for entry in self.traffic[-SHOWN_ENTRIES:])
        return text


class TransportTimeout(TransportError):
    """No whole reply came before the deadline. A set may or may not have taken effect: it is not repeated."""


class ConnectionLost(TransportError):
    """Nobody answers at the resource, or the connection broke."""


class ProtocolError(TransportError):
    """Bytes came that are no reply: wrong frame, wrong length, garbled, or unasked for."""


class InstrumentError(TransportError):
    """The instrument's own report of an error (its error queue, or its status byte); the connection is in order.

    Attributes
    ----------
    code:
        Its number, as in the manual (SCPI: -222); None where it has none.
    text:
        Its words.
    """

    def __init__(self, text: str, *, code: int | None = None, hint: str | None = None) -> None:
        self.code = code
        self.text = text
        number = "" if code is None else f" {code}"
        super().__init__(f"the instrument reports error{number}: {text}", hint=hint)


_VISA_TIMEOUTS = ("VI_ERROR_TMO",)
_VISA_LOST = (
    "VI_ERROR_CONN_LOST",
    "VI_ERROR_RSRC_NFOUND",
    "VI_ERROR_INV_OBJECT",
    "VI_ERROR_IO",
    "VI_ERROR_NLISTENERS",
    "VI_ERROR_RSRC_BUSY",
    "VI_ERROR_SYSTEM_ERROR",
)
_LOST_ERRNO = {errno.ECONNRESET, errno.EPIPE, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF, errno.ENOTCONN}


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what libraries and the operating system raise while `action` ("opening", "reading", ...) into ours."""
    try:
        yield
    except LabqdlError:
        raise
    except Exception as error:
        found = translation(error, action)
        if found is None:
            raise
        raise found from error


def translation(error: Exception, action: str) -> TransportError | None:
    """The error of ours that a foreign one means; None for what is a mistake of a programmer."""
    visa = sys.modules.get("pyvisa.errors")
    if visa is not None and isinstance(error, visa.VisaIOError):
        name = str(error.abbreviation)
        if name in _VISA_TIMEOUTS:
            return TransportTimeout(f"no reply in time while {action}")
        kind = ConnectionLost if name in _VISA_LOST else ProtocolError
        return kind(f"VISA says {name} while {action}: {str(error.description).rstrip('.')}")
    if isinstance(error, UnicodeError):
        return ProtocolError(f"the bytes are no text: {error}")
    if isinstance(error, ConnectionRefusedError):
        return ConnectionLost(
            f"the connection was refused while {action}",
            hint="Nothing listens there: check address and port, that the instrument is on, and that no other "
            "program holds its only connection",
        )
    if isinstance(error, TimeoutError):
        return TransportTimeout(f"no reply in time while {action}")
    serial = sys.modules.get("serial")
    if serial is not None and isinstance(error, serial.SerialTimeoutException):
        return TransportTimeout(f"the port took no bytes in time while {action}")
    if type(error).__module__ == "termios":  # which derives from nothing
        return ConnectionLost(f"the port refuses while {action}: {error}", hint="Check the settings of the port")
    if isinstance(error, OSError):  # pyserial's SerialException is one, too
        return ConnectionLost(f"{error.strerror or error} while {action}")
    if isinstance(error, (RuntimeError, EOFError)) and _from_visa(error):
        return ConnectionLost(f"the VISA library gave up while {action}: {error}")
    zmq = sys.modules.get("zmq")
    if zmq is not None and isinstance(error, zmq.ZMQError):
        return ConnectionLost(f"ZeroMQ says '{error}' while {action}")
    if type(error) is Exception or _from_visa(error):  # pyvisa-py raises bare exceptions
        words = " ".join(str(error).split())
        package = "pyusb" if "PyUSB" in words else None
        return ConnectionLost(
            f"{words or type(error).__name__} while {action}",
            hint=package and f"'pip install {package}', and its library libusb, or a vendor's VISA library",
        )
    return None


def _from_visa(error: BaseException) -> bool:
    """Whether the innermost frame belongs to a VISA library: its bare errors mean the line, not our code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("pyvisa")
