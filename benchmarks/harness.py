"""How things are measured: interleaved repeats, ratios within one run, a fixed number of threads, a quiet machine.

A subject and its peer take turns, and who begins changes with every repeat, so that a drift of the machine hits both.
Each repeat gives one ratio of wall-clock times; what is reported is the median and the range of these ratios, not a
ratio of two best times.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

MIN_REPEATS = 7
"""What the published figures need; fewer are for debugging and marked as such."""
BUSY_LOAD = 1.0
"""Load average above which other programs disturb the figures."""

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each repeat: by the wall clock, and of processor time of all threads of this process."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def each(self, count: int) -> Times:
        """The time of one of `count` equal pieces of work."""
        return Times(tuple(t / count for t in self.wall), tuple(t / count for t in self.cpu))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of repeated figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: tuple[float, ...] | list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_digits(self.median)} ({_digits(self.low)}..{_digits(self.high)})"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of a subject over time of a peer that does comparable work.

    Attributes
    ----------
    case, work:
        What is compared; what each of the two does, in one line.
    threads:
        Threads that both may use.
    subject, peer:
        Their times, repeat by repeat.
    target:
        Ratio that must not be exceeded, None where there is none.
    """

    case: str
    work: str
    threads: int
    subject: Times
    peer: Times
    target: float | None = None

    @property
    def ratio(self) -> Spread:
        return Spread.of([a / b for a, b in zip(self.subject.wall, self.peer.wall, strict=True)])

    @property
    def cpu_ratio(self) -> Spread:
        """The same of processor times: less disturbed by other programs, blind to waiting."""
        return Spread.of([a / max(b, 1e-9) for a, b in zip(self.subject.cpu, self.peer.cpu, strict=True)])

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.ratio.median <= self.target else "MISSED"

    def lines(self) -> Iterator[str]:
        target = "" if self.target is None else f"   target <= {self.target:g}: {self.verdict}"
        yield f"  {self.case} [{_threads(self.threads)}]: ratio {self.ratio}{target}"
        yield (
            f"      {_seconds(statistics.median(self.subject.wall))} against "
            f"{_seconds(statistics.median(self.peer.wall))}; by processor time {self.cpu_ratio}"
        )
        yield f"      {self.work}"

    def to_json(self) -> dict[str, Any]:
        ratio, cpu = asdict(self.ratio), asdict(self.cpu_ratio)
        return {"kind": "ratio", **asdict(self), "ratio": ratio, "cpu_ratio": cpu, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number with its unit, and how to read it."""

    case: str
    value: float
    unit: str
    note: str = ""
    target: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.value <= self.target else "MISSED"

    def lines(self) -> Iterator[str]:
        target = "" if self.target is None else f"   target <= {self.target:g}: {self.verdict}"
        spread = "" if self.low is None or self.high is None else f" ({_digits(self.low)}..{_digits(self.high)})"
        yield f"  {self.case}: {_digits(self.value)}{spread} {self.unit}{target}"
        if self.note:
            yield f"      {self.note}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": "figure", **asdict(self), "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know, such as a peer that is not installed."""

    case: str
    text: str

    def lines(self) -> Iterator[str]:
        yield f"  {self.case}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": "note", **asdict(self)}


Result = Ratio | Figure | Note


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    `scale` below 1 shrinks the workloads: for tests and debugging, not for figures.
    """

    repeats: int = MIN_REPEATS
    scale: float = 1.0

    def images(self, count: int, multiple: int = 64) -> int:
        """A number of images at this scale, in whole blocks where it is not the full number."""
        if self.scale == 1:
            return count
        return max(1, round(count * self.scale / multiple)) * multiple


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named set of measurements."""

    name: str
    about: str
    measure: Callable[[Options], Iterator[Result]] = field(repr=False)


def interleave(cases: Mapping[str, Work], repeats: int, *, warm_up: bool = True) -> dict[str, Times]:
    """Run all cases `repeats` times, in turns; every second round backwards. Nothing of the warm-up is counted."""
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if warm_up:
        for work in cases.values():
            work()
    walls: dict[str, list[float]] = {name: [] for name in cases}
    cpus: dict[str, list[float]] = {name: [] for name in cases}
    collected = gc.isenabled()
    gc.disable()
    try:
        for repeat in range(repeats):
            order = list(cases) if repeat % 2 == 0 else list(reversed(list(cases)))
            for name in order:
                gc.collect()
                cpu, wall = time.process_time(), time.perf_counter()
                cases[name]()
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    finally:
        if collected:
            gc.enable()
    return {name: Times(tuple(walls[name]), tuple(cpus[name])) for name in cases}


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP pools that numpy and scipy use."""
    with threadpool_limits(limits=count):
        yield


def not_installed(case: str, package: str) -> Note:
    return Note(case, f"not installed: pip install {package}")


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Least-squares slope of log(seconds) over log(sizes)."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def load_average() -> float | None:
    """Programs that wanted to run during the last minute; None where the system does not tell (Windows)."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def cores() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What the figures were measured on: the kind of machine, no name of a host, a person or a folder."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": load_average(),
        "packages": {name: _version(name) for name in ("labqdl", "numpy", "scipy", "torch", "piquasso")},
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture")} for pool in threadpool_info()
        ],
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
