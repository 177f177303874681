"""The control port: JSON lines on a loopback socket of its own, so that instruments keep their authentic commands.

One request a line, one reply a line: `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.

    {"do": "list"}
    {"do": "fault", "target": "laser", "effect": "late", "value": 2.0, "nth": 3}     -> {"ok": true, "id": 1}
    {"do": "switch", "id": 1, "on": true}        manual rules
    {"do": "remove", "id": 1}
    {"do": "clear", "target": "laser"}           all of one instrument; without target, all
    {"do": "advance", "seconds": 3.0}            manual clocks
    {"do": "light", "target": "laser"}           is it dark? power and wavelength of every optical output
    {"do": "voltage", "target": "generator"}     lowest and highest voltage of every output in the next millisecond
    {"do": "world"}                              parts of the optical world, and what can happen to each
    {"do": "world", "part": "fibre_out", "set": {"broken": 1}, "start": 2.0}         see labqdl_sim.faults.happen
    {"do": "world", "part": "laser", "set": {"off": 1}, "after": 0.5}                s from now
    {"do": "world", "part": "fibre_out", "mend": true}
    {"do": "world", "part": "fibre_out", "light": "output"}                          W that leave there now
    {"do": "shine", "target": "attenuator", "power": 1e-3, "wavelength": 1.55e-6}     into every optical input
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from typing import Any

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.units import photon_energy
from labqdl_sim.bench import Bench
from labqdl_sim.faults import Rule, happen
from labqdl_sim.ports import Light, LightIn, LightOut, VoltageOut
from labqdl_sim.routes.tcp import Connections
from labqdl_sim.world.part import METER_POINTS

_RATE, _SAMPLES = 1e6, 1000
"""1/s, and how many: within them a voltage that changes shows itself."""


class Control(Connections):
    """Serves the control port of a bench; `answer` is the same in process."""

    def __init__(self, bench: Bench, port: int = 0) -> None:
        self._bench = bench
        self._numbers = itertools.count(1)
        self._rules: dict[int, tuple[str, Rule]] = {}
        self._actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "list": self._list, "fault": self._fault, "switch": self._switch, "remove": self._remove,
            "clear": self._clear, "advance": self._advance, "light": self._light, "voltage": self._voltage,
            "shine": self._shine, "world": self._world,
        }  # fmt: skip
        super().__init__("control", port)

    def converse(self, connection: socket.socket) -> None:
        """One reply a line."""
        with connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(json.dumps(self.answer_line(line)).encode() + b"\n")

    def answer_line(self, line: bytes) -> dict[str, Any]:
        """Reply to one line."""
        try:
            request = json.loads(line)
        except ValueError as error:
            return {"ok": False, "error": f"no JSON: {error}"}
        return self.answer(request) if isinstance(request, dict) else {"ok": False, "error": "no JSON object"}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Reply to one request."""
        request = dict(request)
        action = self._actions.get(str(request.pop("do", None)))
        if action is None:
            return {"ok": False, "error": f"'do' is one of {', '.join(self._actions)}"}
        try:
            with self._bench.lock:
                return {"ok": True, **action(request)}
        except (InputError, TypeError, ValueError, KeyError) as error:
            return {"ok": False, "error": str(error)}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        rules = [
            {"id": number, "target": target, "effect": rule.effect, "matches": rule.matches, "fired": rule.fired}
            for number, (target, rule) in self._rules.items()
        ]
        return {"instruments": [twin.name for twin in self._bench], "faults": rules}

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        target = str(request.pop("target", ""))
        rule = self._bench[target].faults.put(Rule.from_table(request))
        number = next(self._numbers)
        self._rules[number] = (target, rule)
        return {"id": number}

    def _known(self, request: dict[str, Any]) -> tuple[str, Rule]:
        number = request.get("id")
        if number not in self._rules:
            raise InputError(f"no fault {number!r}", key="id")
        return self._rules[number]

    def _switch(self, request: dict[str, Any]) -> dict[str, Any]:
        self._known(request)[1].on = bool(request.get("on", True))
        return {}

    def _remove(self, request: dict[str, Any]) -> dict[str, Any]:
        target, rule = self._known(request)
        del self._rules[request["id"]]
        if rule in self._bench[target].faults.rules:
            self._bench[target].faults.remove(rule)
        return {}

    def _clear(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("target")
        for twin in self._bench if wanted is None else [self._bench[str(wanted)]]:
            twin.faults.clear()
        self._rules = {n: entry for n, entry in self._rules.items() if wanted not in (None, entry[0])}
        return {}

    def _advance(self, request: dict[str, Any]) -> dict[str, Any]:
        clock = self._bench.clock
        if not isinstance(clock, ManualClock):
            raise InputError("this bench's clock moves by itself", key="clock")
        clock.advance(float(request["seconds"]))
        return {"now": clock.monotonic()}

    def _light(self, request: dict[str, Any]) -> dict[str, Any]:
        twin = self._bench[str(request.get("target", ""))]
        now = self._bench.clock.monotonic()
        outputs = {name: port.at(now) for name, port in twin.ports.items() if isinstance(port, LightOut)}
        return {
            "dark": all(light.dark for light in outputs.values()),
            "outputs": {
                name: {"power": light.power, "wavelength": light.wavelength} for name, light in outputs.items()
            },
        }

    def _voltage(self, request: dict[str, Any]) -> dict[str, Any]:
        twin = self._bench[str(request.get("target", ""))]
        now = self._bench.clock.monotonic()
        outputs = {
            name: port.samples(now, _RATE, _SAMPLES)
            for name, port in twin.ports.items()
            if isinstance(port, VoltageOut)
        }
        return {"outputs": {name: {"lowest": float(v.min()), "highest": float(v.max())} for name, v in outputs.items()}}

    def _shine(self, request: dict[str, Any]) -> dict[str, Any]:
        twin = self._bench[str(request.get("target", ""))]
        light = Light(float(request["power"]), float(request.get("wavelength", 1550e-9)))
        inputs = {name: port for name, port in twin.ports.items() if isinstance(port, LightIn)}
        for port in inputs.values():
            port.connect(lambda t: light)
        return {"inputs": list(inputs)}

    def _world(self, request: dict[str, Any]) -> dict[str, Any]:
        world = self._bench.world
        if world is None:
            raise InputError("this bench has no optical world: its file wires nothing")
        if "part" not in request:
            parts = {name: {"kind": part.kind, "faults": dict(part.faults)} for name, part in world.parts.items()}
            return {"parts": parts, "now": self._bench.clock.monotonic()}
        if "light" not in request:
            if "after" in request:
                request["start"] = self._bench.clock.monotonic() + float(request.pop("after"))
            for twin in self._bench:
                twin.settle()  # what was triggered before is seen as it stood
            happen(world, request)
            return {}
        field = world.light_of(world.part(str(request["part"])).name, str(request["light"]))(
            world.grid(self._bench.clock.monotonic(), METER_POINTS)
        )
        return {"power": field.flux * photon_energy(field.wavelength), "wavelength": field.wavelength}
