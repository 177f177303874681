from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, special

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics.client_law import honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import layer_amplitudes
from labqdl.optics.sampler import sample_statistics
from labqdl.security.checks import count_check, gain_check, noise_check, phase_check, session_checks
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers, layer_light
from labqdl.security.quadratic import QuadraticLaw
from labqdl.security.sample_size import Alternative
from labqdl.security.sample_size import Test as Kind
from tests.security.light import (
    BENCH,
    IDEAL,
    Reals,
    Returned,
    assert_power,
    assert_rate,
    assert_uniform,
    draw,
    isotropic,
    make_frame,
    make_light,
)

ROWS, IMAGES, SESSIONS = 12, 4, 300


def make_law(q: Reals, ledger: Ledger = IDEAL, mu: float = 4.0, **options: object) -> HonestLayer:
    frame = make_frame(ledger=ledger, shapes=((q.shape[0], q.shape[1]),), mu=mu)
    return honest_layers(frame, [layer_light(q)])[0]


def first_counted(rows: int, count: int) -> NDArray[np.bool_]:
    return np.arange(rows) < count


def one_sided(law: HonestLayer, part: Totals, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """Upper tail probabilities of gain, noise, phase and (randomised between neighbours) count."""
    gain, phase = law.gain(part), law.phase_law(part)
    z = (part.qr - gain.middle) / math.sqrt(gain.variance)
    turned = (part.jr - phase.middle) / math.sqrt(phase.variance)
    noise = law.noise(part, high=True).upper_tail(part.rr)
    count = law.count(part, high=True)
    above, here = count.upper_tail(part.photons + 1), count.upper_tail(part.photons)
    randomised = above + generator.random() * (here - above)
    return float(special.ndtr(-z)), noise, float(special.ndtr(-turned)), randomised


def calibrate(n_modes: int, seed: int, **errors: float) -> tuple[Reals, ...]:
    generator = np.random.default_rng(seed)
    q = make_light(generator, ROWS, n_modes, 4.0)
    law = make_law(q)
    x = isotropic(generator, SESSIONS * IMAGES * 2, n_modes)
    light = draw(generator, IDEAL, q, x, counted=first_counted(ROWS, 6), **errors)
    tails = np.array([one_sided(law, part, generator) for part in light.totals(2 * IMAGES)])
    return tuple(tails.T)


@pytest.mark.parametrize("n_modes", [8, 32])
def test_p_values_are_uniform_for_random_data(n_modes: int) -> None:
    for tails in calibrate(n_modes, seed=10 + n_modes):
        assert_uniform(tails)


def test_five_per_cent_of_anything_breaks_the_calibration() -> None:
    # 1536 residuals and 48 counted row-images a session: the shift is 2 to 5 spreads, photons need a bias of theirs.
    gain, *_ = calibrate(32, seed=20, gain_error=0.05)
    _, noise, *_ = calibrate(32, seed=21, noise_error=0.05)
    _, _, phase, _ = calibrate(32, seed=23, turn=0.05)
    for tails in (gain, noise, phase):
        with pytest.raises(AssertionError, match="from uniform"):
            assert_uniform(tails)


def test_five_per_cent_of_photons_break_the_calibration() -> None:
    def tails(error: float) -> Reals:
        generator = np.random.default_rng(22)
        q = make_light(generator, ROWS, 8, 4.0)
        law = make_law(q)
        x = isotropic(generator, 300 * 60, 8)
        light = draw(generator, IDEAL, q, x, counted=first_counted(ROWS, ROWS), photon_error=error)
        result = []
        for part in light.totals(60):
            count = law.count(part, high=True)
            above, here = count.upper_tail(part.photons + 1), count.upper_tail(part.photons)
            result.append(above + generator.random() * (here - above))
        return np.array(result)

    assert_uniform(tails(0.0))
    with pytest.raises(AssertionError, match="from uniform"):
        assert_uniform(tails(0.05))


def worst_data(q: Reals, images: int) -> Reals:
    """Every image along the strongest direction of the layer's light."""
    direction = np.linalg.svd(q)[2][0]
    return np.tile(direction, (images, 1))


@pytest.mark.parametrize("n_modes", [8, 32])
@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=["ideal", "bench"])
@pytest.mark.parametrize("worst", [False, True], ids=["random data", "worst data"])
def test_false_alarms_of_every_check_stay_below_their_share(n_modes: int, ledger: Ledger, worst: bool) -> None:
    generator = np.random.default_rng(30 + n_modes + worst)
    q = make_light(generator, ROWS, n_modes, 4.0)
    # A dominant direction: rows that resemble each other, as trained weights do.
    q += 2 * np.outer(np.ones(ROWS), generator.normal(size=2 * n_modes))
    q *= math.sqrt(8.0 / np.mean(q**2))
    law = make_law(q, ledger)
    trials = 200
    x = worst_data(q, trials * IMAGES) if worst else isotropic(generator, trials * IMAGES, n_modes)
    light = draw(generator, ledger, q, x, counted=first_counted(ROWS, 4))
    parts = light.totals(IMAGES)
    for check in (gain_check, noise_check, phase_check, count_check):
        hits = sum(not check([law], [part], 0.05).passed for part in parts)
        assert_rate(hits, trials, 0.05)


