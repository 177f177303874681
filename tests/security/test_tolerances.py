"""Tolerances of the verification plan: honest light within them is not blamed, light beyond them is.

False alarms: every session is judged at 1e-6, and those drawn here are fewer than a hundred; seeds are fixed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from labqdl.facts import Component, FrameDescription, Ledger, Owner, Place, ShotNoise, TapSetting
from labqdl.facts.verdict import Consistency
from labqdl.link import EmulatedLink
from labqdl.rng import Roots
from labqdl.security.expected import Totals, honest_layers, layer_light
from labqdl.security.finite import channel_limits
from labqdl.security.shot_noise import session_layers
from labqdl.security.verification import Verifier
from tests.security.light import BENCH, Reals, draw, isotropic, make_frame, make_light

ROWS, MODES, IMAGES, USES = 12, 8, 40, 4000
MU = 60.0
TAP = TapSetting.amplifier(1.1)
D = 2 * 0.1 / 1.1


def bench(out: float) -> Ledger:
    return Ledger(
        "bench",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=out),
            Component(
                "receiver", Place.SERVER_RECEIVER, Owner.SERVER, trusted=True, transmissivity=0.9, electronic_noise=0.05
            ),
        ),
    )


def tolerant(frame: FrameDescription, gain: float = 0.0, phase: float = 0.0, noise: float = 0.0) -> FrameDescription:
    return replace(frame, plan=replace(frame.plan, gain_tolerance=gain, phase_tolerance=phase, noise_tolerance=noise))


def judged(error: float, tolerance: float, seed: int) -> Consistency:
    """A session of every test through the emulated link, whose amplitude is off by `error`."""
    frame = make_frame(ledger=bench(0.6), shapes=((ROWS, 2 * MODES),), tap=TAP, mu=MU, images=IMAGES, block=20)
    frame = tolerant(replace(frame, plan=replace(frame.plan, residual_share=0.2)), gain=tolerance)
    q = make_light(np.random.default_rng(5), ROWS, MODES, MU)
    roots, verifier = Roots.from_seed(seed), Verifier(frame, [layer_light(q)])
    link = EmulatedLink(bench(0.6 * (1 + error) ** 2), roots.world)
    link.prepare(frame)
    amplitude = math.sqrt(frame.ledger.total * frame.ledger.server_efficiency)
    for block in range(frame.n_blocks):
        x = isotropic(roots.client.generator("data", block), 20, MODES)
        pattern = roots.server.bits("quadrature", block, count=MODES)
        counted = roots.server.uniforms("counted", block, count=ROWS) < 0.25
        link.server_port.send_rows(0, block, q, 20)
        link.server_port.set_receiver(
            0, block, pattern, counted, amplitude, use_sums=True, sampled=np.arange(4, dtype=np.int64)
        )
        link.client_port.set_data(0, block, x)
        link.transmit(0, block)
        verifier.add(0, block, link.server_port.returned(0, block), pattern)
    return verifier.consistency()


@pytest.mark.parametrize("sign", [-1, 1])
def test_every_test_forgives_the_tolerance_and_no_more(sign: int) -> None:
    for seed in range(8):
        within = judged(sign * 0.01, 0.01, seed)
        assert within.passed, [test for test in within.tests if not test.passed]
        assert {test.name for test in within.tests} >= {"gain", "noise", "count", "cross-use", "direction", "spectral"}
    assert not judged(sign * 0.02, 0.0, 1).passed
    assert not judged(sign * 0.04, 0.01, 1).passed


def totals_of(seed: int, **off: float) -> tuple[Totals, Reals]:
    generator = np.random.default_rng(seed)
    q = make_light(np.random.default_rng(6), ROWS, MODES, MU)
    light = draw(
        generator, bench(0.6), q, isotropic(generator, USES, MODES), counted=np.zeros(ROWS, bool), added_noise=D, **off
    )
    return light.totals(USES)[0], q


@pytest.mark.parametrize(("gain", "phase"), [(0.05, 0.0), (0.0, 0.05)])
def test_means_stand_where_the_tolerance_puts_them(gain: float, phase: float) -> None:
    """Light that is off by exactly the tolerance meets the edge of the envelope; 5 % more of it would be seen.

    Five standard errors: 6e-7 for each of the two statistics.
    """
    part, q = totals_of(1, gain_error=gain, turn=math.asin(phase))
    frame = make_frame(ledger=bench(0.6), shapes=((ROWS, 2 * MODES),), tap=TAP, mu=MU, images=USES)
    law = honest_layers(tolerant(frame, gain, phase), [layer_light(q)])[0]
    edge = law.gain(part) if gain else law.phase_law(part)
    value = part.qr if gain else part.jr
    assert abs(value - edge.high) < 5 * math.sqrt(edge.variance)
    assert abs(value - 1.05 * edge.high) > 5 * math.sqrt(edge.variance)
    noise = law.noise(part, high=True)
    assert abs(part.rr - noise.mean) < 5 * math.sqrt(noise.variance)
    bare = honest_layers(frame, [layer_light(q)])[0]
    added = noise.mean - bare.noise(part, high=True).mean
    assert added == pytest.approx(law.amplitude**2 * (gain**2 * part.qq + phase**2 * (part.energy - part.qq)))
    assert added > 50 * math.sqrt(noise.variance)  # so that a wrong term could not hide


def test_the_floor_may_lie_on_either_side() -> None:
    frame = make_frame(ledger=BENCH, shapes=((ROWS, 2 * MODES),), mu=MU)
    bare, law = honest_layers(frame)[0], honest_layers(tolerant(frame, noise=0.02))[0]
    assert law.floor == pytest.approx(bare.floor + 0.02)
    assert law.lowest_floor == pytest.approx(bare.floor - 0.02)
    assert law.floor_least is not None


def test_a_measured_unit_keeps_the_tolerance() -> None:
    frame = tolerant(make_frame(ledger=BENCH, shapes=((ROWS, 2 * MODES),), mu=MU), noise=0.02)
    frame = replace(frame, plan=replace(frame.plan, shot_noise=ShotNoise.OWN), vacuum_slots=16)
    law, number = honest_layers(frame)[0], 10**9
    vacuum = 1 + BENCH.server_noise
    known = session_layers(frame, [law], Totals(vacuum_squares=vacuum * number, vacuum_slots=number))[0]
    assert known.floor == pytest.approx(law.floor, abs=1e-3)
    assert known.lowest_floor == pytest.approx(law.lowest_floor, abs=1e-3)


def test_what_is_forgiven_is_charged_to_the_client() -> None:
    part, q = totals_of(2)
    frame = make_frame(ledger=bench(0.6), shapes=((ROWS, 2 * MODES),), tap=TAP, mu=MU, images=USES)
    limits = []
    for gain in (0.0, 0.01):
        layers = honest_layers(tolerant(frame, gain), [layer_light(q)])
        limits.append(channel_limits(layers, [part], frame.ledger, 1e-6))
    # Amplitudes add: the square root of the least transmissivity falls by the tolerance's share of the honest one.
    fall = math.sqrt(limits[0].transmissivity) - math.sqrt(limits[1].transmissivity)
    assert fall == pytest.approx(0.01 * math.sqrt(0.6), rel=0.02)
    assert limits[1].excess == pytest.approx(limits[0].excess, rel=1e-3)


@pytest.mark.parametrize("name", ["gain_tolerance", "phase_tolerance", "noise_tolerance"])
@pytest.mark.parametrize("value", [-0.01, 0.5, math.nan])
def test_tolerances_have_limits(name: str, value: float) -> None:
    frame = make_frame()
    with pytest.raises(ValueError, match=name):
        replace(frame.plan, **cast("dict[str, Any]", {name: value}))
