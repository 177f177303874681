"""What passes between the two ports and the light of any link: settings in, measurements out, one layer of a block at
a time. An emulation and a bench differ in the light, not in this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import MonitorReading, ReturnedLight
from labqdl.link.base import ClientPort, ServerPort

Reals = NDArray[np.floating[Any]]


@dataclass(slots=True)
class OpenShot:
    """One layer of one block, as far as the two ports have set it; fields as of the ports' methods.

    `passed` is whether its light has passed, so that measurements may be asked for; `monitor` stays None for a client
    that has none.
    """

    quadratures: Reals | None = None
    images: int = 0
    pattern: NDArray[np.bool_] | None = None
    counted: NDArray[np.bool_] | None = None
    expected_amplitude: float = 0.0
    use_sums: bool = False
    sampled: NDArray[np.int64] | None = None
    directions: Reals | None = None
    passed: bool = False
    outcomes: Reals | None = None
    monitor: MonitorReading | None = None
    light: ReturnedLight | None = None


class Exchange:
    """The shot that is open, and the two ports to it."""

    def __init__(self) -> None:
        self._current: tuple[int, int] | None = None
        self._open = OpenShot()
        self.server_port: ServerPort = _ServerEnd(self)
        self.client_port: ClientPort = _ClientEnd(self)

    def at(self, layer: int, block: int) -> OpenShot:
        """The shot of a layer of a block; an empty one where another was open."""
        if self._current != (layer, block):
            self._current, self._open = (layer, block), OpenShot()
        return self._open

    def clear(self) -> None:
        """Forget the shot that is open."""
        self._current, self._open = None, OpenShot()


class _ServerEnd(ServerPort):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def send_rows(self, layer: int, block: int, quadratures: Reals, images: int) -> None:
        shot = self._exchange.at(layer, block)
        shot.quadratures, shot.images = quadratures, images

    def set_receiver(
        self,
        layer: int,
        block: int,
        pattern: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        expected_amplitude: float,
        *,
        use_sums: bool = False,
        sampled: NDArray[np.int64] | None = None,
    ) -> None:
        shot = self._exchange.at(layer, block)
        shot.pattern, shot.counted, shot.expected_amplitude = pattern, counted, expected_amplitude
        shot.use_sums, shot.sampled = use_sums, sampled if sampled is not None and sampled.size else None

    def returned(self, layer: int, block: int) -> ReturnedLight:
        shot = self._exchange.at(layer, block)
        if shot.light is None:
            raise RuntimeError(f"no light has returned yet for layer {layer} of block {block}")
        light, shot.light = shot.light, None
        return light


class _ClientEnd(ClientPort):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def set_data(self, layer: int, block: int, directions: Reals) -> None:
        self._exchange.at(layer, block).directions = directions

    def outcomes(self, layer: int, block: int) -> Reals:
        shot = self._exchange.at(layer, block)
        if shot.outcomes is None:
            raise RuntimeError(f"no light has passed yet for layer {layer} of block {block}")
        outcomes, shot.outcomes = shot.outcomes, None
        return outcomes

    def monitor(self, layer: int, block: int) -> MonitorReading | None:
        shot = self._exchange.at(layer, block)
        if not shot.passed:
            raise RuntimeError(f"no light has passed yet for layer {layer} of block {block}")
        return shot.monitor
