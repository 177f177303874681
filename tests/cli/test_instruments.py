"""Commands about stations and instruments: what people read, what scripts read, and what every mistake gets."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labqdl.cli.set import split
from labqdl.config.station import load_station_file
from labqdl.safety import UnsafeFile, manual
from labqdl.station import coverage, finding, quantity_paths
from labqdl_drivers.detectors.thorlabs_pm100 import ThorlabsPM100
from labqdl_drivers.generators.keysight_33500 import Keysight33500
from labqdl_sim.bench import Bench
from labqdl_sim.control import Control
from labqdl_sim.serve import serve
from tests.station.fakes import Fake, FakeLaser, FakeMeter

STATION = """
[station]
name = "table"

[instruments.laser]
driver = "tests.station.fakes:FakeLaser"
resource = "TCPIP0::10.0.0.1::inst0::INSTR"
limits.power = { max = "10 mW", reason = "connectors" }

[instruments.edfa]
driver = "tests.station.fakes:FakeAmplifier"
resource = "TCPIP0::10.0.0.2::inst0::INSTR"

[instruments.meter]
driver = "tests.station.fakes:FakeMeter"
resource = "TCPIP0::10.0.0.3::inst0::INSTR"

[[wiring]]
from = "laser"
to = "edfa"
loss = "0.5 dB"

[[wiring]]
from = "edfa"
to = "meter.channel 1"

[[wiring]]
from = "edfa"
to = "laser.modulation"
kind = "electric"

[[paths]]
name = "signal"
source = "laser"
barriers = ["edfa"]
meter = "meter.power"
dark_below = "10 mW"

[[interlocks]]
require = "edfa.input_power > 10 uW"
before = "edfa.pump = true"
reason = "no seed"
"""

SIMULATED = """
[station]
name = "simulated"
profile = "sim"

[instruments.laser]
driver = "oif-itla"
limits.power = { max = "12 dBm", reason = "connectors" }
"""


@pytest.fixture
def call(labqdl_command: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command line in a folder with a station file of fake instruments that are inside this process."""
    monkeypatch.setenv("LABQDL_STATE", str(Path("state").absolute()))
    monkeypatch.setattr(Fake, "simulated", True, raising=False)
    Path("station.toml").write_text(STATION, encoding="utf-8")
    Path("sim.toml").write_text(SIMULATED, encoding="utf-8")
    return labqdl_command


# --- station ----------------------------------------------------------------------------------------------------------


def test_check_of_a_good_file(call: Any) -> None:
    words = call("station", "check")
    assert words.code == 0
    assert "3 instruments, profile bench: no mistakes, 1 warning" in words.out
    assert "light path 'signal' has 1 barrier besides its source" in words.out
    found = call("station", "check", "--json").json()
    assert found["good"] is True
    assert found["problems"] == []


def test_check_lists_every_mistake_once_and_in_order(call: Any) -> None:
    text = STATION.replace('"10 mW", reason', '"10 mV", reason').replace('"edfa.input_power >', '"edfa.inputpower >')
    text = text.replace('to = "edfa"', 'to = "efda"').replace('driver = "tests.station.fakes:FakeMeter"', "drivr = 3")
    Path("station.toml").write_text(text, encoding="utf-8")
    words = call("station", "check")
    assert words.code == 2
    found = call("station", "check", "--json").json()
    assert [one["line"] for one in found["problems"]] == [8, 14, 15, 20, 40]
    assert "Did you mean 'edfa'?" in words.out
    assert "5 mistakes" in words.out
    # Other commands stop at the first mistake, before anything is opened.
    words = call("get")
    assert words.code == 2
    assert words.err.count("\n") == 1


def test_check_looks_at_the_twins_too(call: Any) -> None:
    Path("station.toml").write_text(SIMULATED + 'twin = "oif-tila"\n' + "twin_options = {}\n")
    words = call("station", "check")
    assert words.code == 2
    assert "no twin 'oif-tila'" in words.out
    assert call("station", "check", "sim.toml").code == 0


