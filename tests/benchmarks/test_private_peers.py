"""Peers of private inference: what does not run is said, not quoted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers_private_inference as peers
from benchmarks.private_peers import spu_bytes


def test_peers_that_are_not_there_are_skipped_with_words(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    inputs = tmp_path / "inputs.npz"
    np.savez(
        inputs,
        vectors=generator.standard_normal((4, 784)).astype(np.float32),
        labels=np.arange(4),
        first=generator.standard_normal((784, 784)).astype(np.float32),
        second=generator.standard_normal((10, 784)).astype(np.float32),
    )
    assert "no interpreter named; pip install tenseal" in peers.of_peer("tenseal", None, inputs, 1, 60.0)["skipped"]
    assert "does not start" in peers.of_peer("tenseal", str(tmp_path / "none"), inputs, 1, 60.0)["skipped"]
    here = peers.of_peer("crypten", sys.executable, inputs, 1, 60.0)
    assert "not installed there" in here.get("skipped", "not installed there")


def test_spu_tells_what_it_sent() -> None:
    log = "Link details: total send bytes 100, recv bytes 90\nother\nLink details: total send bytes 300, recv"
    assert spu_bytes(log) == 200
    assert spu_bytes("nothing") is None


def test_the_table_names_what_was_not_measured() -> None:
    document: dict[str, Any] = {
        "labqdl": {
            "baud": 1e8,
            "optical_seconds": 0.00311,
            "accuracy": 0.968,
            "f2_db": -7.0,
            "symbols_each_way": 311_248,
            "outcomes_seconds": 2e-5,
            "statistics_seconds": 4e-5,
        },
        "peers": {
            "spu": {"skipped": "not installed there"},
            "tenseal": {
                "version": "1",
                "what": "CKKS",
                "seconds": 2.0,
                "cpu_seconds": 1.5,
                "right": 9,
                "agree": 10,
                "images": 10,
                "bytes": 7e5,
                "rests_on": "trust",
            },
        },
    }
    text = "\n".join(peers.lines_of(document))
    assert "| spu | not measured: not installed there | | | |" in text
    assert "| 3.11 | 96.8 % at F² = -7.0 dB | 311,248 symbols each way |" in text
    assert "| 2,000 (1,500) | 9 of 10 (10 as in the clear) | 0.70 MB | trust |" in text
