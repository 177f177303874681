"""The stations that ship, with their locks, drifts and polarisation, from calibrations that are the world's truth.

What their imperfections make of a block no closed form says to a percent: slopes and noises lie near it, and faults
end dark or in a verdict. The agreement itself is proven on the small bench.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from labqdl.facts import (
    Activation,
    Budgets,
    FrameDescription,
    LayerFrame,
    Ledger,
    ShotNoise,
    TapSetting,
    VerificationPlan,
)
from labqdl.optics.modes import rotate_j
from labqdl.rng import Roots
from labqdl.subsystems import BenchLink, BenchStopped, Incident
from labqdl.subsystems.bench_link import BACK, FORWARD
from tests.subsystems.benches import SHIPPED, Small, align, calibrate_truth, find_timing, small_bench

MU = 4.0
ROOT = Roots.from_seed(5).server


def ready(name: str, snu_bins: int) -> Iterator[Small]:
    with small_bench(SHIPPED[name]) as made:
        calibrate_truth(made, full_scale_photons=400.0, snu_bins=snu_bins)
        align(made)
        find_timing(made)
        yield made


@pytest.fixture(scope="module")
def loop() -> Iterator[Small]:
    yield from ready("loop-32", 8_000)


def block(small: Small, link: BenchLink, rows: int, images: int) -> dict[str, float]:
    """Figures of one block: slopes with their errors, and variances."""
    modes = small.server.frame.n_modes
    layer = LayerFrame(
        rows=rows, n_features=2 * modes, bias=False, mu=MU, published_scale=None, activation=Activation()
    )
    plan = VerificationPlan(counting_fraction=0.0, shot_noise=ShotNoise.OWN)
    tap, ledger = TapSetting.feed_forward(0.9), Ledger("none")
    frame = FrameDescription("station", (layer,), images, images, tap, ledger, plan, Budgets(), vacuum_slots=4)
    rng = np.random.default_rng(3)
    q = rng.standard_normal((rows, 2 * modes)) * math.sqrt(2 * MU)
    x = rng.standard_normal((images, 2 * modes))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pattern = rng.random(modes) < 0.5
    link.prepare(frame)
    link.server_port.send_rows(0, 0, q, images)
    link.server_port.set_receiver(0, 0, pattern, np.zeros(rows, np.bool_), 0.0, sampled=np.arange(images))
    link.client_port.set_data(0, 0, x)
    link.transmit(0, 0)
    light, y = link.server_port.returned(0, 0), link.client_port.outcomes(0, 0)
    s, mean, turned = light.statistics, x @ q.T, rotate_j(x) @ q.T
    slope = float(np.sum(y * mean) / np.sum(mean**2))
    amplitude = float(s.sum_qr.sum() / s.sum_qq.sum())
    return {
        "slope": slope,
        "variance": float(np.var(y - slope * mean)),
        "other quadrature": float(np.sum(y * turned) / np.sum(turned**2)),
        "slope error": float(np.std(y - slope * mean) / np.sqrt(np.sum(mean**2))),
        "amplitude": amplitude,
        "phase": float(s.sum_jr.sum() / s.sum_jj.sum()),
        "amplitude error": 1.0 / math.sqrt(s.sum_qq.sum()),
        "floor": float((s.sum_rr.sum() - amplitude * s.sum_qr.sum()) / s.residuals.sum()),
        "vacuum": s.vacuum_squares / s.vacuum_slots,
        "floor error": math.sqrt(2.0 / s.residuals.sum() + 2.0 / s.vacuum_slots),
    }


def transmissivity(small: Small) -> tuple[float, float]:
    """Power from the server's output to the tap's input, and to the server's receiver, of known light."""
    world, generator = small.bench.world, small.bench["awg_s"]
    assert world is not None
    layout = small.server.frame.layout(1, 4)
    rate = world.rate
    bright = layout.kinds == 1

    def energy(part: str, port: str) -> float:
        grid = world.grid(start - 1e-6, math.ceil((layout.duration + 30e-6) * rate))
        return float(np.sum(np.square(np.abs(world.light_of(part, port)(grid).envelope))))

    with small.bench.lock:
        world.changed()
        start = generator.triggers["ATR"][-1]  # type: ignore[attr-defined]
        sent = energy("gate_out", "output1")
        back = energy("gate_s", "output1")
    assert bright.any()
    return math.nan, back / sent


@pytest.mark.soak
@pytest.mark.parametrize(("name", "rows", "images"), [("loopback-1", 64, 64), ("loop-32", 32, 24), ("chip-8", 64, 6)])
def test_a_block_on_a_station_that_ships(name: str, rows: int, images: int) -> None:
    for small in ready(name, 20_000):
        _, whole = transmissivity(small)
        link = BenchLink(small.server, small.client, ROOT)
        found = block(small, link, rows, images)
        link.close()
        assert link.incidents == []
        # Efficiency of the server's receiver with what its windows and its lock make of a pulse.
        seen = 0.9 * 0.98**2 * 0.977
        assert found["amplitude"] == pytest.approx(
            math.sqrt(whole * seen), abs=5 * found["amplitude error"] + 0.05 * math.sqrt(whole)
        )
        assert abs(found["phase"]) < 5 * found["amplitude error"] + 0.05
        assert 0 < found["slope"] < 1
        assert abs(found["other quadrature"]) < 5 * found["slope error"] + 0.05
        assert found["variance"] == pytest.approx(22.8, rel=0.1)
        assert found["vacuum"] == pytest.approx(1.01, abs=0.1)
        # The tap's noise, drifts and couplers that miss: below a tenth of the vacuum's.
        chance = 5 * found["floor error"]
        assert -chance < found["floor"] - found["vacuum"] < 0.1 + chance


@pytest.mark.soak
@pytest.mark.parametrize(
    ("part", "what", "value", "named"),
    [
        ("fibre_out", "broken", 1.0, {FORWARD, "lock_c"}),
        ("fibre_back", "blocked", 1.0, {BACK, "lock_s"}),
        ("fibre_lo", "broken", 1.0, {"lock_c", "reader"}),
        ("laser", "mode_hop", 1e9, {"lock_s", "lock_c", FORWARD}),
        ("laser", "power_drop_db", 3.0, {"laser"}),
        ("laser", "off", 1.0, {"laser"}),
        ("gate_c", "blocked", 1.0, {FORWARD}),
    ],
)
def test_faults_of_a_station_with_locks(loop: Small, part: str, what: str, value: float, named: set[str]) -> None:
    told: list[Incident] = []
    link = BenchLink(loop.server, loop.client, ROOT, attempts=2, on_incident=told.append)
    assert loop.bench.world is not None
    broken = loop.bench.world.parts[part]
    try:
        broken.strike(what, value)
        with pytest.raises(BenchStopped) as caught:
            block(loop, link, 2, 2)
    finally:
        broken.mend(what)
    assert caught.value.part in named
    assert loop.power("laser", "output") == 0
