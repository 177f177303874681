"""The world of a station file: its wiring is the graph, its components and instruments are the parts.

An instrument takes part under its own name (of several entries at one resource, the first one's), without declaring
anything: what its simulated instrument has for ports are the part's. A laser gives light with the power and wavelength
that its instrument says; an amplifier, a polarisation controller and a lock box do to the field what theirs are set
to; anything else with a fibre in and one out passes light with the ratio of power out to power in. Power meters read
the mean power of the field. Voltages are what the connectors say.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from labqdl.config.station import PartEntry, StationFile, Wire
from labqdl.errors import InputError
from labqdl.units import LIGHT_SPEED, photon_energy
from labqdl_sim.ports import DARK, Edges, Light, LightIn, LightOut, PulseIn, VoltageIn, VoltageOut, Voltages
from labqdl_sim.twin import Twin
from labqdl_sim.twins.amonics_edfa import AmonicsEdfa
from labqdl_sim.twins.labqdl_lockbox import LockBox
from labqdl_sim.twins.thorlabs_mpc320 import ThorlabsMpc320
from labqdl_sim.world.fibre import GROUP_INDEX, Fibre
from labqdl_sim.world.fields import Complex, Field, Grid
from labqdl_sim.world.held import held
from labqdl_sim.world.kinds import kinds, part_class
from labqdl_sim.world.noise import Drift
from labqdl_sim.world.part import METER_POINTS, Parameter, Part, Pull
from labqdl_sim.world.passive import hindered
from labqdl_sim.world.polarisation import PolarisationController, PolarisingBeamSplitter
from labqdl_sim.world.receivers import Cable, CounterDetector, moved
from labqdl_sim.world.sources import Edfa, Laser
from labqdl_sim.world.world import World

_CABLE_DELAY = 5.05e-9
"""Seconds a metre of coaxial cable."""
_PROBE = 1e-3
"""W with which a path through an instrument is measured."""
_TABLE_KEYS = ("kind", "model", "note")
_NAMES = {"loss": "loss_db"}
"""Figures of the file under another name than the part's."""

Real = NDArray[np.float64]
P = TypeVar("P", bound=Part)
Way = tuple[tuple[Part, str], ...]
"""Parts on the way of light and the ports where it leaves them, the last one first."""


class TwinPart(Part):
    """An instrument in the world: fibres through it, voltages out of it and into it.

    Parameters are those of the class where the instrument's time can be wrong, and its loss beyond what it says.
    """

    kind = "instrument"
    parameters: ClassVar = {
        "clock_ppm": Parameter(
            "by how much the clock of a generator or digitizer is too fast, parts in a million", 0.0
        ),
        "loss_db": Parameter("loss of light beyond what the instrument itself says, dB", 0.0, 0.0, 0.0),
    }
    faults: ClassVar = {
        "stuck": "a shutter or switch stuck open: this share of the power passes, whatever the instrument says",
        "blocked": "no light passes: a shutter stuck shut",
        "excess_db": "so much more loss in dB",
    }

    def couple(self, twin: Twin) -> None:
        """Take the ports of a simulated instrument."""
        self.twin = twin
        self._probed: str | None = None
        for name, port in twin.ports.items():
            if isinstance(port, LightIn):
                port.connect(lambda t, name=name: self.seen(name, t))  # type: ignore[misc]
        if self["clock_ppm"]:
            if not hasattr(twin, "clock_error"):
                raise InputError(f"the clock of {twin.name} counts for nothing", key="clock_ppm")
            twin.clock_error = 1e-6 * self["clock_ppm"]

    def seen(self, port: str, t: float) -> Light:
        """What a fibre brings to the instrument, as it would measure it."""
        if self._probed is not None:
            return Light(_PROBE, self._wavelength) if port == self._probed else DARK
        if port not in self._pulls:
            return DARK
        field = self.field(port, self.world.grid(t, METER_POINTS))
        power = field.flux * photon_energy(field.wavelength)
        return Light(power, field.wavelength) if power > 0 else DARK

    _wavelength = 1550e-9

    def transmission(self, source: str, output: str, t: float) -> float:
        """Power that leaves at `output` over power that enters at `source`."""
        if stuck := self.struck("stuck", t):
            return stuck
        port = self.twin.ports[output]
        assert isinstance(port, LightOut)
        self._probed = source
        try:
            return port.at(t).power / _PROBE
        finally:
            self._probed = None

    def light(self, port: str, grid: Grid) -> Field:
        """What the instrument lets through from all its fibres."""
        extra = 10.0 ** (-self["loss_db"] / 20.0)
        fields = []
        for name in self.light_inputs:
            if name not in self._pulls:
                continue
            through = held(lambda t, name=name: self.transmission(name, port, t), grid)  # type: ignore[misc]
            if np.any(through):
                fields.append(self.field(name, grid).scaled(extra * np.sqrt(through)))
        if not fields:
            return Field.dark(grid)
        strongest = max(fields, key=lambda field: field.flux)
        if len(fields) == 1:
            return hindered(self, strongest, grid)
        # Light of several fibres has one polarisation from here on: that of the strongest.
        envelope = sum(field.envelope * complex(np.vdot(strongest.jones, field.jones)) for field in fields)
        return hindered(self, Field(np.asarray(envelope), strongest.jones, strongest.wavelength), grid)

    def volts(self, port: str, instants: Real) -> Real:
        """What its connector gives."""
        found = self.twin.ports[port]
        assert isinstance(found, VoltageOut)
        return found.evaluate(instants)

    def connect_volts(self, port: str, drive: Voltages | None, edges: Edges | None = None) -> None:
        """Plug a cable in; None pulls it out."""
        found = self.twin.ports.get(port)
        if not isinstance(found, VoltageIn):
            raise InputError(f"{self.name} has no electric input {port!r}", expected=", ".join(self.volt_inputs))
        found.connect(drive, edges)
        self.world.changed()


