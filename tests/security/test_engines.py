from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from labqdl.facts import (
    Activation,
    Bound,
    Component,
    LayerFrame,
    LeakageReport,
    Ledger,
    Owner,
    Place,
    Quantity,
    TapSetting,
)
from labqdl.optics.gain_tap import tap_law
from labqdl.security.channel import data_photons, honest_channel, trusted_parts
from labqdl.security.data import data_leakage
from labqdl.security.engines import (
    ANISOTROPIC,
    ENGINES,
    anisotropic_bound,
    arxiv_2024_data,
    asymptotic_bounds,
    data_bound,
    layer_data_leakage,
    prx_2025_data,
    published_added_noise,
    weights_bound,
)
from labqdl.security.entropy import thermal_entropy
from labqdl.security.holevo import (
    repeated_weight_leakage,
    trusted_fibre_leakage,
    water_filling_leakage,
    weight_leakage,
)
from labqdl.security.spectrum import Spectrum

IDEAL = Ledger("ideal")
GAIN_TWO = TapSetting.amplifier(2.0)

# G: DX2, eta, eta/392, S at mu = 4, data of 2024 as coded, the same with the power corrected, later code (794 rows)
TABLE = {
    1.1: (
        10.181818181818,
        0.18181818181818,
        0.00046382189239,
        0.785714285714,
        0.00024283676073,
        0.00024306204103,
        0.039753999488,
    ),
    1.2: (5.333333333333, 0.33333333333333, 0.00085034013605, 1.5, 0.0008146182701, 0.00081600348072, 0.112509423338),
    1.5: (2.666666666667, 0.66666666666667, 0.00170068027211, 3.0, 0.00324196096678, 0.00325297257409, 0.311528901554),
    2.0: (2.0, 1.0, 0.00255102040816, 4.0, 0.00724950556986, 0.00728635360436, 0.504585822949),
    3.4142: (
        1.82842712475,
        1.4142112354285,
        0.00360768172303,
        4.375345285415,
        0.01436676938169,
        0.01446958318471,
        0.710573587028,
    ),
    5.0: (1.85, 1.6, 0.00408163265306, 4.324324324324, 0.01830460887789, 0.01845244027804, 0.791121072358),
}


def layer(rows: int, features: int = 784, mu: float = 4.0) -> LayerFrame:
    return LayerFrame(rows, features, False, mu, None, Activation())


LAYERS = (layer(784), layer(10))


def fibre(name: str, place: Place, transmissivity: float, *, trusted: bool = False, excess: float = 0.0) -> Component:
    owner = Owner.CLIENT if place in (Place.CLIENT_IN, Place.CLIENT_OUT, Place.TAP) else Owner.CHANNEL
    return Component(name, place, owner, trusted=trusted, transmissivity=transmissivity, excess=excess)


def weights(layers: tuple[LayerFrame, ...], setting: TapSetting, ledger: Ledger, engine: str = "labqdl") -> Bound:
    bound = weights_bound(engine, layers, setting, ledger)
    assert bound is not None
    return bound


def data(layers: tuple[LayerFrame, ...], setting: TapSetting, ledger: Ledger, engine: str = "labqdl") -> Bound:
    bound = data_bound(engine, layers, setting, ledger)
    assert bound is not None
    return bound


@pytest.mark.parametrize("gain", TABLE)
def test_gain_table(gain: float) -> None:
    dx2, eta, eps, snr, coded, corrected, later = TABLE[gain]
    law = tap_law(TapSetting.amplifier(gain), IDEAL)
    assert law.n_x + 1 == pytest.approx(dx2, abs=1e-12)
    assert 8.0 / (law.n_x + 1) == pytest.approx(snr, abs=1e-12)
    assert published_added_noise(gain) == pytest.approx(eta, abs=1e-14)
    assert law.added_noise == pytest.approx(eta, abs=1e-14)
    channel = honest_channel(mu=4.0, n_modes=392, setting=TapSetting.amplifier(gain), ledger=IDEAL)
    assert channel.excess == pytest.approx(eps, abs=1e-14)
    assert channel.transmissivity == 1.0
    assert arxiv_2024_data(gain, n_modes=392) == pytest.approx(coded, abs=1e-13)
    assert arxiv_2024_data(gain, n_modes=392, power=2) == pytest.approx(corrected, abs=1e-13)
    assert prx_2025_data(gain, n_modes=392, rows=794) == pytest.approx(later, abs=1e-12)
    setting = TapSetting.amplifier(gain)
    assert data(LAYERS, setting, IDEAL, "arxiv-2024").bits == pytest.approx(coded, abs=1e-13)
    assert data(LAYERS, setting, IDEAL, "prx-2025").bits == pytest.approx(later, abs=1e-12)


