"""Safe states over connections of their own: what they need, and ports that are not free yet."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import serial

from labqdl.instruments import BiasMode
from labqdl.safety import Recipe, recipe_of
from labqdl.safety.darkening import Job, Way, darken
from labqdl.safety.fresh import make_safe_afresh, open_for_safety
from labqdl_sim.bench import Bench
from labqdl_sim.routes import serial_url
from tests.conformance.subjects import NAMES, emits, in_process


@pytest.mark.parametrize("name", NAMES)
def test_safe_state_without_learning(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every driver on its twin: `learn` is not called, the safe state is reached and confirmed."""
    stand = in_process(name)

    def learn(self: object) -> None:
        raise AssertionError("learnt")

    monkeypatch.setattr(type(stand.driver), "learn", learn)
    try:
        open_for_safety(stand.driver)
        assert stand.driver.is_open
        stand.driver.safe_state()
    finally:
        stand.close()


def test_port_that_is_not_free_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ports are exclusive (Windows), that of a dead process is refused for moments."""
    bench = Bench(seed=1)
    twin = bench.add("thorlabs-mbx", "it")
    serial_url.attach(bench)
    real, refusals = serial.serial_for_url, 3

    def refused(*arguments: Any, **options: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise serial.SerialException("could not open port 'COM3': PermissionError(13, 'Access is denied.')")
        return real(*arguments, **options)

    try:
        bias: Any = Recipe("thorlabs-mbx", "labqdl://it", "it").make()
        bias.open()
        bias.manual_voltage = 2.0
        bias.mode = BiasMode.MANUAL
        bias.close()
        assert emits(twin)
        monkeypatch.setattr(serial, "serial_for_url", refused)
        way = Way("fresh connection", partial(make_safe_afresh, recipe_of(bias)), again=True)
        (outcome,) = darken([Job("it", "", (way,))])
    finally:
        serial_url.detach(bench)
    assert outcome.safe, outcome
    assert refusals == 0
    assert outcome.seconds < 2.0
    assert not emits(twin)
