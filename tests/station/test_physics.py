"""Physics rules of `station check`: coherence, memories, triggers, feasibility."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from labqdl.config.station import find_station_file
from labqdl.facts import Ledger, OperatingPoint, TapSetting
from labqdl.station import check_station
from labqdl.station.physics import allowed_linewidth, row_phase_variance


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    file = tmp_path / "loop.toml"
    file.write_text(find_station_file("loop-32").read_text(encoding="utf-8"), encoding="utf-8")
    return file


def edited(file: Path, old: str, new: str) -> tuple[str, ...]:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    return check_station(file).warnings


def test_a_shipped_station_has_only_its_light_to_be_warned_of(loop: Path) -> None:
    warnings = check_station(loop).warnings
    assert len(warnings) == 1
    assert "bit per weight may leak" in warnings[0]
    assert "stands in the way most" in warnings[0]


def test_phase_over_a_row_is_that_of_a_random_walk() -> None:
    """Bins of 6 MBd and a laser of 10 kHz: the variance of a simulated walk, and 1.2 SNU at mu = 4 as computed."""
    n, rate, linewidth = 32, 6e6, 1e4
    steps = np.random.default_rng(1).standard_normal((20_000, n)) * math.sqrt(2 * math.pi * linewidth / rate)
    walk = np.cumsum(steps, axis=1)
    measured = np.mean(np.square(walk - walk[:, -1:]))
    assert row_phase_variance(linewidth, n, rate) == pytest.approx(measured, rel=0.03)
    assert 2 * 4 * (1 - math.exp(-row_phase_variance(linewidth, n, rate))) == pytest.approx(1.24, rel=0.05)


def test_the_allowed_linewidth_adds_a_tenth_of_the_outcomes_noise() -> None:
    point = OperatingPoint(4.0, TapSetting.amplifier(2.0))  # F^2 of 4
    allowed = allowed_linewidth(Ledger("ideal"), point, 32, 6e6)
    added = 2 * 4 * row_phase_variance(allowed, 32, 6e6)
    assert added == pytest.approx(0.1 * 2)  # the noise of an outcome is 2 SNU there
    assert math.isinf(allowed_linewidth(Ledger("ideal"), point, 1, 6e6))


def test_a_wide_laser_is_warned_of(loop: Path) -> None:
    warnings = edited(loop, "linewidth = 100.0", "linewidth = 10e3")
    assert any("linewidth of 1e+04 Hz" in warning and "row of 5.12 us" in warning for warning in warnings)


def test_a_trigger_that_reaches_nobody_is_warned_of(loop: Path) -> None:
    warnings = edited(loop, 'to = "awg_f.trigger_a"', 'to = "awg_f.trigger_a_other"')
    assert not any("no trigger cable" in warning for warning in warnings)  # another input of the same instrument
    text = loop.read_text(encoding="utf-8").replace('to = "delay_b"', 'to = "tree_b.other"')
    loop.write_text(text, encoding="utf-8")
    found = [warning for warning in check_station(loop).warnings if "no trigger cable" in warning]
    assert len(found) == 1
    assert "awg_b" in found[0]


def test_slow_sampling_and_short_shots_are_warned_of(loop: Path) -> None:
    warnings = edited(loop, 'sample_rate = "62.5 MHz"', 'sample_rate = "10 MHz"')
    assert any("verifier takes 1.6 samples a bin" in warning for warning in warnings)
    assert any("tree plays 1.6 samples a bin" in warning for warning in warnings)
    warnings = edited(loop, 'shot_time = "5 ms"', 'shot_time = "100 us"')
    assert any("a shot of 32 rows takes" in warning for warning in warnings)


def test_less_loss_and_light_certify(loop: Path) -> None:
    """With losses and the light taken away, nothing stands in the way any more."""
    text = loop.read_text(encoding="utf-8")
    for loss in ("0.3 dB", "0.4 dB"):
        text = text.replace(f'loss = "{loss}"', 'loss = "0 dB"')
    text = text.replace("t = 0.9\n", "t = 0.9999\n").replace("ratio = 0.01\n", "ratio = 1e-9\n")
    loop.write_text(text, encoding="utf-8")
    found = check_station(loop).warnings
    assert len(found) == 1
    assert "bhd_s" not in found[0]  # the verifier's own receiver never stands in the way: it is trusted