def test_check_of_a_twin_that_the_profile_does_not_use(call: Any) -> None:
    text = STATION.replace(
        'driver = "tests.station.fakes:FakeMeter"', 'driver = "thorlabs-pm100"\ntwin = "thorlabs-pm10"'
    )
    Path("station.toml").write_text(text, encoding="utf-8")
    words = call("station", "check")
    assert words.code == 2
    assert "key 'instruments.meter.twin': no twin 'thorlabs-pm10'" in words.out


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"tests.station.fakes:FakeAmplifier"\nresource = "TCPIP0::10.0.0.2', '"keysight-n77"\n'
         'resource = "TCPIP0::10.0.0.1', "laser and edfa are different instruments, and have the same resource"),
        ('"tests.station.fakes:FakeAmplifier"\nresource = "TCPIP0::10.0.0.2', '"tests.station.fakes:FakeLaser"\n'
         'resource = "TCPIP0::10.0.0.1', "laser and edfa are the same instrument"),
        ("[instruments.edfa]", "[instruments.laser.serial]\nbaudrate = 9600\n\n[instruments.edfa]", "no serial port"),
        ('source = "laser"', 'source = "meter"', "no light or voltage comes out of its source meter"),
    ],
)  # fmt: skip
def test_check_warns(call: Any, old: str, new: str, expected: str) -> None:
    text = STATION.partition("[[interlocks]]")[0]
    assert old in text
    Path("station.toml").write_text(text.replace(old, new), encoding="utf-8")
    assert expected in call("station", "check").out


def test_draw(call: Any) -> None:
    words = call("station", "draw")
    assert words.code == 0
    for line in (
        "table (station.toml, profile bench)",
        "laser =(0.5 dB)=> edfa ==> meter.channel 1",
        "edfa --> laser.modulation",
        "edfa.input_power > 10 uW before edfa.pump = true (no seed)",
        "signal: from laser, kept dark by edfa; dark when meter.power is below 0.01 W",
    ):
        assert line in words.out, line
    assert "simulated" in call("station", "draw", "--profile", "sim").out
    for ending in ("svg", "png"):
        assert call("station", "draw", "--out", f"a.{ending}").code == 0
        assert Path(f"a.{ending}").stat().st_size > 1000
    assert call("station", "draw", "--out", "a.doc").code == 2


def test_copy_writes_a_file_without_mistakes_and_never_over_another(call: Any) -> None:
    assert call("station", "copy").code == 2
    assert call("station", "copy", "new.toml").code == 0
    station = load_station_file("new.toml")
    assert list(station.instruments) == ["laser", "voa", "edfa", "meter"]
    assert call("station", "copy", "new.toml", "--force").code == 0
    assert call("station", "copy", "no/such/folder.toml").code == 2


def test_without_a_file_one_line_says_what_to_do(call: Any) -> None:
    Path("station.toml").unlink()
    for arguments in (["get"], ["station", "check"], ["set", "laser", "power", "1 mW"], ["watch"], ["shell"]):
        words = call(*arguments)
        assert words.code == 2
        assert "labqdl: station.toml: there is no such file" in words.err
        assert "labqdl init" in words.err


# --- get, set, watch, shell -------------------------------------------------------------------------------------------


def test_get(call: Any) -> None:
    assert call("get", "laser", "power").out == "1 mW (0 dBm)\n"
    assert call("get", "meter", "channel", "2.power").out == "2 mW (3.01 dBm)\n"
    assert call("instruments", "get", "laser", "emission").out == "off\n"
    all_of_one = call("get", "laser").out
    assert "laser.wavelength" in all_of_one
    assert "1550 nm" in all_of_one
    found = call("get", "--json").json()
    assert (found["station"], found["profile"]) == ("table", "bench")
    assert found["instruments"]["laser"]["power"]["value"] == 1e-3
    assert found["instruments"]["edfa"]["mode"]["value"] == "current"
    assert set(found["instruments"]) == {"laser", "edfa", "meter"}


