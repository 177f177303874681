from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, special, stats

from labqdl.facts import Component, FrameDescription, Ledger, Owner, Place, Quantity, TapSetting, UseSums
from labqdl.security.cross_use import CrossUseTotals, UseAccumulator
from labqdl.security.engines import anisotropic_bound, weights_bound
from labqdl.security.expected import HonestLayer, LayerLight, Totals, honest_layers, layer_light
from labqdl.security.finite import (
    THE_LIGHT,
    THE_TAP,
    ChannelLimits,
    certified_bounds,
    certifying_engine,
    channel_limits,
    data_bits,
    excess_limit_counts,
    excess_limit_homodyne,
    honest_excess,
    honest_limits,
    limiting_part,
    limiting_part_of_data,
    more_symbols,
    photon_limit,
    symmetric_limit,
    transmissivity_limit,
    weight_bits_per_mode,
)
from labqdl.security.holevo import (
    repeated_weight_leakage,
    trusted_fibre_leakage,
    water_filling_leakage,
    weight_leakage,
)
from labqdl.security.quadratic import QuadraticLaw
from labqdl.security.spectrum import Spectrum
from tests.security.light import BENCH, IDEAL, assert_rate, draw, isotropic, make_frame, make_light

PAPER = [
    # inferences, T_min, eps_max, worst-case L, eps alone; honest T = 1, mu = 4, G = 2, 392 modes, 1e-6 each
    (1, 0.99398, 0.01473, 0.4555, 0.3495),
    (10, 0.99809, 0.00638, 0.2279, 0.1838),
    (100, 0.99940, 0.00376, 0.1364, 0.1202),
    (1000, 0.99981, 0.00293, 0.1036, 0.0981),
    (10_000, 0.99994, 0.00267, 0.0926, 0.0908),
    (100_000, 0.99998, 0.00259, 0.0890, 0.0885),
]


@pytest.mark.parametrize(("inferences", "transmissivity", "excess", "leak", "alone"), PAPER)
def test_worst_case_of_the_paper_with_homodyne_only(
    inferences: int, transmissivity: float, excess: float, leak: float, alone: float
) -> None:
    number, square = 311_248 * inferences, 1 + 1 / 392
    t_min = transmissivity_limit(
        amplitude=1.0, error=math.sqrt(square / (8 * number)), samples=number, efficiency=1.0, failure=1e-6
    )
    eps = excess_limit_homodyne(variance=square, samples=number, efficiency=1.0, electronic_noise=0.0, failure=1e-6)
    assert t_min == pytest.approx(transmissivity, abs=0.6e-5)
    assert eps == pytest.approx(excess, abs=0.6e-5)
    assert weight_leakage(mu=4.0, transmissivity=t_min, excess=eps) == pytest.approx(leak, abs=0.6e-4)
    assert weight_leakage(mu=4.0, transmissivity=1.0, excess=eps) == pytest.approx(alone, abs=0.6e-4)


@pytest.mark.parametrize(("photons", "sources"), [(0, 10), (3, 10), (500, 1000), (10, 10**6), (250_000, 500_000)])
def test_photon_limit_inverts_the_negative_binomial(photons: int, sources: int) -> None:
    limit = photon_limit(photons=photons, sources=sources, failure=1e-6)
    assert float(stats.nbinom.cdf(photons, sources, 1 / (1 + limit))) == pytest.approx(1e-6, rel=1e-5)


@pytest.mark.parametrize("chaotic", [True, False], ids=["one mode a row", "one quadrature a row"])
def test_light_of_one_quadrature_is_allowed_to_bunch_more(chaotic: bool) -> None:
    """Rows of m (z1^2 + z2^2)/2 photons, or of m z^2: 90 photons or fewer are by chance as rare as stated."""
    generator = np.random.default_rng(12)
    photons, pairs, slots, efficiency, failure = 90, 200, 1600, 0.7, 0.02
    limit = excess_limit_counts(
        photons=photons, pairs=pairs, slots=slots, efficiency=efficiency, failure=failure, chaotic=chaotic
    )
    mean = 0.5 * limit * efficiency * slots / pairs
    normals = 2 if chaotic else 1
    light = mean * generator.chisquare(pairs * normals, 400_000) / normals
    rare = int(np.sum(generator.poisson(light) <= photons))
    assert abs(rare - 8000) < 5 * math.sqrt(8000 * (1 - failure)) + 0.01 * 8000


