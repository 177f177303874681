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
    law = parse_client(word).build(FRAME, FRAME.ledger, 4.0)
    # Returned residual variance or gain differs from the honest one for every cheat, and for no honest client.
    honest = parse_client("honest").build(FRAME, FRAME.ledger, 4.0)
    same = (law.isotropic_gain, law.isotropic_noise, law.tap) == (
        honest.isotropic_gain,
        honest.isotropic_noise,
        honest.tap,
    )
    assert same is (word == "honest")


def test_numbers_reach_the_law() -> None:
    assert parse_client("cloner:0.25").build(FRAME, FRAME.ledger, 4.0).isotropic_noise == 0.25
    gentle = parse_client("over-amplification:2.2").build(FRAME, FRAME.ledger, 4.0)
    assert gentle.tap.d_x == pytest.approx(2 * 1.2 / 2.2)
    assert parse_client("passive-tap:0.19").build(FRAME, FRAME.ledger, 4.0).isotropic_gain == pytest.approx(0.9)


def test_over_amplification_of_a_feed_forward_tap_splits_off_more() -> None:
    from dataclasses import replace

    frame = replace(FRAME, tap=TapSetting.feed_forward(0.9))
    agreed = parse_client("honest").build(frame, frame.ledger, 4.0)
    greedy = parse_client("over-amplification:3").build(frame, frame.ledger, 4.0)
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
    assert set(CHANNELS) == {"honest", "outside-tap"}


def test_the_best_estimate_is_that_of_the_light_that_arrives() -> None:
    dim = Ledger("dim", (Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5),))
    law = parse_client("intercept-resend-mmse").build(FRAME, dim, 4.0)
    assert law.isotropic_gain == pytest.approx(2 / 3)  # mu/(mu + 1) with the 2 photons that are left
