"""What a report tells about light: the client's outcomes against perfect ones, the server's evidence block by block.

Both join what server and client keep from each other, which only a simulation can.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import RecordError
from labqdl.facts import FrameDescription, ReturnedLight, TestResult
from labqdl.network import Network
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import outcome_slope, signal_to_noise
from labqdl.optics.gain_tap import tap_law
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import layer_amplitudes
from labqdl.plots import fit_outcomes, normal_deviate
from labqdl.protocol import Server
from labqdl.report.content import CheckPath, Evidence, LayerOutcomes, Missing
from labqdl.security.checks import TESTS
from labqdl.security.expected import LayerLight, layer_light
from labqdl.security.verification import Verifier
from labqdl.units import to_db

MOST_OUTCOMES = 1_500_000
"""Outcomes of a layer that a picture is made of, at most: the first ones."""
MOST_LOOKS = 48
"""Points of a path over a run, at most."""

Returned = Iterable[tuple[int, Mapping[int, ReturnedLight]]]
"""Blocks in the order of sending, each with its layers."""


def gather_outcomes(
    network: Network,
    frame: FrameDescription,
    prepared: NDArray[np.float32],
    blocks: Iterable[tuple[int, NDArray[np.floating[Any]]]],
) -> tuple[LayerOutcomes, ...] | Missing:
    """Outcomes of every layer against ideal inner products of weights and data.

    The data of a later layer are the client's own activations, made from its recorded outcomes as the client makes
    them. Outcomes of vectors that are all zero are left out: the client discards them.

    Parameters
    ----------
    network, frame:
        What was run.
    prepared:
        Vectors of the first layer, (images, features).
    blocks:
        (block, outcomes) with outcomes of shape (images, rows of the layers that were done), SNU^(1/2).
    """
    law = LinkLaw.from_ledger(frame.ledger, honest(frame.ledger, frame.tap))
    gain = tap_law(frame.tap, frame.ledger).outcome_gain
    factors = [gain * math.sqrt(frame.ledger.forward * 2 * layer.mu) for layer in frame.layers]
    ideal: list[list[NDArray[np.float32]]] = [[] for _ in frame.layers]
    measured: list[list[NDArray[np.float32]]] = [[] for _ in frame.layers]
    shown, seen = [0] * len(frame.layers), [0] * len(frame.layers)
    for block, outcomes in blocks:
        images = frame.block_images(block)
        vectors = prepared[images.start : images.stop]
        first = 0
        for index, (layer, factor) in enumerate(zip(network.layers, factors, strict=True)):
            values = outcomes[:, first : first + layer.rows]
            if values.shape[1] < layer.rows:
                break
            first += layer.rows
            found = (values / factor).astype(np.float32)
            units, norms = layer.directions(vectors)
            seen[index] += len(units)
            room = min(len(units), max(MOST_OUTCOMES // layer.rows - shown[index], 0))
            full = np.flatnonzero(norms[:room] > 0)
            shown[index] += room
            ideal[index].append((units[full] @ layer.unit_weights.T).ravel())
            measured[index].append(found[full].ravel())
            vectors = layer.finish(found, norms)
    result = []
    for index, layer_frame in enumerate(frame.layers):
        x, y = (
            np.concatenate(parts) if parts else np.zeros(0, np.float32) for parts in (ideal[index], measured[index])
        )
        if x.size < 3 or not np.ptp(x):
            continue
        result.append(
            LayerOutcomes(
                layer=index + 1,
                ideal=x,
                measured=y,
                fit=fit_outcomes(x, y),
                expected_slope=outcome_slope(law) * math.sqrt(2 * layer_frame.mu) / factors[index],
                expected_f2_db=to_db(signal_to_noise(law, layer_frame.mu)),
                images=shown[index],
                of_images=seen[index],
            )
        )
    return tuple(result) or Missing("no outcomes were recorded.")


def layer_lights(network: Network, frame: FrameDescription) -> tuple[LayerLight, ...]:
    """What the server's own weights say about its light, layer by layer, as the server itself computes it."""
    return tuple(
        layer_light(layer_amplitudes(layer.weights, layer.bias, setting.mu)[0], setting.tiles)
        for layer, setting in zip(network.layers, frame.layers, strict=True)
    )