class LockPart(TwinPart):
    """A lock box: while it holds, the local oscillator follows the light that it meets, but for the set point.

    It makes good the phases of all fibres from the laser to the receiver, of the signal and of the oscillator. What
    its own noise leaves is `residual`, the difference of a noise of a Lorentzian spectrum and what that was two time
    constants before: a loop that integrates leaves nothing slow. The angle at set point 0 is unknown, and constant.
    """

    kind = "lock"
    parameters: ClassVar = {
        "residual": Parameter("phase that the loop leaves, rad rms", 0.02, low=0.0),
        "band": Parameter("band of the loop, Hz", 10e3, low=1.0),
        "angle": Parameter("of the oscillator against the signal at set point 0, rad", 0.0, spread=1.0),
        "angle_per_volt": Parameter("of the set point, rad/V", math.pi / 2, spread=0.02),
        "loss_db": TwinPart.parameters["loss_db"],
        "clock_ppm": TwinPart.parameters["clock_ppm"],
    }

    def setup(self) -> None:
        """What the loop leaves."""
        self._memory = 1.0 / (2.0 * math.pi * self["band"])
        self._residual = Drift(self.world.root, f"residual {self.name}", self._memory)
        self.signal: Way = ()
        self.oscillator: Way = ()

    def couple(self, twin: Twin) -> None:
        """Take a lock box's ports, and tell it when its light goes away."""
        super().couple(twin)
        assert isinstance(twin, LockBox)
        self.box = twin
        twin.lost_at = self.lost_at

    def between(self, signal: Way, oscillator: Way) -> None:
        """Name the parts that the light passes on both sides."""
        self.signal, self.oscillator = signal, oscillator

    def lost_at(self, since: float, until: float) -> float | None:
        """When the light of either side first broke off or hopped in (since, until]."""
        found = [
            max(strike.start, since)
            for part, _ in (*self.signal, *self.oscillator)
            for what in ("broken", "blocked", "mode_hop", "off")
            for strike in part.strikes(what)
            if strike.value and strike.start <= until and strike.stop > since
        ]
        return min(found, default=None)

    def light(self, port: str, grid: Grid) -> Field:
        """The oscillator with the phase that the loop gives it."""
        field = super().light(port, grid)
        begin, end = self.box.holds(grid.start + grid.step * grid.count)
        instants = grid.instants
        holds = (instants >= begin) & (instants < end)
        if not np.any(holds):
            return field
        angle = self["angle"] + self["angle_per_volt"] * self.box.set_point
        before = instants - 2.0 * self._memory
        noise = (self._residual.at(instants) - self._residual.at(before)) / math.sqrt(2.0 * (1.0 - math.exp(-2.0)))
        phasor = np.exp(1j * (angle + self["residual"] * noise))
        signal, met = passed(self.signal, grid)
        oscillator, own = passed(self.oscillator, grid)
        together = complex(np.vdot(own, met))
        phasor = phasor * signal * np.conj(oscillator) * (together / abs(together) if together else 1.0)
        return field.scaled(np.where(holds, phasor, 1.0))


