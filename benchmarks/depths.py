"""Every depth of the sampler against its floor: the products and normals that it cannot do without, in plain numpy.

The floor of a depth draws as many float32 normals and does as many products of the same shapes as one pass of it over
the same images, into buffers that are reused, and nothing else: no keyed streams, no gathering of the measured
quadratures, no sums.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.harness import Benchmark, Note, Options, Ratio, Result, blas_threads, interleave
from benchmarks.workload import (
    BLOCK,
    RESIDUAL_BLOCK,
    TEST_IMAGES,
    Floats,
    Layer,
    Workload,
    between,
    digits,
    over_blocks,
)
from labqdl.config import load_link
from labqdl.facts import VerificationPlan
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import sample_outcomes, sample_residuals, sample_statistics

RESIDUAL_IMAGES = 256


@dataclass(frozen=True)
class Depth:
    """One way of asking for light.

    Attributes: `name`; whether the light is looked at beyond the outcomes, whether residuals are summed over uses,
    and the share of images that are kept (1: every residual, drawn in blocks of their own size).
    """

    name: str
    statistics: bool = True
    use_sums: bool = False
    share: float = 0.0

    def kept(self, images: int) -> int:
        return VerificationPlan(residual_share=self.share).sampled_vectors(images)

    def sample(self, work: Workload, layer: Layer, number: int, index: int, vectors: Floats) -> Floats:
        """Outcomes of one layer of one block."""
        streams = work.streams(number, index)
        if not self.statistics:
            return sample_outcomes(work.law, layer.columns, vectors, streams)
        arguments = (work.law, layer.columns, vectors, layer.pattern, layer.counted, streams)
        if self.share == 1.0:
            return sample_residuals(*arguments).outcomes
        sampled = np.arange(self.kept(len(vectors)))
        return sample_statistics(*arguments, use_sums=self.use_sums, sampled=sampled if sampled.size else None)[0]

    def normals(self, layer: Layer, images: int, *, phases: bool) -> int:
        """Normals of one block: outcomes, two in each plane or all residuals, sums over uses, kept images, phases."""
        rows, homodyned = layer.counted.size, int((~layer.counted).sum())
        count = rows * images * (4 if phases and self.statistics else 2 if phases else 1)
        if self.share == 1.0:
            return count + homodyned * images * layer.n_modes
        if self.statistics:
            count += 2 * homodyned * images + (homodyned * layer.n_modes if self.use_sums else 3 * homodyned)
        return count + self.kept(images) * homodyned * layer.n_modes

    def products(self, layer: Layer, images: int, *, phases: bool) -> list[tuple[int, int, int]]:
        """Shapes (a, b, c) of products of a x b by b x c."""
        rows, n_modes, homodyned = layer.counted.size, layer.n_modes, int((~layer.counted).sum())
        if not self.statistics:
            return [(rows, 2 * n_modes, images)] * (2 if phases else 1)
        planes = [(rows, n_modes, 2 * images)] * 2  # q and Jq on two vectors of each image
        if phases and not self.use_sums:
            return planes
        return [*(planes if phases else [(rows, 2 * n_modes, images)]), (homodyned, 2 * images, n_modes)]


DEPTHS = (
    Depth("outcomes", statistics=False),
    Depth("statistics"),
    Depth("statistics and sums over uses", use_sums=True),
    Depth("the default plan", use_sums=True, share=VerificationPlan().residual_share),
    Depth("every residual", share=1.0),
)


def subject_pass(work: Workload, depth: Depth, images: int, size: int) -> Callable[[], None]:
    """All layers of all blocks, with keyed streams."""

    def block(index: int, vectors: Floats) -> None:
        for number, layer in enumerate(work.layers):
            outcomes = depth.sample(work, layer, number, index, vectors)
            if number + 1 < len(work.layers):
                vectors = between(layer, outcomes, work.layers[number + 1])

    return lambda: over_blocks(block, work.blocks(images, size), 1)


def floor_pass(work: Workload, depth: Depth, images: int, size: int) -> Callable[[], None]:
    """Products and normals of `subject_pass` alone, and what lies between two layers."""
    local, phases = threading.local(), work.law.has_phase_noise
    shapes = [depth.products(layer, size, phases=phases) for layer in work.layers]
    counts = [depth.normals(layer, size, phases=phases) for layer in work.layers]

    def prepare() -> None:
        generator = np.random.Generator(np.random.SFC64(1))
        local.generator = generator
        local.normals = [np.empty(count, np.float32) for count in counts]
        local.factors = [
            [
                (
                    generator.standard_normal((a, b), dtype=np.float32),
                    generator.standard_normal((b, c), dtype=np.float32),
                    np.empty((a, c), np.float32),
                )
                for a, b, c in each
            ]
            for each in shapes
        ]
        local.hidden = [np.ones((size, layer.counted.size), np.float32) for layer in work.layers]

    def block(index: int, vectors: Floats) -> None:
        if not hasattr(local, "generator"):
            prepare()
        for number, layer in enumerate(work.layers):
            for left, right, result in local.factors[number]:
                np.matmul(left, right, out=result)
            local.generator.standard_normal(out=local.normals[number], dtype=np.float32)
            if number + 1 < len(work.layers):
                between(layer, local.hidden[number][: len(vectors)], work.layers[number + 1])

    return lambda: over_blocks(block, work.blocks(images, size), 1)


def _drifting(work: Workload) -> Workload:
    """The same workload on a link with phase noise and losses."""
    link = load_link("metro-10km")
    if link.operating_point is None:
        raise RuntimeError("the link 'metro-10km' has lost its operating point")
    return replace(work, law=LinkLaw.from_ledger(link.ledger, honest(link.ledger, link.operating_point.tap)))


def measure(options: Options) -> Iterator[Result]:
    plain = digits()
    many, few = min(options.images(TEST_IMAGES), TEST_IMAGES), options.images(RESIDUAL_IMAGES)
    for where, work in (("ideal link", plain), ("metro-10km, with phase noise", _drifting(plain))):
        with blas_threads(1):
            for depth in DEPTHS:
                images, size = (few, RESIDUAL_BLOCK) if depth.share == 1.0 else (many, BLOCK)
                times = interleave(
                    {
                        "subject": subject_pass(work, depth, images, size),
                        "floor": floor_pass(work, depth, images, size),
                    },
                    options.repeats,
                )
                yield Ratio(
                    f"{depth.name}, {where}",
                    f"{images:,} images in blocks of {size}, both layers; peer: its products and normals alone",
                    1,
                    times["subject"],
                    times["floor"],
                )
    yield Note(
        "what is above the floors",
        "keyed streams, gathering the measured quadratures of the block's pattern, scaling and adding arrays of (rows, "
        "images), sines and cosines where there is phase noise, and the photons of the counted rows; with sums over "
        "uses, a and b need no basis and all products are in float32",
    )


DEPTH = Benchmark("depths", "every depth of the sampler against its products and normals alone", measure)
