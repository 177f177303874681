"""Where an instrument stands: inside this process, on this machine, or elsewhere."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from labqdl.errors import InputError
from labqdl.instruments import Instrument
from labqdl.transport import Transport, parse


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its own word; a name other than localhost is not looked up."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_on_loopback(resource: str) -> bool:
    """Whether a resource has an address of this machine; what cannot be understood has none."""
    try:
        found = parse(resource)
    except InputError:
        return False
    if found.kind == "serial":
        scheme, _, rest = found.address.partition("://")
        host = re.fullmatch(r"(\[[^\]]*\]|[^:/?]*)(:[0-9]+)?([/?].*)?", rest)
        return scheme in ("socket", "rfc2217") and host is not None and is_loopback(host[1])
    host_name = found.host
    if not host_name and found.visa.upper().startswith("TCPIP"):
        host_name = re.split(r"::(?![^\[]*\])", found.visa)[1]
    return bool(host_name) and is_loopback(host_name)


def may_be_simulated(resource: str) -> bool:
    """Whether a person may declare that a simulated instrument stands there: an address of this machine, or a port.

    Nobody can tell from the name: a tunnel to a laser has a loopback address, and a pseudo terminal may be called as
    any serial port. So nothing follows from this alone. What cannot be understood may not.
    """
    try:
        found = parse(resource)
    except InputError:
        return False
    scheme, separator, _ = found.address.partition("://") if found.kind == "serial" else ("", "", "")
    return is_on_loopback(resource) or (found.kind == "serial" and (not separator or scheme in ("labqdl", "loop")))


def is_inside(instrument: Instrument) -> bool:
    """Whether what the instrument talks to lives and dies with this process: nothing outlasts it."""
    transport = getattr(instrument, "transport", None)
    if isinstance(transport, Transport):
        return bool(getattr(transport.road, "in_process", False))
    return bool(getattr(instrument, "simulated", False))


def resource_of(instrument: Instrument) -> str:
    """How the instrument is reached; empty where that has no name."""
    transport: Any = getattr(instrument, "transport", None)
    if isinstance(transport, Transport):
        return transport.resource
    return str(getattr(instrument, "resource", ""))
