"""Serve a bench over the wire: every instrument on its roads, on the loopback interface only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol

from labqdl.config.locate import KeyPath, dotted
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.control import Control
from labqdl_sim.twin import Twin

ROADS = ("socket", "hislip", "pty", "serial", "rfc2217", "zmq", "visa")
"""Kinds of routes; `serial` is a pty where there are any, else RFC 2217; `visa:NAME` stands in process only."""


class Road(Protocol):
    """A running server of one instrument."""

    @property
    def resource(self) -> str:
        """The name under which programs open it."""
        ...

    def close(self) -> None:
        """Stop serving."""
        ...


class Served:
    """A bench that is being served; a context manager that closes everything."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.roads: dict[str, list[Road]] = {}
        self.control: Control | None = None

    def summary(self) -> dict[str, Any]:
        """`{"instruments": [{"name", "model", "resources"}], "control": port}`; control only where it is open."""
        told: dict[str, Any] = {
            "instruments": [
                {"name": name, "model": self.bench[name].model, "resources": [road.resource for road in roads]}
                for name, roads in self.roads.items()
            ]
        }
        if self.control is not None:
            told["control"] = self.control.port
        return told

    def resource(self, name: str, kind: str = "") -> str:
        """The first resource of an instrument that contains `kind` ("SOCKET", "hislip", "ASRL")."""
        for road in self.roads[name]:
            if kind in road.resource:
                return road.resource
        raise KeyError(f"{name} has no resource with {kind!r}")

    def close(self) -> None:
        """Stop all servers."""
        for roads in self.roads.values():
            for road in roads:
                road.close()
        self.roads.clear()
        if self.control is not None:
            self.control.close()
            self.control = None

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(bench: Bench, *, control: int | None = None) -> Served:
    """Open all roads of all instruments; everything listens when this returns.

    Parameters
    ----------
    control:
        Port of the control channel (0: any free one); None opens none.

    Raises
    ------
    InputError
        For an unknown route, a port that is taken, or a road that this system does not have. Nothing stays open then.
    """
    served = Served(bench)
    try:
        for name, routes in bench.routes.items():
            twin = bench[name]
            wired = [route for route in routes if not route.startswith("visa:")]
            roads = served.roads[name] = []
            for route in wired if routes else twin.roads:
                try:
                    roads.append(_open(twin, route))
                except InputError as error:
                    raise _placed(bench, name, route, error) from None
        if control is not None:
            try:
                served.control = Control(bench, control)
            except InputError as error:
                raise error.at("--control") from None
    except BaseException:
        served.close()
        raise
    return served


def _placed(bench: Bench, name: str, route: str, error: InputError) -> InputError:
    """A road that cannot be opened, at its place in the file: table, key and line where the route stands."""
    place: KeyPath = ("instruments", name, "routes")
    document = bench.document
    if document is None:
        return error.at(error.source, dotted(place))
    for other, entry in document.table.get("instruments", {}).items():  # entries with one resource share their roads
        if isinstance(entry, dict) and route in entry.get("routes", ()):
            resource = document.table["instruments"].get(name, {}).get("resource")
            if other == name or (resource is not None and entry.get("resource") == resource):
                place = ("instruments", other, "routes", entry["routes"].index(route))
                break
    return document.wrong(place, error.problem, expected=error.expected, hint=error.hint)


def _open(twin: Twin, route: str) -> Road:
    kind, _, detail = route.partition(":")
    if kind == "serial":
        kind = "rfc2217" if sys.platform == "win32" else "pty"
    if kind == "pty":
        from labqdl_sim.routes.pty import PtyServer

        return PtyServer(twin, detail or None)
    if detail and not (detail.isdigit() and int(detail) < 65536):
        raise InputError(f"the route is {route!r}", expected=f"{kind}:PORT")
    port = int(detail or 0)
    if kind == "socket":
        from labqdl_sim.routes.tcp import SocketServer

        return SocketServer(twin, port)
    if kind == "hislip":
        from labqdl_sim.routes.hislip import HislipServer

        return HislipServer(twin, port)
    if kind == "zmq":
        from labqdl_sim.routes.zmq import ZmqServer

        return ZmqServer(twin, port)
    if kind == "rfc2217":
        from labqdl_sim.routes.rfc2217 import Rfc2217Server

        return Rfc2217Server(twin, port)
    raise InputError(f"no route {route!r}", expected=f"one of {', '.join(ROADS)}")
