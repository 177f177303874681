"""Using a station: whatever was switched on goes dark on every way out. And what is written about stations is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Refused
from labqdl.safety import SafeStack, Unsafe
from labqdl.station import check_station, draw_text, light_paths, load_station, open_station, template
from labqdl.station.drawing import layout
from tests.station.fakes import Fake, FakeAmplifier, FakeLaser

DOCS = Path(__file__).resolve().parents[2] / "docs" / "station-files.md"
STATION = """
[station]
name = "table"
[instruments.laser]
driver = "tests.station.fakes:FakeLaser"
resource = "TCPIP0::10.0.0.1::inst0::INSTR"
[instruments.edfa]
driver = "tests.station.fakes:FakeAmplifier"
resource = "TCPIP0::10.0.0.2::inst0::INSTR"
[instruments.meter]
driver = "tests.station.fakes:FakeMeter"
resource = "TCPIP0::10.0.0.3::inst0::INSTR"
[[paths]]
name = "signal"
source = "laser"
barriers = ["edfa"]
meter = "meter.power"
dark_below = "3 mW"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Fake, "simulated", True, raising=False)
    monkeypatch.setenv("LABQDL_STATE", str(tmp_path / "state"))
    path = tmp_path / "station.toml"
    path.write_text(STATION, encoding="utf-8")
    return path


def test_what_was_switched_on_goes_dark(file: Path) -> None:
    with open_station(file) as station:
        laser: Any = station["laser"]
        laser.emission = True
        assert all(one.is_open for one in station.instruments().values())
    assert laser.log == [("emission", True), ("emission", False)]
    assert not any(one.is_open for one in station.instruments().values())


def test_barriers_close_with_their_source(file: Path) -> None:
    with open_station(file) as station:
        edfa: Any = station["edfa"]
        laser: Any = station["laser"]
        laser.emission = True
    assert edfa.log == [("pump", False)]


def test_it_goes_dark_after_an_error_too(file: Path) -> None:
    def fail() -> None:
        with open_station(file, stack=SafeStack(handlers=False)) as station:
            made.append(station["laser"])
            made[0].emission = True
            raise ZeroDivisionError

    made: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert made[0].state["emission"] is False


def test_a_meter_that_sees_light_says_unsafe(file: Path) -> None:
    file.write_text(STATION.replace("3 mW", "1 mW"), encoding="utf-8")
    stack = SafeStack(handlers=False, effort=0.05, deadline=0.5)
    with pytest.raises(Unsafe, match=r"meter still reads power = 0.002"), open_station(file, stack=stack) as station:
        station["laser"].emission = True  # type: ignore[attr-defined]
    assert (file.parent / "state" / "UNSAFE").exists()
    with pytest.raises(Refused, match="could not be made safe before"), open_station(file) as station:
        station["laser"].emission = True  # type: ignore[attr-defined]


def test_leaving_on_is_said_and_done(file: Path) -> None:
    with open_station(file) as station:
        laser: Any = station["laser"]
        assert station.leave_on() == ()
        laser.emission = True
        assert [one.name for one in station.leave_on()] == ["edfa", "laser"]
    assert laser.state["emission"] is True


def test_one_process_a_station(file: Path) -> None:
    with open_station(file), pytest.raises(InputError, match="this station is used"), open_station(file):
        pass
    lock = file.with_name(f".{file.name}.lock")
    lock.write_text('{"pid": 4711, "machine": "here"}')
    with open_station(file) as station:
        assert station.taken_over.startswith("process 4711 on here used this station")
    with open_station(file) as station:
        assert station.taken_over == ""


def test_what_is_only_simulated_is_for_everybody(file: Path) -> None:
    with open_station(file, "sim"), open_station(file, "sim"):
        pass
    assert not file.with_name(f".{file.name}.lock").exists()


def test_only_what_is_asked_for_is_opened(file: Path) -> None:
    with open_station(file, names=["meter"]) as station:
        assert [name for name, one in station.instruments().items() if one.is_open] == ["meter"]


def test_real_instruments_need_arming(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "simulated", False)
    with open_station(file) as station:
        laser: Any = station["laser"]
        with pytest.raises(Refused, match=r"nobody gave --arm. Give --arm"):
            laser.emission = True
    assert laser.log == []
    with open_station(file, arm=True, stack=SafeStack(handlers=False, watchdog=False)) as station:
        laser = station["laser"]
        laser.emission = True
    assert laser.log == [("emission", True), ("emission", False)]


@pytest.mark.parametrize("place", ["instrument", "profile"])
def test_what_is_declared_simulated_needs_no_arming(file: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "simulated", False)
    served = "TCPIP0::127.0.0.1::4000::SOCKET"
    text = STATION.replace("TCPIP0::10.0.0.1::inst0::INSTR", served).replace('barriers = ["edfa"]', "barriers = []")
    if place == "instrument":
        declared = text.replace('Laser"\n', 'Laser"\nsimulated = true\n')
        profile = "bench"
    else:
        declared = text + f'[profiles.served]\nsimulated = true\nlaser = "{served}"\n'
        profile = "served"
    for written, allowed in ((declared.replace("simulated = true", "simulated = false"), False), (declared, True)):
        file.write_text(written, encoding="utf-8")
        with open_station(file, profile, stack=SafeStack(handlers=False, watchdog=False)) as station:
            laser: Any = station["laser"]
            if not allowed:
                with pytest.raises(Refused, match="nobody gave --arm"):
                    laser.emission = True
            else:
                laser.emission = True
        assert laser.log == [("emission", True), ("emission", False)] * allowed
    file.write_text(declared.replace(served, "TCPIP0::10.0.0.1::inst0::INSTR"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"key 'instruments.laser.resource': TCPIP0::10.* is declared simulated and is not"
    ):
        load_station(file, profile).instruments()


def test_light_paths_have_their_instruments(file: Path) -> None:
    (path,) = light_paths(load_station(file))
    assert isinstance(path.source, FakeLaser)
    assert isinstance(path.barriers[0], FakeAmplifier)
    assert (path.checks[0].quantity, path.checks[0].below) == ("power", 3e-3)


def test_a_station_that_cannot_be_opened(file: Path) -> None:
    file.write_text(STATION.replace("10.0.0.2", "dead"), encoding="utf-8")
    with pytest.raises(LabqdlError, match="edfa: nobody answers"), open_station(file):
        pass


@pytest.mark.parametrize("profile", ["bench", "sim"])
def test_the_template_has_no_mistakes(tmp_path: Path, profile: str) -> None:
    (tmp_path / "s.toml").write_text(template(), encoding="utf-8")
    found = check_station(tmp_path / "s.toml", profile)
    assert found.problems == ()
    assert found.warnings == ()
    assert found.instruments == 4


def test_the_examples_of_the_documentation_have_no_mistakes(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "s.toml").write_text("\n".join(blocks[:3]), encoding="utf-8")  # the last is one of another table
    found = check_station(tmp_path / "s.toml", "table-3")
    assert found.problems == ()


def test_drawing_ends_with_loops_and_with_nothing() -> None:
    loop = '[[wiring]]\nfrom = "laser"\nto = "edfa"\n[[wiring]]\nfrom = "edfa"\nto = "laser"\n'
    station = read_station_file(parse((STATION + loop).encode(), source="s.toml"))
    assert "laser ==> edfa ==> laser" in draw_text(station)
    assert set(layout(station).places) == {"laser", "edfa", "meter"}
    plain = read_station_file(parse(STATION.encode(), source="s.toml"))
    plan = layout(plain)
    assert len(set(plan.places.values())) == 3
