"""The lock box's twin: the sheet's examples, acquiring, slipping, light."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.sheet_examples import Example, load
from tests.sim.played import Before, Lab, check_fuzz, check_titles, play_example

NAME = "labqdl-lockbox"
SHEET = load(NAME)


def lit() -> Lab:
    lab = Lab(NAME)
    lab.shine(1.6e-3)
    return lab


def locked(lab: Lab) -> None:
    lab.shine(1.6e-3)
    lab.ask("LOCK 1")
    lab.after(0.1)


def half(lab: Lab) -> None:
    lab.ask("LOCK:SETP 0.5")


BEFORE: dict[str, Before] = {
    "whether it is closed": locked,
    "condition": locked,
    "slips": locked,
    "residual": locked,
    "actuator": locked,
    "light": locked,
    "set point asked": half,
}
NOT_SIMULATED: dict[str, str] = {}


@pytest.mark.parametrize("example", SHEET.examples, ids=lambda e: e.title)
def test_example(example: Example) -> None:
    play_example(NAME, example, {}, BEFORE, {})


def test_every_example_and_every_command_is_there() -> None:
    check_titles(SHEET, BEFORE, NOT_SIMULATED)
    lab = Lab(NAME)
    for command in SHEET.commands:
        lab.ask(command if command in ("*RST", "*CLS") else f"{command}?")
        assert lab.error() == 0, command


def test_it_acquires_where_there_is_light() -> None:
    lab = lit()
    lab.ask("LOCK 1")
    assert lab.ask("LOCK:COND?") == "ACQUIRING"
    lab.after(0.051)
    assert lab.ask("LOCK:COND?") == "LOCKED"
    assert lab.volts("actuator") != 0.0
    lab.ask("LOCK 0")
    assert lab.ask("LOCK:COND?") == "UNLOCKED"
    assert lab.volts("actuator") == 0.0


def test_it_slips_in_the_dark_and_stays_so() -> None:
    lab = lit()
    locked(lab)
    assert lab.ask("LOCK:COND?") == "LOCKED"
    lab.shine(0.0)
    assert lab.ask("LOCK:COND?") == "SLIPPED"
    lab.shine(1.6e-3)
    lab.after(1.0)
    assert (lab.ask("LOCK:COND?"), lab.ask("LOCK:SLIP?")) == ("SLIPPED", "1")
    locked(lab)
    assert lab.ask("LOCK:COND?") == "LOCKED"


def test_a_fault_makes_it_slip() -> None:
    lab = lit()
    locked(lab)
    rule = lab.twin.faults.add("slip")
    assert lab.ask("LOCK:COND?") == "SLIPPED"
    assert float(lab.ask("LOCK:RES?")) > 0.1
    lab.twin.faults.remove(rule)
    assert lab.ask("LOCK:COND?") == "SLIPPED"


def test_an_instant_that_the_world_names() -> None:
    lab = lit()
    locked(lab)
    lab.twin.lost_at = lambda since, until: 0.08 if since <= 0.08 <= until else None
    assert lab.twin.holds(lab.clock.monotonic()) == (pytest.approx(0.05), 0.08)


def test_light_passes() -> None:
    lab = lit()
    assert lab.light().power == pytest.approx(1.6e-3 * 10**-0.1)


def test_parser_survives_anything() -> None:
    check_fuzz(NAME, st.sampled_from([f"{command} 1\n".encode() for command in SHEET.commands]))
