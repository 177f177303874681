"""The workload of the benchmarks: MNIST test digits, both layers of `mnist-robust`, the law of an ideal link."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.api.experiment import DEFAULT_BLOCK, RESIDUALS_BLOCK
from labqdl.config import load_link
from labqdl.facts import VerificationPlan
from labqdl.network import DenseLayer, Network, load_dataset, load_model
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import layer_amplitudes
from labqdl.optics.sampler import Streams
from labqdl.rng import Root

Floats = NDArray[np.float32]

BLOCK = DEFAULT_BLOCK
"""Images per block, the default of `labqdl run`."""
RESIDUAL_BLOCK = RESIDUALS_BLOCK
"""The same where every residual is drawn."""
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Layer:
    """One layer as light: quadratures (rows, n_weights) in both orders of memory, and the network's layer."""

    dense: DenseLayer
    rows: Floats
    columns: Floats
    to_units: np.float32
    pattern: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    @property
    def n_modes(self) -> int:
        return self.pattern.size


@dataclass(frozen=True)
class Workload:
    """Network, law of the link, data.

    Attributes: `images` are unit vectors (10,000, 784), so that all that is timed of the first layer is its light;
    `layers` as they are sent; `root` the keyed streams.
    """

    network: Network
    law: LinkLaw
    layers: tuple[Layer, ...]
    images: Floats
    root: Root

    def streams(self, layer: int, block: int) -> Streams:
        """Keyed streams of one layer of one block, as the emulated link makes them."""

        def stream(purpose: str, /) -> np.random.Generator:
            return self.root.generator(purpose, layer, block)

        return stream

    def blocks(self, images: int, size: int = BLOCK) -> list[tuple[int, Floats]]:
        """Number and vectors of each block of the first `images` images."""
        return [(index, self.images[start : start + size]) for index, start in enumerate(range(0, images, size))]


@cache
def digits() -> Workload:
    """The workload; built once."""
    network, link = load_model("mnist-robust"), load_link("ideal")
    point = link.operating_point
    if point is None:
        raise RuntimeError("the link 'ideal' has lost its operating point")
    law = LinkLaw.from_ledger(link.ledger, honest(link.ledger, point.tap))
    generator = np.random.Generator(np.random.SFC64(1))
    fraction = VerificationPlan().counting_fraction
    layers = []
    for dense in network.layers:
        quadratures, scale = layer_amplitudes(dense.weights, dense.bias, point.mu)
        rows = np.ascontiguousarray(quadratures, dtype=np.float32)
        layers.append(
            Layer(
                dense=dense,
                rows=rows,
                columns=np.asfortranarray(rows),
                to_units=np.float32(1.0 / (law.outcome_gain * math.sqrt(2.0 * point.mu))),
                pattern=np.asarray(generator.random(rows.shape[1] // 2) < 0.5),
                counted=np.asarray(generator.random(rows.shape[0]) < fraction),
            )
        )
        if not scale > 0:
            raise RuntimeError("a layer without a scale")
    prepared = network.prepare(load_dataset("mnist-test").data)
    images, norms = network.layers[0].directions(prepared)
    if not norms.all():
        raise RuntimeError("an empty image has no direction; choose other data")
    return Workload(network, law, tuple(layers), images, Root("world", bytes(32)))


def between(layer: Layer, outcomes: NDArray[np.floating[Any]], following: Layer) -> Floats:
    """What a client does between two layers: activation, then the unit vectors of the next. Subject and peer share it.

    The norm of the first layer's data is 1 here.
    """
    scaled: Floats = np.multiply(outcomes, layer.to_units, order="C")
    hidden = layer.dense.finish(scaled, np.ones(len(scaled), dtype=np.float32))
    return following.dense.directions(hidden)[0]


def over_blocks(work: Callable[[int, Floats], object], blocks: Sequence[tuple[int, Floats]], threads: int) -> None:
    """Call `work` for every block, in this thread or in several; numpy lets go of the interpreter's lock."""
    if threads == 1:
        for index, images in blocks:
            work(index, images)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda block: work(*block), blocks):
            pass


def thread_counts(cores: int) -> Iterator[int]:
    """One thread, and two where there are two cores."""
    yield 1
    if cores > 1:
        yield 2
