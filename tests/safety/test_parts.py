"""Resources that may be declared simulated, recipes, the UNSAFE file, the station's lock, and the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labqdl.cli.root import run
from labqdl.errors import InputError
from labqdl.instruments import Refused
from labqdl.safety import NotRemakeable, Outcome, Recipe, UnsafeFile, may_be_simulated, recipe_of, state_folder
from labqdl.safety.station_lock import StationLock
from labqdl.transport import RoadOptions
from tests.safety.bench.fake_drivers import Lamp
from tests.safety.killing import world
from tests.safety.lamps import RealLamp

ROOT = Path(__file__).parents[2]
ADAPTERS = ("pymeasure", "qcodes")
"""They are made from a mapping in a station file; see tests/station."""


@pytest.mark.parametrize(
    ("resource", "possible"),
    [
        ("labqdl://laser", True),
        ("loop://", True),
        ("TCPIP0::127.0.0.1::5025::SOCKET", True),
        ("TCPIP::localhost::hislip0::INSTR", True),
        ("TCPIP0::127.8.0.1::INSTR", True),
        ("socket://127.0.0.1:4000", True),
        ("rfc2217://localhost:4000", True),
        ("zmq://127.0.0.1:5555", True),
        ("TCPIP0::10.0.0.5::5025::SOCKET", False),
        ("TCPIP0::laser.lab::INSTR", False),
        ("TCPIP0::127.evil.example::5025::SOCKET", False),
        ("socket://localhost.example:4000", False),
        ("zmq://10.0.0.5:5555", False),
        ("ASRL/dev/ttyUSB0::INSTR", True),
        ("ASRLCOM3::INSTR", True),
        ("/dev/pts/3", True),
        ("hwgrep://0403", False),
        ("GPIB0::7::INSTR", False),
        ("USB0::0x1313::0x8078::P0001234::INSTR", False),
        ("nonsense", False),
    ],
)
def test_what_may_be_declared_simulated(resource: str, possible: bool) -> None:
    assert may_be_simulated(resource) is possible


@given(st.text(max_size=30))
def test_any_text_may_be_simulated_or_not(text: str) -> None:
    assert may_be_simulated(text) in (True, False)


def test_recipe_makes_the_same_driver() -> None:
    lamp = Lamp("ASRLCOM3::INSTR", name="blue", options=RoadOptions(baudrate=115200))
    lamp.safe_order = 15  # type: ignore[misc]
    recipe = Recipe.from_json(json.loads(json.dumps(recipe_of(lamp).to_json())))
    made = recipe.make()
    assert type(made) is Lamp
    assert (made.name, made.safe_order, made.guard) == ("blue", 15, None)
    assert isinstance(made, Lamp)
    assert made.road_options == RoadOptions(baudrate=115200)
    assert made.transport.resource == "ASRLCOM3::INSTR"


class Addressed(Lamp):
    def __init__(self, *arguments: str, address: int, **options: str) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._address = address


class Forgetful(Lamp):
    def __init__(self, *arguments: str, address: int, **options: str) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", sorted(entry.name for entry in entry_points(group="labqdl.drivers") if entry.name not in ADAPTERS)
)
def test_every_driver_can_be_made_again(name: str) -> None:
    (entry,) = entry_points(group="labqdl.drivers", name=name)
    recipe = recipe_of(entry.load()("TCPIP0::10.0.0.5::5025::SOCKET", name="one"))
    assert recipe_of(recipe.make()) == recipe


def test_recipe_keeps_the_channel_of_a_box() -> None:
    (entry,) = entry_points(group="labqdl.drivers", name="keysight-n77")
    made = recipe_of(entry.load()("TCPIP0::10.0.0.5::5025::SOCKET", channel=3)).make()
    assert made.fields == {"n": 3}  # type: ignore[attr-defined]


def test_recipe_knows_further_arguments_or_says_why_not() -> None:
    assert recipe_of(Addressed("GPIB0::7::INSTR", address=7)).arguments == {"address": 7}
    with pytest.raises(NotRemakeable, match="its argument address is not kept"):
        recipe_of(Forgetful("GPIB0::7::INSTR", address=7))
    with pytest.raises(NotRemakeable, match="cannot be written down"):
        recipe_of(Lamp("GPIB0::7::INSTR", options=RoadOptions(visa_library=object())))
    with pytest.raises(NotRemakeable, match="no resource name"):
        recipe_of(RealLamp("real"))

    class Local(Lamp):
        pass

    with pytest.raises(NotRemakeable, match="another process cannot import"):
        recipe_of(Local("GPIB0::7::INSTR"))


@pytest.mark.parametrize("driver", ["no.such:Driver", "no-such-driver", "labqdl.safety:Recipe"])
def test_recipe_of_a_driver_that_is_not_there(driver: str) -> None:
    with pytest.raises(NotRemakeable):
        Recipe(driver, "GPIB0::7::INSTR", "laser").make()


def outcome(name: str, why: str = "it shines") -> Outcome:
    return Outcome(name, "GPIB0::7::INSTR", False, "fresh connection", 1.0, why)


def test_unsafe_file_adds_up(tmp_path: Path) -> None:
    file = UnsafeFile(tmp_path / "deep" / "UNSAFE")
    assert file.entries() == []
    assert not file.acknowledge()
    recipe = Recipe("labqdl.x:Y", "GPIB0::7::INSTR", "one")
    file.add([outcome("one"), outcome("two")], {("one", "GPIB0::7::INSTR"): recipe}, wall=0.0, told_by="a test")
    file.add([outcome("two", "still"), outcome("three")], {}, wall=1.0, told_by="a test")
    entries = {entry.name: entry for entry in file.entries()}
    assert list(entries) == ["one", "two", "three"]
    assert entries["one"].recipe == recipe
    assert entries["one"].when == "1970-01-01T00:00:00.000+00:00"
    assert entries["two"].why == "still"
    assert "Go and look" in file.path.read_text()
    with pytest.raises(Refused, match="one, three, two could not be made safe"):
        file.refuse("laser")
    assert file.acknowledge()
    file.refuse("laser")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"entries": [{}]}', "\x00", '{"entries": [{"recipe": 3}]}'])
def test_damaged_unsafe_file_blocks(text: str, tmp_path: Path) -> None:
    file = UnsafeFile(tmp_path / "UNSAFE")
    file.path.write_text(text)
    with pytest.raises(InputError, match="blocks all the same"):
        file.entries()
    with pytest.raises(Refused):
        file.refuse("laser")
    assert file.acknowledge()


def test_state_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABQDL_STATE", str(tmp_path))
    assert state_folder() == tmp_path
    monkeypatch.delenv("LABQDL_STATE")
    assert state_folder().name == "labqdl"


def test_one_process_a_station(tmp_path: Path) -> None:
    station = tmp_path / "station.toml"
    with StationLock(station) as lock:
        assert lock.taken_over == ""
        with pytest.raises(InputError, match="used by this very process") as refused:
            StationLock(station)
        assert refused.value.source == str(station)
    code = (
        "import sys; from pathlib import Path; from labqdl.safety.station_lock import StationLock\n"
        f"lock = StationLock(Path({str(station)!r})); print(lock.taken_over, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "\n"
        with pytest.raises(InputError, match=f"this station is used by process {other.pid} on .*watchdog") as refused:
            StationLock(station)
        assert refused.value.source == str(station)
        other.send_signal(signal.SIGTERM)
        other.wait(60)
    with StationLock(station) as lock:
        assert f"process {other.pid} on" in lock.taken_over
    with StationLock(station) as lock:
        assert lock.taken_over == ""


def test_command_makes_safe_what_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABQDL_STATE", str(tmp_path))
    assert run(["safe"]) == 0
    assert "Nothing is known" in capsys.readouterr().out
    with world({"laser": "good"}) as scene:
        resource = f"TCPIP0::127.0.0.1::{scene.ports['laser']}::SOCKET"
        with Lamp(resource, name="laser") as lamp:
            lamp.output = True
            recipe = recipe_of(lamp)
        told = Outcome("laser", resource, False, "", 0.0, "it was not asked")
        UnsafeFile(tmp_path / "UNSAFE").add([told], {("laser", resource): recipe}, wall=0.0, told_by="a test")
        assert scene.lit() == {"laser"}
        assert run(["safe"]) == 70
        assert scene.lit() == set()
        found = capsys.readouterr().out
        assert "laser (TCPIP0" in found
        assert "waits: nothing is energised" in found
        assert run(["safe", "--acknowledge", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["acknowledged"] is True
    assert [one["safe"] for one in found["outcomes"]] == [True]
    assert run(["safe"]) == 0
    (tmp_path / "UNSAFE").write_text("damaged")
    assert run(["safe"]) == 2
    assert run(["safe", "--acknowledge"]) == 0
