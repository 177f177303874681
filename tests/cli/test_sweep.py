"""`labqdl sweep`: rows as they come, limits and arming, files, and everything safe at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labqdl.errors import LabqdlError
from tests.station.fakes import Fake, FakeLaser

STATION = """
[station]
name = "table"

[instruments.laser]
driver = "tests.station.fakes:FakeLaser"
resource = "TCPIP0::laser::inst0::INSTR"
limits.power = { max = "10 mW", reason = "connectors" }

[instruments.meter]
driver = "tests.station.fakes:FakeMeter"
resource = "TCPIP0::meter::inst0::INSTR"
"""

SIMULATED = """
[station]
name = "simulated"
profile = "sim"

[instruments.laser]
driver = "nkt-koheras"

[instruments.voa]
driver = "keysight-n77"
channel = 1

[instruments.meter]
driver = "thorlabs-pm100"

[[wiring]]
from = "laser"
to = "voa.input1"

[[wiring]]
from = "voa.output1"
to = "meter"

[simulation]
rate = "125 MHz"
"""

SWEEP = ("sweep", "station.toml", "laser.power", "1mW", "3mW", "3", "--read", "meter.channel2.power")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """Every fake laser that a command made."""
    lasers: list[Fake] = []
    begin = FakeLaser.__init__

    def remembered(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        lasers.append(self)

    monkeypatch.setattr(FakeLaser, "__init__", remembered)
    return lasers


@pytest.fixture
def call(labqdl_command: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LABQDL_STATE", str(Path("state").absolute()))
    monkeypatch.setattr(Fake, "simulated", True, raising=False)
    Path("station.toml").write_text(STATION, encoding="utf-8")
    Path("sim.toml").write_text(SIMULATED, encoding="utf-8")
    return labqdl_command


def test_rows_come_as_a_table_and_all_is_safe_at_the_end(call: Any, made: list[Fake]) -> None:
    words = call(*SWEEP, "--first", "laser.emission=on", "--out", "curve.csv")
    assert words.code == 0
    assert words.out.splitlines() == [
        "laser.power / W\tmeter.channel 2.power / W",
        "0.001\t0.002",
        "0.002\t0.002",
        "0.003\t0.002",
    ]
    steps = [("power", 0.001), ("power", 0.002), ("power", 0.003), ("power", 0.001), ("emission", False)]
    assert made[-1].log[:6] == [("emission", True), *steps]
    assert made[-1].state["emission"] is False
    assert "3 of 3 points are in curve.csv" in words.err
    assert len(Path("curve.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_json_is_one_document_and_a_file_the_same(call: Any, made: list[Fake]) -> None:
    words = call(*SWEEP, "--json", "--out", "curve.json", "--log")
    assert words.code == 0
    found = words.json()
    assert found == json.loads(Path("curve.json").read_text(encoding="utf-8"))
    assert found["points"] == pytest.approx([1e-3, 3**0.5 * 1e-3, 3e-3])
    assert [row["readings"] for row in found["rows"]] == [[2e-3]] * 3
    assert made[-1].state["emission"] is False


def test_limits_hold_for_every_point_before_the_first(call: Any, made: list[Fake]) -> None:
    words = call("sweep", "station.toml", "laser.power", "1mW", "11mW", "5", "--read", "meter.power")
    assert words.code == 2
    assert "connectors" in words.err
    assert "Nothing was sent" in words.err
    assert made[-1].log == []


def test_real_light_needs_arming(call: Any, made: list[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "simulated", False, raising=False)
    words = call(*SWEEP, "--first", "laser.emission=on")
    assert words.code == 4
    assert "Give --arm" in words.err
    assert ("emission", True) not in made[-1].log
    assert ("power", 0.002) not in made[-1].log


def test_dark_after_a_failure_with_what_was_measured(
    call: Any, made: list[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FakeLaser.measured_power.fetch

    def broken(part: Any) -> Any:
        if part.instrument.state["power"] > 1.5e-3:
            raise LabqdlError("laser: the cable came off")
        return read(part)

    monkeypatch.setattr(FakeLaser.measured_power, "fetch", broken)
    words = call(*SWEEP, "--read", "laser.measured_power", "--first", "laser.emission=on", "--out", "x.csv")
    assert words.code != 0
    assert "the cable came off" in words.err
    assert ("emission", True) in made[-1].log
    assert made[-1].state["emission"] is False
    assert "1 of 3 points are in x.csv" in words.err
    assert len(Path("x.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_dry_run_sends_nothing(call: Any, made: list[Fake]) -> None:
    words = call(*SWEEP, "--first", "laser.emission=on", "--dry-run", "--settle", "0.5")
    assert words.code == 0
    assert "set laser.emission to on" in words.out
    assert "set laser.power to 0.003 (point 3 of 3)" in words.out
    assert made[-1].log == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (("--read", "meter"), "names no quantity"),
        (("--read", "metr.power"), "Did you mean 'meter'"),
        (("--first", "laser.emission"), "has no value"),
        (("--first", "laser.emission=maybe"), "no switch"),
        (("--out", "curve.xlsx"), r"expected .csv or .json"),
    ],
)
def test_mistakes(call: Any, made: list[Fake], more: tuple[str, ...], problem: str) -> None:
    words = call(*SWEEP, *more)
    assert words.code == 2
    assert problem in words.err
    assert not made or ("power", 0.001) not in made[-1].log


def test_simulated_instruments_follow_the_setting(call: Any) -> None:
    """Drivers and twins with their protocols: 10, 20 and 30 dB are on the meter as they are set, to its noise."""
    words = call(
        "sweep", "sim.toml", "voa.attenuation", "10dB", "30dB", "3", "--read", "meter.power",
        "--first", "laser.emission=on", "--first", "voa.open_shutter=on", "--settle", "0.01", "--json",
    )  # fmt: skip
    assert words.code == 0, words.err
    powers = [row["readings"][0] for row in words.json()["rows"]]
    assert powers[0] > 1e-4
    assert powers[1] / powers[0] == pytest.approx(0.1, rel=0.15)
    assert powers[2] / powers[0] == pytest.approx(0.01, rel=0.15)
