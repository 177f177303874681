"""Direction and spectral tests on residuals of the exact sampler, on planted attacks and at the worst data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from labqdl.facts import Component, Ledger, Owner, Place, ResidualSample, TapSetting
from labqdl.optics.client_law import ClientLaw, honest
from labqdl.optics.law import LinkLaw
from labqdl.optics.modes import rotate_j
from labqdl.optics.sampler import sample_residuals
from labqdl.security.checks import direction_check, noise_check, session_checks, spectral_check
from labqdl.security.cross_use import CrossUseTotals
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers, layer_light
from labqdl.security.sampled import (
    ImageSpectrum,
    SampledTotals,
    combined_p_value,
    direction_law,
    inspect,
    turned_light,
)
from labqdl.security.singular import noise_norm_tail, spiked_edge
from tests.security.light import BENCH, IDEAL, Reals, assert_rate, assert_uniform, make_frame, make_light
from tests.security.test_cross_use import KINDS, data, streams

ROWS, N_MODES, IMAGES = 40, 24, 3


def trained_light(generator: np.random.Generator, rows: int = ROWS, n_modes: int = N_MODES) -> Reals:
    """Rows whose light has a few strong directions, as trained weights have."""
    q = make_light(generator, rows, n_modes, 4.0) * (1 + 3 * np.exp(-np.arange(2 * n_modes) / 4))
    return np.asarray(q * math.sqrt(8.0 / np.mean(q**2)))


def sample_of(
    seed: int,
    kind: str = "dense",
    ledger: Ledger = IDEAL,
    *,
    client: ClientLaw | None = None,
    images: int = IMAGES,
    extra: Reals | None = None,
    mu: float = 4.0,
) -> tuple[HonestLayer, LayerLight, ResidualSample, NDArray[np.bool_]]:
    """Sampled images of one block; `extra` is the covariance of further noise on all quadratures (2 n_modes)^2."""
    generator = np.random.default_rng(seed)
    q = trained_light(generator) * math.sqrt(mu / 4)
    light = layer_light(q)
    frame = make_frame(ledger=ledger, shapes=(q.shape,), mu=mu)
    box = honest(ledger, frame.tap) if client is None else client
    link = LinkLaw.from_ledger(ledger, box, expected=ledger)
    pattern, counted = generator.random(N_MODES) < 0.5, generator.random(ROWS) < 0.25
    drawn = sample_residuals(link, q, data(kind, generator, images, q), pattern, counted, streams(seed))
    residuals = drawn.residuals.copy()
    if extra is not None:
        where = 2 * np.arange(N_MODES) + pattern
        shape = residuals.shape[:2]
        residuals += generator.multivariate_normal(np.zeros(2 * N_MODES), extra, size=shape, method="eigh")[..., where]
    sample = ResidualSample(np.arange(images), np.flatnonzero(~counted), residuals)
    return honest_layers(frame, [light])[0], light, sample, pattern


def totals_of(
    seed: int,
    kind: str = "dense",
    ledger: Ledger = IDEAL,
    *,
    client: ClientLaw | None = None,
    images: int = IMAGES,
    extra: Reals | None = None,
) -> tuple[HonestLayer, SampledTotals]:
    law, light, sample, pattern = sample_of(seed, kind, ledger, client=client, images=images, extra=extra)
    return law, inspect(law, sample, pattern, light.principal)


# ---- figures ----


def test_energy_is_that_of_the_projection_on_the_restricted_directions() -> None:
    law, light, sample, pattern = sample_of(1)
    assert light.principal is not None
    found = inspect(law, sample, pattern, light.principal)
    where = 2 * np.arange(N_MODES) + pattern
    measured = light.principal[:, where]
    projector = np.linalg.pinv(measured) @ measured  # an independent route to the orthogonal projection
    flat = sample.residuals.reshape(-1, N_MODES)
    assert found.energy == pytest.approx(float(np.sum((flat @ projector.T) ** 2)), rel=1e-9)
    assert found.pairs == flat.shape[0]
    assert found.degrees == found.pairs * round(float(np.trace(projector)))
    assert found.images == IMAGES


def test_principal_directions_are_the_strongest_ones() -> None:
    q = trained_light(np.random.default_rng(2))
    principal = layer_light(q).principal
    assert principal is not None
    strongest = np.linalg.svd(q)[2][: len(principal)]
    assert np.abs(np.sum(principal * strongest, axis=1)) == pytest.approx(np.ones(len(principal)), abs=1e-9)
    assert principal @ principal.T == pytest.approx(np.eye(len(principal)), abs=1e-12)
    few = layer_light(trained_light(np.random.default_rng(3), rows=2)).principal
    assert few is not None
    assert len(few) == 2
    assert layer_light(np.zeros((3, 16)) + 1.0).principal is not None


def test_the_light_along_the_directions_has_its_upper_limit() -> None:
    law, light, sample, pattern = sample_of(4)
    q = trained_light(np.random.default_rng(4))
    assert light.principal is not None
    found = inspect(law, sample, pattern, light.principal)
    where = 2 * np.arange(N_MODES) + pattern
    axes = np.linalg.svd(light.principal[:, where], full_matrices=False)[2]
    for sent in (q, rotate_j(q)):
        assert IMAGES * float(np.sum((sent[:, where] @ axes.T) ** 2)) <= found.light


def test_a_singular_value_is_reported_over_its_edge() -> None:
    law, _, sample, pattern = sample_of(5, images=1)
    (spectrum,) = inspect(law, sample, pattern).spectra
    values = np.linalg.svd(sample.residuals[0], compute_uv=False)
    rows, columns = sample.residuals[0].shape
    edges = [spiked_edge(rows, columns, spike) for spike in (law.spike_x, law.spike_x / 2, 0.0)]
    assert spectrum.ratio == pytest.approx(values[spectrum.rank - 1] / edges[spectrum.rank - 1], rel=1e-9)
    assert spectrum.residuals == sample.residuals[0].size


def test_three_singular_values_cost_three_times_the_p_value_of_one() -> None:
    """Without any spike the first singular value is the most telling one, by its own bound."""
    generator = np.random.default_rng(6)
    law = honest_layers(make_frame(shapes=((ROWS, 2 * N_MODES),)))[0]
    law = replace(law, spike_x=0.0, spike_p=0.0)
    noise = 1.25 * generator.normal(size=(1, ROWS, N_MODES))
    sample = ResidualSample(np.arange(1), np.arange(ROWS), noise)
    (spectrum,) = inspect(law, sample, np.zeros(N_MODES, dtype=np.bool_)).spectra
    first = float(np.linalg.svd(noise[0], compute_uv=False)[0])
    assert spectrum.rank == 1
    assert spectrum.p_value < 0.3
    assert spectrum.p_value == pytest.approx(3 * noise_norm_tail(first, ROWS, N_MODES), rel=1e-9)


def test_samples_that_do_not_fit_are_refused() -> None:
    law, light, sample, pattern = sample_of(6)
    with pytest.raises(ValueError, match="pattern"):
        inspect(law, sample, pattern[:-1], light.principal)
    broken = sample.residuals.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        inspect(law, replace(sample, residuals=broken), pattern)
    none = ResidualSample(np.arange(0), sample.rows, sample.residuals[:0])
    assert inspect(law, none, pattern, light.principal) == SampledTotals()


def test_three_rows_have_no_spectrum() -> None:
    law, light, sample, pattern = sample_of(7)
    few = ResidualSample(sample.images, sample.rows[:3], sample.residuals[:, :3])
    found = inspect(law, few, pattern, light.principal)
    assert found.spectra == ()
    assert found.pairs == 3 * IMAGES


def test_sums_of_totals_keep_every_spectrum() -> None:
    parts = [totals_of(seed)[1] for seed in (8, 9)]
    both = SampledTotals.sum(parts)
    assert both.spectra == parts[0].spectra + parts[1].spectra
    assert both.energy == math.fsum(part.energy for part in parts)
    assert (both.pairs, both.images) == (parts[0].pairs + parts[1].pairs, 2 * IMAGES)
    assert SampledTotals.sum([]) == SampledTotals()


# ---- honest clients ----


@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=["ideal", "bench"])
@pytest.mark.parametrize("kind", KINDS)
def test_false_alarms_stay_below_their_share_for_every_data(kind: str, ledger: Ledger) -> None:
    trials = 40
    sessions = [totals_of(1000 + seed, kind, ledger) for seed in range(trials)]
    for rate in (0.2, 0.02):
        assert_rate(sum(not direction_check([law], [part], rate).passed for law, part in sessions), trials, rate)
        assert_rate(sum(not spectral_check([part], rate).passed for _, part in sessions), trials, rate)


def noise_along(generator: np.random.Generator, scale: float = 1.0) -> Reals:
    """Upper tails of honest residuals whose whole spike lies in one principal direction: the worst data."""
    rows = 8 * ROWS
    q = trained_light(generator, rows)
    light = layer_light(q)
    law = honest_layers(make_frame(shapes=(q.shape,)), [light])[0]
    assert light.principal is not None
    tails = []
    for _ in range(150):
        pattern = generator.random(N_MODES) < 0.5
        axis = np.linalg.svd(light.principal[:, 2 * np.arange(N_MODES) + pattern], full_matrices=False)[2][0]
        residuals = generator.normal(size=(1, rows, N_MODES)) + generator.normal(size=(1, rows, 1)) * axis
        sample = ResidualSample(np.arange(1), np.arange(rows), residuals * math.sqrt(scale))
        part = inspect(law, sample, pattern, light.principal)
        tails.append(direction_law(law, part, high=True).upper_tail(part.energy))
    return np.array(tails)


def test_the_worst_data_reach_the_envelope_of_the_direction_test() -> None:
    assert_uniform(noise_along(np.random.default_rng(12)))
    with pytest.raises(AssertionError, match="from uniform"):
        assert_uniform(noise_along(np.random.default_rng(12), 1.05))


def shaky(deviation: float) -> Ledger:
    return Ledger("shaky", (Component("fibre", Place.RETURN, Owner.CHANNEL, phase_noise=deviation),))


def test_light_turned_by_noise_raises_no_alarm_for_what_is_agreed() -> None:
    for deviation, mu in ((0.05, 4.0), (0.2, 4.0), (0.1, 40.0)):
        for seed in range(10, 15):
            law, _, sample, pattern = sample_of(seed, "dense", shaky(deviation), mu=mu)
            assert spectral_check([inspect(law, sample, pattern)], 1e-3).passed
    # The allowance is needed: without it the last of these would be an alarm, and ten times the noise is one.
    strict = replace(law, phase=0.0, flutter=0.0, droop=0.0)
    assert not spectral_check([inspect(strict, sample, pattern)], 1e-6).passed
    _, _, wild, _ = sample_of(14, "dense", shaky(1.0), mu=40.0)
    assert not spectral_check([inspect(law, wild, pattern)], 1e-6).passed


def test_rows_turned_against_each_other_stay_within_what_is_allowed() -> None:
    """Two rows in quadrature, turned by opposite phases: each leans towards the other, which sines alone do not see.

    (e^(i phi) - 1) i and (e^(-i phi) - 1) have 2 sin(phi/2) in length and sin(phi) between their directions, so the
    norm is 2 sin(phi/2) (1 + sin phi)^(1/2). Light turned as a whole makes any quadrature the measured one.
    """
    deviation, amplitudes = 0.2, np.array([4.0, 4.0j])
    light = layer_light(np.stack([amplitudes.real, amplitudes.imag], axis=1))
    law = honest_layers(make_frame(ledger=shaky(deviation), shapes=((2, 2),)), [light])[0]
    assert law.floor == law.amplitude == 1.0
    for allowed, failure in turned_light(law, 2):
        # Each phase leaves [-phi, phi] with this probability / 4: so much of it is the sines' own.
        phi = deviation * stats.norm.isf(failure / 4 / 2)
        added = amplitudes * (np.exp(1j * np.array([phi, -phi])) - 1)
        norm = float(np.linalg.norm([added.real, added.imag], 2))
        assert norm == pytest.approx(8 * math.sin(phi / 2) * math.sqrt(1 + math.sin(phi)), rel=1e-12)
        assert norm > 4 * phi
        assert norm <= allowed < 1.5 * norm


def test_an_unbalanced_tap_raises_no_alarm() -> None:
    tap = TapSetting.amplifier(2.0, 0.3)
    generator = np.random.default_rng(11)
    q = trained_light(generator)
    frame = make_frame(shapes=(q.shape,), tap=tap)
    light = layer_light(q)
    law = honest_layers(frame, [light])[0]
    link = LinkLaw.from_ledger(IDEAL, honest(IDEAL, tap))
    for kind in KINDS:
        pattern = generator.random(N_MODES) < 0.5
        none = np.zeros(ROWS, dtype=np.bool_)
        drawn = sample_residuals(link, q, data(kind, generator, 2, q), pattern, none, streams(11))
        part = inspect(law, ResidualSample(np.arange(2), np.arange(ROWS), drawn.residuals), pattern, light.principal)
        assert spectral_check([part], 0.01).passed
        assert direction_check([law], [part], 0.01).passed


def test_bright_light_at_an_unbalanced_net_gain_raises_no_alarm() -> None:
    """What is missing of 400 photons a mode stands out of the noise, and no honest client can help it."""
    tap = TapSetting.amplifier(2.0, 0.45)
    generator = np.random.default_rng(12)
    q = trained_light(generator) * math.sqrt(400.0 / 4.0)
    law = honest_layers(make_frame(shapes=(q.shape,), tap=tap, mu=400.0), [layer_light(q)])[0]
    link = LinkLaw.from_ledger(IDEAL, honest(IDEAL, tap))
    pattern, none = generator.random(N_MODES) < 0.5, np.zeros(ROWS, dtype=np.bool_)
    drawn = sample_residuals(link, q, data("strongest", generator, 2, q), pattern, none, streams(12))
    sample = ResidualSample(np.arange(2), np.arange(ROWS), drawn.residuals)
    assert spectral_check([inspect(law, sample, pattern)], 0.01).passed
    assert not spectral_check([inspect(replace(law, mismatch=0.0), sample, pattern)], 1e-6).passed


# ---- attacks ----


def along(light: LayerLight, count: int, strength: float) -> Reals:
    assert light.principal is not None
    return np.asarray(strength * light.principal[:count].T @ light.principal[:count])


def test_noise_on_the_directions_that_tell_most_is_found() -> None:
    light = layer_light(trained_light(np.random.default_rng(20)))
    law, part = totals_of(20, images=60, extra=along(light, 4, 3.0))
    found = direction_check([law], [part], 1e-6)
    assert not found.passed
    assert found.unit == "SNU per component"
    assert found.statistic > 1.5 * found.expected
    assert direction_check([law], [totals_of(20, images=60)[1]], 1e-3).passed


def test_the_direction_test_sees_what_the_mean_square_does_not() -> None:
    """Noise of 1.9 SNU a row on the strongest directions, where the tap's is 1: most of it hides in the mean square."""
    generator = np.random.default_rng(21)
    n_modes, rows, images = 200, 100, 16
    q = trained_light(generator, rows, n_modes)
    law = honest_layers(make_frame(shapes=(q.shape,)), [layer_light(q)])[0]
    principal = layer_light(q).principal
    assert principal is not None
    pattern = generator.random(n_modes) < 0.5
    where = 2 * np.arange(n_modes) + pattern
    axes = np.linalg.svd(principal[:, where], full_matrices=False)[2]
    white = generator.normal(size=(images, rows, n_modes))
    cheat = white + math.sqrt(1.9 / len(axes)) * generator.normal(size=(images, rows, len(axes))) @ axes
    sample = ResidualSample(np.arange(images), np.arange(rows), cheat)
    part = inspect(law, sample, pattern, principal)
    assert not direction_check([law], [part], 1e-6).passed
    energy = float(np.sum(q**2)) * images
    size = cheat.size
    sums = Totals(qq=energy / 2, energy=energy, rr=float(np.sum(cheat**2)), residuals=size, homodyned=images * rows)
    assert noise_check([law], [sums], 1e-3).passed


