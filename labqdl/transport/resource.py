"""Names under which instruments are reached, and the best road to each."""

from __future__ import annotations

import difflib
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

from labqdl.clock import Clock
from labqdl.errors import InputError
from labqdl.transport.road import Road

Kind = Literal["socket", "serial", "visa", "zmq"]

EXPECTED = (
    "TCPIP0::10.0.0.5::5025::SOCKET, TCPIP0::10.0.0.5::hislip0::INSTR, TCPIP0::10.0.0.5::INSTR, "
    "ASRL/dev/ttyUSB0::INSTR, ASRLCOM3::INSTR, USB0::0x1313::0x8078::P0001234::INSTR, GPIB0::7::INSTR or zmq://10.0.0.5:5555"
)
_INTERFACES = ("TCPIP", "ASRL", "USB", "GPIB", "PXI", "VXI", "PRLGX-TCPIP", "PRLGX-ASRL")
_CLASSES = ("SOCKET", "INSTR", "RAW", "INTFC", "BACKPLANE", "MEMACC")
_SERIAL_SCHEMES = ("socket", "rfc2217", "loop", "spy", "hwgrep", "alt", "cp2110", "labqdl")
_BYTES = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]+")


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
        For serial ports: what pyserial opens (device name or URL).
    visa:
        The name for a VISA library; empty where the name is none of VISA's.
    messages:
        Whether the name promises messages with an END (VISA INSTR), not a stream.
    """

    text: str
    kind: Kind
    host: str = ""
    port: int = 0
    address: str = ""
    visa: str = ""
    messages: bool = False

    @property
    def in_process(self) -> bool:
        """Whether the name is of a simulated instrument inside this process, on whose clock deadlines may be."""
        return self.kind == "serial" and self.address.startswith("labqdl://")


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
        our own sockets and pyserial where they serve, PyVISA's default library for the rest. Given: all VISA names go
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
    text = name.strip()
    if not text:
        raise InputError("the resource is empty", expected=EXPECTED)
    scheme, separator, rest = text.partition("://")
    if separator and "::" not in scheme and not scheme.upper().startswith("ASRL"):
        return _url(text, scheme.lower(), rest)
    if "::" not in text and not text.upper().startswith("ASRL"):
        return _device(text)
    return _visa(text)


def _url(text: str, scheme: str, rest: str) -> Resource:
    if scheme == "zmq":
        host, port = _host_and_port(text, rest)
        return Resource(text, "zmq", host=host, port=port, messages=True)
    if scheme in _SERIAL_SCHEMES:
        if not rest and scheme != "loop":
            raise InputError(f"the resource '{text}' names nothing after '://'", expected=f"{scheme}://NAME")
        return Resource(text, "serial", address=f"{scheme}://{rest}")
    if scheme == "tcp":
        host, port = _host_and_port(text, rest)
        raise _wrong(text, "tcp:// is not used here", f"TCPIP0::{host}::{port}::SOCKET")
    known = ("zmq", *_SERIAL_SCHEMES)
    nearest = difflib.get_close_matches(scheme, known, 1)
    suggestion = f"{nearest[0]}://{rest}" if nearest else None
    raise _wrong(text, f"nothing is known about '{scheme}://'", suggestion)


def _device(text: str) -> Resource:
    """A bare serial device, or a name that lost its colons."""
    if re.fullmatch(r"COM[0-9]+", text, re.IGNORECASE):
        return Resource(text, "serial", address=text.upper())
    if text.startswith(("/dev/", "\\\\.\\")):
        return Resource(text, "serial", address=text)
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):([0-9]+)", text)
    if match:
        raise _wrong(text, "this is an address and a port", f"TCPIP0::{match[1]}::{match[2]}::SOCKET")
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        raise _wrong(text, "this is an address only", f"TCPIP0::{text}::INSTR")
    if re.fullmatch(r"[A-Za-z-]+[0-9]*:[^:].*", text):
        raise _wrong(text, "the parts of a name are joined by two colons", text.replace(":", "::"))
    raise _wrong(text, "this is no resource name", None)


def _visa(text: str) -> Resource:
    head, *parts = _split(text)
    match = re.fullmatch(r"(TCPIP|USB|GPIB|PXI|VXI|PRLGX-TCPIP|PRLGX-ASRL)([0-9]*)", head, re.IGNORECASE)
    if head.upper().startswith("ASRL"):
        return _serial(text, head[4:], parts)
    if match is None:
        word = re.sub(r"[0-9]+$", "", head).upper()
        nearest = difflib.get_close_matches(word, _INTERFACES, 1, 0.5)
        suggestion = text.replace(head, nearest[0] + head[len(word) :], 1) if nearest else None
        raise _wrong(text, f"'{head}' is no interface", suggestion)
    interface = match[1].upper()
    ending = parts[-1].upper() if parts else ""
    if ending not in _CLASSES:
        nearest = difflib.get_close_matches(ending, _CLASSES, 1, 0.6)
        if nearest:
            raise _wrong(text, f"'{parts[-1]}' is no kind of resource", "::".join([head, *parts[:-1], nearest[0]]))
    if interface == "TCPIP":
        return _tcpip(text, head, parts, ending)
    if not parts or "" in parts:
        raise _wrong(text, "a part is missing", None)
    if interface == "GPIB":
        address = parts[0]
        if ending != "INTFC" and not (address.isdigit() and 0 <= int(address) <= 30):
            raise _wrong(text, f"the GPIB address '{address}' is not a number from 0 to 30", None)
    if interface == "USB":
        numbers = parts[:-1] if ending in _CLASSES else parts
        if len(numbers) not in (3, 4) or not all(_BYTES.fullmatch(number) for number in numbers[:2]):
            raise _wrong(
                text,
                "a USB name has the numbers of maker and model and the serial number",
                None,
                expected="USB0::0x1313::0x8078::P0001234::INSTR",
            )
    return Resource(text, "visa", visa=text if ending in _CLASSES else f"{text}::INSTR", messages=True)


def _tcpip(text: str, head: str, parts: list[str], ending: str) -> Resource:
    if not parts or not parts[0]:
        raise _wrong(text, "the address is missing", None)
    host = parts[0]
    if ending == "SOCKET":
        if len(parts) != 3:
            raise _wrong(text, "a socket needs an address and a port", f"{head}::{host}::5025::SOCKET")
        return Resource(
            text, "socket", host=host.strip("[]"), port=_port(text, parts[1]), visa="::".join([head, *parts])
        )
    if len(parts) == 2 and parts[1].isdigit():
        raise _wrong(text, "a port alone does not say how to talk", f"{text}::SOCKET")
    if len(parts) > (3 if ending == "INSTR" else 2):
        raise _wrong(text, "there are too many parts", None)
    if ending == "INSTR" and len(parts) == 3 and parts[1].isdigit():
        raise _wrong(text, "a port belongs to a socket", f"{head}::{host}::{parts[1]}::SOCKET")
    return Resource(text, "visa", visa=text if ending == "INSTR" else f"{text}::INSTR", messages=True)


def _serial(text: str, device: str, parts: list[str]) -> Resource:
    if parts and parts[-1].upper() == "INSTR":
        parts = parts[:-1]
    elif parts:
        raise _wrong(text, f"'{parts[-1]}' is no kind of serial resource", f"ASRL{device}::INSTR")
    device = "::".join([device, *parts])
    if not device:
        raise _wrong(text, "the port is missing", "ASRLCOM3::INSTR' or 'ASRL/dev/ttyUSB0::INSTR")
    visa = f"ASRL{device}::INSTR"
    if device.isdigit():
        # VISA counts ports from 1.
        device = f"COM{device}" if sys.platform == "win32" else f"/dev/ttyS{max(int(device) - 1, 0)}"
    return Resource(text, "serial", address=device, visa=visa)


def _split(text: str) -> list[str]:
    """The parts between double colons; an IPv6 address in brackets stays whole."""
    return re.split(r"::(?![^\[]*\])", text)


def _host_and_port(text: str, rest: str) -> tuple[str, int]:
    host, separator, port = rest.rstrip("/").rpartition(":")
    if not separator or not host:
        raise _wrong(text, "address or port is missing", f"{text.partition('://')[0]}://{rest or '10.0.0.5'}:5555")
    return host.strip("[]"), _port(text, port)


def _port(text: str, port: str) -> int:
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        raise _wrong(text, f"the port '{port}' is not a number from 1 to 65535", None)
    return int(port)


def _wrong(text: str, problem: str, suggestion: str | None, expected: str | None = None) -> InputError:
    hint = None if suggestion is None else f"Did you mean '{suggestion}'?"
    if expected is None and suggestion is None:
        expected = f"a name such as {EXPECTED}"
    return InputError(f"the resource '{text}': {problem}", expected=expected, hint=hint)


def road_for(name: str | Resource, options: RoadOptions | None = None, *, clock: Clock | None = None) -> Road:
    """The best road to a resource; opens nothing, and loads no foreign package.

    `clock` is for deadlines of simulated instruments inside this process (`visa_library`, `labqdl://`); what comes
    from outside comes in real seconds.
    """
    options = RoadOptions() if options is None else options
    resource = parse(name) if isinstance(name, str) else name
    if resource.kind == "visa" or (options.visa_library is not None and resource.visa):
        from labqdl.transport.roads.visa import VisaRoad

        return VisaRoad(
            resource.visa,
            library=options.visa_library,
            messages=resource.messages,
            connect_timeout=options.connect_timeout,
            serial=options if resource.kind == "serial" else None,
            clock=clock if options.visa_library is not None else None,
        )
    if resource.kind == "socket":
        from labqdl.transport.roads.socket import SocketRoad

        return SocketRoad(resource.host, resource.port, connect_timeout=options.connect_timeout)
    if resource.kind == "zmq":
        from labqdl.transport.roads.zmq import ZmqRoad

        return ZmqRoad(resource.host, resource.port, connect_timeout=options.connect_timeout)
    from labqdl.transport.roads.serial import SerialRoad

    return SerialRoad(
        resource.address,
        baudrate=options.baudrate,
        bytesize=options.bytesize,
        parity=options.parity,
        stopbits=options.stopbits,
        rtscts=options.rtscts,
        xonxoff=options.xonxoff,
        clock=clock if resource.in_process else None,
    )
