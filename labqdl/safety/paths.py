"""Light paths: what can interrupt them, and who confirms that they are dark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labqdl.instruments import Instrument, NotConfirmed


@dataclass(frozen=True, slots=True)
class DarkCheck:
    """A light path is dark when `quantity` of the instrument `meter` reads at most `below` (in the quantity's unit).

    `path` is the light path's name for messages.
    """

    path: str
    meter: Instrument
    quantity: str
    below: float

    def confirm(self) -> None:
        """Read the meter; NotConfirmed where it sees light."""
        self.meter.open()
        confirm_dark(self.path, self.meter, self.quantity, self.below)


@dataclass(frozen=True, slots=True)
class LightPath:
    """A light path: its emitter, its barriers (closed with it, whoever opened them), and who confirms darkness."""

    name: str
    source: Instrument
    barriers: tuple[Instrument, ...] = ()
    checks: tuple[DarkCheck, ...] = field(default=())


def confirm_dark(path: str, meter: Instrument, quantity: str, below: float) -> None:
    """NotConfirmed unless the quantity ("power", "channel 1.power") reads at most `below`."""
    label, _, name = quantity.rpartition(".")
    part: Any = next((one for one in meter.parts() if one.label == label), None)
    if part is None:
        raise NotConfirmed(f"{path}: {meter.name} has no part '{label}'")
    value = float(getattr(part, name))
    if not value <= below:
        raise NotConfirmed(f"{path}: {meter.name} still reads {quantity} = {value:.3g}, dark is at most {below:.3g}")
