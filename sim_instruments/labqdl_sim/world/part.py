"""What a component of the world is: parameters with a truth, inputs, and outputs that are computed when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl_sim.ports import Voltages
from labqdl_sim.world.fields import Field, Grid

if TYPE_CHECKING:
    from labqdl_sim.world.world import World

Pull = Callable[[Grid], Field]

METER_POINTS = 4096
"""Raster points over which what a slow power meter sees is averaged."""


@dataclass(frozen=True, slots=True)
class Strike:
    """Something happened to a part: how much of it, and from when until when (s)."""

    value: float
    start: float = -math.inf
    stop: float = math.inf


@dataclass(frozen=True, slots=True)
class Parameter:
    """A property of a part.

    Attributes
    ----------
    doc:
        What it is, with its unit (SI; dB for losses where the name ends in `_db`).
    default:
        Nominal value where nobody says another.
    spread:
        Standard deviation of the truth around the nominal value, in the parameter's unit: the declared prior. The
        station file may say another under `simulation.parts.NAME.spread.PARAMETER`.
    low, high:
        Limits of a sensible value; a truth outside of them is drawn again.
    """

    doc: str
    default: float
    spread: float = 0.0
    low: float = -np.inf
    high: float = np.inf


class Part:
    """Base of all components.

    A part declares its ports and parameters, and implements `light` for its optical outputs and `volts` for its
    electric ones. It asks its inputs by `self.field(port, grid)` and `self.drive(port, instants)`; unconnected ones
    are dark, or at 0 V. Nothing ticks, and a part keeps no state that depends on what was asked before.

    Parameters
    ----------
    name:
        Of the part; address of its random numbers.
    world:
        To which it belongs.
    given:
        Nominal values by name; floats in the parameter's unit.
    spreads:
        Standard deviations of the truth that replace those of the declaration.
    """

    kind: ClassVar[str] = ""
    light_inputs: ClassVar[tuple[str, ...]] = ()
    light_outputs: ClassVar[tuple[str, ...]] = ()
    volt_inputs: ClassVar[tuple[str, ...]] = ()
    volt_outputs: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    settings: ClassVar[Mapping[str, Any]] = {}
    """Words and whole numbers without a truth: name and default."""
    faults: ClassVar[Mapping[str, str]] = {}
    """What can happen to it: name, and what the number means that says how much of it (0: nothing happened)."""

    def __init__(
        self,
        name: str,
        world: World,
        given: Mapping[str, Any] | None = None,
        spreads: Mapping[str, float] | None = None,
    ) -> None:
        self.name, self.world = name, world
        given, spreads = dict(given or {}), dict(spreads or {})
        known = [*self.parameters, *self.settings]
        for key in [*given, *spreads]:
            if key not in known:
                raise InputError(
                    f"a {self.kind} has no parameter {key!r}", key=f"simulation.parts.{name}", expected=", ".join(known)
                )
        self.nominal = {key: float(given.get(key, one.default)) for key, one in self.parameters.items()}
        self.spreads = {key: float(spreads.get(key, one.spread)) for key, one in self.parameters.items()}
        self.setting = {key: given.get(key, default) for key, default in self.settings.items()}
        self.truth = {key: self._drawn(key) for key in self.parameters}
        self._pulls: dict[str, Pull] = {}
        self._drives: dict[str, Voltages] = {}
        self._strikes: dict[str, list[Strike]] = {}
        self.setup()

    def _drawn(self, key: str) -> float:
        nominal, spread, limits = self.nominal[key], self.spreads[key], self.parameters[key]
        if spread == 0.0:
            return nominal
        for normal in self.world.root.generator(f"truth {self.name} {key}").standard_normal(64):
            value = nominal + spread * float(normal)
            if limits.low <= value <= limits.high:
                return value
        raise InputError(
            f"{key} = {nominal:g} with a spread of {spread:g} hardly ever lies between {limits.low:g} and "
            f"{limits.high:g}",
            key=f"simulation.parts.{self.name}.{key}",
        )

    def __getitem__(self, key: str) -> float:
        """True value of a parameter."""
        return self.truth[key]

    # What happens to a part

    def strike(self, what: str, value: float = 1.0, start: float = -math.inf, stop: float = math.inf) -> None:
        """Let a fault of `faults` happen between two instants, or give a parameter another truth (from now on only).

        Raises
        ------
        InputError
            For what cannot happen to this part.
        """
        self.check(what, lasting=(start, stop) == (-math.inf, math.inf))
        if what in self.faults:
            self._strikes.setdefault(what, []).append(Strike(float(value), start, stop))
        else:
            self.truth[what] = float(value)
        self.world.changed()

    def check(self, what: str, *, lasting: bool) -> None:
        """InputError for what cannot happen to this part; parameters change for ever only."""
        if what not in self.faults and not (lasting and what in self.parameters):
            raise InputError(
                f"{what!r} cannot happen to a {self.kind}" + (" for a while" if what in self.parameters else ""),
                key=self.name,
                expected=", ".join([*self.faults, *self.parameters]) or "nothing",
            )

    def mend(self, what: str | None = None) -> None:
        """Nothing happened: to this fault, or to any."""
        for one in [what] if what is not None else list(self._strikes):
            self._strikes.pop(one, None)
        self.world.changed()

    def struck(self, what: str, t: float) -> float:
        """How much of a fault there is at a time; the latest that was told counts."""
        for strike in reversed(self._strikes.get(what, ())):
            if strike.start <= t < strike.stop:
                return strike.value
        return 0.0

    def strikes(self, what: str) -> Sequence[Strike]:
        """All that was told of one fault: none costs nothing."""
        return self._strikes.get(what, ())

    def struck_at(self, what: str, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of a fault there is at many instants."""
        values = np.zeros(instants.shape)
        for strike in self._strikes.get(what, ()):
            values[(instants >= strike.start) & (instants < strike.stop)] = strike.value
        return values

    # What a part overrides

    def setup(self) -> None:
        """Open its random processes; called once, when the truth is known."""

    def light(self, port: str, grid: Grid) -> Field:
        """What leaves an optical output."""
        raise NotImplementedError(f"{type(self).__name__} emits no light at {port!r}")

    def volts(self, port: str, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """What leaves an electric output, at rising instants; shape in = shape out."""
        raise NotImplementedError(f"{type(self).__name__} gives no voltage at {port!r}")

    # What a part uses

    def connect_light(self, port: str, pull: Pull | None) -> None:
        """Plug a fibre in; None pulls it out."""
        if port not in self.light_inputs:
            raise InputError(
                f"{self.name} has no optical input {port!r}", expected=", ".join(self.light_inputs) or "none"
            )
        if pull is None:
            self._pulls.pop(port, None)
        else:
            self._pulls[port] = pull
        self.world.changed()

    def connect_volts(self, port: str, drive: Voltages | None) -> None:
        """Plug a cable in; None pulls it out."""
        if port not in self.volt_inputs:
            raise InputError(
                f"{self.name} has no electric input {port!r}", expected=", ".join(self.volt_inputs) or "none"
            )
        if drive is None:
            self._drives.pop(port, None)
        else:
            self._drives[port] = drive
        self.world.changed()

    def plugged(self, port: str) -> bool:
        """Whether anything is plugged into this input."""
        return port in self._pulls or port in self._drives

    def field(self, port: str, grid: Grid) -> Field:
        """What enters an optical input."""
        pull = self._pulls.get(port)
        return Field.dark(grid) if pull is None else pull(grid)

    def drive(self, port: str, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """What enters an electric input, at rising instants."""
        drive = self._drives.get(port)
        return np.zeros(instants.shape) if drive is None else drive(instants)

    def power_flux(self, port: str, t: float) -> float:
        """Photons a second that enter an optical input around time t, as a slow meter averages them."""
        return self.field(port, self.world.grid(t, METER_POINTS)).flux
