"""Honest and cheating clients: the statistics that the server must see (docs/physics.md, "Attacks")."""

from __future__ import annotations

import math

import pytest

from labqdl.facts import Component, Ledger, Owner, Place, TapSetting
from labqdl.optics.client_law import (
    ClientLaw,
    cloner,
    coherent_meter,
    honest,
    intercept_resend,
    over_amplification,
    passive_tap,
    spiking,
    substitution,
)
from labqdl.optics.expectation import mean_gain, mean_square_residual, residual_variance
from labqdl.optics.gain_tap import TapLaw, amplifier_tap, feed_forward_tap
from labqdl.optics.law import LinkLaw

MU, N = 4.0, 392
IDEAL = Ledger("ideal")
HALF = Ledger(
    "half",
    (
        Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=math.sqrt(0.5)),
    ),
)
AMPLIFIER = TapSetting.amplifier(2.0)


def attack(client: ClientLaw, ledger: Ledger) -> LinkLaw:
    """The cheat holds the fibre as well."""
    return LinkLaw.from_ledger(ledger, client).with_lossless_fibre()


@pytest.mark.parametrize(("ledger", "t"), [(IDEAL, 1.0), (HALF, 0.5)])
def test_named_attacks_have_their_textbook_statistics(ledger: Ledger, t: float) -> None:
    amplitude = math.sqrt(t)

    unit = attack(intercept_resend(), ledger)
    assert residual_variance(unit, N) == pytest.approx(1 + 2 * t, rel=1e-13)
    assert mean_gain(unit, N) == pytest.approx(amplitude, rel=1e-13)
    assert unit.outcome_variance == pytest.approx(2.0, rel=1e-13), "a heterodyne reads with two units of noise"

    k = MU / (MU + 1)
    mmse = attack(intercept_resend("mmse", MU), ledger)
    assert mean_square_residual(mmse, N, MU) == pytest.approx(1 + 2 * t * MU / (MU + 1), rel=1e-13)
    assert mean_gain(mmse, N) == pytest.approx(amplitude * k, rel=1e-13)
    assert mmse.outcome_variance == pytest.approx(2.0, rel=1e-13)

    clones = attack(cloner(), ledger)
    assert residual_variance(clones, N) == pytest.approx(1 + t, rel=1e-13)
    assert clones.outcome_variance == pytest.approx(2.0, rel=1e-13)
    weak = attack(cloner(0.1), ledger)
    assert residual_variance(weak, N) == pytest.approx(1 + 0.1 * t, rel=1e-13)
    assert weak.outcome_variance == pytest.approx(11.0, rel=1e-13), "D_E = 1/D and the light's own shot noise"

    vacuum = attack(substitution(), ledger)
    assert mean_gain(vacuum, N) - amplitude == pytest.approx(-amplitude, rel=1e-13)
    assert mean_square_residual(vacuum, N, MU) == pytest.approx(1 + 2 * MU * t, rel=1e-13)
    guess = attack(substitution("estimate", 0.25), ledger)
    assert residual_variance(guess, N) == pytest.approx(1 + 0.25 * t, rel=1e-13)
    assert mean_gain(guess, N) == pytest.approx(amplitude, rel=1e-13)


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1])
def test_extra_passive_tap_lowers_the_gain(fraction: float) -> None:
    for ledger in (IDEAL, HALF):
        law = LinkLaw.from_ledger(ledger, passive_tap(fraction, AMPLIFIER, ledger))
        shift = math.sqrt(ledger.total) * (1 - math.sqrt(1 - fraction))
        assert math.sqrt(ledger.total) - mean_gain(law, N) == pytest.approx(shift, rel=1e-9)
        honest_law = LinkLaw.from_ledger(ledger, honest(ledger, AMPLIFIER))
        assert residual_variance(law, N) == pytest.approx(residual_variance(honest_law, N), rel=1e-13)
        assert law.outcome_gain == pytest.approx(math.sqrt(1 - fraction) * honest_law.outcome_gain, rel=1e-13)


@pytest.mark.parametrize("gain", [2.2, 3.0, 10.0])
def test_over_amplification_adds_its_own_noise(gain: float) -> None:
    for ledger in (IDEAL, HALF):
        law = LinkLaw.from_ledger(ledger, over_amplification(AMPLIFIER, gain, ledger))
        eta = 2 * (gain - 1) / gain
        assert residual_variance(law, N) == pytest.approx(1 + ledger.back * eta / N, rel=1e-13)
        assert mean_gain(law, N) == pytest.approx(math.sqrt(ledger.total), rel=1e-13)
    setting = TapSetting.feed_forward(0.9)
    assert over_amplification(setting, gain, IDEAL).tap == feed_forward_tap(1 / gain)


def test_over_amplification_reads_perfectly_with_the_ledgers_amplifier() -> None:
    ledger = Ledger(
        "bench",
        (
            Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=1.5),
            Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.5, electronic_noise=0.1),
        ),
    )
    assert over_amplification(AMPLIFIER, 3.0, ledger).tap == amplifier_tap(3.0, 1 / 3.0, n_sp=1.5)


