from __future__ import annotations

from pathlib import Path

import pytest

from labqdl.config import load_link, shipped_links
from labqdl.errors import InputError
from labqdl.facts import Owner, Place
from labqdl.units import loss_to_transmissivity

EXAMPLE = """
name = "example"
description = "for a test"

[operating_point]
mu = 40
tap = "feed-forward"
tap_transmissivity = 0.9

[[component]]
name = "fibre"
place = "forward"
owner = "channel"
loss_per_length = "0.2 dB/km"
length = "10 km"
phase_noise = "5 mrad"
excess = "1 mSNU"

[[component]]
name = "receiver"
place = "server-receiver"
owner = "server"
trusted = true
transmissivity = "85 %"
electronic_noise = "0.05 SNU"
calibration = "vacuum blocks of today"
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "link.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_a_ledger(tmp_path: Path) -> None:
    link = load_link(_write(tmp_path, EXAMPLE))
    assert (link.name, link.description) == ("example", "for a test")
    assert link.operating_point is not None
    assert (link.operating_point.mu, link.operating_point.tap.tap_transmissivity) == (40.0, 0.9)
    fibre, receiver = link.ledger.components
    assert fibre.place is Place.FORWARD
    assert fibre.owner is Owner.CHANNEL
    assert fibre.transmissivity == pytest.approx(10 ** (-0.2), rel=1e-14)
    assert (fibre.phase_noise, fibre.excess, fibre.trusted) == (5e-3, 1e-3, False)
    assert (receiver.transmissivity, receiver.electronic_noise, receiver.trusted) == (0.85, 0.05, True)
    assert receiver.calibration == "vacuum blocks of today"
    assert load_link(str(_write(tmp_path, EXAMPLE))) == link


def test_a_file_needs_no_operating_point(tmp_path: Path) -> None:
    link = load_link(_write(tmp_path, 'name = "bare"\n'))
    assert link.operating_point is None
    assert link.ledger.components == ()


PART = '[[component]]\nname = "a"\nplace = "forward"\nowner = "channel"\n'


@pytest.mark.parametrize(
    ("text", "line", "key", "fragment"),
    [
        (PART + 'loss = "-1 dB"\n', 6, "component[1].loss", "out of range"),
        (PART + 'loss = "3 km"\n', 6, "component[1].loss", "no unit"),
        (PART + 'loss_per_length = "1 dB/km"\n', 6, "component[1].loss_per_length", "without length"),
        (PART + 'length = "1 km"\n', 6, "component[1].length", "without loss_per_length"),
        (PART + 'loss = "1 dB"\ntransmissivity = 0.5\n', 7, "component[1].transmissivity", "together with loss"),
        (PART + 'loss_per_length = "1 dB/m"\nlength = "1 km"\n', 7, "component[1].length", "a loss of 1000 dB"),
        (PART + "transmissivity = 1.5\n", 6, "component[1].transmissivity", "out of range"),
        (PART + "transmissivity = 0\n", 6, "component[1].transmissivity", "out of range"),
        (PART + 'electronic_noise = "1 SNU"\n', 2, "component[1]", "belongs to a receiver"),
        (PART + "n_sp = 2\n", 2, "component[1]", "n_sp belongs to the gain-and-tap stage"),
        (PART + PART, 7, "component[2].name", "a second component is called 'a'"),
        (PART.replace("channel", "client") + "trusted = true\n", 2, "component[1]", "cannot trust"),
        ("[operating_point]\nmu = 4\n", 2, "amplifier_gain", "is missing"),
        ("[operating_point]\namplifier_gain = 0.5\n", 3, "operating_point.amplifier_gain", "out of range"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, text: str, line: int, key: str, fragment: str) -> None:
    with pytest.raises(InputError, match=fragment) as caught:
        load_link(_write(tmp_path, 'name = "x"\n' + text))
    assert (caught.value.line, caught.value.key) == (line, key)


def test_the_shipped_links() -> None:
    assert shipped_links() == ("ideal", "lab-bench", "metro-10km", "paper")
    for name in shipped_links():
        link = load_link(name)
        assert link.name == link.ledger.name == name
        assert link.operating_point is not None
        assert link.description
        for component in link.ledger.components:
            assert component.server_trusts == (component.owner is Owner.SERVER)


def test_ideal_links_lose_nothing() -> None:
    for name in ("ideal", "paper"):
        assert load_link(name).ledger.components == ()
    paper = load_link("paper").operating_point
    assert paper is not None
    assert (paper.mu, paper.tap.amplifier_gain, paper.tap.tap_transmissivity) == (4.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("name", "loss", "phase_noise", "excess"), [("metro-10km", 3.5, 5e-3, 1e-3), ("lab-bench", 0.321, 1e-3, 1e-4)]
)
def test_the_sums_of_the_real_links(name: str, loss: float, phase_noise: float, excess: float) -> None:
    ledger = load_link(name).ledger
    assert ledger.forward == pytest.approx(loss_to_transmissivity(loss), rel=1e-12)
    assert ledger.back == pytest.approx(loss_to_transmissivity(loss), rel=1e-12)
    assert ledger.forward_phase_noise == ledger.total_phase_noise == phase_noise
    assert ledger.technical_excess == excess


@pytest.mark.parametrize(("name", "decibel"), [("ideal", -7), ("lab-bench", -7.68), ("metro-10km", -5)])
def test_the_points_reach_their_signal_to_noise(name: str, decibel: float) -> None:
    """S = 2 mu T1 eta_c (1 - tau) G / sigma_y^2 (docs/physics.md, single-row model), to the digits of the file."""
    link = load_link(name)
    point = link.operating_point
    assert point is not None
    ledger, gain = link.ledger, point.tap.amplifier_gain
    tapped = ledger.client_efficiency * (1 - point.tap.tap_transmissivity)
    noise = 1 + ledger.client_noise + 2 * ledger.n_sp * tapped * (gain - 1)
    assert 2 * point.mu * ledger.forward * tapped * gain / noise == pytest.approx(10 ** (decibel / 10), rel=0.01)


def test_an_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no shipped link 'papper'.*Did you mean 'paper'"):
        load_link("papper")
    with pytest.raises(InputError, match="there is no such file"):
        load_link("papper.toml")
    with pytest.raises(InputError, match="there is no such file"):
        load_link(tmp_path / "link")


def _component(index: int, figure: str) -> str:
    return f'[[component]]\nname = "part {index}"\nplace = "forward"\nowner = "channel"\n{figure}\n'


@pytest.mark.parametrize("figure", ['excess = "1e9 SNU"', 'phase_noise = "2 rad"', 'loss = "201 dB"'])
def test_figures_beyond_any_link_are_refused(tmp_path: Path, figure: str) -> None:
    with pytest.raises(InputError, match=r"line 6: key 'component\[1\]\..* is out of range"):
        load_link(_write(tmp_path, 'name = "x"\n' + _component(1, figure)))


def test_losses_that_add_up_to_no_link_are_refused(tmp_path: Path) -> None:
    parts = "".join(_component(index, 'loss = "90 dB"') for index in range(3))
    with pytest.raises(InputError, match="add up to no light path; expected at most 200 dB"):
        load_link(_write(tmp_path, 'name = "x"\n' + parts))
