"""Figures of a run that come from joining what its parts know."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import run
from labqdl.api.bounding import f2_db
from labqdl.api.reading import open_run
from labqdl.facts import Component, Ledger, OperatingPoint, Owner, Place, Quantity, TapSetting, VerdictKind
from labqdl.link import EmulatedLink
from labqdl.network import load_dataset
from labqdl.protocol import Client, Server

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 20, "block": 6, "seed": 5}


@pytest.mark.parametrize("deviation", [0.0, 0.1, 0.5])
def test_signal_to_noise_counts_phase_noise_as_noise(deviation: float) -> None:
    # G = 2: y = X cos phi - P sin phi + noise of variance 2; <X^2> = <P^2> = 2 mu = 8.
    share = math.exp(-(deviation**2))
    ledger = Ledger("shaky", (Component("fibre", Place.FORWARD, Owner.CHANNEL, phase_noise=deviation),))
    point = OperatingPoint(4.0, TapSetting.amplifier(2.0))
    assert f2_db(point, ledger) == pytest.approx(10 * math.log10(8 * share / (2 + 8 * (1 - share))), abs=1e-9)


def test_light_before_an_abort_counts_as_used(tmp_path: Path) -> None:
    result = run(folder=tmp_path / "run", client="intercept-resend", **SETTINGS)
    assert result.verdict.kind is VerdictKind.ABORT
    assert result.images == 0
    for certified in (False, True):
        bound = result.leakage.select(Quantity.WEIGHTS, "labqdl", certified=certified, cumulative=True)
        assert bound is not None
        assert bound.uses == 6


def test_accuracy_and_uses_of_a_whole_run(tmp_path: Path) -> None:
    result = run(folder=tmp_path / "run", **SETTINGS)
    labels = load_dataset("breast-cancer").labels
    assert labels is not None
    logits = open_run(tmp_path / "run").logits()
    found = logits.argmax(axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(np.int64)
    assert result.accuracy == pytest.approx(float(np.mean(found == labels[:20])))
    bound = result.leakage.select(Quantity.WEIGHTS, "labqdl", cumulative=True)
    assert bound is not None
    assert bound.uses == 20


def test_everybody_draws_from_a_root_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[str, bytes]] = {}
    for cls, place in ((Server, 2), (Client, 1), (EmulatedLink, 1)):
        made = cls.__init__

        def watch(self: Any, *args: Any, _made: Any = made, _place: int = place, **options: Any) -> None:
            seen[type(self).__name__] = (args[_place].party, args[_place].entropy)
            _made(self, *args, **options)

        monkeypatch.setattr(cls, "__init__", watch)
    run(folder=tmp_path / "run", **SETTINGS)
    assert {name: party for name, (party, _) in seen.items()} == {
        "Server": "server",
        "Client": "client",
        "EmulatedLink": "world",
    }
    assert len({entropy for _, entropy in seen.values()}) == 3
