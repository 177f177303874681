"""Names under which instruments are reached, and the best road to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labqdl.clock import Clock
from labqdl.transport.road import Road

Kind = Literal["socket", "serial", "visa", "zmq"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource name, understood.

    Attributes
    ----------
    text:
        The name as it was given.
    kind:
        Which road it takes where nothing else is wished.
    host, port:
        For sockets and ZeroMQ.
    address:
        For serial ports: what pyserial opens (device name or URL). For VISA: the name for the VISA library.
    messages:
        Whether the name promises messages with an END (VISA INSTR), not a stream.
    """

    text: str
    kind: Kind
    host: str = ""
    port: int = 0
    address: str = ""
    messages: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadOptions:
    """What a driver, or a station file, says about the way besides the name.

    Attributes
    ----------
    connect_timeout:
        Seconds that opening may take.
    baudrate, bytesize, parity, stopbits, rtscts, xonxoff:
        Of a serial port, in pyserial's words.
    visa_library:
        A PyVISA library object, or what `pyvisa.ResourceManager` takes ("@py", "@ivi", "station.toml@labqdl"). None:
        our own sockets and pyserial where they serve, PyVISA's default library for the rest. Given: all names go
        through it.
    """

    connect_timeout: float = 5.0
    baudrate: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: float = 1
    rtscts: bool = False
    xonxoff: bool = False
    visa_library: Any = None


def parse(name: str) -> Resource:
    """Understand a VISA resource name, a serial device or pyserial URL, `labqdl://NAME` or `zmq://HOST:PORT`.

    InputError with what would have been right, and the nearest right name.
    """
    raise NotImplementedError


def road_for(name: str | Resource, options: RoadOptions | None = None, *, clock: Clock | None = None) -> Road:
    """The best road to a resource; opens nothing. `clock` is for deadlines inside this process (visa_library)."""
    raise NotImplementedError