def test_get_of_what_does_not_answer(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FakeLaser.initial, "power", None)
    monkeypatch.delitem(FakeMeter.initial, "channel 1.power")
    monkeypatch.setattr(FakeMeter, "snapshot", lambda self: (_ for _ in ()).throw(_error("meter: nobody answers")))
    words = call("get", "--json")
    assert words.code == 5
    assert words.json()["instruments"]["meter"][""]["problem"] == "meter: nobody answers"


def test_what_does_not_answer_does_not_hide_the_rest(call: Any) -> None:
    Path("station.toml").write_text(STATION.replace("10.0.0.2", "dead"), encoding="utf-8")
    words = call("get")
    assert words.code == 5
    assert "edfa: no value: edfa: nobody answers at TCPIP0::dead::inst0::INSTR" in words.out
    assert "laser.power" in words.out
    assert call("get", "--json").json()["instruments"]["edfa"][""]["problem"]
    assert call("get", "edfa").code == 1
    words = call("watch", "--count", "1")
    assert "laser.power / W" in words.out
    assert "nobody answers" in words.err


def _error(text: str) -> Exception:
    from labqdl.errors import LabqdlError

    return LabqdlError(text)


MISTAKES = [
    (["get", "lasre"], 2, "Did you mean 'laser'"),
    (["get", "laser", "powr"], 2, "Did you mean 'power'"),
    (["get", "edfa", "temperature"], 2, "it has no thermometer"),
    (["get", "--profile", "simm"], 2, "Did you mean 'sim'"),
    (["set", "laser"], 2, "Missing argument"),
    (["set", "laser", "power"], 2, "no value for laser.power"),
    (["set", "laser", "power", "3"], 2, "has no unit"),
    (["set", "laser", "power", "3", "dB"], 2, "Did you mean 'dBm'"),
    (["set", "laser", "power", "-60 dBm"], 2, "is outside of the limits"),
    (
        ["set", "laser", "power", "11dBm"],
        2,
        "11dBm (12.5892541179 mW) is outside of the limits; "
        "expected at most 10 mW (10 dBm) (connectors). Nothing was sent",
    ),
    (["set", "laser", "measured_power", "1 mW"], 2, "can only be read"),
    (["set", "laser", "emission", "bright"], 2, "expected on or off"),
    (["set", "edfa", "mode", "curent"], 2, "Did you mean 'current'"),
    (["set", "edfa", "pump", "on"], 4, "edfa.input_power is 5 uW (-23.01 dBm). Nothing was sent"),
    (["watch", "laser", "powr"], 2, "Did you mean 'power'"),
    (["shell", "lasre"], 2, "Did you mean 'laser'"),
    (["instruments", "probe", "10.0.0.5:5025"], 2, "Did you mean 'TCPIP0::10.0.0.5::5025::SOCKET'"),
    (["instruments", "doctor", "R", "--driver", "oif-itl"], 2, "Did you mean 'oif-itla'"),
    (["init"], 2, "--force replaces it"),
]