def test_photon_limit_without_a_source_to_speak_of_is_huge() -> None:
    assert photon_limit(photons=10**9, sources=0.5, failure=1e-300) > 1e300


def expected_session(
    frame: FrameDescription, inferences: int, fraction: float = 0.25
) -> tuple[tuple[HonestLayer, ...], list[Totals]]:
    layers = honest_layers(frame, [LayerLight(1 / layer.n_weights) for layer in frame.layers])
    sizes = []
    for layer in layers:
        rows = layer.rows * inferences
        counted = round(fraction * rows)
        energy = layer.energy * inferences * (1 - counted / rows)
        sizes.append(
            Totals(
                qq=energy / 2,
                energy=energy,
                signal=layer.energy / 4 * inferences * counted / rows,
                residuals=(rows - counted) * layer.n_modes,
                homodyned=rows - counted,
                slots=counted * layer.n_modes,
                counted=counted,
                images=inferences,
            )
        )
    return layers, [layer.expected(size) for layer, size in zip(layers, sizes, strict=True)]


def test_counting_sharpens_the_excess_noise() -> None:
    frame = make_frame()
    layers, totals = expected_session(frame, 10)
    limits = channel_limits(layers, totals, frame.ledger, 1e-6)
    assert limits.excess_homodyne is not None
    assert limits.excess_counts is not None
    assert limits.excess == limits.excess_counts < 0.8 * limits.excess_homodyne
    assert 0.9975 < limits.transmissivity < 0.9985
    assert limits.samples == 794 * 10 * 392


def test_limits_tend_to_the_honest_channel() -> None:
    tap = TapSetting.amplifier(2.0)
    frame = make_frame(ledger=BENCH, tap=tap)
    layers, totals = expected_session(frame, 10**9)
    limits, honest = channel_limits(layers, totals, BENCH, 1e-6), honest_limits(layers, BENCH)
    assert limits.transmissivity == pytest.approx(honest.transmissivity, rel=1e-4)
    assert limits.excess_homodyne == pytest.approx(honest.excess, rel=1e-3)
    # T_2 eta / n, technical noise, and phase noise 2 mu T sigma^2, at the server's input
    assert honest.excess == pytest.approx(0.92 / 392 + 0.004 * 0.95 * 0.92 + 8 * BENCH.total * 0.05**2, rel=1e-3)
    assert limits.excess_counts is not None
    assert limits.excess_counts >= honest.excess  # darks and leaking light are charged


@pytest.mark.parametrize("ledger", [IDEAL, BENCH], ids=["ideal", "bench"])
def test_coverage_of_both_limits(ledger: Ledger) -> None:
    generator = np.random.default_rng(3)
    q = make_light(generator, 8, 8, 4.0)
    frame = make_frame(ledger=ledger, shapes=((8, 16),), delta=0.05)
    layers = honest_layers(frame, [layer_light(q)])
    trials = 2000
    light = draw(generator, ledger, q, isotropic(generator, 4 * trials, 8), counted=np.arange(8) < 2)
    true_excess = honest_excess(layers[0], ledger)
    wrong_t = wrong_eps = wrong = 0
    for part in light.totals(4):
        limits = channel_limits(layers, [part], ledger, 0.05)
        low, high = limits.transmissivity > ledger.total, limits.excess < true_excess
        wrong_t, wrong_eps, wrong = wrong_t + low, wrong_eps + high, wrong + (low or high)
    assert_rate(wrong_t, trials, 0.025)
    assert_rate(wrong_eps, trials, 0.025)
    assert_rate(wrong, trials, 0.05)
    if ledger is IDEAL:  # clipped at 1 nothing can be above; the excess limits are not idle
        assert wrong_eps > 0


