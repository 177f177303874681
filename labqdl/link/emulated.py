"""The exact emulation of a light path at symbol level.

Outcomes and residuals are drawn from their joint Gaussian law (`labqdl.optics.sampler`), which is closed, so no mode
is propagated and nothing is approximated. Random numbers come from the world's root, one keyed stream for each
purpose, layer and block: results depend neither on threads nor on what ran before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import (
    FrameDescription,
    Ledger,
    MonitorReading,
    Place,
    ResidualSample,
    ReturnedLight,
    RowStatistics,
    ShotNoise,
    UseSums,
)
from labqdl.facts.monitor import POWER_MONITOR, WATCHDOG_DARK_COUNTS
from labqdl.link.base import ClientPort, Link, ServerPort
from labqdl.link.behaviours import (
    ChannelBehaviour,
    ClientBehaviour,
    ServerBehaviour,
    parse_channel,
    parse_client,
    parse_server,
)
from labqdl.link.exchange import Exchange, OpenShot
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import Streams, sample_outcomes, sample_residuals, sample_statistics
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
    server:
        The source of the light. What a dishonest one sends changes what the client sees; what it measures itself is
        drawn as if it were honest, since it may report whatever it likes.
    """

    def __init__(
        self,
        world: Ledger,
        root: Root,
        *,
        client: ClientBehaviour | None = None,
        depth: Depth = Depth.STATISTICS,
        channel: ChannelBehaviour | None = None,
        server: ServerBehaviour | None = None,
    ) -> None:
        self._world = world
        self._root = root
        self._client = parse_client("honest") if client is None else client
        self._channel = parse_channel("honest") if channel is None else channel
        self._server = parse_server("honest") if server is None else server
        self._depth = depth
        self._frame: FrameDescription | None = None
        self._laws: dict[int, tuple[LinkLaw, float]] = {}
        self._offsets: dict[int, NDArray[Real]] = {}
        self._exchange = Exchange()
        self._rows_sent = 0

    @property
    def server_port(self) -> ServerPort:
        """The server's end."""
        return self._exchange.server_port

    @property
    def client_port(self) -> ClientPort:
        """The client's end."""
        return self._exchange.client_port

    @property
    def rows_sent(self) -> int:
        """Rows of light sent, each image of a block counted."""
        return self._rows_sent

    def prepare(self, frame: FrameDescription) -> None:
        """Compute the law of every layer for the agreed frame."""
        self._frame, self._offsets = frame, {}
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
        shot = self._exchange.at(layer, block)
        q, x = shot.quadratures, shot.directions
        if q is None or x is None or shot.pattern is None or shot.counted is None:
            raise RuntimeError(f"layer {layer} of block {block}: both ports must be set before light flows")
        if shot.images != len(x):
            raise RuntimeError(f"the server streams for {shot.images} images, the client set {len(x)} vectors")
        law, slope = self._laws[layer]
        law = replace(law, expected_amplitude=shot.expected_amplitude)
        setting = self._frame.layers[layer]
        outcomes, light = [], []
        for tile in range(setting.tiles):
            rows = slice(tile * setting.rows, (tile + 1) * setting.rows)
            modes = slice(2 * tile * setting.tile_modes, 2 * (tile + 1) * setting.tile_modes)
            key = (layer, block) if setting.tiles == 1 else (layer, block, tile)
            drawn, returned = self._draw(shot, law, q[rows], x[:, modes], shot.counted[rows], rows, key)
            outcomes.append(drawn)
            light.append(returned)
        shot.outcomes = outcomes[0] if len(outcomes) == 1 else np.concatenate(outcomes, axis=1)
        shot.light = _joined(light)
        if self._depth is not Depth.OUTCOMES:
            shot.light = self._with_vacuum(shot.light, lambda purpose: self._root.generator(purpose, layer, block))
        if slope != 1.0:
            shot.outcomes = shot.outcomes * shot.outcomes.dtype.type(slope)
        photons = self._root.generator("monitor", layer, block)
        shot.passed = True
        shot.monitor = self._monitor(q, setting.tiles, shot.images, setting.mu, photons)
        self._rows_sent += q.shape[0] * shot.images

    def _draw(
        self,
        shot: OpenShot,
        law: LinkLaw,
        q: NDArray[Real],
        x: NDArray[Real],
        counted: NDArray[np.bool_],
        rows: slice,
        key: tuple[int, ...],
    ) -> tuple[NDArray[Real], ReturnedLight]:
        """What the receivers measure of one tile, (vectors, rows) and the returned light of its rows."""
        assert self._frame is not None
        assert shot.pattern is not None
        assert shot.quadratures is not None
        offset: NDArray[Real] | None = None
        if self._depth is not Depth.OUTCOMES:
            offset = self._offset(key[0], shot.quadratures)
            offset = None if offset is None else offset[rows]

        def streams(purpose: str) -> np.random.Generator:
            return self._root.generator(purpose, *key)

        if self._depth is Depth.OUTCOMES:
            outcomes = sample_outcomes(law, q, x, streams)
            light = ReturnedLight(_nothing(q.shape[0], shot.images))
        elif self._depth is Depth.STATISTICS:
            outcomes, light = sample_statistics(
                law,
                q,
                x,
                shot.pattern,
                counted,
                streams,
                use_sums=shot.use_sums,
                sampled=shot.sampled,
                offset=offset,
            )
        else:
            drawn = sample_residuals(law, q, x, shot.pattern, counted, streams, offset=offset)
            outcomes, light = drawn.outcomes, drawn.light(use_sums=shot.use_sums, sampled=shot.sampled)
        if not self._server.honest:
            outcomes = self._dishonest(law, q, x, self._frame.layers[key[0]].mu, streams)
        return outcomes, light

    def _offset(self, layer: int, q: NDArray[Real]) -> NDArray[Real] | None:
        """What the client's box adds to every use of a weight in the same way, (rows, n_weights); None if nothing."""
        assert self._frame is not None
        variance = self._client.offset_variance(self._frame, self._world, layer)
        if not variance:
            return None
        if layer not in self._offsets:
            noise = self._root.generator("offset", layer).standard_normal(q.shape, dtype=np.float32)
            self._offsets[layer] = noise * np.float32(math.sqrt(variance))
        return self._offsets[layer]

    def _with_vacuum(self, light: ReturnedLight, streams: Streams) -> ReturnedLight:
        """The light with the squares of the vacuum slots beside its homodyned rows, where the unit is measured."""
        assert self._frame is not None
        kind = self._frame.plan.shot_noise
        if kind is ShotNoise.KNOWN:
            return light
        ledger, statistics = self._world, light.statistics
        variance = 1.0 + ledger.server_noise
        if kind is ShotNoise.CROSSED:
            spike = ledger.back * self._client.vacuum_spike
            variance += ledger.server_efficiency * (ledger.technical_excess + spike)
        slots = self._frame.vacuum_slots * statistics.images * int(np.count_nonzero(~statistics.counted))
        squares = variance * float(streams("vacuum").chisquare(slots)) if slots else 0.0
        return replace(light, statistics=replace(statistics, vacuum_squares=squares, vacuum_slots=slots))

    def _dishonest(
        self, law: LinkLaw, q: NDArray[Real], x: NDArray[Real], mu: float, streams: Streams
    ) -> NDArray[Real]:
        """Outcomes of light that a dishonest server sends: brighter, or one half of entangled light."""
        noise = 2.0 * self._server.thermal_photons * law.forward
        sent = replace(law, forward_excess=law.forward_excess + noise)
        return sample_outcomes(sent, q * q.dtype.type(math.sqrt(self._server.energy(mu))), x, streams)

    def _monitor(
        self, q: NDArray[Real], tiles: int, images: int, mu: float, generator: np.random.Generator
    ) -> MonitorReading:
        """The client's power meter and its detector of out-of-band light, both Poisson of the mean energy.

        The meter reads whole rows, all tiles of each.
        """
        ledger, server = self._world, self._server
        taken = [part for part in ledger.at(Place.CLIENT_IN) if part.name == POWER_MONITOR]
        fraction = 1.0 - taken[0].transmissivity if taken else 0.0
        rows, n_modes = q.shape[0] // tiles, tiles * q.shape[1] // 2
        arriving = ledger.transmissivity(Place.FORWARD)
        photons = np.zeros(rows)
        if fraction or server.out_of_band:
            energy = np.square(q, dtype=np.float64).sum(axis=1).reshape(tiles, rows).sum(axis=0)
            photons += 0.25 * images * arriving * energy
        noise = images * n_modes * (arriving * server.thermal_photons + 0.5 * ledger.forward_excess)
        darks = WATCHDOG_DARK_COUNTS * rows * n_modes * images
        return MonitorReading(
            photons=generator.poisson(fraction * (server.energy(mu) * photons + noise)),
            fraction=fraction,
            out_of_band=int(generator.poisson(darks + server.out_of_band * float(photons.sum()))),
        )

    def close(self) -> None:
        """An emulated path is dark as soon as nothing is transmitted; what was set is forgotten."""
        self._exchange.clear()