@pytest.mark.parametrize(("arguments", "code", "expected"), MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_mistakes_get_one_line(call: Any, arguments: list[str], code: int, expected: str) -> None:
    words = call(*arguments)
    assert (words.code, words.out) == (code, "")
    assert words.err.startswith("labqdl: ")
    assert words.err.count("\n") == 1
    assert expected in words.err


def test_set_says_what_it_left_on_and_how_to_darken_it(call: Any) -> None:
    assert call("set", "laser", "power", "3dBm").err == "laser.power = 1.99526231497 mW (3 dBm)\n"
    assert call("set", "laser", "wavelength=1551 nm").err == "laser.wavelength = 1551 nm\n"
    words = call("set", "laser", "emission", "on")
    assert words.code == 0
    assert "laser.emission = on" in words.err
    assert "laser stays on. Dark again: 'labqdl safe station.toml', or 'labqdl set laser emission off'" in " ".join(
        words.err.split()
    )
    Path("other.toml").write_text(STATION, encoding="utf-8")
    words = call("set", "laser", "emission", "on", "--station", "other.toml")
    assert "'labqdl safe other.toml', or 'labqdl set laser emission off --station other.toml'" in words.err


def test_closed_standard_output(tmp_path: Path) -> None:
    program = "import sys; sys.stdout = None; from labqdl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "station", "check", "none.toml"],
        stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    (tmp_path / "station.toml").write_text(SIMULATED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", program, "station", "check"],
        stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_real_light_needs_arming(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "simulated", False)
    words = call("set", "laser", "emission", "on")
    assert words.code == 4
    assert "Give --arm" in words.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("power 3 dBm", ("power", "3 dBm")),
        ("power=3dBm", ("power", "3dBm")),
        ("channel 2.amplitude 0.5 V", ("channel 2.amplitude", "0.5 V")),
        ("channel2.amplitude 0.5 V", ("channel2.amplitude", "0.5 V")),
        ("power", ("power", "")),
        ("attenuation -3 dB", ("attenuation", "-3 dB")),
        ("voltage 2.5 V", ("voltage", "2.5 V")),
    ],
)
def test_quantity_and_value_out_of_words(words: str, expected: tuple[str, str]) -> None:
    assert split(tuple(words.split())) == expected


def test_watch_prints_columns(call: Any) -> None:
    words = call("watch", "laser", "power", "--count", "2", "--interval", "0")
    assert words.code == 0
    rows = [line.split("\t") for line in words.out.splitlines()]
    assert rows[0] == ["time", "laser.power / W"]
    assert [row[1] for row in rows[1:]] == ["0.001", "0.001"]
    assert "edfa.input_power / W" in call("watch", "--count", "1", "--leave-on").out


def test_watch_leaves_out_what_the_unit_lacks(call: Any) -> None:
    """The simulated attenuator has no power meter, and nobody waits for one."""
    Path("station.toml").write_text(SIMULATED.replace("oif-itla", "keysight-n77").partition("limits")[0])
    words = call("watch", "--count", "1", "--leave-on")
    assert words.code == 0
    heads = {one.partition(" /")[0] for one in words.out.splitlines()[0].split("\t")[1:]}
    assert heads <= {line.split()[0] for line in call("get").out.splitlines()}
    assert "nan" not in words.out


