"""What a run and a bound give back: values that print richly and become one documented JSON object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labqdl.facts import Bound, LeakageReport, OperatingPoint, Quantity, TestResult, Verdict, VerdictKind
from labqdl.units import to_db

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

RUN_SCHEMA = "labqdl.run/1"
BOUND_SCHEMA = "labqdl.bound/1"

EXIT_CODES = {VerdictKind.ACCEPT: 0, VerdictKind.ABORT: 3, VerdictKind.UNDECIDED: 4}


class Printable(ABC):
    """A result that prints as its tables: richly by `rich`, as plain text by `print`, as JSON by `to_json`."""

    __slots__ = ()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """One documented, versioned object."""

    @abstractmethod
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]: ...

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=120, file=StringIO())
        with console.capture() as capture:
            console.print(self)
        return capture.get()


@dataclass(frozen=True, slots=True)
class RunResult(Printable):
    """Result of a run; joins what server and client know, which only a simulation can.

    Attributes
    ----------
    run:
        Run folder.
    model, link:
        Names.
    images:
        Images that were classified (all of their layers done).
    accuracy:
        Share of right labels, or None where the data have no labels.
    accuracy_interval:
        Clopper-Pearson interval of the accuracy at 95 % confidence.
    f2_db:
        F^2 = signal variance over noise variance of a first-layer outcome, dB.
    verdict, leakage, operating_point:
        As their types say.
    seconds:
        Wall time of this process's part of the run.
    findings:
        The client's own tests of the light that it was sent; only a simulation may show them to anybody else.
    station:
        Station whose instruments the light passed; None for an emulated link.
    uncertified:
        Why the figures of a run on a station rest on no valid calibration; empty where they do.
    """

    run: Path
    model: str
    link: str
    client: str
    images: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    f2_db: float
    operating_point: OperatingPoint
    verdict: Verdict
    leakage: LeakageReport
    seconds: float
    seed: int | None
    findings: tuple[TestResult, ...] = ()
    server: str = "honest"
    channel: str = "honest"
    station: str | None = None
    uncertified: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 accept, 3 abort, 4 undecided."""
        return EXIT_CODES[self.verdict.kind]

    def to_json(self) -> dict[str, Any]:
        """The object of `--json`; schema `labqdl.run/1`, documented in docs/file-formats.md."""
        verdict = self.verdict.to_json()
        bench = {} if self.station is None else {"station": self.station, "uncertified": list(self.uncertified)}
        return {
            "schema": RUN_SCHEMA,
            "run": str(self.run),
            **bench,
            "model": self.model,
            "link": self.link,
            "client": self.client,
            "server": self.server,
            "channel": self.channel,
            "images": self.images,
            "accuracy": self.accuracy,
            "accuracy_interval": None if self.accuracy_interval is None else list(self.accuracy_interval),
            "verdict": verdict["kind"],
            "consistency": verdict["consistency"],
            "certificate": verdict["certificate"],
            "client_checks": [{**asdict(test), "passed": test.passed} for test in self.findings],
            "reason": {"kind": verdict["reason"], "explanation": verdict["explanation"]},
            "operating_point": {**asdict(self.operating_point), "f2_db": self.f2_db},
            "leakage": self.leakage.to_json(),
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from labqdl.api.tables import run_summary

        yield from run_summary(self)


@dataclass(frozen=True, slots=True)
class BoundResult(Printable):
    """What an operating point on a link leaks, by every engine that can speak about it."""

    operating_point: OperatingPoint
    link: str
    f2_db: float
    leakage: LeakageReport

    @property
    def weights(self) -> Bound:
        """Exact bound on the weights, one use, parameters taken as known."""
        return self._exact(Quantity.WEIGHTS)

    @property
    def data(self) -> Bound:
        """Exact bound on the data, one use, parameters taken as known."""
        return self._exact(Quantity.DATA)

    def _exact(self, quantity: Quantity) -> Bound:
        bound = self.leakage.select(quantity, "labqdl")
        if bound is None:  # the engine speaks about every ledger and tap
            raise LookupError(f"no bound on {quantity} by engine labqdl")
        return bound

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl bound --json`; schema `labqdl.bound/1`."""
        return {
            "schema": BOUND_SCHEMA,
            "link": self.link,
            "operating_point": {**asdict(self.operating_point), "f2_db": self.f2_db},
            "leakage": self.leakage.to_json(),
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from labqdl.api.tables import bound_summary

        yield from bound_summary(self)


def describe_point(point: OperatingPoint, f2_db: float) -> str:
    """One line about light and tap, with the planes named."""
    tap = point.tap
    if tap.kind.value == "amplifier":
        stage = f"amplifier G = {tap.amplifier_gain:.6g} and tap {tap.tap_transmissivity:.6g}"
        net = to_db(tap.amplifier_gain * tap.tap_transmissivity)
        if abs(net) > 1e-9:
            stage += f" (net gain {net:+.3g} dB)"
    else:
        stage = f"feed-forward tap t = {tap.tap_transmissivity:.6g}"
    return f"mu = {point.mu:.6g} photons per mode at the server's output, {stage}, F² = {f2_db:.2f} dB"
