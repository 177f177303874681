"""How bytes move between us and an instrument.

A `Transport` exchanges whole messages over a `Road` (socket, serial, VISA, ZeroMQ, cassette) in a `Framing`. Use
`Transport(road_for(resource), Line(), name="laser", resource=resource)`. PyVISA, pyserial and ZeroMQ are loaded when
a road that needs them opens.
"""

from __future__ import annotations

from labqdl.transport.errors import (
    ConnectionLost,
    InstrumentError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from labqdl.transport.framing import Fixed, Framing, Line, Whole, block_header
from labqdl.transport.gather import gather
from labqdl.transport.resource import Resource, RoadOptions, parse, road_for
from labqdl.transport.road import Road
from labqdl.transport.traffic import Direction, TrafficEntry, readable
from labqdl.transport.transport import Transport

__all__ = [
    "ConnectionLost",
    "Direction",
    "Fixed",
    "Framing",
    "InstrumentError",
    "Line",
    "ProtocolError",
    "Resource",
    "Road",
    "RoadOptions",
    "TrafficEntry",
    "Transport",
    "TransportError",
    "TransportTimeout",
    "Whole",
    "block_header",
    "gather",
    "parse",
    "readable",
    "road_for",
]