def test_without_the_alignment_envelope_aligned_weights_would_raise_false_alarms() -> None:
    generator = np.random.default_rng(40)
    q = np.outer(generator.choice([-1.0, 1.0], size=ROWS), generator.normal(size=16))
    q *= math.sqrt(8.0 / np.mean(q**2))
    light = draw(
        generator, IDEAL, q, worst_data(q, 600 * IMAGES), counted=first_counted(ROWS, 0), added_noise=9.0
    ).totals(IMAGES)
    frame = make_frame(shapes=((ROWS, 16),))
    aligned = replace(honest_layers(frame, [layer_light(q)])[0], spike_x=9.0, spike_p=9.0)
    naive = replace(aligned, alignment=1 / 16)
    assert aligned.alignment == pytest.approx(1.0, rel=1e-5)
    for check in (gain_check, phase_check):
        assert_rate(sum(not check([aligned], [part], 0.05).passed for part in light), 600, 0.05)
        with pytest.raises(AssertionError, match="expected"):
            assert_rate(sum(not check([naive], [part], 0.05).passed for part in light), 600, 0.05)


# ---- powers of the named attacks, mu = 4, G = 2, n_modes = 392, T = 1, one-sided false-alarm rate 1e-6 ----


def paper_law(rows: int = 1) -> HonestLayer:
    frame = make_frame(shapes=((rows, 784),))
    return honest_layers(frame, [LayerLight(alignment=1 / 784)])[0]


def residual_totals(number: int) -> Totals:
    return Totals(qq=8.0 * number, energy=16.0 * number, residuals=number, homodyned=max(1, round(number / 392)))


@pytest.mark.parametrize(
    ("number", "variance"),
    [(76, 3.0), (101, 2.6), (196, 2.0), (18, 9.0), (10_971, 1 + 1 / 392 + 0.1)],
    ids=["intercept-resend", "MMSE resend", "cloner", "substitution", "asymmetric cloner"],
)
def test_noise_check_has_the_stated_power(number: int, variance: float) -> None:
    law = paper_law()
    # The honest row of the table has its spike spread over 392 modes: less than one row is an isotropic fraction.
    exact = replace(law, floor=1 + 1 / 392, spike_x=0.0, spike_p=0.0)
    critical = optimize.brentq(
        lambda rr: exact.noise(residual_totals(number), high=True).upper_tail(rr) / 1e-6 - 1, number, 9.0 * number
    )
    trials = 20_000
    square = variance * np.random.default_rng(50 + number).chisquare(number, size=trials)
    assert_power(int(np.sum(square > critical)), trials, 0.9905)
    for margin, caught in ((1.001, True), (0.999, False)):
        part = replace(residual_totals(number), rr=critical * margin)
        assert noise_check([exact], [part], 2e-6).passed is not caught
    # The real check also allows for the spike of the row that it is part of: at most a few more residuals.
    generous = optimize.brentq(
        lambda rr: law.noise(residual_totals(number), high=True).upper_tail(rr) / 1e-6 - 1, number, 9.0 * number
    )
    assert generous >= critical
    if number > 392:
        assert generous == pytest.approx(critical, rel=2e-4)


