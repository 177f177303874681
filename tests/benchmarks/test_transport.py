"""The benchmark of the transport measures what it says, at a small scale."""

from __future__ import annotations

from benchmarks.harness import Note, Options, Ratio
from benchmarks.transport import measure


def test_all_cases_run_and_a_missing_peer_is_named() -> None:
    results = list(measure(Options(repeats=1, scale=0.01)))
    ratios = [result.case for result in results if isinstance(result, Ratio)]
    assert "one reading, labqdl to a raw socket" in ratios
    assert "one reading, a property of a labqdl driver to a raw socket" in ratios
    assert "block of 4 MB, labqdl to a raw socket" in ratios
    assert any("together to one by one" in case for case in ratios)
    named = " ".join(result.case for result in results)
    assert "PyMeasure" in named
    assert "QCoDeS" in named
    assert all("pip install" in note.text for note in results if isinstance(note, Note))