def test_published_data_formulas_follow_from_their_fisher_information() -> None:
    """Differentiate the variance numerically: s(u) = 1 + eta u^2 at u^2 = 1/n."""
    gain, n, step = 1.7, 392, 1e-6
    eta = published_added_noise(gain)

    def variance(u: float) -> float:
        return 1 + eta * u * u

    u = n**-0.5
    slope = (variance(u + step) - variance(u - step)) / (2 * step)
    for power in (2, 4):
        information = slope**2 / (2 * variance(u) ** power)
        # n measurements, doubled as "quantum", prior variance 1/n
        expected = 0.5 * math.log2(1 + 2 * n * information / n)
        assert arxiv_2024_data(gain, n_modes=n, power=power) == pytest.approx(expected, rel=1e-8)
    covariance = np.eye(40)
    x = np.full(40, 40**-0.5)
    tilt = np.zeros(40)
    tilt[:2] = (1, -1) / np.sqrt(2)
    inverse = np.linalg.inv(covariance + eta * np.outer(x, x))
    change = eta * (np.outer(x, tilt) + np.outer(tilt, x))
    information = 0.5 * float(np.trace(inverse @ change @ inverse @ change))
    assert prx_2025_data(gain, n_modes=n, rows=794) == pytest.approx(
        0.5 * math.log2(1 + 794 / n * information), rel=1e-12
    )


def test_headline_by_every_engine() -> None:
    for engine in ENGINES:
        bound = weights(LAYERS, GAIN_TWO, IDEAL, engine)
        assert bound.bits_per_mode == pytest.approx(0.0873848436950041, abs=1e-14)
        assert bound.bits == pytest.approx(0.0436924218475020, abs=1e-14)
    assert data(LAYERS[:1], GAIN_TWO, IDEAL).bits == pytest.approx(0.991488164695, abs=1e-12)
    assert data(LAYERS, GAIN_TWO, IDEAL).bits == pytest.approx(1.0364, abs=5e-5)
    assert data(LAYERS, TapSetting.amplifier(1.001207), IDEAL).bits == pytest.approx(0.010015, abs=5e-7)


@pytest.mark.parametrize(
    ("setting", "mu", "bits", "leaked"),
    [
        (TapSetting.amplifier(2.0), 4.0, 0.04369, 0.99149),
        (TapSetting.amplifier(1.1), 20.36, 0.04246, 0.35938),
        (TapSetting.amplifier(1.01), 200.0, 0.04554, 0.06596),
        (TapSetting.feed_forward(0.5), 8.0, 0.03252, 0.54331),
        (TapSetting.feed_forward(0.9), 40.0, 0.02654, 0.14540),
    ],
)
def test_table_of_taps(setting: TapSetting, mu: float, bits: float, leaked: float) -> None:
    layers = (layer(784, mu=mu),)
    assert weights(layers, setting, IDEAL).bits == pytest.approx(bits, rel=2e-3)
    assert data(layers, setting, IDEAL).bits == pytest.approx(leaked, abs=6e-6)