@pytest.mark.parametrize("kind", ["dense", "one pixel"])
def test_a_second_mode_is_found_in_a_few_images(kind: str) -> None:
    generator = np.random.default_rng(30)
    second = generator.normal(size=2 * N_MODES)
    second /= np.linalg.norm(second)
    extra = 15.0 * (np.outer(second, second) + np.outer(rotate_j(second[None])[0], rotate_j(second[None])[0]))
    _, part = totals_of(31, kind, extra=extra)
    found = spectral_check([part], 1e-6)
    assert not found.passed
    assert found.statistic > 1.1
    assert "singular value)" in found.unit
    assert found.z > 5


@pytest.mark.parametrize(
    ("directions", "strength", "rank"), [(4, 2.5, 3), (2, 3.9, 2), (1, 12.0, 1), (1, 4.0, None), (2, 2.0, None)]
)
def test_each_singular_value_tells_its_own_kind_of_cheat(directions: int, strength: float, rank: int | None) -> None:
    """Noise of unit variance and so many equal spikes, of which an honest client may have one of 4 or two of 2."""
    generator = np.random.default_rng(40)
    rows, n_modes = 1200, 150
    q = make_light(generator, rows, n_modes, 4.0)
    law = replace(honest_layers(make_frame(shapes=(q.shape,)))[0], spike_x=4.0, spike_p=4.0)
    axes = np.linalg.qr(generator.normal(size=(n_modes, directions)))[0].T
    noise = generator.normal(size=(1, rows, n_modes))
    noise += math.sqrt(strength) * generator.normal(size=(1, rows, directions)) @ axes
    sample = ResidualSample(np.arange(1), np.arange(rows), noise)
    (spectrum,) = inspect(law, sample, np.zeros(n_modes, dtype=np.bool_)).spectra
    if rank is None:
        assert spectrum.p_value > 0.01
    else:
        assert spectrum.p_value < 1e-7
        assert spectrum.rank == rank