@pytest.mark.parametrize("planted", ["transmissivity", "excess"])
def test_five_per_cent_break_the_coverage(planted: str) -> None:
    generator = np.random.default_rng(4)
    q = make_light(generator, 16, 8, 4.0)
    frame = make_frame(shapes=((16, 16),), delta=0.05)
    layers = honest_layers(frame, [layer_light(q)])
    # Claim 5 % less loss or noise than there is; enough rows that 5 % are several standard errors.
    error = {"gain_error": math.sqrt(0.95) - 1} if planted == "transmissivity" else {}
    light = draw(
        generator,
        IDEAL,
        q,
        isotropic(generator, 200 * 60, 8),
        counted=np.arange(16) < 8,
        **error,
    )
    wrong = 0
    for part in light.totals(60):
        if planted == "excess":
            part = replace(part, rr=part.rr - 0.05 * part.residuals, photons=round(0.8 * part.photons))
            wrong += channel_limits(layers, [part], IDEAL, 0.05).excess < 1 / 8
        else:
            wrong += channel_limits(layers, [part], IDEAL, 0.05).transmissivity < 0.98
    if planted == "excess":
        with pytest.raises(AssertionError, match="expected"):
            assert_rate(wrong, 200, 0.05)
    else:
        assert wrong == 200


def test_trusted_fibre_next_to_the_server_is_set_aside() -> None:
    def with_fibre(trusted: bool) -> Ledger:
        return Ledger(
            "fibre",
            (
                Component("out", Place.FORWARD, Owner.CHANNEL, trusted=trusted, transmissivity=math.sqrt(0.5)),
                Component("home", Place.RETURN, Owner.CHANNEL, trusted=trusted, transmissivity=math.sqrt(0.5)),
            ),
        )

    untrusted = weight_leakage(mu=4.0, transmissivity=0.5, excess=math.sqrt(0.5) / 392)
    for trusted, leak in ((True, 0.0647), (False, untrusted)):
        frame = make_frame(ledger=with_fibre(trusted))
        layers = honest_layers(frame)
        honest = honest_limits(layers, frame.ledger)
        bits = max(weight_bits_per_mode(frame, layers, honest))
        assert bits == pytest.approx(leak, abs=5e-5)
        if trusted:
            direct = trusted_fibre_leakage(
                mu=4.0,
                transmissivity=0.5,
                excess=math.sqrt(0.5) / 392,
                trusted_forward=math.sqrt(0.5),
                trusted_back=math.sqrt(0.5),
            )
            assert bits == pytest.approx(direct, rel=1e-9)
            lucky = ChannelLimits(0.6, honest.excess, None, None, 1)
            assert max(weight_bits_per_mode(frame, layers, lucky)) == pytest.approx(direct, rel=1e-9)


def test_noise_of_trusted_parts_on_the_way_back_is_set_aside() -> None:
    home = Component("home", Place.RETURN, Owner.SERVER, trusted=True, transmissivity=0.8, excess=0.01)
    frame = make_frame(ledger=Ledger("own", (home,)))
    layers = honest_layers(frame)
    bits = max(weight_bits_per_mode(frame, layers, honest_limits(layers, frame.ledger)))
    assert bits == pytest.approx(weight_leakage(mu=4.0, transmissivity=1.0, excess=1 / 392), rel=1e-9)


def test_an_untrusted_receiver_belongs_to_the_client() -> None:
    receiver = Component("rented", Place.SERVER_RECEIVER, Owner.CHANNEL, transmissivity=0.9, electronic_noise=0.01)
    frame = make_frame(ledger=Ledger("rented", (receiver,)))
    layers, totals = expected_session(frame, 10)
    limits = channel_limits(layers, totals, frame.ledger, 1e-6)
    assert limits.transmissivity < 0.9
    assert limits.excess_counts is None
    honest = honest_limits(layers, frame.ledger)
    assert honest.excess == pytest.approx(0.9 / 392 + 0.01, rel=1e-9)
    bound = certified_bounds(frame, layers, totals, uses=1)[0]
    assert "receiver charged to the client" in bound.assumptions


def test_narrow_layers_carry_the_excess_of_a_row_on_fewer_modes() -> None:
    frame = make_frame(shapes=((40, 64), (8, 40)))
    layers = honest_layers(frame)
    bits = weight_bits_per_mode(frame, layers, honest_limits(layers, frame.ledger))
    for value, modes in zip(bits, (32, 20), strict=True):
        assert value == pytest.approx(weight_leakage(mu=4.0, transmissivity=1.0, excess=1 / modes), rel=1e-9)