def test_one_call_gives_every_engine_single_and_cumulative() -> None:
    bounds = asymptotic_bounds(LAYERS, GAIN_TWO, IDEAL, weight_uses=10, data_uses=3)
    report = LeakageReport(bounds)
    assert report.engines(Quantity.WEIGHTS) == ENGINES
    assert report.engines(Quantity.DATA) == ENGINES
    repeated = report.select(Quantity.WEIGHTS, "labqdl", cumulative=True)
    assert repeated is not None
    assert repeated.uses == 10
    assert repeated.bits_per_mode == pytest.approx(2.228, abs=6e-4)
    again = report.select(Quantity.DATA, "labqdl", cumulative=True)
    assert again is not None
    # the data's own direction three times; three different hidden vectors
    first, hidden = (data_leakage(photons_per_row=0.5, rows=rows, n_modes=392) for rows in (3 * 784, 10))
    expected = (first + 3 * hidden) / 784
    assert again.bits == pytest.approx(expected, rel=1e-13)
    for engine in ENGINES[1:]:
        assert report.select(Quantity.WEIGHTS, engine, cumulative=True) is None
        assert report.select(Quantity.DATA, engine, cumulative=True) is None
    tested = asymptotic_bounds(LAYERS, GAIN_TWO, IDEAL, weight_uses=10, cross_use_tested=True)
    held = LeakageReport(tested).select(Quantity.WEIGHTS, "labqdl", cumulative=True)
    assert held is not None
    assert held.bits_per_mode == pytest.approx(0.559, abs=6e-4)
    assert any("cross-use test" in words for words in held.assumptions)
    assert all(bound.confidence is None and bound.samples == 0 for bound in (*bounds, *tested))


def test_the_authors_engines_are_silent_about_the_feed_forward_tap() -> None:
    report = LeakageReport(asymptotic_bounds(LAYERS, TapSetting.feed_forward(0.9), IDEAL))
    assert report.engines(Quantity.WEIGHTS) == ("labqdl",)
    assert report.engines(Quantity.DATA) == ("labqdl",)


def test_the_authors_engines_say_what_they_ignore() -> None:
    lossy = Ledger("lossy", (fibre("fibre", Place.FORWARD, 0.5),))
    for engine in ENGINES[1:]:
        for bound in (weights(LAYERS, GAIN_TWO, lossy, engine), data(LAYERS, GAIN_TWO, lossy, engine)):
            assert any("loss" in words and "ignored" in words for words in bound.assumptions)
        assert weights(LAYERS, GAIN_TWO, lossy, engine).bits == weights(LAYERS, GAIN_TWO, IDEAL, engine).bits
    odd = weights(LAYERS, TapSetting.amplifier(2.0, 0.4), IDEAL, "prx-2025")
    assert any("this one is not" in words for words in odd.assumptions)


def test_largest_layer_is_reported() -> None:
    layers = (layer(784, mu=1.0), layer(10, mu=9.0))
    bound = weights(layers, GAIN_TWO, IDEAL)
    assert bound.bits_per_mode == pytest.approx(weight_leakage(mu=9.0, transmissivity=1.0, excess=1 / 392))
    assert any("(layer 2)" in words for words in bound.assumptions)


def test_untrusted_path_is_charged_in_full() -> None:
    ledger = Ledger(
        "path",
        (
            fibre("out", Place.FORWARD, 0.9, excess=0.01),
            fibre("mesh", Place.CLIENT_IN, 0.8),
            fibre("tap", Place.TAP, 1.0, excess=0.002),
            fibre("inverse", Place.CLIENT_OUT, 0.7),
            fibre("home", Place.RETURN, 0.6, excess=0.003),
            Component("eye", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.5, electronic_noise=0.1),
        ),
    )
    channel = honest_channel(mu=4.0, n_modes=392, setting=GAIN_TWO, ledger=ledger)
    assert channel.mu == 4.0
    assert channel.transmissivity == pytest.approx(0.9 * 0.8 * 0.7 * 0.6, rel=1e-15)
    assert channel.excess == pytest.approx((0.01 * 0.8 + 0.002 + 1 / 392) * 0.42 + 0.003, rel=1e-14)
    assert channel.excess == pytest.approx(ledger.technical_excess + ledger.back / 392, rel=1e-14)
    names = " ".join(weights(LAYERS, GAIN_TWO, ledger).assumptions)
    assert "charged to the client: out, mesh, inverse, home" in names
    assert "set aside as trusted: eye" in names


