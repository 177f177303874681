"""How the cost of the three depths grows: slopes of log(time) over log(rows, modes, images)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.harness import Benchmark, Figure, Note, Options, Result, Spread, blas_threads, interleave, slope
from labqdl.facts import Ledger, TapSetting
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.sampler import sample_outcomes, sample_residuals, sample_statistics


@dataclass(frozen=True)
class Size:
    rows: int = 512
    modes: int = 256
    images: int = 64


DEPTHS = ("outcomes", "statistics", "residuals")
BASE = {"outcomes": Size(), "statistics": Size(), "residuals": Size(rows=256, modes=256, images=16)}
STEPS = (1, 2, 4, 8)


def sampling(depth: str, size: Size) -> Callable[[], object]:
    """One call at this depth and size, all rows homodyned, float32."""
    generator = np.random.Generator(np.random.SFC64(1))
    ledger = Ledger("ideal")
    law = LinkLaw.from_ledger(ledger, honest(ledger, TapSetting.amplifier(2.0)))
    q = np.asfortranarray(math.sqrt(8.0) * generator.standard_normal((size.rows, 2 * size.modes)), dtype=np.float32)
    x = generator.standard_normal((size.images, 2 * size.modes))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    pattern, counted = generator.random(size.modes) < 0.5, np.zeros(size.rows, np.bool_)

    def streams(purpose: str, /) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64(len(purpose)))

    if depth == "outcomes":
        return lambda: sample_outcomes(law, q, x, streams)
    if depth == "statistics":
        return lambda: sample_statistics(law, q, x, pattern, counted, streams)
    return lambda: sample_residuals(law, q, x, pattern, counted, streams)


def repeated(work: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            work()

    return run


def measure(options: Options) -> Iterator[Result]:
    steps = STEPS if options.scale == 1 else STEPS[:2]
    with blas_threads(1):
        for depth in DEPTHS:
            for axis in ("rows", "modes", "images"):
                base = BASE[depth]
                sizes = [getattr(base, axis) * step // 2 for step in steps]
                # Enough calls in a row that a repeat takes milliseconds.
                calls = 4 if depth != "residuals" else 1
                cases = {str(size): repeated(sampling(depth, replace(base, **{axis: size})), calls) for size in sizes}
                times = interleave(cases, options.repeats)
                slopes = Spread.of(
                    [slope(sizes, [times[str(size)].wall[n] for size in sizes]) for n in range(options.repeats)]
                )
                yield Figure(
                    f"{depth} over {axis}",
                    slopes.median,
                    "(log-log slope)",
                    f"{axis} {', '.join(map(str, sizes))}; {_others(base, axis)}; all rows homodyned, 1 thread",
                    low=slopes.low,
                    high=slopes.high,
                )
    yield Note("reading", "1 is proportional; below 1, costs that do not grow with this size; no depth should exceed 1")


def _others(base: Size, axis: str) -> str:
    return ", ".join(f"{name} {getattr(base, name)}" for name in ("rows", "modes", "images") if name != axis)


SCALING = Benchmark("scaling", "log-log slopes of the cost of the three depths", measure)
