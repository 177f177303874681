"""Files that labqdl writes for itself are read back to the very same numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.config import load_link, shipped_links
from labqdl.config.document import parse
from labqdl.config.experiment import read_experiment
from labqdl.config.link import read_link
from labqdl.config.writing import experiment_text, link_text, point_values
from labqdl.facts import Component, Ledger, OperatingPoint, Owner, Place, TapSetting

names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20).filter(str.strip)
shares = st.floats(1e-6, 1.0)


@pytest.mark.parametrize("name", shipped_links())
def test_shipped_links(name: str) -> None:
    link = load_link(name)
    text = link_text(link.ledger, name=link.name, description="again", point=link.operating_point, comments=["x"])
    again = read_link(parse(text.encode(), source="x"))
    assert again.ledger == link.ledger
    assert again.operating_point == link.operating_point


@given(
    name=names,
    transmissivity=shares,
    excess=st.floats(0.0, 10.0),
    phase=st.floats(0.0, 1.0),
    n_sp=st.floats(1.0, 10.0),
    trusted=st.booleans(),
)
def test_any_ledger(name: str, transmissivity: float, excess: float, phase: float, n_sp: float, trusted: bool) -> None:
    parts = (
        Component(
            name, Place.FORWARD, Owner.CHANNEL, trusted, transmissivity=transmissivity, excess=excess, phase_noise=phase
        ),
        Component(name + "2", Place.TAP, Owner.CLIENT, n_sp=n_sp, calibration=name),
        Component(name + "3", Place.SERVER_RECEIVER, Owner.SERVER, True, electronic_noise=excess),
    )
    text = link_text(Ledger("l", parts), name="l", description=name)
    assert read_link(parse(text.encode(), source="x")).ledger.components == parts


@given(mu=st.floats(1e-6, 1e6), gain=st.floats(1.0000001, 1e3), tapped=shares.filter(lambda t: t < 1))
def test_any_point(mu: float, gain: float, tapped: float) -> None:
    for tap in (TapSetting.amplifier(gain), TapSetting.amplifier(gain, tapped), TapSetting.feed_forward(tapped)):
        text = experiment_text({"model": "m", "counting_fraction": 0.1, **point_values(OperatingPoint(mu, tap))}, ["c"])
        read = read_experiment(parse(text.encode(), source="x"))
        assert (read.mu, read.tap, read.counting_fraction) == (mu, tap.kind.value, 0.1)
        if tap.amplifier_gain > 1:
            assert read.amplifier_gain == gain
            assert read.tap_transmissivity in (None, tap.tap_transmissivity)
        else:
            assert read.tap_transmissivity == tapped


def test_keys_that_no_experiment_has() -> None:
    with pytest.raises(KeyError, match="mood"):
        experiment_text({"mood": "good"})
    assert experiment_text({"mu": None}) == "\n"
