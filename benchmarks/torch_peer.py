"""PyTorch doing what the authors' notebook does: batches of 64, two products, activation, plus normal noise.

The notebook adds `torch.randn` noise to the outcomes of each layer and normalises; no light returns, so there is
nothing to verify. Both it and labqdl get the same unit vectors and the same float32 matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Note, Options, Ratio, Result, blas_threads, cores, interleave, not_installed
from benchmarks.passes import outcomes_pass, statistics_pass
from benchmarks.workload import BLOCK, TEST_IMAGES, Workload, digits, thread_counts


def notebook_pass(torch: Any, work: Workload, images: int) -> Callable[[], None]:
    """The notebook's pass with this workload's matrices and activations."""
    sigma, gain = math.sqrt(work.law.outcome_variance), work.law.outcome_gain
    matrices = [torch.from_numpy(np.ascontiguousarray((gain * layer.rows).T)) for layer in work.layers]
    batches = [torch.from_numpy(np.ascontiguousarray(vectors)) for _, vectors in work.blocks(images)]
    hidden = work.layers[0]
    threshold, scale = float(hidden.dense.activation.threshold), float(hidden.to_units)
    centred = work.layers[1].dense.centred

    def run() -> None:
        with torch.no_grad():
            for batch in batches:
                first = batch @ matrices[0]
                first += sigma * torch.randn_like(first)
                first = torch.relu_(first.mul_(scale).sub_(threshold))
                if centred:
                    first -= first.mean(dim=1, keepdim=True)
                first /= torch.linalg.vector_norm(first, dim=1, keepdim=True)
                second = first @ matrices[1]
                second += sigma * torch.randn_like(second)

    return run


def measure(options: Options) -> Iterator[Result]:
    try:
        import torch  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        yield not_installed("PyTorch", "torch")
        return
    work = digits()
    images = min(options.images(TEST_IMAGES), TEST_IMAGES)
    for threads in thread_counts(cores()):
        torch.set_num_threads(threads)
        # labqdl's threads share blocks (one BLAS thread each), PyTorch's own pool shares operations.
        with blas_threads(1):
            torch.set_num_threads(threads)
            times = interleave(
                {
                    "torch": notebook_pass(torch, work, images),
                    "outcomes": outcomes_pass(work, images, BLOCK, threads),
                    "statistics": statistics_pass(work, images, BLOCK, threads),
                },
                options.repeats,
            )
        what = f"{images:,} images, both layers in batches of {BLOCK}, float32; PyTorch: product, normal noise, ReLU"
        yield Ratio("labqdl outcomes / PyTorch", what, threads, times["outcomes"], times["torch"])
        yield Ratio(
            "labqdl outcomes and statistics / PyTorch",
            f"{what}; labqdl also draws what the server's tests need of the returned light",
            threads,
            times["statistics"],
            times["torch"],
        )
    yield Note(
        "PyTorch",
        f"{torch.__version__}, OMP_WAIT_POLICY=passive set before it is imported; it draws from one generator in one "
        "stream, labqdl from streams keyed by purpose, layer and block",
    )


TORCH = Benchmark("torch", "PyTorch doing what the authors' notebook does, against the sampler", measure)