def test_honest_client_is_isotropic_in_nothing() -> None:
    client = honest(IDEAL, AMPLIFIER)
    assert (client.isotropic_gain, client.isotropic_noise, client.isotropic_coupling) == (1.0, 0.0, 0.0)
    assert client.directed_gain == 0
    assert client.tap == amplifier_tap(2.0, 0.5)


def test_attenuation_scales_what_is_returned_and_not_what_is_read() -> None:
    tap = TapLaw(complex(0.9, 0.1), 0.4, 0.6, 1.1, 2.0, 0.3, 0.1)
    client = ClientLaw("test", tap, isotropic_gain=0.8, isotropic_noise=0.5, isotropic_coupling=0.7)
    weaker = client.attenuated(0.25)
    assert weaker.isotropic_gain == pytest.approx(0.4)
    assert weaker.directed_gain == pytest.approx(0.5 * client.directed_gain)
    assert weaker.tap.d_x == pytest.approx(0.1)
    assert weaker.tap.covariance_x == pytest.approx(0.15)
    assert weaker.tap.covariance_p == pytest.approx(0.05)
    assert LinkLaw(weaker).outcome_variance == pytest.approx(LinkLaw(client).outcome_variance)
    # Attenuating in the box or in the return fibre is the same for everybody.
    there, here = LinkLaw(client, back=0.25).homodyne, LinkLaw(weaker).homodyne
    assert here.covariance == pytest.approx(there.covariance)
    assert here.isotropic_signal == pytest.approx(there.isotropic_signal)
    assert here.directed_signal == pytest.approx(there.directed_signal)
    assert here.floor == pytest.approx(there.floor)
    assert (here.spike_x, here.spike_p) == pytest.approx((there.spike_x, there.spike_p))


def test_kept_light_adds_its_signal_to_noise_and_changes_nothing_that_returns() -> None:
    ledger = Ledger(
        "half and noise",
        (
            Component("out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5, excess=0.1),
            Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.7),
        ),
    )
    for client in (honest(ledger, AMPLIFIER), intercept_resend(), cloner(0.3)):
        law = LinkLaw.from_ledger(ledger, client)
        for kept in (0.0, 0.2, 0.5):
            greedy = law.reading_kept_light(kept)
            before, after = (one.outcome_gain**2 / one.outcome_variance for one in (law, greedy))
            # Shot noise of the kept light is 1 SNU, its amplitude sqrt(kept) of X_b: independent readings add.
            assert after == pytest.approx(before + kept, rel=1e-12)
            for one, other in ((law.homodyne, greedy.homodyne), (law.counter, greedy.counter)):
                assert one.floor == other.floor
                assert (one.spike_x, one.spike_p) == (other.spike_x, other.spike_p)
                assert (one.isotropic_signal, one.directed_signal) == (other.isotropic_signal, other.directed_signal)
                assert one.covariance == other.covariance
        with pytest.raises(ValueError, match="kept"):
            law.reading_kept_light(0.6)


def test_a_spiking_client_shows_as_a_cloner_in_front_of_an_honest_box() -> None:
    law = LinkLaw.from_ledger(HALF, spiking(0.2, AMPLIFIER, HALF))
    honest_law = LinkLaw.from_ledger(HALF, honest(HALF, AMPLIFIER))
    assert residual_variance(law, N) == pytest.approx(residual_variance(honest_law, N) + 0.2 * HALF.back, rel=1e-13)
    # The outcome reads the clone: slope of the honest box, and its gain squared times the clone's noise on top.
    assert law.outcome_gain == honest_law.outcome_gain
    assert law.outcome_variance == pytest.approx(
        honest_law.outcome_variance + 0.2 * honest(HALF, AMPLIFIER).tap.outcome_gain ** 2
    )


def test_a_coherent_meter_returns_light_without_fresh_noise() -> None:
    law = LinkLaw.from_ledger(IDEAL, coherent_meter(0.01))
    assert residual_variance(law, N) == 1.0
    assert law.outcome_variance == pytest.approx(101.0)


def test_refusals() -> None:
    tap = amplifier_tap(2.0, 0.5)
    with pytest.raises(ValueError, match="isotropic_noise"):
        ClientLaw("test", tap, isotropic_noise=-1.0)
    with pytest.raises(ValueError, match="isotropic_gain"):
        ClientLaw("test", tap, isotropic_gain=math.nan)
    with pytest.raises(ValueError, match="transmissivity"):
        honest(IDEAL, AMPLIFIER).attenuated(0.0)
    with pytest.raises(ValueError, match="mu_at_client"):
        intercept_resend("mmse")
    with pytest.raises(ValueError, match="'unit' or 'mmse'"):
        intercept_resend("half")
    with pytest.raises(ValueError, match="returned_noise"):
        cloner(0.0)
    with pytest.raises(ValueError, match="kind"):
        substitution("light")
    with pytest.raises(ValueError, match="isotropic_noise"):
        substitution("estimate", -0.1)
    with pytest.raises(ValueError, match="actual_gain"):
        over_amplification(AMPLIFIER, 1.0, IDEAL)
    with pytest.raises(ValueError, match="fraction"):
        passive_tap(1.0, AMPLIFIER, IDEAL)
    with pytest.raises(ValueError, match="variance"):
        coherent_meter(0.0)
    with pytest.raises(ValueError, match="noise"):
        spiking(-0.1, AMPLIFIER, IDEAL)
