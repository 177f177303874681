"""The whole command: time of `labqdl run` with its parts, and its peak memory against the number of images."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Figure, Note, Options, Result, Spread
from benchmarks.workload import TEST_IMAGES
from labqdl.network import load_dataset

SECONDS_TARGET = 45.0
VERDICTS = (0, 4)
"""Exit codes of a run that was carried out: accept, undecided."""


@dataclass(frozen=True)
class Run:
    """One `labqdl run`: seconds of the whole process, what the child reports of itself, size of its run folder."""

    seconds: float
    report: dict[str, Any]
    recorded: int

    @property
    def shares(self) -> dict[str, float]:
        """Seconds of each part; "start" is interpreter and imports, "rest" all that no part names."""
        parts = {"start": self.report["import"], **self.report["parts"]}
        return {**parts, "rest": max(self.seconds - sum(parts.values()), 0.0)}


def labqdl_run(*arguments: str, seed: int = 1) -> Run:
    """`labqdl run` with these arguments in a process of its own, into a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        report, out = Path(folder, "report.json"), Path(folder, "out")
        command = [sys.executable, "-m", "benchmarks.child", str(report)]
        began, started = time.perf_counter(), time.time()
        finished = subprocess.run(
            [*command, repr(started), "--quiet", "run", "--json", "--seed", str(seed), "--out", str(out), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
        )
        seconds = time.perf_counter() - began
        if finished.returncode or not report.exists():
            raise RuntimeError(f"labqdl run failed: {finished.stderr[-2000:]}")
        content = json.loads(report.read_text(encoding="utf-8"))
        if content["code"] not in VERDICTS:
            raise RuntimeError(f"labqdl run ended with {content['code']}: {finished.stderr[-2000:]}")
        recorded = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Run(seconds, content, recorded)


def measure_run(options: Options) -> Iterator[Result]:
    images = min(options.images(TEST_IMAGES), TEST_IMAGES)
    arguments = ("--images", str(images))
    labqdl_run("--images", "64")  # warm-up: files in the system's cache, byte code compiled
    runs = [labqdl_run(*arguments, seed=seed) for seed in range(options.repeats)]
    spread = Spread.of([run.seconds for run in runs])
    yield Figure(
        f"labqdl run, {images:,} images",
        spread.median,
        "s",
        "mnist-robust, ideal link, statistics of every row, every block on disk before the next; whole process",
        target=SECONDS_TARGET,
        low=spread.low,
        high=spread.high,
    )
    for part in runs[0].shares:
        each = Spread.of([run.shares[part] for run in runs])
        share = Spread.of([run.shares[part] / run.seconds for run in runs]).median
        yield Figure(f"  {part}", each.median, f"s, {share:.0%}", PART_NOTES[part], low=each.low, high=each.high)
    yield Figure("run folder", runs[0].recorded / 1e6, "MB")


PART_NOTES = {
    "start": "interpreter and imports",
    "load": "model, data set, input pipeline, operating point",
    "light": "the emulated link: products and random numbers",
    "parties": "encoding, data vectors, activations, checks of what arrives",
    "verify": "tests of every layer of every block, verdict",
    "bounds": "leakage bounds of all engines, certificate",
    "record": "arrays and events, flushed to the disk at every block",
    "rest": "engine, result, printing, end of the process",
}


def measure_memory(options: Options) -> Iterator[Result]:
    few, many = options.images(1_000, 8), min(options.images(TEST_IMAGES, 8), TEST_IMAGES)
    whole = load_dataset("mnist-test")
    if whole.labels is None:
        raise RuntimeError("the shipped test set has lost its labels")
    peaks: dict[str, dict[int, list[int]]] = {"data": {}, "images": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for count in (few, many):
            files[count] = Path(folder, f"digits-{count}.npz")
            np.savez(files[count], data=whole.data[:count], labels=whole.labels[:count])
        for repeat in range(options.repeats):
            for count in (few, many) if repeat % 2 == 0 else (many, few):
                for kind, arguments in (
                    ("data", ("--data", str(files[count]))),
                    ("images", ("--images", str(count))),
                ):
                    peak = labqdl_run(*arguments).report["memory"]
                    if peak is None:
                        yield Note("peak memory", "this system does not tell the peak memory of a process")
                        return
                    peaks[kind].setdefault(count, []).append(peak)
    raw = whole.data[0].nbytes
    prepared = 4 * int(np.prod(whole.data.shape[1:]))
    for count in (few, many):
        spread = Spread.of([peak / 1e6 for peak in peaks["data"][count]])
        yield Figure(f"peak memory, a file of {count:,} images", spread.median, "MB", low=spread.low, high=spread.high)
    for kind, what in (
        ("data", "a file that holds just these images"),
        ("images", "--images of the shipped test set, which is read as a whole either way"),
    ):
        slopes = Spread.of([(b - a) / (many - few) for a, b in zip(peaks[kind][few], peaks[kind][many], strict=True)])
        yield Figure(
            f"growth from {few:,} to {many:,} images",
            slopes.median,
            "bytes per image",
            f"{what}; one raw image has {raw:,} bytes ({whole.data.dtype}), one prepared vector {prepared:,} (float32)",
            low=slopes.low,
            high=slopes.high,
        )


MEMORY = Benchmark("memory", "peak memory of labqdl run against the number of images", measure_memory)
RUN = Benchmark("run", "labqdl run from end to end", measure_run)