def test_trusted_fibre_next_to_the_server_is_set_aside() -> None:
    half = math.sqrt(0.5)
    ledger = Ledger(
        "metro",
        (
            fibre("out", Place.FORWARD, half, trusted=True, excess=0.2),
            fibre("mesh", Place.CLIENT_IN, 0.9),
            fibre("home", Place.RETURN, half, trusted=True),
        ),
    )
    found = weights(LAYERS, GAIN_TWO, ledger).bits_per_mode
    expected = trusted_fibre_leakage(
        mu=4.0, transmissivity=0.5 * 0.9, excess=half / 392, trusted_forward=half, trusted_back=half
    )
    assert found == pytest.approx(expected, rel=1e-12)
    parts = trusted_parts(ledger)
    assert parts.transmissivity_forward == half
    assert parts.transmissivity_back == half
    lossless = Ledger("lossless", (ledger.components[0], ledger.components[2]))
    assert weights(LAYERS, GAIN_TWO, lossless).bits_per_mode == pytest.approx(0.0647, abs=6e-5)


def test_trusted_fibre_behind_an_untrusted_connector_is_charged() -> None:
    """A client at the connector takes (1-T) mu photons of undimmed light: nothing smaller is a bound."""
    connector, long = fibre("connector", Place.FORWARD, 0.9), fibre("long", Place.FORWARD, 0.01, trusted=True)
    setting = TapSetting.amplifier(1 + 1e-9)
    taken = thermal_entropy(0.1 * 4.0)
    for mirrored in (False, True):
        components: tuple[Component, ...] = (connector, long)
        if mirrored:
            components = tuple(
                Component(c.name, Place.RETURN, c.owner, trusted=c.trusted, transmissivity=c.transmissivity)
                for c in (long, connector)
            )
        parts = trusted_parts(Ledger("unsafe", components))
        assert parts.forward == ()
        assert parts.back == ()
        assert weights(LAYERS, setting, Ledger("unsafe", components)).bits_per_mode >= taken  # type: ignore[operator]
        safe = weights(LAYERS, setting, Ledger("safe", components[::-1])).bits_per_mode
        assert safe is not None
        assert safe < weights(LAYERS, setting, Ledger("unsafe", components)).bits_per_mode  # type: ignore[operator]
    # an ideal part in between does no harm
    idle = fibre("idle", Place.FORWARD, 1.0)
    assert trusted_parts(Ledger("idle", (idle, long))).transmissivity_forward == 0.01


def test_untrusted_receiver_is_charged_with_all_before_it() -> None:
    receiver = partial(
        Component, "eye", Place.SERVER_RECEIVER, Owner.CHANNEL, transmissivity=0.9, electronic_noise=0.01
    )
    found = weights(LAYERS, GAIN_TWO, Ledger("eye", (receiver(),)))
    assert found.bits_per_mode == pytest.approx(1.334, abs=6e-4)
    trusted = weights(LAYERS, GAIN_TWO, Ledger("eye", (receiver(trusted=True),)))
    assert trusted.bits_per_mode == pytest.approx(0.0873848436950041, abs=1e-14)
    home = fibre("home", Place.RETURN, 0.5, trusted=True)
    assert trusted_parts(Ledger("both", (home, receiver()))).back == ()


def test_phase_noise_and_imbalance_by_sampling() -> None:
    """Excess and mean of the honest residual, sampled from phases and directions (5.5 sigma, false alarm 4e-8)."""
    rng = np.random.default_rng(3)
    n, mu, samples, sigma = 3, 4.0, 400_000, 0.2
    ledger = Ledger(
        "phases",
        (
            Component("laser", Place.FORWARD, Owner.CHANNEL, phase_noise=0.16),
            Component("fibre", Place.RETURN, Owner.CHANNEL, phase_noise=0.12, transmissivity=0.8),
        ),
    )
    setting = TapSetting.amplifier(2.0, 0.3)
    channel = honest_channel(mu=mu, n_modes=n, setting=setting, ledger=ledger)
    alpha = math.sqrt(mu / 2) * (rng.normal(size=(samples, n)) + 1j * rng.normal(size=(samples, n)))
    u = rng.normal(size=(samples, n)) + 1j * rng.normal(size=(samples, n))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    law = tap_law(setting, ledger)
    stray = (law.net_gain - 1) * np.sum(np.conj(u) * alpha, axis=1, keepdims=True) * u
    noise = math.sqrt(law.added_noise) / 2 * (rng.normal(size=(samples, 1)) + 1j * rng.normal(size=(samples, 1))) * u
    turn = np.exp(1j * sigma * rng.normal(size=(samples, 1)))
    returned = math.sqrt(0.8) * (alpha + stray + noise) * turn
    overlap = np.real(np.conj(alpha) * returned).mean(axis=1) / mu
    transmissivity = overlap.mean() ** 2
    error = 5.5 * 2 * overlap.mean() * overlap.std() / math.sqrt(samples)
    assert abs(channel.transmissivity - transmissivity) < error
    assert abs(1.05 * channel.transmissivity - transmissivity) > error
    residual = 2 * np.abs(returned - math.sqrt(channel.transmissivity) * alpha) ** 2
    per_row = residual.mean(axis=1)
    error = 5.5 * per_row.std() / math.sqrt(samples)
    assert abs(channel.excess - per_row.mean()) < error
    assert abs(1.05 * channel.excess - per_row.mean()) > error


