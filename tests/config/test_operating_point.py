from __future__ import annotations

from typing import Any

import pytest

from labqdl.config import resolve_operating_point
from labqdl.errors import InputError
from labqdl.facts import OperatingPoint, TapSetting

AMPLIFIER = OperatingPoint(4.0, TapSetting.amplifier(2.0, 0.4))
FEED_FORWARD = OperatingPoint(8.0, TapSetting.feed_forward(0.9))


def test_nothing_given_is_the_default() -> None:
    assert resolve_operating_point(AMPLIFIER) == AMPLIFIER
    assert resolve_operating_point(FEED_FORWARD) == FEED_FORWARD


def test_a_new_gain_is_balanced_again() -> None:
    point = resolve_operating_point(AMPLIFIER, amplifier_gain=4.0)
    assert point == OperatingPoint(4.0, TapSetting.amplifier(4.0, 0.25))


def test_single_values_replace_single_values() -> None:
    assert resolve_operating_point(AMPLIFIER, mu=1.0).mu == 1.0
    assert resolve_operating_point(AMPLIFIER, tap_transmissivity=0.3).tap == TapSetting.amplifier(2.0, 0.3)
    assert resolve_operating_point(FEED_FORWARD, tap_transmissivity=0.3).tap == TapSetting.feed_forward(0.3)


def test_another_build_inherits_mu_only() -> None:
    point = resolve_operating_point(AMPLIFIER, tap="feed-forward", tap_transmissivity=0.9)
    assert point == OperatingPoint(4.0, TapSetting.feed_forward(0.9))
    point = resolve_operating_point(FEED_FORWARD, tap="amplifier", amplifier_gain=2.0)
    assert point == OperatingPoint(8.0, TapSetting.amplifier(2.0))


def test_without_a_default_everything_must_be_given() -> None:
    assert resolve_operating_point(None, mu=4.0, amplifier_gain=2.0) == OperatingPoint(4.0, TapSetting.amplifier(2.0))
    with pytest.raises(InputError, match="key 'mu': is missing"):
        resolve_operating_point(None, amplifier_gain=2.0)
    with pytest.raises(InputError, match="key 'amplifier_gain': is missing for the amplifier tap"):
        resolve_operating_point(None, mu=4.0)
    with pytest.raises(InputError, match="key 'tap_transmissivity': is missing for the feed-forward tap"):
        resolve_operating_point(AMPLIFIER, tap="feed-forward")


def test_a_feed_forward_tap_has_no_gain() -> None:
    with pytest.raises(InputError, match=r"link\.toml, line 3: key 'amplifier_gain'.*no amplifier"):
        resolve_operating_point(FEED_FORWARD, amplifier_gain=2.0, source="link.toml", line=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mu": float("nan")}, "key 'mu': nan is not a finite number; expected a number > 0"),
        ({"mu": -1.0}, "key 'mu': -1.0 is out of range"),
        ({"mu": 1e300}, "key 'mu': 1e\\+300 is out of range; .*<= 1e\\+12"),
        ({"mu": "4"}, "key 'mu': '4' is text"),
        ({"amplifier_gain": 0.9}, "key 'amplifier_gain': 0.9 is out of range; .*> 1"),
        ({"amplifier_gain": 1e300}, "key 'amplifier_gain': 1e\\+300 is out of range"),
        ({"tap": "magic"}, "key 'tap': 'magic' is not known; expected one of \"amplifier\", \"feed-forward\""),
        ({"tap_transmissivity": 1.0}, "key 'tap_transmissivity': 1.0 is out of range"),
    ],
)
def test_impossible_values_name_their_key(given: dict[str, Any], message: str) -> None:
    """Options and Python calls meet the ranges that files meet."""
    with pytest.raises(InputError, match=message):
        resolve_operating_point(AMPLIFIER, **given)
