from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from labqdl.facts import Ledger, TapSetting
from labqdl.security import eprocess
from labqdl.security.eprocess import LOG_WEIGHTS, Evidence, evidence, log_increments
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers, layer_light
from tests.security.light import BENCH, IDEAL, Reals, assert_rate, draw, isotropic, make_frame, make_light

ROWS, IMAGES, BLOCKS = 8, 2, 4


def make_law(q: Reals, ledger: Ledger = IDEAL, light: LayerLight | None = None) -> HonestLayer:
    frame = make_frame(ledger=ledger, shapes=((q.shape[0], q.shape[1]),))
    return honest_layers(frame, [light or layer_light(q)])[0]


def test_weights_sum_to_one() -> None:
    assert float(np.exp(LOG_WEIGHTS).sum()) == pytest.approx(1.0, rel=1e-12)
    families = (eprocess.GAIN_SHIFTS, eprocess.PHASE_SHIFTS, eprocess.NOISE_RATIOS, eprocess.PHOTON_FACTORS)
    assert LOG_WEIGHTS.size == sum(len(family) for family in families)


def sessions(ledger: Ledger, trials: int, seed: int, *, worst: bool, noise_error: float = 0.0) -> tuple[int, Reals]:
    """Alarms at alpha = 0.05 in so many honest sessions, looked at after every block; final E-values."""
    generator = np.random.default_rng(seed)
    n_modes = 8
    q = make_light(generator, ROWS, n_modes, 4.0)
    law = make_law(q, ledger)
    images = trials * BLOCKS * IMAGES
    x = np.tile(np.linalg.svd(q)[2][0], (images, 1)) if worst else isotropic(generator, images, n_modes)
    light = draw(generator, ledger, q, x, counted=np.arange(ROWS) < 3, noise_error=noise_error)
    parts = light.totals(IMAGES)
    alarms, final = 0, []
    for trial in range(trials):
        state = evidence([law], [(0, part) for part in parts[trial * BLOCKS : (trial + 1) * BLOCKS]])
        alarms += state.exceeds(0.05)
        final.append(10**state.log10_now)
    return alarms, np.array(final)


@pytest.mark.parametrize(("ledger", "worst"), [(IDEAL, True), (BENCH, False)], ids=["worst data", "random data, bench"])
def test_false_alarms_at_any_time_stay_below_alpha(ledger: Ledger, worst: bool) -> None:
    trials = 2000
    alarms, final = sessions(ledger, trials, seed=1 + worst, worst=worst)
    assert_rate(alarms, trials, 0.05)
    # E itself has expectation at most 1: its mean, with the spread that these samples show, does not exceed it.
    assert final.mean() < 1 + 5 * final.std() / math.sqrt(trials)


def test_residuals_that_are_too_loud_break_the_guarantee() -> None:
    alarms, _ = sessions(IDEAL, 200, seed=5, worst=False, noise_error=1.0)
    with pytest.raises(AssertionError, match="expected"):
        assert_rate(alarms, 200, 0.05)


@pytest.mark.parametrize("family", ["gain", "phase", "noise", "count"])
def test_every_factor_has_expectation_at_most_one_and_reaches_it_at_the_worst_data(family: str) -> None:
    # Exact expectation over the worst law of each statistic, by quadrature of its law, for every alternative.
    generator = np.random.default_rng(7)
    q = make_light(generator, 4, 8, 4.0)
    law = make_law(q, light=LayerLight(1.0))
    block = Totals(
        qq=80.0, jj=80.0, energy=160.0, signal=40.0, residuals=16, homodyned=2, slots=16, counted=2, images=1
    )
    samples = 400_000
    first, second = len(eprocess.GAIN_SHIFTS), len(eprocess.PHASE_SHIFTS)
    if family == "gain":
        spread = math.sqrt(law.gain(block).variance)
        values = generator.normal(scale=spread, size=samples)
        chosen = slice(0, first)
        field = "qr"
    elif family == "phase":
        spread = math.sqrt(law.phase_law(block).variance)
        values = generator.normal(scale=spread, size=samples)
        chosen = slice(first, first + second)
        field = "jr"
    elif family == "noise":
        values = generator.chisquare(14, size=samples) + 2.0 * generator.chisquare(2, size=samples)
        chosen = slice(first + second, first + second + len(eprocess.NOISE_RATIOS))
        field = "rr"
    else:
        values = generator.negative_binomial(2, 1 / 1.5, size=samples).astype(np.float64)
        chosen = slice(first + second + len(eprocess.NOISE_RATIOS), LOG_WEIGHTS.size)
        field = "photons"
    # increments are affine in the statistic: two evaluations give slope and offset of all alternatives
    zero = log_increments(law, Totals(**{**block.to_json(), field: 0}))[chosen]
    one = log_increments(law, Totals(**{**block.to_json(), field: 1}))[chosen]
    tilts = one - zero
    for tilt, offset in zip(tilts[::3], zero[::3], strict=True):
        factors = np.exp(tilt * values + offset)
        error = float(factors.std()) / math.sqrt(samples)
        assert float(factors.mean()) < 1 + 5 * error + 1e-12
        if error < 0.01:  # a heavy-tailed factor has no useful sample mean
            assert float(factors.mean()) > 1 - 5 * error - 1e-12