def test_net_gain_above_one_keeps_a_passive_channel() -> None:
    channel = honest_channel(mu=4.0, n_modes=5, setting=TapSetting.amplifier(2.0, 0.6), ledger=IDEAL)
    assert channel.transmissivity == 1.0
    stray = 2 * 4.0 * (math.sqrt(1.2) - 1) ** 2 / 5
    assert channel.excess == pytest.approx(2 * 0.6 / 5 + stray)


def test_data_photons_know_whose_loss_it_is() -> None:
    law = tap_law(GAIN_TWO, IDEAL)
    own = fibre("inverse", Place.CLIENT_OUT, 0.7)
    ledger = Ledger("mixed", (own, fibre("home", Place.RETURN, 0.1), fibre("mesh", Place.CLIENT_IN, 0.5)))
    assert data_photons(law, ledger) == pytest.approx(0.5 * 0.7)
    assert layer_data_leakage(LAYERS[0], GAIN_TWO, ledger) == pytest.approx(
        data_leakage(photons_per_row=0.35, rows=784, n_modes=392)
    )
    hot = Ledger("hot", (Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.5),))
    assert data_photons(tap_law(GAIN_TWO, hot), hot) == pytest.approx(0.75)


def test_data_photons_refuse_a_squeezing_tap() -> None:
    with pytest.raises(ValueError, match="equal noise"):
        data_photons(replace(tap_law(GAIN_TWO, IDEAL), d_p=0.5), IDEAL)


def test_unbalanced_gain_discloses_photons_of_the_light_that_arrives() -> None:
    setting = TapSetting.amplifier(2.0, 0.49)
    ledger = Ledger("mesh", (fibre("mesh", Place.CLIENT_IN, 0.5), fibre("inverse", Place.CLIENT_OUT, 0.7)))
    stray = (math.sqrt(0.98) - 1) ** 2 * 4.0 * 0.5 * 0.7
    expected = data_leakage(photons_per_row=0.49 * 0.7, rows=784, n_modes=392, gain_mismatch_photons=stray)
    assert layer_data_leakage(LAYERS[0], setting, ledger) == pytest.approx(expected, rel=1e-12)
    # The server may replace a fibre that is not the client's by a lossless one: no figure may count on its loss.
    with_fibre = replace(ledger, components=(*ledger.components, fibre("fibre", Place.FORWARD, 0.1)))
    assert layer_data_leakage(LAYERS[0], setting, with_fibre) == pytest.approx(expected, rel=1e-12)
    assert any("net gain off 1" in words for words in data(LAYERS, setting, ledger).assumptions)
    assert not any("net gain off 1" in words for words in data(LAYERS, GAIN_TWO, ledger).assumptions)


def test_bias_and_odd_rows_count_their_modes_but_not_as_features() -> None:
    frame = LayerFrame(30, 30, True, 4.0, 1.0, Activation())
    assert frame.n_modes == 16
    found = data((frame,), GAIN_TWO, IDEAL).bits
    assert found == pytest.approx(data_leakage(photons_per_row=0.5, rows=30, n_modes=16) / 30)