def test_gain_check_has_the_stated_power_against_a_passive_tap() -> None:
    generator, number, trials = np.random.default_rng(60), 2385, 2000
    law = paper_law()
    gain = math.sqrt(1 - 0.1) - 1
    q = generator.normal(scale=math.sqrt(8.0), size=(trials, number)).astype(np.float32)
    r = gain * q + generator.normal(scale=math.sqrt(1 + 1 / 392), size=q.shape).astype(np.float32)
    qq, qr = np.einsum("ij,ij->i", q, q), np.einsum("ij,ij->i", q, r)
    hits = 0
    for square, cross in zip(qq.tolist(), qr.tolist(), strict=True):
        part = Totals(qq=square, qr=cross, rr=1.0, residuals=number, homodyned=6, images=6)
        hits += not gain_check([law], [part], 2e-6).passed
    assert_power(hits, trials, 0.99)


def test_phase_check_has_the_stated_power_against_a_turned_reference() -> None:
    """Light turned by 12 mrad: residuals of -sin along Jq, drawn residual by residual."""
    generator, trials, angle = np.random.default_rng(65), 1000, 0.012
    number = Alternative(Kind.PHASE, math.sin(angle), variance=1 + 1 / 392, light=8.0).symbols_needed(1e-3, 0.9)
    law = paper_law()
    q = generator.normal(scale=math.sqrt(8.0), size=(trials, number)).astype(np.float32)
    r = math.sin(angle) * q + generator.normal(scale=math.sqrt(1 + 1 / 392), size=q.shape).astype(np.float32)
    hits = 0
    for square, product in zip(np.vecdot(q, q).tolist(), np.vecdot(q, r).tolist(), strict=True):
        part = Totals(jj=square, jr=product, rr=1.0, residuals=number, homodyned=6, images=6)
        hits += not phase_check([law], [part], 2e-3).passed
    assert_power(hits, trials, 0.9)
    # 5 % more light would change the power; the shift itself is read off in radians.
    assert Alternative(Kind.PHASE, 1.05 * math.sin(angle), variance=1 + 1 / 392, light=8.0).power(number, 1e-3) > 0.93
    exact = Totals(jj=8.0 * number, jr=8.0 * number * angle, rr=1.0, residuals=number, homodyned=6, images=6)
    found = phase_check([law], [exact], 2e-3)
    assert found.statistic == pytest.approx(angle)
    assert found.unit == "rad"


