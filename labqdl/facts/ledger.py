"""The ledger: every component in the light path, what it loses and adds, and who owns it.

Bounds, honest expectations and the emulation all read the same ledger, so that a decibel cannot be counted in one
place and forgotten in another. Losses are power transmissivities, noises are quadrature variances in SNU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Owner(StrEnum):
    """Who holds a component in hand."""

    SERVER = "server"
    CHANNEL = "channel"
    CLIENT = "client"


class Place(StrEnum):
    """Where a component sits; light passes the places in this order."""

    FORWARD = "forward"
    """Between the server's output plane (where mu is stated) and the client's input."""
    CLIENT_IN = "client-in"
    """Inside the client, before the gain-and-tap stage (interferometer)."""
    TAP = "tap"
    """The gain-and-tap stage itself: spontaneous emission; its in-line noise."""
    CLIENT_RECEIVER = "client-receiver"
    """The client's homodyne receiver on the tapped light."""
    CLIENT_OUT = "client-out"
    """Inside the client, behind the tap (inverse interferometer)."""
    RETURN = "return"
    """Between the client's output and the server's receiver."""
    SERVER_RECEIVER = "server-receiver"
    """The server's homodyne receiver on the returned light."""
    SERVER_COUNTER = "server-counter"
    """The server's photon counter behind the nulling displacement."""


RECEIVERS = frozenset({Place.CLIENT_RECEIVER, Place.SERVER_RECEIVER, Place.SERVER_COUNTER})


@dataclass(frozen=True, slots=True)
class Component:
    """One row of the ledger.

    Attributes
    ----------
    name:
        What a person at the bench calls it; unique in a ledger.
    place, owner:
        Where it sits and who owns it.
    trusted:
        Whether the *server* may assume that the client cannot exploit its loss and noise. Components that the
        server owns are trusted; the client's never are.
    transmissivity:
        Power transmissivity in (0, 1]; for a receiver its efficiency.
    electronic_noise:
        v_el of a receiver, SNU at its detector, >= 0.
    excess:
        Technical noise, SNU per quadrature and mode at this component's output, >= 0 (not for receivers).
    phase_noise:
        Phase noise of the signal against the local oscillator of the *next* receiver, rad rms per row, >= 0.
    n_sp:
        Spontaneous-emission factor of the amplifier (>= 1; 1 is the quantum limit); only at Place.TAP.
    dark_counts:
        Mean dark counts per mode slot of a counter, >= 0.
    extinction:
        Power fraction of the signal that nulling leaves at the counter, >= 0.
    calibration:
        Where the figures come from and how old they are; printed with every bound.
    """

    name: str
    place: Place
    owner: Owner
    trusted: bool = False
    transmissivity: float = 1.0
    electronic_noise: float = 0.0
    excess: float = 0.0
    phase_noise: float = 0.0
    n_sp: float = 1.0
    dark_counts: float = 0.0
    extinction: float = 0.0
    calibration: str = "exact (emulated)"

    def __post_init__(self) -> None:
        def check(name: str, value: float, low: float, high: float = math.inf) -> None:
            if not (math.isfinite(value) and low <= value <= high):
                bound = f">= {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise ValueError(f"{self.name}: {name} must be {bound}, got {value!r}")

        check("transmissivity", self.transmissivity, 0.0, 1.0)
        if self.transmissivity == 0:
            raise ValueError(f"{self.name}: transmissivity must be above 0: no light would pass")
        for name in ("electronic_noise", "excess", "phase_noise", "dark_counts"):
            check(name, getattr(self, name), 0.0)
        check("extinction", self.extinction, 0.0, 1.0)
        check("n_sp", self.n_sp, 1.0)
        if self.owner is Owner.CLIENT and self.trusted:
            raise ValueError(f"{self.name}: the server cannot trust what the client owns")
        if self.place in RECEIVERS and self.excess:
            raise ValueError(f"{self.name}: a receiver's noise is its electronic_noise, not excess")
        if self.place not in RECEIVERS and self.electronic_noise:
            raise ValueError(f"{self.name}: electronic_noise belongs to a receiver")
        if self.place is not Place.TAP and self.n_sp != 1.0:
            raise ValueError(f"{self.name}: n_sp belongs to the gain-and-tap stage (place 'tap')")
        if self.place is Place.TAP and self.transmissivity != 1.0:
            raise ValueError(f"{self.name}: loss of the gain-and-tap stage belongs to 'client-in' or 'client-out'")
        if self.place is not Place.SERVER_COUNTER and (self.dark_counts or self.extinction):
            raise ValueError(f"{self.name}: dark_counts and extinction belong to the counter")

    @property
    def server_trusts(self) -> bool:
        """Whether the server's bound may set this component's loss and noise aside."""
        return self.trusted or self.owner is Owner.SERVER


