from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.sequencer import Checkpoint, Command


@dataclass(frozen=True, slots=True)
class Send(Command):
    layer: int
    light: NDArray[np.float32]
    note: str = ""


def test_one_line_with_arrays_by_shape_and_long_values_cut() -> None:
    command = Send(2, np.zeros((64, 785), dtype=np.float32), "two\nlines " + "x" * 200)
    text = command.describe()
    assert text.startswith("Send layer=2 light=float32[64, 785] note=two lines xxx")
    assert text.endswith("...")
    assert "\n" not in text
    assert len(text) < 120


def test_control_commands() -> None:
    assert Command().describe() == "Command"
    assert Checkpoint().describe() == "-- checkpoint"
    assert Checkpoint("block 3").describe() == "-- checkpoint block 3"


def test_commands_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(Checkpoint("a"), "label", "b")  # noqa: B010