def gather_evidence(
    frame: FrameDescription,
    network: Network | None,
    server: Server | None,
    returned: Returned,
    count: int,
    recorded: Sequence[TestResult] | None,
) -> Evidence | Missing:
    """The verifier fed block by block: every test and the e-process over the run.

    Parameters
    ----------
    frame:
        What both parties agreed on.
    network, server:
        The server's network, and the server before any light, who knows its own choices. None where the network is
        not at hand: then the worst weights have to be assumed, and sums over uses and kept images are not looked at.
    returned:
        What the server measured; taken block by block.
    count:
        How many blocks there are, roughly: it sets how often the tests are looked at.
    recorded:
        Tests of the recorded verdict; None where there is none yet.

    Raises
    ------
    RecordError
        For records that do not fit the frame.
    """
    light = None if network is None else layer_lights(network, frame)
    verifier = Verifier(frame, light)
    looks: dict[str, list[_Look]] = {}
    symbols, log10_e = [0.0], [0.0]
    last: tuple[TestResult, ...] = ()

    def note_evidence() -> None:
        if verifier.samples > symbols[-1]:
            symbols.append(float(verifier.samples))
            log10_e.append(verifier.evidence().log10_now)

    def look() -> tuple[TestResult, ...]:
        note_evidence()
        tests = verifier.consistency().tests
        for test in tests:
            if test.name in TESTS:
                looks.setdefault(test.name, []).append(_Look(float(verifier.samples), test, verifier.accepted(test)))
        return tests

    stride, looked = max(1, -(-count // MOST_LOOKS)), 0
    for number, (block, layers) in enumerate(returned, start=1):
        for layer, measured in sorted(layers.items()):
            try:
                if server is None:
                    verifier.add(layer, block, ReturnedLight(measured.statistics))
                else:
                    verifier.add(layer, block, measured, server.pattern(layer, block))
            except ValueError as error:
                raise RecordError(f"server/blocks/{block:06d}: {error}") from None
            if stride == 1:
                note_evidence()
        if verifier.samples and number % stride == 0:
            last, looked = look(), verifier.samples
    if verifier.samples > looked:
        last = look()
    if not verifier.samples:
        return Missing("nothing of the returned light was measured, so there is nothing to test.")
    return Evidence(
        paths=tuple(_path(name, looks[name]) for name in TESTS if name in looks),
        tests=last if recorded is None else tuple(recorded),
        final=recorded is not None,
        symbols=np.array(symbols),
        log10_e=np.array(log10_e),
        threshold=verifier.log10_abort,
        alpha=frame.plan.alpha,
        certified=verifier.bounds(),
        worst_case=light is None,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a test while the run went on."""

    symbols: float
    test: TestResult
    edges: tuple[float, float] | None


def _path(name: str, looks: Sequence[_Look]) -> CheckPath:
    """A test over the run; in standard deviations where it has no edges in a unit of its own."""
    symbols = np.array([look.symbols for look in looks])
    deviation = np.array([normal_deviate(look.test.p_value, look.test.z) for look in looks])
    edges = [look.edges for look in looks if look.edges is not None]
    if len(edges) < len(looks):
        limit = np.array([normal_deviate(look.test.threshold, 1.0) for look in looks])
        return CheckPath(name, "standard deviations", symbols, deviation, 0 * deviation, -limit, limit)
    return CheckPath(
        name=name,
        unit=looks[-1].test.unit,
        symbols=symbols,
        statistic=np.array([look.test.statistic for look in looks]),
        expected=np.array([look.test.expected for look in looks]),
        low=np.array([edge[0] for edge in edges]),
        high=np.array([edge[1] for edge in edges]),
    )