@pytest.mark.parametrize(("gain", "rows"), [(10.0, 347), (3.0, 1624)])
def test_count_check_has_the_stated_power_against_over_amplification(gain: float, rows: int) -> None:
    law, trials = paper_law(), 4000
    part = Totals(slots=392 * rows, counted=rows)
    honest = law.count(part, high=True)
    critical = next(k for k in range(rows // 2, 4 * rows) if honest.upper_tail(k) <= 1e-6)
    mean = (gain - 1) / gain
    photons = np.random.default_rng(70).negative_binomial(rows, 1 / (1 + mean), size=trials)
    assert_power(int(np.sum(photons >= critical)), trials, 0.99)
    assert not count_check([law], [replace(part, photons=critical)], 2e-6).passed
    assert count_check([law], [replace(part, photons=critical - 1)], 2e-6).passed


def test_too_quiet_light_is_caught_too() -> None:
    law = paper_law()
    part = replace(residual_totals(392_000), rr=0.98 * 392_000, slots=3_920_000, counted=10_000, photons=100)
    assert noise_check([law], [part], 1e-6).z < -5
    assert not noise_check([law], [part], 1e-6).passed
    assert count_check([law], [part], 1e-6).z < -5
    assert not count_check([law], [part], 1e-6).passed


# ---- structure ----


def drawn_layers(seed: int = 80) -> tuple[list[HonestLayer], list[Returned]]:
    generator = np.random.default_rng(seed)
    lights = [make_light(generator, rows, 8, 4.0) for rows in (16, 10)]
    frame = make_frame(shapes=((16, 16), (10, 16)))
    laws = list(honest_layers(frame, [layer_light(q) for q in lights]))
    drawn = [
        draw(generator, IDEAL, q, isotropic(generator, 64, 8), counted=first_counted(q.shape[0], 3)) for q in lights
    ]
    return laws, drawn


def test_shares_of_alpha_add_up() -> None:
    laws, drawn = drawn_layers()
    totals = [light.totals(64)[0] for light in drawn]
    several = session_checks(laws, totals, 1e-6)
    assert [test.name for test in several] == [
        *("gain", "noise", "phase", "count"),
        *("gain, layer 1", "noise, layer 1", "phase, layer 1", "count, layer 1"),
        *("gain, layer 2", "noise, layer 2", "phase, layer 2", "count, layer 2"),
    ]
    # Four of the seven tests have data; the others leave their shares unspent.
    assert math.fsum(test.threshold for test in several) == pytest.approx(0.5e-6 * 4 / 7)
    single = session_checks(laws[:1], totals[:1], 1e-6)
    assert [test.name for test in single] == ["gain", "noise", "phase", "count"]
    assert math.fsum(test.threshold for test in single) == pytest.approx(0.5e-6 * 4 / 7)
    assert all(test.passed for test in several)


def test_kinds_of_rows_that_are_absent_are_not_tested() -> None:
    laws, drawn = drawn_layers()
    part = drawn[0].totals(64)[0]
    counted = Totals(signal=part.signal, slots=part.slots, counted=part.counted, photons=part.photons, images=64)
    homodyned = replace(part, slots=0, counted=0, photons=0, signal=0.0)
    assert [test.name for test in session_checks(laws[:1], [counted], 1e-6)] == ["count"]
    assert [test.name for test in session_checks(laws[:1], [homodyned], 1e-6)] == ["gain", "noise", "phase"]
    assert session_checks(laws[:1], [Totals()], 1e-6) == ()


def test_results_carry_figures_a_person_can_compare() -> None:
    laws, drawn = drawn_layers()
    gain, noise, phase, count = session_checks(laws[:1], [drawn[0].totals(64)[0]], 1e-6)
    assert gain.statistic == pytest.approx(1.0, abs=0.05)
    assert gain.expected == pytest.approx(1.0)
    assert noise.statistic == pytest.approx(1 + 1 / 8, abs=0.1)
    assert noise.expected == pytest.approx(1 + 1 / 8)
    assert count.expected == pytest.approx(0.5 / 8)
    assert phase.statistic == pytest.approx(0.0, abs=0.05)
    assert phase.expected == 0
    assert gain.samples == noise.samples == phase.samples == 13 * 64 * 8
    assert count.samples == 3 * 64 * 8


def test_an_unbalanced_net_gain_widens_the_envelope_to_what_any_data_can_do() -> None:
    generator = np.random.default_rng(90)
    tap = TapSetting.amplifier(2.0, 0.45)
    frame = make_frame(shapes=((ROWS, 16),), tap=tap)
    q = make_light(generator, ROWS, 8, 4.0)
    law = honest_layers(frame, [layer_light(q)])[0]
    assert law.mismatch == pytest.approx(1 - math.sqrt(0.9))
    part = draw(generator, IDEAL, q, isotropic(generator, 4, 8), counted=first_counted(ROWS, 4)).totals(4)[0]
    gain = law.gain(part)
    assert gain.low < 0 < gain.high
    # the true shift along the worst direction, quadratures measured at will, stays inside
    x = worst_data(q, 1)[0]
    jx = np.stack([-x[1::2], x[0::2]], axis=-1).ravel()
    amplitudes = q @ np.stack([x, jx], axis=1)
    shift = law.mismatch * np.sum(np.abs(amplitudes) * np.abs(q @ np.stack([x, jx], axis=1))) / 2
    assert shift * 4 * law.amplitude < gain.high - gain.middle
    for law_of in (law.noise, law.count):
        high: QuadraticLaw = law_of(part, high=True)
        low: QuadraticLaw = law_of(part, high=False)
        assert high.mean > low.mean


@pytest.mark.parametrize("along", [True, False], ids=["data along the light", "data across the light"])
def test_no_data_raise_an_alarm_at_an_unbalanced_net_gain(along: bool) -> None:
    """The missing light is (1 - t)^2 |x.q|^2: all there is, or none. Noise and photons lie at an end of the envelope.

    More than eight standard deviations from the other end; false-alarm rate of each of the three tests 1e-9.
    """
    tap = TapSetting.amplifier(2.0, 0.45)
    generator = np.random.default_rng(91)
    rows, n_modes, images, mu = 16, 4, 2000, 160.0
    axis = np.zeros((2, 2 * n_modes))
    axis[0, :n_modes], axis[1, n_modes:] = generator.normal(size=n_modes), generator.normal(size=n_modes)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    q = np.outer(generator.choice([-1.0, 1.0], size=rows), axis[0]) * math.sqrt(4 * mu * n_modes)
    frame = make_frame(shapes=((rows, 2 * n_modes),), tap=tap, mu=mu)
    law = honest_layers(frame, [layer_light(q)])[0]
    x = np.tile(axis[0 if along else 1], (images, 1))
    _, light = sample_statistics(
        LinkLaw.from_ledger(IDEAL, honest(IDEAL, tap)),
        q,
        x,
        generator.random(n_modes) < 0.5,
        first_counted(rows, 8),
        lambda purpose: np.random.default_rng([92, *purpose.encode()]),
    )
    part = Totals.from_rows(light.statistics, np.sum(q**2, axis=1))
    for check in (gain_check, noise_check, count_check):
        assert check([law], [part], 1e-9).passed, check.__name__
    # Not idle: the other end of the envelope would be blamed.
    for law_of, value in ((law.noise, part.rr), (law.count, part.photons)):
        other: QuadraticLaw = law_of(part, high=not along)
        assert abs(value - other.mean) > 8 * math.sqrt(other.variance)


def test_frames_and_light_must_fit() -> None:
    frame = make_frame(shapes=((ROWS, 16),))
    with pytest.raises(ValueError, match="2 descriptions of light for 1 layers"):
        honest_layers(frame, [LayerLight(), LayerLight()])
    with pytest.raises(ValueError, match="row_energy has shape"):
        honest_layers(frame, [LayerLight(row_energy=np.ones(3))])
    with pytest.raises(ValueError, match="the frame says"):
        honest_layers(frame, [LayerLight(row_energy=np.ones(ROWS))])
    with pytest.raises(ValueError, match="alignment must lie"):
        LayerLight(alignment=0.0)
    with pytest.raises(ValueError, match="q must have shape"):
        layer_light(np.ones((3, 5)))


def test_layer_light_bounds_every_direction_and_pattern() -> None:
    generator = np.random.default_rng(95)
    q = make_light(generator, ROWS, 8, 4.0) + np.outer(np.ones(ROWS), np.linspace(0, 1, 16))
    light = layer_light(q)
    assert light.row_energy is not None
    assert light.cross is not None
    total = float(light.row_energy.sum())
    for x in isotropic(generator, 200, 8):
        pattern = generator.random(8) < 0.5
        picked = np.repeat(pattern, 2)
        picked[0::2] = ~picked[0::2]
        jx = np.stack([-x[1::2], x[0::2]], axis=-1).ravel()
        met = np.sum((q[:, picked] @ x[picked]) ** 2 + (q[:, picked] @ jx[picked]) ** 2)
        assert met <= light.alignment * total
        jq = np.stack([-q[:, 1::2], q[:, 0::2]], axis=-1).reshape(q.shape)
        assert np.sum(np.sum(q[:, picked] * jq[:, picked], axis=1) ** 2) <= light.cross
    fallback = honest_layers(make_frame(shapes=((ROWS, 16),)))[0]
    assert fallback.alignment == 1.0
    assert fallback.cross == pytest.approx(ROWS * (16 * 8.0) ** 2 / 4)


def test_totals_add_up_to_the_bit_in_any_order() -> None:
    generator = np.random.default_rng(97)
    parts = [Totals(qq=v, qr=-v / 3, rr=v * v, residuals=2) for v in generator.lognormal(0, 9, size=50)]
    shuffled = [parts[i] for i in generator.permutation(50)]
    assert Totals.sum(parts) == Totals.sum(shuffled)


class Streams:
    """One generator for every purpose, from one seed."""

    def __init__(self, *seed: int) -> None:
        self._seed = seed

    def __call__(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([*self._seed, *purpose.encode()])


@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=["ideal", "bench"])
@pytest.mark.parametrize(
    "tap", [TapSetting.amplifier(2.0), TapSetting.feed_forward(0.8)], ids=["amplifier", "splitter"]
)
def test_the_emulated_link_follows_the_honest_law(ledger: Ledger, tap: TapSetting) -> None:
    # Mean of each statistic over 100 blocks within 5 standard errors (1e-6 each); 5 % more noise is found.
    generator = np.random.default_rng(99)
    q = make_light(generator, 32, 32, 4.0)
    law = honest_layers(make_frame(ledger=ledger, shapes=((32, 64),), tap=tap), [layer_light(q)])[0]
    link = LinkLaw.from_ledger(ledger, honest(ledger, tap))
    scores, louder = [], []
    for block in range(100):
        _, returned = sample_statistics(
            link,
            q,
            isotropic(generator, 16, 32),
            generator.random(32) < 0.5,
            generator.random(32) < 0.25,
            Streams(1, block),
        )
        part = Totals.from_rows(returned.statistics, law.row_energy)
        gain, noise, count = law.gain(part), law.noise(part, high=True), law.count(part, high=True)
        scores.append(
            (
                (part.qr - gain.middle) / math.sqrt(gain.variance),
                (part.rr - noise.mean) / math.sqrt(noise.variance),
                (part.photons - count.mean) / math.sqrt(count.variance),
            )
        )
        louder.append((1.05 * part.rr - noise.mean) / math.sqrt(noise.variance))
    assert np.all(np.abs(np.mean(scores, axis=0)) < 0.5)
    assert np.mean(louder) > 0.5


def test_the_bias_column_carries_light() -> None:
    weights, bias = np.ones((4, 5)), np.full(4, 3.0)
    q, _ = layer_amplitudes(weights, bias, 4.0)
    frame = make_frame(shapes=((4, 5),))
    frame = replace(frame, layers=(replace(frame.layers[0], bias=True),))
    for light in (None, [layer_light(q)]):
        assert honest_layers(frame, light)[0].energy == pytest.approx(float(np.sum(q**2)), rel=1e-12)


@pytest.mark.parametrize("deviation", [0.05, 0.3])
def test_envelope_of_phase_noise_holds_beyond_the_first_order(deviation: float) -> None:
    """Against exact moments of the phase: E cos phi = e^(-s/2), E cos 2 phi = e^(-2s), s the variance of phi."""
    ledger = Ledger("shaky", (Component("fibre", Place.FORWARD, Owner.CHANNEL, phase_noise=deviation),))
    generator = np.random.default_rng(50)
    q = make_light(generator, 6, 16, 40.0)
    law = make_law(q, ledger, mu=40.0)
    first, other = q[:, 0::2], q[:, 1::2]  # X measured everywhere: Jq restricted is -P
    square, cosine = math.exp(-2 * deviation**2), math.exp(-0.5 * deviation**2)
    var_cos, mean_sin = (1 + square) / 2 - cosine**2, (1 - square) / 2
    images = 50
    size = Totals(
        qq=float(np.sum(first**2)) * images,
        energy=float(np.sum(q**2)) * images,
        signal=float(np.sum(q**2)) / 4 * images,
        residuals=6 * 16 * images,
        homodyned=6 * images,
        slots=6 * 16 * images,
        counted=6 * images,
        images=images,
    )
    tap, row = 1.0, np.sum(first**2, axis=1)
    gain = law.gain(size)
    exact = var_cos * float(np.sum(row**2)) + mean_sin * float(np.sum(np.sum(first * other, axis=1) ** 2))
    assert gain.middle == pytest.approx((cosine - 1) * size.qq, rel=1e-9)
    # Without the spike, and with this very pattern's cross term, nothing else is left to cover for the phase.
    pattern = float(np.sum(np.sum(first * other, axis=1) ** 2))
    bare = replace(law, spike_x=0.0, spike_p=0.0, cross=pattern).gain(size).variance
    assert size.qq + images * exact <= bare < 3 * (size.qq + images * exact)
    # Turned light: the same two moments, along j.
    half = np.sum(other**2, axis=1)
    size = replace(size, jj=float(half.sum()) * images, j4=float(np.sum(half**2)) * images)
    products = np.sum(first * other, axis=1)
    turned = law.phase_law(size)
    lost = (1 - cosine) * abs(float(products.sum())) * images
    assert -turned.high == turned.low <= -lost
    exact = mean_sin * float(np.sum(half**2)) + var_cos * pattern
    bare = replace(law, spike_x=0.0, spike_p=0.0, cross=pattern).phase_law(size).variance
    assert size.jj + images * exact <= bare < 2 * (size.jj + images * exact)
    energy = ((1 + square) / 2 - 2 * cosine + 1) * size.qq + mean_sin * (size.energy - size.qq)
    noise = size.residuals + tap * size.homodyned + energy
    assert law.noise(size, high=False).mean <= noise
    photons = tap * size.counted / 2 + 2 * (1 - cosine) * size.signal
    assert law.count(size, high=False).mean == pytest.approx(photons, rel=1e-9)
    assert photons < law.count(size, high=True).mean
    # Not idle: five per cent less phase noise would be below what an honest client returns.
    assert law.count(size, high=False).mean > photons - 0.05 * 2 * (1 - cosine) * size.signal
