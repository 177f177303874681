"""Records of vacuum slots that the server's receiver, set as it was, cannot have made."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.facts import ReturnedLight, ShotNoise
from labqdl.link import EmulatedLink
from labqdl.protocol.plausible import Setting, fingerprint, impossible
from labqdl.rng import Roots
from tests.security.light import make_frame, make_light

ROWS, MODES, IMAGES, SLOTS = 12, 8, 5, 3


def measured() -> tuple[ReturnedLight, Setting, NDArray[np.float64]]:
    frame = make_frame(shapes=((ROWS, 2 * MODES),), images=IMAGES, block=IMAGES)
    frame = replace(frame, plan=replace(frame.plan, shot_noise=ShotNoise.OWN), vacuum_slots=SLOTS)
    generator = np.random.default_rng(3)
    q = np.asfortranarray(make_light(generator, ROWS, MODES, 4.0))
    x = generator.standard_normal((IMAGES, 2 * MODES))
    pattern, counted = generator.random(MODES) < 0.5, generator.random(ROWS) < 0.4
    link = EmulatedLink(frame.ledger, Roots.from_seed(1).world)
    link.prepare(frame)
    link.server_port.send_rows(0, 0, q, IMAGES)
    link.server_port.set_receiver(0, 0, pattern, counted, 1.0)
    link.client_port.set_data(0, 0, x / np.linalg.norm(x, axis=1, keepdims=True))
    link.transmit(0, 0)
    setting = Setting(pattern, counted, IMAGES, False, np.zeros(0, np.int64), SLOTS)
    return link.server_port.returned(0, 0), setting, q


def test_what_was_asked_for_passes() -> None:
    light, setting, q = measured()
    assert light.statistics.vacuum_slots == SLOTS * IMAGES * int(np.count_nonzero(~setting.counted))
    assert impossible(light, setting, q) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"vacuum_slots": 0, "vacuum_squares": 0.0},
        {"vacuum_slots": 17},
        {"vacuum_squares": -1.0},
        {"vacuum_squares": 0.0},
        {"vacuum_squares": math.nan},
        {"vacuum_squares": math.inf},
    ],
    ids=str,
)
def test_other_numbers_do_not(wrong: dict[str, float]) -> None:
    light, setting, q = measured()
    statistics = replace(light.statistics, **wrong)  # type: ignore[arg-type]
    assert "vacuum" in (impossible(ReturnedLight(statistics), setting, q) or "")


def test_slots_that_nobody_asked_for_are_refused() -> None:
    light, setting, q = measured()
    assert "vacuum" in (impossible(light, replace(setting, vacuum_slots=0), q) or "")


def test_the_fingerprint_sees_them() -> None:
    light, _, _ = measured()
    statistics = light.statistics
    other = replace(statistics, vacuum_squares=math.nextafter(statistics.vacuum_squares, math.inf))
    assert fingerprint(0, 0, statistics) != fingerprint(0, 0, other)
    assert fingerprint(0, 0, statistics) == fingerprint(0, 0, replace(statistics))
