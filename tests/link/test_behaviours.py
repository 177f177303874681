"""Words for cheating clients and channels: every one builds a law, every mistake is named."""

from __future__ import annotations

import pytest

from labqdl.errors import InputError
from labqdl.facts import (
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    Owner,
    Place,
    TapSetting,
    VerificationPlan,
)
from labqdl.facts.frame import Activation
from labqdl.link import parse_channel, parse_client, parse_server
from labqdl.link.behaviours import CHANNELS, CLIENTS

FRAME = FrameDescription(
    "test",
    (LayerFrame(4, 8, False, 4.0, None, Activation()),),
    2,
    2,
    TapSetting.amplifier(2.0),
    Ledger("ideal"),
    VerificationPlan(),
    Budgets(),
)


@pytest.mark.parametrize("word", CLIENTS)
def test_every_client_has_a_law(word: str) -> None:
    law = parse_client(word).build(FRAME, FRAME.ledger, 0)
    # Returned residual variance or gain differs from the honest one for every cheat, and for no honest client.
    honest = parse_client("honest").build(FRAME, FRAME.ledger, 0)
    same = (law.isotropic_gain, law.isotropic_noise, law.tap) == (
        honest.isotropic_gain,
        honest.isotropic_noise,
        honest.tap,
    )
    assert same is (word == "honest")


def test_numbers_reach_the_law() -> None:
    assert parse_client("cloner:0.25").build(FRAME, FRAME.ledger, 0).isotropic_noise == 0.25
    gentle = parse_client("over-amplification:2.2").build(FRAME, FRAME.ledger, 0)
    assert gentle.tap.d_x == pytest.approx(2 * 1.2 / 2.2)
    assert parse_client("passive-tap:0.19").build(FRAME, FRAME.ledger, 0).isotropic_gain == pytest.approx(0.9)


def test_over_amplification_of_a_feed_forward_tap_splits_off_more() -> None:
    from dataclasses import replace

    frame = replace(FRAME, tap=TapSetting.feed_forward(0.9))
    agreed = parse_client("honest").build(frame, frame.ledger, 0)
    greedy = parse_client("over-amplification:3").build(frame, frame.ledger, 0)
    assert greedy.tap.d_x > agreed.tap.d_x


def test_outside_tap_costs_both_legs() -> None:
    tapped = parse_channel("outside-tap:0.1").build(Ledger("ideal"))
    assert tapped.forward == pytest.approx(0.9)
    assert tapped.back == pytest.approx(0.9)
    assert parse_channel("honest").build(FRAME.ledger) is FRAME.ledger


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("intercept-resent", "Did you mean 'intercept-resend'"),
        ("evil", "expected one of honest"),
        ("honest:2", "takes no number"),
        ("cloner:0", "above 0"),
        ("cloner:nan", "no valid number"),
        ("cloner:", "no valid number"),
        ("passive-tap:1", "between 0 and 1"),
        ("over-amplification:1", "above 1"),
    ],
)
def test_mistakes_are_named(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_client(word)
    assert "--client" in str(caught.value)


def test_other_parties_too() -> None:
    with pytest.raises(InputError, match="--channel"):
        parse_channel("leaky")
    with pytest.raises(InputError, match="--server"):
        parse_server("evil")
    with pytest.raises(InputError, match="entangled photons per mode, above 0"):
        parse_server("two-mode-squeezed:0")
    assert set(CHANNELS) == {"honest", "outside-tap", "lossless"}


@pytest.mark.parametrize("word", CLIENTS)
def test_only_those_who_repeat_themselves_add_an_offset(word: str) -> None:
    behaviour = parse_client(word)
    assert (behaviour.offset_variance(FRAME, FRAME.ledger, 0) > 0) is (word in ("estimate", "coherent"))
    assert (behaviour.vacuum_spike > 0) is (word == "spiking")


def test_a_coherent_meter_takes_the_agreed_disturbance_unless_told() -> None:
    # G = 2: eta = 1 on one of four modes.
    assert parse_client("coherent").offset_variance(FRAME, FRAME.ledger, 0) == pytest.approx(0.25)
    assert parse_client("coherent:0.1").offset_variance(FRAME, FRAME.ledger, 0) == 0.1
    law = parse_client("coherent:0.1").build(FRAME, FRAME.ledger, 0)
    assert law.isotropic_noise == law.tap.d_x == law.tap.d_p == 0
    assert law.tap.outcome_variance == pytest.approx(11.0)  # a clone's noise of 1/0.1, and shot noise
    assert parse_client("estimate:0.3").offset_variance(FRAME, FRAME.ledger, 0) == 0.3


def test_spiking_is_an_honest_box_behind_a_cloner() -> None:
    honest = parse_client("honest").build(FRAME, FRAME.ledger, 0)
    law = parse_client("spiking:0.2").build(FRAME, FRAME.ledger, 0)
    assert law.tap == honest.tap
    assert law.isotropic_noise == 0.2
    assert law.isotropic_coupling == honest.tap.outcome_gain
    assert parse_client("spiking:0.2").vacuum_spike == 0.2


def test_a_lossless_path_keeps_what_nobody_vouches_for() -> None:
    channel = parse_channel("lossless")
    parts = (
        Component("mine", Place.FORWARD, Owner.SERVER, transmissivity=0.9),
        Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5),
        Component("vouched for", Place.FORWARD, Owner.CHANNEL, trusted=True, transmissivity=0.8),
        Component("interferometer", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.7),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.6),
    )
    ledger = Ledger("mixed", parts)
    assert channel.build(ledger) is ledger
    assert channel.kept(ledger) == pytest.approx(0.9 * 0.5 + 0.9 * 0.5 * 0.8 * 0.3)
    assert parse_channel("honest").kept(ledger) == 0.0
    assert parse_channel("outside-tap").kept(ledger) == 0.0


def test_servers_send_what_their_number_says() -> None:
    assert parse_server("honest").honest
    bright = parse_server("bright-probe:3")
    assert (bright.energy(4.0), bright.thermal_photons, bright.out_of_band) == (3.0, 0.0, 0.0)
    assert not bright.honest
    entangled = parse_server("two-mode-squeezed:1")
    assert entangled.energy(4.0) * 4.0 + entangled.thermal_photons == pytest.approx(4.0)
    assert entangled.energy(0.5) == 0.0
    assert parse_server("x-dependent:2").out_of_band == 2.0


def test_the_best_estimate_is_that_of_the_light_that_arrives() -> None:
    dim = Ledger("dim", (Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5),))
    law = parse_client("intercept-resend-mmse").build(FRAME, dim, 0)
    assert law.isotropic_gain == pytest.approx(2 / 3)  # mu/(mu + 1) with the 2 photons that are left
