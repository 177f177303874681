"""Safe states need nothing that a driver learns when it opens."""

from __future__ import annotations

import pytest

from labqdl.safety.fresh import open_for_safety
from tests.conformance.subjects import NAMES, in_process


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
