"""A shot of a million symbols from samples to values: seconds of each step, and peak memory of a process of its own.

`python -m benchmarks.dsp FOLDER SYMBOLS REPORT` is that process: it reads the records in FOLDER, as a digitizer left
them, and works through them; the parent only makes them.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import peak_memory
from benchmarks.harness import Benchmark, Figure, Note, Options, Result, Spread
from labqdl.dsp import VacuumSlots, drive, find_shot, integrate, pilot_track, rotated, shot_noise, vacuum_table
from labqdl.facts.layout import FrameLayout

SYMBOLS = 1_000_000
SAMPLES = 10
"""Samples a symbol."""
N_MODES = 32
BIN_RATE = 6.25e6
PPM = 20.0
SNR = 25.0
"""Power of a full-scale bin over the noise of one quadrature."""
PEER_SECONDS, PEER_MEMORY = 117.0, 6.5e9
"""What QOSST needed for 1e6 symbols on two cores: 23 s for the receiver's processing and 94 s for the search of a
global angle, with 6.5 GB at the peak (qosst-alice 0.10.0, qosst-bob 0.10.2; recorded once, not measured here)."""
SECONDS_TARGET, MEMORY_TARGET = PEER_SECONDS / 20, PEER_MEMORY / 6
STEPS = {
    "find": "preamble anywhere in the record, clock 20 ppm off, beginning to a fraction of a sample",
    "integrate": "matched filter of every bin, two quadratures",
    "pilots": "gain and phase in closed form, values turned back",
    "vacuum": "variance of a blocked record of a tenth of the length, its interval, whether it is steady",
}


def layout_of(symbols: int) -> FrameLayout:
    """A shot of at least so many bins of data."""
    return FrameLayout(N_MODES, 1, -(-symbols // N_MODES), BIN_RATE)


def make_records(folder: Path, symbols: int) -> None:
    """A shot as a digitizer with a clock of its own sees it, and vacuum; single precision, two quadratures."""
    layout = layout_of(symbols)
    generator = np.random.Generator(np.random.SFC64(1))
    shape = (1, layout.rows, layout.n_modes, 2)
    data = 0.5 * generator.standard_normal(shape).view(np.complex128)[..., 0]
    rate = SAMPLES * BIN_RATE * (1 + 1e-6 * PPM)
    light = drive(layout.symbols(data, 1.0), layout, rate, start=3.21e-6) * np.exp(0.8j)
    noise = math.sqrt(layout.duty * SAMPLES / SNR)
    for name, record in (("shot", light), ("vacuum", np.zeros(light.size // 10, np.complex128))):
        drawn = generator.standard_normal((record.size, 2)).view(np.complex128)[:, 0]
        np.save(folder / f"{name}.npy", (record + noise * drawn + 0.1).astype(np.complex64))
    np.save(folder / "data.npy", data.astype(np.complex64))


def work_through(folder: Path, symbols: int) -> dict[str, Any]:
    """Seconds of each step, peak memory, and the error of the values against the symbols that were sent."""
    layout = layout_of(symbols)
    interval = 1 / (SAMPLES * BIN_RATE)
    record, vacuum = np.load(folder / "shot.npy"), np.load(folder / "vacuum.npy")
    marks = [time.perf_counter()]
    timing = find_shot(record, interval, None, layout)
    marks.append(time.perf_counter())
    values = integrate(record, timing, layout)
    marks.append(time.perf_counter())
    track = pilot_track(values, layout)
    turned = rotated(values, track)
    marks.append(time.perf_counter())
    slots = VacuumSlots.whole(vacuum.size, interval).bins(vacuum, interval, layout)
    unit = shot_noise(vacuum_table(slots))
    marks.append(time.perf_counter())
    memory = peak_memory()
    sent = np.load(folder / "data.npy")
    got = turned[layout.data_rows[0]] / np.median(track.gain)
    correlation = abs(np.vdot(sent, got)) / math.sqrt(np.vdot(sent, sent).real * np.vdot(got, got).real)
    return {
        "seconds": dict(zip(STEPS, np.diff(marks).tolist(), strict=True)),
        "memory": memory,
        "clock": timing.clock_ppm,
        "correlation": correlation,
        "unit": unit.variance,
        "record": record.nbytes,
    }


def measure(options: Options) -> Iterator[Result]:
    symbols = max(int(SYMBOLS * options.scale), 20_000)
    reports = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_records(folder, symbols)
        for _ in range(options.repeats):
            report = folder / "report.json"
            command = [sys.executable, "-m", "benchmarks.dsp", str(folder), str(symbols), str(report)]
            finished = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
            )
            if finished.returncode:
                raise RuntimeError(f"the process failed: {finished.stderr[-2000:]}")
            reports.append(json.loads(report.read_text(encoding="utf-8")))
    full = options.scale == 1
    total = Spread.of([sum(report["seconds"].values()) for report in reports])
    last = reports[-1]
    yield Figure(
        f"{symbols:,} symbols, {SAMPLES} samples each, from record to values",
        total.median,
        "s",
        f"recorded of QOSST: {PEER_SECONDS:g} s, the target is a twentieth; correlation with what was sent "
        f"{last['correlation']:.3f}, clock {last['clock']:.2f} of {PPM:g} ppm",
        target=SECONDS_TARGET if full else None,
        low=total.low,
        high=total.high,
    )
    for step, about in STEPS.items():
        each = Spread.of([report["seconds"][step] for report in reports])
        yield Figure(f"  {step}", each.median, "s", about, low=each.low, high=each.high)
    if last["memory"] is None:
        yield Note("peak memory", "this system does not tell the peak memory of a process")
        return
    memory = Spread.of([report["memory"] / 1e6 for report in reports])
    yield Figure(
        "peak memory of the process",
        memory.median,
        "MB",
        f"recorded of QOSST: {PEER_MEMORY / 1e6:,.0f} MB, the target is a sixth; "
        f"the record itself has {last['record'] / 1e6:.0f} MB",
        target=MEMORY_TARGET / 1e6 if full else None,
        low=memory.low,
        high=memory.high,
    )


DSP = Benchmark("dsp", "signal processing of a shot against the closest laboratory software", measure)


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(work_through(Path(sys.argv[1]), int(sys.argv[2]))), encoding="utf-8")