def test_certified_bounds_come_with_everything_they_rest_on() -> None:
    frame = make_frame(images=10)
    layers, totals = expected_session(frame, 10)
    single, cumulative = certified_bounds(frame, layers, totals)
    assert single.quantity is Quantity.WEIGHTS
    assert (single.uses, cumulative.uses) == (1, 10)
    assert single.confidence == cumulative.confidence == pytest.approx(1 - 1e-6)
    assert single.bits_per_mode == pytest.approx(2 * single.bits)
    limits = channel_limits(layers, totals, frame.ledger, 1e-6)
    assert single.bits_per_mode == pytest.approx(
        weight_leakage(mu=4.0, transmissivity=limits.transmissivity, excess=limits.excess)
    )
    assert cumulative.bits_per_mode == pytest.approx(
        repeated_weight_leakage(mu=4.0, transmissivity=limits.transmissivity, excess=limits.excess, uses=10)
    )
    assert "all noise on the symmetric mode of the uses" in cumulative.assumptions
    assert len(certified_bounds(frame, layers, totals, uses=1)) == 1


@pytest.mark.parametrize("order", [(0.5, 8.0), (8.0, 0.5)], ids=["brightest last", "brightest first"])
def test_the_layer_that_leaks_most_is_the_bound(order: tuple[float, float]) -> None:
    frame = make_frame(images=10)
    frame = replace(frame, layers=tuple(replace(layer, mu=mu) for layer, mu in zip(frame.layers, order, strict=True)))
    layers, totals = expected_session(frame, 10)
    limits = channel_limits(layers, totals, frame.ledger, 1e-6)
    single, cumulative = certified_bounds(frame, layers, totals)
    for bound, uses in ((single, 1), (cumulative, 10)):
        dim, bright = sorted(weight_bits_per_mode(frame, layers, limits, uses=uses))
        assert bright > 1.5 * dim
        assert bound.bits_per_mode == bright


def honest_sums(layers: tuple[HonestLayer, ...], images: int) -> list[CrossUseTotals]:
    """Cross-use sums at their honest mean: every weight measured in 3/8 of its uses."""
    return [
        CrossUseTotals(
            sum_squares=(layer.floor + layer.spike / layer.n_modes) * layer.rows * 2 * layer.n_modes,
            weights=layer.rows * 2 * layer.n_modes,
            uses=0.375 * images,
            images=images,
            spikes_most=2 * layer.rows,
            spikes_least=layer.rows,
            energy=layer.energy,
        )
        for layer in layers
    ]


def test_cross_use_sums_hold_the_noise_of_all_uses_on_their_symmetric_mode() -> None:
    frame = make_frame(images=1000)
    layers, totals = expected_session(frame, 1000)
    sums = honest_sums(layers, 1000)
    plain = certified_bounds(frame, layers, totals)
    single, tested = certified_bounds(frame, layers, totals, cross_use=sums)
    assert "cross-use test in force" in tested.assumptions
    assert tested.bits < 0.8 * plain[1].bits
    limits = channel_limits(layers, totals, frame.ledger, 1e-6, sums)
    assert limits.symmetric_excess is not None
    honest = honest_limits(layers, frame.ledger, 0.375).symmetric_excess
    assert honest is not None
    assert honest == pytest.approx(1 / 392 / 0.375)
    # 622 496 sums: their variance is known to 4.9 sqrt(2/622496) = 0.9 %
    assert honest + 0.02 < limits.symmetric_excess < honest + 0.026
    assert tested.bits_per_mode == pytest.approx(
        weight_leakage(mu=4000.0, transmissivity=limits.transmissivity, excess=limits.symmetric_excess)
    )
    # One more witness shares delta: the figure of a single use gives way by a hair.
    assert plain[0].bits < single.bits < 1.02 * plain[0].bits
    assert channel_limits(layers, totals, frame.ledger, 1e-6, [CrossUseTotals()] * 2).symmetric_excess is None


def test_few_uses_are_held_by_what_each_use_may_add() -> None:
    """The sums of three uses know less than thrice the limit of one use: the smaller counts."""
    frame = make_frame(images=3, shapes=((8, 64),))
    layers, totals = expected_session(frame, 3000)
    sums = honest_sums(layers, 3)
    limits = channel_limits(layers, totals, frame.ledger, 1e-6, sums)
    assert limits.symmetric_excess is not None
    assert limits.symmetric_excess > 3 * limits.excess
    bits = certified_bounds(frame, layers, totals, cross_use=sums)[1].bits_per_mode
    assert bits == pytest.approx(
        weight_leakage(mu=12.0, transmissivity=limits.transmissivity, excess=3 * limits.excess)
    )


