"""A whole run on the simulated loop-32 in this process; calibrations are the world's truth, and one honest block."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from labqdl.api import run
from labqdl.api import running as running_module
from labqdl.api.bench import INCIDENT, CalibratedBench, Table
from labqdl.errors import LabqdlError
from labqdl.facts import (
    Activation,
    Budgets,
    CalibrationSet,
    FrameDescription,
    LayerFrame,
    Ledger,
    ShotNoise,
    TapSetting,
    VerdictKind,
    VerificationPlan,
)
from labqdl.records import RunFolder
from labqdl.rng import Roots
from labqdl.station import Station
from labqdl.subsystems import BenchLink
from tests.subsystems.benches import SHIPPED, Small, align, calibrate_truth, find_timing, result, small_bench

MU = 40.0
SETTINGS: dict[str, Any] = {"images": 3, "block": 1, "seed": 5, "mu": MU}
DARK_WITHIN = 2.0
"""s, of the instruments' time and of the clock on the wall."""
COUPLERS = 0.015
"""rad by which couplers of a tree miss; their truth is drawn with 0.01."""
QUIET = re.sub(r"(?m)^((?:polarisation_)?drift) = [\d.]+", r"\1 = 0.0", SHIPPED["loop-32"])
"""The station without what drifts in minutes: what goes wrong is what a test lets go wrong."""
ROOT = Roots.from_seed(5).server


@contextmanager
def calibrated_bench(text: str = QUIET, *, rows: int = 32, images: int = 8) -> Iterator[Small]:
    """The station open in this process, its calibrations known from its truth, its ways from one honest block."""
    with small_bench(text) as small:
        calibrate_truth(small, full_scale_photons=1000.0, snu_bins=40_000)
        align(small)
        small.use(*(_paddles(small)))
        find_timing(small)
        truth = small.truth("bhd_s", "efficiency") * small.truth("bhd_s", "visibility") ** 2
        small.use(result("server.efficiency", "server", efficiency=truth))
        for name, owner in (("server.lock", "server"), ("client.lock", "client")):
            known = small.calibrations[name]
            small.use(result(name, owner, **dict(known.values), angle=0.0, residual=0.01))
        for name in ("client.interferometer", "client.inverse"):
            known = small.calibrations[name]
            errors = {f"error_{key[7:]}": COUPLERS for key in known.values if key.startswith("offset_")}
            small.use(result(name, "client", **dict(known.values), **errors))
        small.use(*_ways(small, rows, images))
        now = small.station.clock.wall()
        small.use(*(replace(one, taken=now, valid_for=86_400.0) for one in small.calibrations.values()))
        yield small


def _paddles(small: Small) -> list[Any]:
    """Where `align` has left the paddles."""
    found = []
    for name, party in (("polarisation.server", small.server), ("polarisation.client", small.client)):
        if party.polarisation is not None:
            angles = party.polarisation.angles()
            values = {f"angle_{k}": float(angle) for k, angle in enumerate(angles, 1)}
            found.append(result(name, party.owner.value, **values))
    return found


def _ways(small: Small, rows: int, images: int) -> list[Any]:
    """Transmissivities of both ways, from the slopes of one block of random rows."""
    modes = small.server.frame.n_modes
    layer = LayerFrame(
        rows=rows, n_features=2 * modes, bias=False, mu=MU, published_scale=None, activation=Activation()
    )
    plan = VerificationPlan(counting_fraction=0.0, shot_noise=ShotNoise.OWN)
    tap = TapSetting.feed_forward(0.9)
    frame = FrameDescription("ways", (layer,), images, images, tap, Ledger("none"), plan, Budgets(), vacuum_slots=4)
    rng = np.random.default_rng(3)
    q = rng.standard_normal((rows, 2 * modes)) * math.sqrt(2 * MU)
    x = rng.standard_normal((images, 2 * modes))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    link = BenchLink(small.server, small.client, ROOT)
    link.prepare(frame)
    link.server_port.send_rows(0, 0, q, images)
    link.server_port.set_receiver(0, 0, rng.random(modes) < 0.5, np.zeros(rows, np.bool_), 0.0)
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    s, y = link.server_port.returned(0, 0).statistics, link.client_port.outcomes(0, 0)
    link.close()
    assert not link.incidents
    mean = x @ q.T
    forward = (float(np.sum(y * mean) / np.sum(mean**2))) ** 2
    amplitude = float(s.sum_qr.sum() / s.sum_qq.sum())
    efficiency = small.calibrations.value("server.efficiency", "efficiency")
    error = 1.1 / math.sqrt(s.sum_qq.sum())
    back = result("path.return", "channel", transmissivity=amplitude**2 / efficiency / forward, slope=amplitude,
                  photons=1.0)  # fmt: skip
    return [
        result("path.forward", "channel", transmissivity=forward),
        replace(back, covariance=np.diag([0.0, error**2, 0.0])),
    ]