@pytest.mark.parametrize(
    "error",
    [{"gain_error": -0.1}, {"noise_error": 0.3}, {"noise_error": -0.3}, {"extra": 0.2}, {"turn": -0.1}],
)
def test_cheating_is_found_while_it_happens(error: dict[str, float]) -> None:
    generator = np.random.default_rng(11)
    q = make_light(generator, 32, 32, 4.0)
    law = make_law(q)
    light = draw(generator, IDEAL, q, isotropic(generator, 32, 32), counted=np.arange(32) < 8, **error)
    state = evidence([law], [(0, part) for part in light.totals(4)])
    assert state.exceeds(1e-6)
    assert state.log10_largest >= state.log10_now


def test_counts_alone_find_too_many_and_too_few_photons() -> None:
    law = honest_layers(make_frame(shapes=((1000, 784),)), [LayerLight(1 / 784)])[0]
    block = Totals(slots=392_000, counted=1000, signal=1.0, images=1)
    honest = Totals(**{**block.to_json(), "photons": 500})
    for photons in (250, 900):
        part = Totals(**{**block.to_json(), "photons": photons})
        assert evidence([law], [(0, part)]).log10_now > 8
    assert evidence([law], [(0, honest)]).log10_now < 0


def test_blocks_without_data_carry_no_evidence() -> None:
    law = honest_layers(make_frame(shapes=((8, 16),)))[0]
    assert np.all(log_increments(law, Totals()) == 0.0)
    assert Evidence.start().after(log_increments(law, Totals())).log10_now == pytest.approx(0.0, abs=1e-12)


def test_poisson_background_alone_has_no_divergent_tilt() -> None:
    law = honest_layers(make_frame(shapes=((8, 16),), ledger=BENCH))[0]
    dark = replace(law, photons_x=0.0, photons_p=0.0, photons_technical=0.0)
    dark = replace(dark, photons_phase=0.0, photons_phase_least=0.0)
    part = Totals(slots=8_000, counted=1_000, photons=40, images=1)
    assert evidence([dark], [(0, part)]).log10_now > 5


def test_ten_million_rows_leave_the_arithmetic_intact() -> None:
    # Honest expectation in 10 blocks of 10^6 rows: no alternative gains, none but the far ones lose everything.
    law = honest_layers(make_frame(shapes=((10**6, 784),)), [LayerLight(1 / 784)])[0]
    size = Totals(qq=10**6 * 392 * 8.0, energy=10**6 * 784 * 8.0, residuals=392 * 10**6, homodyned=10**6, images=1)
    state = evidence([law], [(0, law.expected(size))] * 10)
    assert -2 < state.log10_now < 0.01
    assert not state.exceeds(1e-6)


def test_no_value_inside_of_the_envelope_is_evidence() -> None:
    """Jensen: s v - K(s) <= 0 at the mean of the law whose CGF K is, so at every mean that an honest client can have.

    An unbalanced tap on a bench: there the upper and the lower law differ for every statistic.
    """
    generator = np.random.default_rng(13)
    q = make_light(generator, 16, 8, 4.0)
    frame = make_frame(ledger=BENCH, shapes=((16, 16),), tap=TapSetting.amplifier(2.0, 0.45))
    law = honest_layers(frame, [layer_light(q)])[0]
    energy = float(np.sum(q**2)) * 100
    sizes = Totals(
        qq=energy / 2 * 0.75,
        jj=energy / 2 * 0.75,
        j4=1200 * (energy / 1600 / 2) ** 2,
        energy=energy * 0.75,
        signal=energy / 4 * 0.25,
        residuals=9_600,
        homodyned=1_200,
        slots=3_200,
        counted=400,
        images=100,
    )
    gain = law.gain(sizes)
    noise = [law.noise(sizes, high=high).mean for high in (False, True)]
    count = [law.count(sizes, high=high).mean for high in (False, True)]
    assert gain.low < gain.high
    assert noise[0] < noise[1]
    assert count[0] < count[1]
    phase = law.phase_law(sizes)
    assert phase.low < 0 < phase.high
    for share in (0.0, 0.3, 1.0):
        inside = replace(
            sizes,
            jr=phase.low + share * (phase.high - phase.low),
            qr=gain.low + share * (gain.high - gain.low),
            rr=noise[0] + share * (noise[1] - noise[0]),
            photons=math.floor(count[0] + share * (count[1] - count[0])) if share else math.ceil(count[0]),
        )
        assert log_increments(law, inside).max() <= 1e-9
    # And a value outside is: the assertion above can fail.
    inside = replace(sizes, qr=gain.middle, rr=noise[1], photons=math.floor(count[1]))
    for outside in (
        replace(inside, qr=2 * gain.high),
        replace(inside, jr=2 * phase.high + 10 * math.sqrt(phase.variance)),
        replace(inside, rr=1.2 * noise[1]),
        replace(inside, photons=math.ceil(1.5 * count[1])),
    ):
        assert log_increments(law, outside).max() > 1


def test_the_largest_value_is_remembered() -> None:
    step = np.full(LOG_WEIGHTS.size, 3.0)
    risen = Evidence.start().after(step)
    fallen = risen.after(-10 * step)
    assert fallen.log10_now < 0 < risen.log10_now
    assert fallen.log10_largest == risen.log10_now == pytest.approx(3.0 / math.log(10), rel=1e-12)
    assert fallen.exceeds(0.06)