@pytest.mark.parametrize("attack", ["none", "same noise in every use", "same noise, hidden within a block"])
def test_coverage_of_the_symmetric_limit(attack: str) -> None:
    """Noise on the sum of all uses, drawn use by use; at most 5 % of the limits are below the truth (false alarm 1e-6).

    The server measures one quadrature of each mode a block and leaves out counted rows; the hidden attack makes the
    noise of each block sum to almost nothing but a common part.
    """
    generator = np.random.default_rng(11)
    rows, modes, blocks, images, trials = 6, 8, 5, 4, 400
    noise, uses = 0.3, blocks * images
    frame = make_frame(shapes=((rows, 2 * modes),), images=uses, block=images, delta=0.1)
    layers = honest_layers(frame)
    wrong = 0
    for _ in range(trials):
        shape = (blocks, images, rows, 2 * modes)
        fresh = generator.normal(scale=math.sqrt(noise), size=shape)
        truth = noise
        if attack != "none":
            common = generator.normal(scale=math.sqrt(noise), size=(1, 1, rows, 2 * modes))
            fresh -= fresh.mean(axis=1, keepdims=True) if "hidden" in attack else fresh
            fresh += common
            truth = uses * noise
        residual = fresh + generator.normal(size=shape)
        accumulator = UseAccumulator(rows, modes)
        for block in residual:
            pattern = generator.random(modes) < 0.5
            counted = generator.random(rows) < 0.25
            where = 2 * np.arange(modes) + pattern
            accumulator.add(UseSums(block.sum(axis=0)[:, where].astype(np.float32), images), pattern, counted)
        part = accumulator.totals(np.ones(rows))
        size = Totals(qq=1.0, energy=1.0, residuals=100, homodyned=10, images=uses)
        limit = symmetric_limit(layers, [size], [part], efficiency=1.0, electronic_noise=0.0, failure=0.05)
        assert limit is not None
        wrong += limit < truth
    assert_rate(wrong, trials, 0.05)
    if attack == "same noise in every use":
        assert wrong > 0  # not idle


def test_symbols_still_needed_for_all_uses_together() -> None:
    frame = make_frame(images=1000)
    layers, totals = expected_session(frame, 1000)
    sums = honest_sums(layers, 1000)
    now = certified_bounds(frame, layers, totals, cross_use=sums)[1].bits
    needed = more_symbols(frame, layers, totals, budget=now - 0.002, uses=1000, cross_use=sums)
    assert needed is not None
    assert needed > 0
    assert more_symbols(frame, layers, totals, budget=now, uses=1000, cross_use=sums) == 0
    # More symbols do not bring more weights: below what as many sums as there are weights can tell, nothing helps.
    assert more_symbols(frame, layers, totals, budget=now - 0.3, uses=1000, cross_use=sums) is None
    # And without the sums all noise of a thousand uses may sit on their symmetric mode.
    assert more_symbols(frame, layers, totals, budget=now + 1.0, uses=1000) is None


def test_certified_figures_approach_the_asymptotic_ones() -> None:
    """Trusted noise and loss on both ways, untrusted parts between; equal and unequal directions; one use and many."""
    ledger = Ledger(
        "both",
        (
            Component("own fibre", Place.FORWARD, Owner.SERVER, transmissivity=0.9, excess=0.01),
            Component("mesh", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.9999, excess=0.0005),
            Component("laser", Place.RETURN, Owner.CHANNEL, phase_noise=0.005),
            Component("own spool", Place.RETURN, Owner.SERVER, transmissivity=0.8, excess=0.02),
            Component("eye", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.85, electronic_noise=0.05),
        ),
    )
    frame = make_frame(ledger=ledger, shapes=((784, 784),))
    layers = tuple(
        replace(layer, spectrum=Spectrum.of(np.arange(1, 393.0) ** -0.5)) for layer in expected_session(frame, 1)[0]
    )
    assert layers[0].spectrum is not None
    even = weights_bound("labqdl", frame.layers, frame.tap, ledger)
    assert even is not None
    steered = anisotropic_bound(frame.layers, [layers[0].spectrum], frame.tap, ledger)
    previous = math.inf
    for inferences in (10**6, 10**9, 10**12):
        totals = expected_session(frame, inferences)[1]
        bounds = {bound.engine: bound for bound in certified_bounds(frame, layers, totals, uses=1)}
        gap = bounds["labqdl"].bits / even.bits - 1
        assert 0 < gap < previous
        previous = gap
    assert previous < 2e-4
    assert bounds["labqdl-anisotropic"].bits == pytest.approx(steered.bits, rel=2e-4)
    assert bounds["labqdl-anisotropic"].bits > 1.01 * bounds["labqdl"].bits
    many = certified_bounds(frame, layers, totals, uses=7)
    total = weights_bound("labqdl", frame.layers, frame.tap, ledger, uses=7)
    assert total is not None
    assert many[1].bits == pytest.approx(total.bits, rel=2e-4)


