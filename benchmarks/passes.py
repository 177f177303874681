"""The three depths of the sampler against what the same numbers cost in plain numpy."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Figure, Note, Options, Ratio, Result, Spread, blas_threads, cores, interleave
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
    thread_counts,
)
from labqdl.optics.sampler import sample_outcomes, sample_residuals, sample_statistics

BATCHES = (64, 128, 256, 640, 2560)
RESIDUAL_IMAGES = 256


def plain_pass(work: Workload, images: int, size: int, threads: int) -> Callable[[], None]:
    """A noisy forward pass in numpy: a product, one float32 normal per output into a reused buffer, activation."""
    sigma = np.float32(math.sqrt(work.law.outcome_variance))
    gain = np.float32(work.law.outcome_gain)
    # A pass in plain numpy folds all constants into its matrices beforehand.
    matrices = [np.ascontiguousarray((gain * layer.rows).T) for layer in work.layers]
    blocks = work.blocks(images, size)
    local = threading.local()

    def block(index: int, vectors: Floats) -> None:
        if not hasattr(local, "buffers"):
            local.generator = np.random.Generator(np.random.SFC64(1))
            local.buffers = [np.empty((size, matrix.shape[1]), np.float32) for matrix in matrices]
        for number, (matrix, layer) in enumerate(zip(matrices, work.layers, strict=True)):
            outcomes = vectors @ matrix
            noise = local.buffers[number][: len(outcomes)]
            local.generator.standard_normal(out=noise, dtype=np.float32)
            noise *= sigma
            outcomes += noise
            if number + 1 < len(matrices):
                vectors = between(layer, outcomes, work.layers[number + 1])

    return lambda: over_blocks(block, blocks, threads)


def outcomes_pass(work: Workload, images: int, size: int, threads: int) -> Callable[[], None]:
    """Depth one, with keyed streams."""

    def block(index: int, vectors: Floats) -> None:
        for number, layer in enumerate(work.layers):
            outcomes = sample_outcomes(work.law, layer.columns, vectors, work.streams(number, index))
            if number + 1 < len(work.layers):
                vectors = between(layer, outcomes, work.layers[number + 1])

    return lambda: over_blocks(block, work.blocks(images, size), threads)


def statistics_pass(work: Workload, images: int, size: int, threads: int) -> Callable[[], None]:
    """Depth two, with keyed streams and the default share of counted rows."""

    def block(index: int, vectors: Floats) -> None:
        for number, layer in enumerate(work.layers):
            outcomes, _ = sample_statistics(
                work.law, layer.columns, vectors, layer.pattern, layer.counted, work.streams(number, index)
            )
            if number + 1 < len(work.layers):
                vectors = between(layer, outcomes, work.layers[number + 1])

    return lambda: over_blocks(block, work.blocks(images, size), threads)


def residuals_pass(work: Workload, images: int, threads: int, counting: bool) -> Callable[[], None]:
    """Depth three; without `counting` all rows are homodyned."""

    def block(index: int, vectors: Floats) -> None:
        for number, layer in enumerate(work.layers):
            counted = layer.counted if counting else np.zeros_like(layer.counted)
            drawn = sample_residuals(
                work.law, layer.columns, vectors, layer.pattern, counted, work.streams(number, index)
            )
            if number + 1 < len(work.layers):
                vectors = between(layer, drawn.outcomes, work.layers[number + 1])

    return lambda: over_blocks(block, work.blocks(images, RESIDUAL_BLOCK), threads)


def normals_alone(work: Workload, images: int, threads: int, counting: bool) -> Callable[[], None]:
    """As many normals as the homodyned residuals and the outcomes of `residuals_pass`, into reused buffers."""
    local = threading.local()

    def drawn(layer: Layer) -> int:
        rows = int(layer.rows.shape[0])
        homodyned = rows - (int(layer.counted.sum()) if counting else 0)
        return (homodyned * layer.n_modes + rows) * RESIDUAL_BLOCK

    sizes = [drawn(layer) for layer in work.layers]

    def block(index: int, vectors: Floats) -> None:
        if not hasattr(local, "buffers"):
            local.buffers = [np.empty(size, np.float32) for size in sizes]
        for number, buffer in enumerate(local.buffers):
            work.streams(number, index)("residual").standard_normal(out=buffer, dtype=np.float32)

    return lambda: over_blocks(block, work.blocks(images, RESIDUAL_BLOCK), threads)


def measure(options: Options) -> Iterator[Result]:
    work = digits()
    images = min(options.images(TEST_IMAGES), TEST_IMAGES)
    for threads in thread_counts(cores()):
        with blas_threads(1):  # several threads share blocks, not products, for subject and peer alike
            yield from _depths_one_and_two(work, images, threads, options)
    yield Note(
        "floor of the statistics",
        "per homodyned row and image 3 normals instead of 1 (outcome, two components of the residual along the "
        "data) and 2 products instead of 1 (the components along the data, summed as vectors), plus three "
        "normals and a chi-square per row and block; a counted row needs 1 normal and 1 product (the sampler forms all "
        "products for all rows). What is above the floor does not depend on the images of a block, mostly: gathering "
        "the measured quadratures, the bases, a hundred small calls for each layer; so larger blocks come closer",
    )
    residual_images = options.images(RESIDUAL_IMAGES)
    for threads in thread_counts(cores()):
        with blas_threads(1):
            yield from _depth_three(work, residual_images, threads, options)


def _depths_one_and_two(work: Workload, images: int, threads: int, options: Options) -> Iterator[Result]:
    # Everybody's best batch is found first, outside of the comparison.
    kinds = {"plain": plain_pass, "outcomes": outcomes_pass, "statistics": statistics_pass}
    best = {}
    for name, kind in kinds.items():
        tried = interleave(
            {str(size): kind(work, images, size, threads) for size in BATCHES if size <= images},
            max(1, options.repeats // 2),
        )
        best[name] = min((Spread.of(found.wall).median, int(size)) for size, found in tried.items())[1]
    cases = {f"{name}, best": kind(work, images, best[name], threads) for name, kind in kinds.items()}
    cases |= {f"{name}, {BLOCK}": kind(work, images, BLOCK, threads) for name, kind in kinds.items()}
    times = interleave(cases, options.repeats)
    both = f"{images:,} images, both layers; peer: product, one float32 normal (SFC64) per output, activation"
    more = "subject draws gain, noise and count statistics of each row as well, a quarter of the rows counted"
    for name, target, what in (("outcomes", 1.2, both), ("statistics", 3.0, f"{both}; {more}")):
        title = "outcomes" if name == "outcomes" else "outcomes and statistics"
        yield Ratio(
            f"{title}, each in its best batch",
            f"{what}; batches {best[name]} and {best['plain']}",
            threads,
            times[f"{name}, best"],
            times["plain, best"],
            target=target,
        )
        yield Ratio(
            f"{title}, both in blocks of {BLOCK}",
            f"{what}; blocks as in labqdl run",
            threads,
            times[f"{name}, {BLOCK}"],
            times[f"plain, {BLOCK}"],
            target=target,
        )
        yield Ratio(
            f"{title} in blocks of {BLOCK}, peer in its best batch",
            f"{what}; peer's batch {best['plain']}",
            threads,
            times[f"{name}, {BLOCK}"],
            times["plain, best"],
        )


def _depth_three(work: Workload, images: int, threads: int, options: Options) -> Iterator[Result]:
    times = interleave(
        {
            "all": residuals_pass(work, images, threads, counting=False),
            "normals of all": normals_alone(work, images, threads, counting=False),
            "mixed": residuals_pass(work, images, threads, counting=True),
            "normals of mixed": normals_alone(work, images, threads, counting=True),
        },
        options.repeats,
    )
    what = f"{images} images, both layers; peer: as many float32 normals (SFC64) into a reused buffer, nothing else"
    yield Ratio("every residual, all rows homodyned", what, threads, times["all"], times["normals of all"], target=1.5)
    yield Ratio(
        "every residual and count, a quarter of the rows counted",
        f"{what} (the counts' random numbers are not even in it)",
        threads,
        times["mixed"],
        times["normals of mixed"],
        target=1.5,
    )


GENERATORS = ("SFC64", "PCG64", "PCG64DXSM", "MT19937", "Philox")


def measure_generators(options: Options) -> Iterator[Result]:
    """Nanoseconds per normal of numpy's bit generators."""
    count = max(1000, round((1 << 22) * options.scale))
    for dtype in (np.float32, np.float64):
        buffer = np.empty(count, dtype)

        def draw(name: str, buffer: NDArray[Any] = buffer, dtype: Any = dtype) -> Callable[[], object]:
            generator = np.random.Generator(getattr(np.random, name)(1))
            return lambda: generator.standard_normal(out=buffer, dtype=dtype)

        times = interleave({name: draw(name) for name in GENERATORS}, options.repeats)
        for name in GENERATORS:
            each = sorted(1e9 * seconds / count for seconds in times[name].wall)
            yield Figure(
                f"{name}, {np.dtype(dtype).name}",
                each[len(each) // 2],
                "ns per normal",
                low=each[0],
                high=each[-1],
            )
    yield Note(
        "choice",
        "labqdl draws the physics with SFC64: the fastest of these, with 256 bits of state, keyed by BLAKE2b per "
        "purpose, layer and block, so that no counter-based generator is needed",
    )


PASS = Benchmark("pass", "the three depths of the sampler against plain numpy", measure)
GENERATOR = Benchmark("generators", "normals of numpy's bit generators", measure_generators)