def passed(way: Way, grid: Grid) -> tuple[Complex | complex, Complex]:
    """Phase that light of a way has at its end, a factor of the field, and its polarisation there, (2,)."""
    factor: Complex | complex = 1.0 + 0.0j
    jones: Complex = np.array([1.0, 0.0], np.complex128)
    for part, port in reversed(way):
        turn = None
        if isinstance(part, Fibre):
            factor = factor * part.phasor(grid)
            turn = part.jones(grid.start)
        elif isinstance(part, PolarisationController):
            turn = part.jones(grid.start)
        elif isinstance(part, PolarisingBeamSplitter):
            kept = int(port == "cross")
            leak = 10.0 ** (-part["extinction_db"] / 20.0)
            jones = jones * np.array([leak, 1.0] if kept else [1.0, leak])
            phase = complex(jones[kept]) / abs(jones[kept]) if jones[kept] else 1.0
            factor, jones = factor * phase, jones / (phase * float(np.linalg.norm(jones)))
        if turn is not None:
            jones = turn @ jones
    return factor, jones


def with_ports(kind: type[TwinPart], twin: Twin) -> type[TwinPart]:
    """The kind of part with the ports of a simulated instrument."""
    named = {
        attribute: tuple(name for name, port in twin.ports.items() if isinstance(port, what))
        for attribute, what in (
            ("light_inputs", LightIn),
            ("light_outputs", LightOut),
            ("volt_inputs", VoltageIn),
            ("volt_outputs", VoltageOut),
        )
    }
    return type(kind.__name__, (kind,), named)


class Watch:
    """Stands beside all instruments of a world: what was seen before a setting changes is not seen through it."""

    def __init__(self, world: World, twins: Mapping[str, Twin]) -> None:
        self._world = world
        self._twins = tuple(twins.values())

    def before(self) -> None:
        """Digitizers take what they were triggered for, as everything stands now."""
        for twin in self._twins:
            twin.settle()

    def after(self) -> None:
        """What was computed may be wrong now."""
        self._world.changed()


def attach(station: StationFile, twins: Mapping[str, Twin], world: World) -> None:
    """Make the parts of a station file and couple them, and the instruments with them.

    Parameters
    ----------
    station:
        As read for a profile that simulates instruments.
    twins:
        The simulated instruments by name of their entry; several entries may share one.
    world:
        Takes the parts.

    Raises
    ------
    InputError
        With file, line and key, for parts, figures and ports that there are not.
    """
    _Attaching(station, twins, world).attach()