def test_watch_ends_safe_unless_told_otherwise(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(FakeLaser, "safe_state", lambda self: done.append(self.name))
    assert call("watch", "laser", "power", "--count", "1", "--leave-on").code == 0
    assert done == []
    assert call("watch", "laser", "power", "--count", "1").code == 0
    assert done == ["laser"]

    def interrupted(self: FakeLaser) -> None:
        raise KeyboardInterrupt

    done.clear()
    monkeypatch.setattr(quantity_paths(FakeLaser("R"))["power"][1], "fetch", interrupted, raising=False)
    assert call("watch", "laser", "power").code == 0
    assert done == ["laser"]


class Narrow(io.StringIO):
    """A pipe whose reader goes away after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_reader_that_goes_away_ends_watch_safe(call: Any, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    done: list[str] = []
    monkeypatch.setattr(FakeLaser, "safe_state", lambda self: done.append(self.name))
    monkeypatch.setattr(sys, "stdout", pipe := Narrow(rows))
    words = call("watch", "laser", "power", "--interval", "0")
    assert (words.code, words.err) == (0, "")
    assert pipe.getvalue().count("\n") == rows
    assert done == ["laser"]


@pytest.mark.parametrize("command", [("get",), ("safe", "station.toml"), ("instruments", "list"), ("sim", "list")])
def test_a_reader_that_goes_away_changes_nothing(call: Any, monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    code = call(*command).code
    monkeypatch.setattr(sys, "stdout", Narrow(0))
    words = call(*command)
    assert (words.code, words.err) == (code, "")


def test_watch_through_a_pipe_that_ends(tmp_path: Path) -> None:
    """`labqdl watch ... | head -2` in a process of its own, with a generator that is on: quiet, and off afterwards."""
    bench = Bench(seed=1)
    bench.add("keysight-33500", "awg", routes=("socket",))

    def highest() -> float:
        outputs = control.answer({"do": "voltage", "target": "awg"})["outputs"]
        return max(float(one["highest"]) for one in outputs.values())

    with serve(bench) as served:
        resource = served.resource("awg")
        generator = Keysight33500(resource, name="awg")
        generator.guard = None
        with generator:
            generator.channels()[1].amplitude = 0.5
            generator.channels()[1].output = True
        control = Control(bench)
        try:
            assert highest() > 0.2
            (tmp_path / "station.toml").write_text(
                '[station]\nname = "t"\n[instruments.awg]\ndriver = "keysight-33500"\n'
                f'resource = "{resource}"\nsimulated = true\n',
                encoding="utf-8",
            )
            command = [sys.executable, "-m", "labqdl.cli", "watch", "awg", "channel 1.frequency", "--interval", "0"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                assert process.stdout.readline().strip() == b"time\tawg.output 1.frequency / Hz"
                assert process.stdout.readline().endswith(b"\t1000\n")
                process.stdout.close()
                assert process.stderr.read() == b""
            assert process.returncode == 0
            assert highest() == 0.0
        finally:
            control.close()


def _type(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))


def test_watch_ends_safe_when_it_is_told_to_stop(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(FakeLaser, "safe_state", lambda self: done.append(self.name))
    monkeypatch.setattr("labqdl.cli.watch.time.strftime", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        call("watch", "laser", "power")
    assert stop.value.code == 128 + signal.SIGTERM
    assert done == ["laser"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_shell(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(
        monkeypatch,
        "# a comment", "laser.power = 3 dBm", "laser.power", "laser power 4 mW", "laser", "list", "who laser",
        "laser.powr", "laser.power = 30 dBm", "edfa.pump = on",
        "meter.channel 2.power", "zero meter", "identity laser", "close laser",
        "help", "nothing at all", "laser.emission = on", "safe", "laser.emission", "quit", "laser.power = 1 mW",
    )  # fmt: skip
    words = call("shell")
    assert words.code == 0
    lines = words.out.splitlines()
    assert lines[:3] == ["1.99526231497 mW (3 dBm)", "1.99526231497 mW (3 dBm)", "4 mW (6.021 dBm)"]
    for part in (
        "wavelength             1550 nm",
        "Fake F1, serial 1, firmware 0",
        "10.0.0.1::inst0::INSTR): safe, confirmed",
        "laser.power = 3 dBm",
    ):
        assert part in words.out, part
    assert lines[-1] == "off"
    for part in (
        "Did you mean 'power'",
        "30 dBm (1 W) is outside of the limits; expected at most 10 mW (10 dBm)",
        "edfa.input_power is 5 uW",
        "there is no instrument 'nothing'",
        "close is nothing",
    ):
        assert part in words.err, part


def test_shell_ends_safe_unless_told_otherwise(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(FakeLaser, "safe_state", lambda self: done.append(self.name))
    _type(monkeypatch, "laser.emission = on")
    assert "edfa, laser stay on. Dark again: 'labqdl safe station.toml'\n" in call("shell", "--leave-on").err
    assert done == []
    _type(monkeypatch, "laser.emission = on")
    left = call("shell", "--leave-on", "--profile", "bench").err
    assert "Dark again: 'labqdl safe station.toml --profile bench'\n" in left
    _type(monkeypatch, "laser.emission = on")
    assert call("shell").code == 0
    assert "laser" in done


@pytest.mark.parametrize("command", [["watch", "laser", "power", "--count", "1"], ["shell"], ["safe", "station.toml"]])
def test_what_cannot_be_made_safe_is_exit_70_and_blocks_until_it_is_acknowledged(
    call: Any, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(self: FakeLaser) -> None:
        raise _error(f"{self.name}: it stays on")

    monkeypatch.setattr(FakeLaser, "safe_state", stuck)
    monkeypatch.setattr("labqdl.safety.make_all_safe", partial(manual.make_all_safe, effort=0.05, deadline=0.5))
    _type(monkeypatch, "laser.power")
    words = call(*command)
    assert words.code == 70
    assert "it stays on" in words.out + words.err
    assert [entry.name for entry in UnsafeFile().entries()] == ["laser"]
    monkeypatch.setattr(FakeLaser, "safe_state", lambda self: None)
    words = call("set", "laser", "emission", "on")
    assert words.code == 4
    assert "laser could not be made safe before" in words.err
    assert call("safe", "station.toml").code == 70  # safe now, and nothing is forgotten
    assert call("safe", "station.toml", "--acknowledge").code == 0
    assert call("set", "laser", "emission", "on").code == 0


def test_a_station_that_is_not_safe_is_not_acknowledged(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("station.toml").write_text(STATION.replace("10.0.0.2", "dead"), encoding="utf-8")
    monkeypatch.setattr("labqdl.safety.make_all_safe", partial(manual.make_all_safe, effort=0.05, deadline=0.5))
    words = call("safe", "station.toml", "--acknowledge", "--json")
    assert words.code == 70
    assert words.json()["acknowledged"] is False
    assert [entry.name for entry in UnsafeFile().entries()] == ["edfa"]
    assert call("safe", "--acknowledge").code == 70
    assert not UnsafeFile().exists()


def test_a_full_disk_does_not_hide_what_is_not_safe(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("station.toml").write_text(STATION.replace("10.0.0.2", "dead"), encoding="utf-8")
    Path("state").write_text("no folder can be made here", encoding="utf-8")
    monkeypatch.setattr("labqdl.safety.make_all_safe", partial(manual.make_all_safe, effort=0.05, deadline=0.5))
    words = call("safe", "station.toml")
    assert words.code == 70
    assert "could not be written" in words.err


def test_simulated_instruments_answer(call: Any) -> None:
    words = call("get", "laser", "--station", "sim.toml", "--json")
    assert words.code == 0
    assert words.json()["instruments"]["laser"]["emission"]["value"] is False
    words = call("set", "laser", "fine_tune", "1 GHz", "--station", "sim.toml")
    assert words.code == 0
    assert "laser is simulated, and ends with this command" in words.err
    assert "(connectors)" in call("set", "laser", "power", "13 dBm", "--station", "sim.toml").err


# --- drivers, and what stands on the table ----------------------------------------------------------------------------


def test_list_of_drivers(call: Any) -> None:
    words = call("instruments", "list")
    assert "thorlabs-pm100" in words.out
    words = call("instruments", "list", "--coverage")
    assert "thorlabs-pm100 (powermeter_thorlabs_pm100d)" in words.out
    left_out = coverage(ThorlabsPM100).left_out
    assert left_out
    for name, reason in left_out.items():
        assert re.search(rf"left out: .*{re.escape(name)}.*: {re.escape(reason)}\n", words.out), name
    found = call("instruments", "list", "--json").json()["drivers"]
    meter = next(one for one in found if one["name"] == "thorlabs-pm100")
    assert meter["class"] == "PowerMeter"
    assert 0 < meter["coverage"]["share"] <= 1


@pytest.fixture
def bare_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that knows of nothing."""
    monkeypatch.setattr(
        finding, "_serial_ports", lambda: [finding.Candidate("ASRL/dev/ttyUSB9::INSTR", "serial port, x", False)]
    )
    monkeypatch.setattr(
        finding, "_visa", lambda library, troubles: [] if library is None else _REAL_VISA(library, troubles)
    )


_REAL_VISA = finding._visa


@pytest.mark.usefixtures("bare_table")
def test_find_and_init(call: Any) -> None:
    words = call("instruments", "find")
    assert words.code == 0
    assert words.out == "ASRL/dev/ttyUSB9::INSTR  serial port, x, not asked\n"
    assert call("init", "--force").code == 0
    assert "simulated instruments" in call("init", "--force").err
    assert load_station_file("station.toml").profile == "sim"
    Path("bench.toml").write_text('[instruments.pm]\ntwin = "thorlabs-pm100"\nroutes = ["visa:GPIB0::7::INSTR"]\n')
    words = call("instruments", "find", "--visa", "bench.toml@labqdl", "--json")
    found = {one["resource"]: one for one in words.json()["found"]}
    assert found["GPIB0::7::INSTR"]["identity"]["model"] == "PM100D"
    assert found["GPIB0::7::INSTR"]["drivers"] == ["thorlabs-pm100"]
    assert "sending *IDN?" in words.err
    words = call("init", "new.toml", "--visa", "bench.toml@labqdl")
    assert words.code == 0
    station = load_station_file("new.toml")
    assert [(name, one.driver) for name, one in station.instruments.items()] == [("meter", "thorlabs-pm100")]
    assert call("station", "check", "new.toml", "--profile", "sim").code == 0


@pytest.mark.usefixtures("bare_table")
def test_find_says_what_it_could_not_see(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bench.toml").write_text('[instruments.pm]\ntwin = "thorlabs-pm100"\nroutes = ["visa:GPIB0::7::INSTR"]\n')
    words = call("instruments", "find", "laser.invalid", "--visa", "bench.toml@labqdl")
    assert "laser.invalid: nothing answered (VISA says VI_ERROR_RSRC_NFOUND" in words.err
    words = call("instruments", "find", "10.0.0 5")
    assert words.code == 2
    assert "'10.0.0 5' is no address" in words.err
    monkeypatch.setattr(finding, "_visa", _REAL_VISA)
    monkeypatch.setattr("pyvisa.ResourceManager", lambda library: _PyVisaPy())
    monkeypatch.setattr(finding, "find_spec", lambda name: None)
    assert "pip install pyusb" in call("instruments", "find").err


class _PyVisaPy:
    """A resource manager of PyVISA with the backend in Python."""

    visalib = type("PyVisaLibrary", (), {"__module__": "pyvisa_py.highlevel"})()

    def list_resources(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("bare_table")
def test_probe_and_doctor(call: Any) -> None:
    Path("bench.toml").write_text('[instruments.pm]\ntwin = "thorlabs-pm100"\nroutes = ["visa:GPIB0::7::INSTR"]\n')
    library = ("--visa", "bench.toml@labqdl")
    words = call("instruments", "probe", "GPIB0::7::INSTR", *library)
    assert "THORLABS PM100D" in words.out
    assert "driver: thorlabs-pm100" in words.out
    assert call("instruments", "probe", "GPIB0::7::INSTR", *library, "--json").json()["drivers"] == ["thorlabs-pm100"]
    words = call("instruments", "doctor", "GPIB0::7::INSTR", *library)
    assert (words.code, words.out.count("ok  ")) == (0, 3)
    words = call("instruments", "doctor", "GPIB0::7::INSTR", "--driver", "thorlabs-pm100", *library)
    assert "every quantity is read" in words.out
    words = call("instruments", "doctor", "GPIB0::8::INSTR", *library)
    assert words.code == 1
    assert "FAIL" in words.out
    words = call("instruments", "doctor", "GPIB7", "--json")
    assert words.json()["steps"][0]["ok"] is False