def test_the_certificate_rests_on_the_spectrum_where_there_is_one() -> None:
    frame = make_frame(images=10)
    layers, totals = expected_session(frame, 10)
    assert certifying_engine(layers) == "labqdl"
    unequal = [replace(layers[0], spectrum=Spectrum.of(np.arange(1, 393.0) ** -1.0)), layers[1]]
    assert certifying_engine(unequal) == "labqdl-anisotropic"
    bounds = certified_bounds(frame, unequal, totals, uses=10)
    assert [(bound.engine, bound.uses) for bound in bounds] == [
        ("labqdl", 1),
        ("labqdl", 10),
        ("labqdl-anisotropic", 1),
        ("labqdl-anisotropic", 10),
    ]
    limits = channel_limits(unequal, totals, frame.ledger, 1e-6)
    steered = water_filling_leakage(
        mu=4.0,
        eigenvalues=np.arange(1, 393.0) ** -1.0,
        excess=limits.excess,
        transmissivity=limits.transmissivity,
    )
    assert bounds[2].bits_per_mode == pytest.approx(max(weight_bits_per_mode(frame, unequal, limits)))
    assert weight_bits_per_mode(frame, unequal, limits)[0] == pytest.approx(
        max(steered, weight_leakage(mu=4.0, transmissivity=limits.transmissivity, excess=limits.excess)), rel=1e-8
    )
    assert any("layer 2: weights of equal variance" in words for words in bounds[2].assumptions)


def test_trusted_parts_are_named() -> None:
    home = Component("own spool", Place.RETURN, Owner.SERVER, transmissivity=0.9)
    frame = make_frame(ledger=Ledger("own", (home,)))
    layers, totals = expected_session(frame, 1)
    assert "trusted: own spool" in certified_bounds(frame, layers, totals, uses=1)[0].assumptions


def test_symbols_still_needed_are_enough_and_not_too_many() -> None:
    frame = make_frame()
    layers, totals = expected_session(frame, 1)
    needed = more_symbols(frame, layers, totals, budget=0.06)
    assert needed is not None
    samples = sum(part.residuals + part.slots for part in totals)

    def bits(symbols: float) -> float:
        parts = [
            Totals.sum((part, layer.expected(part, symbols / samples)))
            for layer, part in zip(layers, totals, strict=True)
        ]
        return max(weight_bits_per_mode(frame, layers, channel_limits(layers, parts, frame.ledger, 1e-6))) / 2

    assert bits(needed) <= 0.06
    assert bits(0.99 * needed) > 0.06
    assert more_symbols(frame, layers, totals, budget=5.0) == 0
    assert more_symbols(frame, layers, totals, budget=0.0436) is None
    assert more_symbols(frame, layers, totals, budget=0.0437) is not None


def test_limits_need_homodyned_rows() -> None:
    frame = make_frame()
    with pytest.raises(ValueError, match="need homodyned rows"):
        channel_limits(honest_layers(frame), [Totals(), Totals()], frame.ledger, 1e-6)


def test_opaque_light_leaks_everything_but_gives_a_number() -> None:
    frame = make_frame(shapes=((8, 16),))
    layers, totals = expected_session(frame, 1)
    dark = [replace(totals[0], qr=-totals[0].qq)]
    limits = channel_limits(layers, dark, frame.ledger, 1e-6)
    assert limits.transmissivity == 1e-12
    assert math.isfinite(max(weight_bits_per_mode(frame, layers, limits)))


