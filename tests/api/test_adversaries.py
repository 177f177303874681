"""Every adversary of the documentation, end to end: who notices, by which test, and what nobody can notice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labqdl.api import open_run, resume, run
from labqdl.config.experiment import CHANNELS, CLIENTS, SERVERS
from labqdl.errors import InputError
from labqdl.facts import Quantity, Reason, VerdictKind
from labqdl.protocol.client import PARTING

SETTINGS: dict[str, Any] = {"model": "breast-cancer", "link": "paper", "images": 10, "block": 10, "seed": 1}


def names(tests: Any) -> set[str]:
    return {test.name.split(",")[0] for test in tests if not test.passed}


Cheat = dict[str, Any]

CAUGHT: list[tuple[Cheat, str]] = [
    ({"client": "intercept-resend"}, "noise"),
    ({"client": "intercept-resend-mmse"}, "gain"),
    ({"client": "cloner"}, "noise"),
    ({"client": "cloner:0.3"}, "count"),
    ({"client": "substitution"}, "gain"),
    ({"client": "estimate:0.25"}, "cross-use"),
    ({"client": "over-amplification:10", "images": 60}, "count"),
    ({"client": "passive-tap:0.2"}, "gain"),
    ({"client": "coherent", "images": 40}, "cross-use"),
    ({"client": "spiking:0.5"}, "noise"),
    ({"channel": "outside-tap:0.1"}, "gain"),
]


@pytest.mark.parametrize(("cheat", "test"), CAUGHT, ids=[" ".join(map(str, row[0].values())) for row in CAUGHT])
def test_a_cheating_client_or_fibre_is_caught_by_the_server(cheat: dict[str, Any], test: str, tmp_path: Path) -> None:
    result = run(folder=tmp_path / "run", **{**SETTINGS, **cheat})
    assert result.verdict.kind is VerdictKind.ABORT
    assert result.verdict.reason is Reason.INCONSISTENT
    assert test in names(result.verdict.consistency.tests)
    assert result.exit_code == 3
    assert all(finding.passed for finding in result.findings)  # the server is honest, and its client sees that


def test_only_sums_over_uses_show_a_coherent_meter(tmp_path: Path) -> None:
    """At the agreed noise no test of single uses sees it; without the test over uses the bound has to carry it."""
    settings = {**SETTINGS, "client": "coherent", "images": 40}
    seen = run(folder=tmp_path / "seen", **settings)
    assert names(seen.verdict.consistency.tests) == {"cross-use"}
    unseen = run(folder=tmp_path / "unseen", cross_use=False, **settings)
    assert unseen.verdict.kind is VerdictKind.UNDECIDED
    assert names(unseen.verdict.consistency.tests) == set()
    bound = unseen.leakage.select(Quantity.WEIGHTS, "labqdl", certified=True, cumulative=True)
    assert bound is not None
    assert "all noise on the symmetric mode of the uses" in bound.assumptions
    # What the meter holds after 40 uses: one use of 40 times the light (V = 2 * 160 + 1) at 40 times the noise, 40/16.
    variance, noise = 321.0, 2.5
    root = math.sqrt(1 + variance * noise + noise**2 / 4)
    thermal = [(root + sign * noise / 2 - 1) / 2 for sign in (1, -1)]
    assert bound.bits >= (sum(map(entropy, thermal)) - entropy(noise / 2)) / 2 > 4


def entropy(photons: float) -> float:
    return (photons + 1) * math.log2(photons + 1) - photons * math.log2(photons)


SEEN_BY_THE_CLIENT: list[tuple[Cheat, str]] = [
    ({"server": "bright-probe:3", "monitor_fraction": 0.01}, "power"),
    ({"server": "bright-probe:100", "monitor_fraction": 0.0}, "outcome energy"),
    ({"server": "two-mode-squeezed:3"}, "repeat"),
    ({"server": "x-dependent:1"}, "out of band"),
]


@pytest.mark.parametrize(
    ("cheat", "test"), SEEN_BY_THE_CLIENT, ids=[str(row[0]["server"]) for row in SEEN_BY_THE_CLIENT]
)
def test_a_cheating_server_is_caught_by_the_client(cheat: dict[str, Any], test: str, tmp_path: Path) -> None:
    result = run(folder=tmp_path / "run", **{**SETTINGS, **cheat})
    assert result.verdict.kind is VerdictKind.ABORT
    assert result.verdict.reason is Reason.CLIENT
    assert names(result.findings) == {test}
    assert f"{test}, layer 1" in result.verdict.explanation
    assert result.exit_code == 3
    assert result.images == 0
    document = result.to_json()
    assert {check["name"] for check in document["client_checks"] if not check["passed"]} == {f"{test}, layer 1"}
    # What it saw is in its own folder; the server learns that the session has ended, and nothing else.
    checks = json.loads((tmp_path / "run" / "client" / "blocks" / "000000-checks.json").read_text(encoding="utf-8"))
    text = json.dumps(checks)
    assert f"{test}, layer 1" in text
    told = [event.fields for event in open_run(tmp_path / "run").events() if event.kind == "verdict"]
    assert [entry["explanation"] for entry in told] == ["The client has ended the session."]
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and not {"client", "world"} & set(path.relative_to(tmp_path / "run").parts):
            assert f"{test}, layer".encode() not in path.read_bytes(), path
    assert test not in PARTING
    # A session that the client has ended stays ended, with the same result.
    again = resume(tmp_path / "run")
    assert again.verdict == result.verdict
    assert again.findings == result.findings


def test_checks_that_are_switched_off_see_nothing(tmp_path: Path) -> None:
    off: Cheat = {"check_vectors": 0, "monitor_fraction": 0.0}
    for server in ("two-mode-squeezed:3", "bright-probe:3"):
        result = run(folder=tmp_path / server.replace(":", "-"), server=server, **off, **SETTINGS)
        assert result.verdict.reason is not Reason.CLIENT
        assert {finding.name.split(",")[0] for finding in result.findings} == {"outcome energy", "out of band"}


def test_a_spike_in_vacuum_slots_is_caught_where_the_server_blocks_its_own_input(tmp_path: Path) -> None:
    settings = {**SETTINGS, "client": "spiking:0.5", "images": 20, "counting_fraction": 0.0}
    own = run(folder=tmp_path / "own", shot_noise="own", **settings)
    assert own.verdict.kind is VerdictKind.ABORT
    assert "noise" in names(own.verdict.consistency.tests)
    crossed = run(folder=tmp_path / "crossed", shot_noise="crossed", **settings)
    assert names(crossed.verdict.consistency.tests) == set()
    assert crossed.verdict.kind is VerdictKind.UNDECIDED
    assert crossed.verdict.reason is Reason.SHOT_NOISE
    assert crossed.verdict.certificate is None
    assert not any(one.confidence for one in crossed.leakage.bounds)  # nothing is certified
    counted = run(folder=tmp_path / "counted", shot_noise="crossed", **{**settings, "counting_fraction": 0.5})
    assert names(counted.verdict.consistency.tests) == {"count"}
    assert resume(tmp_path / "crossed").verdict == crossed.verdict


def test_an_honest_session_with_a_measured_unit(tmp_path: Path) -> None:
    result = run(folder=tmp_path / "run", shot_noise="own", vacuum_slots=4, **{**SETTINGS, "images": 20})
    assert names(result.verdict.consistency.tests) == set()
    assert result.verdict.certificate is not None
    statistics = open_run(tmp_path / "run").statistics(1)[0]
    assert statistics.vacuum_slots == 4 * 10 * int(np.count_nonzero(~statistics.counted))
    assert statistics.vacuum_squares > 0
    assert resume(tmp_path / "run").verdict == result.verdict
    with pytest.raises(InputError, match="vacuum"):
        run(folder=tmp_path / "none", shot_noise="own", vacuum_slots=0, **SETTINGS)
    for wrong in (
        {"check_vectors": 1},
        {"check_vectors": 10_001},
        {"monitor_fraction": 1.0},
        {"shot_noise": "borrowed"},
    ):
        with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "[_ ]")):
            run(folder=tmp_path / "wrong", **{**SETTINGS, **wrong})


def test_an_honest_session_with_all_checks_passes_and_pays_for_them(tmp_path: Path) -> None:
    settings = {**SETTINGS, "images": 30, "check_vectors": 4, "monitor_fraction": 0.01}
    result = run(folder=tmp_path / "run", **settings)
    assert result.verdict.reason is not Reason.CLIENT
    assert all(finding.passed for finding in result.findings)
    assert names(result.findings) == set()
    assert {finding.name.split(",")[0] for finding in result.findings} == {
        "power",
        "row power",
        "out of band",
        "outcome energy",
        "repeat",
    }
    assert result.images == 30
    bound = result.leakage.select(Quantity.WEIGHTS, "labqdl", cumulative=True)
    assert bound is not None
    assert bound.uses == 30 + 3 * 4  # check vectors are uses of the weights
    plain = run(folder=tmp_path / "plain", **{**SETTINGS, "images": 30})
    one, other = (found.leakage.select(Quantity.WEIGHTS, "labqdl") for found in (result, plain))
    assert one is not None
    assert other is not None
    assert one.bits > other.bits + 0.01  # 1 % of the light is lost in the meter, which no server can vouch for
    outcomes = np.load(tmp_path / "run" / "client" / "blocks" / "000000-outcomes.npy")
    assert outcomes.shape[0] == 10
    assert np.load(tmp_path / "run" / "client" / "blocks" / "000000-check-outcomes.npy").shape[0] == 4
    # Resuming a finished run judges the recorded checks again.
    assert resume(tmp_path / "run").findings == result.findings


def test_a_lossless_fibre_changes_nothing_that_anybody_can_see(tmp_path: Path) -> None:
    settings = {**SETTINGS, "images": 40, "link": "metro-10km"}
    honest = run(folder=tmp_path / "honest", **settings)
    greedy = run(folder=tmp_path / "greedy", channel="lossless", **settings)
    assert greedy.verdict.kind is honest.verdict.kind is VerdictKind.UNDECIDED
    assert names(greedy.verdict.consistency.tests) == set()
    # Its bound is the same, and counts all untrusted loss as the client's (tests/security/test_lossless.py).
    for certified in (False, True):
        one, other = (
            found.leakage.select(Quantity.WEIGHTS, "labqdl", certified=certified) for found in (honest, greedy)
        )
        assert one is not None
        assert other is not None
        assert other.bits == pytest.approx(one.bits, rel=0.2 if certified else 1e-12)


def test_every_word_is_somewhere_in_these_tests() -> None:
    tried = {str(value).partition(":")[0] for cheat, _ in (*CAUGHT, *SEEN_BY_THE_CLIENT) for value in cheat.values()}
    assert set(CLIENTS) | set(SERVERS) | set(CHANNELS) <= tried | {"honest", "lossless"}