# ---- combination ----


def test_combined_p_values_of_independent_tests_are_valid_and_find_both_kinds_of_signs() -> None:
    generator = np.random.default_rng(60)
    for count in (1, 2, 20):
        found = np.array([combined_p_value(list(generator.random(count))) for _ in range(3000)])
        for level in (0.3, 0.05, 0.01):
            assert_rate(int(np.sum(found <= level)), 3000, level)
        assert np.mean(found <= 0.5) > 0.25
    assert combined_p_value([1e-9] + [0.9] * 99) < 1e-6
    assert combined_p_value([0.05] * 100) < 1e-20
    assert combined_p_value([0.5] * 100) > 0.5
    assert combined_p_value([]) == 1.0
    assert combined_p_value([1e-100] * 40) == 2e-100


def test_the_worst_of_many_images_is_no_finding_by_itself() -> None:
    """A p-value of 1e-3 among a hundred is expected every tenth time."""
    dull = [ImageSpectrum(1.0 + 0.01 * k, 1, 0.6, 64) for k in range(99)]
    spectra = (*dull, ImageSpectrum(0.9, 2, 1e-3, 64))
    found = spectral_check([SampledTotals(spectra=spectra)], 0.01)
    assert found.statistic == 0.9
    assert found.samples == 6400
    assert "second" in found.unit
    assert 0.1 < found.p_value < 0.4
    assert found.passed
    alone = spectral_check([SampledTotals(spectra=spectra[-1:])], 0.01)
    assert not alone.passed