def test_the_part_to_blame() -> None:
    assert limiting_part(make_frame()) == THE_TAP
    assert limiting_part(make_frame(ledger=BENCH)) == "fibre back"  # its phase noise
    assert limiting_part_of_data(make_frame()) == THE_TAP
    noisy = Ledger("noisy", (Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=2.0),))
    assert limiting_part_of_data(make_frame(ledger=noisy)) == "amplifier"
    # An ideal amplifier would take three per cent off the data's figure: the tap is to blame, not the amplifier.
    fair = Ledger("fair", (Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.1),))
    assert limiting_part_of_data(make_frame(ledger=fair)) == THE_TAP
    assert limiting_part(make_frame(ledger=noisy), uses=3) == "amplifier"
    # Loss shared by many equal connectors: none of them is to blame, nor is the tap.
    many = Ledger(
        "many",
        tuple(Component(f"connector {k}", Place.FORWARD, Owner.CHANNEL, transmissivity=0.99) for k in range(60)),
    )
    assert limiting_part(make_frame(ledger=many, shapes=((8, 784),))) == THE_LIGHT


def test_data_figure_of_the_paper() -> None:
    assert data_bits(make_frame(shapes=((784, 784),))) == pytest.approx(0.991488164695, rel=1e-10)
    assert data_bits(make_frame()) == pytest.approx(1.0364, abs=5e-5)


@pytest.mark.parametrize("counting", [True, False])
def test_the_shares_that_the_limits_spend_add_up_to_delta(counting: bool) -> None:
    """What each limit says of itself is turned back into a probability by scipy's own laws."""
    delta = 1e-3
    frame = make_frame(delta=delta)
    layers, totals = expected_session(frame, 10, fraction=0.25 if counting else 0.0)
    pooled = Totals.sum(totals)
    limits = channel_limits(layers, totals, frame.ledger, delta)
    square = (pooled.rr - pooled.qr**2 / pooled.qq) / pooled.residuals
    # The spike may lie in the strongest direction: s2 sum q^2 + c lambda_max, lambda_max = energy/784 here.
    error = math.sqrt((pooled.qq + 10 * sum(layer.energy for layer in layers) / 784) / pooled.qq**2)
    error = max(error, math.sqrt(square / pooled.qq))
    estimate = 1 + pooled.qr / pooled.qq
    spent_on_t = float(stats.norm.sf((estimate - math.sqrt(limits.transmissivity)) / error))
    assert spent_on_t == pytest.approx(delta / 2, rel=0.01)
    assert limits.excess_homodyne is not None
    degrees = float(pooled.residuals - 1)
    spent_on_noise = float(stats.chi2.cdf(degrees * square / (1 + limits.excess_homodyne), degrees))
    assert spent_on_noise == pytest.approx(delta / 4 if counting else delta / 2, rel=0.05)
    spent = spent_on_t + spent_on_noise
    if counting:
        assert limits.excess_counts is not None
        mean = limits.excess_counts * pooled.slots / pooled.counted / 2
        spent_on_counts = float(stats.nbinom.cdf(pooled.photons, pooled.counted, 1 / (1 + mean)))
        assert spent_on_counts == pytest.approx(delta / 4, rel=0.01)
        spent += spent_on_counts
    assert spent < 1.05 * delta


def test_a_counter_in_other_hands_vouches_for_nothing() -> None:
    def with_counter(owner: Owner) -> Ledger:
        part = Component("counter", Place.SERVER_COUNTER, owner, transmissivity=0.7)
        return Ledger("link", (part,))

    for owner, counts in ((Owner.SERVER, True), (Owner.CHANNEL, False), (Owner.CLIENT, False)):
        frame = make_frame(ledger=with_counter(owner))
        limits = channel_limits(*expected_session(frame, 10), frame.ledger, 1e-6)
        assert (limits.excess_counts is not None) == counts
        assert limits.excess_homodyne is not None
        assert (limits.excess < limits.excess_homodyne) == counts


