"""Whatever becomes of a run at any step: the world is dark within 2 s, and `resume` sends no finished block again.

One run dies twelve times in a row here, each time in the next way; in soak every cell of steps and ways has a run of
its own, and `python -m tests.wire.dying` prints the matrix.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labqdl.facts import CalibrationSet
from tests.wire.dying import STEPS, WAYS, Victims, World, promised, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, named pipes and fork of POSIX")

CHAIN = [
    ("encode", "sigterm", 1),
    ("record", "full disk", 0),
    ("transmit", "sigkill", 0),
    ("fetch", "gone", 1),
    ("arm", "exception", 1),
    ("verify", "ctrl-c", 0),
    ("set data", "sigkill", 1),
    ("record", "sigkill", 0),
    ("transmit", "refuses", 0),
    ("encode", "full disk", 1),
    ("arm", "sigterm", 1),
]
"""Step and way of eleven deaths of one run, and how many blocks are sent before; a stop comes behind its block."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as made:
        yield made


def test_a_run_that_dies_again_and_again_is_completed(
    world: World, loop_calibrations: CalibrationSet, tmp_path: Path
) -> None:
    blocks = 10
    with Victims(world, tmp_path, loop_calibrations) as victims:
        for number, (step, way, ahead) in enumerate(CHAIN):
            block = min(set(range(blocks)) - victims.finished()) + ahead
            again = victims.resume if number else lambda *given, **more: victims.run(blocks, *given, **more)
            death = again(step, WAYS[way], block=block)
            assert not death.problems(WAYS[way]), (step, way, death)
        death = victims.resume()
        assert not death.problems(None), death
        assert victims.finished() == set(range(blocks))


def test_a_calibration_that_is_killed_leaves_no_light(world: World, tmp_path: Path) -> None:
    with Victims(world, tmp_path, None) as victims:
        death = victims.run(2, "calibrate", WAYS["sigkill"])
        assert not death.problems(WAYS["sigkill"]), death
        assert not victims.path.exists()


@pytest.mark.soak
@pytest.mark.parametrize(("step", "way"), [(step, way) for step in STEPS for way in WAYS if promised(step, way)])
def test_every_cell(world: World, loop_calibrations: CalibrationSet, tmp_path: Path, step: str, way: str) -> None:
    with Victims(world, tmp_path, loop_calibrations) as victims:
        death = victims.run(2, step, WAYS[way], block=1)
        assert not death.problems(WAYS[way]), death
        if step != "calibrate":
            death = victims.resume()
            assert not death.problems(None), death
            assert victims.finished() == {0, 1}