def test_p_values_that_depend_on_the_past_are_combined_validly() -> None:
    """The second is valid given the first only: uniform, but of a test that was picked to look alike the first."""
    generator = np.random.default_rng(61)
    trials = 4000
    hits = 0
    for _ in range(trials):
        first = generator.random()
        second = generator.random() if first > 0.1 else min(1.0, 2 * generator.random())
        hits += combined_p_value([first, second]) <= 0.1
    assert_rate(hits, trials, 0.1)


def test_all_seven_tests_share_half_of_alpha() -> None:
    law, part = totals_of(70)
    sums = Totals(
        qq=8.0, jj=8.0, j4=64.0, rr=24.0, energy=16.0, residuals=24, homodyned=1, slots=24, counted=1, images=1
    )
    uses = CrossUseTotals(24.0, 24, 1.0, 1, 1, 1.0, 16.0)
    tests = session_checks([law], [sums], 1e-3, cross_use=[uses], sampled=[part])
    assert [test.name for test in tests] == ["gain", "noise", "phase", "count", "cross-use", "direction", "spectral"]
    assert math.fsum(test.threshold for test in tests) == pytest.approx(0.5e-3)
    several = session_checks([law, law], [sums, sums], 1e-3, cross_use=[uses, CrossUseTotals()], sampled=[part, part])
    assert "cross-use, layer 1" in {test.name for test in several}
    assert "cross-use, layer 2" not in {test.name for test in several}
    assert math.fsum(test.threshold for test in several) == pytest.approx(0.5e-3 * (1 - 1 / 28))
