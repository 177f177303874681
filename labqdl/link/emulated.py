"""The exact emulation of a light path at symbol level.

Outcomes and residuals are drawn from their joint Gaussian law (`labqdl.optics.sampler`), which is closed, so no mode
is propagated and nothing is approximated. Random numbers come from the world's root, one keyed stream for each
purpose, layer and block: results depend neither on threads nor on what ran before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import FrameDescription, Ledger, RowStatistics
from labqdl.link.base import ClientPort, Link, ServerPort
from labqdl.link.behaviours import ChannelBehaviour, ClientBehaviour, parse_channel, parse_client
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import sample_outcomes, sample_residuals, sample_statistics
from labqdl.rng import Root

Real = np.floating[Any]


class Depth(StrEnum):
    """How much of the returned light is drawn."""

    OUTCOMES = "outcomes"
    """The client's outcomes only; the server measures nothing and cannot verify."""
    STATISTICS = "statistics"
    """Outcomes and, jointly with them, the sufficient statistics of every row's residual."""
    RESIDUALS = "residuals"
    """Outcomes and every residual; slow, and the ground truth of the statistics."""


@dataclass(slots=True)
class _Shot:
    """One layer of one block, as far as the two ports have set it."""

    quadratures: NDArray[Real] | None = None
    images: int = 0
    pattern: NDArray[np.bool_] | None = None
    counted: NDArray[np.bool_] | None = None
    expected_amplitude: float = 0.0
    directions: NDArray[Real] | None = None
    outcomes: NDArray[Real] | None = None
    statistics: RowStatistics | None = None


class _Server(ServerPort):
    def __init__(self, link: EmulatedLink) -> None:
        self._link = link

    def send_rows(self, layer: int, block: int, quadratures: NDArray[Real], images: int) -> None:
        shot = self._link._shot(layer, block)
        shot.quadratures, shot.images = quadratures, images

    def set_receiver(
        self,
        layer: int,
        block: int,
        pattern: NDArray[np.bool_],
        counted: NDArray[np.bool_],
        expected_amplitude: float,
    ) -> None:
        shot = self._link._shot(layer, block)
        shot.pattern, shot.counted, shot.expected_amplitude = pattern, counted, expected_amplitude

    def returned(self, layer: int, block: int) -> RowStatistics:
        shot = self._link._shot(layer, block)
        if shot.statistics is None:
            raise RuntimeError(f"no light has returned yet for layer {layer} of block {block}")
        statistics, shot.statistics = shot.statistics, None
        return statistics


class _Client(ClientPort):
    def __init__(self, link: EmulatedLink) -> None:
        self._link = link

    def set_data(self, layer: int, block: int, directions: NDArray[Real]) -> None:
        self._link._shot(layer, block).directions = directions

    def outcomes(self, layer: int, block: int) -> NDArray[Real]:
        shot = self._link._shot(layer, block)
        if shot.outcomes is None:
            raise RuntimeError(f"no light has passed yet for layer {layer} of block {block}")
        outcomes, shot.outcomes = shot.outcomes, None
        return outcomes


class EmulatedLink(Link):
    """The exact emulation behind the interface of a link.

    Parameters
    ----------
    world:
        The light path that is really there. The parties believe in the frame's ledger; the two differ where
        somebody cheats.
    root:
        The world's random numbers.
    client:
        The client's box of optics.
    depth:
        How much of the returned light is drawn.
    channel:
        Who holds the fibre; only a client who keeps what a lossless one spares makes a difference beyond `world`.
    """

    def __init__(
        self,
        world: Ledger,
        root: Root,
        *,
        client: ClientBehaviour | None = None,
        depth: Depth = Depth.STATISTICS,
        channel: ChannelBehaviour | None = None,
    ) -> None:
        self._world = world
        self._root = root
        self._client = parse_client("honest") if client is None else client
        self._channel = parse_channel("honest") if channel is None else channel
        self._depth = depth
        self._frame: FrameDescription | None = None
        self._laws: dict[int, tuple[LinkLaw, float]] = {}
        self._current: tuple[int, int] | None = None
        self._open = _Shot()
        self._rows_sent = 0
        self._server_port = _Server(self)
        self._client_port = _Client(self)

    @property
    def server_port(self) -> ServerPort:
        """The server's end."""
        return self._server_port

    @property
    def client_port(self) -> ClientPort:
        """The client's end."""
        return self._client_port

    @property
    def rows_sent(self) -> int:
        """Rows of light sent, each image of a block counted."""
        return self._rows_sent

    def prepare(self, frame: FrameDescription) -> None:
        """Compute the law of every layer for the agreed frame."""
        self._frame = frame
        honest = parse_client("honest").build
        kept = self._channel.kept(self._world)
        for index in range(len(frame.layers)):
            law = LinkLaw.from_ledger(self._world, self._client.build(frame, self._world, index), expected=frame.ledger)
            cheating = law.reading_kept_light(kept) if kept else law
            # The client's software divides by the slope of the agreed tap. A cheating box is read with its own
            # slope by its owner, so its outcomes are brought to the slope that the software expects.
            agreed = honest(frame, frame.ledger, index).tap.outcome_gain
            slope = agreed / law.client.tap.outcome_gain * law.outcome_gain / cheating.outcome_gain
            self._laws[index] = cheating, slope

    def transmit(self, layer: int, block: int) -> None:
        """Draw what the receivers measure."""
        if self._frame is None:
            raise RuntimeError("the link was not prepared for a frame")
        shot = self._shot(layer, block)
        q, x = shot.quadratures, shot.directions
        if q is None or x is None or shot.pattern is None or shot.counted is None:
            raise RuntimeError(f"layer {layer} of block {block}: both ports must be set before light flows")
        if shot.images != len(x):
            raise RuntimeError(f"the server streams for {shot.images} images, the client set {len(x)} vectors")
        law, slope = self._laws[layer]
        law = replace(law, expected_amplitude=shot.expected_amplitude)

        def streams(purpose: str) -> np.random.Generator:
            return self._root.generator(purpose, layer, block)

        if self._depth is Depth.OUTCOMES:
            shot.outcomes = sample_outcomes(law, q, x, streams)
            shot.statistics = _nothing(q.shape[0], shot.images)
        elif self._depth is Depth.STATISTICS:
            shot.outcomes, light = sample_statistics(law, q, x, shot.pattern, shot.counted, streams)
            shot.statistics = light.statistics
        else:
            drawn = sample_residuals(law, q, x, shot.pattern, shot.counted, streams)
            shot.outcomes, shot.statistics = drawn.outcomes, drawn.statistics
        if slope != 1.0:
            shot.outcomes = shot.outcomes * shot.outcomes.dtype.type(slope)
        self._rows_sent += q.shape[0] * shot.images

    def close(self) -> None:
        """An emulated path is dark as soon as nothing is transmitted; what was set is forgotten."""
        self._current = None
        self._open = _Shot()

    def _shot(self, layer: int, block: int) -> _Shot:
        if self._current != (layer, block):
            self._current, self._open = (layer, block), _Shot()
        return self._open


def _nothing(rows: int, images: int) -> RowStatistics:
    """Statistics of light that nobody measured."""
    none, zero = np.zeros(rows), np.zeros(rows, np.int64)
    return RowStatistics(np.zeros(rows, np.bool_), none, none, none, none, none, zero, zero, zero, none, images)
