"""Where a twin touches the world: light and voltage, in and out, and pulses in, evaluated when somebody asks.

Nothing ticks. An output is a function of instrument time that its twin computes in closed form from its settings;
an input asks whatever it was connected to, at the time of the measurement. Unconnected inputs are dark or at 0 V.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Light:
    """Continuous light at one instant: power in W, vacuum wavelength in m."""

    power: float
    wavelength: float

    @property
    def dark(self) -> bool:
        """Whether there is no light at all."""
        return self.power <= 0.0


DARK = Light(0.0, 1550e-9)
"""No light; the wavelength is that of the band, for whoever divides by it."""


class LightOut:
    """A fibre that light leaves; `evaluate(t)` gives the light at instrument time t in s."""

    def __init__(self, evaluate: Callable[[float], Light]) -> None:
        self._evaluate = evaluate

    def at(self, t: float) -> Light:
        """The light that leaves at time t."""
        return self._evaluate(t)

    def dark(self, t: float) -> bool:
        """Whether nothing leaves at time t: what safety tests ask the world."""
        return self._evaluate(t).dark


class LightIn:
    """A fibre that light enters; dark until `connect` names a source."""

    def __init__(self) -> None:
        self._source: Callable[[float], Light] | None = None

    def connect(self, source: Callable[[float], Light] | LightOut | None) -> None:
        """Couple to a function of time or to an output; None makes it dark again."""
        self._source = source.at if isinstance(source, LightOut) else source

    @property
    def connected(self) -> bool:
        """Whether a fibre is plugged in."""
        return self._source is not None

    def at(self, t: float) -> Light:
        """The light that enters at time t."""
        return DARK if self._source is None else self._source(t)

    def power(self, t: float) -> float:
        """Entering power in W at time t."""
        return self.at(t).power


def _instants(t: float, rate: float, count: int) -> NDArray[np.float64]:
    return t + np.arange(count, dtype=np.float64) / rate


Voltages = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Voltages in V at given instants in s, shape in = shape out."""


Edges = Callable[[float, float, float, bool], "NDArray[np.float64] | None"]
"""Instants in [start, stop) at which a voltage crosses a level upwards (True) or downwards, rising; None where its
source does not know them without looking at the voltage."""


class VoltageOut:
    """A connector that a voltage leaves; `evaluate` maps instants (s) to voltages (V), vectorised.

    `edges` tells when it crosses a level, exactly; without it whoever waits for an edge must look at the voltage.
    """

    def __init__(self, evaluate: Voltages, edges: Edges | None = None) -> None:
        self._evaluate = evaluate
        self._edges = edges

    def edges(self, start: float, stop: float, level: float, rising: bool) -> NDArray[np.float64] | None:
        """When it crosses a level: see `Edges`."""
        return None if self._edges is None else self._edges(start, stop, level, rising)

    def at(self, t: float) -> float:
        """The voltage in V at time t."""
        return float(self._evaluate(np.array([t]))[0])

    def evaluate(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """The voltages in V at many instants in s."""
        return self._evaluate(instants)

    def samples(self, t: float, rate: float, count: int) -> NDArray[np.float64]:
        """`count` voltages in V from time t on, `rate` per second; shape (count,)."""
        return self._evaluate(_instants(t, rate, count))


class VoltageIn:
    """A connector that a voltage enters; 0 V until `connect` names a source."""

    def __init__(self) -> None:
        self._source: Voltages | None = None
        self._edges: Edges | None = None

    def connect(self, source: Voltages | VoltageOut | None, edges: Edges | None = None) -> None:
        """Couple to a vectorised function of instants (`edges`: when it crosses a level) or to an output; None opens
        the connector."""
        if isinstance(source, VoltageOut):
            self._source, self._edges = source.evaluate, source.edges
        else:
            self._source, self._edges = source, edges

    def edges(self, start: float, stop: float, level: float, rising: bool) -> NDArray[np.float64] | None:
        """When it crosses a level, where its source knows: see `Edges`."""
        if self._source is None:
            return np.zeros(0)
        return None if self._edges is None else self._edges(start, stop, level, rising)

    @property
    def connected(self) -> bool:
        """Whether anything is plugged in."""
        return self._source is not None

    def at(self, t: float) -> float:
        """The voltage in V at time t."""
        return float(self.samples(t, 1.0, 1)[0])

    def evaluate(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:
        """The voltages in V at many instants in s."""
        return np.zeros(instants.shape) if self._source is None else self._source(instants)

    def samples(self, t: float, rate: float, count: int) -> NDArray[np.float64]:
        """`count` voltages in V from time t on, `rate` per second; shape (count,)."""
        return self.evaluate(_instants(t, rate, count))


class PulseIn:
    """A connector that pulses of a single-photon detector enter; none until `connect` names their rate.

    The rate is a function of time; which pulses come is drawn by the twin, from a random stream of its own.
    """

    def __init__(self) -> None:
        self._rate: Callable[[float], float] | None = None

    def connect(self, rate: Callable[[float], float] | float | None) -> None:
        """Couple to a rate in 1/s, constant or a function of instrument time in s; None: nothing comes."""
        self._rate = rate if rate is None or callable(rate) else lambda t: float(rate)

    def rate(self, t: float) -> float:
        """Pulses a second at time t."""
        return 0.0 if self._rate is None else max(self._rate(t), 0.0)

    def expected(self, begin: float, end: float) -> float:
        """Expected number of pulses between two times: from the rate at eight places in between."""
        step = (end - begin) / 8
        return sum(self.rate(begin + (index + 0.5) * step) for index in range(8)) * step if step > 0 else 0.0


Port = LightOut | LightIn | VoltageOut | VoltageIn | PulseIn