def test_an_unbalanced_gain_lowers_what_is_certified_of_the_transmissivity() -> None:
    # The client's x may carry (t - 1) times the light of the strongest direction: sqrt(2) Lambda |t - 1| A at most.
    frame = make_frame(tap=TapSetting.amplifier(2.0, 0.45), shapes=((784, 784),))
    layers = honest_layers(frame, [LayerLight(1 / 784)])
    balanced = [replace(layer, mismatch=0.0) for layer in layers]
    energy = layers[0].energy * 1000
    size = Totals(qq=energy / 2, energy=energy, residuals=392 * 784_000, homodyned=784_000, images=1000)
    part = balanced[0].expected(size)
    without = math.sqrt(channel_limits(balanced, [part], frame.ledger, 1e-6).transmissivity)
    found = math.sqrt(channel_limits(layers, [part], frame.ledger, 1e-6).transmissivity)
    shift = math.sqrt(2) * (1 - math.sqrt(0.9)) / 784 * 2  # half of the layer's energy was homodyned
    assert without - found == pytest.approx(shift, rel=1e-6)


def test_the_limit_of_the_excess_allows_for_a_spike_in_one_direction() -> None:
    """Failure probability by the exact law of the residuals whose noise is all in one measured quadrature."""
    n_modes, pairs, delta = 4, 400, 1e-3
    frame = make_frame(shapes=((pairs, 2 * n_modes),), tap=TapSetting.amplifier(10.0), delta=delta)
    layers = honest_layers(frame, [LayerLight(0.5)])
    spike = 2 * 0.9
    qq = 8.0 * pairs * n_modes
    size = Totals(qq=qq, energy=2 * qq, residuals=pairs * n_modes, homodyned=pairs, images=1)

    def margin(rr: float) -> float:
        found = channel_limits(layers, [replace(size, rr=rr)], frame.ledger, delta).excess_homodyne
        assert found is not None
        return found - spike / n_modes

    critical = optimize.brentq(margin, 0.5 * size.residuals, 2 * size.residuals)
    law = QuadraticLaw(((pairs * (n_modes - 1), 1.0), (pairs, 1.0 + spike)))
    assert 0.5 * delta / 2 < law.lower_tail(critical) < 1.1 * delta / 2


def test_the_limit_of_the_transmissivity_allows_for_data_along_the_strongest_direction() -> None:
    frame = make_frame(shapes=((784, 784),))
    layers = honest_layers(frame, [LayerLight(1.0)])
    energy = layers[0].energy
    size = Totals(qq=energy / 2, energy=energy, residuals=392 * 784, homodyned=784, images=1)
    limits = channel_limits(layers, [layers[0].expected(size)], frame.ledger, 2e-6)
    # Noise 1 + c with c = 1 in every component of q: twice the variance of shot noise.
    error = math.sqrt(2 / size.qq)
    assert math.sqrt(limits.transmissivity) == pytest.approx(1 + float(special.ndtri(1e-6)) * error, rel=1e-6)


def test_the_certified_figure_is_that_of_the_worst_layer() -> None:
    frame = make_frame(shapes=((784, 784), (10, 784)))
    first, second = frame.layers
    for mus in ((4.0, 1.0), (1.0, 4.0)):
        layered = replace(frame, layers=(replace(first, mu=mus[0]), replace(second, mu=mus[1])))
        layers, totals = expected_session(layered, 10)
        limits = channel_limits(layers, totals, frame.ledger, 1e-6)
        own = [weight_leakage(mu=mu, transmissivity=limits.transmissivity, excess=limits.excess) for mu in (4.0, 1.0)]
        found = certified_bounds(layered, layers, totals)[0].bits_per_mode
        assert own[1] < 0.7 * own[0]
        assert found == pytest.approx(own[0], rel=1e-9)


def test_trusted_noise_is_set_aside_where_the_limits_are_stated() -> None:
    # The limits are stated before a trusted receiver: its efficiency does not make the fibre's noise smaller there.
    parts = (
        Component("fibre", Place.RETURN, Owner.CHANNEL, trusted=True, excess=0.01),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.5),
    )
    frame = make_frame(ledger=Ledger("trusted", parts), shapes=((784, 784),))
    limits = ChannelLimits(0.99, 0.013, None, None, 1)
    found = weight_bits_per_mode(frame, honest_layers(frame), limits)[0]
    assert found == pytest.approx(weight_leakage(mu=4.0, transmissivity=0.99, excess=0.003), rel=1e-9)