@dataclass
class Outcome:
    """What became of a run.

    Attributes
    ----------
    verdict:
        None where it was stopped.
    part:
        Named by the error that stopped it, or by the first incident.
    incidents:
        Parts of all shots that were not used.
    instrument, wall:
        Seconds, of the instruments' time and of the clock on the wall, from where the light path was told to go dark
        to the end of the run, when the world is asked.
    lit:
        Photons a second that leave laser, sender and fibre afterwards.
    """

    verdict: VerdictKind | None = None
    part: str = ""
    words: str = ""
    failed: list[str] = field(default_factory=list)
    incidents: list[str] = field(default_factory=list)
    blocks: int = 0
    instrument: float = 0.0
    wall: float = 0.0
    lit: float = 0.0

    @property
    def kind(self) -> str:
        """abort, stop, retry or nothing."""
        if self.verdict is None:
            return "stop"
        if self.verdict is VerdictKind.ABORT:
            return "abort"
        return "retry" if self.incidents else "nothing"


def table_of(small: Small) -> Table:
    """The open bench, for `labqdl.api.run`."""

    def opened(station: str, profile: str | None, /, *, arm: bool) -> AbstractContextManager[Station]:
        return nullcontext(small.station)

    return Table(open=opened)


@contextmanager
def known_calibrations(calibrations: CalibrationSet) -> Iterator[None]:
    """Runs take these instead of measuring or loading any."""

    def known(station: Station, source: str, **_: Any) -> CalibratedBench:
        return CalibratedBench(station, source, calibrations)

    with mock.patch.object(running_module, "calibrated", known):
        yield


LIGHTS = (("laser", "output"), ("gate_out", "output1"), ("fibre_out", "output"))


def performed(small: Small, folder: Path, strike: Any = None, **settings: Any) -> Outcome:
    """One run; `strike` is called behind its first block."""
    outcome = Outcome()
    struck: list[float] = []
    told: list[tuple[float, float]] = []
    clock = small.bench.clock
    close = BenchLink.close

    def closing(link: BenchLink) -> None:
        told.append((time.monotonic(), clock.monotonic()))
        close(link)

    def on_block(done: int, total: int) -> None:
        outcome.blocks = done
        if strike is not None and not struck:
            struck.append(clock.monotonic())
            strike()

    path = folder / "run"
    given = {"station": "loop-32", **SETTINGS, **settings}
    try:
        with known_calibrations(small.calibrations), mock.patch.object(BenchLink, "close", closing):
            found = run(folder=path, table=table_of(small), on_block=on_block, **given)
        outcome.verdict, outcome.words = found.verdict.kind, found.verdict.explanation
        outcome.failed = [test.name for test in found.verdict.consistency.tests if not test.passed]
    except LabqdlError as error:
        if not path.exists():
            raise
        outcome.part, outcome.words = getattr(error, "part", type(error).__name__), str(error)
    finally:
        if told:
            outcome.wall, outcome.instrument = time.monotonic() - told[-1][0], clock.monotonic() - told[-1][1]
        outcome.lit = max(small.power(*each) for each in LIGHTS)
    with RunFolder.open(path) as record:
        outcome.incidents = [str(event.fields["part"]) for event in record.events() if event.kind == INCIDENT]
    return outcome