class _Attaching:
    def __init__(self, station: StationFile, twins: Mapping[str, Twin], world: World) -> None:
        self.station, self.twins, self.world = station, twins, world
        self.parts: dict[str, Part] = {}
        self.outlets: dict[tuple[str, str], int] = {}
        self.before: dict[tuple[str, str], tuple[Part, str]] = {}
        self.behind: dict[str, tuple[Part, str]] = {}

    def attach(self) -> None:
        for name in self.station.components:
            made = self.component(name)
            if made is not None:
                self.parts[name] = made
        made_of: dict[int, Part] = {}
        for name, twin in self.twins.items():
            if id(twin) not in made_of:
                made_of[id(twin)] = self.instrument(name, twin)
            self.parts[name] = made_of[id(twin)]
        for index, wire in enumerate(self.station.wiring):
            self.wire(index, wire)
        for part in {id(part): part for part in self.parts.values()}.values():
            if isinstance(part, LockPart):
                self.lock(part)
        watch = Watch(self.world, {str(id(twin)): twin for twin in self.twins.values()})
        for twin in self.twins.values():
            twin.watcher, twin.world = watch, self.world

    # Locks

    def lock(self, lock: LockPart) -> None:
        """Find what a lock box holds together: the ways to the receiver behind it."""
        here: Part | None = lock
        while here is not None:
            target = self.behind.get(here.name)
            if target is None:
                return  # its light goes nowhere: it holds nothing
            here, port = target
            if port == "lo":
                signal = "signal" if "signal" in here.light_inputs else "input"
                lock.between(self.way(here, signal), self.way(here, "lo"))
                return

    def way(self, part: Part, port: str) -> Way:
        """The way of the light into a port; where ways meet, the first input counts."""
        found: list[tuple[Part, str]] = []
        while (part.name, port) in self.before:
            part, out = self.before[part.name, port]
            found.append((part, out))
            port = next((one for one in part.light_inputs if one != "lo" and (part.name, one) in self.before), "")
        return tuple(found)

    # Parts

    def component(self, name: str) -> Part | None:
        table = self.station.components[name]
        kind = str(table["kind"])
        if kind not in kinds():
            return None  # figures for people, such as those of a bare modulator
        made = part_class(kind)
        given: dict[str, Any] = {}
        declared = _declared()
        for key, value in table.items():
            if value is None or key in _TABLE_KEYS:
                continue
            own = _NAMES.get(key, key)
            if own in made.parameters or own in made.settings:
                given[own] = value
            elif key not in declared:
                self.unknown(("components", name, key), key, made)
        return self.put(made, name, given)

    def instrument(self, name: str, twin: Twin) -> Part:
        outputs = [port for port in twin.ports.values() if isinstance(port, LightOut)]
        inputs = [port for port in twin.ports.values() if isinstance(port, LightIn)]
        if isinstance(twin, ThorlabsMpc320):
            controller = self.put(PolarisationController, name, {})
            controller.turned_by(twin.angles)
            return controller
        if isinstance(twin, AmonicsEdfa):
            amplifier = self.put(Edfa, name, Edfa.rated(twin.gain, twin.rated))
            amplifier.pumped_by(twin.pump, twin.held)
            for port in inputs:
                port.connect(lambda t: _seen(amplifier, "input", t))
            emitted = self.world.light_of(amplifier.name, "output")
            twin.emitted = lambda t: _power(emitted(self.world.grid(t, METER_POINTS)))
            return amplifier
        if len(outputs) == 1 and not inputs:
            laser = self.put(Laser, name, {})
            laser.follow(outputs[0].at)
            return laser
        part = self.put(with_ports(LockPart if isinstance(twin, LockBox) else TwinPart, twin), name, {})
        try:
            part.couple(twin)
        except InputError as error:
            raise self.station.wrong(("simulation", "parts", name), error.problem) from None
        return part

    def put(self, kind: type[P], name: str, given: dict[str, Any]) -> P:
        entry = self.station.parts.get(name, PartEntry())
        for key in (*entry.values, *entry.spread):
            if key not in kind.parameters and (key in entry.spread or key not in kind.settings):
                place = ("simulation", "parts", name, *(("spread",) if key in entry.spread else ()), key)
                self.unknown(place, key, kind)
        for key, value in (*given.items(), *entry.values.items()):
            if key in kind.parameters and not (isinstance(value, (int, float)) and not isinstance(value, bool)):
                table = ("simulation", "parts") if key in entry.values else ("components",)
                raise self.station.wrong(
                    (*table, name, key), f"{value!r} is no number", expected="a number or quantity"
                )
        try:
            return self.world.add(kind, name, {**given, **entry.values}, entry.spread)
        except InputError as error:
            path = tuple((error.key or "").split(".")) if error.key else ("components", name)
            raise self.station.wrong(path, error.problem, expected=error.expected, hint=error.hint) from None

    def unknown(self, place: tuple[str, ...], key: str, kind: type[Part]) -> None:
        known = [*kind.parameters, *kind.settings]
        near = difflib.get_close_matches(key, known, n=1)
        raise self.station.wrong(
            place,
            f"a part of the kind {kind.kind} has no figure {key!r}",
            expected=f"one of {', '.join(known)}",
            hint=f"Did you mean {near[0]!r}?" if near else None,
        )

    # Wires

    def wire(self, index: int, wire: Wire) -> None:
        (source, port_out), (target, port_in) = wire.source, wire.target
        if source not in self.parts or target not in self.parts:
            return  # to or from what is not simulated
        leaving, entering = self.parts[source], self.parts[target]
        if wire.kind == "light":
            out = self.port(index, "from", source, port_out, leaving.light_outputs, "light leaves")
            into = self.port(index, "to", target, port_in, entering.light_inputs, "light enters")
            if (leaving.name, out) in self.outlets:
                line = self.station.document.line(("wiring", self.outlets[leaving.name, out], "from"))
                problem = f"{source}.{out} goes into the fibre on line {line} already"
                raise self.station.wrong(("wiring", index, "from"), problem, expected="a splitter behind it")
            self.outlets[leaving.name, out] = index
            self.before[entering.name, into] = leaving, out
            if out != "back":
                self.behind.setdefault(leaving.name, (entering, into))
            entering.connect_light(into, _fibre(self.world.light_of(leaving.name, out), wire))
            return
        pulses = getattr(leaving, "pulse_outputs", ())
        out = self.port(index, "from", source, port_out, (*leaving.volt_outputs, *pulses), "a voltage leaves")
        if out in pulses:
            self.pulses(index, leaving, target, port_in)
            return
        into = self.port(index, "to", target, port_in, entering.volt_inputs, "a voltage enters")
        drive, edges = self.cable(leaving, out, wire)
        if isinstance(entering, (TwinPart, Cable)):
            entering.connect_volts(into, drive, edges)
        else:
            entering.connect_volts(into, drive)

    def port(self, index: int, end: str, name: str, port: str, there: tuple[str, ...], what: str) -> str:
        if not port and len(there) == 1:
            return there[0]
        if port in there:
            return port
        near = difflib.get_close_matches(port, there, n=1)
        raise self.station.wrong(
            ("wiring", index, end),
            f"{name} has no port {port!r} at which {what}" if port else f"{name} has several ports at which {what}"
            if there else f"{name} has no port at which {what}",
            expected=", ".join(f"{name}.{one}" for one in there) or None,
            hint=f"Did you mean {name + '.' + near[0]!r}?" if near else None,
        )  # fmt: skip

    def pulses(self, index: int, leaving: Part, target: str, port: str) -> None:
        twin = self.twins.get(target)
        there = {} if twin is None else {name: one for name, one in twin.ports.items() if isinstance(one, PulseIn)}
        into = self.port(index, "to", target, port, tuple(there), "pulses enter")
        assert isinstance(leaving, CounterDetector)
        there[into].connect(leaving.rate)

    def cable(self, leaving: Part, out: str, wire: Wire) -> tuple[Voltages, Edges | None]:
        drive = self.world.volts_of(leaving.name, out)
        edges: Edges | None = None
        if isinstance(leaving, TwinPart):
            port = leaving.twin.ports[out]
            assert isinstance(port, VoltageOut)
            edges = port.edges
        elif isinstance(leaving, Cable):
            edges = leaving.edges
        gain, delay = 10.0 ** (-wire.loss / 20.0), (wire.length or 0.0) * _CABLE_DELAY
        if gain == 1.0 and delay == 0.0:
            return drive, edges
        return (lambda instants: gain * drive(instants - delay)), edges and moved(edges, delay, gain)


def _declared() -> tuple[str, ...]:
    from labqdl.config.station import SCHEMA

    return tuple(entry.name for one in SCHEMA.sections if one.name == "components" for entry in one.fields)


def _fibre(pull: Pull, wire: Wire) -> Pull:
    """A patch cord."""
    amplitude, delay = 10.0 ** (-wire.loss / 20.0), (wire.length or 0.0) * GROUP_INDEX / LIGHT_SPEED
    if amplitude == 1.0 and delay == 0.0:
        return pull
    return lambda grid: pull(grid.delayed(delay)).scaled(amplitude)


def _seen(part: Part, port: str, t: float) -> Light:
    """What enters a part as a slow meter sees it."""
    if not part.plugged(port):
        return DARK
    field = part.field(port, part.world.grid(t, METER_POINTS))
    power = _power(field)
    return Light(power, field.wavelength) if power > 0 and math.isfinite(power) else DARK


def _power(field: Field) -> float:
    """Mean power in W."""
    return field.flux * photon_energy(field.wavelength)