def _joined(parts: Sequence[ReturnedLight]) -> ReturnedLight:
    """The returned light of all tiles, whose rows follow each other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part.statistics, field.name) for part in parts])
        for field in fields(RowStatistics)
        if isinstance(getattr(first.statistics, field.name), np.ndarray)
    }
    uses = [part.use_sums for part in parts if part.use_sums is not None]
    samples = [part.sample for part in parts if part.sample is not None]
    sample: ResidualSample | None = None
    if samples:
        starts = np.cumsum([0, *(part.statistics.counted.size for part in parts[:-1])])
        rows = np.concatenate([each.rows + start for each, start in zip(samples, starts, strict=True)])
        residuals = np.concatenate([each.residuals for each in samples], axis=1)
        sample = ResidualSample(samples[0].images, rows, residuals)
    return ReturnedLight(
        replace(first.statistics, **columns),
        UseSums(np.concatenate([each.sums for each in uses]), uses[0].images) if uses else None,
        sample,
    )


def _nothing(rows: int, images: int) -> RowStatistics:
    """Statistics of light that nobody measured."""
    none, zero = np.zeros(rows), np.zeros(rows, np.int64)
    return RowStatistics(np.zeros(rows, np.bool_), none, none, none, none, none, zero, zero, zero, none, images)
