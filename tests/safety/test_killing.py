"""Every way out of a program that has light on, in real processes; the lamps themselves are asked."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.safety.killing import Victim, world

DARK_WITHIN = 2.0


def test_sigkill(tmp_path: Path) -> None:
    with world({"laser": "good", "pump": "good"}) as scene:
        victim = Victim(scene, tmp_path, "wait")
        assert scene.lit() == {"laser", "pump"}
        victim.send(signal.SIGKILL)
        ended = victim.ended()
        assert scene.lit() == set()
        times = {name: moment - ended.killed_at for name, moment in scene.changed().items()}
        print(times, ended)
        assert times["pump"] < times["laser"] < DARK_WITHIN