def test_repeated_use_on_a_lossy_path() -> None:
    ledger = Ledger("path", (fibre("out", Place.FORWARD, 0.99, excess=1e-3),))
    channel = honest_channel(mu=4.0, n_modes=392, setting=GAIN_TWO, ledger=ledger)
    expected = repeated_weight_leakage(
        mu=4.0, transmissivity=0.99, excess=1e-3 + 1 / 392, uses=7, cross_use_tested=True
    )
    assert channel.leakage(7, cross_use_tested=True) == pytest.approx(expected, rel=1e-14)


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="no engine called 'oracle'"):
        weights_bound("oracle", LAYERS, GAIN_TWO, IDEAL)
    with pytest.raises(ValueError, match="no engine called 'oracle'"):
        data_bound("oracle", LAYERS, GAIN_TWO, IDEAL)
    with pytest.raises(ValueError, match="at least one layer"):
        asymptotic_bounds((), GAIN_TWO, IDEAL)
    with pytest.raises(ValueError, match="uses"):
        asymptotic_bounds(LAYERS, GAIN_TWO, IDEAL, weight_uses=0)


def test_equal_directions_give_the_isotropic_bound() -> None:
    layer = LayerFrame(784, 784, False, 4.0, None, Activation())
    for uses in (1, 10):
        flat = anisotropic_bound([layer], [Spectrum.of(np.ones(392))], GAIN_TWO, IDEAL, uses=uses)
        even = weights_bound("labqdl", [layer], GAIN_TWO, IDEAL, uses=uses)
        assert even is not None
        assert (flat.engine, flat.uses) == (ANISOTROPIC, uses)
        assert flat.bits == pytest.approx(even.bits, rel=1e-9)


@pytest.mark.parametrize(("power", "bits_per_mode"), [(0.5, 0.117), (1.0, 0.150), (2.0, 0.109)])
def test_unequal_directions_leak_what_the_reference_says(power: float, bits_per_mode: float) -> None:
    # Published values of the physics notes, 3.1 [3.3], for spectra k^-power at mu=4, G=2, n=392.
    layer = LayerFrame(784, 784, False, 4.0, None, Activation())
    spectrum = Spectrum.of(np.arange(1, 393, dtype=np.float64) ** -power)
    bound = anisotropic_bound([layer], [spectrum], GAIN_TWO, IDEAL)
    assert bound.bits_per_mode == pytest.approx(bits_per_mode, abs=5e-4)


def test_repeated_use_of_unequal_weights() -> None:
    """Ten uses: ten times the light, and the noise of one use or of all, water-filled like a single use's."""
    layer = LayerFrame(784, 784, False, 4.0, None, Activation())
    values = np.arange(1, 393, dtype=np.float64) ** -1.0
    for tested, noise in ((True, 1 / 392), (False, 10 / 392)):
        bound = anisotropic_bound([layer], [Spectrum.of(values)], GAIN_TWO, IDEAL, uses=10, cross_use_tested=tested)
        steered = water_filling_leakage(mu=40.0, eigenvalues=values, excess=noise)
        assert bound.bits_per_mode == pytest.approx(
            max(steered, weight_leakage(mu=40.0, transmissivity=1.0, excess=noise)), rel=1e-9
        )
        assert any("cross-use test" in words for words in bound.assumptions)


def test_layers_without_a_spectrum_get_the_worst_one() -> None:
    layers = [LayerFrame(784, 784, False, 4.0, None, Activation()), LayerFrame(10, 784, False, 4.0, None, Activation())]
    bound = anisotropic_bound(layers, [Spectrum.of(np.ones(392)), Spectrum.unknown()], GAIN_TWO, IDEAL)
    assert any("layer 2: too few rows" in words for words in bound.assumptions)
    assert any("(layer 2)" in words for words in bound.assumptions)
    known = anisotropic_bound(layers[:1], [Spectrum.of(np.arange(1, 393.0) ** -1.0)], GAIN_TWO, IDEAL)
    assert bound.bits > known.bits
    with pytest.raises(ValueError, match="1 spectra for 2 layers"):
        anisotropic_bound(layers, [Spectrum.unknown()], GAIN_TWO, IDEAL)