@dataclass(frozen=True, slots=True)
class Ledger:
    """All components of a light path, with the figures that follow from them.

    The transmissivities are products of the components' figures, the noises sums referred to the plane that each
    docstring names.
    """

    name: str
    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        names = [component.name for component in self.components]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"ledger {self.name}: two components are called {name!r}")

    def at(self, *places: Place) -> tuple[Component, ...]:
        """Components at any of these places, in the ledger's order."""
        return tuple(component for component in self.components if component.place in places)

    def transmissivity(self, *places: Place, only: Iterable[Component] | None = None) -> float:
        """Product of the power transmissivities at these places, of all components or of those in `only`."""
        chosen = self.at(*places)
        if only is not None:
            kept = set(only)
            chosen = tuple(component for component in chosen if component in kept)
        return math.prod(component.transmissivity for component in chosen)

    @property
    def forward(self) -> float:
        """T_1: server's output plane to the tap."""
        return self.transmissivity(Place.FORWARD, Place.CLIENT_IN)

    @property
    def back(self) -> float:
        """T_2: tap to the server's receivers."""
        return self.transmissivity(Place.CLIENT_OUT, Place.RETURN)

    @property
    def total(self) -> float:
        """T = T_1 T_2."""
        return self.forward * self.back

    @property
    def client_efficiency(self) -> float:
        """eta_c, efficiency of the client's receiver."""
        return self.transmissivity(Place.CLIENT_RECEIVER)

    @property
    def server_efficiency(self) -> float:
        """eta_s, efficiency of the server's homodyne receiver."""
        return self.transmissivity(Place.SERVER_RECEIVER)

    @property
    def counter_efficiency(self) -> float:
        """Efficiency of the server's photon counter."""
        return self.transmissivity(Place.SERVER_COUNTER)

    @property
    def client_noise(self) -> float:
        """v_c, SNU at the client's detector."""
        return math.fsum(component.electronic_noise for component in self.at(Place.CLIENT_RECEIVER))

    @property
    def server_noise(self) -> float:
        """v_s, SNU at the server's detector."""
        return math.fsum(component.electronic_noise for component in self.at(Place.SERVER_RECEIVER))

    @property
    def n_sp(self) -> float:
        """Spontaneous-emission factor of the amplifier; the largest one named, 1 if none is."""
        return max((component.n_sp for component in self.at(Place.TAP)), default=1.0)

    @property
    def dark_counts(self) -> float:
        """Mean dark counts per mode slot of the counter."""
        return math.fsum(component.dark_counts for component in self.at(Place.SERVER_COUNTER))

    @property
    def extinction(self) -> float:
        """Power fraction of the nulled signal that reaches the counter."""
        return math.fsum(component.extinction for component in self.at(Place.SERVER_COUNTER))

    @property
    def forward_excess(self) -> float:
        """Technical noise at the tap's input, SNU per quadrature and mode."""
        return self._excess((Place.FORWARD, Place.CLIENT_IN))

    @property
    def back_excess(self) -> float:
        """Technical noise that is added behind the tap's input, at the server's input (before its receiver)."""
        return self._excess((Place.TAP, Place.CLIENT_OUT, Place.RETURN))

    @property
    def technical_excess(self) -> float:
        """All technical noise at the server's input, SNU per quadrature and mode."""
        return self.forward_excess * self.back + self.back_excess

    def _excess(self, places: tuple[Place, ...]) -> float:
        noise = 0.0
        for place in places:
            for component in self.at(place):
                noise = noise * component.transmissivity + component.excess
        return noise

    @property
    def forward_phase_noise(self) -> float:
        """Phase noise between signal and the client's local oscillator, rad rms per row."""
        return math.hypot(*(c.phase_noise for c in self.at(Place.FORWARD, Place.CLIENT_IN, Place.CLIENT_RECEIVER)), 0.0)

    @property
    def total_phase_noise(self) -> float:
        """Phase noise between returned light and the server's local oscillator, rad rms per row."""
        skipped = (Place.CLIENT_RECEIVER, Place.SERVER_COUNTER)
        return math.hypot(*(c.phase_noise for c in self.components if c.place not in skipped), 0.0)

    @property
    def calibrations(self) -> tuple[str, ...]:
        """Distinct statements on the age and source of the figures."""
        return tuple(dict.fromkeys(component.calibration for component in self.components)) or ("ideal parts",)

    def without(self, name: str) -> Ledger:
        """The same ledger with one component made ideal: what a bound would be if that part were perfect."""
        ideal = tuple(
            replace(
                component,
                transmissivity=1.0,
                electronic_noise=0.0,
                excess=0.0,
                phase_noise=0.0,
                n_sp=1.0,
                dark_counts=0.0,
                extinction=0.0,
            )
            if component.name == name
            else component
            for component in self.components
        )
        return Ledger(self.name, ideal)
